/**
 * Which of those who wait for one bus gets its link next: commands before probes of silent units, visits of other
 * masters and reads, though due reads keep a fifth of the line under a flood of commands. Wakes up when something falls
 * due; how it is carried out is exchanges.ts's business.
 */
import type { Cancel, Clock } from '../clock.js';
import type { Bus } from '../config/plant.js';
import type { Client, Request } from '../modbus/client.js';
import { isBitTable, type Table } from '../modbus/protocol.js';
import type { Agenda } from './agenda.js';
import type { Command } from './commands.js';
import type { ReadCredit } from './credit.js';
import type { Desk } from './desk.js';
import type { Exchanges } from './exchanges.js';
import { isLine } from './linecost.js';
import type { Patience } from './patience.js';
import type { TagState } from './report.js';
import type { Span } from './terrain.js';
import type { Block, Unit } from './unit.js';
import type { Visitors } from './visitors.js';
import { stepRequest } from './write.js';

/** On a network shorter waits than this are kept to the fraction. */
const EXACT_WAIT_MS = 5;
/** So many lengths are tried for a read whose own is held back. */
const DETOURS_MAX = 16;
/** How often it is looked whether what a write waits for has been asked. */
const AWAITED_LOOK_MS = 20;
/** A page of a unit cannot be turned while something is written to it: it is looked again so soon. */
const WRITING_LOOK_MS = 5;

/** Who waits for the link, and who knows when they may have it. */
export interface ArbiterParts {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly client: Client;
  readonly units: readonly Unit[];
  readonly desk: Desk;
  readonly visitors: Visitors;
  readonly agenda: Agenda;
  readonly patience: Patience;
  readonly credit: ReadCredit;
}

export class Arbiter {
  readonly #bus: Bus;
  readonly #clock: Clock;
  readonly #client: Client;
  readonly #units: readonly Unit[];
  readonly #desk: Desk;
  readonly #visitors: Visitors;
  readonly #agenda: Agenda;
  readonly #patience: Patience;
  readonly #credit: ReadCredit;
  readonly #exchanges: Exchanges;
  /** Requests that may be under way at once. */
  inFlightMax: number;
  /** Somebody else has the link; what falls due meanwhile waits. */
  isLent = false;
  #isEnded = false;
  #timer: Cancel | null = null;
  #timerAtMs = Infinity;

  constructor(parts: ArbiterParts, exchanges: Exchanges, inFlightMax: number) {
    this.#bus = parts.bus;
    this.#clock = parts.clock;
    this.#client = parts.client;
    this.#units = parts.units;
    this.#desk = parts.desk;
    this.#visitors = parts.visitors;
    this.#agenda = parts.agenda;
    this.#patience = parts.patience;
    this.#credit = parts.credit;
    this.#exchanges = exchanges;
    this.inFlightMax = inFlightMax;
  }

  /** Nobody gets the link any more. */
  end(): void {
    this.#isEnded = true;
    this.#timer?.();
  }

