import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Progress } from '../../src/uplink/progress.js';

test('acknowledgements in any order add up to what a plain set says', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 0, max: 5 })), { maxLength: 40 }),
      (steps) => {
        const progress = new Progress();
        const done = new Set<number>();
        for (const [first, more] of steps) {
          progress.doneRange(first, first + more);
          for (let i = first; i <= first + more; i++) done.add(i);
          let cursor = 0;
          while (done.has(cursor + 1)) cursor++;
          assert.equal(progress.cursor, cursor);
          for (let i = 1; i <= 50; i++) assert.equal(progress.isDone(i), done.has(i), `entry ${i}`);
          let open = 1;
          while (done.has(open)) open++;
          assert.equal(progress.nextOpen(0), open);
        }
        for (const [i, [first, last]] of progress.ranges.entries()) {
          assert.ok(
            first <= last && first > progress.cursor + 1 && first > (progress.ranges[i - 1]?.[1] ?? -1) + 1,
          );
        }
      },
    ),
  );
});
