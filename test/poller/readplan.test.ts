import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Device, Range, Tag } from '../../src/config/plant.js';
import { Knowledge } from '../../src/poller/knowledge.js';
import { costOf, readCost, type ReadCost } from '../../src/poller/linecost.js';
import { loadOf, planReads } from '../../src/poller/readplan.js';
import { Terrain } from '../../src/poller/terrain.js';
import { TagState } from '../../src/poller/report.js';
import { Unit } from '../../src/poller/unit.js';
import { busOf, deviceOf, rtuBusOf, tagOf } from '../support/tags.js';

const TABLE = 'holding-register';

const range = (address: number, quantity: number): Range => ({ table: TABLE, address, quantity });

interface Case {
  readonly device: Device;
  readonly tags: readonly Tag[];
  readonly cost: ReadCost;
}

/** Small maps with everything that can stand in a planner's way. */
const cases = (tagsMax: number): fc.Arbitrary<Case> =>
  fc
    .record({
      places: fc.array(fc.tuple(fc.nat(60), fc.integer({ min: 1, max: 4 })), {
        minLength: 1,
        maxLength: tagsMax,
      }),
      registers: fc.integer({ min: 4, max: 30 }),
      registersMin: fc.integer({ min: 1, max: 4 }),
      align: fc.constantFrom(1, 2),
      forbidden: fc.array(fc.tuple(fc.nat(60), fc.integer({ min: 1, max: 3 })), { maxLength: 2 }),
      readable: fc.option(fc.tuple(fc.nat(20), fc.integer({ min: 20, max: 50 })), { nil: null }),
      fixedMs: fc.integer({ min: 1, max: 40 }),
    })
    .map(({ places, registers, registersMin, align, forbidden, readable, fixedMs }) => {
      const device = deviceOf(0, busOf(0), {
        limits: { registers, bits: 2000, registersMin, align, bitsFromZero: false, writeFunctions: [] },
        forbidden: forbidden.map(([address, quantity]) => range(address, quantity)),
        readable: readable === null ? [] : [range(...readable)],
      });
      const tags = places.map(([address, quantity], i) => tagOf(i, device, address, { quantity }));
      return { device, tags, cost: { fixedMs, registerMs: 1, bitMs: 0.1 } };
    });

test('no request breaks a limit, touches a forbidden address or tears a value; every readable tag is read once', () => {
  fc.assert(
    fc.property(cases(12), ({ device, tags, cost }) => {
      const { requests, unreadable } = planReads(device, tags, cost);
      const { limits, forbidden, readable } = device;
      for (const { address, quantity, tags: own } of requests) {
        const end = address + quantity;
        assert.ok(quantity <= limits.registers && quantity >= limits.registersMin);
        assert.ok(address % limits.align === 0 && quantity % limits.align === 0);
        for (const no of forbidden) assert.ok(end <= no.address || address >= no.address + no.quantity);
        for (const yes of readable) assert.ok(address >= yes.address && end <= yes.address + yes.quantity);
        for (const tag of own) assert.ok(tag.address >= address && tag.address + tag.quantity <= end);
      }
      const served = requests.flatMap((request) => request.tags.map(({ index }) => index));
      const all = [...served, ...unreadable.map(({ index }) => index)].sort((a, b) => a - b);
      assert.deepEqual(
        all,
        tags.map(({ index }) => index),
      );
      const terrain = new Terrain(device, TABLE);
      for (const tag of unreadable) assert.equal(terrain.fit(tag.address, tag.address + tag.quantity), null);
    }),
    { numRuns: 500 },
  );
});

