import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { limitsOf } from '../../src/config/device.js';
import { parseFormula } from '../../src/config/formula.js';
import type { Bus, Device, Tag } from '../../src/config/plant.js';
import { costOf, readCost } from '../../src/poller/linecost.js';
import { planReads } from '../../src/poller/readplan.js';
import { busOf, deviceOf, rtuBusOf, tagOf, writeOf } from '../support/tags.js';
import { randomOf, PollerField } from '../support/pollerfield.js';
import { contentOf, type Verdict } from '../support/scriptedline.js';

/** Devices with evenly spaced tags on one bus. */
function fieldOf(bus: Bus, deviceCount: number, tagCount: number, changes: Partial<Tag> = {}, step = 1) {
  const devices = Array.from({ length: deviceCount }, (_, i) => deviceOf(i, bus));
  const tags = devices.flatMap((device, d) =>
    Array.from({ length: tagCount }, (_, i) => {
      const index = d * tagCount + i;
      return tagOf(index, device, i * step, {
        write: writeOf({ table: 'holding-register', address: i * step }),
        ...changes,
      });
    }),
  );
  const field = new PollerField({ bus, devices, tags });
  return { field, devices, tags };
}

/** Every good value must hold the address it was asked for, and a time not older than a second or two. */
function assertRight(field: PollerField): void {
  for (const { tag, value, quality, atMs } of field.told) {
    if (quality === 'bad') {
      assert.equal(value, null, 'a bad value is null');
      continue;
    }
    if (quality !== 'good') continue;
    assert.ok(typeof value === 'number');
    assert.equal(value >> 8, tag.address & 0xff, `${tag.name} has the value of another address`);
    const age = (Math.floor(atMs / 1000) - (value & 0xff)) & 0xff;
    assert.ok(age <= 1, `${tag.name} is told ${age} s late as new`);
  }
}

test('a saturated line carries what physics allows, and every value is right', async () => {
  for (const [baud, turnaroundMs, least] of [
    [9600, 3, 0.97],
    [115200, 1, 0.97],
  ] as const) {
    const bus = rtuBusOf(0, baud, { turnaroundMs });
    const { field, devices, tags } = fieldOf(bus, 4, 40, { intervalMs: 100, report: 'always' }, 3);
    for (const { unitId } of devices) field.line.unit(unitId).turnaroundMs = turnaroundMs;
    field.poller.start();
    await field.clock.run(60_000);
    const cost = readCost(bus, turnaroundMs);
    const cycleMs = devices.reduce((sum, device) => {
      const own = tags.filter((tag) => tag.device === device);
      return sum + planReads(device, own, cost).requests.reduce((ms, request) => ms + request.costMs, 0);
    }, 0);
    const good = devices.reduce((sum, device) => sum + field.goodCount(device, 10_000, 60_000), 0);
    const most = (50_000 / cycleMs) * tags.length;
    assert.ok(good >= least * most, `${baud}: ${good} of ${Math.round(most)}`);
    assert.equal(field.line.inFlightMost, 1);
    assertRight(field);
  }
});

test('three dead units of ten cost the others little, are offline and null, and are back soon after they live', async () => {
  const bus = rtuBusOf(0, 9600);
  const { field, devices } = fieldOf(bus, 10, 20, { intervalMs: 100, report: 'always' });
  const dead = devices.filter((_, i) => i % 4 === 0);
  field.poller.start();
  await field.clock.run(30_000);
  const before = goodOfOthers(field, devices, dead, 10_000, 30_000) / 20;
  for (const { unitId } of dead) field.line.unit(unitId).isAlive = false;
  await field.clock.run(20_000);
  for (const device of dead) {
    assert.equal(field.stateOf(device), 'offline');
    for (const told of field.told.filter(({ tag, atMs }) => tag.device === device && atMs > 45_000))
      assert.equal(told.quality, 'bad');
  }
  await field.clock.run(40_000);
  const meanwhile = goodOfOthers(field, devices, dead, 50_000, 90_000) / 40;
  assert.ok(meanwhile >= 0.97 * before * (10 / 7), `${meanwhile} a second, ${before} before`);
  const lost = field.line.asked.filter(({ atMs, outcome }) => atMs > 50_000 && outcome === 'silent');
  const lostMs = lost.reduce((sum, { tookMs }) => sum + tookMs, 0);
  assert.ok(lostMs <= 0.025 * 40_000, `probes took ${lostMs} ms of 40 s`);
  const revivedAtMs = field.nowMs;
  for (const { unitId } of dead) field.line.unit(unitId).isAlive = true;
  await field.clock.run(6_000);
  for (const device of dead) {
    const first = field.told.find(
      ({ tag, atMs, quality }) => tag.device === device && atMs > revivedAtMs && quality === 'good',
    );
    assert.ok(first !== undefined && first.atMs - revivedAtMs <= 5000, `${device.name} is back too late`);
    assert.equal(field.stateOf(device), 'online');
  }
  assertRight(field);
});

test('when a line on which all were silent is back, so are all of them within seconds', async () => {
  for (const [silentMs, mostMs] of [
    [40_000, 2000],
    [300_000, 3000],
  ] as const) {
    const { field, devices } = fieldOf(rtuBusOf(0, 9600), 10, 20, { intervalMs: 1000, report: 'always' });
    const setAlive = (isAlive: boolean): void => {
      for (const { unitId } of devices) field.line.unit(unitId).isAlive = isAlive;
    };
    field.poller.start();
    await field.clock.run(10_000);
    setAlive(false);
    await field.clock.run(silentMs);
    setAlive(true);
    const backAtMs = field.nowMs;
    await field.clock.run(10_000);
    for (const device of devices) {
      const first = field.told.find(
        ({ tag, atMs, quality }) => tag.device === device && atMs > backAtMs && quality === 'good',
      );
      const tookMs = (first?.atMs ?? Infinity) - backAtMs;
      assert.ok(tookMs <= mostMs, `${device.name} is back ${tookMs} ms after a silence of ${silentMs} ms`);
    }
  }
});

function goodOfOthers(
  field: PollerField,
  devices: readonly Tag['device'][],
  dead: readonly Tag['device'][],
  fromMs: number,
  toMs: number,
): number {
  return devices
    .filter((device) => !dead.includes(device))
    .reduce((sum, device) => sum + field.goodCount(device, fromMs, toMs), 0);
}

test('a unit that was dead from the start does not keep the others waiting, and is offline within seconds', async () => {
  const bus = rtuBusOf(0, 9600);
  const { field, devices } = fieldOf(bus, 5, 10);
  const [first] = devices;
  assert.ok(first !== undefined);
  field.line.unit(first.unitId).isAlive = false;
  field.poller.start();
  await field.clock.run(8000);
  assert.equal(field.stateOf(first), 'offline');
  const newest = field.newest(field.told[0]?.tag ?? assert.fail());
  assert.ok(newest !== undefined);
  for (const device of devices.slice(1)) assert.ok(field.goodCount(device, 0, 2500) >= 10, device.name);
});

test('random faults on one unit give no wrong value and leave its neighbours their rate', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer(),
      fc.constantFrom<Verdict | 'late'>('silent', 'crc', 4, 6, 'late'),
      async (seed, fault) => {
        const bus = rtuBusOf(0, 19200);
        const { field, devices } = fieldOf(bus, 4, 20, { intervalMs: 200, report: 'always' });
        const [culprit, ...others] = devices;
        assert.ok(culprit !== undefined);
        field.poller.start();
        await field.clock.run(10_000);
        const random = randomOf(seed);
        const unit = field.line.unit(culprit.unitId);
        unit.judge = () => {
          const strikes = random() < 0.5;
          if (fault === 'late') unit.turnaroundMs = strikes ? 400 : 3;
          return strikes && fault !== 'late' ? fault : 0;
        };
        await field.clock.run(20_000);
        unit.judge = () => 0;
        unit.turnaroundMs = 3;
        for (const device of others) {
          const share = field.goodCount(device, 10_000, 30_000) / field.goodCount(device, 0, 10_000) / 2;
          assert.ok(share >= 0.9, `${device.name} kept ${share} of its rate beside ${fault}`);
        }
        await field.clock.run(6000);
        assert.ok(field.goodCount(culprit, 35_000, 36_000) >= 60, `still disturbed after ${fault}`);
        assertRight(field);
      },
    ),
    { numRuns: 15 },
  );
});

