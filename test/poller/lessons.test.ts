/** What devices that refuse reads teach, and what they must not: in virtual time, on units that say what is legal. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Tag } from '../../src/config/plant.js';
import type { KnowledgeRecord } from '../../src/poller/knowledge.js';
import { PollerField, randomOf } from '../support/pollerfield.js';
import type { Verdict } from '../support/scriptedline.js';
import { busOf, deviceOf, rtuBusOf, tagOf } from '../support/tags.js';
import { fieldOf } from '../support/virtualfield.js';

type IsLegal = (address: number, quantity: number) => boolean;

interface Shape {
  readonly addresses: readonly number[];
  /** Of all tags, or of one after the other over and over. */
  readonly intervalMs?: number | readonly number[];
  readonly type?: 'uint16' | 'uint32';
  readonly knowledge?: unknown;
}

/** One device whose tags lie at these addresses. */
class OneDevice {
  readonly field: PollerField;
  readonly tags: readonly Tag[];
  readonly #unit;

  constructor({ addresses, intervalMs = 1000, type = 'uint16', knowledge }: Shape) {
    const bus = busOf(0);
    const device = deviceOf(0, bus);
    const intervalsMs = [intervalMs].flat();
    this.tags = addresses.map((address, index) =>
      tagOf(index, device, address, {
        intervalMs: intervalsMs[index % intervalsMs.length] ?? 0,
        report: 'always',
        type,
        quantity: type === 'uint16' ? 1 : 2,
      }),
    );
    this.field = new PollerField({
      bus,
      devices: [device],
      tags: this.tags,
      knowledge: new Map([[0, knowledge]]),
    });
    this.#unit = this.field.line.unit(device.unitId);
    this.field.poller.start();
  }

  /** From now on what is not legal is answered so. */
  refuse(exception: Verdict, isLegal: IsLegal): void {
    this.#unit.judge = (request) =>
      request.kind === 'read' && !isLegal(request.address, request.quantity) ? exception : 0;
  }

  async run(ms: number): Promise<void> {
    await this.field.clock.run(ms);
  }

  /** From now on what is not legal is answered with nothing, or the connection ends. */
  ignore(isLegal: IsLegal, hangsUp = false): void {
    this.#unit.judge = (request) => {
      if (request.kind !== 'read' || isLegal(request.address, request.quantity)) return 0;
      if (hangsUp) this.field.clock.after(1, () => this.field.line.cut());
      return hangsUp ? 0 : 'silent';
    };
  }

  /** Tags whose newest sample is good. */
  get goodCount(): number {
    return this.tags.filter((tag) => this.field.newest(tag)?.quality === 'good').length;
  }

  /** Requests since then that were refused. */
  refusals(sinceMs: number): number {
    return this.field.line.asked.filter(({ atMs, outcome }) => atMs >= sinceMs && outcome !== 'ok').length;
  }

  /** What would be read from its file after a restart. */
  get learned(): KnowledgeRecord | undefined {
    const record = this.field.learned.get(0);
    return record === undefined ? undefined : (JSON.parse(JSON.stringify(record)) as KnowledgeRecord);
  }
}

/** 280 tags in runs, with single registers between them. */
const RUN = 14;
const IN_RUNS = Array.from({ length: 280 }, (_, i) => i + Math.floor(i / RUN));
const GAPS = Array.from({ length: 19 }, (_, i) => (i + 1) * (RUN + 1) - 1);
const NOTHING: IsLegal = () => false;
const ALL: IsLegal = () => true;
const FORTY = Array.from({ length: 40 }, (_, i) => i);

function without(illegal: Iterable<number>): IsLegal {
  const set = new Set(illegal);
  return (address, quantity) => {
    for (let i = 0; i < quantity; i += 1) if (set.has(address + i)) return false;
    return true;
  };
}

