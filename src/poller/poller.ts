/**
 * One bus: decides what goes on the line next and what its answer means. Commands go before reads, due reads keep a
 * fifth of the line under a flood of them; silent units cost only probes. Owns the client, the units and the schedule
 * of its bus; knows no threads and no topics.
 */
import type { Cancel, Clock } from '../clock.js';
import type { Batch, Bus, Device, Tag } from '../config/plant.js';
import type { Answer, Client, LinkListener, ModbusError } from '../modbus/client.js';
import { isBitTable } from '../modbus/protocol.js';
import { TimeBudget } from './breaker.js';
import type { Command } from './commands.js';
import { Knowledge, type KnowledgeRecord } from './knowledge.js';
import { accepted, halve } from './learn.js';
import { costOf, isLine, transferMs } from './linecost.js';
import type { Sink } from './outbox.js';
import { RESULT_CODES, RESULT_EXCEPTION_BASE, SAMPLE_CODE, type ResultCode } from './parcel.js';
import { payloadOfValue } from './payload.js';
import { CODE_UNREAD, TagState } from './report.js';
import type { DeviceState, Reason } from './sample.js';
import { nextDue, phaseOf, Schedule } from './schedule.js';
import { Statistics, type BusStatistics } from './statistics.js';
import type { Span } from './terrain.js';
import { Unit, type BatchState, type Block } from './unit.js';
import { Writer } from './write.js';

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

/** Commands that may wait on one bus; one more is answered BUSY. */
export const COMMANDS_MAX = 10_000;
/** Under a flood of commands, due reads get this share of the line: one part in five. */
const READ_CREDIT = 0.25;
/** Silent units together may cost this share of line time while others on the line answer. */
const PROBE_SHARE = 0.02;
/** After a failure of a unit that does not yet count as silent, such units rest so many times what it took ... */
const SUSPECT_REST = 12;
/** ... but no longer than this, and not while nobody else has anything to do. */
const SUSPECT_REST_MAX_MS = 800;
/** What a connection that a request's answer broke costs those who share it. */
const RECONNECT_COST_MS = 70;
/** A link that is gone is told after so long: a quick reconnect is no news. */
const GRACE_MS = 1000;
const SWEEP_MS = 500;
/** What timers, threads and a busy machine may add to a device's own time. */
const LINE_LAG_MS = 25;
const NETWORK_LAG_MS = 100;
/** A probe that missed an answer by a hair is told so by the late answer. */
const PROBE_LAG_MS = 8;
const PROBE_NETWORK_LAG_MS = 20;
/** Without one answer for so long while work is due the link is made anew. */
const WATCHDOG_MS = 3000;
const WATCHDOG_MAX_MS = 30_000;
/** A block that answered before is only bisected when it is refused for so long. */
const REFUSED_LONG_MS = 30_000;
/** After a gateway said that it does not reach the unit. */
const GATEWAY_PAUSE_MS = 100;
const BUSY_PAUSE_MS = 50;
const BUSY_PAUSE_MAX_MS = 800;
/** Neighbours ride along when they fall due within this share of their period. */
const RIDE_SHARE = 0.25;
/** A request that was only refused with neighbours in it: they are read apart for so long. */
const NO_RIDES_MS = 600_000;
/** What is read once is tried again after so long when it failed. */
const ONCE_RETRY_MS = 5000;
/** Commands to a silent unit are tried on it this often; others meanwhile are answered at once. */
const SILENT_TRY_MS = 1000;
/** Up for so long without an answer, and the link is told to be up all the same. */
const SETTLED_MS = 2000;

export class Poller {
  readonly bus: Bus;
  readonly #clock: Clock;
  readonly #sink: Sink;
  readonly #events: PollerEvents;
  readonly #client: Client;
  readonly #units: readonly Unit[];
  readonly #byTag = new Map<number, { unit: Unit; state: TagState }>();
  readonly #schedule = new Schedule<Block>();
  readonly #statistics: Statistics;
  readonly #writer: Writer;
  readonly #probeBudget: TimeBudget;
  readonly #isLine: boolean;

  #isStopped = false;
  #inFlight = 0;
  #sequence = 0;
  #waitingCommands = 0;
  #readCreditMs = 0;
  /** Before this, units that have just failed give way to those that have not. */
  #suspectsRestUntilMs = 0;
  /** Counts the starts and ends of writes: a read sent before the newest one that touches its tag is dropped. */
  #mark = 0;
  #timer: Cancel | null = null;
  #timerAtMs = Infinity;
  #sweepTimer: Cancel | null = null;
  #wasUp = false;
  #isDown = false;
  #isToldDown = false;
  #downSinceMs = 0;
  #downError = '';
  #upSinceMs = 0;
  #lastAnswerMs = 0;
  #failuresSinceAnswer = 0;
  #watchdogMs = WATCHDOG_MS;
  /** The oldest request that was not answered in time and whose answer may still come. */
  #unansweredFirst: { unit: Unit; sentAtMs: number } | null = null;

