import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { AsciiFraming } from '../../src/modbus/ascii.js';
import { crc16, lrc } from '../../src/modbus/checksum.js';
import { Exchange } from '../../src/modbus/exchange.js';
import type { Framing } from '../../src/modbus/line.js';
import { RtuFraming } from '../../src/modbus/rtu.js';

const NOBODY = { answered: () => {}, failed: () => {} };
const bytesOf = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, 'hex'));

function pduIn({ pdu, pduStart, pduEnd }: Framing): string {
  return Buffer.from(pdu.slice(pduStart, pduEnd)).toString('hex');
}

test('checksums are those that the standard prints', () => {
  // Modbus over serial line, 6.2.2 (device address 2, function 7) and the LRC of 6.2.1.
  assert.equal(crc16(Uint8Array.of(2, 7)), 0x1241);
  assert.equal(crc16(bytesOf('010300000001')), 0x0a84);
  assert.equal(lrc(bytesOf('f7031389000a')), 0x60);
});

/** Request PDU and a right answer to it, for each function whose answer ends differently. */
const PAIRS: readonly (readonly [string, string])[] = [
  ['0100000013', '0103cd6b05'],
  ['0300000002', '030401020304'],
  ['0500acff00', '0500acff00'],
  ['0600010003', '0600010003'],
  ['080000a537', '080000a537'],
  ['0f0013000a02cd01', '0f0013000a'],
  ['100001000204000a0102', '1000010002'],
  ['11', '110401ff4142'],
  ['16000400f20025', '16000400f20025'],
  ['1700030002000e00010200ff', '170400fe0acd'],
  ['2b0e0100', '2b0e0183000003000161010262620200'],
  ['4401', '440102030405'],
  ['0300000002', '8302'],
];

test('an ASCII frame may end with a line feed alone, and not with less', () => {
  const framing = new AsciiFraming();
  for (const [, answer] of PAIRS) {
    const frame = framing.encode(17, bytesOf(answer));
    const bare = Uint8Array.of(...frame.subarray(0, -2), 0x0a);
    assert.equal(framing.find(bare, 0, bare.length), bare.length, answer);
    assert.equal(pduIn(framing), answer);
    for (let end = 0; end < bare.length; end += 1) assert.equal(framing.find(bare, 0, end), 0);
  }
});

for (const framing of [new RtuFraming(), new AsciiFraming()]) {
  test(`${framing.constructor.name} finds a frame of every function, whole and only when it is whole`, () => {
    for (const [request, answer] of PAIRS) {
      const exchange = new Exchange(NOBODY, 17, bytesOf(request), 100, false);
      const frame = framing.encode(17, bytesOf(answer));
      assert.equal(frame.length, framing.wireBytes(answer.length / 2));
      assert.equal(framing.find(frame, 0, frame.length, exchange), frame.length, answer);
      assert.equal(framing.unitId, 17);
      assert.equal(pduIn(framing), answer);
      for (let end = 0; end < frame.length; end += 1) assert.equal(framing.find(frame, 0, end, exchange), 0);
    }
  });

  test(`${framing.constructor.name} takes no frame with a flipped bit`, () => {
    const bit = fc.nat();
    fc.assert(
      fc.property(fc.constantFrom(...PAIRS), bit, ([request, answer], which) => {
        const exchange = new Exchange(NOBODY, 17, bytesOf(request), 100, false);
        const frame = framing.encode(17, bytesOf(answer));
        const at = Math.floor(which / 8) % frame.length;
        frame[at] = (frame[at] ?? 0) ^ (1 << (which % 8));
        const size = framing.find(frame, 0, frame.length, exchange);
        // A flipped bit may make an ASCII digit the same digit in lower case.
        if (size !== 0) assert.equal(pduIn(framing), answer);
      }),
      { numRuns: 2000 },
    );
  });

  test(`${framing.constructor.name} survives any bytes`, () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.constantFrom(...PAIRS), (bytes, [request]) => {
        const exchange = new Exchange(NOBODY, 17, bytesOf(request), 100, false);
        for (let at = 0; at < bytes.length; at += 1) {
          const size = framing.find(bytes, at, bytes.length, exchange);
          assert.ok(size >= 0 && at + size <= bytes.length);
          framing.resembles(bytes, at, bytes.length, exchange);
          framing.isWhole(bytes, at, bytes.length, exchange);
        }
      }),
      { numRuns: 300 },
    );
  });
}

test('device identification ends with its last object, however its parts are cut', () => {
  const framing = new RtuFraming();
  const pdu = bytesOf('2b0e01830000020003414243010164');
  const frame = framing.encode(1, pdu);
  const exchange = new Exchange(NOBODY, 1, bytesOf('2b0e0100'), 100, false);
  for (let end = 1; end < frame.length; end += 1) assert.equal(framing.find(frame, 0, end, exchange), 0);
  assert.equal(framing.find(frame, 0, frame.length, exchange), frame.length);
});