test('an undeclared hole and an illegal tag are found within seconds; all legal tags are served, with few exceptions', async () => {
  const bus = busOf(0);
  const { field, devices, tags } = fieldOf(bus, 1, 280, { report: 'always' });
  const [device] = devices;
  assert.ok(device !== undefined);
  const illegal = 77;
  field.line.unit(device.unitId).judge = (request) =>
    request.kind === 'read' && request.address <= illegal && illegal < request.address + request.quantity
      ? 2
      : 0;
  field.poller.start();
  await field.clock.run(5000);
  const legal = tags.filter(({ address }) => address !== illegal);
  for (const tag of legal) assert.equal(field.newest(tag)?.quality, 'good', tag.name);
  assert.equal(field.newest(tags[illegal] ?? assert.fail())?.quality, 'bad');
  assert.equal(field.stateOf(device), 'degraded');
  await field.clock.run(100_000);
  const exceptions = field.line.asked.filter(({ atMs, outcome }) => outcome === '2' && atMs > 10_000);
  assert.ok(exceptions.length <= 9, `${exceptions.length} exceptions in 95 s`);
  assert.ok(field.goodCount(device, 20_000, 30_000) >= 2790);
  assertRight(field);
  // What was learned is kept: after a restart not one exception is needed.
  const again = new PollerField({
    bus,
    devices,
    tags,
    knowledge: new Map([[0, JSON.parse(JSON.stringify(field.learned.get(0))) as unknown]]),
  });
  again.line.unit(device.unitId).judge = field.line.unit(device.unitId).judge;
  again.poller.start();
  await again.clock.run(20_000);
  assert.equal(again.line.asked.filter(({ outcome }) => outcome !== 'ok').length, 0);
  assert.equal(again.newest(tags[illegal] ?? assert.fail())?.quality, 'bad');
  // The device was extended meanwhile: the tag is asked again, and read with the others from then on.
  again.line.unit(device.unitId).judge = () => 0;
  await again.clock.run(700_000);
  assert.equal(again.newest(tags[illegal] ?? assert.fail())?.quality, 'good');
  assert.equal(again.stateOf(device), 'online');
});

test('what is answered late or not at all at first, while a machine is busy, is not taken for a hole', async () => {
  const bus = rtuBusOf(0, 19200);
  const device = deviceOf(0, bus);
  const tags = [0, 1, 1000, 1001].map((address, index) => tagOf(index, device, address, { intervalMs: 100 }));
  const field = new PollerField({ bus, devices: [device], tags });
  const unit = field.line.unit(device.unitId);
  let count = 0;
  unit.judge = (request) => {
    const isFar = request.kind === 'read' && request.address >= 1000;
    if (isFar) count += 1;
    unit.turnaroundMs = isFar ? 200 : 3;
    return isFar && count === 1 ? 'silent' : 0;
  };
  field.poller.start();
  await field.clock.run(3000);
  assert.deepEqual(
    field.events.filter(({ kind }) => kind === 'tag-refused'),
    [],
  );
  for (const tag of tags) assert.equal(field.newest(tag)?.quality, 'good', tag.name);
});

test('gaps that may not be read over are learned, each at most once', async () => {
  const bus = busOf(0);
  const device = deviceOf(0, bus);
  const tags = Array.from({ length: 40 }, (_, i) => tagOf(i, device, i * 10, { report: 'always' }));
  const field = new PollerField({ bus, devices: [device], tags });
  const isLegal = (address: number): boolean => address % 10 === 0 || Math.floor(address / 100) % 2 === 0;
  field.line.unit(device.unitId).judge = (request) => {
    if (request.kind !== 'read') return 0;
    for (let i = 0; i < request.quantity; i += 1) if (!isLegal(request.address + i)) return 2;
    return 0;
  };
  field.poller.start();
  await field.clock.run(10_000);
  for (const tag of tags) assert.equal(field.newest(tag)?.quality, 'good', tag.name);
  const before = field.line.asked.filter(({ outcome }) => outcome === '2').length;
  await field.clock.run(60_000);
  assert.equal(field.line.asked.filter(({ outcome }) => outcome === '2').length, before);
  assert.equal(field.stateOf(device), 'online');
});

test('a device that takes fewer registers than the norm teaches its limit', async () => {
  const bus = busOf(0);
  const { field, devices, tags } = fieldOf(bus, 1, 200, { report: 'always' });
  const [device] = devices;
  assert.ok(device !== undefined);
  field.line.unit(device.unitId).judge = (request) =>
    request.kind === 'read' && request.quantity > 50 ? 3 : 0;
  field.poller.start();
  await field.clock.run(10_000);
  for (const tag of tags) assert.equal(field.newest(tag)?.quality, 'good');
  const reads = field.line.asked.filter(({ atMs }) => atMs > 5000);
  assert.ok(reads.every(({ outcome }) => outcome === 'ok'));
  assert.ok(reads.length <= 5 * 9, `${reads.length} requests in 5 s`);
});

test('exceptions for a while do not make the poller forget tags that were readable before', async () => {
  const bus = busOf(0);
  const { field, devices } = fieldOf(bus, 1, 50, { intervalMs: 200, report: 'always' });
  const [device] = devices;
  assert.ok(device !== undefined);
  field.poller.start();
  await field.clock.run(5000);
  const unit = field.line.unit(device.unitId);
  unit.judge = () => 2;
  await field.clock.run(3000);
  assert.equal(field.told.at(-1)?.quality, 'bad');
  unit.judge = () => 0;
  await field.clock.run(400);
  assert.equal(field.goodCount(device, 8000, 8400), 100);
  assert.equal(field.stateOf(device), 'online');
});

test('commands go once, in order, before due reads, and yet reads keep a fifth of a flooded line', async () => {
  const bus = rtuBusOf(0, 9600);
  const { field, devices, tags } = fieldOf(bus, 3, 30, { intervalMs: 200, report: 'always' });
  field.poller.start();
  await field.clock.run(5000);
  const written: number[] = [];
  for (const { unitId } of devices) {
    const unit = field.line.unit(unitId);
    unit.judge = (request) => {
      if (request.kind === 'write-registers')
        written.push(((request.registers[0] ?? 0) << 8) | (request.registers[1] ?? 0));
      return 0;
    };
  }
  const wanted = Array.from({ length: 1000 }, (_, i) => i);
  for (const i of wanted) field.write(tags[i % tags.length] ?? assert.fail(), i);
  const startMs = field.nowMs;
  await field.clock.run(60_000);
  assert.deepEqual(written, wanted);
  assert.equal(field.results.length, 1000);
  assert.ok(field.results.every(({ code }) => code === 'OK'));
  assert.deepEqual(
    field.results.map(({ correlation }) => correlation),
    wanted,
  );
  const lastMs = field.results.at(-1)?.atMs ?? 0;
  const during = field.line.asked.filter(({ atMs }) => atMs >= startMs && atMs < lastMs);
  const readMs = during
    .filter(({ request }) => request.kind === 'read')
    .reduce((sum, { tookMs }) => sum + tookMs, 0);
  const share = readMs / (lastMs - startMs);
  assert.ok(share > 0.15 && share < 0.26, `reads had ${share} of the line`);
});

test('what a flood of commands leaves of a line belongs to the reads, and other masters wait for its end', async () => {
  const { field, tags } = fieldOf(rtuBusOf(0, 9600), 3, 30, { intervalMs: 200, report: 'always' });
  field.poller.start();
  await field.clock.run(5000);
  const VISITED = 700;
  let isOver = false;
  const ask = async (unitId: number): Promise<void> => {
    const read = {
      kind: 'read',
      unitId,
      table: 'holding-register',
      address: VISITED,
      quantity: 60,
    } as const;
    while (!isOver) await field.poller.visit(read, () => true);
  };
  const masters = [1, 2, 3].map(ask);
  for (let i = 0; i < 1000; i += 1) field.write(tags[i % tags.length] ?? assert.fail(), i);
  const startMs = field.nowMs;
  await field.clock.run(60_000);
  const lastMs = field.results.at(-1)?.atMs ?? 0;
  assert.equal(field.results.length, 1000);
  const reads = field.line.asked.flatMap(({ atMs, request, tookMs }) =>
    request.kind === 'read' && atMs >= startMs
      ? [{ atMs, tookMs, isVisit: request.address === VISITED }]
      : [],
  );
  const during = reads.filter(({ atMs }) => atMs < lastMs);
  const polledMs = during.reduce((sum, { tookMs, isVisit }) => (isVisit ? sum : sum + tookMs), 0);
  const share = polledMs / (lastMs - startMs);
  assert.ok(share > 0.15, `reads had ${share} of the line`);
  assert.ok(!during.some(({ isVisit }) => isVisit), 'another master was let in');
  assert.ok(reads.some(({ isVisit }) => isVisit));
  isOver = true;
  await field.clock.run(5000);
  await Promise.all(masters);
});

