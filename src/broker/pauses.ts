/** Growing pauses for addresses that guess: some failures are free, each further one costs twice the wait of the one before. */
import type { Clock } from '../clock.js';

/** Failures of one address within the window that are free. */
const FREE_FAILURES = 5;
const WINDOW_MS = 60_000;
const PAUSE_MAX_MS = 60_000;
/** Addresses remembered at most. */
const ADDRESSES_MAX = 10_000;

export class Pauses {
  readonly #clock: Clock;
  readonly #failures = new Map<string, { count: number; sinceMs: number; untilMs: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether this address has to wait. */
  has(host: string): boolean {
    return (this.#failures.get(host)?.untilMs ?? 0) > this.#clock.monotonicMs();
  }

  failed(host: string): void {
    const nowMs = this.#clock.monotonicMs();
    let entry = this.#failures.get(host);
    if (entry === undefined || nowMs - entry.sinceMs > WINDOW_MS + PAUSE_MAX_MS) {
      entry = { count: 0, sinceMs: nowMs, untilMs: 0 };
      // The address that failed first goes; forgetting all would end everybody's pause.
      if (this.#failures.size >= ADDRESSES_MAX)
        this.#failures.delete(this.#failures.keys().next().value ?? '');
      this.#failures.set(host, entry);
    }
    entry.count++;
    entry.sinceMs = nowMs;
    if (entry.count < FREE_FAILURES) return;
    entry.untilMs = nowMs + Math.min(PAUSE_MAX_MS, 1000 * 2 ** (entry.count - FREE_FAILURES));
  }
}