/** Every way of putting the tags into requests, tried; the least cost. */
function leastCost(tags: readonly Tag[], terrain: Terrain, cost: ReadCost): number {
  let least = Infinity;
  const place = (rest: readonly Tag[], groups: Tag[][]): void => {
    const [tag, ...others] = rest;
    if (tag === undefined) {
      let sum = 0;
      for (const group of groups) {
        const from = Math.min(...group.map(({ address }) => address));
        const to = Math.max(...group.map(({ address, quantity }) => address + quantity));
        const span = terrain.fit(from, to);
        sum += span === null ? Infinity : costOf(cost, TABLE, span.quantity);
      }
      least = Math.min(least, sum);
      return;
    }
    for (const group of groups) {
      group.push(tag);
      place(others, groups);
      group.pop();
    }
    groups.push([tag]);
    place(others, groups);
    groups.pop();
  };
  place(tags, []);
  return least;
}

test('no other way of putting tags into requests costs less', () => {
  fc.assert(
    fc.property(cases(6), ({ device, tags, cost }) => {
      const { requests, unreadable } = planReads(device, tags, cost);
      const readable = tags.filter((tag) => !unreadable.includes(tag));
      const planned = requests.reduce((sum, { costMs }) => sum + costMs, 0);
      const least = readable.length === 0 ? 0 : leastCost(readable, new Terrain(device, TABLE), cost);
      assert.ok(Math.abs(planned - least) < 1e-9, `${planned} instead of ${least}`);
    }),
    { numRuns: 400 },
  );
});

test('a gap is read over exactly when that is cheaper on this line', () => {
  // 9600 baud 8N1 with 3 ms turnaround: 13 characters, 2 silences and the turnaround are worth 11 registers.
  const quick = rtuBusOf(0, 9600, { turnaroundMs: 3 });
  const requestsFor = (gap: number): number => {
    const device = deviceOf(0, quick);
    const tags = [tagOf(0, device, 0), tagOf(1, device, 1 + gap)];
    return planReads(device, tags, readCost(quick, 3)).requests.length;
  };
  assert.equal(requestsFor(11), 1);
  assert.equal(requestsFor(12), 2);
});

test('consistent groups, and values with their scale register, stay in one request', () => {
  const device = deviceOf(0, busOf(0));
  const cost: ReadCost = { fixedMs: 1, registerMs: 1, bitMs: 1 };
  const grouped = [0, 30, 60].map((address, i) => tagOf(i, device, address, { group: 'date' }));
  assert.equal(planReads(device, grouped, cost).requests.length, 1);
  const scaled = [
    tagOf(0, device, 0, { scaleFrom: { kind: 'pow10', tag: 1 } }),
    tagOf(1, device, 40),
    tagOf(2, device, 90),
  ];
  assert.deepEqual(
    planReads(device, scaled, cost).requests.map(({ tags }) => tags.length),
    [2, 1],
  );
  const chained = [
    ...scaled,
    tagOf(3, device, 60, { scaleFrom: { kind: 'value', tag: 0 } }),
    tagOf(4, device, 75, { scaleFrom: { kind: 'value', tag: 3 } }),
  ];
  assert.deepEqual(
    planReads(device, chained, cost).requests.map(({ tags }) => tags.length),
    [4, 1],
  );
  const wide = [0, 200].map((address, i) => tagOf(i, device, address, { group: 'wide' }));
  const torn = planReads(device, wide, cost);
  assert.deepEqual([torn.torn, torn.requests.length], [['wide'], 2]);
});

test('what is read once keeps nothing that shares its request from being read again', () => {
  const device = deviceOf(0, busOf(0));
  const cost: ReadCost = { fixedMs: 1, registerMs: 1, bitMs: 1 };
  const intervalsOf = (tags: readonly Tag[]): number[] =>
    planReads(device, tags, cost).requests.map(({ intervalMs }) => intervalMs);
  const scale = tagOf(1, device, 40, { intervalMs: 0 });
  const scaled = (address: number) =>
    tagOf(0, device, address, { intervalMs: 1000, scaleFrom: { kind: 'pow10', tag: 1 } });
  assert.deepEqual(intervalsOf([scaled(0), scale]), [1000]);
  assert.deepEqual(intervalsOf([scaled(200), scale]), [1000, 1000], 'too far apart for one request');
  const grouped = [0, 2000].map((intervalMs, at) => tagOf(at, device, at, { intervalMs, group: 'g' }));
  assert.deepEqual(intervalsOf(grouped), [2000]);
  assert.deepEqual(intervalsOf([scale]), [0]);
});