/** One unit behind a converter to a line of 9600 baud, whose rate nobody has told. */
function behindConverter(tagCount: number) {
  const link = { kind: 'rtu-over-tcp', host: '127.0.0.1', port: 502, tls: null } as const;
  const { field, tags } = fieldOf(busOf(0, { link }), 1, tagCount, { intervalMs: 100 }, 100);
  const unit = field.line.unit(1);
  unit.judge = (request) => {
    const characters = request.kind === 'read' ? 13 + 2 * request.quantity : 16;
    unit.turnaroundMs = 5 + characters * 1.146;
    return 0;
  };
  return { field, tags };
}

test('what registers cost on the line behind a converter is found out, and gaps are not read over any more', async () => {
  const { field } = behindConverter(3);
  field.poller.start();
  await field.clock.run(30_000);
  const lately = field.line.asked.slice(-50);
  assert.ok(lately.length === 50);
  for (const { request } of lately) assert.ok(request.kind === 'read' && request.quantity === 1);
  assertRight(field);
});

test('behind a converter too a burst of writes leaves due reads a fifth of the line, whatever they were thought to cost', async () => {
  const { field, tags } = behindConverter(2);
  const [tag = assert.fail()] = tags;
  field.poller.start();
  await field.clock.run(2000);
  const startedMs = field.nowMs;
  for (let count = 0; count < 20; count += 1) {
    field.write(tag, count);
    await field.clock.run(0);
  }
  await field.clock.run(20_000);
  const answered = field.results.filter(({ code }) => code === 'OK' || code === 'SUPERSEDED');
  assert.equal(answered.length, 20);
  const tookMs = Math.max(...field.results.map(({ atMs }) => atMs)) - startedMs;
  assert.ok(tookMs < 1500, `${tookMs} ms`);
});

test('behind a converter a read much longer than any before has the whole time of the settings', async () => {
  const link = { kind: 'rtu-over-tcp', host: '127.0.0.1', port: 4001, tls: null } as const;
  const device = deviceOf(0, busOf(0, { link, timeoutMs: 3000 }));
  const short = tagOf(0, device, 0);
  const long = tagOf(1, device, 1000, { quantity: 120, type: 'string', intervalMs: 600_000 });
  const life = (tags: readonly Tag[], knowledge?: ReadonlyMap<number, unknown>): PollerField => {
    const field = new PollerField({
      bus: device.bus,
      devices: [device],
      tags,
      ...(knowledge && { knowledge }),
    });
    const unit = field.line.unit(1);
    unit.judge = (request) => {
      unit.turnaroundMs = 20 + (request.kind === 'read' ? 15 * request.quantity : 0);
      return 0;
    };
    field.poller.start();
    return field;
  };
  const first = life([short]);
  await first.clock.run(30_000);
  await first.poller.stop();
  const second = life([short, long], first.learned);
  await second.clock.run(5000);
  const longs = second.line.asked.filter(
    ({ request }) => request.kind === 'read' && request.quantity === 120,
  );
  assert.equal(longs.length, 1);
  assert.equal(second.newest(long)?.quality, 'good');
});

test('of a burst the next write is on its way before the last one is told, and what was written is read once, at the end', async () => {
  const { field, tags } = fieldOf(busOf(0), 1, 3, { intervalMs: 600_000, report: 'always' });
  field.poller.start();
  await field.clock.run(2000);
  const happened: string[] = [];
  const { line } = field;
  const request = line.request.bind(line);
  line.request = (asked, timeoutMs) => {
    happened.push(asked.kind === 'read' ? `read ${asked.address}+${asked.quantity}` : 'write');
    return request(asked, timeoutMs);
  };
  field.result = () => happened.push('told');
  for (const tag of tags) field.write(tag, 1);
  await field.clock.run(2000);
  assert.deepEqual(happened, ['write', 'write', 'told', 'write', 'told', 'told', 'read 0+3']);
});

test('a write is read back once more when the answer to that was lost, and not a third time', async () => {
  for (const [lost, code] of [
    [1, 'OK'],
    [2, 'VERIFY'],
  ] as const) {
    const write = { ...writeOf({ table: 'holding-register', address: 0 }), verify: true };
    const { field, tags } = fieldOf(busOf(0), 1, 1, { intervalMs: 600_000, write });
    field.poller.start();
    await field.clock.run(2000);
    const unit = field.line.unit(1);
    let reads = 0;
    unit.judge = ({ kind }) => (kind === 'read' && ++reads <= lost ? 'silent' : 0);
    field.write(tags[0] ?? assert.fail(), 7);
    await field.clock.run(10_000);
    assert.deepEqual(
      field.results.map((result) => result.code),
      [code],
      `${lost} lost`,
    );
  }
});

test('what was written is read back on the next connection when the device hangs up after the write', async () => {
  const write = { ...writeOf({ table: 'holding-register', address: 0 }), verify: true };
  const { field, tags } = fieldOf(busOf(0), 1, 1, { intervalMs: 600_000, write });
  field.poller.start();
  await field.clock.run(2000);
  const unit = field.line.unit(1);
  let isCut = false;
  unit.judge = ({ kind }) => {
    if (kind === 'read' && !isCut) field.clock.after(0, () => field.line.cut());
    isCut ||= kind === 'read';
    return 0;
  };
  field.write(tags[0] ?? assert.fail(), 7);
  await field.clock.run(5000);
  assert.ok(isCut);
  assert.deepEqual(
    field.results.map(({ code }) => code),
    ['OK'],
  );
});

test('a command on a saturated line waits for one request at most, dead units or not', async () => {
  const bus = rtuBusOf(0, 9600);
  const { field, devices, tags } = fieldOf(bus, 5, 60, { intervalMs: 100 });
  for (const { unitId } of devices.slice(3)) field.line.unit(unitId).isAlive = false;
  field.poller.start();
  await field.clock.run(30_000);
  const longestMs = Math.max(
    ...field.line.asked.filter(({ atMs }) => atMs > 20_000).map(({ tookMs }) => tookMs),
  );
  for (let i = 0; i < 40; i += 1) {
    const askedAtMs = field.nowMs;
    field.write(tags[i] ?? assert.fail(), i);
    await field.clock.run(437);
    const result = field.results.at(-1) ?? assert.fail();
    assert.equal(result.code, 'OK');
    assert.ok(result.atMs - askedAtMs <= longestMs + 40, `${result.atMs - askedAtMs} ms`);
  }
});

test('a write that waits for the late answer to its like keeps nobody else waiting, and never goes after its time', async () => {
  const bus = rtuBusOf(0, 9600, { timeoutMs: 2000 });
  const { field, devices, tags } = fieldOf(bus, 2, 1, { intervalMs: 100 });
  const [mute, other] = [tags[0] ?? assert.fail(), tags[1] ?? assert.fail()];
  field.poller.start();
  await field.clock.run(5000);
  const unit = field.line.unit(devices[0]?.unitId ?? 0);
  const writes = () => field.line.asked.filter(({ request }) => request.kind === 'write-registers');
  unit.judge = ({ kind }) => (kind === 'read' ? 0 : 'silent');
  const lost = field.write(mute, 1);
  await field.clock.run(2100);
  unit.judge = () => 0;
  const heldUntilMs = field.line.heldUntilMs(writes()[0]?.request ?? assert.fail());
  assert.ok(heldUntilMs > field.nowMs + 1000);
  const askedAtMs = field.nowMs;
  const late = field.write(mute, 1, 500);
  const patient = field.write(mute, 1);
  const others = field.write(other, 7);
  await field.clock.run(4000);
  const resultOf = (correlation: number) =>
    field.results.find((result) => result.correlation === correlation) ?? assert.fail();
  assert.equal(resultOf(lost).code, 'TIMEOUT');
  assert.equal(resultOf(late).code, 'EXPIRED');
  assert.ok(resultOf(late).atMs - askedAtMs < 1000);
  assert.equal(resultOf(patient).code, 'OK');
  assert.equal(resultOf(others).code, 'OK');
  assert.ok(resultOf(others).atMs - askedAtMs < 200);
  assert.ok((writes()[2]?.atMs ?? 0) >= heldUntilMs);
  assert.equal(writes().length, 3);
  const reads = field.line.asked.filter(
    ({ unitId, atMs }) => unitId === 2 && atMs > askedAtMs && atMs < heldUntilMs,
  );
  assert.ok(reads.length >= 10, `${reads.length} reads of the other unit meanwhile`);
});

