/**
 * The breaker of one unit: closed while it answers, open after several failures in a row; open, the unit is left out
 * and only probed. Probes come at growing, jittered distances; a budget that all silent units of a bus share keeps
 * them to a small part of line time as long as others there answer.
 */
import type { OfflineSettings } from '../config/plant.js';

/** While probes are cheap they stay this dense, so that a revived unit is noticed within seconds. */
const DENSE_PROBE_MS = 3000;
/** A probe up to this long counts as cheap. */
const CHEAP_PROBE_MS = 60;

export class Breaker {
  readonly #settings: OfflineSettings;
  readonly #random: () => number;
  #failures = 0;
  #probes = 0;
  #isOpen = false;
  #probeAtMs = 0;

  constructor(settings: OfflineSettings, random: () => number) {
    this.#settings = settings;
    this.#random = random;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Failures in a row. */
  get failures(): number {
    return this.#failures;
  }

  /** Probes since it opened. */
  get probes(): number {
    return this.#probes;
  }

  /** When an open breaker may be probed next. */
  get probeAtMs(): number {
    return this.#probeAtMs;
  }

  /** True when this success closed it. */
  succeeded(): boolean {
    const wasOpen = this.#isOpen;
    this.#failures = 0;
    this.#probes = 0;
    this.#isOpen = false;
    return wasOpen;
  }

  /** costMs is what the failure took; true when it opened the breaker. */
  failed(nowMs: number, costMs: number): boolean {
    this.#failures += 1;
    if (this.#isOpen) {
      this.#probes += 1;
      this.#probeAtMs = nowMs + this.#distanceMs(costMs);
      return false;
    }
    if (this.#failures < this.#settings.afterFailures) return false;
    this.#isOpen = true;
    this.#probes = 0;
    this.#probeAtMs = nowMs + this.#distanceMs(costMs);
    return true;
  }

  /** Opens at once, for a unit whose gateway says that it is down. */
  trip(nowMs: number, costMs: number): boolean {
    if (!this.#isOpen) this.#failures = Math.max(this.#failures, this.#settings.afterFailures - 1);
    return this.failed(nowMs, costMs);
  }

  /** The link came back, or somebody wants to know: the next probe may go now. */
  probeNow(nowMs: number): void {
    this.#probes = 0;
    this.#probeAtMs = nowMs;
  }

  #distanceMs(costMs: number): number {
    const { retryMinMs, retryMaxMs } = this.#settings;
    const doubled = retryMinMs * 2 ** Math.min(this.#probes, 20);
    const most = costMs <= CHEAP_PROBE_MS ? Math.min(retryMaxMs, DENSE_PROBE_MS) : retryMaxMs;
    return Math.max(Math.min(doubled, most), Math.min(retryMinMs, most)) * (0.8 + 0.4 * this.#random());
  }
}

/** Line time that may be lost: fills with time at a rate, up to a store; spending may overdraw it. */
export class TimeBudget {
  readonly #share: number;
  readonly #storeMs: number;
  #leftMs: number;
  #atMs: number;

  constructor(share: number, storeMs: number, nowMs: number) {
    this.#share = share;
    this.#storeMs = storeMs;
    this.#leftMs = storeMs;
    this.#atMs = nowMs;
  }

  canSpend(nowMs: number): boolean {
    this.#fill(nowMs);
    return this.#leftMs > 0;
  }

  spend(nowMs: number, ms: number): void {
    this.#fill(nowMs);
    this.#leftMs -= ms;
  }

  /** When canSpend() will be true again. */
  readyAtMs(nowMs: number): number {
    this.#fill(nowMs);
    return this.#leftMs > 0 ? nowMs : nowMs - this.#leftMs / this.#share + 0.001;
  }

  #fill(nowMs: number): void {
    this.#leftMs = Math.min(this.#storeMs, this.#leftMs + (nowMs - this.#atMs) * this.#share);
    this.#atMs = nowMs;
  }
}