  /** Starts whatever may go now, as far as there is room. */
  pump(): void {
    if (this.#isEnded || this.isLent || !this.#client.isUp) return;
    const nowMs = this.#clock.monotonicMs();
    while (this.#exchanges.underWayCount < this.inFlightMax) {
      const hasStarted =
        this.#startCommand(nowMs) ||
        this.#startProbe(nowMs) ||
        this.#startVisit(nowMs) ||
        this.#startRead(nowMs);
      if (!hasStarted) break;
    }
    if (this.#exchanges.underWayCount < this.inFlightMax) this.#arm(nowMs);
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
    const waitMs = isLine(this.#bus) || leftMs < EXACT_WAIT_MS ? leftMs : Math.ceil(leftMs) + 1;
    this.#timer = this.#clock.after(waitMs, () => {
      this.#timer = null;
      this.pump();
    });
  }

  #startCommand(nowMs: number): boolean {
    if (this.#desk.waitingCount === 0) return false;
    const due = this.#agenda.schedule.next(nowMs);
    if (due === undefined) this.#credit.clear();
    else if (this.#credit.covers(due.lineMs) && this.#waitMs(due, nowMs) === 0) return false;
    for (let taken = this.#desk.take(nowMs); taken !== null; taken = this.#desk.take(nowMs)) {
      const { unit, command } = taken;
      if (command.kind === 'write') {
        this.#exchanges.write(unit, command);
        return true;
      }
      if (this.#startAskedRead(unit, command, nowMs)) return true;
    }
    return false;
  }

  #startAskedRead(unit: Unit, command: Command, nowMs: number): boolean {
    const { state, correlation } = command;
    const { sinceMs = nowMs } = command;
    const block = state.tag.formula === null ? readOf(unit, state) : readFor(unit, state, sinceMs);
    if (block === null) {
      this.#desk.answerValue(state, correlation);
      return false;
    }
    if (block === undefined) {
      this.#desk.answer(
        state.tag.index,
        'UNKNOWN_TAG',
        correlation,
        'no read within the limits holds the tag',
      );
      return false;
    }
    block.asked.push({ ...command, sinceMs });
    const waitMs = this.#waitMs(block, nowMs);
    if (waitMs === 0) this.#exchanges.read(block, [], nowMs);
    else this.#agenda.enter(block, nowMs + waitMs);
    return waitMs === 0;
  }

  #startProbe(nowMs: number): boolean {
    let unit: Unit | null = null;
    for (const other of this.#units) {
      if (!other.breaker.isOpen || this.#patience.probeReadyMs(other, nowMs) > nowMs) continue;
      if (unit === null || other.breaker.probeAtMs < unit.breaker.probeAtMs) unit = other;
    }
    const shortest = unit?.shortestRead() ?? null;
    if (unit === null || shortest === null) return false;
    const probe = { kind: 'read', unitId: unit.device.unitId, ...shortest } as const;
    const heldMs = this.#heldUntilMs(unit, probe, nowMs);
    const detour = heldMs > nowMs ? this.#detourOf(unit, shortest, nowMs) : null;
    if (heldMs > nowMs && detour === null) {
      unit.probeHeldUntilMs = heldMs;
      return false;
    }
    this.#exchanges.probe(unit, { ...shortest, ...detour }, nowMs);
    return true;
  }

  #startVisit(nowMs: number): boolean {
    if (this.#visitors.waitingCount === 0) return false;
    // Under a flood of commands what is left of the line belongs to the reads.
    if (this.#desk.waitingCount > 0 && this.#credit.isOwed) return false;
    const isPollDue = this.#agenda.schedule.next(nowMs) !== undefined;
    const visit = this.#visitors.take(nowMs, isPollDue, (request) => this.#client.heldUntilMs(request));
    if (visit === null) return false;
    void this.#exchanges.visit(visit);
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
      if (this.#desk.waitingCount === 0) this.#credit.clear();
      else this.#credit.spend(block.lineMs);
      this.#exchanges.read(block, this.#agenda.takeRiders(block, nowMs), nowMs);
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
    const readHeldMs = this.#heldUntilMs(unit, block.request(), nowMs) - nowMs;
    // Its page is turned first, and that is a request too.
    const turn = block.select === null ? null : stepRequest(unit.device.unitId, block.select);
    const heldMs = turn === null ? readHeldMs : Math.max(readHeldMs, this.#client.heldUntilMs(turn) - nowMs);
    block.detour = heldMs > 0 && block.mayDetour(nowMs) ? this.#detourOf(unit, block, nowMs, block) : null;
    if (heldMs > 0 && block.detour === null) return heldMs;
    const isSuspect = unit.breaker.failures > 0 || block.isSilentPart;
    if (!isSuspect) return 0;
    return unit.breaker.isOpen ? 0 : this.#patience.suspectWaitMs(unit, nowMs);
  }

  /** Until when this may not go, for a late answer that it could be given. */
  #heldUntilMs(unit: Unit, request: Request, nowMs: number): number {
    const heldMs = this.#client.heldUntilMs(request);
    return isLike(unit.awaited, request) ? Math.max(heldMs, nowMs + AWAITED_LOOK_MS) : heldMs;
  }

  /** A longer read around one that is held back: an answer to the one cannot be taken for an answer to the other. */
  #detourOf(
    unit: Unit,
    { table, address, quantity }: Span & { table: Table },
    nowMs: number,
    block: Block | null = null,
  ): Span | null {
    const terrain = unit.terrain(table);
    // Bits come in whole bytes, so only a byte more makes another length.
    const step = isBitTable(table) ? 8 : 1;
    const end = address + quantity;
    for (let more = step; more <= DETOURS_MAX * step; more += step) {
      const span = terrain.fit(address, end + more) ?? terrain.fit(address - more, end);
      if (span === null || (block !== null && !mayCover(block, span))) continue;
      const request = { kind: 'read', unitId: unit.device.unitId, table, ...span } as const;
      if (this.#heldUntilMs(unit, request, nowMs) <= nowMs) return span;
    }
    return null;
  }
}

/** Whether two reads of one unit could be answered by the same bytes, for all that their length says. */
function isLike(one: Request | null, other: Request): boolean {
  if (one?.kind !== 'read' || other.kind !== 'read' || one.table !== other.table) return false;
  const step = isBitTable(one.table) ? 8 : 1;
  return Math.ceil(one.quantity / step) === Math.ceil(other.quantity / step);
}

/** The one read that shows this tag, with its factor where one request holds both. */
function readOf(unit: Unit, state: TagState): Block | undefined {
  const [block, further] = unit.planOnce(unit.withScales([state]), 0);
  return further === undefined ? block : unit.planOnce([state], 0)[0];
}

/** The next read that a calculated tag waits for; null: all that it is calculated from was read since. */
function readFor(unit: Unit, state: TagState, sinceMs: number): Block | undefined | null {
  const old = unit.withScales(state.registers).filter(({ readAtMs }) => readAtMs < sinceMs);
  return old.length === 0 ? null : unit.planOnce(old, 0)[0];
}

/** Whether a longer read may stand in for this block's: it holds nothing more that may never be answered. */
function mayCover(block: Block, { address, quantity }: Span): boolean {
  const others = block.unit.blocks.filter((other) => other !== block && other.table === block.table);
  const end = address + quantity;
  if (others.some((other) => other.isSuspect && other.address < end && other.end > address)) return false;
  // What a part on trial is read with must have been answered, or its own silence would show nothing.
  const isProven = (at: number): boolean => others.some((other) => other.address <= at && other.end > at);
  for (let at = address; block.isSilentPart && at < end; at += 1)
    if ((at < block.address || at >= block.end) && !isProven(at)) return false;
  return true;
}
