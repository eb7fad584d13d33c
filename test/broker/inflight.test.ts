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

test('the queue in memory gives back what was put in, byte for byte', () => {
  const operation = fc.oneof(fc.uint8Array({ minLength: 1, maxLength: 5000 }), fc.constant(null));
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 60 }), (operations) => {
      const queue = new MemoryQueue();
      const model: Uint8Array[] = [];
      for (const bytes of operations) {
        if (bytes !== null) {
          const place = queue.reserve(bytes.length);
          place.bytes.set(bytes, place.start);
          queue.commit(bytes.length, place.start, -1, 7);
          model.push(bytes);
        } else {
          const head = queue.peek();
          const expected = model.shift();
          if (expected === undefined) assert.equal(head, null);
          else {
            assert.ok(head !== null);
            assert.deepEqual(Uint8Array.from(head.bytes.subarray(head.start, head.end)), expected);
            assert.equal(head.expiresAtMs, 7);
            queue.shift();
          }
        }
        assert.equal(queue.count, model.length);
        assert.equal(queue.bytes, model.reduce((sum, one) => sum + one.length, 0)); // prettier-ignore
      }
    }),
    { numRuns: 100 },
  );
});
