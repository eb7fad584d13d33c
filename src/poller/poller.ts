/**
 * One bus: puts its parts together, takes in commands and visits, and keeps house. Owns the client, the units and the
 * schedule of its bus; knows no threads and no topics. What goes on the line next is arbiter.ts's business, and how it
 * is carried out that of exchanges.ts.
 */
import type { Cancel, Clock } from '../clock.js';
import type { Batch, Bus, Device, Tag } from '../config/plant.js';
import type { Client, LinkListener, OnFrame, Request } from '../modbus/client.js';
import { EXCEPTION } from '../modbus/server.js';
import { Agenda } from './agenda.js';
import { Arbiter } from './arbiter.js';
import { isBroadcast, type Command } from './commands.js';
import { ReadCredit } from './credit.js';
import { Desk } from './desk.js';
import { Exchanges, FAREWELL_MS } from './exchanges.js';
import { Health } from './health.js';
import { Knowledge, type KnowledgeRecord } from './knowledge.js';
import { Lessons } from './lessons.js';
import { isLine, isSerial } from './linecost.js';
import { LinkState } from './linkstate.js';
import type { Sink } from './outbox.js';
import { Patience } from './patience.js';
import { Publisher } from './publisher.js';
import { TagState } from './report.js';
import { type DeviceState, NOT_YET_READ } from './sample.js';
import { Statistics, type BusStatistics } from './statistics.js';
import { Unit } from './unit.js';
import { type VisitAnswer, Visitors } from './visitors.js';
import { Unhurried } from './unhurried.js';

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

