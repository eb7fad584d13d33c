import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { compileDecode, encodeValue } from '../../src/modbus/conversion.js';
import type { ValueForm } from '../../src/modbus/conversion.js';
import { decimalOf } from '../../src/modbus/decimal.js';
import { ORDER_NAMES, VALUE_TYPES, writeRaw } from '../../src/modbus/values.js';
import type { Value, ValueType } from '../../src/modbus/values.js';

const PLAIN: ValueForm = {
  type: 'uint16',
  order: 'ABCD',
  quantity: 1,
  scale: 1,
  offset: 0,
  bits: null,
  enum: null,
  flags: null,
  text: null,
  invalid: [],
};

const formOf = (parts: Partial<ValueForm>): ValueForm => ({ ...PLAIN, ...parts });

function decode(form: ValueForm, bytes: Uint8Array, factor = 1): Value | undefined {
  return compileDecode(form)(bytes, 0, factor);
}

/** What a device holds after the write: the registers before it were as given. */
function written(form: ValueForm, value: Value, before: Uint8Array, factor = 1): Uint8Array {
  const encoded = encodeValue(form, value, factor);
  assert.notEqual(encoded.kind, 'refused', JSON.stringify(encoded));
  if (encoded.kind === 'registers') return encoded.registers;
  const after = Uint8Array.from(before);
  if (encoded.kind === 'masked') {
    const view = new DataView(after.buffer);
    for (const { register, mask, value: bits } of encoded.parts) {
      view.setUint16(2 * register, (view.getUint16(2 * register) & ~mask) | bits);
    }
  }
  return after;
}

const anyOrder = fc.constantFrom(...Object.values(ORDER_NAMES));
const INTEGERS = (Object.keys(VALUE_TYPES) as ValueType[]).filter(
  (type) => VALUE_TYPES[type].kind === 'integer',
);

test('an integer of any type, order and decimal scale comes back as the decimal that was written', () => {
  const input = fc.constantFrom(...INTEGERS).chain((type) => {
    const { least, most } = VALUE_TYPES[type];
    const min = least < -(2n ** 40n) ? -(2n ** 40n) : least;
    const max = most > 2n ** 40n ? 2n ** 40n : most;
    return fc.tuple(
      fc.constant(type),
      anyOrder,
      fc.bigInt({ min, max }),
      fc.constantFrom(1, 0.1, 0.01, 0.001, 0.0001, 0.5, 0.25, 2, 10, 100, 1e-6, 0.2),
      fc.constantFrom(0, 0.5, -273.15, 1000, 0.1),
    );
  });
  fc.assert(
    fc.property(input, ([type, order, raw, scale, offset]) => {
      const form = formOf({ type, order, scale, offset, quantity: VALUE_TYPES[type].registers });
      const value = decode(form, writeRaw(type, order, raw));
      assert.equal(typeof value, 'number');
      const digits = Math.max(decimalOf(scale).places, decimalOf(offset).places);
      assert.ok(decimalOf(Number(value)).places <= digits, `${String(value)} has more than ${digits} digits`);
      assert.ok(
        Math.abs(Number(value) - (Number(raw) * scale + offset)) <= 1e-9 * Math.abs(Number(value)) + 1e-9,
      );
      const back = written(form, value ?? 0, writeRaw(type, order, 0));
      assert.deepEqual(back, writeRaw(type, order, raw));
    }),
    { numRuns: 3000 },
  );
});

test('64-bit integers without a scale keep all their digits both ways', () => {
  const input = fc.tuple(fc.constantFrom<ValueType>('int64', 'uint64', 'bcd64', 'mod10k64'), anyOrder);
  fc.assert(
    fc.property(input, fc.bigInt({ min: 0n, max: 2n ** 64n }), ([type, order], any) => {
      const { least, most } = VALUE_TYPES[type];
      const raw = least + (any % (most - least + 1n));
      const form = formOf({ type, order, quantity: 4 });
      const value = decode(form, writeRaw(type, order, raw));
      assert.equal(BigInt(value as number | bigint), raw);
      assert.deepEqual(written(form, value ?? 0, new Uint8Array(8)), writeRaw(type, order, raw));
    }),
    { numRuns: 500 },
  );
});

