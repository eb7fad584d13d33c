import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Slab } from '../src/slab.js';

/** Fills a block to its end with a byte, or tells whether it is still so. */
function paint(slab: Slab, block: number, length: number, byte: number): void {
  slab.pageOf(block).bytes.fill(byte, slab.startOf(block), slab.startOf(block) + length);
}

function isPainted(slab: Slab, block: number, length: number, byte: number): boolean {
  const start = slab.startOf(block);
  return slab
    .pageOf(block)
    .bytes.subarray(start, start + length)
    .every((one) => one === byte);
}

test('blocks keep their bytes whatever is taken and given back around them', () => {
  const length = fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 9000 }));
  const steps = fc.array(fc.oneof(length, fc.constant(0)), { minLength: 1, maxLength: 400 });
  fc.assert(
    fc.property(steps, fc.infiniteStream(fc.nat()), (list, choices) => {
      const slab = new Slab();
      const held: { block: number; length: number; byte: number }[] = [];
      for (const [index, size] of list.entries()) {
        if (size > 0) {
          const block = slab.take(size);
          assert.ok(!held.some((other) => other.block === block), 'a block has one holder');
          paint(slab, block, size, index & 255);
          held.push({ block, length: size, byte: index & 255 });
          continue;
        }
        const [gone] = held.splice(choices.next().value % Math.max(1, held.length), 1);
        if (gone !== undefined) slab.giveBack(gone.block);
      }
      for (const { block, length: size, byte } of held) assert.ok(isPainted(slab, block, size, byte));
    }),
    { numRuns: 300 },
  );
});

test('room that was given back is used again, and pages without blocks go', () => {
  const slab = new Slab();
  const first = Array.from({ length: 1000 }, () => slab.take(100));
  for (const block of first) slab.giveBack(block);
  const highest = Math.max(...first);
  const again = Array.from({ length: 1000 }, () => slab.take(200));
  assert.ok(Math.max(...again) < highest * 3, 'pages of another size took the place of those that went');
  const large = slab.take(1_000_000);
  assert.equal(slab.pageOf(large).bytes.length, 1_000_000);
  slab.giveBack(large);
  assert.equal(slab.take(1_000_000), large);
});
