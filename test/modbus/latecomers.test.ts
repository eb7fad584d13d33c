import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Exchange } from '../../src/modbus/exchange.js';
import { Latecomers, type Frame } from '../../src/modbus/latecomers.js';

const NOBODY = { answered: () => {}, failed: () => {} };

function read(address: number, quantity: number, functionCode = 3): Exchange {
  return new Exchange(NOBODY, 1, Uint8Array.of(functionCode, 0, address, 0, quantity), 100, false);
}

function answer(...data: readonly number[]): Frame {
  const pdu = Uint8Array.of(3, data.length, ...data);
  return { unitId: 1, pdu, pduStart: 0, pduEnd: pdu.length };
}

test('what was given up is held against its likes until its answer came', () => {
  const latecomers = new Latecomers();
  latecomers.suspect(read(0, 2), 500);
  assert.equal(latecomers.heldUntilMs(read(50, 2)), 500);
  assert.equal(latecomers.heldUntilMs(read(50, 3)), 0);
  assert.ok(latecomers.isSuspected(answer(0, 1, 0, 2)));
  const suspect = latecomers.lateFor(answer(0, 1, 0, 2), 100);
  assert.ok(suspect !== null);
  latecomers.clear(suspect);
  assert.equal(latecomers.heldUntilMs(read(50, 2)), 0);
  assert.ok(latecomers.isBelated(answer(0, 1, 0, 2), 200), 'perhaps what came was the answer to another');
});

test('an answer that comes once more does not clear what is still to come', () => {
  const latecomers = new Latecomers();
  latecomers.given(read(0, 2), answer(0, 1, 0, 2), 0);
  latecomers.suspect(read(50, 2), 2000);
  assert.equal(latecomers.lateFor(answer(0, 1, 0, 2), 20), null);
  assert.equal(latecomers.heldUntilMs(read(50, 2)), 2000);
  assert.notEqual(latecomers.lateFor(answer(9, 9, 9, 9), 400), null);
});

test('the answer to one request is not believed to answer its like a moment later, unless that was known to say the same', () => {
  const latecomers = new Latecomers();
  latecomers.given(read(0, 2), answer(0, 1, 0, 2), 0);
  assert.ok(latecomers.isTwin(read(50, 2), answer(0, 1, 0, 2), 40));
  assert.equal(latecomers.isTwin(read(50, 2), answer(0, 1, 0, 3), 40), false);
  assert.equal(latecomers.isTwin(read(0, 2), answer(0, 1, 0, 2), 40), false, 'its own');
  assert.equal(latecomers.isTwin(read(50, 2), answer(0, 1, 0, 2), 1100), false, 'too late for a repetition');
  // A longer read around the like one showed that it really holds the same.
  latecomers.given(read(49, 4), answer(7, 7, 0, 1, 0, 2, 8, 8), 50);
  assert.equal(latecomers.isTwin(read(50, 2), answer(0, 1, 0, 2), 60), false);
});

test('bits known from a longer read are compared bit by bit', () => {
  const latecomers = new Latecomers();
  const bits = (byte: number): Frame => ({
    unitId: 1,
    pdu: Uint8Array.of(1, 1, byte),
    pduStart: 0,
    pduEnd: 3,
  });
  latecomers.given(read(0, 3, 1), bits(0b011), 0);
  assert.ok(latecomers.isTwin(read(20, 3, 1), bits(0b011), 10));
  latecomers.given(read(18, 8, 1), bits(0b11001100), 20);
  assert.equal(latecomers.isTwin(read(20, 3, 1), bits(0b011), 30), false);
  assert.ok(latecomers.isTwin(read(24, 3, 1), bits(0b011), 40), 'its last bit is not known');
  const twoBytes = { unitId: 1, pdu: Uint8Array.of(1, 2, 0, 0b011), pduStart: 0, pduEnd: 4 };
  latecomers.given(read(16, 16, 1), twoBytes, 50);
  assert.equal(latecomers.isTwin(read(24, 3, 1), bits(0b011), 60), false);
});

test('of two longer reads the later one says what is known', () => {
  const latecomers = new Latecomers();
  latecomers.given(read(0, 2), answer(0, 1, 0, 2), 0);
  latecomers.given(read(50, 3), answer(0, 1, 0, 2, 0, 0), 10);
  latecomers.given(read(49, 3), answer(0, 0, 0, 1, 0, 9), 20);
  assert.ok(latecomers.isTwin(read(50, 2), answer(0, 1, 0, 2), 30));
  latecomers.given(read(50, 3), answer(0, 1, 0, 2, 0, 0), 40);
  assert.equal(latecomers.isTwin(read(50, 2), answer(0, 1, 0, 2), 50), false);
});

