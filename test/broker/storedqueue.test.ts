import assert from 'node:assert/strict';
import { test } from 'node:test';
import { incomingOf } from '../../src/broker/incoming.js';
import { AWAITS_PUBACK, AWAITS_PUBCOMP, type InFlightEntry } from '../../src/broker/inflight.js';
import { type QueueOwner, StoredQueue, type StoredQueueHost } from '../../src/broker/storedqueue.js';
import { MemoryStore } from '../../src/store/memory.js';
import type { StoredMessage } from '../../src/store/store.js';
import { ManualClock } from '../support/clock.js';

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const NOTHING = new Uint8Array(0);
const SESSION = 1;

/** A disk that can be told to refuse, and notes how much it was asked for. */
class Disk extends MemoryStore {
  isRefusing = false;
  readCount = 0;

  override read(session: number, after: number, limit: number): Promise<StoredMessage[]> {
    this.readCount++;
    return this.isRefusing ? Promise.reject(new Error('EIO')) : super.read(session, after, limit);
  }
}

/** A queue with its store, and what it asked its owner and its host for. */
class Field implements StoredQueueHost, QueueOwner {
  readonly clock = new ManualClock();
  readonly store = new Disk();
  readonly maxQueuedMessages: number;
  readonly maxQueuedBytes: number;
  isTight = false;
  keptPosition = Infinity;
  touchedCount = 0;
  awaitedCount = 0;
  readonly lostIds: number[] = [];
  readonly queue: StoredQueue;
  #position = 0;

  constructor(maxQueuedMessages = Infinity, maxQueuedBytes = Infinity) {
    this.maxQueuedMessages = maxQueuedMessages;
    this.maxQueuedBytes = maxQueuedBytes;
    this.store.append({
      type: 'SessionOpened',
      session: SESSION,
      clientId: 'c',
      owner: '',
      expiryS: 1000,
      protocolVersion: 4,
    });
    this.queue = new StoredQueue(this, this, SESSION);
  }

  touch(): void {
    this.touchedCount++;
  }

  awaitKept(): void {
    this.awaitedCount++;
  }

  lost(packetIdentifier: number): void {
    this.lostIds.push(packetIdentifier);
  }

  /** Publishes what waits from then on; answers how many were dropped for it. */
  add(text: string, identifiers: readonly number[] = []): number {
    const topic = encoder.encode('t');
    const payload = encoder.encode(text);
    const position = ++this.#position;
    const message = { topic, payload, properties: NOTHING, qos: 1, expiresAtMs: 0, publisher: '' } as const;
    const receivers = [{ session: SESSION, qos: 1, retain: false, identifiers }] as const;
    this.store.append({ type: 'Published', position, message, receivers, retained: false });
    return this.queue.add(incomingOf(topic, payload, NOTHING, {}), position, identifiers);
  }

  /** Hands out all that can be had: texts, with the identifier of those that were sent before. */
  async drain(): Promise<string[]> {
    const got: string[] = [];
    for (let rest = 0; rest < 4;) {
      const message = this.queue.peek();
      if (message === undefined) {
        this.queue.readOn();
        rest++;
        await new Promise((resolve) => setImmediate(resolve));
        continue;
      }
      if (message.position > this.keptPosition) {
        this.queue.awaitKept();
        return got;
      }
      const sentAs = this.queue.take(message);
      if (sentAs < 0) continue;
      const { payload, payloadStart, payloadEnd } = message;
      got.push(
        decoder.decode(payload.subarray(payloadStart, payloadEnd)) + (sentAs === 0 ? '' : ` as ${sentAs}`),
      );
    }
    return got;
  }
}

function inFlight(...entries: [number, number, InFlightEntry['state']][]): InFlightEntry[] {
  return entries.map(([position, packetIdentifier, state]) => ({ position, packetIdentifier, state }));
}

/** Reads what waits, and hands out the first of it. */
async function takeFirst({ queue }: Field): Promise<void> {
  queue.readOn();
  await new Promise((resolve) => setImmediate(resolve));
  const first = queue.peek();
  assert.ok(first !== undefined);
  assert.equal(queue.take(first), 0);
}

