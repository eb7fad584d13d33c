import assert from 'node:assert/strict';
import { PassThrough, Writable } from 'node:stream';
import { test } from 'node:test';
import { Intake } from '../../src/uplink/intake.js';
import { until } from '../support/wait.js';
import * as wire from '../support/wire.js';

const MAXIMUM_BYTES = 1000;

/** An intake, what it is fed by, the pieces that it has handed on and the lengths that it refused. */
function setUp() {
  const source = new PassThrough();
  const pieces: Buffer[] = [];
  const refused: number[] = [];
  const sink = new Writable({
    write: (bytes: Buffer, _encoding, done) => {
      pieces.push(bytes);
      done();
    },
  });
  new Intake(source, sink, MAXIMUM_BYTES, (length) => void refused.push(length));
  return { source, pieces, refused };
}

const PACKETS = Array.from({ length: 2000 }, (_none, i) =>
  i % 3 === 0
    ? wire.frame(0xd0)
    : wire.publish(5, { topic: 't', payload: 'x'.repeat((i * 7) % 400), qos: 0, properties: [] }),
);

for (const size of [1, 2, 3, 117, 5000, 1_000_000])
  test(`all that comes is handed on as it is, cut every ${size} bytes`, async () => {
    const { source, pieces, refused } = setUp();
    const all = Buffer.concat(size < 100 ? PACKETS.slice(0, 100) : PACKETS);
    for (let at = 0; at < all.length; at += size) source.write(all.subarray(at, at + size));
    await until('all of it', () => Buffer.concat(pieces).length === all.length);
    assert.ok(Buffer.concat(pieces).equals(all));
    assert.deepEqual(refused, []);
  });

test('many packets that come at once leave the turn to others', async () => {
  const { source, pieces } = setUp();
  source.write(Buffer.concat(Array.from({ length: 10_000 }, () => wire.frame(0xd0))));
  await until('the first of them', () => pieces.length > 0);
  for (let turn = 1; Buffer.concat(pieces).length < 20_000; turn++) {
    assert.ok(Buffer.concat(pieces).length <= turn * 2 * 512, `in turn ${turn}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
});

test('a packet that is too large is refused once its length is known, and nothing more is handed on', async () => {
  const { source, pieces, refused } = setUp();
  const good = wire.publish(5, { topic: 't', payload: 'x', qos: 0, properties: [] });
  source.write(Buffer.concat([good, wire.u8(0x30, 0xff, 0xff, 0xff)]));
  await until('what is right', () => pieces.length > 0);
  assert.deepEqual(refused, []);
  source.write(wire.u8(0x7f));
  await until('the refusal', () => refused.length > 0);
  source.write(Buffer.alloc(5000));
  source.write(good);
  await until('the rest', () => source.readableLength === 0);
  assert.deepEqual(refused, [268_435_455]);
  assert.ok(Buffer.concat(pieces).length < good.length + 5);
});
