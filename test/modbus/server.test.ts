/** The answering side, strict by the specification (V1.1b3, section 6): each request beside its answer, as hex. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { systemClock } from '../../src/clock.js';
import { answerPdu } from '../../src/modbus/server.js';
import { asciiFrame, readAscii, readRtu, rtuFrame } from '../../src/modbus/framing.js';
import { rtuRequestLength } from '../../src/modbus/serverframes.js';
import { Unit } from '../../src/simulator/unit.js';

function unit(): Unit {
  const values = [
    { table: 'holding-register', address: 107, quantity: 3, script: 'fixed', hex: '022b00000064' },
    { table: 'input-register', address: 8, quantity: 1, script: 'fixed', hex: '000a' },
    { table: 'coil', address: 19, quantity: 19, script: 'fixed', hex: 'cd6b05' },
    { table: 'discrete-input', address: 196, quantity: 22, script: 'fixed', hex: 'acdb35' },
  ] as const;
  return new Unit({ unitId: 1, values, identity: ['Acme', 'M7', '2.1'] }, 1, systemClock);
}

/** Most are the examples of the specification. */
const CASES: readonly (readonly [string, string, string])[] = [
  ['read coils', '0100130013', '0103cd6b05'],
  ['read discrete inputs', '0200c40016', '0203acdb35'],
  ['read holding registers', '03006b0003', '0306022b00000064'],
  ['read input registers', '0400080001', '0402000a'],
  ['write a coil', '0500acff00', '0500acff00'],
  ['write a register', '0600010003', '0600010003'],
  ['write coils', '0f0013000a02cd01', '0f0013000a'],
  ['write registers', '100001000204000a0102', '1000010002'],
  ['mask write', '16000400f20025', '16000400f20025'],
  ['read and write registers', '17006b0001000e000306 00ff00ff00ff', '1702022b'],
  ['echo diagnostics', '080000a537', '080000a537'],
  ['report the server id', '11', '11034d37ff'],
  ['identify, basic', '2b0e0100', '2b0e01810000030004' + '41636d65' + '01024d37' + '0203322e31'],
  ['identify one object', '2b0e0401', '2b0e04810000010102' + '4d37'],
  ['an unknown function', '5500', 'd501'],
  ['an unknown sub-function', '0800630000', '8801'],
  ['no quantity', '03006b0000', '8303'],
  ['too many registers', '03006b007e', '8303'],
  ['too many bits', '01000007d1', '8103'],
  ['the last register', '03ffff0001', '03020000'],
  ['beyond the last register', '03ffff0002', '8302'],
  ['a coil that is neither on nor off', '0500ac1234', '8503'],
  ['a byte count that does not fit', '100001000203000a01', '9003'],
  ['too many written registers', '100000007cf8' + '0000'.repeat(124), '9003'],
  ['too few bytes', '0300', '8303'],
  ['too many bytes', '03006b000300', '8303'],
  ['an unknown object', '2b0e0477', 'ab02'],
];

for (const [what, request, answer] of CASES) {
  test(`answers: ${what}`, () => {
    const pdu = Buffer.from(request.replaceAll(' ', ''), 'hex');
    assert.equal(Buffer.from(answerPdu(unit(), 1, pdu)).toString('hex'), answer);
  });
}

test('any bytes get an answer of their function, never an exception thrown', () => {
  const one = unit();
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 253 }), (pdu) => {
      const answer = answerPdu(one, 1, pdu);
      assert.equal((answer[0] ?? 0) & 0x7f, (pdu[0] ?? 0) & 0x7f);
      assert.ok(answer.length <= 253);
    }),
    { numRuns: 500 },
  );
});

test('RTU and ASCII frames come back as they were made, and not when a byte changed', () => {
  const pdus = fc.uint8Array({ minLength: 1, maxLength: 253 });
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 247 }), pdus, fc.nat(), (unitId, pdu, at) => {
      for (const [frame, read] of [
        [rtuFrame(unitId, pdu), readRtu],
        [asciiFrame(unitId, pdu), readAscii],
      ] as const) {
        // prettier-ignore
        assert.deepEqual(read(frame), { transactionId: 0, protocolId: 0, unitId, pdu });
        const broken = Uint8Array.from(frame);
        const index = at % broken.length;
        broken[index] = (broken[index] ?? 0) ^ 1;
        assert.equal(read(broken), null);
      }
    }),
    { numRuns: 200 },
  );
});

test('the length of each RTU request is known from its beginning', () => {
  for (const [what, request] of CASES) {
    const frame = rtuFrame(1, Buffer.from(request.replaceAll(' ', ''), 'hex'));
    const length = rtuRequestLength(frame);
    if (!/bytes|unknown f|count|identify|sub|object/.test(what)) assert.equal(length, frame.length, what);
  }
});
