import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Breaker, TimeBudget } from '../../src/poller/breaker.js';

const SETTINGS = { afterFailures: 3, retryMinMs: 1000, retryMaxMs: 60_000 };

test('it opens after so many failures in a row, and one answer closes it', () => {
  const breaker = new Breaker(SETTINGS, () => 0.5);
  assert.deepEqual([breaker.failed(0), breaker.failed(1), breaker.isOpen], [false, false, false]);
  breaker.succeeded();
  assert.deepEqual([breaker.failed(2), breaker.failed(3), breaker.failed(4)], [false, false, true]);
  assert.ok(breaker.isOpen);
  assert.equal(breaker.succeeded(), true);
  assert.ok(!breaker.isOpen);
  assert.equal(breaker.failures, 0);
});

test('probes come at growing distances, but never so rarely that a revived unit waits long', () => {
  fc.assert(
    fc.property(fc.double({ min: 0, max: 1, noNaN: true }), (chance) => {
      const breaker = new Breaker({ ...SETTINGS, afterFailures: 1 }, () => chance);
      breaker.failed(0);
      let nowMs = 0;
      const distances: number[] = [];
      for (let probe = 0; probe < 50; probe += 1) {
        distances.push(breaker.probeAtMs - nowMs);
        nowMs = breaker.probeAtMs;
        breaker.failed(nowMs);
      }
      assert.ok((distances[0] ?? 0) >= 700);
      assert.ok(distances.every((ms, i) => ms >= (distances[i - 1] ?? 0) - 1e-6));
      assert.ok(Math.max(...distances) <= 3000);
    }),
  );
});

test('a budget never gives more than its share over any long time', () => {
  fc.assert(
    fc.property(fc.array(fc.record({ waitMs: fc.nat(500), costMs: fc.nat(200) })), (steps) => {
      const budget = new TimeBudget(0.02, 100, 0);
      let nowMs = 0;
      let spentMs = 0;
      let lastMs = 0;
      for (const { waitMs, costMs } of steps) {
        nowMs += waitMs;
        if (!budget.canSpend(nowMs)) {
          assert.ok(budget.readyAtMs(nowMs) > nowMs);
          continue;
        }
        budget.spend(nowMs, costMs);
        spentMs += costMs;
        lastMs = costMs;
      }
      assert.ok(spentMs - lastMs <= 100 + 0.02 * nowMs + 1e-6);
    }),
  );
});
