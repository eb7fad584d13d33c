import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Image } from '../../src/poller/image.js';

const words = (...values: number[]): Uint8Array =>
  Uint8Array.from(values.flatMap((word) => [word >> 8, word & 0xff]));

test('a read is answered from one answer that holds all of it, and from the newest', () => {
  const image = new Image();
  image.keep(1, 'holding-register', 10, 4, words(1, 2, 3, 4), 100);
  image.keep(1, 'holding-register', 14, 2, words(5, 6), 100);
  assert.deepEqual(image.read(1, 'holding-register', 11, 2, 0), words(2, 3));
  assert.equal(image.read(1, 'holding-register', 13, 2, 0), null, 'not put together from two answers');
  assert.equal(image.read(1, 'input-register', 11, 2, 0), null);
  assert.equal(image.read(2, 'holding-register', 11, 2, 0), null);
  image.keep(1, 'holding-register', 11, 2, words(20, 30), 200);
  assert.deepEqual(image.read(1, 'holding-register', 11, 2, 0), words(20, 30));
  assert.equal(image.read(1, 'holding-register', 11, 2, 201), null, 'too old');
});

test('bits are moved to where the answer wants them', () => {
  const image = new Image();
  image.keep(1, 'coil', 3, 12, Uint8Array.of(0b1010_0110, 0b0000_1001), 0);
  assert.deepEqual(image.read(1, 'coil', 5, 9, 0), Uint8Array.of(0b0110_1001, 0b0000_0000));
});

test('after a write only what was asked for later counts', () => {
  const image = new Image();
  image.keep(1, 'holding-register', 0, 1, words(1), 100);
  image.forget(1, 150);
  assert.equal(image.read(1, 'holding-register', 0, 1, 0), null);
  image.keep(1, 'holding-register', 0, 1, words(1), 140);
  assert.equal(image.read(1, 'holding-register', 0, 1, 0), null, 'asked while the write was on its way');
  image.keep(1, 'holding-register', 0, 1, words(2), 160);
  assert.deepEqual(image.read(1, 'holding-register', 0, 1, 0), words(2));
});

test('a master that asks for ever new ranges does not make it grow', () => {
  const image = new Image();
  for (let address = 0; address < 1000; address += 1)
    image.keep(1, 'holding-register', address, 1, words(address), address);
  assert.equal(image.read(1, 'holding-register', 0, 1, 0), null);
  assert.deepEqual(image.read(1, 'holding-register', 999, 1, 0), words(999));
});
