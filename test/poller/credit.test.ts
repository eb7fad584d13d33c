import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ReadCredit } from '../../src/poller/credit.js';

const LINE_MS = fc.double({ min: 0.1, max: 200, noNaN: true });

test('reads that are always due get one part in five of the line, to within a write and a read', () => {
  fc.assert(
    fc.property(LINE_MS, LINE_MS, (writeMs, readMs) => {
      const credit = new ReadCredit();
      let writesMs = 0;
      let readsMs = 0;
      for (let turn = 0; turn < 2000; turn += 1) {
        if (credit.covers(readMs)) {
          credit.spend(readMs);
          readsMs += readMs;
        } else {
          credit.earn(writeMs);
          writesMs += writeMs;
        }
      }
      const owedMs = writesMs / 4;
      assert.ok(Math.abs(owedMs - readsMs) <= readMs + writeMs, `${readsMs} ms of ${owedMs} ms`);
    }),
  );
});

test('what is saved up is bounded, and what is not enough for a read stays owed', () => {
  const credit = new ReadCredit();
  assert.ok(!credit.isOwed);
  credit.earn(40);
  assert.ok(credit.isOwed);
  assert.ok(!credit.covers(10));
  credit.earn(1);
  assert.ok(credit.covers(10));
  for (let i = 0; i < 1000; i += 1) credit.earn(1000);
  assert.ok(credit.covers(999));
  assert.ok(!credit.covers(1000));
});

test('a read that goes unpaid leaves no debt, and nothing is owed once it is cleared', () => {
  const credit = new ReadCredit();
  credit.earn(40);
  credit.spend(500);
  assert.ok(!credit.isOwed);
  credit.earn(8);
  assert.ok(credit.covers(1.9));
  credit.clear();
  assert.ok(!credit.isOwed);
});
