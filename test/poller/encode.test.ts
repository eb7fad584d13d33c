/** Commands of tags that are true or false and have names for it, and how the same is read. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Tag } from '../../src/config/plant.js';
import { compileDecode, isImplausible } from '../../src/poller/decode.js';
import { encodeCommand } from '../../src/poller/encode.js';
import { busOf, deviceOf, tagOf, writeOf } from '../support/tags.js';

const device = deviceOf(0, busOf(0));
/** The wrong way round on purpose: what it calls off is 1. */
const NAMES = [
  { raw: 0, text: 'running' },
  { raw: 1, text: 'off' },
];
const COIL = tagOf(0, device, 3, {
  type: 'bool',
  table: 'coil',
  enum: NAMES,
  write: writeOf({ table: 'coil', address: 3 }),
});
const BIT = tagOf(1, device, 7, {
  type: 'bool',
  bits: { first: 3, last: 3 },
  enum: NAMES,
  write: writeOf({ table: 'holding-register', address: 7 }),
});

function read(tag: Tag, bytes: number[], at: number): unknown {
  const value = compileDecode(tag)(Uint8Array.from(bytes), at, 1) ?? assert.fail();
  return isImplausible(tag, value) ? `implausible ${value}` : value;
}

test('a coil, a discrete input or a bit with an enum is read by its names', () => {
  assert.deepEqual([read(COIL, [0b1000], 3), read(COIL, [0b0111], 3)], ['off', 'running']);
  assert.deepEqual([read(BIT, [0, 8], 0), read(BIT, [0xff, 0xf7], 0)], ['off', 'running']);
  const half = { ...COIL, enum: NAMES.slice(0, 1) };
  assert.deepEqual([read(half, [0b0111], 3), read(half, [0b1000], 3)], ['running', 'implausible true']);
});

test('and written by them, or as true, false, 1 and 0, but by no word that may mean the opposite', () => {
  const bits = (payload: string): unknown => {
    const encoded = encodeCommand(COIL, Buffer.from(payload));
    return encoded.kind === 'bits' ? [encoded.bits, encoded.json] : encoded;
  };
  for (const payload of ['"off"', 'true', '1']) assert.deepEqual(bits(payload), [[true], '"off"']);
  for (const payload of ['"running"', 'false', '0']) assert.deepEqual(bits(payload), [[false], '"running"']);
  assert.deepEqual(bits('"on"'), {
    kind: 'refused',
    code: 'TYPE',
    text: 'expected running, off, true, false, 1 or 0',
  });
  assert.deepEqual(encodeCommand(BIT, Buffer.from('"off"')), {
    kind: 'masked',
    register: 0,
    mask: 8,
    value: 8,
    json: '"off"',
  });
});

test('a step is kept however many steps away a value lies', () => {
  const write = { ...writeOf({ table: 'holding-register', address: 10 }), min: 0.25, step: 0.5 };
  const tag = tagOf(3, device, 10, { type: 'float32', quantity: 2, write });
  const kinds = [0.75, 0.8, 1_000_000.25, 1_000_000.3, 3e7 + 0.25].map(
    (value) => encodeCommand(tag, Buffer.from(String(value))).kind,
  );
  assert.deepEqual(kinds, ['registers', 'refused', 'registers', 'refused', 'registers']);
});

test('limits hold for the names of an enum as for its numbers', () => {
  const names = ['off', 'auto', 'manual'].map((text, raw) => ({ raw, text }));
  const tag = tagOf(2, device, 10, {
    enum: names,
    write: { ...writeOf({ table: 'holding-register', address: 10 }), max: 1 },
  });
  const kinds = ['"auto"', '1', '"manual"', '2', '"of"'].map((payload) => {
    const encoded = encodeCommand(tag, Buffer.from(payload));
    return encoded.kind === 'refused' ? encoded.text : encoded.kind;
  });
  const above = '2 is outside what is allowed, at most 1';
  assert.deepEqual(kinds, ['registers', 'registers', above, above, 'expected one of off, auto, manual']);
});
