import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Allowance } from '../../src/broker/allowance.js';
import { ManualClock } from '../support/clock.js';

test('each has its share of a minute, all have theirs together, and a new minute begins anew', () => {
  const clock = new ManualClock();
  let overCount = 0;
  const allowance = new Allowance(clock, { each: 2, inAll: 3, over: () => (overCount += 1) });
  const taken = (...subjects: string[]): boolean[] => subjects.map((subject) => allowance.takes(subject));
  assert.deepEqual(taken('a', 'a', 'a', 'b', 'b'), [true, true, false, true, false]);
  clock.advance(59_999);
  assert.equal(overCount, 0);
  clock.advance(1);
  assert.equal(overCount, 1);
  assert.deepEqual(taken('a', 'b', 'c', 'd'), [true, true, true, false]);
  allowance.stop();
  clock.advance(60_000);
  assert.equal(overCount, 2, 'a stopped one is over once');
});