test('64-bit integers keep all their digits with a scale of whole numbers, and as many as a number has with another', () => {
  const scales = fc.constantFrom(10, 1000, 3600, -1, 0.1, 0.001, 0.0625);
  const offsets = fc.constantFrom(0, 5, -(10 ** 15), 0.25);
  fc.assert(
    fc.property(
      fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
      scales,
      offsets,
      (raw, scale, offset) => {
        const form = formOf({ type: 'int64', scale, offset, quantity: 4 });
        const value = decode(form, writeRaw('int64', 'ABCD', raw));
        // Ten thousandths, all in whole numbers.
        const exact = raw * BigInt(scale * 10_000) + BigInt(offset * 10_000);
        if (exact % 10_000n === 0n && Number.isInteger(scale) && Number.isInteger(offset)) {
          assert.equal(BigInt(value as number | bigint), exact / 10_000n);
          assert.deepEqual(written(form, value ?? 0, new Uint8Array(8)), writeRaw('int64', 'ABCD', raw));
        } else assert.equal(value, Number(`${exact}e-4`));
      },
    ),
    { numRuns: 1000 },
  );
});

test('what lies on a step is written, however small the step and far the origin, and what lies between two is not', () => {
  const form = (type: ValueType, scale: number, offset = 0): ValueForm =>
    formOf({ type, scale, offset, quantity: VALUE_TYPES[type].registers });
  const steps: readonly (readonly [ValueForm, number, bigint | null])[] = [
    [form('uint32', 1e-6, 1e6), 1000000.000218, 218n],
    [form('uint32', 1e-6, 1e6), 1000000.0002185, null],
    [form('int32', -0.001, 273.15), 273.149, 1n],
    [form('uint64', 0.1), 100_000_000_000.1, 1_000_000_000_001n],
    [form('uint64', 0.1), 100_000_000_000.05, null],
    // As a float32 has it, and as a reading of a third is told.
    [form('uint16', 0.1), Math.fround(21.4), 214n],
    [form('uint16', 1 / 3), 333.33333333333, 1000n],
    [form('uint16', 0.1), 21.4001, null],
    [form('uint32', 0.1), 100_000_000.03, null],
  ];
  for (const [one, value, raw] of steps) {
    const encoded = encodeValue(one, value);
    if (raw === null) assert.equal(encoded.kind, 'refused', String(value));
    else assert.deepEqual(written(one, value, new Uint8Array(8)), writeRaw(one.type, 'ABCD', raw));
  }
});

test('bits and bit ranges of any width and order are written without touching their neighbours', () => {
  const input = fc
    .constantFrom<ValueType>('uint16', 'int16', 'uint32', 'int32', 'uint64')
    .chain((type) =>
      fc.tuple(
        fc.constant(type),
        anyOrder,
        fc.nat(16 * VALUE_TYPES[type].registers - 1),
        fc.nat(63),
        fc.bigInt({ min: 0n, max: 2n ** BigInt(16 * VALUE_TYPES[type].registers) - 1n }),
        fc.bigInt({ min: 0n, max: 2n ** 64n }),
      ),
    );
  fc.assert(
    fc.property(input, ([type, order, first, length, before, any]) => {
      const { registers } = VALUE_TYPES[type];
      const last = Math.min(16 * registers - 1, first + length);
      const form = formOf({ type, order, quantity: registers, bits: { first, last } });
      const part = any % (1n << BigInt(last - first + 1));
      const value = part <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(part) : part;
      const unsigned = registers === 1 ? 'uint16' : registers === 2 ? 'uint32' : 'uint64';
      const after = written(form, value, writeRaw(unsigned, order, before));
      assert.equal(decode(form, after), value);
      const mask = ((1n << BigInt(last - first + 1)) - 1n) << BigInt(first);
      const whole = BigInt(decode(formOf({ type: unsigned, order, quantity: registers }), after) as number);
      assert.equal(whole & ~mask, before & ~mask);
    }),
    { numRuns: 2000 },
  );
});

