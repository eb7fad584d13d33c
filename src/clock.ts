/**
 * Time, passed in wherever it matters, so that tests move it by hand and the field engine can run in virtual time.
 * Deadlines, periods and keep-alive use the monotonic clock; only timestamps that leave the process use wall time.
 */
import { performance } from 'node:perf_hooks';

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
    const dueMs = performance.now() + Math.max(0, delayMs);
    const step = (): void => {
      if (performance.now() < dueMs) arm();
      else callback();
    };
    const arm = (): void => {
      timer = setTimeout(step, timerMs(performance.now(), dueMs));
    };
    arm();
    return () => clearTimeout(timer);
  },
};

/** What the monotonic clock of this thread is behind the one that Node's timers count the whole milliseconds of. */
const timerOriginMs = Number(process.hrtime.bigint()) / 1e6 - performance.now();

/** How long a timer has to be that must not come early: from the last whole millisecond to the next one after it is due. */
function timerMs(nowMs: number, dueMs: number): number {
  const wholeMs = Math.ceil(timerOriginMs + dueMs) - Math.floor(timerOriginMs + nowMs);
  return Math.min(wholeMs, TIMER_MAX_MS);
}

/** Wall times before this are those of a clock that was not set. */
export const CLOCK_SET_AFTER_MS = Date.UTC(2020, 0, 1);

/** A step of the wall clock beyond this is no correction: the clock was set, and no time has passed. */
const STEP_MS = 10_000;

/** What a steady clock and the wall clock showed at the same moment. */
export interface ClockReading {
  readonly nowMs: number;
  readonly wallMs: number;
}

export interface SteadyClock extends Clock {
  read(): ClockReading;
  /**
   * Goes on from a reading of a process before this one, by what the wall clock says has passed since, but at least by
   * `leastMs`. A wall clock that was set in between, or is not set yet, does not know what has passed.
   */
  goOn(from: ClockReading, leastMs: number): void;
}

/**
 * The wall time of a clock, but for its jumps: what expires by it does so after the time it was given, whoever sets the
 * clock meanwhile. Small corrections are followed.
 */
export function steadyClock(clock: Clock): SteadyClock {
  let offsetMs = clock.nowMs() - clock.monotonicMs();
  let jumpedMs = 0;
  const nowMs = (): number => {
    const monotonicMs = clock.monotonicMs();
    const nowMs = clock.nowMs() - monotonicMs;
    if (Math.abs(nowMs - offsetMs) > STEP_MS) jumpedMs += nowMs - offsetMs;
    offsetMs = nowMs;
    return Math.round(offsetMs - jumpedMs + monotonicMs);
  };
  return {
    nowMs,
    monotonicMs: () => clock.monotonicMs(),
    after: (delayMs, callback) => clock.after(delayMs, callback),
    read: () => {
      const steadyMs = nowMs();
      return { nowMs: steadyMs, wallMs: Math.round(steadyMs + jumpedMs) };
    },
    goOn: (from, leastMs) => {
      const monotonicMs = clock.monotonicMs();
      const wallMs = clock.nowMs();
      const wasSet = from.wallMs < CLOCK_SET_AFTER_MS && wallMs >= CLOCK_SET_AFTER_MS;
      const passedMs = wasSet ? leastMs : Math.max(leastMs, wallMs - from.wallMs);
      offsetMs = wallMs - monotonicMs;
      jumpedMs = wallMs - (from.nowMs + passedMs);
    },
  };
}

/** Monotonic time that all threads share, in milliseconds with fractions. */
export function sharedMs(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1000 + nanoseconds / 1e6;
}
