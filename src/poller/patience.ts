/**
 * How long units of one bus are waited for, and how much of the line those may cost that do not answer. Timeouts are
 * learned, the setting is the ceiling; units that have just failed give way to the others, silent ones get probes
 * that together take a small share of the line.
 */
import type { Bus } from '../config/plant.js';
import { TimeBudget } from './breaker.js';
import { isLine, isSerial } from './linecost.js';
import type { Unit } from './unit.js';

/** What timers, threads and a busy machine may add to a device's own time. */
const LINE_LAG_MS = 45;
const NETWORK_LAG_MS = 100;
/** A few registers more are allowed for by what is learned, on slow lines too. */
const MORE_REGISTERS = 16;
/** A probe that missed an answer by a hair is told so by the late answer. */
const PROBE_LAG_MS = 5;
const PROBE_NETWORK_LAG_MS = 20;
/** Silent units together may cost this share of line time while others on the line answer. */
const PROBE_SHARE = 0.02;
const PROBE_STORE_MS = 100;
const PROBE_CHARGE_MAX_MS = 40;
/** Of the usual probe at least this part counts: on a line of slow units they take no more than four times their share. */
const PROBE_CHARGE_LEAST = 1 / 4;
/** The same where a probe keeps the whole gateway waiting, whatever is asked meanwhile. */
const QUEUED_CHARGE_MAX_MS = 200;
/** For longer no gateway is taken to wait for a silent unit, its own retries included. */
const QUEUE_MAX_MS = 5000;
/** That it does is forgotten after so long, for it may have looked so only; so many times later each time it is seen again. */
const QUEUE_KEPT_MS = 60_000;
const QUEUE_KEPT_GROWTH = 4;
const QUEUE_KEPT_MAX_MS = 8 * 3_600_000;
/** A probe of a unit that fell silent just now, while nobody else wants the line, is charged this share. */
const IDLE_CHARGE = 0.2;
/** What is left of a learned least timeout that was no help. */
const TIMEOUT_VAIN = 0.7;
/** So much longer than usual a probe waits. */
const PROBE_PATIENCE = 1.3;
/** After a failure of a unit that does not yet count as silent, such units rest so many times what it took ... */
const SUSPECT_REST = 10;
/** ... but no longer than this, and not while nobody else has anything to do. */
const SUSPECT_REST_MAX_MS = 500;
/** Failures, less what has gone well since, before a unit is a suspect; no more than this are held against it. */
const DOUBT_MIN = 2;
const DOUBT_MAX = 4;
/** How often a suspect looks whether it may go. */
const SUSPECT_LOOK_MS = 50;
/** What a connection that a request's answer broke costs those who share it. */
const RECONNECT_COST_MS = 70;
const BROKEN_REST_MAX_MS = 800;

export class Patience {
  readonly #bus: Bus;
  readonly #units: readonly Unit[];
  readonly #isLine: boolean;
  readonly #isConverter: boolean;
  readonly #probeBudget: TimeBudget;
  /** Before this, units that have just failed give way to those that have not. */
  #suspectsRestUntilMs = 0;
  /** The first request that was given up of those since the last answer in time that followed each other, and when the last was sent. */
  #givenUp: { readonly unit: Unit; readonly sentAtMs: number; lastSentAtMs: number } | null = null;
  /**
   * Behind this address is a gateway that asks one unit at a time and goes on waiting for a silent one though nobody here
   * does any more: what is asked of others meanwhile is answered late. Giving up early gains nothing there.
   */
  #isQueue = false;
  #queueUntilMs = -Infinity;
  #queueKeptMs = QUEUE_KEPT_MS / QUEUE_KEPT_GROWTH;
  /** For how long it was seen to wait for a silent unit, and until when it may still do so. */
  #queueMs = 0;
  #queuedUntilMs = -Infinity;