test('bits of one half of a register are written in that half', () => {
  const before = writeRaw('uint16', 'ABCD', 0x1234n);
  for (const [type, after] of [
    ['uint8_high', 0x1e34],
    ['int8_high', 0x1e34],
    ['uint8_low', 0x123e],
    ['int8_low', 0x123e],
  ] as const) {
    // prettier-ignore
    const form = formOf({ type, bits: { first: 1, last: 3 } });
    const registers = written(form, 7, before);
    assert.equal(decode(formOf({ type: 'uint16' }), registers), after, type);
    assert.equal(decode(form, registers), 7, type);
  }
});

test('floats come back as the same floats', () => {
  fc.assert(
    fc.property(
      anyOrder,
      fc.float({ noNaN: true, noDefaultInfinity: true }),
      fc.double(),
      (order, single, double) => {
        const form32 = formOf({ type: 'float32', order, quantity: 2 });
        const value = decode(form32, writeRaw('float32', order, single));
        assert.equal(Math.fround(Number(value)), single);
        assert.deepEqual(written(form32, value ?? 0, new Uint8Array(4)), writeRaw('float32', order, single));
        const form64 = formOf({ type: 'float64', order, quantity: 4 });
        const wide = decode(form64, writeRaw('float64', order, double));
        assert.equal(wide, Number.isFinite(double) ? double : undefined);
      },
    ),
    { numRuns: 2000 },
  );
});

test('a float that needs a scale still has clean digits', () => {
  const form = formOf({ type: 'float32', quantity: 2, scale: 0.1 });
  assert.equal(decode(form, writeRaw('float32', 'ABCD', 2301)), 230.1);
  assert.equal(decode(form, writeRaw('float32', 'ABCD', 2301.5)), 230.15);
});

test('no sentinel of any width and no "not a number" ever comes out as a value', () => {
  const sentinels: readonly (readonly [ValueType, number | bigint])[] = [
    ['int16', -0x8000],
    ['int16', 0x7fff],
    ['uint16', 0xffff],
    ['int32', -0x8000_0000],
    ['int32', 0x7fff_ffff],
    ['uint32', 0xffff_ffff],
    ['int64', -(2n ** 63n)],
    ['int64', 2n ** 63n - 1n],
    ['uint64', 2n ** 64n - 1n],
  ];
  fc.assert(
    fc.property(
      fc.constantFrom(...sentinels),
      anyOrder,
      fc.constantFrom(1, 0.1),
      ([type, raw], order, scale) => {
        const quantity = VALUE_TYPES[type].registers;
        const form = formOf({ type, order, scale, quantity, invalid: [raw] });
        assert.equal(decode(form, writeRaw(type, order, raw)), undefined);
        const withBits = formOf({ type, order, quantity, invalid: [raw], bits: { first: 0, last: 3 } });
        assert.equal(decode(withBits, writeRaw(type, order, raw)), undefined);
        assert.notEqual(decode(form, writeRaw(type, order, 1)), undefined);
      },
    ),
    { numRuns: 300 },
  );
  for (const value of [NaN, Infinity, -Infinity]) {
    for (const type of ['float32', 'float64'] as const) {
      const form = formOf({ type, quantity: VALUE_TYPES[type].registers });
      assert.equal(decode(form, writeRaw(type, 'ABCD', value)), undefined);
    }
  }
  const marked = formOf({ type: 'float32', quantity: 2, invalid: [-1] });
  assert.equal(decode(marked, writeRaw('float32', 'ABCD', -1)), undefined);
});

test('a factor from another register keeps decimals clean', () => {
  const form = formOf({ type: 'int16' });
  assert.equal(decode(form, writeRaw('int16', 'ABCD', 2301), 10 ** -1), 230.1);
  assert.equal(decode(form, writeRaw('int16', 'ABCD', -4999), 10 ** -2), -49.99);
  assert.equal(decode(form, writeRaw('int16', 'ABCD', 12), 1000), 12000);
  fc.assert(
    fc.property(fc.integer({ min: -32768, max: 32767 }), fc.integer({ min: -6, max: 6 }), (raw, power) => {
      const value = decode(form, writeRaw('int16', 'ABCD', raw), 10 ** power);
      assert.equal(value, Number(`${raw}e${power}`));
    }),
  );
});

