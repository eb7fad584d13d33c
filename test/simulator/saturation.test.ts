/**
 * A line polled flat out, in virtual time: what the real poller delivers of what the physics allow, with all units well
 * and with three of ten dead. The physics are computed here from the characters' bits alone.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fieldOf, type VirtualField } from '../support/virtualfield.js';

const UNITS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
const DEAD = [3, 6, 9];
/** 40 registers in clusters with gaps of 2 to 36 between them. */
const ADDRESSES = [3, 4, 5, 8, 20, 21, 22, 23, 24, 51, 60, 61, 62, 63, 64, 65, 100, 101, 110, 111, 120, 156, 157, 158,
  160, 170, 171, 172, 190, 210, 211, 212, 213, 214, 240, 250, 251, 259, 260, 261]; // prettier-ignore

const LINES = [
  { baud: 9600, silenceMs: 3.5 * (10 / 9.6), turnaroundMs: 3, timeout: '500ms', share: 0.95 },
  { baud: 115200, silenceMs: 1.75, turnaroundMs: 1, timeout: '200ms', share: 0.95 },
];

/** The cheapest cut of a unit's registers into reads, in ms. */
function cheapestMs({ baud, silenceMs, turnaroundMs }: (typeof LINES)[number]): number {
  const readMs = (quantity: number): number =>
    (13 + 2 * quantity) * (10_000 / baud) + 2 * silenceMs + turnaroundMs;
  const best = [0];
  ADDRESSES.forEach((last, index) => {
    const costs = ADDRESSES.slice(0, index + 1).flatMap((first, start) =>
      last - first < 125 ? [(best[start] ?? 0) + readMs(last - first + 1)] : [],
    );
    best.push(Math.min(...costs));
  });
  return best.at(-1) ?? 0;
}

/** Tags of these units delivered in a minute, as a share of what the line could carry for them alone. */
async function shareOf(field: VirtualField, units: readonly number[], cycleMs: number): Promise<number> {
  const windowMs = 60_000;
  const indexes = field.tags.filter(({ device }) => units.includes(device.unitId)).map(({ index }) => index);
  const count = (): number => indexes.reduce((sum, index) => sum + (field.goodCounts[index] ?? 0), 0);
  const before = count();
  await field.clock.run(field.clock.monotonicMs() + windowMs);
  return (count() - before) / ((windowMs / (cycleMs * units.length)) * ADDRESSES.length * units.length);
}

for (const line of LINES) {
  test(`a line of ${line.baud} baud delivers ${line.share} of its physics, and 0.9 to the healthy with three units dead`, async () => {
    const { baud, timeout, turnaroundMs } = line;
    const shape = {
      kind: 'rtu',
      units: UNITS,
      addresses: ADDRESSES,
      rate: '100ms',
      timeout,
      turnaroundMs,
    } as const;
    const field = fieldOf({ ...shape, line: { baud } }, 21);
    const cycleMs = cheapestMs(line);
    await field.clock.run(15_000);
    const all = await shareOf(field, UNITS, cycleMs);
    assert.ok(all >= line.share, `${all.toFixed(3)} of the physics`);
    for (const unitId of DEAD) {
      const unit = field.station.units.get(unitId);
      if (unit !== undefined) unit.faults = [{ name: 'dead' }];
    }
    await field.clock.run(field.clock.monotonicMs() + 15_000);
    const healthy = await shareOf(field, UNITS.filter((unitId) => !DEAD.includes(unitId)), cycleMs); // prettier-ignore
    assert.ok(healthy >= 0.9, `${healthy.toFixed(3)} to the healthy`);
    assert.equal(field.station.transcript.counts.silenceViolations, 0);
    assert.deepEqual(field.wrong, []);
  });
}