test('what a write waits for to ask has its turn, whatever else of its unit is asked again and again', async () => {
  const limits = limitsOf({ registers: 1 }, undefined);
  const device = deviceOf(0, rtuBusOf(0, 9600), { limits });
  const write = writeOf({ table: 'holding-register', address: 50 }, { verify: true });
  const tags = [
    tagOf(0, device, 0, { intervalMs: 100 }),
    tagOf(1, device, 50, { intervalMs: 600_000, write }),
  ];
  const field = new PollerField({ bus: device.bus, devices: [device], tags });
  field.poller.start();
  await field.clock.run(2000);
  // A line on which answers come twice: each read holds back for a while those that it could be an answer to.
  field.line.heldUntilMs = (request) => {
    if (request.kind !== 'read' || request.address !== 50) return 0;
    const last = field.line.asked.findLast((asked) => asked.request.kind === 'read') ?? assert.fail();
    return last.atMs + last.tookMs + 300;
  };
  field.write(tags[1] ?? assert.fail(), 7);
  await field.clock.run(1000);
  assert.equal(field.results[0]?.code, 'OK');
});

test('a value read before or while its tag is written is never told after the write', async () => {
  const bus = busOf(0, { inFlight: 4 });
  const { field, devices, tags } = fieldOf(bus, 1, 10, { intervalMs: 20 });
  const [device] = devices;
  const tag = tags[3];
  assert.ok(device !== undefined && tag !== undefined);
  field.line.unit(device.unitId).turnaroundMs = 15;
  field.poller.start();
  await field.clock.run(1000);
  for (let value = 0; value < 50; value += 1) {
    field.write(tag, value);
    await field.clock.run(7 + value);
  }
  const marks = field.results.map(({ atMs, text }) => ({ atMs, value: Number(text) }));
  for (const told of field.told.filter((each) => each.tag === tag && each.atMs > 1000)) {
    const done = marks.filter(({ atMs }) => atMs < told.atMs).at(-1);
    if (done === undefined) continue;
    // Newer than the last answered write, perhaps already the next one's; never older.
    assert.ok(Number(told.value) >= done.value && Number(told.value) <= done.value + 1);
  }
  assert.ok(field.line.inFlightMost > 1);
});

test('a value that is read at once, read back or written is scaled by the factor of that moment', async () => {
  const device = deviceOf(0, rtuBusOf(0, 9600));
  const write = writeOf({ table: 'holding-register', address: 10 });
  const scaleWrite = writeOf({ table: 'holding-register', address: 0 });
  const scale = tagOf(0, device, 0, { intervalMs: 600_000, write: scaleWrite });
  const value = tagOf(1, device, 1, { intervalMs: 600_000, scaleFrom: { kind: 'value', tag: 0 } });
  const sum = tagOf(2, device, 2, { intervalMs: 600_000, scaleFrom: { kind: 'value', tag: 0 }, write });
  const field = new PollerField({ bus: device.bus, devices: [device], tags: [scale, value, sum] });
  const { written } = field.line.unit(1);
  for (const [address, word] of [10, 5, 6].entries()) written.set(address, word);
  field.poller.start();
  await field.clock.run(2000);
  assert.equal(field.newest(value)?.value, 50);
  for (const [address, word] of [2, 25, 30].entries()) written.set(address, word);
  field.read(value);
  await field.clock.run(1000);
  assert.deepEqual(
    field.results.map(({ text }) => text),
    ['50'],
  );
  assert.deepEqual(
    [scale, value].map((tag) => field.newest(tag)?.value),
    [2, 50],
  );
  for (const [address, word] of [5, 10, 12].entries()) written.set(address, word);
  field.write(sum, 4);
  await field.clock.run(1000);
  assert.equal(field.results.at(-1)?.code, 'OK');
  assert.equal(field.newest(sum)?.value, 60);
  // Nor is what is written: by somebody else's hand the factor is another one now ...
  written.set(0, 4);
  await field.clock.run(1000);
  field.write(sum, 40);
  await field.clock.run(100);
  assert.equal(written.get(10), 10);
  // ... and by a command of this moment.
  field.write(scale, 8);
  field.write(sum, 40);
  await field.clock.run(200);
  assert.deepEqual([written.get(0), written.get(10)], [8, 5]);
  // Without the factor nothing is written.
  await field.clock.run(1000);
  field.line.unit(1).judge = ({ kind }) => (kind === 'read' ? 4 : 0);
  field.write(sum, 80);
  await field.clock.run(200);
  assert.deepEqual([field.results.at(-1)?.code, written.get(10)], ['EXC_4', 5]);
});

/** A tag that is calculated from those before it. */
function calculatedOf(index: number, device: Device, text: string, inputs: readonly Tag[]): Tag {
  const formula = parseFormula(text, (name) => inputs.find((tag) => tag.name === name)?.index, () => []); // prettier-ignore
  if (typeof formula === 'string') assert.fail(formula);
  return tagOf(index, device, 0, { name: `calculated${index}`, quantity: 0, formula });
}

test('what is calculated from one answer is calculated from nothing older, however it was planned to be read', async () => {
  const device = deviceOf(0, busOf(0));
  const [often, rarely] = [tagOf(0, device, 0, { intervalMs: 100 }), tagOf(1, device, 5)];
  const difference = calculatedOf(2, device, `${often.name} - ${rarely.name}`, [often, rarely]);
  const field = new PollerField({
    bus: device.bus,
    devices: [device],
    tags: [often, rarely, { ...difference, report: 'always' }],
  });
  const line = field.line.unit(1);
  let count = 0;
  line.judge = () => {
    count += 1;
    for (const { address } of [often, rarely]) line.written.set(address, count);
    return 0;
  };
  field.poller.start();
  await field.clock.run(30_000);
  const both = field.told.filter(({ tag }) => tag === rarely).map(({ atMs }) => atMs);
  const together = field.told.filter(({ tag, atMs }) => tag.formula !== null && both.includes(atMs));
  assert.ok(together.length > 10);
  assert.deepEqual(new Set(together.slice(2).map(({ value }) => value)), new Set([0]));
});

test('a scale may have a scale of its own, wherever they lie', async () => {
  const device = deviceOf(0, busOf(0));
  const write = writeOf({ table: 'holding-register', address: 0 });
  const intervalMs = 2000;
  const value = tagOf(0, device, 0, { intervalMs, write, scaleFrom: { kind: 'value', tag: 1 } });
  const scale = tagOf(1, device, 30, { intervalMs, scaleFrom: { kind: 'pow10', tag: 2 } });
  const power = tagOf(2, device, 60, { intervalMs: 60_000 });
  const field = new PollerField({ bus: device.bus, devices: [device], tags: [value, scale, power] });
  const { written } = field.line.unit(1);
  const set = (...words: number[]): void => words.forEach((word, at) => written.set(30 * at, word));
  set(1, 2, 3);
  field.poller.start();
  for (const words of [
    [1, 2, 3],
    [4, 5, 1],
    [4, 3, 2],
  ] as const) {
    set(...words);
    await field.clock.run(3000);
    assert.equal(field.newest(value)?.value, words[0] * words[1] * 10 ** words[2]);
  }
  set(4, 7, 1);
  field.read(value);
  await field.clock.run(100);
  assert.equal(field.results.at(-1)?.text, '280');
  await field.clock.run(1800);
  set(4, 5, 2);
  field.write(value, 1000);
  await field.clock.run(100);
  assert.deepEqual([field.results.at(-1)?.code, written.get(0)], ['OK', 2]);
});

