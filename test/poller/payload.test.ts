import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Value } from '../../src/modbus/values.js';
import { ParcelReader, sampleCode } from '../../src/poller/parcel.js';
import {
  batchPayload,
  offlineParcels,
  payloadBytesMax,
  payloadOf,
  payloadOfValue,
  type Reading,
  writePayload,
} from '../../src/poller/payload.js';
import { busOf, deviceOf, tagOf } from '../support/tags.js';

const device = deviceOf(0, busOf(0));
const tag = tagOf(0, device, 0);
const T = 1_795_376_237_895;

function readingOf(value: Value | null, code = 0): Reading {
  return { tag, value, code, timeMs: T };
}

function text(value: Value | null, code = 0): string {
  return Buffer.from(payloadOf(readingOf(value, code))).toString();
}

const numbers = fc.oneof(
  fc.integer(),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.float({ noNaN: true, noDefaultInfinity: true }),
  fc.integer({ min: -10_000_000, max: 10_000_000 }).map((thousandths) => thousandths / 1000),
  fc.maxSafeInteger(),
  fc.constantFrom(0, -0, 1e9, 999_999_999, -999_999_999.5, 1e21, 5e-324, 0.001, 0.0005, 1e-7, 21.4, -0.5),
);

test('every number is written so that JSON reads exactly it again', () => {
  fc.assert(
    fc.property(numbers, (value) => {
      const parsed = JSON.parse(text(value)) as { v: number; q: string; t: number };
      assert.equal(parsed.v, value === 0 ? 0 : value);
      assert.deepEqual([parsed.q, parsed.t], ['good', T]);
    }),
    { numRuns: 3000 },
  );
});

test('every payload tells its own time, whatever was told before it', () => {
  const times = fc.array(
    fc.oneof(fc.integer({ min: 0, max: 4e12 }), fc.constantFrom(T, T + 1, 999_999_999_999)),
  );
  fc.assert(
    fc.property(times, fc.constantFrom(0, sampleCode('bad', 'timeout')), (all, code) => {
      for (const timeMs of all) {
        const told = Buffer.from(payloadOf({ tag, value: 1, code, timeMs })).toString();
        assert.equal((JSON.parse(told) as { t: number }).t, timeMs);
      }
    }),
  );
});

test('64-bit integers keep all their digits', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }), (value) => {
      assert.equal(text(value), `{"v":${value},"q":"good","t":${T}}`);
      assert.equal(Buffer.from(payloadOfValue(value)).toString(), String(value));
    }),
  );
});

test('texts of any kind are read again as they were, and no payload is longer than was said', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.string({ unit: 'binary' }), fc.boolean()), (value) => {
      const reading = readingOf(value);
      const bytes = new Uint8Array(payloadBytesMax(reading) + 8).fill(255);
      const end = writePayload(bytes, 4, reading);
      assert.ok(end - 4 <= payloadBytesMax(reading));
      assert.deepEqual([bytes[3], bytes[end]], [255, 255]);
      const parsed = JSON.parse(Buffer.from(bytes.subarray(4, end)).toString()) as { v: unknown };
      assert.deepEqual(parsed.v, typeof value === 'string' ? wellFormed(value) : value);
    }),
  );
});

/** Half a surrogate pair is no character: it is written as U+FFFD. */
function wellFormed(value: string): string {
  return Buffer.from(value, 'utf8').toString('utf8');
}

test('a reading that is not good says so and why', () => {
  assert.equal(text(null, sampleCode('bad', 'timeout')), `{"v":null,"q":"bad","e":"timeout","t":${T}}`);
  assert.equal(text(3, sampleCode('stale', 'timeout')), `{"v":3,"q":"stale","e":"timeout","t":${T}}`);
  assert.equal(text(3, sampleCode('uncertain', 'clock')), `{"v":3,"q":"uncertain","e":"clock","t":${T}}`);
});

test('the bare form is the value, and nothing at all when there is none', () => {
  const raw = tagOf(0, device, 0, { payload: 'raw' });
  const bare = (value: Value | null): string =>
    Buffer.from(payloadOf({ tag: raw, value, code: 0, timeMs: T })).toString();
  assert.deepEqual([21.4, true, 'on', 2n ** 63n, null].map(bare), [
    '21.4',
    'true',
    'on',
    '9223372036854775808',
    '',
  ]);
});

test('a batch is one JSON with every value, the worst quality, and each reason', () => {
  const readings: Reading[] = [
    { tag: tagOf(0, device, 0, { name: 'flow' }), value: 3.2, code: 0, timeMs: T },
    {
      tag: tagOf(1, device, 1, { name: 'level' }),
      value: null,
      code: sampleCode('bad', 'exception'),
      timeMs: T,
    },
    { tag: tagOf(2, device, 2, { name: 'total' }), value: 2n ** 60n, code: 0, timeMs: T },
    { tag: tagOf(3, device, 3, { name: 'mode' }), value: 'a"b', code: 0, timeMs: T },
  ];
  assert.equal(
    Buffer.from(batchPayload(readings, T)).toString(),
    `{"v":{"flow":3.2,"level":null,"total":1152921504606846976,"mode":"a\\"b"},"q":"bad","e":{"level":"exception"},"t":${T}}`,
  );
});

test("of a dead worker's tags every one is said to be offline, batches too", () => {
  const tags = Array.from({ length: 3000 }, (_, i) =>
    tagOf(i, device, i, { payload: i < 10 ? 'batch' : 'vqt' }),
  );
  const batch = {
    index: 5000,
    device,
    group: null,
    tags: tags.slice(0, 10),
    qos: 0,
    retain: true,
    topic: 'b',
    recipe: null,
  } as const;
  const seen = new Map<number, string>();
  for (const buffer of offlineParcels(tags, [batch], T)) {
    const reader = new ParcelReader(buffer);
    while (reader.next()) seen.set(reader.index, Buffer.from(reader.payload).toString());
  }
  assert.equal(seen.size, 2991);
  assert.equal(seen.get(2999), `{"v":null,"q":"bad","e":"offline","t":${T}}`);
  assert.equal((JSON.parse(seen.get(5000) ?? '') as { q: string }).q, 'bad');
});
