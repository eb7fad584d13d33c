/**
 * Time, passed in wherever it matters, so that tests move it by hand and the field engine can run in virtual time.
 * Deadlines, periods and keep-alive use the monotonic clock; only timestamps that leave the process use wall time.
 */

export interface Clock {
  /** Wall time in milliseconds since 1970. May jump. */
  nowMs(): number;
  /** Milliseconds with fractions from an arbitrary start. Never goes back. */
  monotonicMs(): number;
  /** Calls back once after at least delayMs (any length; fractions are kept); returns what cancels it. */
  after(delayMs: number, callback: () => void): Cancel;
}

export type Cancel = () => void;

/** Node's timers overflow beyond this many milliseconds and would fire at once. */
const TIMER_MAX_MS = 2 ** 31 - 1;

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  after(delayMs, callback) {
    let timer: NodeJS.Timeout;
    const arm = (leftMs: number): void => {
      const stepMs = Math.min(leftMs, TIMER_MAX_MS);
      timer = setTimeout(() => (leftMs > stepMs ? arm(leftMs - stepMs) : callback()), stepMs);
    };
    arm(Math.max(0, delayMs));
    return () => clearTimeout(timer);
  },
};