test('whoever asks for a calculated value is told it of what the device holds now', async () => {
  const device = deviceOf(0, busOf(0));
  const [near, far] = [
    tagOf(0, device, 0, { intervalMs: 60_000 }),
    tagOf(1, device, 9000, { intervalMs: 0 }),
  ];
  const sum = calculatedOf(2, device, `${near.name} + ${far.name}`, [near, far]);
  const twice = calculatedOf(3, device, `2 * ${sum.name}`, [sum]);
  const field = new PollerField({ bus: device.bus, devices: [device], tags: [near, far, sum, twice] });
  const line = field.line.unit(1);
  field.poller.start();
  await field.clock.run(2000);
  for (const { address } of [near, far]) line.written.set(address, 21);
  field.read(twice);
  await field.clock.run(100);
  assert.deepEqual([field.results.length, field.results.at(-1)?.text], [1, '84']);
  assert.equal(field.newest(twice)?.value, 84);
  // It is told though nothing has changed, and what is not answered is said.
  const { length } = field.told;
  field.read(twice);
  await field.clock.run(100);
  assert.ok(field.told.slice(length).some(({ tag }) => tag === twice));
  line.judge = (request) => (request.kind === 'read' && request.address === far.address ? 4 : 0);
  field.read(twice);
  await field.clock.run(1000);
  assert.deepEqual([field.results.length, field.results.at(-1)?.code], [3, 'EXC_4']);
});

test('whoever asks for a value that is being written is told what the device holds afterwards', async () => {
  const { field, devices, tags } = fieldOf(busOf(0, { inFlight: 2 }), 1, 1, { intervalMs: 60_000 });
  const [tag = assert.fail()] = tags;
  field.line.unit(devices[0]?.unitId ?? 0).turnaroundMs = 20;
  field.poller.start();
  await field.clock.run(1000);
  const asked = field.read(tag);
  await field.clock.run(5);
  field.write(tag, 4711);
  await field.clock.run(100);
  const result = field.results.find(({ correlation }) => correlation === asked);
  assert.deepEqual([result?.code, result?.text], ['OK', '4711']);
  assert.equal(field.results.length, 2);
});

test('a device that is busy with what was written is asked again what it holds', async () => {
  const { field, devices, tags } = fieldOf(busOf(0), 1, 1, { intervalMs: 60_000 });
  const unit = field.line.unit(devices[0]?.unitId ?? 0);
  field.poller.start();
  await field.clock.run(1000);
  let busyUntilMs = 0;
  unit.judge = ({ kind }) => {
    if (kind !== 'read') busyUntilMs = field.clock.monotonicMs() + 300;
    return field.clock.monotonicMs() < busyUntilMs && kind === 'read' ? 6 : 0;
  };
  field.write(tags[0] ?? assert.fail(), 7);
  await field.clock.run(1000);
  assert.deepEqual(
    field.results.map(({ code }) => code),
    ['OK'],
  );
});

/** One tag that is written, and what its register holds some time after each write of it. */
async function outcomeOf(
  verdict: Verdict,
  held: { afterMs: number; value: number } | null,
  device: Partial<Device> = {},
) {
  const bus = busOf(0);
  const unit = deviceOf(0, bus, device);
  const write = writeOf({ table: 'holding-register', address: 7 });
  const tag = tagOf(0, unit, 0, { intervalMs: 600_000, write });
  const field = new PollerField({ bus, devices: [unit], tags: [tag] });
  field.poller.start();
  await field.clock.run(2000);
  const line = field.line.unit(unit.unitId);
  line.judge = ({ kind }) => {
    if (kind === 'read') return 0;
    if (held !== null) field.clock.after(held.afterMs, () => line.written.set(7, held.value));
    return verdict;
  };
  field.write(tag, 40);
  await field.clock.run(10_000);
  assert.equal(field.results.length, 1);
  const { code, text } = field.results[0] ?? assert.fail();
  return {
    code,
    text,
    writes: field.line.asked.filter(({ request }) => request.kind !== 'read').length,
    field,
  };
}

test('a write that is confirmed in other words is judged by what the device holds, and sent once', async () => {
  for (const afterMs of [0, 700]) {
    const { code, text, writes } = await outcomeOf('mismatch', { afterMs, value: 40 });
    assert.deepEqual({ code, text, writes }, { code: 'OK', text: '40', writes: 1 }, `${afterMs} ms`);
  }
  const limited = await outcomeOf('mismatch', { afterMs: 0, value: 30 });
  assert.deepEqual([limited.code, limited.writes], ['VERIFY', 1]);
  // What must not be read is not read for this either.
  const forbidden = [{ table: 'holding-register', address: 7, quantity: 1 }] as const;
  const untold = await outcomeOf('mismatch', { afterMs: 0, value: 40 }, { forbidden });
  assert.deepEqual([untold.code, untold.writes], ['TIMEOUT', 1]);
  assert.ok(untold.field.line.asked.every(({ request }) => request.kind !== 'read' || request.address !== 7));
});

test('a write whose answer was damaged is done where the device holds it, and perhaps done where it does not', async () => {
  const done = await outcomeOf('crc', { afterMs: 0, value: 40 });
  assert.deepEqual([done.code, done.text, done.writes], ['OK', '40', 1]);
  const unknown = await outcomeOf('crc', null);
  assert.deepEqual([unknown.code, unknown.writes], ['TIMEOUT', 1]);
  assert.match(unknown.text, /crc; the write may have been carried out/);
});

test('a write that the device acknowledges and works on is done once the device holds it', async () => {
  const done = await outcomeOf(5, { afterMs: 700, value: 40 });
  assert.deepEqual([done.code, done.text, done.writes], ['OK', '40', 1]);
  const undone = await outcomeOf(5, null);
  assert.deepEqual([undone.code, undone.writes], ['EXC_5', 1]);
});

test('commands to a silent unit are answered: one is tried on it, the rest learn from that', async () => {
  const bus = rtuBusOf(0, 9600);
  const { field, devices, tags } = fieldOf(bus, 2, 5);
  const [dead] = devices;
  assert.ok(dead !== undefined);
  field.poller.start();
  await field.clock.run(5000);
  field.line.unit(dead.unitId).isAlive = false;
  await field.clock.run(10_000);
  assert.equal(field.stateOf(dead), 'offline');
  for (let i = 0; i < 20; i += 1) field.write(tags[i % 5] ?? assert.fail(), i);
  await field.clock.run(1500);
  assert.equal(field.results.length, 20);
  assert.ok(field.results.every(({ code }) => code === 'OFFLINE' || code === 'TIMEOUT'));
  const tried = field.line.asked.filter(({ request }) => request.kind === 'write-registers');
  // None when a probe was just under way: that is as good a try.
  assert.ok(tried.length <= 1);
  // The very command that finds it alive again brings it back.
  field.line.unit(dead.unitId).isAlive = true;
  await field.clock.run(1);
  field.write(tags[0] ?? assert.fail(), 7);
  await field.clock.run(200);
  assert.equal(field.results.at(-1)?.code, 'OK');
  assert.equal(field.stateOf(dead), 'online');
});

test('a broadcast, which nobody answers, brings no silent unit back', async () => {
  const device = deviceOf(0, rtuBusOf(0, 9600));
  const write = writeOf({ table: 'holding-register', address: 0 }, { broadcast: true });
  const tag = tagOf(0, device, 0, { write });
  const field = new PollerField({ bus: device.bus, devices: [device], tags: [tag] });
  field.line.unit(device.unitId).isAlive = false;
  field.poller.start();
  await field.clock.run(5000);
  field.write(tag, 7);
  await field.clock.run(500);
  assert.equal(field.results[0]?.code, 'OK');
  assert.deepEqual(new Set(field.states.map(({ state }) => state)), new Set(['offline']));
});

test('more commands than may wait are answered BUSY, old ones EXPIRED, replaced ones too', async () => {
  const bus = rtuBusOf(0, 9600);
  const device = deviceOf(0, bus);
  const write = writeOf({ table: 'holding-register', address: 0 });
  const plain = tagOf(0, device, 0, { write });
  const newest = tagOf(1, device, 1, { write: { ...write, address: 1, newestOnly: true } });
  const field = new PollerField({ bus, devices: [device], tags: [plain, newest] });
  field.poller.start();
  await field.clock.run(1000);
  for (let i = 0; i < 10; i += 1) field.write(newest, i);
  await field.clock.run(500);
  assert.equal(field.results.filter(({ code }) => code === 'EXPIRED').length, 8);
  assert.deepEqual(
    field.results.filter(({ code }) => code === 'OK').map(({ text }) => text),
    ['0', '9'],
  );
  for (let i = 0; i < 10_050; i += 1) field.write(plain, 1, 10_000);
  assert.ok(field.results.filter(({ code }) => code === 'BUSY').length >= 49);
  await field.clock.run(12_000);
  const late = field.results.filter(({ code }) => code === 'EXPIRED').length;
  assert.ok(late > 9000, `${late} expired`);
  assert.equal(new Set(field.results.map(({ correlation }) => correlation)).size, field.results.length);
});

