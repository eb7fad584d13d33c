import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ORDER_NAMES, VALUE_TYPES, placesOf, rawReader, writeRaw } from '../../src/modbus/values.js';
import type { ValueType, WordOrder } from '../../src/modbus/values.js';

const ORDERS = [...new Set(Object.values(ORDER_NAMES))];
const TYPES = Object.keys(VALUE_TYPES) as ValueType[]; // the keys of that very table
const INTEGERS = TYPES.filter((type) => VALUE_TYPES[type].kind === 'integer');

const anyType = (types: readonly ValueType[]) => fc.constantFrom(...types);
const anyOrder = fc.constantFrom<WordOrder>(...ORDERS);

/** Letters of an order, written out from the wire bytes by hand. */
const WIRE: Readonly<Record<string, readonly [string, WordOrder, string]>> = {
  'big endian': ['float32', 'ABCD', '41c80000'],
  'low word first': ['float32', 'CDAB', '000041c8'],
  'bytes swapped': ['float32', 'BADC', 'c8410000'],
  'little endian': ['float32', 'DCBA', '0000c841'],
};

for (const [name, [type, order, hex]] of Object.entries(WIRE)) {
  test(`25 as ${type}, ${name}`, () => {
    const bytes = Buffer.from(hex, 'hex');
    assert.equal(rawReader(type as ValueType, order)(bytes, 0), 25);
    assert.equal(Buffer.from(writeRaw(type as ValueType, order, 25)).toString('hex'), hex);
  });
}

test('64-bit orders mean what their letters say', () => {
  const value = 0x0102030405060708n;
  for (const [name, order] of Object.entries(ORDER_NAMES)) {
    if (!/^[A-H]{8}$/.test(name)) continue;
    const bytes = writeRaw('uint64', order, value);
    const letters = [...bytes].map((byte) => String.fromCharCode(64 + byte)).join('');
    assert.equal(letters, name);
    assert.equal(rawReader('uint64', order)(bytes, 0), value);
  }
});

test('every order puts every byte at a place of its own', () => {
  for (const order of ORDERS) {
    for (const size of [2, 4, 6, 8, 12]) {
      assert.deepEqual(
        [...placesOf(order, size)].sort((a, b) => a - b),
        Array.from({ length: size }, (_, index) => index),
      );
    }
  }
});

test('an integer reaches as far as its bits or digits do', () => {
  const bounds: Readonly<Partial<Record<ValueType, readonly [bigint, bigint]>>> = {
    int16: [-32_768n, 32_767n],
    uint16: [0n, 65_535n],
    int32: [-2_147_483_648n, 2_147_483_647n],
    uint32: [0n, 4_294_967_295n],
    int64: [-9_223_372_036_854_775_808n, 9_223_372_036_854_775_807n],
    uint64: [0n, 18_446_744_073_709_551_615n],
    int8_high: [-128n, 127n],
    int8_low: [-128n, 127n],
    uint8_high: [0n, 255n],
    uint8_low: [0n, 255n],
    bcd16: [0n, 9999n],
    bcd32: [0n, 99_999_999n],
    bcd64: [0n, 9_999_999_999_999_999n],
    sign_magnitude16: [-32_767n, 32_767n],
    sign_magnitude32: [-2_147_483_647n, 2_147_483_647n],
    mod10k32: [0n, 99_999_999n],
    mod10k48: [0n, 999_999_999_999n],
    mod10k64: [0n, 9_999_999_999_999_999n],
  };
  for (const type of INTEGERS) {
    const { least, most } = VALUE_TYPES[type];
    assert.deepEqual([least, most], bounds[type], type);
  }
});

test('integers of every type and order come back as they were written, at any offset', () => {
  const input = anyType(INTEGERS).chain((type) => {
    const { least, most } = VALUE_TYPES[type];
    return fc.tuple(fc.constant(type), anyOrder, fc.bigInt({ min: least, max: most }), fc.nat(9));
  });
  fc.assert(
    fc.property(input, ([type, order, value, registersBefore]) => {
      const written = writeRaw(type, order, value);
      const answer = new Uint8Array(2 * registersBefore + written.length).fill(0xa5);
      answer.set(written, 2 * registersBefore);
      const raw = rawReader(type, order)(answer, 2 * registersBefore);
      assert.equal(BigInt(raw), value);
      assert.equal(typeof raw, Number.isSafeInteger(Number(value)) ? 'number' : 'bigint');
    }),
    { numRuns: 3000 },
  );
});

