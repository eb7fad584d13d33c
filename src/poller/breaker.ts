/**
 * The breaker of one unit: closed while it answers, open after several failures in a row; open, the unit is left out
 * and only probed. Probes come at growing, jittered distances up to a few seconds; a budget that all silent units of a
 * bus share keeps them to a small part of line time as long as others there answer.
 */
import type { OfflineSettings } from '../config/plant.js';

/** No matter how long a unit has been silent: probes are cheap, and a revived one is to be noticed within seconds. */
const PROBE_MAX_MS = 3000;
/** So many probes come at the least distance: most units that fall silent are back soon. */
const SOON_COUNT = 10;

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

  /** Open, and only since a few probes. */
  get isFresh(): boolean {
    return this.#probes < SOON_COUNT;
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

  /** True when this failure opened it. */
  failed(nowMs: number): boolean {
    this.#failures += 1;
    if (this.#isOpen) {
      this.#probes += 1;
      this.#probeAtMs = nowMs + this.#distanceMs();
      return false;
    }
    if (this.#failures < this.#settings.afterFailures) return false;
    this.#isOpen = true;
    this.#probes = 0;
    this.#probeAtMs = nowMs + this.#distanceMs();
    return true;
  }

  /** The link came back, or somebody wants to know: the next probe may go now. */
  probeNow(nowMs: number): void {
    this.#probes = 0;
    this.#probeAtMs = nowMs;
  }

  #distanceMs(): number {
    const { retryMinMs, retryMaxMs } = this.#settings;
    const doubled = retryMinMs * 2 ** Math.min(Math.max(0, this.#probes - SOON_COUNT), 20);
    return Math.min(doubled, retryMaxMs, Math.max(PROBE_MAX_MS, retryMinMs)) * (0.7 + 0.3 * this.#random());
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
