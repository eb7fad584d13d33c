import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Queue } from '../../src/store/queue.js';

test('a queue holds what an ordered map would hold', () => {
  const step = fc.record({
    kind: fc.constantFrom('append', 'append', 'append', 'remove', 'oldest', 'relocate'),
    pick: fc.nat(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 400 }), fc.integer({ min: 1, max: 2 ** 33 }), (steps, gap) => {
      const queue = new Queue();
      const model = new Map<number, [number, number, number, number]>();
      let position = 0;
      for (const { kind, pick } of steps) {
        const known = [...model.keys()];
        const chosen = kind === 'oldest' ? known[0] : known[pick % Math.max(1, known.length)];
        if (kind === 'append') {
          position += (pick % gap) + 1;
          queue.append(position, 1, pick % 1000, pick % 5000, pick % 3);
          model.set(position, [1, pick % 1000, pick % 5000, pick % 3]);
        } else if (chosen !== undefined && kind === 'relocate') {
          queue.relocate(chosen, 2, pick % 77);
          const entry = model.get(chosen);
          if (entry !== undefined) model.set(chosen, [2, pick % 77, entry[2], entry[3]]);
        } else if (chosen !== undefined) {
          assert.equal(queue.remove(chosen)?.position, chosen);
          assert.equal(queue.remove(chosen), null);
          model.delete(chosen);
        }
      }
      const found: [number, [number, number, number, number]][] = [];
      queue.visit(0, (at, segment, offset, size, qos) => {
        found.push([at, [segment, offset, size, qos]]);
        return true;
      });
      assert.deepEqual(found, [...model]);
      assert.equal(queue.count, model.size);
      assert.equal(
        queue.bytes,
        [...model.values()].reduce((sum, [, , size]) => sum + size, 0),
      );
      const middle = [...model.keys()][model.size >> 1] ?? 0;
      const after: number[] = [];
      queue.visit(middle, (at) => {
        after.push(at);
        return after.length < 3;
      });
      assert.deepEqual(after, [...model.keys()].filter((at) => at > middle).slice(0, 3));
    }),
    { numRuns: 200 },
  );
});

test('600,000 queued messages take 16 bytes each', () => {
  const queue = new Queue();
  const before = process.memoryUsage().arrayBuffers;
  for (let position = 1; position <= 600_000; position++) queue.append(position, 1, position, 64, 1);
  const bytes = process.memoryUsage().arrayBuffers - before;
  assert.ok(bytes < 600_000 * 18, `${bytes} bytes`);
  for (let position = 1; position <= 600_000; position++) queue.remove(position);
  assert.equal(queue.count, 0);
});
