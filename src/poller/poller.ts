/**
 * One bus: decides what goes on the line next. Commands go before reads, due reads keep a
 * fifth of the line under a flood of them; silent units cost only probes. Owns the client, the units and the schedule
 * of its bus; knows no threads and no topics.
 */
import type { Cancel, Clock } from '../clock.js';
import type { Batch, Bus, Device, Tag, WriteStep } from '../config/plant.js';
import type { Answer, Client, LinkListener, OnFrame, Request } from '../modbus/client.js';
import { isBitTable, type Table } from '../modbus/protocol.js';
import { EXCEPTION } from '../modbus/server.js';
import { Agenda } from './agenda.js';
import { NOBODY, type Command } from './commands.js';
import { Desk } from './desk.js';
import { Health, isFromGateway, tookMs } from './health.js';
import { Knowledge, type KnowledgeRecord } from './knowledge.js';
import { Lessons } from './lessons.js';
import { isLine, transferMs } from './linecost.js';
import { LinkState } from './linkstate.js';
import type { Sink } from './outbox.js';
import { Patience } from './patience.js';
import { Publisher } from './publisher.js';
import { Reader, type Reading } from './reading.js';
import { TagState } from './report.js';
import { type DeviceState, NOT_YET_READ } from './sample.js';
import { Statistics, type BusStatistics } from './statistics.js';
import type { Span } from './terrain.js';
import { Unit, type Block } from './unit.js';
import { type Visit, type VisitAnswer, Visitors, writtenSpan } from './visitors.js';
import { Unhurried } from './unhurried.js';
import { Upkeep } from './upkeep.js';
import { stepRequest, Writer } from './write.js';

/** What a poller tells of its bus and devices. */
export interface PollerEvents {
  deviceChanged(deviceIndex: number, state: DeviceState, sinceMs: number, error: string): void;
  busChanged(busIndex: number, isUp: boolean, error: string): void;
  event(kind: string, fields: Record<string, unknown>): void;
  learned(device: Device, record: KnowledgeRecord): void;
}

export interface PollerOptions {
  readonly bus: Bus;
  readonly devices: readonly Device[];
  readonly tags: readonly Tag[];
  readonly batches: readonly Batch[];
  readonly clock: Clock;
  readonly random: () => number;
  readonly sink: Sink;
  readonly events: PollerEvents;
  connect(listener: LinkListener): Client;
  /** What a device taught in an earlier life; unknown content, checked here. */
  knowledgeOf(device: Device): unknown;
}

/** Under a flood of commands, due reads get this for each millisecond of theirs: one part in five. */
const READ_CREDIT = 0.25;
const READ_CREDIT_MAX_MS = 1000;
const SWEEP_MS = 500;
/** Readings are stale after three periods; on a line that cannot keep up, after as many of its cycles and a half more. */
const CYCLE_SLACK = 1.5;
/** On a network shorter waits than this are kept to the fraction. */
const EXACT_WAIT_MS = 5;
/** So many lengths are tried for a read whose own is held back. */
const DETOURS_MAX = 16;
/** A page of a unit cannot be turned while something is written to it: it is looked again so soon. */
const WRITING_LOOK_MS = 5;
/** What the poller orders itself. */
const OWN_WRITE = { kind: 'write', recipe: null, correlation: NOBODY } as const;
/** Requests under way are waited for before the link is lent. */
const LEND_WAIT_MS = 1000;
const LEND_LOOK_MS = 5;
/** What may still be written when the poller stops. */
const FAREWELL_MS = 800;

/** What a command is for. */
interface Target {
  readonly unit: Unit;
  readonly state: TagState;
  readonly recipe?: readonly TagState[];
}

export class Poller {
  readonly bus: Bus;
  readonly #clock: Clock;
  readonly #events: PollerEvents;
  readonly #client: Client;
  readonly #units: readonly Unit[];
  readonly #statistics: Statistics;
  readonly #agenda: Agenda;
  readonly #desk: Desk;
  readonly #publisher: Publisher;
  readonly #patience: Patience;
  readonly #link: LinkState;
  readonly #lessons: Lessons;
  readonly #health: Health;
  readonly #reader: Reader;
  readonly #writer: Writer;
  readonly #visitors: Visitors;
  readonly #upkeep: Upkeep;
  /** Writes under way, and what ends the pauses in them. */
  readonly #writes = new Set<Promise<void>>();
  readonly #pauses = new Set<() => void>();

