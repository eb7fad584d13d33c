/**
 * A line polled flat out, in virtual time: what the real poller delivers of what the physics allow, with all units well
 * and with three of ten dead. The physics are computed here from the characters' bits alone.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Random } from '../../src/simulator/random.js';
import type { FaultSpec } from '../../src/simulator/spec.js';
import type { Tag } from '../../src/config/plant.js';
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

/** The longest of those reads. */
function longestMs({ baud, silenceMs, turnaroundMs }: (typeof LINES)[number], field: VirtualField): number {
  const quantities = field.station.transcript
    .since(0)
    .flatMap(({ functionCode, quantity }) => (functionCode === 3 ? [quantity] : []));
  return (13 + 2 * Math.max(...quantities)) * (10_000 / baud) + 2 * silenceMs + turnaroundMs;
}

function setFaults(field: VirtualField, unitId: number, faults: readonly FaultSpec[]): void {
  const unit = field.station.units.get(unitId);
  if (unit !== undefined) unit.faults = faults;
}

const COMMANDS = process.env['HOLDFAST_LONG'] === '1' ? 2000 : 60;

/** Gives a command, and says how long after it was given it was carried out. */
async function commandMs(field: VirtualField, target: Tag, correlation: number): Promise<number> {
  const sentAtMs = field.clock.monotonicMs();
  const sentAtPlantMs = field.station.atMs();
  const command = { kind: 'write', correlation, deadlineMs: sentAtMs + 5000 } as const;
  field.poller.command({ ...command, payload: Buffer.from(`${correlation}`) }, target.index);
  await field.clock.run(sentAtMs + 5000, () => field.results.at(-1)?.correlation === correlation);
  const result = field.results.at(-1);
  assert.deepEqual([result?.correlation, result?.code], [correlation, 0]);
  const written = field.station.transcript.since(0).findLast(({ functionCode }) => functionCode === 6);
  return (written?.answeredAtMs ?? Infinity) - sentAtPlantMs;
}

/** The longest of many. */
async function slowestCommandMs(field: VirtualField, units: readonly number[]): Promise<number> {
  const random = new Random(7);
  const targets = field.tags.filter(({ name, device }) => name === 'w' && units.includes(device.unitId));
  let slowestMs = 0;
  for (let correlation = 0; correlation < COMMANDS; correlation += 1) {
    await field.clock.run(field.clock.monotonicMs() + 200 + random.below(400) + random.next());
    const target = targets[correlation % targets.length];
    assert.ok(target !== undefined);
    slowestMs = Math.max(slowestMs, await commandMs(field, target, correlation));
  }
  return slowestMs;
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

for (const line of LINES) {
  test(`a command on a saturated line of ${line.baud} baud waits for one request at most, also with three units dead`, async () => {
    const { baud, timeout, turnaroundMs, silenceMs } = line;
    const shape = {
      kind: 'rtu',
      units: UNITS,
      addresses: ADDRESSES,
      rate: '100ms',
      timeout,
      turnaroundMs,
    } as const;
    const field = fieldOf({ ...shape, line: { baud }, writable: 990 }, 22);
    await field.clock.run(15_000);
    const writeMs = 16 * (10_000 / baud) + 2 * silenceMs + turnaroundMs;
    const mostMs = longestMs(line, field) + writeMs + 0.5;
    const allWellMs = await slowestCommandMs(field, UNITS);
    assert.ok(allWellMs <= mostMs, `all well: ${allWellMs.toFixed(1)} of ${mostMs.toFixed(1)} ms`);
    for (const unitId of DEAD) {
      const unit = field.station.units.get(unitId);
      if (unit !== undefined) unit.faults = [{ name: 'dead' }];
    }
    await field.clock.run(field.clock.monotonicMs() + 15_000);
    const healthy = UNITS.filter((unitId) => !DEAD.includes(unitId));
    const someDeadMs = await slowestCommandMs(field, healthy);
    assert.ok(someDeadMs <= mostMs, `three dead: ${someDeadMs.toFixed(1)} of ${mostMs.toFixed(1)} ms`);
    assert.equal(field.station.transcript.counts.silenceViolations, 0);
  });
}

test('a probe of a dead unit that waits longer than usual gives way to a command', async () => {
  const shape = { kind: 'rtu', units: [1, 2], addresses: [0, 1, 2], rate: '1s', timeout: '200ms' } as const;
  const field = fieldOf({ ...shape, turnaroundMs: 1, line: { baud: 115_200 }, writable: 990 }, 23);
  await field.clock.run(5000);
  const dead = field.station.units.get(2);
  const target = field.tags.find(({ name, device }) => name === 'w' && device.unitId === 1);
  assert.ok(dead !== undefined && target !== undefined);
  dead.faults = [{ name: 'dead' }];
  await field.clock.run(10_000);
  const isProbe = (): boolean => field.station.transcript.since(0).at(-1)?.unitId === 2;
  for (let correlation = 0; correlation < 40; correlation += 1) {
    const before = field.transactions;
    await field.clock.run(Infinity, () => field.transactions > before && isProbe());
    // The usual ones are over by then.
    await field.clock.run(field.clock.monotonicMs() + 12);
    const tookMs = await commandMs(field, target, correlation);
    assert.ok(tookMs < 10, `${tookMs.toFixed(1)} ms`);
  }
});

test('three units of a saturated line of 9600 baud that were dead are read again within 5 s', async () => {
  const shape = { kind: 'rtu', units: UNITS, addresses: ADDRESSES, rate: '100ms', timeout: '500ms' } as const;
  const field = fieldOf({ ...shape, turnaroundMs: 3, line: { baud: 9600 } }, 24);
  await field.clock.run(6000);
  for (const deadMs of [20_000, 23_000, 27_000]) {
    for (const unitId of DEAD) setFaults(field, unitId, [{ name: 'dead' }]);
    await field.clock.run(field.clock.monotonicMs() + deadMs);
    for (const unitId of DEAD) setFaults(field, unitId, []);
    const revivedAtMs = field.clock.monotonicMs();
    const isBack = (unitId: number): boolean =>
      field.tags.some(
        ({ device, index }) => device.unitId === unitId && (field.goodAtMs[index] ?? 0) > revivedAtMs,
      );
    await field.clock.run(revivedAtMs + 5000, () => DEAD.every(isBack));
    assert.ok(DEAD.every(isBack), `after ${deadMs} ms`);
  }
});