test('a recipe leaves each of its tags what its settings promise', async () => {
  const device = deviceOf(0, rtuBusOf(0, 9600));
  const tagWith = (index: number, changes: Parameters<typeof writeOf>[1] = {}): Tag =>
    tagOf(index, device, index, {
      group: 'g',
      name: `g/${'nrwpfs'.charAt(index)}`,
      write: writeOf({ table: 'holding-register', address: index }, changes),
    });
  const tags = [
    tagWith(0, { newestOnly: true }),
    tagWith(1, { refresh: { everyMs: 1000, holdMs: Infinity, fallback: null, initial: null } }),
    tagWith(2, { perHourMax: 2 }),
    tagWith(3, { pulse: { ms: 200, rest: '0' } }),
    tagWith(4, { functions: [6] }),
    tagWith(5, { before: [{ table: 'holding-register', address: 99, values: [1] }] }),
  ];
  const [newest = assert.fail(), kept = assert.fail(), worn = assert.fail()] = tags;
  const recipe = { setTopic: 't/set/device0/g', ackTopic: 't/ack/device0/g' };
  const batch = {
    index: 50,
    device,
    group: 'g',
    tags,
    qos: 0,
    retain: false,
    topic: 't/batch',
    recipe,
  } as const;
  const field = new PollerField({ bus: device.bus, devices: [device], tags, batches: [batch] });
  field.poller.start();
  await field.clock.run(2000);
  const { written } = field.line.unit(1);
  const order = (value: object): number => field.write({ ...newest, index: 50 }, value);
  const codeOf = async (...correlations: number[]): Promise<unknown[]> => {
    await field.clock.run(1000);
    return correlations.map((one) => field.results.find(({ correlation }) => correlation === one)?.code);
  };
  // Of commands that wait only those for the one tag replace each other.
  const waiting = [field.write(kept, 5), order({ n: 2, r: 6 }), order({ r: 7 }), field.write(newest, 3)];
  assert.deepEqual(await codeOf(...waiting), ['OK', 'OK', 'OK', 'OK']);
  await field.clock.run(3000);
  assert.deepEqual([written.get(0), written.get(1)], [3, 7], 'what was ordered last is what is kept up');
  assert.deepEqual(await codeOf(field.write(worn, 1), order({ r: 7, w: 2 }), order({ w: 3 })), [
    'OK',
    'OK',
    'BUSY',
  ]);
  assert.equal(written.get(2), 2);
  const asked = field.line.asked.length;
  assert.deepEqual(await codeOf(order({ p: 1 }), order({ p: 1, f: 1 }), order({ f: 1, s: 1 })), [
    'TYPE',
    'TYPE',
    'TYPE',
  ]);
  assert.ok(
    field.line.asked
      .slice(asked)
      .every(
        ({ request }) =>
          request.kind === 'read' || (request.kind === 'write-registers' && request.address === 1),
      ),
  );
  assert.deepEqual(await codeOf(order({ f: 1 }), order({ s: 1 })), ['OK', 'OK']);
  assert.deepEqual([written.get(4), written.get(5), written.get(99)], [1, 1, 1]);
});

test('a batch with a tag that is read once is told every poll, without what was not read yet', async () => {
  const device = deviceOf(0, rtuBusOf(0, 9600));
  const tags = [0, 1000, 2000].map((intervalMs, at) =>
    tagOf(at, device, 200 * at, { intervalMs, payload: 'batch', name: `t${at}` }),
  );
  const batch = { index: 50, device, group: null, tags, qos: 0, retain: false, topic: 't/batch', recipe: null } as const; // prettier-ignore
  const field = new PollerField({ bus: device.bus, devices: [device], tags, batches: [batch] });
  field.poller.start();
  await field.clock.run(10_000);
  assert.ok(field.batches.length >= 9, `${field.batches.length} batches in ten seconds`);
  assert.ok(field.batches.every(({ values }) => !values.includes(null)));
  assert.equal(field.batches.at(-1)?.values.length, 3);
});

test('what is written while a batch is read is left out of it, and a group is told with its next answer', async () => {
  for (const group of [null, 'g']) {
    const device = deviceOf(0, busOf(0, { inFlight: 2 }));
    const write = writeOf({ table: 'holding-register', address: 5 });
    const tags = [0, 5].map((address, at) =>
      tagOf(at, device, address, { intervalMs: 100, payload: 'batch', name: `t${at}`, group, write }),
    );
    const batch = { index: 50, device, group, tags, qos: 0, retain: false, topic: 't/batch', recipe: null } as const; // prettier-ignore
    const field = new PollerField({ bus: device.bus, devices: [device], tags, batches: [batch] });
    const line = field.line.unit(device.unitId);
    line.turnaroundMs = 30;
    let count = 0;
    line.judge = ({ kind }) => {
      if (kind === 'read') count += 1;
      for (const { address } of tags) line.written.set(address, count);
      return 0;
    };
    field.poller.start();
    await field.clock.run(1000);
    for (let order = 0; order < 50; order += 1) {
      field.write(tags[1] ?? assert.fail(), 7);
      await field.clock.run(190 + order);
    }
    const whole = field.batches.filter(({ values }) => values.length === tags.length);
    assert.ok(whole.length > 30, `${whole.length} batches`);
    assert.ok(whole.every(({ values: [one, other] }) => one === other));
    assert.equal(field.batches.length === whole.length, group !== null);
  }
});

test('a batch is told every poll though a module of its device fails, or is always busy', async () => {
  for (const exception of [4, 6]) {
    const device = deviceOf(0, busOf(0));
    const tags = [0, 400, 800].map((address, at) => tagOf(at, device, address, { payload: 'batch', name: `t${at}` })); // prettier-ignore
    const batch = { index: 50, device, group: null, tags, qos: 0, retain: false, topic: 't/batch', recipe: null } as const; // prettier-ignore
    const field = new PollerField({ bus: device.bus, devices: [device], tags, batches: [batch] });
    field.poller.start();
    await field.clock.run(5000);
    const sinceMs = field.nowMs;
    field.line.unit(device.unitId).judge = (request) =>
      request.kind === 'read' && request.address === 800 ? exception : 0;
    await field.clock.run(20_000);
    const told = field.batches.filter(({ atMs }) => atMs > sinceMs + 10_000);
    assert.ok(told.length >= 9, `${told.length} batches in ten seconds`);
    assert.ok(told.every(({ values }) => values.filter((value) => value === null).length === 1));
  }
});

test('what is kept up is never what a command has just replaced', async () => {
  const device = deviceOf(0, rtuBusOf(0, 9600));
  const refresh = { everyMs: 500, holdMs: Infinity, fallback: null, initial: null };
  const write = writeOf({ table: 'holding-register', address: 0 }, { refresh, newestOnly: true });
  const tag = tagOf(0, device, 0, { write });
  const field = new PollerField({ bus: device.bus, devices: [device], tags: [tag] });
  field.poller.start();
  await field.clock.run(2000);
  field.line.unit(1).turnaroundMs = 400;
  const values = (): number[] =>
    field.line.asked.flatMap(({ request }) =>
      request.kind === 'write-registers'
        ? [(request.registers[0] ?? 0) * 256 + (request.registers[1] ?? 0)]
        : [],
    );
  for (let value = 1; value <= 40; value += 1) {
    field.write(tag, value);
    await field.clock.run(1500 + 37 * value);
  }
  assert.deepEqual(
    values(),
    [...values()].sort((a, b) => a - b),
  );
  assert.ok(values().length > 60);
  assert.ok(field.results.length === 40 && field.results.every(({ code }) => code === 'OK'));
});