test('ten units with forty scattered tags need what physics says, at 9600 and at 115200 baud', () => {
  for (const [baud, turnaroundMs] of [
    [9600, 3],
    [115200, 1],
  ] as const) {
    const bus = rtuBusOf(0, baud, { turnaroundMs });
    const device = deviceOf(0, bus);
    const tags = Array.from({ length: 40 }, (_, i) => tagOf(i, device, i * 5 + (i % 7)));
    const { requests } = planReads(device, tags, readCost(bus, turnaroundMs));
    const characterMs = 10_000 / baud;
    const silenceMs = baud > 19200 ? 1.75 : 3.5 * characterMs;
    for (const { quantity, costMs } of requests) {
      const physicsMs = (13 + 2 * quantity) * characterMs + 2 * silenceMs + turnaroundMs;
      assert.ok(Math.abs(costMs - physicsMs) < 1e-9);
    }
    const { utilisation, cycleMs } = loadOf(requests);
    assert.ok(Math.abs(utilisation - cycleMs / 1000) < 1e-9);
  }
});

test('a thousand tags and two thousand bits are planned in a moment', () => {
  const device = deviceOf(0, busOf(0));
  const registers = Array.from({ length: 5000 }, (_, i) => tagOf(i, device, i * 3));
  const bits = Array.from({ length: 5000 }, (_, i) =>
    tagOf(i, device, i * 2, { table: 'coil', type: 'bool' }),
  );
  const startedMs = performance.now();
  const cost = readCost(busOf(0), 5);
  assert.equal(planReads(device, registers, cost).requests.length, Math.ceil(15_000 / 126));
  assert.ok(planReads(device, bits, cost).requests.length <= 6);
  assert.ok(performance.now() - startedMs < 3000);
});

test('what a unit on a line was measured to take holds its silence once: reads are cut as its own turnaround asks', () => {
  for (const [baud, silenceMs] of [
    [9600, 3.5 * (10 / 9.6)],
    [115_200, 1.75],
  ] as const) {
    const bus = rtuBusOf(0, baud, { turnaroundMs: 20 });
    const unitDevice = deviceOf(0, bus);
    const unit = new Unit(unitDevice, [], [], Knowledge.fromRecord(undefined, unitDevice, 0), Math.random);
    assert.equal(unit.cost.fixedMs, readCost(bus, 20).fixedMs);
    for (let count = 0; count < 10; count += 1) unit.latency.add(silenceMs + 3);
    assert.ok(Math.abs(unit.cost.fixedMs - readCost(bus, 3).fixedMs) < 1e-4);
  }
});

test('a read of the same registers for other tags than before is another one', () => {
  const device = deviceOf(0, busOf(0));
  const [whole, low, high] = [
    tagOf(0, device, 0, { type: 'uint32', quantity: 2 }),
    tagOf(1, device, 0),
    tagOf(2, device, 1),
  ].map((tag) => new TagState(tag));
  assert.ok(whole && low && high);
  const unit = new Unit(device, [whole, low, high], [], new Knowledge(), Math.random);
  unit.knowledge.refuse(low.tag.name, 'illegal data address', 0);
  unit.plan();
  const read = (): string[] => unit.blocks.flatMap(({ states }) => states.map(({ tag }) => tag.name)).sort();
  assert.deepEqual(read(), [whole.tag.name, high.tag.name]);
  unit.knowledge.pardon(low.tag.name);
  unit.knowledge.refuse(high.tag.name, 'illegal data address', 0);
  const { added, removed } = unit.plan();
  assert.deepEqual(read(), [whole.tag.name, low.tag.name]);
  assert.deepEqual([added.length, removed.length], [1, 1]);
});