test('names of numbers both ways; a number without a name stays a number', () => {
  const form = formOf({
    bits: { first: 4, last: 6 },
    enum: [
      { raw: 0, text: 'off' },
      { raw: 1, text: 'auto' },
    ],
  });
  assert.equal(decode(form, Uint8Array.of(0, 0x1f)), 'auto');
  assert.equal(decode(form, Uint8Array.of(0, 0x7f)), 7);
  assert.deepEqual(encodeValue(form, 'auto'), {
    kind: 'masked',
    parts: [{ register: 0, mask: 0x70, value: 0x10 }],
  });
  assert.equal(encodeValue(form, 'manual').kind, 'refused');
});

test('flags are the names of the bits that are set', () => {
  const form = formOf({
    flags: [
      { bit: 0, text: 'overtemp' },
      { bit: 15, text: 'door' },
    ],
  });
  assert.equal(decode(form, Uint8Array.of(0x80, 0x01)), 'overtemp,door');
  assert.equal(decode(form, Uint8Array.of(0x00, 0x02)), '');
  assert.deepEqual(written(form, 'door', new Uint8Array(2)), Uint8Array.of(0x80, 0));
});

test('flags written by their names leave alone the bits that have none', () => {
  const flags = [
    { bit: 0, text: 'overtemp' },
    { bit: 15, text: 'door' },
  ];
  const held = Uint8Array.of(0x7f, 0xff);
  assert.deepEqual(written(formOf({ flags }), 'door', held), Uint8Array.of(0xff, 0xfe));
  assert.deepEqual(written(formOf({ type: 'int16', flags }), 'door', held), Uint8Array.of(0xff, 0xfe));
  assert.deepEqual(written(formOf({ flags, order: 'BADC' }), '', held), Uint8Array.of(0x7e, 0x7f));
  const half = formOf({ type: 'uint8_high', flags: flags.slice(0, 1) });
  assert.deepEqual(written(half, 'overtemp', Uint8Array.of(0xf0, 0x0f)), Uint8Array.of(0xf1, 0x0f));
  const wide = formOf({ type: 'uint32', quantity: 2, flags: [flags[0]!, { bit: 31, text: 'fan' }] });
  assert.deepEqual(written(wide, 'fan', Uint8Array.of(0, 1, 2, 3)), Uint8Array.of(0x80, 1, 2, 2));
  // A number says all of them.
  assert.deepEqual(written(formOf({ flags }), 5, held), Uint8Array.of(0, 5));
});

test('half a register is written without its other half', () => {
  for (const [type, order] of [
    ['uint8_high', 'ABCD'],
    ['int8_low', 'ABCD'],
    ['uint8_low', 'BADC'],
  ] as const) {
    const form = formOf({ type, order });
    const after = written(form, 17, Uint8Array.of(0xee, 0xee));
    assert.equal(decode(form, after), 17);
    assert.ok(after.includes(0xee));
  }
});

test('who writes a number with a comma is told of the point', () => {
  const errorOf = (value: Value): unknown => {
    const encoded = encodeValue(formOf({ scale: 0.1 }), value);
    return encoded.kind === 'refused' && encoded.text;
  };
  assert.equal(errorOf('21,5'), 'expected a number, with a point before its decimals');
  assert.equal(errorOf('1,2,3'), 'expected a number');
});

test('what a type cannot hold is refused, and nothing is rounded in silence', () => {
  const refusals: readonly (readonly [Partial<ValueForm>, Value])[] = [
    [{}, -1],
    [{}, 65536],
    [{}, 1.5],
    [{}, NaN],
    [{}, Infinity],
    [{}, 'text'],
    [{}, true],
    [{ type: 'int16' }, 32768],
    [{ type: 'uint64', quantity: 4 }, 2n ** 64n],
    [{ type: 'float32', quantity: 2 }, 1e39],
    [{ scale: 0.1 }, 21.44],
    [{ scale: 0.1 }, 6553.6],
    [{ bits: { first: 2, last: 3 } }, 4],
    [{ type: 'bool' }, 2],
    [{ type: 'bcd16' }, 10_000],
    [{ type: 'mod10k32', quantity: 2 }, 100_000_000],
    [{ type: 'string', quantity: 2 }, 'hello'],
    [{ type: 'string', quantity: 2 }, 5],
    [{ type: 'datetime6', quantity: 6 }, '2026-13-01T00:00:00'],
    [{ type: 'unixtime', quantity: 2 }, '1969-12-31T23:59:59Z'],
    [{ type: 'hhmm' }, '24:00'],
    [{ type: 'pf4q', quantity: 2 }, 0.5],
  ];
  for (const [parts, value] of refusals) {
    assert.equal(
      encodeValue(formOf(parts), value).kind,
      'refused',
      `${JSON.stringify(parts)} ${String(value)}`,
    );
  }
});