test('what waits is handed out once, in order, and nothing is left', async () => {
  const field = new Field();
  for (let i = 0; i < 300; i++) field.add(String(i));
  field.queue.begin([]);
  assert.ok(field.queue.hasMore);
  assert.equal(field.queue.waitingMessages, 300);
  assert.deepEqual(
    await field.drain(),
    Array.from({ length: 300 }, (_, i) => String(i)),
  );
  assert.deepEqual([field.queue.waitingMessages, field.queue.waitingBytes], [0, 0]);
  assert.ok(field.queue.isCaughtUp && !field.queue.hasMore);
});

test('what was in flight comes again under its identifier, before what waits', async () => {
  const field = new Field();
  for (let i = 1; i <= 4; i++) field.add(String(i));
  field.queue.begin([]);
  await field.drain();
  field.queue.end();
  field.add('5');
  field.queue.begin(inFlight([2, 7, AWAITS_PUBCOMP], [3, 8, AWAITS_PUBACK], [4, 9, AWAITS_PUBACK]));
  assert.equal(field.queue.unsentCount, 2);
  assert.equal(field.queue.takeRelease(2), 0, 'PUBREL has its place among them');
  assert.equal(field.queue.takeRelease(3), 7);
  field.queue.settled(3);
  assert.deepEqual((await field.drain()).slice(-2), ['4 as 9', '5']);
  assert.equal(field.queue.unsentCount, 0);
});

test('what is acknowledged after it was read, or while it is being read, is not handed out as new', async () => {
  for (const readCount of [0, 1]) {
    const field = new Field();
    for (let i = 1; i <= 4; i++) field.add(String(i));
    field.queue.begin([]);
    await field.drain();
    field.queue.end();
    field.add('5');
    field.queue.begin(inFlight([1, 7, AWAITS_PUBACK], [2, 8, AWAITS_PUBACK], [3, 9, AWAITS_PUBACK], [4, 10, AWAITS_PUBACK])); // prettier-ignore
    field.queue.readOn();
    if (readCount > 0) await new Promise((resolve) => setImmediate(resolve));
    for (const position of [2, 4]) {
      field.queue.settled(position);
      field.store.append({ type: 'Completed', session: SESSION, packetIdentifier: 0, position });
    }
    assert.equal(field.queue.unsentCount, 2);
    assert.deepEqual(await field.drain(), ['1 as 7', '3 as 9', '5']);
    assert.ok(field.queue.isCaughtUp);
    assert.equal(field.queue.waitingMessages, 0);
  }
});

test('what is in flight and not in the store any more is given up when all was read', async () => {
  const field = new Field();
  for (let i = 1; i <= 3; i++) field.add(String(i));
  field.queue.begin([]);
  await field.drain();
  field.queue.end();
  for (const position of [1, 3]) field.store.append({ type: 'Dropped', session: SESSION, position });
  field.queue.begin(inFlight([1, 7, AWAITS_PUBACK], [2, 8, AWAITS_PUBACK], [3, 9, AWAITS_PUBACK]));
  assert.deepEqual(await field.drain(), ['2 as 8']);
  assert.deepEqual(field.lostIds, [7, 9]);
  assert.ok(field.queue.isCaughtUp);
});

test('what turned out damaged does not count as waiting when the rest was read', async () => {
  const field = new Field();
  for (let i = 0; i < 5; i++) field.add(String(i));
  // The store leaves it out, and lets go of it.
  for (const position of [2, 3]) field.store.append({ type: 'Dropped', session: SESSION, position });
  field.queue.begin([]);
  assert.deepEqual(await field.drain(), ['0', '3', '4']);
  assert.deepEqual([field.queue.waitingMessages, field.queue.waitingBytes], [0, 0]);
});

test('what comes while nothing is found is not taken for read', async () => {
  const field = new Field();
  field.add('1');
  field.queue.begin([]);
  await field.drain();
  field.queue.end();
  field.queue.begin(inFlight([1, 7, AWAITS_PUBACK]));
  field.queue.settled(1);
  field.store.append({ type: 'Completed', session: SESSION, packetIdentifier: 7, position: 1 });
  field.queue.readOn();
  field.add('2');
  assert.deepEqual(await field.drain(), ['2']);
  assert.equal(field.queue.waitingMessages, 0);
});

