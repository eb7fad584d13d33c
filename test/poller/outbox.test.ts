import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Outbox } from '../../src/poller/outbox.js';
import { ParcelReader } from '../../src/poller/parcel.js';
import { TagState } from '../../src/poller/report.js';
import { Ring, ringMemory } from '../../src/poller/ring.js';
import { ManualClock } from '../support/clock.js';
import { busOf, deviceOf, tagOf } from '../support/tags.js';

const device = deviceOf(0, busOf(0));

function outboxOf(bufferCount: number, bufferBytes: number) {
  const ring = new Ring(ringMemory(bufferCount, bufferBytes));
  /** Indexes of buffers that hold samples, and parcels in buffers of their own. */
  const posted: number[] = [];
  const parcels: ArrayBuffer[] = [];
  const flushes: (() => void)[] = [];
  /** What was said of each: whether more is about to come. */
  const crowds: boolean[] = [];
  const wakes = { count: 0 };
  ring.post = (index) => void posted.push(index);
  ring.wake = () => void (wakes.count += 1);
  const clock = new ManualClock(1_800_000_000_000);
  const outbox = new Outbox({
    clock,
    ring,
    post: (buffer) => void parcels.push(buffer),
    defer: (flush, isCrowd) => void (flushes.push(flush), crowds.push(isCrowd)),
  });
  const read = (): Map<number, string[]> => {
    const values = new Map<number, string[]>();
    for (const index of posted) {
      const reader = new ParcelReader(ring.bufferAt(index));
      while (reader.next())
        values.set(reader.index, [
          ...(values.get(reader.index) ?? []),
          Buffer.from(reader.payload).toString(),
        ]);
    }
    return values;
  };
  /** Gives all buffers back, and says so when the outbox waits for one. */
  const release = (): void => {
    for (const index of posted.splice(0)) if (ring.give(index)) outbox.released();
  };
  return { clock, outbox, posted, parcels, flushes, crowds, wakes, read, release };
}

function states(count: number): TagState[] {
  return Array.from({ length: count }, (_, i) => new TagState(tagOf(i, device, i, { payload: 'raw' })));
}

function set(state: TagState, value: number): TagState {
  state.value = value;
  state.code = 0;
  state.timeMs = 1_800_000_000_000;
  return state;
}

test('samples of one turn leave in one parcel, when the turn is over', () => {
  const { outbox, posted, flushes, read } = outboxOf(2, 65536);
  for (const [i, state] of states(50).entries()) outbox.sample(set(state, i));
  assert.deepEqual([posted.length, flushes.length], [0, 1]);
  flushes.shift()?.();
  assert.equal(posted.length, 1);
  assert.equal(read().size, 50);
});

test('the first answer for a while leaves at once, and those that follow soon share a parcel', () => {
  const { clock, outbox, posted, flushes, read } = outboxOf(3, 65536);
  const [a, b, c] = states(3);
  assert.ok(a !== undefined && b !== undefined && c !== undefined);
  outbox.sample(set(a, 1));
  outbox.answered();
  assert.equal(posted.length, 1);
  for (const state of [b, c]) {
    outbox.sample(set(state, 2));
    outbox.answered();
  }
  assert.equal(posted.length, 1);
  for (const flush of flushes.splice(0)) flush();
  assert.equal(posted.length, 2);
  clock.advance(50);
  outbox.sample(set(a, 3));
  outbox.answered();
  assert.equal(posted.length, 3);
  assert.deepEqual(Object.fromEntries(read()), { 0: ['1', '3'], 1: ['2'], 2: ['2'] });
});

test('who reads is woken once for the answers of a fleet, and at once for one that came alone', () => {
  const { clock, outbox, posted, flushes, crowds, wakes } = outboxOf(8, 1024);
  const all = states(60);
  const answerAll = (): void => {
    for (const [i, state] of all.entries()) {
      outbox.sample(set(state, i));
      if (i % 3 === 2) outbox.answered();
    }
    for (const flush of flushes.splice(0)) flush();
  };
  answerAll();
  clock.advance(100);
  wakes.count = 0;
  crowds.length = 0;
  posted.length = 0;
  answerAll();
  assert.ok(posted.length > 1, 'several buffers');
  assert.deepEqual([wakes.count, crowds[0]], [1, true]);
  // It takes one that stays alone for the next one not to be waited with.
  for (const [value, wakesThen] of [
    [1, 0],
    [2, 1],
  ] as const) {
    clock.advance(100);
    wakes.count = 0;
    outbox.sample(set(all[0]!, value));
    outbox.answered();
    assert.equal(wakes.count, wakesThen);
    for (const flush of flushes.splice(0)) flush();
  }
});

test('who reads is woken when no buffer is left', () => {
  const { outbox, posted, wakes } = outboxOf(1, 1024);
  for (const [i, state] of states(200).entries()) outbox.sample(set(state, i));
  assert.equal(posted.length, 1);
  assert.ok(wakes.count >= 1);
});

test('with no buffer left the newest value of each tag waits, and leaves when one comes back', () => {
  const { outbox, posted, flushes, read, release } = outboxOf(1, 1024);
  const [a, b] = states(2);
  assert.ok(a !== undefined && b !== undefined);
  outbox.sample(set(a, 1));
  flushes.shift()?.();
  assert.equal(posted.length, 1);
  for (let value = 2; value < 1000; value += 1) outbox.sample(set(a, value));
  outbox.sample(set(b, 7));
  assert.equal(posted.length, 1);
  assert.equal(outbox.overwrittenCount, 997);
  release();
  flushes.shift()?.();
  assert.deepEqual(Object.fromEntries(read()), { 0: ['999'], 1: ['7'] });
});

test('more tags than fit into what comes back wait on, none twice and none forgotten', () => {
  const { outbox, read, release } = outboxOf(1, 1024);
  const all = states(200);
  for (const [i, state] of all.entries()) outbox.sample(set(state, i));
  const seen = new Map<number, number>();
  for (let round = 0; round < 50; round += 1) {
    outbox.flush();
    for (const [index, values] of read()) seen.set(index, (seen.get(index) ?? 0) + values.length);
    release();
  }
  assert.equal(seen.size, 200);
  assert.ok([...seen.values()].every((count) => count === 1));
});

test('results of commands leave whatever samples do, and a batch longer than any buffer has a parcel of its own', () => {
  const { outbox, posted, parcels } = outboxOf(0, 256);
  for (let i = 0; i < 500; i += 1) outbox.result(1, 0, i, Buffer.from('12345'));
  outbox.flush();
  let count = 0;
  for (const buffer of parcels.splice(0)) {
    const reader = new ParcelReader(buffer);
    assert.equal(reader.kind, 'results');
    while (reader.next()) assert.equal(reader.correlation, count++);
  }
  assert.equal(count, 500);
  const many = states(100);
  for (const [i, state] of many.entries()) set(state, i);
  const tags = many.map(({ tag }) => tag);
  outbox.batch(
    { index: 900, device, group: null, tags, qos: 0, retain: true, topic: 'b', recipe: null },
    many,
    0,
  );
  assert.deepEqual([posted.length, parcels.length], [0, 1]);
});
