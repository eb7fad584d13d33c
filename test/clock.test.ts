import assert from 'node:assert/strict';
import { test } from 'node:test';
import { steadyClock, systemClock } from '../src/clock.js';
import { ManualClock } from './support/clock.js';

test('a delay beyond the range of Node timers does not fire at once', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const startMs = performance.now();
  let elapsedMs = 0;
  t.mock.method(performance, 'now', () => startMs + elapsedMs);
  const pass = (ms: number): void => {
    elapsedMs += ms;
    t.mock.timers.tick(ms);
  };
  const delayMs = 30 * 24 * 3600 * 1000;
  let fired = 0;
  systemClock.after(delayMs, () => (fired += 1));
  pass(2 ** 31 - 1);
  pass(delayMs - 2 ** 31);
  assert.equal(fired, 0);
  pass(2);
  assert.equal(fired, 1);
});

test('a timer never comes before its time, whatever fraction of a millisecond is asked for', async () => {
  const early = await Promise.all(
    Array.from({ length: 300 }, async (_, count) => {
      const delayMs = 1 + count / 7;
      const startMs = performance.now();
      await new Promise<void>((resolve) => systemClock.after(delayMs, resolve));
      return performance.now() - startMs < delayMs;
    }),
  );
  assert.equal(early.filter(Boolean).length, 0);
});

test('a cancelled timer never fires', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  let fired = 0;
  systemClock.after(10, () => (fired += 1))();
  t.mock.timers.tick(20);
  assert.equal(fired, 0);
});

test('the manual clock fires timers in order of time, each at its own time', () => {
  const clock = new ManualClock();
  const seen: [string, number][] = [];
  clock.after(20, () => seen.push(['b', clock.monotonicMs()]));
  clock.after(10, () => {
    seen.push(['a', clock.monotonicMs()]);
    clock.after(5, () => seen.push(['c', clock.monotonicMs()]));
  });
  clock.advance(30);
  assert.deepEqual(seen, [['a', 10], ['c', 15], ['b', 20]]); // prettier-ignore
});

test('the steady clock follows corrections and sits out jumps', () => {
  const clock = new ManualClock();
  const steady = steadyClock(clock);
  const startMs = steady.nowMs();
  clock.advance(1000);
  clock.jump(50);
  assert.equal(steady.nowMs() - startMs, 1050);
  for (const jumpMs of [56 * 365 * 86_400_000, -3_600_000]) {
    clock.jump(jumpMs);
    assert.equal(steady.nowMs() - startMs, 1050, `${jumpMs}`);
  }
  clock.advance(500);
  assert.equal(steady.nowMs() - startMs, 1550);
});