test('a link that is gone for a moment is no news; gone for longer, all its tags are bad until it is back', async () => {
  const bus = busOf(0);
  const { field, devices, tags } = fieldOf(bus, 1, 3, { intervalMs: 200 });
  const [device] = devices;
  assert.ok(device !== undefined);
  field.poller.start();
  await field.clock.run(2000);
  field.line.cut();
  await field.clock.run(1000);
  assert.ok(field.told.every(({ quality }) => quality === 'good'));
  field.line.isReachable = false;
  field.line.cut();
  await field.clock.run(3000);
  for (const tag of tags) assert.equal(field.newest(tag)?.quality, 'bad');
  assert.equal(field.stateOf(device), 'offline');
  field.write(tags[0] ?? assert.fail(), 1);
  assert.equal(field.results.at(-1)?.code, 'OFFLINE');
  // What is wrong whatever the device says is said all the same.
  field.write(tags[0] ?? assert.fail(), 70_000);
  assert.equal(field.results.at(-1)?.code, 'RANGE');
  field.line.isReachable = true;
  await field.clock.run(1000);
  for (const tag of tags) assert.equal(field.newest(tag)?.quality, 'good');
  assert.equal(field.stateOf(device), 'online');
});

test('a device that takes connections and hangs up on every request is offline, until it answers', async () => {
  const { field, devices, tags } = fieldOf(busOf(0), 1, 3, { intervalMs: 200 });
  const [device] = devices;
  assert.ok(device !== undefined);
  field.poller.start();
  await field.clock.run(2000);
  field.line.unit(device.unitId).judge = () => {
    field.clock.after(1, () => field.line.cut());
    return 0;
  };
  await field.clock.run(8000);
  assert.equal(field.stateOf(device), 'offline');
  for (const tag of tags) assert.equal(field.newest(tag)?.quality, 'bad');
  assert.equal(field.events.filter(({ kind }) => kind.startsWith('device-')).length, 1);
  field.line.unit(device.unitId).judge = () => 0;
  await field.clock.run(1500);
  assert.equal(field.stateOf(device), 'online');
  for (const tag of tags) assert.equal(field.newest(tag)?.quality, 'good');
});

test('a unit that hangs up whenever it is asked is offline, and its neighbour on the link is not disturbed', async () => {
  for (const startMs of [0, 3000]) {
    const { field, devices, tags } = fieldOf(busOf(0), 2, 3, { intervalMs: 200, report: 'always' });
    const [other, odd] = devices;
    assert.ok(other !== undefined && odd !== undefined);
    field.poller.start();
    await field.clock.run(startMs);
    field.line.unit(odd.unitId).judge = () => {
      field.clock.after(1, () => field.line.cut());
      return 0;
    };
    await field.clock.run(3000);
    assert.equal(field.stateOf(odd), 'offline');
    for (const tag of tags.filter(({ device }) => device === odd))
      assert.equal(field.newest(tag)?.quality, 'bad');
    await field.clock.run(20_000);
    const fromMs = field.nowMs;
    await field.clock.run(20_000);
    assert.equal(field.stateOf(other), 'online');
    assert.ok(field.goodCount(other, fromMs, field.nowMs) >= 3 * 98);
    const probes = field.line.asked.filter(({ unitId, atMs }) => unitId === odd.unitId && atMs >= fromMs);
    assert.ok(probes.length <= 12, `${probes.length} connections lost in 20 s`);
    field.line.unit(odd.unitId).judge = () => 0;
    await field.clock.run(4000);
    assert.equal(field.stateOf(odd), 'online');
    for (const tag of tags) assert.equal(field.newest(tag)?.quality, 'good');
  }
});

test('what its link hung up on for being two at a time is asked one at a time, in the next life too', async () => {
  const bus = busOf(0, { inFlight: 4 });
  const { field, devices, tags } = fieldOf(bus, 3, 4, { intervalMs: 200 }, 200);
  field.poller.start();
  await field.clock.run(2000);
  assert.equal(field.line.inFlightMost, 4);
  field.line.showOneAtATime();
  await field.clock.run(1000);
  field.line.inFlightMost = 0;
  await field.clock.run(5000);
  assert.equal(field.line.inFlightMost, 1);
  for (const { index } of devices) assert.deepEqual(field.learned.get(index)?.limits, { in_flight: 1 });
  const again = new PollerField({ bus, devices, tags, knowledge: field.learned });
  again.poller.start();
  await again.clock.run(5000);
  assert.ok(again.line.isOneAtATime);
  assert.equal(again.line.inFlightMost, 1);
});

test('after an outage each device has its own place in the period again', async () => {
  const bus = busOf(0, { inFlight: 64 });
  for (const outageMs of [2500, 10_000]) {
    const { field, devices } = fieldOf(bus, 20, 1, { intervalMs: 1000 });
    field.poller.start();
    await field.clock.run(10_000);
    field.line.isReachable = false;
    field.line.cut();
    await field.clock.run(outageMs);
    field.line.isReachable = true;
    await field.clock.run(3000);
    const fromMs = field.nowMs;
    await field.clock.run(1000);
    const asked = field.line.asked.filter(({ atMs }) => atMs >= fromMs && atMs < fromMs + 1000);
    assert.ok(asked.length >= devices.length);
    for (let tenth = 0; tenth < 10; tenth += 1) {
      const isIn = (atMs: number): boolean => Math.floor((atMs - fromMs) / 100) === tenth;
      const count = asked.filter(({ atMs }) => isIn(atMs)).length;
      assert.ok(count <= 5, `${count} of ${devices.length} in a tenth of the period, after ${outageMs} ms`);
    }
  }
});

test('a line is let go of when what is under way was answered, and after a while even if it was not', async () => {
  for (const [turnaroundMs, isWaitedFor] of [
    [400, true],
    [60_000, false],
  ] as const) {
    const { field, devices } = fieldOf(rtuBusOf(0, 9600, { timeoutMs: 90_000 }), 1, 3, { intervalMs: 100 });
    field.line.unit(devices[0]?.unitId ?? 0).turnaroundMs = turnaroundMs;
    field.poller.start();
    await field.clock.run(100);
    const startedMs = field.nowMs;
    let stoppedAtMs = 0;
    void field.poller.stop().then(() => (stoppedAtMs = field.nowMs));
    await field.clock.run(3000);
    assert.ok(stoppedAtMs - startedMs < 1400, `${stoppedAtMs - startedMs} ms`);
    assert.deepEqual(
      field.line.asked.map(({ outcome }) => outcome),
      [isWaitedFor ? 'ok' : 'closed'],
    );
  }
});

test('whoever asked for a value is answered when the poller stops, whether his read is under way or waits', async () => {
  for (const isBusy of [false, true]) {
    const { field, devices, tags } = fieldOf(busOf(0), 1, 2, { intervalMs: 60_000 }, 200);
    const unit = field.line.unit(devices[0]?.unitId ?? 0);
    field.poller.start();
    await field.clock.run(1000);
    unit.turnaroundMs = 100;
    // A unit that says that it is busy is left alone for a while.
    if (isBusy) unit.judge = () => 6;
    const asked = [...tags, ...tags].map((tag) => field.read(tag));
    await field.clock.run(isBusy ? 250 : 10);
    void field.poller.stop('the bus is taken away');
    await field.clock.run(3000);
    for (const correlation of asked)
      assert.equal(field.results.filter((result) => result.correlation === correlation).length, 1);
  }
});

test('a link that is up and yet dead is made anew', async () => {
  const bus = busOf(0);
  const { field, devices } = fieldOf(bus, 2, 3, { intervalMs: 200 });
  field.poller.start();
  await field.clock.run(2000);
  for (const { unitId } of devices) field.line.unit(unitId).isAlive = false;
  await field.clock.run(8000);
  assert.ok(field.line.resets >= 1);
  // With one unit alive the link is left alone.
  const [first] = devices;
  field.line.unit(first?.unitId ?? 0).isAlive = true;
  await field.clock.run(5000);
  const { resets } = field.line;
  await field.clock.run(60_000);
  assert.equal(field.line.resets, resets);
});

test('tags are stale after three periods without an answer, though the unit is not silent', async () => {
  const bus = busOf(0);
  const { field, tags } = fieldOf(bus, 1, 2, { intervalMs: 200 });
  field.poller.start();
  await field.clock.run(2000);
  field.line.unit(1).judge = () => 6;
  await field.clock.run(2000);
  const stale = field.newest(tags[0] ?? assert.fail());
  assert.equal(stale?.quality, 'stale');
  assert.equal(stale?.value, contentOf(0, 2000) - 1 + (2000 % 1000 === 0 ? 0 : 1));
  field.line.unit(1).judge = () => 0;
  await field.clock.run(2500);
  assert.equal(field.newest(tags[0] ?? assert.fail())?.quality, 'good');
});