for (const exception of [1, 2, 3, 4] as const) {
  test(`a device that answers exception ${exception} to everything while it starts is right as soon as it has`, async () => {
    for (const startMs of [300, 3000, 25_000]) {
      const device = new OneDevice({ addresses: FORTY });
      device.refuse(exception, NOTHING);
      await device.run(startMs);
      assert.equal(device.goodCount, 0);
      device.refuse(exception, ALL);
      await device.run(1500);
      assert.equal(device.goodCount, 40, `after ${startMs} ms`);
      assert.equal(device.learned?.refused, undefined);
      assert.ok(device.refusals(2000) <= 2 * (startMs / 1000), `${device.refusals(2000)} exceptions`);
    }
  });
}

test('a device that refuses everything for a minute while it runs is right within a poll and a second', async () => {
  for (const exception of [1, 2, 3, 4] as const) {
    const addresses = FORTY.map((i) => (i < 20 ? i : 480 + i));
    const device = new OneDevice({ addresses });
    await device.run(4000);
    device.refuse(exception, NOTHING);
    await device.run(60_000);
    assert.equal(device.goodCount, 0);
    device.refuse(exception, ALL);
    await device.run(2000);
    assert.equal(device.goodCount, 40, `exception ${exception}`);
    assert.equal(device.learned?.refused, undefined);
  }
});

test('what was refused together is answered together, and what is still illegal is found again', async () => {
  const device = new OneDevice({ addresses: FORTY });
  const illegal = [3, 20, 21, 22, 23, 24, 25, 26, 27, 28];
  device.refuse(2, without(illegal));
  await device.run(100_000);
  assert.equal(device.goodCount, 30);
  device.refuse(2, without([3]));
  const back = (): boolean => device.goodCount > 30;
  while (!back() && device.field.nowMs < 800_000) await device.run(100);
  await device.run(1500);
  assert.equal(device.goodCount, 39);
  const sinceMs = device.field.nowMs;
  await device.run(200_000);
  assert.ok(device.refusals(sinceMs) <= 20, `${device.refusals(sinceMs)} exceptions in 200 s`);
});

test('one tag that comes and goes does not make all illegal ones be asked again and again', async () => {
  const device = new OneDevice({ addresses: FORTY });
  const illegal = [3, 9, 15, 21, 27, 33];
  device.refuse(2, without([...illegal, 39]));
  await device.run(10_000);
  const sinceMs = device.field.nowMs;
  for (let round = 0; round < 60; round += 1) {
    device.refuse(2, without(round % 2 === 0 ? illegal : [...illegal, 39]));
    await device.run(20_000);
  }
  const perSecond = device.refusals(sinceMs) / 1200;
  assert.ok(perSecond <= 0.1, `${perSecond} exceptions a second`);
});

test('refusals kept by mistake are over half a minute after a restart, and true ones cost one exception then', async () => {
  const first = new OneDevice({ addresses: FORTY });
  first.refuse(2, without(FORTY.slice(4)));
  await first.run(100_000);
  assert.equal(Object.keys(first.learned?.refused ?? {}).length, 36);
  const again = new OneDevice({ addresses: FORTY, knowledge: first.learned });
  await again.run(32_000);
  assert.equal(again.goodCount, 40);
  const still = new OneDevice({ addresses: FORTY, knowledge: first.learned });
  still.refuse(2, without(FORTY.slice(4)));
  await still.run(29_000);
  assert.equal(still.refusals(0), 0);
  await still.run(10_000);
  assert.equal(still.refusals(0), 1);
});

test('a device of which every tag is kept as refused is asked within a second', async () => {
  const refused = Object.fromEntries(FORTY.map((i) => [`t${i}`, { count: 2, error: 'no' }]));
  const { field, tags } = new OneDevice({ addresses: FORTY });
  await field.poller.stop();
  const names = Object.fromEntries(tags.map(({ name }) => [name, { count: 2, error: 'no' }]));
  const knowledge = { ...field.learned.get(0), refused: { ...refused, ...names } };
  const again = new OneDevice({ addresses: FORTY, knowledge });
  await again.run(2000);
  assert.equal(again.goodCount, 40);
});

test('a device of which nothing is legal is asked ever more rarely', async () => {
  const device = new OneDevice({ addresses: [7], intervalMs: 200 });
  device.refuse(2, NOTHING);
  await device.run(3_600_000);
  const sinceMs = device.field.nowMs;
  await device.run(1_000_000);
  assert.ok(device.refusals(sinceMs) <= 100, `${device.refusals(sinceMs)} exceptions in 1000 s`);
  device.refuse(2, ALL);
  await device.run(11_000);
  assert.equal(device.goodCount, 1);
});