test('a client that goes before all was sent again gets it the next time, and nothing new twice', async () => {
  const field = new Field();
  field.add('1');
  field.add('2');
  field.queue.begin([]);
  await field.drain();
  field.queue.end();
  field.queue.begin(inFlight([1, 1, AWAITS_PUBACK], [2, 2, AWAITS_PUBACK]));
  field.queue.end();
  field.add('3');
  field.queue.begin(inFlight([1, 1, AWAITS_PUBACK], [2, 2, AWAITS_PUBACK]));
  assert.deepEqual(await field.drain(), ['1 as 1', '2 as 2', '3']);
  assert.equal(field.queue.waitingMessages, 0);
});

test('a client that goes amid what was read, or while more is read, gets what was in flight first the next time', async () => {
  for (const isReading of [false, true]) {
    const field = new Field();
    for (let i = 1; i <= 3; i++) field.add(String(i));
    field.queue.begin([]);
    await takeFirst(field);
    if (isReading) {
      field.queue.forgetSlice();
      field.queue.readOn();
    }
    field.queue.end();
    assert.equal(field.queue.peek(), undefined, 'nothing is held for one who is away');
    field.queue.begin(inFlight([1, 7, AWAITS_PUBACK]));
    assert.deepEqual(await field.drain(), ['1 as 7', '2', '3']);
  }
});

test('what is handed out makes room within the limit of bytes, and no more than that', async () => {
  const field = new Field(Infinity, 6);
  assert.deepEqual(['1', '2', '3'].map((text) => field.add(text)), [0, 0, 0]); // prettier-ignore
  field.queue.begin([]);
  await takeFirst(field);
  assert.equal(field.queue.waitingBytes, 4);
  assert.deepEqual(
    ['4', '5'].map((text) => field.add(text)),
    [0, 1],
  );
});

test('beyond the limit the oldest that wait are dropped, and nothing that is in flight', async () => {
  const field = new Field(2);
  field.add('1');
  field.queue.begin([]);
  assert.deepEqual(await field.drain(), ['1']);
  field.queue.end();
  field.queue.begin(inFlight([1, 1, AWAITS_PUBACK]));
  assert.deepEqual(['2', '3', '4', '5'].map((text) => field.add(text)), [0, 0, 1, 1]); // prettier-ignore
  assert.deepEqual(await field.drain(), ['1 as 1', '4', '5']);
});

test('what is not kept yet is asked for again when it is', async () => {
  const field = new Field();
  for (let i = 1; i <= 4; i++) field.add(String(i));
  field.keptPosition = 2;
  field.queue.begin([]);
  assert.deepEqual(await field.drain(), ['1', '2']);
  assert.equal(field.awaitedCount, 1);
  assert.equal(field.queue.peek(), undefined, 'nothing is held meanwhile');
  field.keptPosition = 4;
  assert.deepEqual(await field.drain(), ['3', '4']);
});

test('a disk that refuses is asked again after a second, and nothing is lost', async () => {
  const field = new Field();
  field.add('1');
  field.queue.begin([]);
  field.store.isRefusing = true;
  assert.deepEqual(await field.drain(), []);
  assert.equal(field.store.readCount, 1);
  field.store.isRefusing = false;
  field.clock.advance(999);
  assert.equal(field.touchedCount, 0);
  field.clock.advance(1);
  assert.equal(field.touchedCount, 1);
  assert.deepEqual(await field.drain(), ['1']);
});

test('subscription identifiers, of which a message may have thousands, count in how long a queue is', async () => {
  const identifiers = Array.from({ length: 1000 }, (_, index) => index + 1);
  const field = new Field(Infinity, 20_000);
  const dropped = Array.from({ length: 6 }, (_, index) => field.add(`${index}`, identifiers));
  assert.deepEqual(dropped, [0, 0, 0, 0, 1, 1]);
  assert.deepEqual(await field.drain(), ['2', '3', '4', '5']);
  assert.equal(field.queue.waitingBytes, 0);
});
