/**
 * Carries out on one bus what has its turn: reads, probes of silent units, writes, and what other masters ask. Knows how
 * many requests are under way and which tags the writes among them touch. What goes next is arbiter.ts's business; what
 * an answer means is that of reading.ts, health.ts and write.ts.
 */
import type { WriteStep } from '../config/plant.js';
import type { Answer, Client, Request } from '../modbus/client.js';
import type { Table } from '../modbus/protocol.js';
import { isBroadcast, NOBODY, type Command } from './commands.js';
import type { ReadCredit } from './credit.js';
import { type Health, isOfUnit, tookMs } from './health.js';
import { writtenSpan } from './imprint.js';
import { transferMs } from './linecost.js';
import { Reader, type ReaderParts, type Reading } from './reading.js';
import type { TagState } from './report.js';
import type { Span } from './terrain.js';
import type { Block, Unit } from './unit.js';
import { Upkeep } from './upkeep.js';
import type { Visit, Visitors } from './visitors.js';
import { stepRequest, Writer } from './write.js';

/** What the poller orders itself. */
const OWN_WRITE = { kind: 'write', recipe: null, correlation: NOBODY } as const;
/** How often it is looked whether the line still holds a write back. */
const HELD_LOOK_MS = 20;
/** For so long may still be written when the poller stops. */
export const FAREWELL_MS = 800;

/** The parts of a poller that exchanges have to do with. */
export interface ExchangesParts extends ReaderParts {
  readonly client: Client;
  readonly visitors: Visitors;
  readonly credit: ReadCredit;
}

export class Exchanges {
  readonly #parts: ExchangesParts;
  readonly #client: Client;
  readonly #health: Health;
  /** Told when a place on the link is free, or something new is due. */
  readonly #freed: () => void;
  readonly #reader: Reader;
  readonly #writer: Writer;
  readonly #upkeep: Upkeep;
  /** Writes under way, and what ends the pauses in them. */
  readonly #writes = new Set<Promise<void>>();
  readonly #pauses = new Set<() => void>();
  #isEnded = false;
  #underWayCount = 0;
  /** Counts the starts and ends of writes: a read sent before the newest one that touches its tag is dropped. */
  #mark = 0;