  constructor(bus: Bus, units: readonly Unit[], nowMs: number) {
    this.#bus = bus;
    this.#units = units;
    this.#isLine = isLine(bus);
    this.#isConverter = this.#isLine && !isSerial(bus);
    this.#probeBudget = new TimeBudget(PROBE_SHARE, PROBE_STORE_MS, nowMs);
  }

  /**
   * How long a unit may think: learned from its answers, the setting is the ceiling; so many times that for what was
   * never answered. quantity: what is asked for, where behind a converter the answer's own time counts with it.
   */
  thinkMs(unit: Unit, times = 1, quantity = 0): number {
    const ceilingMs = this.#bus.timeoutMs;
    if (this.#isQueue) return ceilingMs;
    // Nobody knows yet what the line behind takes for so much more than it was ever asked for.
    if (this.#isConverter && quantity > 2 * unit.slope.largest + MORE_REGISTERS) return ceilingMs;
    const lagMs = this.#isLine ? LINE_LAG_MS : NETWORK_LAG_MS;
    let thinkMs = ceilingMs;
    if (unit.isKnown) {
      thinkMs = 3 * this.#slowestMs(unit, quantity) + lagMs;
    } else if (this.#units.length > 1) {
      // Nothing is known of this one: its neighbours give an idea.
      const neighboursMs = this.#isLine ? this.#slowestNeighbourMs() : this.#usualNeighbourMs();
      if (neighboursMs > 0) thinkMs = 4 * neighboursMs + 2 * lagMs;
    }
    if (unit.breaker.failures > 0 && !unit.breaker.isOpen) thinkMs *= 2;
    return Math.min(ceilingMs, Math.max(thinkMs * times, unit.timeoutMinMs));
  }

  /** The longest usual time for so much: behind a converter that of the longest answers is mostly the line's. */
  #slowestMs({ slowestMs, slope }: Unit, quantity: number): number {
    const { perUnitMs, largest } = slope;
    if (!this.#isConverter || quantity === 0 || perUnitMs === 0) return slowestMs;
    return Math.max(slope.fixedMs, slowestMs - perUnitMs * (largest - quantity));
  }

  /** How long a gateway may go on waiting for a unit that was given up before it turns to what is asked now. */
  queueMs(nowMs: number): number {
    return Math.max(0, this.#queuedUntilMs - nowMs);
  }

  /** Probes are cut short so that they can be frequent; now and then one waits longer, in case the unit became slower. */
  probeThinkMs(unit: Unit): number {
    const { probes } = unit.breaker;
    const usualMs = this.#usualMs(unit);
    // With nobody alive on the line there is nobody whose time it takes, but for those who may be back before.
    const timeoutEvery = this.hasLiveUnit ? 128 : 4;
    if (this.#isQueue || usualMs === 0 || probes % timeoutEvery === timeoutEvery - 1)
      return this.#bus.timeoutMs;
    const patience = probes % 32 === 31 ? 10 : probes % 8 === 7 ? 3 : 1;
    const hintedMs = unit.answersLate ? unit.timeoutMinMs : 0;
    unit.answersLate = false;
    return Math.min(this.#bus.timeoutMs, Math.max(this.#usualProbeMs(usualMs) * patience, hintedMs));
  }

  /** A probe that waits longer gives way to a command after so long. */
  probeYieldMs(unit: Unit): number {
    return Math.min(this.#bus.timeoutMs, this.#usualProbeMs(this.#usualMs(unit)));
  }

  #usualMs(unit: Unit): number {
    return unit.latency.count > 0 ? unit.latency.p50Ms : this.#slowestNeighbourMs();
  }

  #usualProbeMs(usualMs: number): number {
    return PROBE_PATIENCE * usualMs + this.#probeLagMs;
  }

  get #probeLagMs(): number {
    if (!this.hasLiveUnit) return this.#isLine ? LINE_LAG_MS : NETWORK_LAG_MS;
    return this.#isLine ? PROBE_LAG_MS : PROBE_NETWORK_LAG_MS;
  }

  get hasLiveUnit(): boolean {
    return this.#units.some(isLive);
  }

  /** A silent unit is back. Where it is the first, their line or what feeds them is: the others are asked at once. */
  back(unit: Unit, nowMs: number): void {
    const others = this.#units.filter((other) => other !== unit);
    if (others.some(isLive)) return;
    // Whoever broke the link is asked in his own time.
    for (const { breaker, breaks } of others) if (breaker.isOpen && breaks === 0) breaker.probeNow(nowMs);
  }

  /** When a silent unit may be probed next. */
  probeReadyMs(unit: Unit, nowMs: number): number {
    const atMs = Math.max(unit.breaker.probeAtMs, unit.holdUntilMs, unit.probeHeldUntilMs);
    return this.hasLiveUnit ? Math.max(atMs, this.#probeBudget.readyAtMs(nowMs)) : atMs;
  }

  /** What a probe that may take so long costs those who share the line: the factor for probed(), asked when it goes. */
  probeShare(unit: Unit, thinkMs: number, nowMs: number): number {
    if (!this.hasLiveUnit) return 0;
    return unit.breaker.isFresh && !this.#isQueue && this.#othersDueMs(unit) > nowMs + thinkMs
      ? IDLE_CHARGE
      : 1;
  }

  /** A probe took so long. */
  probed(unit: Unit, ms: number, share: number, nowMs: number): void {
    // The rare patient probe must not keep others waiting for long: a unit that is back is to be noticed.
    const mostMs = this.#isQueue ? QUEUED_CHARGE_MAX_MS : PROBE_CHARGE_MAX_MS;
    const leastMs = PROBE_CHARGE_LEAST * this.#usualProbeMs(this.#usualMs(unit));
    this.#probeBudget.spend(nowMs, share * Math.min(ms, Math.max(mostMs, leastMs)));
  }

  /** How long a unit that has just failed gives way; 0: it may go now. */
  suspectWaitMs(unit: Unit, nowMs: number): number {
    if (!this.#isSuspect(unit)) return 0;
    const restMs = this.#suspectsRestUntilMs - nowMs;
    // When nobody else is due before it would be given up, it costs nobody.
    if (restMs <= 0 || this.#othersDueMs(unit) > nowMs + this.thinkMs(unit) + this.#queueMs) return 0;
    return Math.min(restMs, SUSPECT_LOOK_MS);
  }

  /** On a line a single failure is easily another's doing, such as his late answer that came when the line was taken. */
  #isSuspect(unit: Unit): boolean {
    return !this.#isLine || unit.doubt >= DOUBT_MIN;
  }

  /** A unit failed, and that took so long. */
  failed(unit: Unit, costMs: number, nowMs: number): void {
    unit.doubt = Math.min(DOUBT_MAX, unit.doubt + 1);
    if (this.#isSuspect(unit))
      this.#suspectsRestUntilMs = nowMs + Math.min(this.#restMaxMs, SUSPECT_REST * costMs);
  }

  /** All the others get as much time as their gateway lost. */
  get #restMaxMs(): number {
    return Math.max(SUSPECT_REST_MAX_MS, this.#queueMs);
  }

  /** Whose answers break the connection again and again costs all who share it: it rests, ever longer up to a limit. */
  broke(unit: Unit, nowMs: number): void {
    if (this.#units.length === 1) return;
    unit.breaks += 1;
    const restMs = RECONNECT_COST_MS * 2 ** Math.min(unit.breaks - 1, 10);
    unit.holdUntilMs = nowMs + Math.min(BROKEN_REST_MAX_MS, restMs);
  }

  /** A request was not answered in time. */
  missed(unit: Unit, sentAtMs: number): void {
    if (sentAtMs - unit.missedAtMs > 2 * this.#bus.timeoutMs) unit.missedAtMs = sentAtMs;
    // That much time did not help: what it can be helped with is less.
    unit.timeoutMinMs *= TIMEOUT_VAIN;
    const first = this.#givenUp;
    const isNext = first !== null && sentAtMs - first.lastSentAtMs < 2 * this.#bus.timeoutMs;
    unit.wasBehind = isNext && first.unit !== unit;
    if (isNext) first.lastSentAtMs = sentAtMs;
    else this.#givenUp = { unit, sentAtMs, lastSentAtMs: sentAtMs };
    if (this.#isQueue) this.#queuedUntilMs = Math.max(this.#queuedUntilMs, sentAtMs) + this.#queueMs;
  }

  /** An answer came in time: its gateway waits for nobody, and did not as long as was thought. */
  heard(nowMs: number): void {
    this.#queueMs = Math.max(0, this.#queueMs - this.queueMs(nowMs));
    this.#queuedUntilMs = -Infinity;
    this.#givenUp = null;
    if (nowMs <= this.#queueUntilMs) return;
    this.#isQueue = false;
    this.#queueMs = 0;
  }

  /** An answer came late: its unit needs more time than it was given. */
  cameLate(unitId: number | undefined, nowMs: number): void {
    const unit = this.#units.find(({ device }) => device.unitId === unitId);
    if (unit === undefined || unit.missedAtMs === -Infinity) return;
    const tookMs = nowMs - unit.missedAtMs;
    unit.missedAtMs = -Infinity;
    if (unit === this.#givenUp?.unit) this.#nobodyWasSilent();
    if (unit.wasBehind && !this.#isLine) this.#queueWaited(unit, nowMs);
    // Later than the settings allow: waiting longer is of no use.
    if (tookMs > this.#bus.timeoutMs) return;
    unit.timeoutMinMs = Math.min(this.#bus.timeoutMs, Math.max(unit.timeoutMinMs, 1.5 * tookMs));
    if (!unit.breaker.isOpen) return;
    unit.answersLate = true;
    unit.breaker.probeNow(nowMs);
  }

  /** The first to be given up answers late as well: it is the link that stood still, or all of them are slow. */
  #nobodyWasSilent(): void {
    this.#givenUp = null;
    for (const unit of this.#units) unit.wasBehind = false;
  }

  /** A gateway turned to what it was asked behind a silent unit only now: that is not held against this one. */
  #queueWaited(unit: Unit, nowMs: number): void {
    if (!this.#isQueue)
      this.#queueKeptMs = Math.min(QUEUE_KEPT_MAX_MS, QUEUE_KEPT_GROWTH * this.#queueKeptMs);
    this.#isQueue = true;
    this.#queueUntilMs = nowMs + this.#queueKeptMs;
    unit.doubt = 0;
    if (!unit.breaker.isOpen) unit.breaker.succeeded();
    const waitedMs = nowMs - (this.#givenUp?.sentAtMs ?? nowMs);
    this.#queueMs = Math.min(QUEUE_MAX_MS, Math.max(this.#queueMs, waitedMs));
    this.#queuedUntilMs = -Infinity;
  }

  #slowestNeighbourMs(): number {
    let slowestMs = 0;
    for (const unit of this.#units) slowestMs = Math.max(slowestMs, unit.slowestMs);
    return slowestMs;
  }

  /** On a network one slow neighbour says nothing of the others. */
  #usualNeighbourMs(): number {
    const usual = this.#units.flatMap(({ latency }) => (latency.count > 0 ? latency.p50Ms : []));
    return usual.sort((a, b) => a - b)[usual.length >> 1] ?? 0;
  }

  /** When another unit, without failures, wants the line next. */
  #othersDueMs(unit: Unit): number {
    let dueMs = Infinity;
    for (const other of this.#units) {
      if (other === unit || other.breaker.failures > 0) continue;
      for (const block of other.blocks) if (block.slot >= 0) dueMs = Math.min(dueMs, block.dueMs);
    }
    return dueMs;
  }
}

function isLive({ breaker, goodCount }: Unit): boolean {
  return !breaker.isOpen && goodCount > 0;
}
