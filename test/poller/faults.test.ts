/** The real poller and client on simulated units: what one unit's faults cost its neighbours, and how long they last. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ANSWER_FAULTS, type FaultSpec } from '../../src/simulator/spec.js';
import { fieldOf, type VirtualField } from '../support/virtualfield.js';

const POLL_MS = 200;
const TIMEOUT_MS = 300;
const TAG_COUNT = 40;
const ADDRESSES = Array.from({ length: TAG_COUNT }, (_, i) => (i < 20 ? i : 180 + i));

function newField(kind: 'rtu' | 'tcp', seed: number): VirtualField {
  const line = { baud: 115200 };
  const shape = { kind, units: [1, 2, 3, 4], addresses: ADDRESSES, turnaroundMs: 3, line };
  return fieldOf({ ...shape, rate: `${POLL_MS}ms`, timeout: `${TIMEOUT_MS}ms` }, seed);
}

function strike(field: VirtualField, units: readonly number[], faults: readonly FaultSpec[]): void {
  for (const [unitId, unit] of field.station.units) if (units.includes(unitId)) unit.faults = faults;
}

/** Good samples of all units but the second, as a share of what their rate asks for. */
function neighboursShare(field: VirtualField, before: readonly number[], ms: number): number {
  let count = 0;
  for (const { index, device } of field.tags)
    if (device.unitId !== 2) count += (field.goodCounts[index] ?? 0) - (before[index] ?? 0);
  return count / ((3 * TAG_COUNT * ms) / POLL_MS);
}

for (const kind of ['rtu', 'tcp'] as const) {
  test(`while half of one unit's answers are faulty on ${kind}, its neighbours keep their rate`, async () => {
    for (const name of ANSWER_FAULTS) {
      const field = newField(kind, 3);
      await field.clock.run(5000);
      const before = [...field.goodCounts];
      const ms = name === 'late' ? { ms: TIMEOUT_MS + 100 } : {};
      strike(field, [2], [{ name, probability: 0.5, ...ms }]);
      await field.clock.run(15_000);
      const share = neighboursShare(field, before, 10_000);
      assert.ok(share >= 0.9, `${name}: ${share}`);
      assert.deepEqual(field.wrong, []);
    }
  });

  test(`once all units' faults on ${kind} are over, every tag is right within a poll and little more`, async () => {
    for (const name of ANSWER_FAULTS) {
      const field = newField(kind, 4);
      await field.clock.run(5000);
      strike(
        field,
        [1, 2, 3, 4],
        [{ name, probability: 0.5, ...(name === 'late' ? { ms: TIMEOUT_MS + 100 } : {}) }],
      );
      await field.clock.run(7000);
      strike(field, [1, 2, 3, 4], []);
      await field.clock.run(7000 + POLL_MS + 1000);
      const missing = field.tags.filter(({ index }) => (field.goodAtMs[index] ?? 0) <= 7000);
      assert.equal(missing.length, 0, `${name}: ${missing.length} tags are not back`);
      assert.deepEqual(field.wrong, []);
    }
  });
}

test('what one fault has taught about a line makes the next one no dearer for the neighbours', async () => {
  const late = { name: 'late', probability: 0.5, ms: TIMEOUT_MS + 100 } as const;
  for (const name of ['exception', 'late', 'slow'] as const) {
    for (const seed of [1, 2, 3]) {
      const field = newField('rtu', seed);
      await field.clock.run(5000);
      strike(field, [1, 2, 3, 4], [late]);
      await field.clock.run(8000);
      strike(field, [1, 2, 3, 4], []);
      await field.clock.run(10_000);
      strike(field, [2], [name === 'late' ? late : { name, probability: 0.5 }]);
      await field.clock.run(10_500);
      const before = [...field.goodCounts];
      await field.clock.run(16_500);
      const share = neighboursShare(field, before, 6000);
      assert.ok(share >= 0.9, `${name} after late answers, seed ${seed}: ${share}`);
      assert.deepEqual(field.wrong, []);
    }
  }
});
