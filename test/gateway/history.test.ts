import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { History } from '../../src/gateway/history.js';

const START_MS = 1_795_376_230_000;
let nowMs = START_MS;
beforeEach(() => (nowMs = START_MS + 9_000_000));

test('a bucket keeps the lowest and the highest of its time, so that a peak is never lost', () => {
  const history = new History(10, () => nowMs);
  for (const [i, value] of [5, 900, -3, 7].entries()) history.take(3, START_MS + i * 1000, value);
  const { min, max } = history.series(3);
  assert.equal(min.at(-1), -3);
  assert.equal(max.at(-1), 900);
  assert.equal(history.times().at(-1), START_MS / 1000);
});

test('what is older than an hour is gone, and a gap is empty', () => {
  const history = new History(10, () => nowMs);
  history.take(0, START_MS, 1);
  history.take(0, START_MS + 30_000, 2);
  assert.deepEqual(history.series(0).max.slice(-4), [1, null, null, 2]);
  history.take(1, START_MS + 3_600_000, 3);
  assert.equal(history.series(0).max.filter((value) => value !== null).length, 1);
  history.take(1, START_MS + 8_000_000, 4);
  assert.equal(history.series(0).max.filter((value) => value !== null).length, 0);
  history.take(0, START_MS, 99);
  assert.ok(!history.series(0).max.includes(99));
});

test('a clock that is set back loses what was to come, and goes on with what comes', () => {
  const history = new History(10, () => nowMs);
  history.take(0, START_MS, 1);
  history.take(0, START_MS + 60_000, 2);
  nowMs = START_MS + 30_000;
  history.take(0, nowMs, 3);
  assert.deepEqual(history.series(0).max.slice(-4), [1, null, null, 3]);
  assert.equal(history.series(0).max.filter((value) => value !== null).length, 2);
  history.take(0, START_MS + 5e11, 4);
  nowMs += 10_000;
  history.take(0, nowMs, 5);
  assert.equal(history.series(0).max.at(-1), 5);
  assert.equal(history.series(0).max.filter((value) => value !== null).length, 1);
});

test('tags that are gone leave nothing', () => {
  const history = new History(10, () => nowMs);
  for (const index of [0, 1]) history.take(index, START_MS, 1);
  history.keep((index) => index === 1);
  assert.deepEqual([history.series(0).max.at(-1), history.series(1).max.at(-1)], [null, 1]);
});

test('twenty thousand tags take no more memory than a thousand', () => {
  const bytes = (tags: number): number => {
    const history = new History(tags, () => nowMs);
    return tags * history.times().length * 8;
  };
  assert.ok(bytes(20_000) <= 4 * 1024 * 1024);
  assert.equal(new History(1000, () => nowMs).bucketMs, 10_000);
});

test('a value that is no number leaves no trace', () => {
  const history = new History(1, () => nowMs);
  history.take(0, START_MS, Number.POSITIVE_INFINITY);
  history.take(0, START_MS, NaN);
  assert.ok(history.series(0).max.every((value) => value === null));
});