  constructor(options: PollerOptions) {
    const { bus, clock } = options;
    this.bus = bus;
    this.#clock = clock;
    this.#sink = options.sink;
    this.#events = options.events;
    const nowMs = clock.monotonicMs();
    this.#isLine = isLine(bus);
    this.#statistics = new Statistics(nowMs);
    this.#probeBudget = new TimeBudget(PROBE_SHARE, 100, nowMs);
    this.#units = options.devices.map((device) => this.#unitOf(device, options));
    this.#downSinceMs = nowMs;
    this.#client = options.connect({
      up: () => this.#linkUp(),
      down: (error) => this.#linkDown(error),
      discarded: (reason) => this.#discarded(reason),
    });
    this.#writer = new Writer(
      bus,
      (request, timeoutMs) => this.#client.request(request, timeoutMs),
      () => this.#waitingCommands > 0,
    );
  }

  /** Begins: connects, and reads as soon as the link is up. */
  start(): void {
    const nowMs = this.#clock.monotonicMs();
    this.#lastAnswerMs = nowMs;
    for (const unit of this.#units) {
      unit.sinceMs = this.#clock.nowMs();
      this.#events.deviceChanged(unit.device.index, 'offline', unit.sinceMs, 'not yet read');
      this.#replan(unit, nowMs);
    }
    this.#client.open();
    this.#sweepTimer = this.#clock.after(SWEEP_MS, () => this.#sweep());
  }

  /** Answers what waits with OFFLINE and lets go of the link. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#timer?.();
    this.#sweepTimer?.();
    for (const unit of this.#units) {
      this.#rejectAll(unit, 'OFFLINE', 'the gateway is stopping');
      this.#remember(unit);
    }
    await this.#client.close();
  }

  /** Queues a command; exactly one result follows. */
  command(command: Omit<Command, 'sequence' | 'state'>, tagIndex: number): void {
    const target = this.#byTag.get(tagIndex);
    if (target === undefined)
      return this.#result(tagIndex, 'UNKNOWN_TAG', command.correlation, 'no such tag');
    const { unit, state } = target;
    if (this.#isStopped || this.#isDown)
      return this.#result(tagIndex, 'OFFLINE', command.correlation, this.#downError || 'the link is down');
    if (unit.breaker.isOpen && this.#clock.monotonicMs() < unit.triedUntilMs)
      return this.#result(tagIndex, 'OFFLINE', command.correlation, unit.error);
    if (this.#waitingCommands >= COMMANDS_MAX)
      return this.#result(tagIndex, 'BUSY', command.correlation, `${COMMANDS_MAX} commands are waiting`);
    if (command.kind === 'write' && state.tag.write?.newestOnly === true) this.#supersede(unit, state);
    unit.commands.push({ ...command, state, sequence: this.#sequence++ });
    this.#waitingCommands += 1;
    this.#pump();
  }

  statistics(): BusStatistics {
    return this.#statistics.snapshot(
      this.bus.index,
      this.#client.isUp,
      this.#units,
      this.#clock.monotonicMs(),
    );
  }

  // The loop

  #pump(): void {
    if (this.#isStopped || !this.#client.isUp) return;
    const nowMs = this.#clock.monotonicMs();
    while (this.#inFlight < this.bus.inFlight) {
      if (!(this.#startCommand(nowMs) || this.#startProbe(nowMs) || this.#startRead(nowMs))) break;
    }
    if (this.#inFlight < this.bus.inFlight) this.#arm(nowMs);
  }

  /** Wakes up when the next thing falls due. */
  #arm(nowMs: number): void {
    let atMs = this.#schedule.nextDueMs(nowMs);
    for (const unit of this.#units) {
      if (unit.breaker.isOpen) atMs = Math.min(atMs, this.#probeReadyMs(unit, nowMs));
      else if (unit.commands.length > 0 && !unit.isWriting) atMs = Math.min(atMs, unit.holdUntilMs);
    }
    if (atMs === Infinity || (this.#timer !== null && this.#timerAtMs <= atMs)) return;
    this.#timer?.();
    this.#timerAtMs = atMs;
    this.#timer = this.#clock.after(Math.max(atMs - nowMs, 0), () => {
      this.#timer = null;
      this.#pump();
    });
  }

  #startCommand(nowMs: number): boolean {
    if (this.#waitingCommands === 0) return false;
    const due = this.#schedule.next(nowMs);
    if (due === undefined) this.#readCreditMs = 0;
    else if (this.#readCreditMs > due.costMs && this.#mustWait(due, nowMs) === 0) return false;
    for (let unit = this.#nextCommanded(nowMs); unit !== null; unit = this.#nextCommanded(nowMs)) {
      const command = unit.commands.shift();
      if (command === undefined) return false;
      this.#waitingCommands -= 1;
      if (nowMs > command.deadlineMs) this.#expired(command);
      else if (command.kind === 'write') return this.#startWrite(unit, command);
      else if (this.#startAskedRead(unit, command, nowMs)) return true;
    }
    return false;
  }

  /** The unit whose first command has waited longest of those that may be addressed now. */
  #nextCommanded(nowMs: number): Unit | null {
    let next: Unit | null = null;
    let least = Infinity;
    for (const unit of this.#units) {
      const first = unit.commands.first;
      if (first === undefined || unit.isWriting || unit.holdUntilMs > nowMs) continue;
      if (first.sequence >= least) continue;
      next = unit;
      least = first.sequence;
    }
    return next;
  }

  #startProbe(nowMs: number): boolean {
    let next: Unit | null = null;
    for (const unit of this.#units) {
      if (!unit.breaker.isOpen || this.#probeReadyMs(unit, nowMs) > nowMs) continue;
      if (next === null || unit.breaker.probeAtMs < next.breaker.probeAtMs) next = unit;
    }
    const read = next?.shortestRead();
    if (next === null || read === undefined || read === null) return false;
    const unit = next;
    // With nobody alive on the line there is nobody whose time it takes.
    const isBudgeted = this.#hasLiveUnit();
    const thinkMs = isBudgeted ? this.#probeThinkMs(unit) : this.bus.timeoutMs;
    // Until it settles nobody probes this unit again.
    this.#begin();
    unit.holdUntilMs = Infinity;
    const request = { kind: 'read', unitId: unit.device.unitId, ...read } as const;
    void this.#client.request(request, thinkMs).then((answer) => {
      if (isBudgeted)
        this.#probeBudget.spend(
          this.#clock.monotonicMs(),
          Math.max(0, answer.receivedAtMs - answer.sentAtMs),
        );
      this.#probed(unit, answer, transferMs(this.bus, read.table, read.quantity));
    });
    return true;
  }

  /** Probes are cut short so that they can be frequent; now and then one waits longer, in case the unit became slower. */
  #probeThinkMs(unit: Unit): number {
    const { probes } = unit.breaker;
    const lagMs = this.#isLine ? PROBE_LAG_MS : PROBE_NETWORK_LAG_MS;
    const usualMs = unit.latency.count > 0 ? unit.latency.p50Ms : this.#slowestNeighbourMs();
    if (usualMs === 0 || probes % 128 === 127) return this.bus.timeoutMs;
    const patience = probes % 32 === 31 ? 10 : probes % 8 === 7 ? 3 : 1;
    const hintedMs = unit.answersLate ? unit.timeoutMinMs : 0;
    unit.answersLate = false;
    return Math.min(this.bus.timeoutMs, Math.max((1.5 * usualMs + lagMs) * patience, hintedMs));
  }

  #slowestNeighbourMs(): number {
    let slowestMs = 0;
    for (const unit of this.#units) slowestMs = Math.max(slowestMs, unit.slowestMs);
    return slowestMs;
  }

  #probeReadyMs(unit: Unit, nowMs: number): number {
    const atMs = Math.max(unit.breaker.probeAtMs, unit.holdUntilMs, unit.probeHeldUntilMs);
    return this.#hasLiveUnit() ? Math.max(atMs, this.#probeBudget.readyAtMs(nowMs)) : atMs;
  }

  #hasLiveUnit(): boolean {
    return this.#units.some((unit) => !unit.breaker.isOpen && unit.goodCount > 0);
  }

  #startRead(nowMs: number): boolean {
    for (let block = this.#schedule.next(nowMs); block !== undefined; block = this.#schedule.next(nowMs)) {
      this.#schedule.remove(block);
      const waitMs = this.#mustWait(block, nowMs);
      if (waitMs > 0) {
        block.dueMs = nowMs + waitMs;
        this.#schedule.add(block);
        continue;
      }
      // What reads are owed is settled when they go, and nothing is owed when no command waits.
      this.#readCreditMs = this.#waitingCommands === 0 ? 0 : Math.max(0, this.#readCreditMs - block.costMs);
      const riders = block.isTransient || block.detour !== null ? [] : this.#ridersOf(block, nowMs);
      this.#send(block, riders, nowMs);
      return true;
    }
    return false;
  }

  /** How long a due block has to be put off, in ms; 0: it may go now. */
  #mustWait(block: Block, nowMs: number): number {
    const { unit } = block;
    if (unit.holdUntilMs > nowMs) return unit.holdUntilMs - nowMs;
    // A late answer to the last request of this shape could be taken for this one's.
    const heldMs = this.#client.heldUntilMs(block.request()) - nowMs;
    block.detour = heldMs > 0 ? this.#detourOf(block, nowMs) : null;
    if (heldMs > 0 && block.detour === null) return heldMs;
    if (unit.breaker.failures === 0) return 0;
    if (unit.breaker.isOpen) return 0;
    const restMs = this.#suspectsRestUntilMs - nowMs;
    // A unit that has just failed may cost others only so much time; when nobody else is due it costs nobody.
    if (restMs <= 0 || this.#nextHealthyDueMs() > nowMs + this.#thinkMs(unit)) return 0;
    return Math.min(restMs, 50);
  }

  /** When a unit without failures wants the line next. */
  #nextHealthyDueMs(): number {
    let dueMs = Infinity;
    for (const { breaker, blocks } of this.#units) {
      if (breaker.failures > 0) continue;
      for (const block of blocks) if (block.slot >= 0) dueMs = Math.min(dueMs, block.dueMs);
    }
    return dueMs;
  }

  #suspect(costMs: number, nowMs: number): void {
    this.#suspectsRestUntilMs = nowMs + Math.min(SUSPECT_REST_MAX_MS, SUSPECT_REST * costMs);
  }

  /** A longer read around a block that is held back: an answer to the one cannot be taken for an answer to the other. */
  #detourOf(block: Block, nowMs: number): Span | null {
    const { unit, table, address, end } = block;
    const isSure = block.wasGood && block.split === null && !block.isTransient;
    if (!isSure || nowMs < unit.noRidesUntilMs) return null;
    const terrain = unit.terrain(table);
    // Bits come in whole bytes, so only a byte more makes another length.
    const step = isBitTable(table) ? 8 : 1;
    for (let more = step; more <= 3 * step; more += step) {
      const span = terrain.fit(address, end + more) ?? terrain.fit(address - more, end);
      if (span === null) continue;
      const request = { kind: 'read', unitId: unit.device.unitId, table, ...span } as const;
      if (this.#client.heldUntilMs(request) <= nowMs) return span;
    }
    return null;
  }

  /** Blocks beside this one that are nearly due and cheaper to read along than later by themselves. */
  #ridersOf(block: Block, nowMs: number): Block[] {
    const { unit, table } = block;
    if (unit.blocks.length < 2 || block.split !== null || nowMs < unit.noRidesUntilMs) return [];
    const riders: Block[] = [];
    let [from, to] = [block.address, block.end];
    let terrain = null;
    for (const other of unit.blocks) {
      if (other === block || other.table !== table || other.slot < 0 || other.split !== null) continue;
      if (!other.wasGood || !block.wasGood || other.isRetry) continue;
      if (other.dueMs - nowMs > RIDE_SHARE * other.intervalMs) continue;
      terrain ??= unit.terrain(table);
      const union = terrain.fit(Math.min(from, other.address), Math.max(to, other.end));
      if (union === null) continue;
      const more = costOf(unit.cost, table, union.quantity) - costOf(unit.cost, table, to - from);
      if (more >= other.costMs) continue;
      [from, to] = [union.address, union.address + union.quantity];
      riders.push(other);
    }
    for (const rider of riders) this.#schedule.remove(rider);
    return riders;
  }

  #send(block: Block, riders: Block[], nowMs: number): void {
    const { unit, table } = block;
    let [from, to] = [block.address, block.end];
    for (const rider of riders) {
      from = Math.min(from, rider.address);
      to = Math.max(to, rider.end);
    }
    if (block.detour !== null)
      [from, to] = [block.detour.address, block.detour.address + block.detour.quantity];
    if (!block.isTransient) this.#statistics.lateness.add(Math.max(0, nowMs - block.gridMs));
    const timeoutMs = this.#thinkMs(unit);
    const request = {
      kind: 'read',
      unitId: unit.device.unitId,
      table,
      address: from,
      quantity: to - from,
    } as const;
    this.#begin();
    block.isUnderWay = true;
    for (const rider of riders) rider.isUnderWay = true;
    const mark = this.#mark;
    void this.#client.request(request, timeoutMs).then((answer) => {
      this.#finishRead(answer, block, riders, from, to - from, mark);
      this.#pump();
    });
  }

  #begin(): void {
    this.#inFlight += 1;
  }

  /** How long a unit may think: learned from its answers, the setting is the ceiling. */
  #thinkMs(unit: Unit): number {
    const ceilingMs = this.bus.timeoutMs;
    const lagMs = this.#isLine ? LINE_LAG_MS : NETWORK_LAG_MS;
    let thinkMs = ceilingMs;
    if (unit.isKnown) {
      thinkMs = 3 * unit.slowestMs + lagMs;
    } else if (this.#isLine && this.#units.length > 1) {
      // Nothing is known of this one: its neighbours on the line give an idea.
      const slowestMs = this.#slowestNeighbourMs();
      if (slowestMs > 0) thinkMs = 4 * slowestMs + 2 * lagMs;
    }
    if (unit.breaker.failures > 0 && !unit.breaker.isOpen) thinkMs *= 2;
    return Math.min(ceilingMs, Math.max(thinkMs, unit.timeoutMinMs));
  }

  // Answers

  /** Time and kind of every exchange; true when the unit itself answered. */
  #settle(unit: Unit, answer: Answer, transferredMs: number): boolean {
    this.#inFlight -= 1;
    const tookMs = Math.max(0, answer.receivedAtMs - answer.sentAtMs);
    this.#statistics.took(tookMs);
    if (!answer.ok) {
      this.#statistics.failed(answer.error);
      unit.statistics.failed(answer.error);
    }
    const { exception } = answer.ok ? { exception: 0 } : answer.error;
    const isFromGateway = exception === 10 || exception === 11;
    if (answer.ok || (answer.error.kind === 'exception' && !isFromGateway)) {
      const nowMs = this.#clock.monotonicMs();
      unit.latency.add(Math.max(0, tookMs - transferredMs));
      unit.statistics.response.add(tookMs);
      this.#statistics.response.add(tookMs);
      this.#answered(unit, nowMs);
      return true;
    }
    if (isFromGateway) this.#heard();
    return false;
  }

  #heard(): void {
    if (this.#isToldDown) this.#tellUp();
    this.#lastAnswerMs = this.#clock.monotonicMs();
    this.#failuresSinceAnswer = 0;
    this.#watchdogMs = WATCHDOG_MS;
  }

  #answered(unit: Unit, nowMs: number): void {
    this.#heard();
    unit.goodCount += 1;
    unit.timeoutMinMs *= 0.995;
    unit.breaks = Math.max(0, unit.breaks - 0.25);
    if (unit.breaker.succeeded() || unit.state === 'offline') this.#revived(unit, nowMs);
  }

  #finishRead(
    answer: Answer,
    block: Block,
    riders: Block[],
    from: number,
    quantity: number,
    mark: number,
  ): void {
    const { unit } = block;
    this.#settle(unit, answer, transferMs(this.bus, block.table, quantity));
    block.isUnderWay = false;
    for (const rider of riders) rider.isUnderWay = false;
    if (this.#isStopped) return;
    this.#statistics.reads += 1;
    unit.statistics.reads += 1;
    const nowMs = this.#clock.monotonicMs();
    if (answer.ok) {
      block.detour = null;
      const expected = block.bytesOf(quantity);
      if (answer.data.length !== expected) {
        const text = `answer of ${answer.data.length} bytes instead of ${expected}`;
        return this.#failed(block, riders, { kind: 'mismatch', exception: 0, text }, answer, nowMs);
      }
      if (!this.#isLine) unit.slope.add(quantity, answer.receivedAtMs - answer.sentAtMs);
      unit.busyPauseMs = 0;
      this.#deliver(block, from, answer, mark, nowMs);
      for (const rider of riders) this.#deliver(rider, from, answer, mark, nowMs);
      return;
    }
    this.#failed(block, riders, answer.error, answer, nowMs);
  }

  /** Hands a good answer to the block's tags. */
  #deliver(block: Block, from: number, answer: Answer & { ok: true }, mark: number, nowMs: number): void {
    const shift = block.shiftFrom(from);
    const timeMs = Math.trunc(this.#clock.nowMs() - (nowMs - answer.receivedAtMs));
    const { states, positions } = block;
    const isForced = block.asked.length > 0;
    if (block.hasScale) this.#takeScales(block, shift, answer, timeMs, mark);
    for (let i = 0; i < states.length; i += 1) {
      const state = states[i];
      if (state === undefined) continue;
      // Read before, or while, the tag was written: the answer may hold the old value.
      if (state.writeMark > mark || state.writesUnderWay > 0) continue;
      state.take(answer.data, (positions[i] ?? 0) + shift, timeMs, answer.receivedAtMs);
      if (state.tag.payload === 'batch') continue;
      if (isForced || state.isDue(nowMs)) this.#publish(state, nowMs);
    }
    for (const batch of block.batches) this.#arrived(batch, block, timeMs, nowMs);
    this.#good(block, nowMs);
  }

  /** Factors before the values that they scale, whatever their addresses. */
  #takeScales(
    block: Block,
    shift: number,
    answer: Answer & { ok: true },
    timeMs: number,
    mark: number,
  ): void {
    for (const [i, state] of block.states.entries()) {
      if (!state.isScale || state.writeMark > mark || state.writesUnderWay > 0) continue;
      state.take(answer.data, (block.positions[i] ?? 0) + shift, timeMs, answer.receivedAtMs);
    }
  }

  #publish(state: TagState, nowMs: number): void {
    state.reported(nowMs);
    this.#statistics.samples += 1;
    this.#sink.sample(state);
  }

  #arrived(joined: BatchState, block: Block, timeMs: number, nowMs: number): void {
    joined.arrived.add(block);
    if (joined.arrived.size < joined.awaited.size) return;
    joined.arrived.clear();
    if (
      joined.batch.group === null ||
      joined.states.some((state) => state.isDue(nowMs) || state.reportedAtMs === nowMs)
    ) {
      this.#publishBatch(joined, timeMs, nowMs);
    }
  }

  #publishBatch(joined: BatchState, timeMs: number, nowMs: number): void {
    for (const state of joined.states) if (state.tag.payload === 'batch') state.reported(nowMs);
    this.#statistics.samples += joined.states.length;
    this.#sink.batch(joined.batch, joined.states, timeMs);
  }

  #good(block: Block, nowMs: number): void {
    const { unit } = block;
    block.wasGood = true;
    block.isRetry = false;
    block.refusals = 0;
    block.serverFailures = 0;
    block.silences = 0;
    for (const correlation of block.asked) this.#answerAsked(block, correlation);
    block.asked = [];
    if (block.isTransient) this.#pardon(block, nowMs);
    else this.#again(block, nowMs, true);
    if (block.split !== null) {
      const learnedSome = accepted(block, this.#clock.nowMs());
      unit.openSplits -= 1;
      if (learnedSome) unit.needsPlan = true;
      this.#planWhenSettled(unit, nowMs);
    }
    if (unit.state !== 'online') this.#review(unit);
  }

  #answerAsked(block: Block, correlation: number): void {
    const state = block.states.find((candidate) => candidate.askedBy === correlation) ?? block.states[0];
    if (state === undefined) return;
    if (state.value === null) this.#result(state.tag.index, 'TIMEOUT', correlation, 'no valid value');
    else this.#sink.result(state.tag.index, 0, correlation, payloadOfValue(state.value));
  }

  /** Puts a block in for its next turn. */
  #again(block: Block, nowMs: number, isRead = false): void {
    if (block.unit.breaker.isOpen || !block.unit.blocks.includes(block)) return;
    if (block.intervalMs === 0) {
      if (!isRead) this.#retry(block, nowMs + ONCE_RETRY_MS);
      return;
    }
    if (block.isFirst) {
      // The first read came at once; from now on each device keeps its own place in the period.
      block.isFirst = false;
      block.gridMs = nowMs + phaseOf(block.unit.device.index + 1, block.intervalMs);
    } else {
      const next = nextDue(block, block.gridMs, nowMs);
      block.gridMs = next.dueMs;
      this.#statistics.missed += next.missed;
    }
    block.dueMs = block.gridMs;
    this.#schedule.add(block);
  }

  /** Tries a block again soon. */
  #retry(block: Block, atMs: number): void {
    if (block.unit.breaker.isOpen) return;
    block.dueMs = atMs;
    this.#schedule.add(block);
  }

  // What failures mean

  #failed(block: Block, riders: Block[], error: ModbusError, answer: Answer, nowMs: number): void {
    for (const rider of riders) this.#retry(rider, nowMs);
    switch (error.kind) {
      case 'exception':
        return this.#excepted(block, riders.length > 0 || block.detour !== null, error, nowMs);
      case 'timeout':
        return this.#timedOut(block, error, answer, nowMs);
      case 'crc':
      case 'framing':
      case 'mismatch':
        return this.#garbled(block, error, answer, nowMs);
      case 'closed':
      case 'refused':
        // The link is gone, or about to be; what was due stays due.
        this.#broke(block.unit, nowMs);
        return this.#dropOrRetry(block, nowMs + (this.#client.isUp ? 100 : 0), error);
      case 'invalid-request':
        this.#events.event('invalid-request', {
          bus: this.bus.name,
          device: block.unit.device.name,
          error: error.text,
        });
        return this.#refused(block, error, nowMs);
    }
  }

  /** Whose answers break the connection again and again costs all who share it: it rests, ever longer up to a limit. */
  #broke(unit: Unit, nowMs: number): void {
    if (this.#units.length === 1) return;
    unit.breaks += 1;
    const restMs = RECONNECT_COST_MS * 2 ** Math.min(unit.breaks - 1, 10);
    unit.holdUntilMs = nowMs + Math.min(SUSPECT_REST_MAX_MS, restMs);
  }

  #excepted(block: Block, hadRiders: boolean, error: ModbusError, nowMs: number): void {
    const { unit } = block;
    switch (error.exception) {
      case 1:
      case 2:
      case 3:
        // Several blocks in one request: each by itself shows whose fault it is.
        if (hadRiders) {
          unit.noRidesUntilMs = nowMs + NO_RIDES_MS;
          return this.#retry(block, nowMs);
        }
        return this.#refused(block, error, nowMs);
      case 5:
      case 6:
        unit.busyPauseMs = Math.min(BUSY_PAUSE_MAX_MS, Math.max(BUSY_PAUSE_MS, unit.busyPauseMs * 2));
        unit.holdUntilMs = nowMs + unit.busyPauseMs;
        return this.#dropOrRetry(block, unit.holdUntilMs, error);
      case 10:
      case 11:
        this.#unitFailed(unit, error, 0, nowMs);
        return this.#dropOrRetry(block, nowMs + GATEWAY_PAUSE_MS, error);
      default:
        // Some devices say 4 for addresses that they do not have.
        block.serverFailures += 1;
        if (!block.wasGood && block.serverFailures >= 4) return this.#refused(block, error, nowMs);
        if (!block.isRetry) {
          block.isRetry = true;
          return this.#dropOrRetry(block, nowMs + 20, error);
        }
        this.#failTags(block.states, 'exception', nowMs);
        block.isRetry = false;
        this.#dropOrAgain(block, error, nowMs);
        this.#review(unit);
    }
  }

  #timedOut(block: Block, error: ModbusError, answer: Answer, nowMs: number): void {
    const { unit } = block;
    const costMs = Math.max(0, answer.receivedAtMs - answer.sentAtMs);
    this.#failuresSinceAnswer += 1;
    this.#missed(unit, answer.sentAtMs);
    this.#suspect(costMs, nowMs);
    if (block.unitGoodCountAtSilence !== unit.goodCount) block.silences += 1;
    block.unitGoodCountAtSilence = unit.goodCount;
    const opened = this.#unitFailed(unit, error, costMs, nowMs);
    if (opened || unit.breaker.isOpen) {
      unit.triedUntilMs = nowMs + SILENT_TRY_MS;
      this.#rejectAll(unit, 'OFFLINE', error.text);
      return this.#answerAskedOf(block, 'TIMEOUT', error.text);
    }
    if (block.silences >= 3 && !block.wasGood) return this.#refused(block, error, nowMs);
    if (block.isTransient) return this.#dropOrRetry(block, Infinity, error);
    if (block.silences >= 3) this.#failTags(block.states, 'timeout', nowMs);
    if (block.isRetry) {
      block.isRetry = false;
      return this.#again(block, nowMs);
    }
    block.isRetry = true;
    this.#retry(block, nowMs);
  }

  /** An answer came, but broken: once more at once, then at the next turn. */
  #garbled(block: Block, error: ModbusError, answer: Answer, nowMs: number): void {
    const { unit } = block;
    if (!this.#client.isUp) {
      // So broken that the connection had to go with it.
      this.#broke(unit, nowMs);
      return this.#dropOrRetry(block, nowMs, error);
    }
    this.#failuresSinceAnswer += 1;
    const costMs = Math.max(0, answer.receivedAtMs - answer.sentAtMs);
    this.#suspect(costMs, nowMs);
    if (this.#unitFailed(unit, error, costMs, nowMs))
      return this.#answerAskedOf(block, 'TIMEOUT', error.text);
    if (block.isRetry) {
      block.isRetry = false;
      return this.#dropOrAgain(block, error, nowMs);
    }
    block.isRetry = true;
    this.#dropOrRetry(block, nowMs, error);
  }

  /** True when the unit counts as silent from now on. */
  #unitFailed(unit: Unit, error: ModbusError, costMs: number, nowMs: number): boolean {
    const { breaker } = unit;
    if (breaker.failures === 0) unit.firstFailureMs = nowMs - costMs;
    // Learned timeouts are short: a unit is silent only after the time that the settings give it.
    const isEarly = error.kind !== 'exception' && nowMs - unit.firstFailureMs < this.bus.timeoutMs;
    if (!breaker.isOpen && isEarly && breaker.failures + 1 >= unit.device.offline.afterFailures) return false;
    if (!breaker.failed(nowMs)) return false;
    for (const block of unit.blocks) this.#schedule.remove(block);
    this.#setState(unit, 'offline', error.text);
    this.#failTags(unit.states, error.kind === 'exception' ? 'offline' : 'timeout', nowMs);
    this.#rejectAll(unit, 'OFFLINE', error.text);
    return true;
  }

  #probed(unit: Unit, answer: Answer, transferredMs: number): void {
    const nowMs = this.#clock.monotonicMs();
    unit.holdUntilMs = nowMs;
    const read = unit.shortestRead();
    if (read !== null)
      unit.probeHeldUntilMs = this.#client.heldUntilMs({ kind: 'read', unitId: unit.device.unitId, ...read });
    if (!this.#settle(unit, answer, transferredMs) && !answer.ok) {
      if (answer.error.kind === 'timeout') {
        this.#failuresSinceAnswer += 1;
        this.#missed(unit, answer.sentAtMs);
      }
      unit.breaker.failed(nowMs);
      this.#rejectAll(unit, 'OFFLINE', answer.error.text);
    }
    this.#pump();
  }

  /** It answers again: everything of it is due now. */
  #revived(unit: Unit, nowMs: number): void {
    unit.revivedAtMs = this.#clock.nowMs();
    unit.holdUntilMs = Math.min(unit.holdUntilMs, nowMs);
    this.#allDue(unit, nowMs);
    this.#review(unit);
  }

  #allDue(unit: Unit, nowMs: number): void {
    for (const block of unit.blocks) {
      if (block.slot >= 0 || block.isUnderWay) continue;
      block.dueMs = nowMs;
      if (!block.isFirst) block.gridMs = nowMs;
      this.#schedule.add(block);
    }
  }

  /** Exceptions 1 to 3, or silence where others are answered: the request asks for what is not there. */
  #refused(block: Block, error: ModbusError, nowMs: number): void {
    const { unit } = block;
    block.refusals += 1;
    if (block.refusals === 1) block.refusedSinceMs = nowMs;
    if (block.isTransient) return this.#refusedOnce(block, error);
    // Once may be chance; what was readable before is given time to become so again.
    if (block.refusals < 2) return this.#retry(block, nowMs + 10);
    if (block.wasGood && (block.refusals < 10 || nowMs - block.refusedSinceMs < REFUSED_LONG_MS)) {
      this.#failTags(block.states, 'exception', nowMs);
      this.#review(unit);
      return this.#again(block, nowMs);
    }
    const wasOnTrial = block.split !== null;
    if (wasOnTrial) unit.openSplits -= 1;
    unit.blocks = unit.blocks.filter((other) => other !== block);
    // Exception 3 of a read is about its length (Modbus 6.1 to 6.4).
    const halves = block.states.length > 1 ? halve(block, error.exception === 3) : null;
    if (halves === null) {
      this.#refuseTags(unit, block.states, error, nowMs);
    } else {
      unit.openSplits += 2;
      for (const half of halves) {
        half.dueMs = nowMs;
        half.gridMs = nowMs;
        unit.blocks.push(half);
        this.#schedule.add(half);
      }
    }
    this.#planWhenSettled(unit, nowMs);
    this.#review(unit);
  }

  #refuseTags(unit: Unit, states: readonly TagState[], error: ModbusError, nowMs: number): void {
    for (const state of states) {
      const refusal = unit.knowledge.refuse(state.tag.name, error.text, this.#clock.nowMs());
      if (refusal.count === 1) {
        const { name } = unit.device;
        this.#events.event('tag-refused', { device: name, tag: state.tag.name, error: error.text });
      }
    }
    this.#failTags(states, 'exception', nowMs);
    unit.needsPlan = true;
    this.#remember(unit);
  }

  #refusedOnce(block: Block, error: ModbusError): void {
    const { unit } = block;
    for (const { tag } of block.states) {
      if (unit.knowledge.refusals.has(tag.name))
        unit.knowledge.refuse(tag.name, error.text, this.#clock.nowMs());
    }
    this.#answerAskedOf(block, error.exception, error.text);
  }

  /** A tag that was refused is answered after all: it is read with the others again. */
  #pardon(block: Block, nowMs: number): void {
    const { unit } = block;
    let isChanged = false;
    for (const { tag } of block.states) isChanged = unit.knowledge.refusals.delete(tag.name) || isChanged;
    if (!isChanged) return;
    unit.needsPlan = true;
    this.#planWhenSettled(unit, nowMs);
    this.#remember(unit);
  }

  #planWhenSettled(unit: Unit, nowMs: number): void {
    if (unit.openSplits > 0 || !unit.needsPlan) return;
    this.#replan(unit, nowMs);
    this.#remember(unit);
  }

  #replan(unit: Unit, nowMs: number): void {
    const { added, removed, unreadable } = unit.plan();
    for (const block of removed) {
      this.#schedule.remove(block);
      for (const correlation of block.asked) this.#answerAsked(block, correlation);
    }
    for (const block of added) {
      block.dueMs = nowMs;
      block.gridMs = nowMs;
      if (!unit.breaker.isOpen) this.#schedule.add(block);
    }
    if (unreadable.length > 0) this.#failTags(unreadable, 'invalid', nowMs);
    const refused = unit.states.filter(({ tag }) => unit.knowledge.refusals.has(tag.name));
    if (refused.length > 0) this.#failTags(refused, 'exception', nowMs);
  }

  /** A transient block is over; any other gets another chance at the given time. */
  #dropOrRetry(block: Block, atMs: number, error: ModbusError): void {
    if (!block.isTransient || (atMs !== Infinity && block.asked.length === 0 && !block.isRetry)) {
      return this.#retry(block, atMs);
    }
    this.#answerAskedOf(block, error.kind === 'exception' ? error.exception : 'TIMEOUT', error.text);
  }

  #dropOrAgain(block: Block, error: ModbusError, nowMs: number): void {
    if (!block.isTransient) return this.#again(block, nowMs);
    this.#answerAskedOf(block, error.kind === 'exception' ? error.exception : 'TIMEOUT', error.text);
  }

  #answerAskedOf(block: Block, code: ResultCode | number, text: string): void {
    const state = block.states[0];
    if (state === undefined) return;
    for (const correlation of block.asked) this.#result(state.tag.index, code, correlation, text);
    block.asked = [];
  }

  #failTags(states: readonly TagState[], reason: Reason, nowMs: number): void {
    const timeMs = Math.trunc(this.#clock.nowMs());
    for (const state of states) {
      state.fail(reason, timeMs);
      if (state.tag.payload !== 'batch' && state.code !== state.reportedCode) this.#publish(state, nowMs);
    }
    this.#publishChangedBatches(states, timeMs, nowMs);
  }

  #publishChangedBatches(states: readonly TagState[], timeMs: number, nowMs: number): void {
    const unit = states[0] === undefined ? undefined : this.#byTag.get(states[0].tag.index)?.unit;
    for (const joined of unit?.batches ?? []) {
      const isChanged = joined.states.some(
        (state) =>
          states.includes(state) && (state.tag.payload !== 'batch' || state.code !== state.reportedCode),
      );
      if (isChanged) this.#publishBatch(joined, timeMs, nowMs);
    }
  }

  // Units and link

  #unitOf(device: Device, options: PollerOptions): Unit {
    const states = options.tags.filter((tag) => tag.device === device).map((tag) => new TagState(tag));
    const batches = options.batches.filter((batch) => batch.device === device);
    const knowledge = Knowledge.fromRecord(options.knowledgeOf(device), device, options.clock.nowMs());
    const unit = new Unit(device, states, batches, knowledge, options.random);
    for (const state of states) this.#byTag.set(state.tag.index, { unit, state });
    return unit;
  }

  #review(unit: Unit): void {
    if (unit.breaker.isOpen || this.#isDown || unit.goodCount === 0) return;
    const badCount = unit.countBad();
    if (badCount === 0) this.#setState(unit, 'online', '');
    else this.#setState(unit, 'degraded', `${badCount} of ${unit.states.length} tags are not answered`);
  }

  #setState(unit: Unit, state: DeviceState, error: string): void {
    if (unit.state === state && unit.error === error) return;
    if (unit.state !== state) unit.sinceMs = this.#clock.nowMs();
    const before = unit.state;
    unit.state = state;
    unit.error = error;
    this.#events.deviceChanged(unit.device.index, state, unit.sinceMs, error);
    if (before !== state)
      this.#events.event(`device-${state}`, { device: unit.device.name, bus: this.bus.name, error });
  }

  #linkUp(): void {
    const nowMs = this.#clock.monotonicMs();
    this.#upSinceMs = nowMs;
    this.#wasUp = true;
    this.#failuresSinceAnswer = 0;
    const wasDown = this.#isDown;
    this.#isDown = false;
    this.#downError = '';
    for (const unit of this.#units) {
      // What is read once is read again after the link was away.
      if (wasDown && !unit.breaker.isOpen) this.#allDue(unit, nowMs);
      if (unit.breaks === 0) unit.holdUntilMs = nowMs;
      unit.busyPauseMs = 0;
      unit.breaker.probeNow(nowMs);
      for (const refusal of unit.knowledge.refusals.values()) {
        if (unit.goodCount === 0) continue;
        refusal.retestAtMs = Math.min(refusal.retestAtMs, this.#clock.nowMs() + 15_000);
      }
    }
    this.#pump();
  }

  /** A link that comes and goes without an answer is not up: the first answer says so, or time. */
  #tellUp(): void {
    this.#isToldDown = false;
    this.#events.busChanged(this.bus.index, true, '');
  }

  #linkDown(error: ModbusError): void {
    this.#downError = error.text;
    // Also told for every attempt that fails; only the first end counts.
    if (this.#wasUp) this.#downSinceMs = this.#clock.monotonicMs();
    this.#wasUp = false;
  }

  #reviewLink(nowMs: number): void {
    if (this.#client.isUp) {
      if (this.#isToldDown && nowMs - this.#upSinceMs > SETTLED_MS) this.#tellUp();
      return;
    }
    if (this.#isDown || nowMs - this.#downSinceMs < GRACE_MS) return;
    this.#isDown = true;
    const error = this.#downError || 'not connected';
    if (!this.#isToldDown) this.#events.busChanged(this.bus.index, false, error);
    this.#isToldDown = true;
    for (const unit of this.#units) {
      this.#setState(unit, 'offline', error);
      this.#failTags(unit.states, 'offline', nowMs);
      this.#rejectAll(unit, 'OFFLINE', error);
    }
  }

  /** Half a second's housekeeping: ages, heartbeats, expired commands, refused tags, the link's watchdog. */
  #sweep(): void {
    this.#sweepTimer = this.#clock.after(SWEEP_MS, () => this.#sweep());
    const nowMs = this.#clock.monotonicMs();
    const wallMs = this.#clock.nowMs();
    this.#reviewLink(nowMs);
    const cycleMs = 1.5 * this.#schedule.sumOfCostsMs;
    for (const unit of this.#units) {
      this.#sweepTags(unit, cycleMs, nowMs, wallMs);
      this.#expire(unit, nowMs);
      if (!unit.breaker.isOpen && !this.#isDown) this.#retest(unit, nowMs, wallMs);
    }
    this.#watch(nowMs);
    if (this.#inFlight === 0) this.#pump();
  }

  #sweepTags(unit: Unit, cycleMs: number, nowMs: number, wallMs: number): void {
    const changed: TagState[] = [];
    for (const state of unit.states) {
      const { tag, code } = state;
      if (code === CODE_UNREAD) continue;
      const quality = code & 3;
      if (quality === SAMPLE_CODE.good || quality === SAMPLE_CODE.uncertain) {
        if (tag.intervalMs === 0 || nowMs - state.readAtMs <= 3 * Math.max(tag.intervalMs, cycleMs)) continue;
        state.age('timeout');
        changed.push(state);
      } else if (tag.heartbeatMs > 0 && nowMs - state.reportedAtMs >= tag.heartbeatMs) {
        if (quality === SAMPLE_CODE.bad) state.timeMs = Math.trunc(wallMs);
        changed.push(state);
      }
    }
    if (changed.length === 0) return;
    for (const state of changed) if (state.tag.payload !== 'batch') this.#publish(state, nowMs);
    for (const joined of unit.batches) {
      if (joined.states.some((state) => changed.includes(state)))
        this.#publishBatch(joined, Math.trunc(wallMs), nowMs);
    }
  }

  #expire(unit: Unit, nowMs: number): void {
    if (unit.commands.length === 0) return;
    for (const command of unit.commands.takeWhere((waiting) => nowMs > waiting.deadlineMs)) {
      this.#waitingCommands -= 1;
      this.#expired(command);
    }
  }

  /** Asks again, rarely and one at a time, for a tag that the device refused. */
  #retest(unit: Unit, nowMs: number, wallMs: number): void {
    if (unit.knowledge.forgetOld(wallMs)) {
      unit.needsPlan = true;
      this.#planWhenSettled(unit, nowMs);
    }
    if (unit.knowledge.refusals.size === 0 || nowMs < unit.retestAfterMs) return;
    for (const refusal of unit.knowledge.refusals.values()) {
      if (refusal.retestAtMs > wallMs) continue;
      const state = unit.states.find(({ tag }) => tag.name === refusal.tag);
      if (state === undefined) {
        unit.knowledge.refusals.delete(refusal.tag);
        continue;
      }
      unit.retestAfterMs = nowMs + 15_000;
      refusal.retestAtMs = wallMs + 15_000;
      return this.#readOnce(unit, [state], [], nowMs);
    }
  }

  #watch(nowMs: number): void {
    if (!this.#client.isUp || this.#failuresSinceAnswer < 3) return;
    const limitMs = Math.max(this.#watchdogMs, 3 * this.bus.timeoutMs);
    if (nowMs - Math.max(this.#lastAnswerMs, this.#upSinceMs) < limitMs) return;
    this.#watchdogMs = Math.min(WATCHDOG_MAX_MS, this.#watchdogMs * 2);
    this.#failuresSinceAnswer = 0;
    this.#statistics.resets += 1;
    this.#events.event('link-reset', {
      bus: this.bus.name,
      silent_ms: Math.round(nowMs - this.#lastAnswerMs),
    });
    this.#client.reset('no unit answers');
  }

  #missed(unit: Unit, sentAtMs: number): void {
    const first = this.#unansweredFirst;
    if (first !== null && sentAtMs - first.sentAtMs <= 2 * this.bus.timeoutMs) return;
    this.#unansweredFirst = { unit, sentAtMs };
  }

  /** Bytes that were no answer: a late one shows that the unit needs more time than it was given. */
  #discarded(reason: string): void {
    this.#statistics.discard(reason);
    const first = this.#unansweredFirst;
    if (reason !== 'late' || first === null) return;
    this.#unansweredFirst = null;
    const { unit } = first;
    const tookMs = this.#clock.monotonicMs() - first.sentAtMs;
    // Later than the settings allow: waiting longer is of no use.
    if (tookMs > this.bus.timeoutMs) return;
    unit.timeoutMinMs = Math.min(this.bus.timeoutMs, Math.max(unit.timeoutMinMs, 1.5 * tookMs));
    if (!unit.breaker.isOpen) return;
    unit.answersLate = true;
    unit.breaker.probeNow(this.#clock.monotonicMs());
  }

  #remember(unit: Unit): void {
    if (unit.latency.count >= 8)
      unit.knowledge.responseMs = { p50: round(unit.latency.p50Ms), p99: round(unit.latency.p99Ms) };
    this.#events.learned(unit.device, unit.knowledge.toRecord(unit.device, this.#clock.nowMs()));
  }

  // Commands

  #supersede(unit: Unit, state: TagState): void {
    for (const older of unit.commands.takeWhere(
      (waiting) => waiting.state === state && waiting.kind === 'write',
    )) {
      this.#waitingCommands -= 1;
      this.#result(state.tag.index, 'EXPIRED', older.correlation, 'replaced by a newer command');
    }
  }

  #rejectAll(unit: Unit, code: ResultCode, text: string): void {
    for (const command of unit.commands.takeWhere(() => true)) {
      this.#waitingCommands -= 1;
      this.#result(command.state.tag.index, code, command.correlation, text);
    }
  }

  #startAskedRead(unit: Unit, command: Command, nowMs: number): boolean {
    const { state, correlation } = command;
    state.askedBy = correlation;
    const [block] = unit.planOnce([state], 0);
    if (block === undefined) {
      this.#result(state.tag.index, 'UNKNOWN_TAG', correlation, 'the tag cannot be read within the limits');
      return false;
    }
    block.asked.push(correlation);
    const waitMs = this.#mustWait(block, nowMs);
    if (waitMs === 0) {
      this.#send(block, [], nowMs);
      return true;
    }
    block.dueMs = nowMs + waitMs;
    this.#schedule.add(block);
    return false;
  }

  #startWrite(unit: Unit, command: Command): boolean {
    void this.#carryOut(unit, command);
    return true;
  }

  #expired(command: Command): void {
    this.#result(command.state.tag.index, 'EXPIRED', command.correlation, 'too old to be carried out');
  }

  #readOnce(unit: Unit, states: readonly TagState[], asked: number[], nowMs: number): void {
    for (const block of unit.planOnce(states, 0)) {
      block.asked = asked;
      block.dueMs = nowMs;
      block.gridMs = nowMs;
      this.#schedule.add(block);
    }
  }

  /** One write from its encoding to its result; holds its place on the line for all its steps. */
  async #carryOut(unit: Unit, command: Command): Promise<void> {
    const { state, correlation } = command;
    const { tag } = state;
    this.#begin();
    unit.isWriting = true;
    const startedMs = this.#clock.monotonicMs();
    const touched = this.#touchedBy(unit, state);
    this.#mark += 1;
    for (const other of touched) {
      other.writeMark = this.#mark;
      other.writesUnderWay += 1;
    }
    const outcome = await this.#writer.write(
      unit,
      tag,
      command.payload,
      command.deadlineMs,
      this.#clock,
      unit.breaker.isOpen ? this.#thinkMs(unit) : this.bus.timeoutMs,
    );
    this.#mark += 1;
    for (const other of touched) {
      other.writeMark = this.#mark;
      other.writesUnderWay -= 1;
    }
    unit.isWriting = false;
    this.#inFlight -= 1;
    const nowMs = this.#clock.monotonicMs();
    if (outcome.sent) {
      this.#statistics.writes += 1;
      this.#statistics.took(nowMs - startedMs);
      if (this.#schedule.readyCount > 0)
        this.#readCreditMs = Math.min(1000, this.#readCreditMs + READ_CREDIT * (nowMs - startedMs));
    }
    this.#judgeWrite(unit, outcome.answer, nowMs);
    this.#result(tag.index, outcome.code, correlation, outcome.text);
    if (outcome.sent && outcome.code !== 'EXPIRED') for (const other of touched) unit.readBack.add(other);
    if (!this.#isStopped) this.#readBack(nowMs);
    this.#pump();
  }

  /** What the last exchange of a write says of its unit. */
  #judgeWrite(unit: Unit, answer: Answer | null, nowMs: number): void {
    if (answer === null || this.#isStopped) return;
    const isSilent = !answer.ok && (answer.error.kind === 'timeout' || answer.error.exception >= 10);
    if (answer.ok || (answer.error.kind === 'exception' && !isSilent)) return this.#answered(unit, nowMs);
    const costMs = Math.max(0, answer.receivedAtMs - answer.sentAtMs);
    this.#statistics.failed(answer.error);
    unit.statistics.failed(answer.error);
    if (!isSilent) return;
    this.#failuresSinceAnswer += 1;
    if (unit.breaker.isOpen) {
      unit.triedUntilMs = nowMs + SILENT_TRY_MS;
      unit.breaker.failed(nowMs);
      this.#rejectAll(unit, 'OFFLINE', answer.error.text);
    } else {
      this.#unitFailed(unit, answer.error, costMs, nowMs);
    }
  }

  #touchedBy(unit: Unit, state: TagState): TagState[] {
    const { tag } = state;
    if (tag.write === null) return [state];
    const touched = [...unit.touching(tag.write.table, tag.write.address, tag.quantity)];
    return touched.includes(state) ? touched : [...touched, state];
  }

  /** Reads what was written, each tag once, when no further write waits. */
  #readBack(nowMs: number): void {
    for (const unit of this.#units) {
      if (unit.readBack.size === 0 || unit.commands.length > 0 || unit.breaker.isOpen) continue;
      const states = [...unit.readBack].filter(({ tag }) => !unit.knowledge.refusals.has(tag.name));
      unit.readBack.clear();
      if (states.length > 0) this.#readOnce(unit, states, [], nowMs);
    }
  }

  #result(tagIndex: number, code: ResultCode | number, correlation: number, text: string): void {
    const number = typeof code === 'number' ? RESULT_EXCEPTION_BASE + code : RESULT_CODES.indexOf(code);
    this.#sink.result(tagIndex, number, correlation, Buffer.from(text));
  }
}

function round(ms: number): number {
  return Math.round(ms * 100) / 100;
}
