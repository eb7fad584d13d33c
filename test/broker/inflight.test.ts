import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  AWAITS_PUBACK,
  AWAITS_PUBCOMP,
  AWAITS_PUBREC,
  FREE,
  InFlight,
  type State,
} from '../../src/broker/inflight.js';
import { PublishWriter, wholePublication } from '../../src/broker/codec.js';
import { MemoryQueue } from '../../src/broker/queue.js';

test('identifiers in use are what a map would hold, and none is given out twice', () => {
  const operation = fc.tuple(fc.constantFrom('take', 'take', 'release', 'change'), fc.nat(200));
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 300 }), (operations) => {
      const inFlight = new InFlight();
      const model = new Map<number, { state: State; position: number }>();
      let position = 0;
      for (const [what, which] of operations) {
        const ids = [...model.keys()];
        const id = ids[which % Math.max(1, ids.length)] ?? which;
        if (what === 'take') {
          const taken = inFlight.take(AWAITS_PUBREC, ++position);
          assert.ok(taken > 0 && !model.has(taken));
          model.set(taken, { state: AWAITS_PUBREC, position });
        } else if (what === 'release') {
          inFlight.release(id);
          model.delete(id);
        } else {
          inFlight.change(id, AWAITS_PUBCOMP);
          const known = model.get(id);
          if (known !== undefined) known.state = AWAITS_PUBCOMP;
        }
        assert.equal(inFlight.count, model.size);
        assert.equal(inFlight.stateOf(id), model.get(id)?.state ?? FREE);
        assert.equal(inFlight.positionOf(id), model.get(id)?.position ?? 0);
      }
      assert.deepEqual(
        inFlight.list().map((entry) => entry.packetIdentifier),
        [...model].sort((a, b) => a[1].position - b[1].position).map(([id]) => id),
      );
    }),
    { numRuns: 200 },
  );
});

test('all 65,535 identifiers can be in use at once, and one that is stuck is gone around', () => {
  const inFlight = new InFlight();
  const stuck = inFlight.take(AWAITS_PUBACK, 0);
  for (let round = 0; round < 70_000; round++) {
    const id = inFlight.take(AWAITS_PUBACK, 0);
    assert.notEqual(id, stuck);
    inFlight.release(id);
  }
  const seen = new Set([stuck]);
  for (let i = 1; i < 65_535; i++) seen.add(inFlight.take(AWAITS_PUBACK, 0));
  assert.equal(seen.size, 65_535);
  assert.equal(inFlight.take(AWAITS_PUBACK, 0), 0);
});

test('the queue in memory gives back what was put in, byte for byte, and where to finish it', () => {
  const packet = fc.record({
    version: fc.constantFrom(4 as const, 5 as const),
    topic: fc.string({ minLength: 1, maxLength: 300, unit: fc.constantFrom('a', '/', 'b') }),
    payload: fc.uint8Array({ maxLength: 5000 }),
    expiresAtMs: fc.constantFrom(0, 7),
  });
  const operation = fc.oneof({ weight: 3, arbitrary: packet }, { weight: 2, arbitrary: fc.constant(null) });
  // One writer for all, as sessions share one: nothing of a packet may cling to the next.
  const writer = new PublishWriter();
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 60 }), (operations) => {
      const queue = new MemoryQueue();
      const model: { bytes: Uint8Array; topicLength: number; hasExpiry: boolean; expiresAtMs: number }[] = [];
      for (const one of operations) {
        if (one !== null) {
          const topic = Buffer.from(one.topic);
          const publication = wholePublication(topic, new Uint8Array(0), one.payload);
          writer.reset(one.version, 1, false);
          if (one.expiresAtMs > 0) writer.expiryS = 9;
          const length = writer.length(publication);
          const place = queue.reserve(length);
          writer.write(place.bytes, place.start, publication);
          queue.commit(length, writer.expiryAt, one.expiresAtMs);
          const bytes = Uint8Array.from(place.bytes.subarray(place.start, place.start + length));
          const hasExpiry = one.version === 5 && one.expiresAtMs > 0;
          model.push({ bytes, topicLength: topic.length, hasExpiry, expiresAtMs: one.expiresAtMs });
        } else {
          const head = queue.peek();
          const expected = model.shift();
          if (expected === undefined) assert.equal(head, null);
          else {
            assert.ok(head !== null);
            assert.deepEqual(Uint8Array.from(head.bytes.subarray(head.start, head.end)), expected.bytes);
            assert.equal(head.topicEnd - head.topicStart, expected.topicLength);
            assert.equal(head.expiresAtMs, expected.expiresAtMs);
            const expiry =
              head.expiryAt < 0 ? [] : [...head.bytes.subarray(head.expiryAt, head.expiryAt + 4)];
            assert.deepEqual(expiry, expected.hasExpiry ? [0, 0, 0, 9] : []);
            queue.shift();
          }
        }
        assert.equal(queue.count, model.length);
        assert.equal(queue.bytes, model.reduce((sum, { bytes }) => sum + bytes.length, 0)); // prettier-ignore
      }
    }),
    { numRuns: 100 },
  );
});
