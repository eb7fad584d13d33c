/**
 * Waiting more exactly than Node's timers, which count whole milliseconds and come late: the silence between frames is
 * 1.75 ms at 115200 baud, and each millisecond too many is a tenth of a short exchange.
 */
import { systemClock } from '../clock.js';
import type { Cancel, Clock } from '../clock.js';

/** The last stretch that timers are not trusted with: they come up to this much late. */
const TIMER_SLACK_MS = 1.3;
/** Longest nap; the thread's other buses wait no longer than this. */
const NAP_MS = 0.2;
/** Less than this is no wait: sums of fractions do not come out even. */
const EXACT_MS = 0.001;

const cell = new Int32Array(new SharedArrayBuffer(4));

/** Calls back at a monotonic time or as soon after it as can be, never before and never during the call. */
export function at(clock: Clock, dueMs: number, callback: () => void): Cancel {
  let cancel: Cancel = () => {};
  const step = (): void => {
    const leftMs = dueMs - clock.monotonicMs();
    if (leftMs <= EXACT_MS) callback();
    else wait(leftMs);
  };
  const wait = (leftMs: number): void => {
    if (clock !== systemClock) cancel = clock.after(leftMs, step);
    else if (leftMs > TIMER_SLACK_MS + 1) cancel = clock.after(leftMs - TIMER_SLACK_MS, step);
    else {
      // A nap costs no CPU, and between two naps the thread does everything else that is due.
      if (leftMs > 0) Atomics.wait(cell, 0, 0, Math.min(leftMs, NAP_MS));
      const immediate = setImmediate(step);
      cancel = () => clearImmediate(immediate);
    }
  };
  wait(dueMs - clock.monotonicMs());
  return () => cancel();
}