for (const exception of [2, 3] as const) {
  test(`an illegal tag and illegal gaps that are answered with exception ${exception} cost nothing but that tag`, async () => {
    for (let seed = 1; seed <= 25; seed += 1) {
      const random = randomOf(seed);
      const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] as T; // within the length
      const addresses: number[] = [];
      for (let address = 0; addresses.length < 280; address += pick([1, 1, 1, 1, 2, 3, 6]))
        addresses.push(address);
      const gaps = Array.from({ length: addresses.at(-1) ?? 0 }, (_, i) => i).filter(
        (i) => !addresses.includes(i),
      );
      const illegal = [pick(addresses), ...Array.from({ length: 8 }, () => pick(gaps))];
      const device = new OneDevice({ addresses, intervalMs: 500 });
      device.refuse(exception, without(illegal));
      await device.run(10_000);
      assert.equal(device.goodCount, 279, `seed ${seed}`);
      assert.equal(device.learned?.limits, undefined, `seed ${seed}: ${JSON.stringify(device.learned)}`);
      assert.deepEqual(Object.keys(device.learned?.refused ?? {}).length, 1);
      const sinceMs = device.field.nowMs;
      const asked = device.field.line.asked.length;
      await device.run(50_000);
      assert.ok(
        device.refusals(sinceMs) <= 5,
        `seed ${seed}: ${device.refusals(sinceMs)} exceptions in 50 s`,
      );
      // At most a block more for each place that may not be read over, and two for the tag.
      const perPoll = (device.field.line.asked.length - asked) / 100;
      assert.ok(perPoll <= 20, `seed ${seed}: ${perPoll} requests a poll`);
    }
  });
}

test('a device that takes few registers at once teaches its limit, whatever it answers and however its tags lie', async () => {
  for (const exception of [2, 3] as const) {
    for (const step of [1, 3]) {
      const device = new OneDevice({ addresses: Array.from({ length: 150 }, (_, i) => i * step) });
      device.refuse(exception, (_address, quantity) => quantity <= 50);
      await device.run(10_000);
      assert.equal(device.goodCount, 150);
      const sinceMs = device.field.nowMs;
      const asked = device.field.line.asked.length;
      await device.run(20_000);
      assert.equal(device.refusals(sinceMs), 0);
      const perPoll = (device.field.line.asked.length - asked) / 20;
      assert.ok(perPoll <= (150 * step) / 25 + 2, `step ${step}: ${perPoll} requests a poll`);
    }
  }
});

test('what lies between the tags of one request, and is read at other times, is never left out for what is learned of that', async () => {
  const addresses = Array.from({ length: 90 }, (_, i) => i + Math.floor(i / 9));
  const judges: readonly (readonly [Verdict, IsLegal])[] = [
    [2, (_address, quantity) => quantity <= 8],
    [3, (_address, quantity) => quantity <= 8],
    ['silent', (_address, quantity) => quantity <= 8],
    [2, (address, quantity) => !addresses.some((at) => address < at && address + quantity > at)],
  ];
  for (const [verdict, isLegal] of judges) {
    const device = new OneDevice({ addresses, intervalMs: [1000, 2000, 5000] });
    if (verdict === 'silent') device.ignore(isLegal);
    else device.refuse(verdict, isLegal);
    await device.run(120_000);
    assert.equal(device.goodCount, addresses.length, `${verdict}`);
    const sinceMs = device.field.nowMs;
    await device.run(30_000);
    assert.equal(device.refusals(sinceMs), 0, `${verdict}`);
  }
});

test('a tag that is new where nothing was read, or longer than what was ever answered at once, is asked for', async () => {
  const nowMs = 1_800_000_000_000;
  const holes = { 'holding:3-9': nowMs, 'holding:20': nowMs };
  const limits = { registers: 1, found_at: nowMs };
  const knowledge = { unit_id: 1, bus: 'bus0', map: null, holes, limits };
  const device = new OneDevice({ addresses: [0, 5, 12, 20], type: 'uint32', knowledge });
  await device.run(3000);
  assert.equal(device.goodCount, 4);
});