test('texts in every layout and encoding come back without their padding', () => {
  const layout = fc.constantFrom('both', 'swapped', 'high', 'low');
  const input = fc.tuple(
    layout,
    fc.constantFrom('ascii', 'latin1', 'utf-8', 'utf-16'),
    fc.constantFrom(0x00, 0x20, 0xff),
    fc.string({ unit: fc.constantFrom('a', 'Z', '0', '-', '/'), maxLength: 6 }),
  );
  fc.assert(
    fc.property(input, ([bytes, encoding, pad, text]) => {
      const form = formOf({ type: 'string', quantity: 12, text: { bytes, encoding, pad } });
      assert.equal(decode(form, written(form, text, new Uint8Array(24))), text);
    }),
    { numRuns: 500 },
  );
  const swapped = formOf({
    type: 'string',
    quantity: 2,
    text: { bytes: 'swapped', encoding: 'ascii', pad: 0 },
  });
  assert.equal(decode(swapped, Buffer.from('BADC')), 'ABCD');
  const wide = formOf({ type: 'string', quantity: 2, text: { bytes: 'both', encoding: 'latin1', pad: 0 } });
  assert.equal(decode(wide, Uint8Array.of(0xb0, 0x43, 0, 0x41)), '°C');
});

test('dates of every form come back', () => {
  const moment = fc.date({
    min: new Date('2000-01-01T00:00:00Z'),
    max: new Date('2099-12-31T23:59:59Z'),
    noInvalidDate: true,
  });
  const type = fc.constantFrom<ValueType>('datetime3', 'datetime4', 'datetime6', 'unixtime');
  fc.assert(
    fc.property(type, anyOrder, moment, (each, order, date) => {
      const text = `${date.toISOString().slice(0, 19)}${each === 'unixtime' ? 'Z' : ''}`;
      const form = formOf({ type: each, order, quantity: VALUE_TYPES[each].registers });
      assert.equal(decode(form, written(form, text, new Uint8Array(12))), text);
    }),
    { numRuns: 500 },
  );
});

test('what is no date is not available', () => {
  assert.equal(decode(formOf({ type: 'datetime6', quantity: 6 }), new Uint8Array(12)), undefined);
  assert.equal(decode(formOf({ type: 'datetime6', quantity: 6 }), new Uint8Array(12).fill(0xff)), undefined);
  assert.equal(decode(formOf({ type: 'datetime4', quantity: 4 }), new Uint8Array(8).fill(0xff)), undefined);
  assert.equal(decode(formOf({ type: 'unixtime', quantity: 2 }), new Uint8Array(4).fill(0xff)), undefined);
  assert.equal(decode(formOf({ type: 'hhmm' }), Uint8Array.of(21, 30)), '21:30');
  assert.equal(decode(formOf({ type: 'hhmm' }), Uint8Array.of(24, 0)), undefined);
  const february = writeRaw('uint16', 'ABCD', 0);
  assert.equal(february.length, 2);
  const day30 = Buffer.from('07ea0002001e000000000000', 'hex');
  assert.equal(decode(formOf({ type: 'datetime6', quantity: 6 }), day30), undefined);
});

test('a bool of a register is true when it is not 0', () => {
  const form = formOf({ type: 'bool' });
  assert.equal(decode(form, Uint8Array.of(0, 0)), false);
  assert.equal(decode(form, Uint8Array.of(1, 0)), true);
  assert.equal(decode(formOf({ type: 'bool', bits: { first: 3, last: 3 } }), Uint8Array.of(0, 8)), true);
  assert.deepEqual(encodeValue(formOf({ type: 'bool', bits: { first: 3, last: 3 } }), false), {
    kind: 'masked',
    parts: [{ register: 0, mask: 8, value: 0 }],
  });
});