  constructor(parts: ExchangesParts, health: Health, freed: () => void) {
    const { bus, clock, client, desk } = parts;
    this.#parts = parts;
    this.#client = client;
    this.#health = health;
    this.#freed = freed;
    this.#reader = new Reader(parts, health);
    this.#writer = new Writer({
      bus,
      clock,
      send: (request, timeoutMs, sendByMs) => client.request(request, timeoutMs, timeoutMs, sendByMs),
      isHurried: () => desk.waitingCount > 0,
      pause: (unit, ms) => this.#pause(unit, ms),
      isHeld: (request) => client.heldUntilMs(request) > clock.monotonicMs(),
      whenFree: (unit, request, deadlineMs) => this.#whenFree(unit, request, deadlineMs),
    });
    this.#upkeep = new Upkeep(parts.units);
  }

  /** Requests under way. */
  get underWayCount(): number {
    return this.#underWayCount;
  }

  /** Resolves when the writes that are under way now have ended. */
  writesDone(): Promise<unknown> {
    return Promise.all(this.#writes);
  }

  /**
   * What is answered from now on is nobody's any more, but for writes. A pulse ends before the line is let go, and what
   * was kept up is told to fall back.
   */
  async end(reason: string): Promise<void> {
    this.#isEnded = true;
    this.#reader.end(reason);
    for (const end of this.#pauses) end();
    await this.writesDone();
    if (!this.#client.isUp) return;
    for (const { unit, state, payload } of this.#upkeep.last()) {
      const deadlineMs = this.#parts.clock.monotonicMs() + FAREWELL_MS;
      const command = { ...OWN_WRITE, state, payload, deadlineMs, sequence: 0 };
      await this.#writer.write(unit, command, this.#parts.bus.timeoutMs);
    }
  }

  // Reads

  /** Reads a block, together with neighbours that ride along. */
  read(block: Block, riders: readonly Block[], nowMs: number): void {
    const { unit, table } = block;
    let { address, end } = block.detour === null ? block : endsOf(block.detour);
    for (const rider of riders) {
      address = Math.min(address, rider.address);
      end = Math.max(end, rider.end);
      rider.isUnderWay = true;
    }
    block.isUnderWay = true;
    if (!block.isTransient) this.#parts.statistics.late(block, Math.max(0, nowMs - block.gridMs));
    const quantity = end - address;
    const reading: Reading = { block, riders, address, quantity, mark: this.#mark };
    const { unitId } = unit.device;
    const request = { kind: 'read', unitId, table, address, quantity } as const;
    this.#underWayCount += 1;
    const { patience } = this.#parts;
    const thinkMs = patience.thinkMs(unit, block.patience, quantity) + patience.queueMs(nowMs);
    const { select } = block;
    const asked =
      select === null ? this.#client.request(request, thinkMs) : this.#readPage(unit, select, request);
    void asked.then((answer) => {
      if (select === null) this.#parts.visitors.polled(request, answer);
      this.#underWayCount -= 1;
      this.#reader.finish(reading, answer);
      this.#freed();
    });
  }

  /** Turns to the page, and reads from it: nothing else may be written to the unit in between. */
  async #readPage(unit: Unit, select: WriteStep, request: Request): Promise<Answer> {
    const { timeoutMs } = this.#parts.bus;
    unit.isWriting = true;
    const turned = await this.#client.request(stepRequest(unit.device.unitId, select), timeoutMs);
    const answer = turned.ok ? await this.#client.request(request, timeoutMs) : turned;
    unit.isWriting = false;
    return answer;
  }

  /** Asks a silent unit for something, in the hope that it is back. */
  probe(unit: Unit, read: Span & { readonly table: Table }, nowMs: number): void {
    const { bus, clock, patience } = this.#parts;
    const thinkMs = patience.probeThinkMs(unit);
    const share = patience.probeShare(unit, thinkMs, nowMs);
    const request = { kind: 'read', unitId: unit.device.unitId, ...read } as const;
    this.#underWayCount += 1;
    // Until it settles nobody addresses this unit again.
    unit.holdUntilMs = Infinity;
    const queueMs = patience.queueMs(nowMs);
    const yieldMs = patience.probeYieldMs(unit);
    void this.#client.request(request, thinkMs + queueMs, yieldMs + queueMs).then((answer) => {
      // Time that an answer took was not lost.
      if (!isOfUnit(answer)) patience.probed(unit, tookMs(answer), share, clock.monotonicMs());
      this.#underWayCount -= 1;
      this.#health.probed(unit, answer, transferMs(bus, read.table, read.quantity));
      this.#freed();
    });
  }

  // Writes and visits

  /** One exchange for another master; what it writes is read back as what a command writes. */
  async visit(visit: Visit): Promise<void> {
    const { bus, clock, patience, statistics, visitors } = this.#parts;
    const { unit, request } = visit;
    const isWrite = request.kind !== 'read';
    const touched = touchedBy(unit, request);
    this.#underWayCount += 1;
    if (isWrite) {
      unit.isWriting = true;
      this.#beginWrite(unit, touched);
    }
    const thinkMs = bus.timeoutMs + patience.queueMs(clock.monotonicMs());
    const answer = await this.#client.request(request, thinkMs);
    const nowMs = clock.monotonicMs();
    if (isWrite) {
      unit.isWriting = false;
      this.#endWrite(unit, touched);
      for (const state of touched) unit.readBack.add(state);
    }
    this.#underWayCount -= 1;
    statistics.visits += 1;
    statistics.took(tookMs(answer));
    if (isOfUnit(answer) && !this.#isEnded) this.#health.answered(unit, nowMs);
    visitors.finish(visit, answer, nowMs);
    if (!this.#isEnded && isWrite) this.#readBack(nowMs);
    this.#freed();
  }

  /** Carries out a command that writes. */
  write(unit: Unit, command: Command): void {
    const write = this.#carryOut(unit, command);
    this.#writes.add(write);
    void write.then(() => this.#writes.delete(write));
  }

  /** One write from its encoding to its result; holds its place on the line for all its steps but the pauses. */
  async #carryOut(unit: Unit, ordered: Command): Promise<void> {
    const { bus, clock, patience, statistics, agenda, desk } = this.#parts;
    const { state, recipe, correlation } = ordered;
    // While it waited a command may have said what is to be kept up from now on.
    const command = correlation === NOBODY ? { ...ordered, payload: this.#upkeep.newest(ordered) } : ordered;
    const startedMs = clock.monotonicMs();
    const touched =
      recipe === null
        ? unit.touchedBy(state)
        : [...new Set(recipe.flatMap((written) => unit.touchedBy(written)))];
    this.#underWayCount += 1;
    unit.isWriting = true;
    unit.pausedMs = 0;
    this.#beginWrite(unit, touched);
    const thinkMs = unit.breaker.isOpen ? patience.thinkMs(unit) : bus.timeoutMs;
    const outcome = await this.#writer.write(unit, command, thinkMs + patience.queueMs(startedMs));
    this.#endWrite(unit, touched);
    unit.isWriting = false;
    this.#underWayCount -= 1;
    const nowMs = clock.monotonicMs();
    if (outcome.sent) {
      const lineMs = nowMs - startedMs - unit.pausedMs;
      statistics.writes += 1;
      statistics.took(lineMs);
      // While commands take the line, reads that are due earn their share of it.
      if (agenda.schedule.readyCount > 0) this.#parts.credit.earn(lineMs);
      if (correlation !== NOBODY) for (const other of touched) unit.readBack.add(other);
    }
    if (outcome.code === 'OK' && correlation !== NOBODY) this.#upkeep.carriedOut(command, nowMs);
    const isHurried = outcome.answer?.ok === true && desk.waitingCount > 0 && !unit.breaker.isOpen;
    // What waits goes out first: what else this answer means can be done while the next one is on its way.
    if (isHurried) this.#goOn(nowMs);
    // Nobody answers what all are told, so that it is no news of this one.
    const isNews = !isBroadcast(command) || unit.device.unitId === 0;
    if (outcome.answer !== null && isNews && !this.#isEnded) this.#health.wrote(unit, outcome.answer, nowMs);
    desk.answer(state.tag.index, outcome.code, correlation, outcome.text);
    if (!isHurried) this.#goOn(nowMs);
  }

  #goOn(nowMs: number): void {
    if (!this.#isEnded) this.#readBack(nowMs);
    this.#freed();
  }

  /** From now on what was read before is older than what is being written. */
  #beginWrite(unit: Unit, touched: readonly TagState[]): void {
    this.#mark += 1;
    for (const state of touched) state.writeStarted(this.#mark);
    this.#parts.visitors.written(unit.device.unitId, this.#parts.clock.monotonicMs());
  }

  #endWrite(unit: Unit, touched: readonly TagState[]): void {
    this.#mark += 1;
    for (const state of touched) state.writeEnded(this.#mark);
    this.#parts.visitors.written(unit.device.unitId, this.#parts.clock.monotonicMs());
  }

  /** A wait within a write: meanwhile the line is everybody's. */
  async #pause(unit: Unit, ms: number): Promise<void> {
    const { clock } = this.#parts;
    const startedMs = clock.monotonicMs();
    this.#underWayCount -= 1;
    this.#freed();
    await new Promise<void>((resolve) => {
      const end = (): void => {
        cancel();
        this.#pauses.delete(end);
        resolve();
      };
      const cancel = clock.after(this.#isEnded ? 0 : ms, end);
      this.#pauses.add(end);
    });
    this.#underWayCount += 1;
    unit.pausedMs += clock.monotonicMs() - startedMs;
  }

  /**
   * After a write that nobody answered its like may have to wait for seconds (see Client.heldUntilMs): it does not wait
   * on the line, where all the others would wait with it. Who stops has nobody left to make room for.
   */
  async #whenFree(unit: Unit, request: Request, deadlineMs: number): Promise<boolean> {
    const { clock } = this.#parts;
    unit.awaited = request;
    let nowMs = clock.monotonicMs();
    let heldMs = this.#client.heldUntilMs(request) - nowMs;
    while (heldMs > 0 && nowMs <= deadlineMs && !this.#isEnded) {
      await this.#pause(unit, Math.min(heldMs, HELD_LOOK_MS));
      nowMs = clock.monotonicMs();
      heldMs = this.#client.heldUntilMs(request) - nowMs;
    }
    unit.awaited = null;
    return heldMs <= 0 || nowMs <= deadlineMs;
  }

  /** Orders again what devices forget. */
  keepUp(nowMs: number): void {
    for (const { unit, state, payload } of this.#upkeep.due(nowMs)) {
      const everyMs = state.tag.write?.refresh?.everyMs ?? 0;
      const command = { ...OWN_WRITE, state, payload, deadlineMs: nowMs + everyMs };
      this.#parts.desk.accept(unit, command);
    }
  }

  /** Reads what was written, each tag once, when no further write waits. */
  #readBack(nowMs: number): void {
    for (const unit of this.#parts.units) {
      if (unit.readBack.size === 0 || unit.commands.length > 0 || unit.breaker.isOpen) continue;
      const states = [...unit.readBack].filter(({ tag }) => !unit.knowledge.refusals.has(tag.name));
      unit.readBack.clear();
      this.#parts.agenda.readOnce(unit, unit.withScales(states), nowMs);
    }
  }
}

function endsOf({ address, quantity }: Span): { address: number; end: number } {
  return { address, end: address + quantity };
}

function touchedBy(unit: Unit, request: Request): readonly TagState[] {
  const span = writtenSpan(request);
  return span === null ? [] : unit.statesWithin(span.table, span.address, span.end);
}
