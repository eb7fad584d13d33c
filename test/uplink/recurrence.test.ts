import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Recurrence } from '../../src/uplink/recurrence.js';
import { ManualClock } from '../support/clock.js';

test('the first is told at once, and what follows once in an hour with its count', () => {
  const clock = new ManualClock();
  const drops = new Recurrence(clock);
  assert.deepEqual([drops.add(0), drops.add(3), drops.add(2), drops.add(1)], [0, 3, 0, 0]);
  clock.advance(3_600_000);
  assert.deepEqual([drops.add(0), drops.add(0), drops.add(1)], [3, 0, 0]);
  clock.advance(3_600_000);
  assert.deepEqual([drops.add(4), drops.add(0)], [5, 0]);
});