test('floats of every order come back as they were written', () => {
  fc.assert(
    fc.property(anyOrder, fc.float(), fc.double(), (order, single, double) => {
      const read = Number(rawReader('float32', order)(writeRaw('float32', order, single), 0));
      assert.equal(Math.fround(read), single);
      assert.equal(rawReader('float64', order)(writeRaw('float64', order, double), 0), double);
    }),
    { numRuns: 1000 },
  );
});

test('a float32 is the number of fewest digits that is the same float32', () => {
  const read = (value: number) => rawReader('float32', 'ABCD')(writeRaw('float32', 'ABCD', value), 0);
  const meant = [23.1, -0.3, 49.98, 0.001, 1e-7, 8388607.5, 123456792, 1e20, -1.5e-30, 3.4028235e38, 1e-45, NaN, Infinity, 0]; // prettier-ignore
  for (const value of meant) assert.equal(String(read(value)), String(value));
  fc.assert(
    fc.property(fc.float({ noNaN: true, noDefaultInfinity: true }), (single) => {
      const decimal = Number(read(single));
      assert.equal(Math.fround(decimal), single);
      if (Number.isSafeInteger(single)) return assert.equal(decimal, single);
      const digits = decimal.toExponential().replace(/[-.]|e.*/g, '').length;
      if (digits > 1) assert.notEqual(Math.fround(Number(single.toPrecision(digits - 1))), single);
      assert.ok(digits <= 9, String(decimal));
    }),
    { numRuns: 3000 },
  );
});

test('what is read equals what a DataView reads', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 8, maxLength: 8 }), (bytes) => {
      const view = new DataView(bytes.buffer, bytes.byteOffset);
      const read = (type: ValueType) => rawReader(type, 'ABCD')(bytes, 0);
      assert.equal(read('int16'), view.getInt16(0));
      assert.equal(read('uint16'), view.getUint16(0));
      assert.equal(read('int32'), view.getInt32(0));
      assert.equal(read('uint32'), view.getUint32(0));
      assert.equal(BigInt(read('int64')), view.getBigInt64(0));
      assert.equal(BigInt(read('uint64')), view.getBigUint64(0));
      assert.equal(Math.fround(Number(read('float32'))), view.getFloat32(0));
      assert.equal(read('float64'), view.getFloat64(0));
    }),
  );
});

test('BCD digits above nine are no number', () => {
  assert.equal(rawReader('bcd16', 'ABCD')(Uint8Array.of(0x12, 0x34), 0), 1234);
  assert.equal(rawReader('bcd32', 'CDAB')(Uint8Array.of(0x56, 0x78, 0x12, 0x34), 0), 12345678);
  assert.equal(rawReader('bcd64', 'ABCD')(Buffer.from('9999999999999999', 'hex'), 0), 9_999_999_999_999_999n);
  for (const bytes of [Uint8Array.of(0xff, 0xff), Uint8Array.of(0x1a, 0), Uint8Array.of(0, 0xa0)]) {
    assert.equal(rawReader('bcd16', 'ABCD')(bytes, 0), NaN);
  }
});

test('sign and magnitude: the highest bit is the sign', () => {
  assert.equal(rawReader('sign_magnitude16', 'ABCD')(Uint8Array.of(0x80, 0x05), 0), -5);
  assert.equal(rawReader('sign_magnitude16', 'ABCD')(Uint8Array.of(0x80, 0x00), 0), 0);
  assert.equal(rawReader('sign_magnitude32', 'ABCD')(Uint8Array.of(0x80, 0, 1, 0), 0), -256);
});

test('registers that count to 9999 each', () => {
  assert.equal(rawReader('mod10k32', 'ABCD')(Uint8Array.of(0, 12, 0x0d, 0x80), 0), 123456);
  assert.equal(rawReader('mod10k32', 'CDAB')(Uint8Array.of(0x0d, 0x80, 0, 12), 0), 123456);
  assert.equal(rawReader('mod10k32', 'ABCD')(Uint8Array.of(0, 12, 0x27, 0x10), 0), NaN);
});

test('a power factor with quadrants wraps round at one', () => {
  const read = (value: number) => rawReader('pf4q', 'ABCD')(writeRaw('float32', 'ABCD', value), 0);
  assert.equal(read(0.5), 0.5);
  assert.equal(read(1.25), 0.75);
  assert.equal(read(0.97), 0.97);
  assert.equal(read(-1.25), -0.75);
  assert.equal(read(2.5), NaN);
});
