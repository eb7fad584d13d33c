import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { systemClock } from '../../src/clock.js';
import type { Plant } from '../../src/config/plant.js';
import { entryUrl } from '../../src/entry.js';
import { silentLog } from '../../src/log.js';
import { Metrics } from '../../src/metrics.js';
import { type ParcelReader, qualityOf, RESULT_CODES } from '../../src/poller/parcel.js';
import { Pool, type PoolListener, shardsOf } from '../../src/poller/pool.js';
import type { DeviceState } from '../../src/poller/sample.js';
import { KnowledgeFolder } from '../../src/poller/knowledgefolder.js';
import { Seat } from '../../src/poller/seat.js';
import { stopwatch } from '../support/stopwatch.js';
import { busOf, deviceOf, plantOf, tagOf, writeOf } from '../support/tags.js';
import { TcpDevice } from '../support/tcpdevice.js';
import { until } from '../support/wait.js';

const A_MINUTE_MS = 60_000;

const devices: TcpDevice[] = [];
afterEach(async () => {
  for (const device of devices.splice(0)) await device.stop();
});

async function startDevice(): Promise<TcpDevice> {
  const device = new TcpDevice();
  devices.push(device);
  return device.start();
}

interface Got {
  readonly index: number;
  readonly quality: string;
  readonly text: string;
}

/** Writes down everything that the pool tells. */
class Recorder implements PoolListener {
  readonly got: Got[] = [];
  readonly answers = new Map<number, { code: string; text: string }>();
  readonly states = new Map<number, DeviceState>();
  readonly events: string[] = [];

  samples(parcel: ParcelReader): void {
    while (parcel.next()) {
      const text = Buffer.from(parcel.payload).toString();
      this.got.push({ index: parcel.index, quality: qualityOf(parcel.code), text });
    }
  }

  results(parcel: ParcelReader): void {
    while (parcel.next()) {
      assert.ok(!this.answers.has(parcel.correlation), 'a command is answered once');
      const code = RESULT_CODES[parcel.code] ?? `EXC_${parcel.code - 128}`;
      this.answers.set(parcel.correlation, { code, text: Buffer.from(parcel.payload).toString() });
    }
  }

  deviceChanged(deviceIndex: number, state: DeviceState): void {
    this.states.set(deviceIndex, state);
  }

  busChanged(): void {}
  statistics(): void {}

  event(kind: string): void {
    this.events.push(kind);
  }

  newest(index: number): { v: unknown; q: string; e?: string; t: number } | undefined {
    const found = this.got.findLast((each) => each.index === index);
    return found === undefined ? undefined : (JSON.parse(found.text) as { v: unknown; q: string; t: number });
  }
}

async function withPool(plant: Plant, run: (pool: Pool, recorder: Recorder) => Promise<void>): Promise<void> {
  const recorder = new Recorder();
  const pool = new Pool({
    plant,
    listener: recorder,
    log: silentLog,
    clock: systemClock,
    metrics: new Metrics(),
    knowledgeFolder: null,
  });
  await pool.start();
  try {
    await run(pool, recorder);
  } finally {
    await pool.stop();
  }
}

function tcpPlant(port: number, tagCount: number): Plant {
  const bus = busOf(0, { link: { kind: 'tcp', host: '127.0.0.1', port, tls: null } });
  const device = deviceOf(0, bus);
  const tags = Array.from({ length: tagCount }, (_, i) =>
    tagOf(i, device, i, {
      intervalMs: 100,
      write: writeOf({ table: 'holding-register', address: i }, { min: 0, max: 1000 }),
    }),
  );
  return plantOf([bus], [device], tags);
}

test('registers of a Modbus TCP device become payloads, in one request a poll', async () => {
  const device = await startDevice();
  for (let i = 0; i < 20; i += 1) device.registers[i] = 100 + i;
  await withPool(tcpPlant(device.port, 20), async (_pool, recorder) => {
    await until('all tags to be read', () => recorder.newest(19) !== undefined);
    for (let i = 0; i < 20; i += 1) {
      const { v, q, t } = recorder.newest(i) ?? assert.fail();
      assert.deepEqual([v, q], [100 + i, 'good']);
      assert.ok(Math.abs(t - Date.now()) < 5000);
    }
    // Values do not wait for what is told of their device.
    await until('its device to be online', () => recorder.states.get(0) === 'online');
    const reads = device.requests.filter(({ code }) => code === 3);
    assert.ok(reads.every(({ address, quantity }) => address === 0 && quantity === 20));
    device.registers[5] = 7;
    await until('the change to be told', () => recorder.newest(5)?.v === 7);
    assert.equal(
      recorder.got.filter(({ index }) => index === 4).length,
      1,
      'what did not change is told once',
    );
  });
});