test('units that turn out slow are reckoned with: what their line can give is no less fresh for being asked for more', async () => {
  const { field, devices } = fieldOf(rtuBusOf(0, 19200), 5, 5, { intervalMs: 50 });
  for (const { unitId } of devices) field.line.unit(unitId).turnaroundMs = 300;
  field.poller.start();
  await field.clock.run(30_000);
  const from = field.told.length;
  await field.clock.run(30_000);
  assert.deepEqual(new Set(field.told.slice(from).map(({ quality }) => quality)), new Set(['good']));
});

for (const intervalMs of [0, 3_600_000]) {
  test(`what is read ${intervalMs === 0 ? 'once' : 'each hour'} is read when the device comes up, and again after it was away`, async () => {
    const bus = busOf(0);
    const { field, devices } = fieldOf(bus, 1, 2, { intervalMs, report: 'always' });
    const [device] = devices;
    assert.ok(device !== undefined);
    field.line.unit(1).judge = () => (field.nowMs < 3000 ? 6 : 0);
    field.poller.start();
    await field.clock.run(30_000);
    assert.equal(field.goodCount(device, 0, 30_000), 2);
    field.line.isReachable = false;
    field.line.cut();
    await field.clock.run(3000);
    field.line.isReachable = true;
    await field.clock.run(3000);
    assert.equal(field.goodCount(device, 30_000, 40_000), 2);
  });
}

test('what is read more rarely than its heartbeat, or once, is told again with the time of its answer', async () => {
  const device = deviceOf(0, busOf(0));
  const rarely = { intervalMs: 3_600_000, heartbeatMs: 10_000 };
  const tags = [
    tagOf(0, device, 0, rarely),
    tagOf(1, device, 1, { ...rarely, intervalMs: 0 }),
    tagOf(2, device, 2, { ...rarely, invalid: [0x0200] }),
    tagOf(3, device, 3, { ...rarely, heartbeatMs: 0 }),
    tagOf(4, device, 4, { ...rarely, report: 'always' }),
  ];
  const field = new PollerField({ bus: device.bus, devices: [device], tags });
  field.line.unit(1).written.set(2, 0x0200);
  field.poller.start();
  await field.clock.run(65_000);
  const toldOf = (tag: Tag) => field.told.filter((told) => told.tag === tag);
  assert.deepEqual(
    tags.map((tag) => toldOf(tag).length),
    [7, 7, 7, 1, 1],
  );
  for (const tag of tags) assert.equal(new Set(toldOf(tag).map(({ timeMs }) => timeMs)).size, 1, tag.name);
});

test('what is read each hour is not bad, or as it was before a write, for an hour because what was written was not read back', async () => {
  const device = deviceOf(0, busOf(0));
  const [failing, silent] = [0, 400].map((address, index) => {
    const write = writeOf({ table: 'holding-register', address });
    return tagOf(index, device, address, { intervalMs: 3_600_000, write });
  });
  assert.ok(failing !== undefined && silent !== undefined);
  const tags = [failing, silent, tagOf(2, device, 800)];
  const field = new PollerField({ bus: device.bus, devices: [device], tags });
  field.poller.start();
  await field.clock.run(5000);
  const troubleEndsMs = field.nowMs + 1000;
  field.line.unit(device.unitId).judge = (request) => {
    if (request.kind !== 'read' || request.address === 800 || field.nowMs > troubleEndsMs) return 0;
    return request.address === 0 ? 4 : 'silent';
  };
  field.write(failing, 7);
  field.write(silent, 7);
  await field.clock.run(1000);
  assert.equal(field.newest(failing)?.quality, 'bad');
  assert.notEqual(field.newest(silent)?.value, 7);
  await field.clock.run(10_000);
  assert.deepEqual([field.newest(failing)?.value, field.newest(silent)?.value], [7, 7]);
});

/** The device never answers a read that holds one of these addresses. */
function silenceAt(field: PollerField, unitId: number, addresses: readonly number[]): void {
  field.line.unit(unitId).judge = (request) => {
    if (request.kind !== 'read') return 0;
    const end = request.address + request.quantity;
    return addresses.some((address) => request.address <= address && address < end) ? 'silent' : 0;
  };
}

test('an address that is never answered costs its device no other tag for long, and does not make it flap', async () => {
  for (const bus of [busOf(0, { timeoutMs: 500 }), rtuBusOf(0, 19_200, { timeoutMs: 500 })]) {
    for (const [tagCount, silent] of [
      [2, 0],
      [5, 3],
      [60, 17],
      [280, 91],
    ] as const) {
      const { field, devices, tags } = fieldOf(bus, 1, tagCount, { intervalMs: 500 });
      const [device] = devices;
      assert.ok(device !== undefined);
      field.poller.start();
      silenceAt(field, device.unitId, [silent]);
      await field.clock.run(60_000);
      const about = `${tagCount} tags on ${bus.link.kind}`;
      for (const tag of tags) {
        const quality = tag.address === silent ? 'bad' : 'good';
        assert.equal(field.newest(tag)?.quality, quality, `${about}: ${tag.name}`);
      }
      assert.equal(field.stateOf(device), 'degraded');
      const wentOffline = field.events.filter(({ kind }) => kind === 'device-offline');
      assert.ok(wentOffline.length <= 1, `${about}: offline ${wentOffline.length} times`);
      assertRight(field);
    }
  }
});

test('what lies between two blocks and is never answered keeps them from being read together, a lost answer does not', async () => {
  const bus = busOf(0, { timeoutMs: 500 });
  const device = deviceOf(0, bus);
  const tags = [tagOf(0, device, 0, { intervalMs: 200 }), tagOf(1, device, 8, { intervalMs: 1000 })];
  for (const isHole of [true, false]) {
    const field = new PollerField({ bus, devices: [device], tags });
    field.poller.start();
    let lost = 0;
    field.line.unit(device.unitId).judge = (request) => {
      if (request.kind !== 'read' || request.quantity < 9) return 0;
      if (isHole) return 'silent';
      return field.nowMs > 10_000 && lost++ < 2 ? 'silent' : 0;
    };
    await field.clock.run(60_000);
    const fromMs = 30_000;
    const joined = field.line.asked.filter(
      ({ atMs, request }) => atMs > fromMs && request.kind === 'read' && request.quantity > 8,
    );
    if (isHole) assert.equal(joined.length, 0);
    else assert.ok(joined.length > 10);
    for (const tag of tags) assert.equal(field.newest(tag)?.quality, 'good');
    assertRight(field);
  }
});

test('slow tags ride along with fast ones when they are nearly due', async () => {
  const bus = busOf(0);
  const device = deviceOf(0, bus);
  const fast = tagOf(0, device, 0, { intervalMs: 100 });
  const slow = tagOf(1, device, 5, { intervalMs: 1000, report: 'always' });
  const field = new PollerField({ bus, devices: [device], tags: [fast, slow] });
  field.poller.start();
  await field.clock.run(20_000);
  const alone = field.line.asked.filter(({ request }) => request.kind === 'read' && request.address === 5);
  assert.ok(alone.length <= 2, `${alone.length} requests of its own`);
  assert.ok(field.goodCount(device, 10_000, 20_000) >= 9);
  assert.ok(costOf(readCost(bus, 3), 'holding-register', 6) > 0);
});

test('a device that never answers is news once, and those that go with their line are not', async () => {
  const bus = busOf(0);
  const { field, devices } = fieldOf(bus, 2, 3, { intervalMs: 200 });
  const [live, dead] = devices;
  assert.ok(live !== undefined && dead !== undefined);
  field.poller.start();
  field.line.unit(dead.unitId).isAlive = false;
  await field.clock.run(20_000);
  field.line.isReachable = false;
  field.line.cut();
  await field.clock.run(5000);
  assert.equal(field.stateOf(live), 'offline');
  field.line.isReachable = true;
  await field.clock.run(20_000);
  const news = field.events.filter(({ kind }) => kind.startsWith('device-'));
  assert.deepEqual(news.map(({ kind, fields }) => [kind, fields['device']]).sort(), [
    ['device-offline', dead.name],
    ['device-online', live.name],
  ]);
});
