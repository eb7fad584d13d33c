/**
 * Never a wrong value: the real poller, client and transports on units that misbehave, in virtual time. Every register
 * says its unit, its address and the time, so each published value is checked. The long form runs a million exchanges.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ANSWER_FAULTS, type FaultSpec } from '../../src/simulator/spec.js';
import { fieldOf, type VirtualField } from '../support/virtualfield.js';

const isLong = process.env['HOLDFAST_LONG'] === '1';
/** Exchanges of each fault on each kind of bus. */
const EXCHANGES = isLong ? 20_000 : 1000;
const POLL_MS = 200;
const TIMEOUT_MS = 300;

/** Two blocks of the same length on each unit: their answers look alike. */
const ADDRESSES = Array.from({ length: 40 }, (_, index) => (index < 20 ? index : 180 + index));

function newField(kind: 'rtu' | 'tcp', seed: number): VirtualField {
  const shape = {
    kind,
    units: [1, 2, 3, 4],
    addresses: ADDRESSES,
    rate: `${POLL_MS}ms`,
    timeout: `${TIMEOUT_MS}ms`,
    turnaroundMs: 3,
    line: { baud: 115200 },
  };
  return fieldOf(shape, seed);
}

function fault(name: FaultSpec['name'], probability: number): FaultSpec {
  return name === 'late' ? { name, probability, ms: TIMEOUT_MS + 100 } : { name, probability };
}

async function misbehave(
  field: VirtualField,
  faults: readonly FaultSpec[],
  exchanges: number,
): Promise<void> {
  const from = field.transactions;
  for (const unit of field.station.units.values()) unit.faults = faults;
  await field.clock.run(Infinity, () => field.transactions - from >= exchanges);
  for (const unit of field.station.units.values()) unit.faults = [];
}

for (const kind of ['rtu', 'tcp'] as const) {
  for (const name of ANSWER_FAULTS) {
    test(`half of all answers ${name} on ${kind}: no wrong value, and all tags come back`, async () => {
      const field = newField(kind, 11);
      await field.clock.run(3000);
      assert.ok(
        field.goodCounts.every((count) => count > 5),
        'all is well before',
      );
      await misbehave(field, [fault(name, 0.5)], EXCHANGES);
      assert.deepEqual(field.wrong.slice(0, 3), [], `${field.wrong.length} wrong values`);
      const clearedAtMs = field.clock.monotonicMs();
      const isBack = (): boolean => field.goodAtMs.every((atMs) => atMs > clearedAtMs);
      await field.clock.run(clearedAtMs + 30_000, isBack);
      assert.ok(isBack(), 'every tag is read again');
      assert.deepEqual(field.wrong, []);
      if (kind === 'rtu') assert.equal(field.station.transcript.counts.silenceViolations, 0);
    });
  }

  test(`all faults at random on ${kind}: no wrong value`, async () => {
    const field = newField(kind, 12);
    await misbehave(
      field,
      ANSWER_FAULTS.map((name) => fault(name, 0.03)),
      EXCHANGES * 5,
    );
    assert.deepEqual(field.wrong.slice(0, 3), [], `${field.wrong.length} wrong values`);
  });
}