test('a command is written, answered and read back; one that is not allowed is refused with its reason', async () => {
  const device = await startDevice();
  await withPool(tcpPlant(device.port, 3), async (pool, recorder) => {
    await until('the first value', () => recorder.newest(2) !== undefined);
    pool.write(1, 11, A_MINUTE_MS, Buffer.from('42'));
    pool.write(1, 12, A_MINUTE_MS, Buffer.from('1001'));
    pool.write(1, 13, A_MINUTE_MS, Buffer.from('"x"'));
    pool.write(1, 14, -1000, Buffer.from('43'));
    pool.write(99, 15, A_MINUTE_MS, Buffer.from('1'));
    pool.read(1, 16, A_MINUTE_MS);
    await until('all answers', () => recorder.answers.size === 6);
    const codes = [11, 12, 13, 14, 15, 16].map((correlation) => recorder.answers.get(correlation)?.code);
    assert.deepEqual(codes, ['OK', 'RANGE', 'TYPE', 'EXPIRED', 'UNKNOWN_TAG', 'OK']);
    assert.equal(recorder.answers.get(11)?.text, '42');
    assert.equal(recorder.answers.get(16)?.text, '42');
    assert.equal(device.registers[1], 42);
    await until('the read-back', () => recorder.newest(1)?.v === 42);
  });
});

test('while its bus changes hands a command is told so, and not that there is no such tag', async () => {
  const device = await startDevice();
  const plant = tcpPlant(device.port, 3);
  await withPool(plant, async (pool, recorder) => {
    await until('the first value', () => recorder.newest(2) !== undefined);
    const removed = pool.remove(plant.buses);
    pool.write(1, 21, A_MINUTE_MS, Buffer.from('42'));
    await removed;
    pool.write(1, 22, A_MINUTE_MS, Buffer.from('42'));
    pool.write(99, 23, A_MINUTE_MS, Buffer.from('42'));
    await until('all answers', () => recorder.answers.size === 3);
    for (const correlation of [21, 22]) {
      const { code, text } = recorder.answers.get(correlation) ?? assert.fail();
      assert.equal(code, 'OFFLINE');
      assert.match(text, /taken over by a new poller/);
    }
    assert.equal(recorder.answers.get(23)?.code, 'UNKNOWN_TAG');
    await pool.add(plant, plant.buses);
    pool.write(1, 24, A_MINUTE_MS, Buffer.from('43'));
    await until('an answer of the new poller', () => recorder.answers.has(24));
    assert.doesNotMatch(recorder.answers.get(24)?.text ?? '', /no such tag|new poller/);
  });
});

test('a burst of 1,000 commands is carried out each once and in order', async () => {
  const device = await startDevice();
  const written: number[] = [];
  device.judge = (_unit, code, address, value) => {
    if (code === 6 && address === 0) written.push(value);
    return 0;
  };
  await withPool(tcpPlant(device.port, 1), async (pool, recorder) => {
    await until('the first value', () => recorder.newest(0) !== undefined);
    const wanted = Array.from({ length: 1000 }, (_, i) => i);
    for (const i of wanted) pool.write(0, i, A_MINUTE_MS, Buffer.from(String(i)));
    await until('all answers', () => recorder.answers.size === 1000);
    assert.deepEqual(written, wanted);
    assert.ok([...recorder.answers.values()].every(({ code }) => code === 'OK'));
  });
});