test('a place that no read may cross is no limit of length', async () => {
  const device = new OneDevice({ addresses: Array.from({ length: 200 }, (_, i) => i) });
  device.refuse(2, (address, quantity) => !(address < 17 && address + quantity > 17));
  await device.run(10_000);
  assert.equal(device.goodCount, 200);
  assert.deepEqual([device.learned?.limits, device.learned?.holes], [undefined, undefined]);
  const sinceMs = device.field.nowMs;
  const asked = device.field.line.asked.length;
  await device.run(20_000);
  assert.equal(device.refusals(sinceMs), 0);
  assert.ok(device.field.line.asked.length - asked <= 4 * 20 + 4);
});

test('an address that becomes illegal is found at once, and its neighbours go on', async () => {
  for (const exception of [2, 3] as const) {
    const device = new OneDevice({ addresses: FORTY, intervalMs: 500 });
    await device.run(3000);
    device.refuse(exception, without([17]));
    const sinceMs = device.field.nowMs;
    await device.run(1500);
    assert.equal(device.field.newest(device.tags[17] ?? assert.fail())?.quality, 'bad');
    const others = device.field.told.filter(({ tag, atMs }) => atMs > sinceMs && tag.address !== 17);
    assert.ok(others.every(({ quality }) => quality === 'good'));
    assert.ok(others.length >= 2 * 39);
    // That may be over soon, so it is not kept yet; and when it is over, that is seen soon.
    assert.equal(device.learned?.refused, undefined);
    await device.run(8500);
    device.refuse(exception, ALL);
    await device.run(5000);
    assert.equal(device.goodCount, 40);
  }
});

test('an address that stays illegal is kept in mind once that has lasted, and asked rarely', async () => {
  const device = new OneDevice({ addresses: FORTY, intervalMs: 500 });
  await device.run(3000);
  device.refuse(2, without([17]));
  await device.run(20_000);
  assert.equal(device.learned?.refused, undefined);
  await device.run(40_000);
  assert.equal(Object.keys(device.learned?.refused ?? {}).length, 1);
  const sinceMs = device.field.nowMs;
  await device.run(200_000);
  assert.ok(device.refusals(sinceMs) <= 5, `${device.refusals(sinceMs)} exceptions in 200 s`);
});

test('what a device refused is asked soon when it is back on its line, for it may be another one', async () => {
  const bus = rtuBusOf(0, 115_200);
  const devices = [deviceOf(0, bus), deviceOf(1, bus)];
  const tags = devices.flatMap((device, d) =>
    FORTY.slice(0, 4).map((address) => tagOf(4 * d + address, device, address)),
  );
  const field = new PollerField({ bus, devices, tags });
  const unit = field.line.unit(1);
  unit.judge = ({ kind, ...read }) =>
    kind === 'read' && 'quantity' in read && !without([2])(read.address, read.quantity) ? 2 : 0;
  field.poller.start();
  await field.clock.run(1_000_000);
  unit.isAlive = false;
  await field.clock.run(10_000);
  assert.equal(field.stateOf(devices[0] ?? assert.fail()), 'offline');
  unit.isAlive = true;
  unit.judge = () => 0;
  await field.clock.run(30_000);
  assert.equal(field.newest(tags[2] ?? assert.fail())?.quality, 'good');
});

test('a module of a device that fails for long costs its own tags, and is read a minute after it is mended', async () => {
  const device = new OneDevice({ addresses: FORTY, intervalMs: 5000 });
  await device.run(10_000);
  device.refuse(4, without([10, 11, 12]));
  await device.run(40_000);
  assert.equal(device.goodCount, 37);
  await device.run(1_200_000);
  device.refuse(4, ALL);
  await device.run(80_000);
  assert.equal(device.goodCount, 40);
});

