import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ParcelReader, ParcelWriter } from '../../src/poller/parcel.js';

const record = fc.record({
  index: fc.integer({ min: 0, max: 0xffffffff }),
  code: fc.integer({ min: 0, max: 255 }),
  delayMs: fc.integer({ min: 0, max: 0xffffffff }),
  correlation: fc.integer({ min: 0, max: 0xffffffff }),
  payload: fc.uint8Array({ maxLength: 300 }),
});

test('whatever is written to a parcel is read from it, in order', () => {
  const baseMs = 1_795_376_237_895;
  fc.assert(
    fc.property(fc.array(record, { maxLength: 50 }), (records) => {
      const writer = new ParcelWriter('results', new ArrayBuffer(65536), baseMs);
      for (const r of records)
        assert.ok(writer.append(r.index, r.code, baseMs + r.delayMs, r.correlation, r.payload));
      const reader = new ParcelReader(writer.finish());
      assert.equal(reader.kind, 'results');
      assert.equal(reader.count, records.length);
      for (const r of records) {
        assert.ok(reader.next());
        assert.deepEqual([reader.index, reader.code, reader.timeMs, reader.correlation], [r.index, r.code, baseMs + r.delayMs, r.correlation]); // prettier-ignore
        assert.deepEqual(new Uint8Array(reader.payload), r.payload);
      }
      assert.ok(!reader.next());
    }),
  );
});

test('a full parcel refuses the next record and stays whole', () => {
  const writer = new ParcelWriter('samples', new ArrayBuffer(16 + 16 + 4), 0);
  assert.ok(writer.append(1, 0, 0, 0, new Uint8Array(4)));
  assert.ok(!writer.append(2, 0, 0, 0, new Uint8Array(0)));
  assert.equal(new ParcelReader(writer.finish()).count, 1);
});
