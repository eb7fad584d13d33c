import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../../src/clock.js';
import { at } from '../../src/modbus/precisely.js';
import { ManualClock } from '../support/clock.js';

test('a wait is never short, and usually ends within a fraction of a millisecond', async () => {
  const lateMs: number[] = [];
  for (const waitMs of [0, 0.2, 1.75, 4.01, 12]) {
    for (let round = 0; round < 10; round += 1) {
      const dueMs = performance.now() + waitMs;
      await new Promise<void>((resolve) => at(systemClock, dueMs, resolve));
      lateMs.push(performance.now() - dueMs);
    }
  }
  lateMs.sort((a, b) => a - b);
  assert.ok((lateMs[0] ?? -1) > -0.002, `${lateMs[0]} ms early`);
  // A busy machine may hold us up now and then; Node's own timers would be a whole millisecond late every time.
  assert.ok((lateMs[10] ?? 99) < 0.5, `one in five more than ${lateMs[10]} ms late`);
});

test('it never calls back during the call, and not at all when cancelled', async () => {
  let isCalled = false;
  at(systemClock, performance.now() - 5, () => {
    isCalled = true;
  });
  assert.equal(isCalled, false);
  const cancel = at(systemClock, performance.now() + 3, () => assert.fail('cancelled'));
  cancel();
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(isCalled, true);
});

test('in virtual time it is exact', () => {
  const clock = new ManualClock();
  let calledAtMs = -1;
  at(clock, 1.75, () => {
    calledAtMs = clock.monotonicMs();
  });
  clock.advance(1.7);
  assert.equal(calledAtMs, -1);
  clock.advance(0.1);
  assert.ok(Math.abs(calledAtMs - 1.75) < 0.002);
});