test('an address with which a device is always busy costs its own tag, from the start and later', async () => {
  const addresses = [...FORTY, ...FORTY.map((i) => 1000 + i)];
  const isFree = without([17]);
  for (const healthyMs of [0, 10_000]) {
    const device = new OneDevice({ addresses, intervalMs: 500 });
    await device.run(healthyMs);
    device.refuse(6, isFree);
    const isFar = ({ tag }: { tag: Tag }): boolean => tag.address >= 1000;
    const sinceMs = device.field.nowMs;
    await device.run(5000);
    const far = device.field.told.filter((told) => isFar(told) && told.atMs > sinceMs);
    assert.ok(far.length >= 9 * 40 && far.every(({ quality }) => quality === 'good'), `${far.length} told`);
    await device.run(10_000);
    assert.equal(device.goodCount, 79);
    const laterMs = device.field.nowMs;
    await device.run(200_000);
    assert.equal(device.goodCount, 79);
    assert.ok(device.refusals(laterMs) <= 30, `${device.refusals(laterMs)} exceptions in 200 s`);
    device.refuse(6, ALL);
    await device.run(80_000);
    assert.equal(device.goodCount, 80);
  }
});

test('an address with which a device is always busy keeps those that are read with it waiting for seconds only', async () => {
  for (const [busy, withinMs] of [
    [[17], 8000],
    [[17, 30], 12_000],
  ] as const) {
    const device = new OneDevice({ addresses: FORTY });
    device.refuse(6, without([...busy]));
    await device.run(withinMs);
    assert.equal(device.goodCount, 40 - busy.length);
  }
});

test('a device that is busy with everything for a minute teaches nothing, and is right a second later', async () => {
  for (const healthyMs of [0, 10_000]) {
    const device = new OneDevice({ addresses: FORTY.map((i) => i * 3), intervalMs: 500 });
    await device.run(healthyMs);
    device.refuse(6, () => false);
    await device.run(60_000);
    device.refuse(6, ALL);
    await device.run(1500);
    assert.equal(device.goodCount, 40);
    assert.deepEqual([device.learned?.limits, device.learned?.refused], [undefined, undefined]);
  }
});

test('a value that is read rarely is asked for again within a minute when its device failed at that moment', async () => {
  const device = new OneDevice({ addresses: [0], intervalMs: 600_000 });
  await device.run(1000);
  device.refuse(4, () => false);
  await device.run(601_000);
  assert.equal(device.goodCount, 0);
  device.refuse(4, ALL);
  await device.run(61_000);
  assert.equal(device.goodCount, 1);
});

test('refusals by chance are no lessons', async () => {
  const device = new OneDevice({ addresses: FORTY.map((i) => i * 3), intervalMs: 500 });
  await device.run(3000);
  const random = randomOf(5);
  device.refuse(2, () => random() >= 0.1);
  await device.run(120_000);
  device.refuse(2, ALL);
  await device.run(2000);
  assert.equal(device.goodCount, 40);
  assert.deepEqual([device.learned?.limits, device.learned?.refused], [undefined, undefined]);
});

test('twenty gaps that are never answered keep 280 tags waiting for seconds, and then cost nothing', async () => {
  const device = new OneDevice({ addresses: IN_RUNS });
  device.ignore(without(GAPS));
  while (device.goodCount < 280 && device.field.nowMs < 60_000) await device.run(100);
  assert.ok(device.field.nowMs <= 12_000, `${device.field.nowMs} ms`);
  await device.run(10_000);
  const sinceMs = device.field.nowMs;
  await device.run(60_000);
  assert.equal(device.goodCount, 280);
  assert.equal(device.refusals(sinceMs), 0);
  assert.ok(device.field.told.every(({ quality, atMs }) => quality === 'good' || atMs < sinceMs));
});

test('tags of a line that are never answered keep those around them waiting for seconds, though answers of one length look alike', async () => {
  const addresses = Array.from({ length: 100 }, (_, i) => i);
  const silent = [7, 8, 23, 41, 58, 60, 77, 94];
  for (const kind of ['rtu', 'rtu-over-tcp'] as const) {
    const line = { baud: 115200 };
    const shape = { kind, units: [1], addresses, rate: '2s', timeout: '1s', turnaroundMs: 3, line };
    const field = fieldOf(shape, 1);
    const { station } = field;
    const take = station.take.bind(station);
    const isLegal = without(silent);
    station.take = (frame, ...rest) => {
      const request = Buffer.from(frame.pdu);
      return isLegal(request.readUInt16BE(1), request.readUInt16BE(3)) ? take(frame, ...rest) : null;
    };
    const isAllGood = (): boolean => field.goodCounts.every((count, i) => count > 0 || silent.includes(i));
    await field.clock.run(40_000, isAllGood);
    assert.ok(isAllGood(), kind);
    assert.deepEqual(field.wrong, []);
  }
});