test('a damaged answer holds nothing up on a line where answers come once', () => {
  const latecomers = new Latecomers();
  latecomers.spoiled(read(0, 2), 300);
  assert.equal(latecomers.heldUntilMs(read(50, 2)), 0);
});

test('an answer to what was given up for good is believed once, and its unit waited for that long for ten minutes', () => {
  const latecomers = new Latecomers();
  const slow = read(0, 2);
  slow.sentAtMs = 100;
  latecomers.suspect(slow, 500);
  assert.equal(latecomers.isBelated(answer(0, 1, 0, 2), 400), false, 'it is still held against its likes');
  latecomers.expire(501);
  assert.equal(latecomers.isBelated(answer(0, 1), 900), false, 'of another length');
  assert.ok(latecomers.isBelated(answer(0, 1, 0, 2), 900));
  assert.equal(latecomers.isBelated(answer(0, 1, 0, 2), 910), false);
  assert.equal(latecomers.latenessMs(1, 600_900), 1000);
  assert.equal(latecomers.latenessMs(1, 600_901), 0);
  assert.equal(latecomers.latenessMs(2, 1000), 0);
});

test('what answers nothing for six seconds after a request was sent has nothing to do with it', () => {
  const latecomers = new Latecomers();
  const slow = read(0, 2);
  slow.sentAtMs = 100;
  latecomers.suspect(slow, 500);
  latecomers.expire(501);
  assert.equal(latecomers.isBelated(answer(0, 1, 0, 2), 6101), false);
  assert.ok(latecomers.isBelated(answer(0, 1, 0, 2), 6100));
});

test('once answers have come twice, one that says the same again holds up the likes of its request, not itself', () => {
  const latecomers = new Latecomers();
  const [first, like] = [read(0, 2), read(50, 2)];
  latecomers.given(first, answer(0, 1, 0, 2), 0);
  latecomers.given(first, answer(0, 1, 0, 2), 100);
  assert.equal(latecomers.heldUntilMs(like), 0, 'equal values are no sign of it');
  assert.ok(latecomers.isRepeated(answer(0, 1, 0, 2), 110));
  latecomers.given(first, answer(0, 1, 0, 2), 200);
  assert.ok(latecomers.heldUntilMs(like) > 200);
  assert.equal(latecomers.heldUntilMs(first), 0);
  const other = read(100, 5);
  latecomers.spoiled(other, 300);
  assert.ok(latecomers.heldUntilMs(read(120, 5)) > 300, 'what was damaged may come whole');
  assert.equal(latecomers.heldUntilMs(other), 0);
});

test('a frame that nobody was given before makes no unit one that answers twice', () => {
  const latecomers = new Latecomers();
  assert.equal(latecomers.isRepeated(answer(0, 1, 0, 2), 110), false);
  assert.equal(latecomers.isRepeater(1, 111), false);
});

test('what was just written is known: reading it back is believed though another tag was written the same', () => {
  const written = (address: number, code: number, ...rest: number[]): Exchange =>
    new Exchange(NOBODY, 1, Uint8Array.of(code, 0, address, ...rest), 100, false);
  const echo = ({ pdu }: Exchange): Frame => ({ unitId: 1, pdu, pduStart: 0, pduEnd: 5 });
  for (const write of [
    (address: number) => written(address, 6, 0xfb, 0x2e),
    (address: number) => written(address, 16, 0, 1, 2, 0xfb, 0x2e),
  ]) {
    const latecomers = new Latecomers();
    for (const address of [10, 20]) {
      const exchange = write(address);
      latecomers.given(exchange, echo(exchange), address);
      const frame = answer(0xfb, 0x2e);
      assert.equal(latecomers.isTwin(read(address, 1), frame, address + 1), false);
      latecomers.given(read(address, 1), frame, address + 1);
    }
    assert.ok(latecomers.isTwin(read(30, 1), answer(0xfb, 0x2e), 40), 'nobody wrote it there');
  }
  const latecomers = new Latecomers();
  for (const address of [10, 20]) {
    const exchange = written(address, 5, 0xff, 0);
    latecomers.given(exchange, echo(exchange), address);
    const frame = { unitId: 1, pdu: Uint8Array.of(1, 1, 1), pduStart: 0, pduEnd: 3 };
    assert.equal(latecomers.isTwin(read(address, 1, 1), frame, address + 1), false);
    latecomers.given(read(address, 1, 1), frame, address + 1);
  }
});