  #isStopped = false;
  /** Requests that may be under way at once. */
  #inFlightMax: number;
  /** Somebody else has the link; what falls due meanwhile waits. */
  #isLent = false;
  #inFlight = 0;
  #readCreditMs = 0;
  /** Counts the starts and ends of writes: a read sent before the newest one that touches its tag is dropped. */
  #mark = 0;
  #timer: Cancel | null = null;
  #timerAtMs = Infinity;
  #sweepTimer: Cancel | null = null;

  constructor(options: PollerOptions) {
    const { bus, clock, sink, events } = options;
    const nowMs = clock.monotonicMs();
    this.bus = bus;
    this.#clock = clock;
    this.#events = events;
    this.#statistics = new Statistics(nowMs);
    this.#agenda = new Agenda(this.#statistics, !isLine(bus));
    this.#publisher = new Publisher(clock, sink, this.#statistics);
    this.#units = options.devices.map((device) => this.#unitOf(device, options));
    this.#desk = new Desk(this.#units, sink);
    this.#patience = new Patience(bus, this.#units, nowMs);
    this.#visitors = new Visitors(bus, this.#units, nowMs);
    this.#link = new LinkState(bus.timeoutMs, nowMs, (isUp, error) =>
      events.busChanged(bus.index, isUp, error),
    );
    this.#lessons = new Lessons({
      clock,
      agenda: this.#agenda,
      publisher: this.#publisher,
      desk: this.#desk,
      refused: ({ device }, { tag }, error) =>
        events.event('tag-refused', { device: device.name, tag: tag.name, error }),
      learned: ({ device }, record) => events.learned(device, record),
    });
    const client = options.connect({
      up: () => this.#linkUp(),
      down: (error) => {
        if (!this.#isLent) this.#link.down(error, this.#clock.monotonicMs());
      },
      oneAtATime: () => this.#oneAtATime(),
      discarded: (reason, _bytes, unitId) => {
        this.#statistics.discard(reason);
        if (reason === 'late') this.#patience.cameLate(unitId, this.#clock.monotonicMs());
      },
    });
    this.#inFlightMax = bus.inFlight;
    if (bus.inFlight > 1 && this.#units.some(({ knowledge }) => knowledge.isOneAtATime)) {
      this.#inFlightMax = 1;
      client.oneAtATime();
    }
    this.#client = bus.afterSwitchMs > 0 ? new Unhurried(client, bus.afterSwitchMs, clock) : client;
    const parts = {
      bus,
      clock,
      events,
      statistics: this.#statistics,
      agenda: this.#agenda,
      desk: this.#desk,
      publisher: this.#publisher,
      patience: this.#patience,
      link: this.#link,
      lessons: this.#lessons,
    };
    this.#health = new Health(parts);
    this.#reader = new Reader(parts, this.#health, () => this.#client.isUp);
    this.#writer = new Writer({
      bus,
      clock,
      send: (request, timeoutMs) => this.#client.request(request, timeoutMs),
      isHurried: () => this.#desk.waitingCount > 0,
      pause: (unit, ms) => this.#pause(unit, ms),
    });
    this.#upkeep = new Upkeep(this.#units);
  }

  /** Begins: connects, and reads as soon as the link is up. */
  start(): void {
    const nowMs = this.#clock.monotonicMs();
    for (const unit of this.#units) {
      unit.sinceMs = this.#clock.nowMs();
      this.#events.deviceChanged(unit.device.index, 'offline', unit.sinceMs, NOT_YET_READ);
      this.#lessons.replan(unit, nowMs);
    }
    this.#client.open();
    this.#sweepTimer = this.#clock.after(SWEEP_MS, () => this.#sweep());
  }

  /** Answers what waits with OFFLINE and lets go of the link. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#reader.end();
    this.#timer?.();
    this.#sweepTimer?.();
    for (const unit of this.#units) {
      this.#desk.rejectAll(unit, 'the gateway is stopping');
      this.#lessons.remember(unit);
    }
    this.#visitors.rejectAll();
    // A pulse ends before the line is let go, and what was kept up is told to fall back.
    for (const end of this.#pauses) end();
    await this.#within(FAREWELL_MS, this.#farewell());
    await this.#client.close();
  }

  #targetOf(tagIndex: number): Target | undefined {
    for (const unit of this.#units) {
      const state = unit.stateOf(tagIndex);
      if (state !== undefined) return { unit, state };
    }
    return undefined;
  }

  /** Tags of a group that are written at once. */
  #recipeOf(batchIndex: number): Target | undefined {
    for (const unit of this.#units) {
      const joined = unit.batches.find(({ batch }) => batch.index === batchIndex && batch.recipe !== null);
      const [state] = joined?.states ?? [];
      if (joined !== undefined && state !== undefined) return { unit, state, recipe: joined.states };
    }
    return undefined;
  }

  async #farewell(): Promise<void> {
    await Promise.all(this.#writes);
    if (!this.#client.isUp) return;
    for (const { unit, state, payload } of this.#upkeep.last()) {
      const deadlineMs = this.#clock.monotonicMs() + FAREWELL_MS;
      const command = { ...OWN_WRITE, state, payload, deadlineMs, sequence: 0 };
      await this.#writer.write(unit, command, this.bus.timeoutMs);
    }
  }

  async #within(ms: number, work: Promise<void>): Promise<void> {
    let cancel: Cancel = () => {};
    await Promise.race([work, new Promise<void>((resolve) => (cancel = this.#clock.after(ms, resolve)))]);
    cancel();
  }

  /** Queues a command; exactly one result follows. */
  command(command: Omit<Command, 'sequence' | 'state' | 'recipe'>, tagIndex: number): void {
    const { correlation } = command;
    const target = this.#targetOf(tagIndex) ?? this.#recipeOf(tagIndex);
    if (target === undefined) return this.#desk.answer(tagIndex, 'UNKNOWN_TAG', correlation, 'no such tag');
    const { unit, state, recipe = null } = target;
    const whole = { ...command, state, recipe };
    if (this.#isStopped || this.#link.isDown) return this.#desk.reject(unit, whole, this.#link.error);
    if (unit.breaker.isOpen && this.#clock.monotonicMs() < unit.triedUntilMs)
      return this.#desk.reject(unit, whole, unit.error);
    this.#desk.accept(unit, whole);
    this.#client.hurry();
    this.#pump();
  }

  /** Carries out in its turn what another master asks; not, once it is not wanted any more. */
  visit(request: Request, isWanted: () => boolean): Promise<VisitAnswer> {
    if (this.#isStopped || this.#link.isDown) return Promise.resolve(EXCEPTION.targetFailedToRespond);
    const answer = this.#visitors.receive(request, isWanted, this.#clock.monotonicMs());
    this.#pump();
    return answer;
  }

  /** Lets go of the link while the work lasts. Polls pause and commands wait until their time is over. */
  async lend(work: () => Promise<void>): Promise<void> {
    if (this.#isStopped || this.#isLent) throw new Error(`bus ${this.bus.name} is being scanned already`);
    this.#isLent = true;
    try {
      await Promise.all(this.#writes);
      const endMs = this.#clock.monotonicMs() + LEND_WAIT_MS + this.bus.timeoutMs;
      while (this.#inFlight > 0 && this.#clock.monotonicMs() < endMs)
        await new Promise<void>((resolve) => this.#clock.after(LEND_LOOK_MS, resolve));
      await this.#client.close();
      if (!this.#isStopped) await work();
    } finally {
      this.#isLent = false;
      if (!this.#isStopped) this.#client.open();
    }
  }

  /** Tells every frame from now on; null: none any more. */
  trace(onFrame: OnFrame | null): void {
    this.#client.watch(onFrame);
  }

  statistics(): BusStatistics {
    const nowMs = this.#clock.monotonicMs();
    return this.#statistics.snapshot(this.bus.index, this.#client.isUp, this.#units, nowMs);
  }

  // What goes next

  #pump(): void {
    if (this.#isStopped || this.#isLent || !this.#client.isUp) return;
    const nowMs = this.#clock.monotonicMs();
    while (this.#inFlight < this.#inFlightMax) {
      const hasStarted =
        this.#startCommand(nowMs) ||
        this.#startProbe(nowMs) ||
        this.#startVisit(nowMs) ||
        this.#startRead(nowMs);
      if (!hasStarted) break;
    }
    if (this.#inFlight < this.#inFlightMax) this.#arm(nowMs);
  }

  /** Wakes up when the next thing falls due. */
  #arm(nowMs: number): void {
    let atMs = this.#agenda.schedule.nextDueMs(nowMs);
    for (const unit of this.#units) {
      if (unit.breaker.isOpen) atMs = Math.min(atMs, this.#patience.probeReadyMs(unit, nowMs));
      else if (unit.commands.length > 0 && !unit.isWriting) atMs = Math.min(atMs, unit.holdUntilMs);
    }
    if (this.#visitors.waitingCount > 0)
      atMs = Math.min(
        atMs,
        this.#visitors.nextMs((request) => this.#client.heldUntilMs(request)),
      );
    if (atMs === Infinity || (this.#timer !== null && this.#timerAtMs <= atMs)) return;
    this.#timer?.();
    this.#timerAtMs = atMs;
    const leftMs = Math.max(atMs - nowMs, 0);
    // Timers count whole milliseconds from the start of a turn: one that comes early has to be set again.
    const waitMs = isLine(this.bus) || leftMs < EXACT_WAIT_MS ? leftMs : Math.ceil(leftMs) + 1;
    this.#timer = this.#clock.after(waitMs, () => {
      this.#timer = null;
      this.#pump();
    });
  }

  #startCommand(nowMs: number): boolean {
    if (this.#desk.waitingCount === 0) return false;
    const due = this.#agenda.schedule.next(nowMs);
    if (due === undefined) this.#readCreditMs = 0;
    else if (this.#readCreditMs > due.costMs && this.#waitMs(due, nowMs) === 0) return false;
    for (let taken = this.#desk.take(nowMs); taken !== null; taken = this.#desk.take(nowMs)) {
      const { unit, command } = taken;
      if (command.kind === 'write') {
        const write = this.#carryOut(unit, command);
        this.#writes.add(write);
        void write.then(() => this.#writes.delete(write));
        return true;
      }
      if (this.#startAskedRead(unit, command, nowMs)) return true;
    }
    return false;
  }

  #startAskedRead(unit: Unit, { state, correlation }: Command, nowMs: number): boolean {
    if (state.tag.formula !== null) return this.#answerCalculated(unit, state, correlation, nowMs);
    state.askedBy = correlation;
    const [block] = unit.planOnce([state], 0);
    if (block === undefined) {
      this.#desk.answer(
        state.tag.index,
        'UNKNOWN_TAG',
        correlation,
        'no read within the limits holds the tag',
      );
      return false;
    }
    block.asked.push(correlation);
    const waitMs = this.#waitMs(block, nowMs);
    if (waitMs === 0) this.#send(block, [], nowMs);
    else this.#agenda.enter(block, nowMs + waitMs);
    return waitMs === 0;
  }

  /** What is calculated is told as it is, and what it is calculated from is read. */
  #answerCalculated(unit: Unit, state: TagState, correlation: number, nowMs: number): boolean {
    this.#agenda.readOnce(unit, state.inputs, nowMs);
    this.#desk.answerValue(state, correlation);
    return false;
  }

  #startProbe(nowMs: number): boolean {
    let next: Unit | null = null;
    for (const unit of this.#units) {
      if (!unit.breaker.isOpen || this.#patience.probeReadyMs(unit, nowMs) > nowMs) continue;
      if (next === null || unit.breaker.probeAtMs < next.breaker.probeAtMs) next = unit;
    }
    const shortest = next?.shortestRead() ?? null;
    if (next === null || shortest === null) return false;
    const unit = next;
    const heldMs = this.#client.heldUntilMs({ kind: 'read', unitId: unit.device.unitId, ...shortest });
    const detour = heldMs > nowMs ? this.#detourOf(unit, shortest, nowMs) : null;
    if (heldMs > nowMs && detour === null) {
      unit.probeHeldUntilMs = heldMs;
      return false;
    }
    const read = { ...shortest, ...detour };
    const thinkMs = this.#patience.probeThinkMs(unit);
    const share = this.#patience.probeShare(unit, thinkMs, nowMs);
    const request = { kind: 'read', unitId: unit.device.unitId, ...read } as const;
    this.#inFlight += 1;
    // Until it settles nobody addresses this unit again.
    unit.holdUntilMs = Infinity;
    void this.#client.request(request, thinkMs, this.#patience.probeYieldMs(unit)).then((answer) => {
      this.#patience.probed(tookMs(answer), share, this.#clock.monotonicMs());
      this.#inFlight -= 1;
      this.#health.probed(unit, answer, transferMs(this.bus, read.table, read.quantity));
      this.#pump();
    });
    return true;
  }

  #startVisit(nowMs: number): boolean {
    if (this.#visitors.waitingCount === 0) return false;
    // Under a flood of commands what is left of the line belongs to the reads.
    if (this.#desk.waitingCount > 0 && this.#readCreditMs > 0) return false;
    const isPollDue = this.#agenda.schedule.next(nowMs) !== undefined;
    const visit = this.#visitors.take(nowMs, isPollDue, (request) => this.#client.heldUntilMs(request));
    if (visit === null) return false;
    void this.#receive(visit);
    return true;
  }

  #startRead(nowMs: number): boolean {
    const { schedule } = this.#agenda;
    for (let block = schedule.next(nowMs); block !== undefined; block = schedule.next(nowMs)) {
      schedule.remove(block);
      const waitMs = this.#waitMs(block, nowMs);
      if (waitMs > 0) {
        block.dueMs = nowMs + waitMs;
        schedule.add(block);
        continue;
      }
      // What reads are owed is settled when they go, and nothing is owed when no command waits.
      const owedMs = this.#desk.waitingCount === 0 ? 0 : this.#readCreditMs - block.costMs;
      this.#readCreditMs = Math.max(0, owedMs);
      this.#send(block, this.#agenda.takeRiders(block, nowMs), nowMs);
      return true;
    }
    return false;
  }

  /** How long a due block has to be put off; 0: it may go now. */
  #waitMs(block: Block, nowMs: number): number {
    const { unit } = block;
    if (unit.holdUntilMs > nowMs) return unit.holdUntilMs - nowMs;
    if (block.select !== null && unit.isWriting) return WRITING_LOOK_MS;
    // A late answer to the last request of this shape could be taken for this one's.
    const heldMs = this.#client.heldUntilMs(block.request()) - nowMs;
    block.detour = heldMs > 0 && block.mayDetour(nowMs) ? this.#detourOf(unit, block, nowMs) : null;
    if (heldMs > 0 && block.detour === null) return heldMs;
    if (unit.breaker.failures === 0) return 0;
    return unit.breaker.isOpen ? 0 : this.#patience.suspectWaitMs(unit, nowMs);
  }

  /** A longer read around one that is held back: an answer to the one cannot be taken for an answer to the other. */
  #detourOf(unit: Unit, { table, address, quantity }: Span & { table: Table }, nowMs: number): Span | null {
    const terrain = unit.terrain(table);
    // Bits come in whole bytes, so only a byte more makes another length.
    const step = isBitTable(table) ? 8 : 1;
    const end = address + quantity;
    for (let more = step; more <= DETOURS_MAX * step; more += step) {
      const span = terrain.fit(address, end + more) ?? terrain.fit(address - more, end);
      if (span === null) continue;
      const request = { kind: 'read', unitId: unit.device.unitId, table, ...span } as const;
      if (this.#client.heldUntilMs(request) <= nowMs) return span;
    }
    return null;
  }

  #send(block: Block, riders: readonly Block[], nowMs: number): void {
    const { unit, table } = block;
    let { address, end } = block.detour === null ? block : endsOf(block.detour);
    for (const rider of riders) {
      address = Math.min(address, rider.address);
      end = Math.max(end, rider.end);
      rider.isUnderWay = true;
    }
    block.isUnderWay = true;
    if (!block.isTransient) this.#statistics.late(block, Math.max(0, nowMs - block.gridMs));
    const quantity = end - address;
    const reading: Reading = { block, riders, address, quantity, mark: this.#mark };
    const { unitId } = unit.device;
    const request = { kind: 'read', unitId, table, address, quantity } as const;
    this.#inFlight += 1;
    const thinkMs = this.#patience.thinkMs(unit, block.patience);
    const { select } = block;
    const asked =
      select === null ? this.#client.request(request, thinkMs) : this.#readPage(unit, select, request);
    void asked.then((answer) => {
      if (select === null) this.#visitors.polled(request, answer);
      this.#inFlight -= 1;
      this.#reader.finish(reading, answer);
      this.#pump();
    });
  }

  /** Turns to the page, and reads from it: nothing else may be written to the unit in between. */
  async #readPage(unit: Unit, { table, address, values }: WriteStep, request: Request): Promise<Answer> {
    unit.isWriting = true;
    const turned = await this.#client.request(
      stepRequest(unit.device.unitId, table, address, values),
      this.bus.timeoutMs,
    );
    const answer = turned.ok ? await this.#client.request(request, this.bus.timeoutMs) : turned;
    unit.isWriting = false;
    return answer;
  }

  // Units, link and housekeeping

  #unitOf(device: Device, options: PollerOptions): Unit {
    const tags = options.tags.filter((tag) => tag.device === device).sort((a, b) => a.index - b.index);
    const states = tags.map((tag) => new TagState(tag));
    const batches = options.batches.filter((batch) => batch.device === device);
    const knowledge = Knowledge.fromRecord(options.knowledgeOf(device), device, options.clock.nowMs());
    const unit = new Unit(device, states, batches, knowledge, options.random);
    return unit;
  }

  /** The far side hung up on requests under way together: that is remembered, so that it happens once in its life. */
  #oneAtATime(): void {
    this.#inFlightMax = 1;
    this.#events.event('one-at-a-time', { bus: this.bus.name });
    for (const unit of this.#units) {
      unit.knowledge.isOneAtATime = true;
      this.#lessons.remember(unit);
    }
  }

  #linkUp(): void {
    const nowMs = this.#clock.monotonicMs();
    const wasDown = this.#link.up(nowMs);
    for (const unit of this.#units) {
      if (wasDown) this.#agenda.spread(unit, nowMs);
      // What is read once is read again after the link was away.
      if (wasDown && !unit.breaker.isOpen) this.#agenda.allDue(unit, nowMs);
      if (unit.breaks === 0) unit.holdUntilMs = nowMs;
      unit.busyPauseMs = 0;
      unit.breaker.probeNow(nowMs);
      this.#lessons.retestSoon(unit);
    }
    this.#pump();
  }

  /** Half a second's housekeeping: ages, heartbeats, expired commands, refused tags, the link. */
  #sweep(): void {
    this.#sweepTimer = this.#clock.after(SWEEP_MS, () => this.#sweep());
    const nowMs = this.#clock.monotonicMs();
    if (this.#link.review(nowMs)) this.#linkGone(nowMs);
    this.#visitors.review(nowMs);
    const cycleMs = CYCLE_SLACK * this.#agenda.schedule.sumOfCostsMs;
    for (const unit of this.#units) {
      this.#publisher.age(unit, cycleMs, nowMs);
      this.#desk.expire(unit, nowMs);
      if (!unit.breaker.isOpen && !this.#link.isDown) this.#lessons.retest(unit, nowMs);
    }
    const silentMs = this.#isLent ? 0 : this.#link.overdueMs(nowMs);
    if (silentMs > 0) {
      this.#statistics.resets += 1;
      this.#events.event('link-reset', { bus: this.bus.name, silent_ms: Math.round(silentMs) });
      this.#client.reset('no unit answers');
    }
    if (this.#client.isUp) this.#keepUp(nowMs);
    if (this.#inFlight === 0) this.#pump();
  }

  #linkGone(nowMs: number): void {
    const { error } = this.#link;
    this.#visitors.rejectAll();
    for (const unit of this.#units) {
      this.#health.setState(unit, 'offline', error);
      this.#publisher.fail(unit, unit.states, 'offline', nowMs);
      this.#desk.rejectAll(unit, error);
    }
  }

  // Writes

  /** One exchange for another master; what it writes is read back as what a command writes. */
  async #receive(visit: Visit): Promise<void> {
    const { unit, request } = visit;
    const isWrite = request.kind !== 'read';
    const touched = this.#touchedBy(unit, request);
    this.#inFlight += 1;
    if (isWrite) {
      unit.isWriting = true;
      this.#beginWrite(unit, touched);
    }
    const answer = await this.#client.request(request, this.bus.timeoutMs);
    const nowMs = this.#clock.monotonicMs();
    if (isWrite) {
      unit.isWriting = false;
      this.#endWrite(unit, touched);
      for (const state of touched) unit.readBack.add(state);
    }
    this.#inFlight -= 1;
    this.#statistics.visits += 1;
    this.#statistics.took(tookMs(answer));
    if (
      (answer.ok || (answer.error.kind === 'exception' && !isFromGateway(answer.error))) &&
      !this.#isStopped
    )
      this.#health.answered(unit, nowMs);
    this.#visitors.finish(visit, answer, nowMs);
    if (!this.#isStopped && isWrite) this.#readBack(nowMs);
    this.#pump();
  }

  #touchedBy(unit: Unit, request: Request): readonly TagState[] {
    const span = writtenSpan(request);
    return span === null ? [] : unit.statesWithin(span.table, span.address, span.end);
  }

  /** From now on what was read before is older than what is being written. */
  #beginWrite(unit: Unit, touched: readonly TagState[]): void {
    this.#mark += 1;
    for (const state of touched) state.writeStarted(this.#mark);
    this.#visitors.written(unit.device.unitId, this.#clock.monotonicMs());
  }

  #endWrite(unit: Unit, touched: readonly TagState[]): void {
    this.#mark += 1;
    for (const state of touched) state.writeEnded(this.#mark);
    this.#visitors.written(unit.device.unitId, this.#clock.monotonicMs());
  }

  /** One write from its encoding to its result; holds its place on the line for all its steps but the pauses. */
  async #carryOut(unit: Unit, command: Command): Promise<void> {
    const { state, recipe, correlation, payload } = command;
    const startedMs = this.#clock.monotonicMs();
    const touched =
      recipe === null
        ? unit.touchedBy(state)
        : [...new Set(recipe.flatMap((written) => unit.touchedBy(written)))];
    this.#inFlight += 1;
    unit.isWriting = true;
    unit.pausedMs = 0;
    this.#beginWrite(unit, touched);
    const timeoutMs = unit.breaker.isOpen ? this.#patience.thinkMs(unit) : this.bus.timeoutMs;
    const outcome = await this.#writer.write(unit, command, timeoutMs);
    this.#endWrite(unit, touched);
    unit.isWriting = false;
    this.#inFlight -= 1;
    const nowMs = this.#clock.monotonicMs();
    if (outcome.sent) {
      const lineMs = nowMs - startedMs - unit.pausedMs;
      this.#statistics.writes += 1;
      this.#statistics.took(lineMs);
      this.#credit(lineMs);
      if (correlation !== NOBODY) for (const other of touched) unit.readBack.add(other);
    }
    const isHurried = outcome.answer?.ok === true && this.#desk.waitingCount > 0 && !unit.breaker.isOpen;
    // What waits goes out first: what else this answer means can be done while the next one is on its way.
    if (isHurried) this.#goOn(nowMs);
    if (outcome.code === 'OK' && correlation !== NOBODY && recipe === null)
      this.#upkeep.commanded(state, payload, nowMs);
    if (outcome.answer !== null && !this.#isStopped) this.#health.wrote(unit, outcome.answer, nowMs);
    this.#desk.answer(state.tag.index, outcome.code, correlation, outcome.text);
    if (!isHurried) this.#goOn(nowMs);
  }

  #goOn(nowMs: number): void {
    if (!this.#isStopped) this.#readBack(nowMs);
    this.#pump();
  }

  /** A wait within a write: meanwhile the line is everybody's. */
  async #pause(unit: Unit, ms: number): Promise<void> {
    const startedMs = this.#clock.monotonicMs();
    this.#inFlight -= 1;
    this.#pump();
    await new Promise<void>((resolve) => {
      const end = (): void => {
        cancel();
        this.#pauses.delete(end);
        resolve();
      };
      const cancel = this.#clock.after(this.#isStopped ? 0 : ms, end);
      this.#pauses.add(end);
    });
    this.#inFlight += 1;
    unit.pausedMs += this.#clock.monotonicMs() - startedMs;
  }

  /** Orders again what devices forget. */
  #keepUp(nowMs: number): void {
    for (const { unit, state, payload } of this.#upkeep.due(nowMs)) {
      const everyMs = state.tag.write?.refresh?.everyMs ?? 0;
      const command = { ...OWN_WRITE, state, payload, deadlineMs: nowMs + everyMs };
      this.#desk.accept(unit, command);
    }
  }

  /** While commands take the line, reads that are due earn their share of it. */
  #credit(ms: number): void {
    if (this.#agenda.schedule.readyCount === 0) return;
    this.#readCreditMs = Math.min(READ_CREDIT_MAX_MS, this.#readCreditMs + READ_CREDIT * ms);
  }

  /** Reads what was written, each tag once, when no further write waits. */
  #readBack(nowMs: number): void {
    for (const unit of this.#units) {
      if (unit.readBack.size === 0 || unit.commands.length > 0 || unit.breaker.isOpen) continue;
      const states = [...unit.readBack].filter(({ tag }) => !unit.knowledge.refusals.has(tag.name));
      unit.readBack.clear();
      this.#agenda.readOnce(unit, states, nowMs);
    }
  }
}

function endsOf({ address, quantity }: Span): { address: number; end: number } {
  return { address, end: address + quantity };
}
