/** The contract with modbus-serial: what it must do for us, pinned here so that another version is noticed. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { packageFolder } from '../../src/entry.js';
import { PduCodec } from '../../src/modbus/codec.js';
import { Exchange } from '../../src/modbus/exchange.js';
import type { Request } from '../../src/modbus/request.js';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const NOBODY = { answered: () => {}, failed: () => {} };

test('the version that was tried is the version that is used', () => {
  const text = readFileSync(join(packageFolder(), 'package.json'), 'utf8');
  // The shape of our own package.json.
  const { dependencies } = JSON.parse(text) as { dependencies: Record<string, string> };
  assert.equal(dependencies['modbus-serial'], '8.0.25');
});

/** Requests and answers as the standard prints them (Modbus 6.1 to 6.21). */
const EXAMPLES: readonly (readonly [Request, string, string, string])[] = [
  [
    { kind: 'read', unitId: 1, table: 'coil', address: 19, quantity: 19 },
    '0100130013',
    '0103cd6b05',
    'cd6b05',
  ],
  [
    { kind: 'read', unitId: 1, table: 'discrete-input', address: 196, quantity: 22 },
    '0200c40016',
    '0203acdb35',
    'acdb35',
  ],
  [
    { kind: 'read', unitId: 1, table: 'holding-register', address: 107, quantity: 3 },
    '03006b0003',
    '0306022b00000064',
    '022b00000064',
  ],
  [
    { kind: 'read', unitId: 1, table: 'input-register', address: 8, quantity: 1 },
    '0400080001',
    '0402000a',
    '000a',
  ],
  [
    { kind: 'write-bits', unitId: 1, address: 172, bits: [true], functionCode: 0 },
    '0500acff00',
    '0500acff00',
    '',
  ],
  [
    { kind: 'write-registers', unitId: 1, address: 1, registers: Uint8Array.of(0, 3), functionCode: 0 },
    '0600010003',
    '0600010003',
    '',
  ],
  [
    {
      kind: 'write-bits',
      unitId: 1,
      address: 19,
      bits: [...'1011001110'].map((bit) => bit === '1'),
      functionCode: 0,
    },
    '0f0013000a02cd01',
    '0f0013000a',
    '',
  ],
  [
    {
      kind: 'write-registers',
      unitId: 1,
      address: 1,
      registers: Uint8Array.of(0, 10, 1, 2),
      functionCode: 0,
    },
    '100001000204000a0102',
    '1000010002',
    '',
  ],
  [
    { kind: 'mask-write', unitId: 1, address: 4, andMask: 0xf2, orMask: 0x25 },
    '16000400f20025',
    '16000400f20025',
    '',
  ],
  [
    {
      kind: 'read-write',
      unitId: 1,
      address: 3,
      quantity: 6,
      writeAddress: 14,
      registers: Uint8Array.of(0, 255, 0, 255, 0, 255),
    },
    '1700030006000e00030600ff00ff00ff',
    '170c00fe0acd00010003000d00ff',
    '00fe0acd00010003000d00ff',
  ],
  [
    { kind: 'raw', unitId: 1, functionCode: 43, data: Uint8Array.of(14, 1, 0) },
    '2b0e0100',
    '2b0e010100000100024142',
    '0e010100000100024142',
  ],
  [
    { kind: 'raw', unitId: 1, functionCode: 8, data: Uint8Array.of(0, 0, 0xa5, 0x37) },
    '080000a537',
    '080000a537',
    '0000a537',
  ],
  [{ kind: 'raw', unitId: 1, functionCode: 17, data: new Uint8Array(0) }, '11', '110301ff07', '0301ff07'],
];

test("the standard's examples are encoded and decoded as printed", () => {
  const codec = new PduCodec();
  for (const [request, pdu, answer, data] of EXAMPLES) {
    const encoded = codec.encode(request);
    assert.equal(hex(encoded.pdu), pdu);
    const bytes = Buffer.from(answer, 'hex');
    const exchange = new Exchange(NOBODY, 1, encoded.pdu, 100, false);
    assert.equal(exchange.check(bytes, 0, bytes.length), 'answer', answer);
    const decoded = codec.decode(request, encoded.slot, bytes, 0, bytes.length);
    assert.ok(decoded instanceof Uint8Array);
    assert.equal(hex(decoded), data);
    codec.release(encoded.slot);
  }
});

test('many requests under way keep apart, and slots are used again', () => {
  const codec = new PduCodec();
  fc.assert(
    fc.property(fc.array(fc.nat(200), { minLength: 1, maxLength: 16 }), (addresses) => {
      const all = addresses.map((address) => {
        const request: Request = {
          kind: 'read-write',
          unitId: 1,
          address,
          quantity: 1,
          writeAddress: address,
          registers: Uint8Array.of(0, 1),
        };
        return { request, address, ...codec.encode(request) };
      });
      for (const { request, address, slot } of all.toReversed()) {
        assert.ok(slot >= 1 && slot <= 16);
        const decoded = codec.decode(request, slot, Uint8Array.of(23, 2, 0, address), 0, 4);
        assert.deepEqual(decoded instanceof Uint8Array ? [...decoded] : decoded, [0, address]);
        codec.release(slot);
      }
    }),
  );
});

test('requests of different kinds under way at once are answered in any order', () => {
  const codec = new PduCodec();
  const underWay = EXAMPLES.map(([request, , answer, data]) => ({
    request,
    answer,
    data,
    ...codec.encode(request),
  }));
  for (const { request, slot, answer, data } of underWay.toReversed()) {
    const bytes = Buffer.from(answer, 'hex');
    const decoded = codec.decode(request, slot, bytes, 0, bytes.length);
    assert.equal(decoded instanceof Uint8Array ? hex(decoded) : decoded, data);
  }
});

test('an answer of every length that is not the right one is a mismatch', () => {
  const codec = new PduCodec();
  for (const [request, , answer] of EXAMPLES) {
    if (request.kind === 'raw') continue;
    const { pdu } = codec.encode(request);
    const exchange = new Exchange(NOBODY, 1, pdu, 100, false);
    const bytes = Buffer.concat([Buffer.from(answer, 'hex'), Buffer.alloc(8)]);
    for (let length = 1; length < bytes.length; length += 1) {
      const isRight = length === answer.length / 2;
      assert.equal(exchange.check(bytes, 0, length), isRight ? 'answer' : 'mismatch', `${answer} ${length}`);
    }
  }
});

test('what was read is no view of where it was received: the next answer comes there', () => {
  const codec = new PduCodec();
  const received = Uint8Array.of(3, 2, 1, 2);
  const request: Request = { kind: 'read', unitId: 1, table: 'holding-register', address: 0, quantity: 1 };
  const data = codec.decode(request, 0, received, 0, 4);
  received.fill(0xff);
  assert.deepEqual(data instanceof Uint8Array ? [...data] : data, [1, 2]);
});