test('a device that goes away is bad and null within seconds, and good again once it is back', async () => {
  const device = await startDevice();
  device.registers[0] = 5;
  await withPool(tcpPlant(device.port, 1), async (pool, recorder) => {
    await until('the first value', () => recorder.newest(0)?.v === 5);
    await device.stop();
    await until('the tag to be bad', () => recorder.newest(0)?.q === 'bad');
    assert.deepEqual([recorder.newest(0)?.v, recorder.newest(0)?.e], [null, 'offline']);
    await until('its device to be offline', () => recorder.states.get(0) === 'offline');
    pool.write(0, 1, A_MINUTE_MS, Buffer.from('1'));
    await until('the answer', () => recorder.answers.get(1)?.code === 'OFFLINE');
    await device.start();
    await until('the tag to be good', () => recorder.newest(0)?.q === 'good');
    await until('its device to be online', () => recorder.states.get(0) === 'online');
  });
});

test('a worker that is killed is replaced: its tags say so meanwhile, and are good again within seconds', async () => {
  const device = await startDevice();
  device.registers[0] = 5;
  await withPool(tcpPlant(device.port, 2), async (pool, recorder) => {
    await until('the first value', () => recorder.newest(0)?.v === 5);
    device.judge = () => null;
    pool.write(0, 1, A_MINUTE_MS, Buffer.from('1'));
    await until('the write to be on its way', () => device.requests.some(({ code }) => code === 6));
    const areAll = (quality: string): boolean => [0, 1].every((tag) => recorder.newest(tag)?.q === quality);
    const replacing = async (): Promise<void> => {
      pool.restart(0);
      await until('the tags to be offline', () => areAll('bad'));
      assert.deepEqual([recorder.newest(0)?.v, recorder.newest(0)?.e], [null, 'offline']);
      assert.equal(recorder.answers.get(1)?.code, 'OFFLINE');
      pool.write(0, 2, A_MINUTE_MS, Buffer.from('1'));
      await until('an answer all the same', () => recorder.answers.get(2)?.code === 'OFFLINE');
      device.judge = () => 0;
      await until('the tags to be good', () => areAll('good'));
    };
    assert.ok((await stopwatch(replacing())).ranMs < 5000);
    await until('its device to be online', () => recorder.states.get(0) === 'online');
  });
});

test(
  'a worker whose loop stands still is noticed and replaced within seconds',
  { timeout: 60_000 },
  async () => {
    const { buses, devices, tags } = tcpPlant(1, 1);
    let deaths = 0;
    const seat = new Seat({
      shard: { buses, devices, tags, batches: [] },
      log: silentLog,
      clock: systemClock,
      knowledge: new KnowledgeFolder(null, silentLog),
      owed: new Map(),
      listener: new Recorder(),
      entry: entryUrl('../test/support/standstill.js'),
      died: () => (deaths += 1),
    });
    await seat.start();
    const timer = setInterval(() => seat.check(), 1000);
    const givenUp = until('the worker to be given up', () => deaths === 1);
    assert.ok((await stopwatch(givenUp)).ranMs < 6000);
    clearInterval(timer);
    await seat.stop();
  },
);

test('buses are spread over workers by their work, each to one', () => {
  const buses = [0, 1, 2, 3, 4].map((i) => busOf(i));
  const devices = buses.map((bus, i) => deviceOf(i, bus));
  const tags = devices.flatMap((device, d) =>
    Array.from({ length: d === 0 ? 300 : 100 }, (_, i) => tagOf(d * 1000 + i, device, i)),
  );
  const shards = shardsOf(plantOf(buses, devices, tags, [], 2));
  assert.deepEqual(
    shards.map(({ tags: own }) => own.length).sort((a, b) => a - b),
    [300, 400],
  );
  assert.equal(shardsOf(plantOf(buses.slice(0, 1), devices, tags, [], 8)).length, 1);
});

test('a large burst of samples arrives whole, though the main thread is slow to give buffers back', async () => {
  const device = await startDevice();
  const bus = busOf(0, {
    link: { kind: 'tcp', host: '127.0.0.1', port: device.port, tls: null },
    inFlight: 8,
  });
  const devices = [deviceOf(0, bus)];
  const tags = Array.from({ length: 5000 }, (_, i) =>
    tagOf(i, devices[0] ?? assert.fail(), i, { intervalMs: 200 }),
  );
  await withPool(plantOf([bus], devices, tags), async (_pool, recorder) => {
    const blockUntilMs = Date.now() + 1000;
    while (Date.now() < blockUntilMs) continue;
    await until(
      'every tag to have been told',
      () => new Set(recorder.got.map(({ index }) => index)).size === 5000,
    );
  });
});