const SWEEP_MS = 500;
/** Readings are stale after three periods; on a line that cannot keep up, after as many of its cycles and a half more. */
const CYCLE_SLACK = 1.5;
/** Requests under way are waited for before the link is lent. */
const LEND_WAIT_MS = 1000;
/** And before it is let go of for good, farewell writes included. */
const STOP_WAIT_MS = 1300;
const SETTLED_LOOK_MS = 5;

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
  readonly #visitors: Visitors;
  readonly #exchanges: Exchanges;
  readonly #arbiter: Arbiter;

  #isStopped = false;
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
    const isGateway = !isSerial(bus) && this.#units.length > 1;
    this.#link = new LinkState(bus.timeoutMs, isGateway, nowMs, (isUp, error) =>
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
        if (!this.#arbiter.isLent) this.#link.down(error, this.#clock.monotonicMs());
      },
      oneAtATime: () => this.#oneAtATime(),
      discarded: (reason, _bytes, unitId) => {
        this.#statistics.discard(reason);
        if (reason === 'late') this.#patience.cameLate(unitId, this.#clock.monotonicMs());
      },
    });
    const isOneAtATime = bus.inFlight > 1 && this.#units.some(({ knowledge }) => knowledge.isOneAtATime);
    if (isOneAtATime) client.oneAtATime();
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
      units: this.#units,
      client: this.#client,
      visitors: this.#visitors,
      credit: new ReadCredit(),
      revived: (unit: Unit, nowMs: number) => this.#lessons.retestSoon(unit, nowMs, false),
    };
    this.#health = new Health(parts);
    this.#exchanges = new Exchanges(parts, this.#health, () => this.#arbiter.pump());
    this.#arbiter = new Arbiter(parts, this.#exchanges, isOneAtATime ? 1 : bus.inFlight);
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
  async stop(reason = 'the gateway is stopping'): Promise<void> {
    this.#isStopped = true;
    this.#arbiter.end();
    this.#sweepTimer?.();
    for (const unit of this.#units) {
      this.#desk.rejectAll(unit, reason);
      this.#lessons.remember(unit);
    }
    for (const block of this.#agenda.schedule) this.#desk.answerFailedRead(block, 'OFFLINE', reason);
    this.#visitors.rejectAll();
    const endMs = this.#clock.monotonicMs() + STOP_WAIT_MS;
    await this.#within(FAREWELL_MS, this.#exchanges.end(reason));
    // On a line the answer to what is under way would look like one to whoever has the line next.
    if (isLine(this.bus)) await this.#settled(endMs);
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

  async #within(ms: number, work: Promise<void>): Promise<void> {
    let cancel: Cancel = () => {};
    await Promise.race([work, new Promise<void>((resolve) => (cancel = this.#clock.after(ms, resolve)))]);
    cancel();
  }

  /** Resolves when nothing is under way any more, or it is too late to wait for that. */
  async #settled(endMs: number): Promise<void> {
    while (this.#exchanges.underWayCount > 0 && this.#clock.monotonicMs() < endMs)
      await new Promise<void>((resolve) => this.#clock.after(SETTLED_LOOK_MS, resolve));
  }

  /** Queues a command; exactly one result follows. */
  command(command: Omit<Command, 'sequence' | 'state' | 'recipe'>, tagIndex: number): void {
    const { correlation } = command;
    const target = this.#targetOf(tagIndex) ?? this.#recipeOf(tagIndex);
    if (target === undefined) return this.#desk.answer(tagIndex, 'UNKNOWN_TAG', correlation, 'no such tag');
    const { unit, state, recipe = null } = target;
    const whole = { ...command, state, recipe };
    if (this.#isStopped || this.#link.isDown) return this.#desk.reject(unit, whole, this.#link.error);
    if (unit.breaker.isOpen && !isBroadcast(whole) && this.#clock.monotonicMs() < unit.triedUntilMs)
      return this.#desk.reject(unit, whole, unit.error);
    this.#desk.accept(unit, whole);
    this.#client.hurry();
    this.#arbiter.pump();
  }

  /** Carries out in its turn what another master asks; not, once it is not wanted any more. */
  visit(request: Request, isWanted: () => boolean): Promise<VisitAnswer> {
    if (this.#isStopped || this.#link.isDown) return Promise.resolve(EXCEPTION.targetFailedToRespond);
    const answer = this.#visitors.receive(request, isWanted, this.#clock.monotonicMs());
    this.#arbiter.pump();
    return answer;
  }

  /** Lets go of the link while the work lasts. Polls pause and commands wait until their time is over. */
  async lend(work: () => Promise<void>): Promise<void> {
    if (this.#isStopped || this.#arbiter.isLent)
      throw new Error(`bus ${this.bus.name} is being scanned already`);
    this.#arbiter.isLent = true;
    try {
      await this.#exchanges.writesDone();
      await this.#settled(this.#clock.monotonicMs() + LEND_WAIT_MS + this.bus.timeoutMs);
      await this.#client.close();
      if (!this.#isStopped) await work();
    } finally {
      this.#arbiter.isLent = false;
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
    this.#arbiter.inFlightMax = 1;
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
      // Whoever broke it is asked in his own time.
      if (unit.breaks === 0) unit.breaker.probeNow(nowMs);
      this.#lessons.retestSoon(unit, nowMs, wasDown);
    }
    this.#arbiter.pump();
  }

  /**
   * Half a second's housekeeping: ages, heartbeats, expired commands, refused tags, the link. All pollers of a thread do
   * it in one turn of the loop: two hundred that each wake it at a time of their own cost it an eighth more.
   */
  #sweep(): void {
    const nowMs = this.#clock.monotonicMs();
    this.#sweepTimer = this.#clock.after(SWEEP_MS - (nowMs % SWEEP_MS), () => this.#sweep());
    if (this.#link.review(nowMs)) this.#linkGone(nowMs);
    this.#visitors.review(nowMs);
    const cycleMs = CYCLE_SLACK * this.#agenda.schedule.sumOfCostsMs;
    for (const unit of this.#units) {
      this.#publisher.age(unit, cycleMs, nowMs);
      this.#desk.expire(unit, nowMs);
      if (!unit.breaker.isOpen && !this.#link.isDown) this.#lessons.retest(unit, nowMs);
    }
    const silentMs = this.#arbiter.isLent ? 0 : this.#link.overdueMs(nowMs);
    if (silentMs > 0) {
      this.#statistics.resets += 1;
      this.#events.event('link-reset', { bus: this.bus.name, silent_ms: Math.round(silentMs) });
      this.#client.reset('no unit answers');
    }
    if (this.#client.isUp) this.#exchanges.keepUp(nowMs);
    if (this.#exchanges.underWayCount === 0) this.#arbiter.pump();
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
}
