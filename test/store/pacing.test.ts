import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Pacing } from '../../src/store/pacing.js';

/**
 * Runs a pacing in virtual time against commits that arrive as `next` says (given the end of the last sync), with syncs
 * of a given length; returns syncs and commits in the second half of the time.
 */
function run(
  durationMs: number,
  syncMs: number,
  next: (nowMs: number, isReleased: boolean) => number,
): { syncs: number; commits: number } {
  const pacing = new Pacing();
  const counted = { syncs: 0, commits: 0 };
  let arrivalMs = next(0, true);
  let waiting = 0;
  let nowMs = 0;
  const arrive = (untilMs: number): void => {
    while (arrivalMs <= untilMs) {
      pacing.arrived(arrivalMs);
      waiting++;
      if (arrivalMs > durationMs / 2) counted.commits++;
      arrivalMs = next(arrivalMs, false);
    }
  };
  while (nowMs < durationMs) {
    if (waiting === 0) {
      nowMs = Math.max(nowMs, arrivalMs);
      arrive(nowMs);
    }
    pacing.begin(nowMs);
    for (let waitMs = pacing.waitMs(nowMs); waitMs > 0; waitMs = pacing.waitMs(nowMs)) {
      nowMs += waitMs;
      arrive(nowMs);
    }
    pacing.started(nowMs);
    waiting = 0;
    nowMs += syncMs;
    arrive(nowMs);
    if (nowMs > durationMs / 2) counted.syncs++;
    if (arrivalMs === Infinity) arrivalMs = next(nowMs, true);
  }
  return counted;
}

test('a thousand commits a second share at most a hundred syncs', () => {
  const { syncs, commits } = run(20_000, 0.5, (nowMs) => nowMs + 1);
  assert.ok(commits > 9_000);
  assert.ok(syncs / commits < 0.1, `${syncs} syncs for ${commits} commits`);
});

test('a publisher that waits for each acknowledgement is not held up', () => {
  const { commits } = run(20_000, 0.5, (nowMs, isReleased) => (isReleased ? nowMs + 0.2 : Infinity));
  assert.ok(commits > 12_000, `${commits} commits in 10 s, where 14,285 would be without any wait`);
});

test('a lone commit goes at once', () => {
  const pacing = new Pacing();
  for (let nowMs = 0; nowMs < 10_000; nowMs += 100) {
    pacing.arrived(nowMs);
    pacing.begin(nowMs);
    assert.equal(pacing.waitMs(nowMs), 0);
    pacing.started(nowMs);
  }
});
