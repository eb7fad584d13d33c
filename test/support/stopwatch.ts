/**
 * How long something takes that goes on in this process. What is asserted to be quick is held to the time in which the
 * process could run: a machine that lets it wait says nothing about what is tested.
 */

export interface Took {
  /** As a clock on the wall shows it: for what must not come too early. */
  readonly tookMs: number;
  /** Without what the machine withheld: for what must not come too late. */
  readonly ranMs: number;
}

const TICK_MS = 5;
/** A tick that comes later, with less work than that in between, was held up from outside. */
const LATE_MS = 20;

export async function stopwatch(work: Promise<unknown>): Promise<Took> {
  const startMs = performance.now();
  let ranMs = 0;
  let lastMs = startMs;
  let lastUsage = process.cpuUsage();
  const tick = (): void => {
    const nowMs = performance.now();
    const { user, system } = process.cpuUsage(lastUsage);
    ranMs += Math.min(nowMs - lastMs, Math.max(LATE_MS, (user + system) / 1000));
    lastMs = nowMs;
    lastUsage = process.cpuUsage();
  };
  const timer = setInterval(tick, TICK_MS);
  try {
    await work;
  } finally {
    clearInterval(timer);
    tick();
  }
  return { tookMs: lastMs - startMs, ranMs };
}