test('gaps that turn silent long after the start are found, and what lies around them is read on', async () => {
  for (const gaps of [GAPS.slice(3, 4), GAPS.slice(0, 4)]) {
    const device = new OneDevice({ addresses: IN_RUNS });
    await device.run(5000);
    assert.equal(device.goodCount, 280);
    device.ignore(without(gaps));
    await device.run(15_000);
    assert.equal(device.goodCount, 280, `${gaps.length} gaps`);
    assert.equal(Object.keys(device.learned?.holes ?? {}).length, gaps.length);
  }
});

test('no tag is left off because half of all answers are lost, or too late', async () => {
  const addresses = Array.from({ length: 40 }, (_none, index) => (index < 20 ? index : 180 + index));
  for (const fault of [
    { name: 'silent', probability: 0.5 },
    { name: 'late', probability: 0.5, ms: 400 },
  ] as const) {
    const shape = { units: [1, 2, 3, 4], addresses, turnaroundMs: 3 };
    const field = fieldOf({ ...shape, kind: 'tcp', rate: '200ms', timeout: '300ms' }, 12);
    await field.clock.run(3000);
    for (const unit of field.station.units.values()) unit.faults = [fault];
    await field.clock.run(600_000);
    assert.deepEqual(
      field.events.filter(({ kind }) => kind === 'tag-refused'),
      [],
      fault.name,
    );
    for (const unit of field.station.units.values()) unit.faults = [];
    await field.clock.run(615_000);
    assert.ok(
      field.goodAtMs.every((atMs) => atMs > 614_000),
      `${fault.name}: all tags are read again`,
    );
  }
});

test('an address at which the device hangs up costs its own tag, and the connection no more', async () => {
  for (const addresses of [IN_RUNS, FORTY]) {
    for (const startMs of [0, 4000]) {
      const device = new OneDevice({ addresses });
      await device.run(startMs);
      device.ignore(without([17]), true);
      await device.run(25_000);
      assert.equal(device.goodCount, addresses.length - 1, `${addresses.length} tags, ${startMs} ms`);
      await device.run(60_000);
      const sinceMs = device.field.nowMs;
      await device.run(60_000);
      assert.ok(device.refusals(sinceMs) <= 6, `${device.refusals(sinceMs)} times in a minute`);
      assert.ok(
        device.field.told
          .filter(({ atMs }) => atMs > sinceMs)
          .every(({ tag, quality }) => quality === 'good' || tag.address === 17),
      );
    }
  }
});

test('an address that is only answered with what is no answer costs its own tag', async () => {
  const device = new OneDevice({ addresses: IN_RUNS });
  device.refuse('crc', without([17, ...GAPS]));
  await device.run(12_000);
  assert.equal(device.goodCount, 279);
  const sinceMs = device.field.nowMs;
  await device.run(60_000);
  assert.ok(device.refusals(sinceMs) <= 6, `${device.refusals(sinceMs)} times in a minute`);
});

test('addresses that make a gateway give its unit up cost their own tags, and the gateway its time no more', async () => {
  for (const startMs of [0, 4000]) {
    const device = new OneDevice({ addresses: IN_RUNS });
    await device.run(startMs);
    device.refuse(11, without([17, ...GAPS.slice(0, 4)]));
    await device.run(20_000);
    assert.equal(device.goodCount, 279, `from ${startMs} ms on`);
    await device.run(40_000);
    const sinceMs = device.field.nowMs;
    await device.run(60_000);
    assert.ok(device.refusals(sinceMs) <= 6, `${device.refusals(sinceMs)} times in a minute`);
  }
});
