import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Broker } from '../../src/broker/broker.js';
import { loadPlant } from '../../src/config/loadplant.js';
import type { Plant } from '../../src/config/plant.js';
import { History } from '../../src/gateway/history.js';
import { Telemetry } from '../../src/gateway/telemetry.js';
import { Metrics } from '../../src/metrics.js';
import { ParcelReader, ParcelWriter } from '../../src/poller/parcel.js';
import { MemoryStore } from '../../src/store/memory.js';

const folder = mkdtempSync(join(tmpdir(), 'holdfast-telemetry-'));
after(() => rmSync(folder, { recursive: true }));

async function plantOf(tags: string, topics = '{}'): Promise<Plant> {
  const file = join(folder, 'gateway.yaml');
  writeFileSync(
    file,
    `version: 1
gateway: { id: p7 }
broker: { anonymous: true, store: memory }
topics: ${topics}
buses: { plc: { protocol: tcp, host: 127.0.0.1 } }
devices: { press: { bus: plc, unit_id: 1, tags: ${tags} } }
`,
  );
  const { plant, problems } = await loadPlant(file);
  assert.ok(plant !== null, JSON.stringify(problems));
  return plant;
}

async function startBroker(): Promise<Broker> {
  const broker = new Broker({ store: new MemoryStore(), systemIntervalMs: 0 });
  await broker.open();
  after(() => broker.close());
  return broker;
}

function retainedIn(broker: Broker): string[] {
  const topics: string[] = [];
  broker.retained('holdfast/#', (topic) => topics.push(topic));
  return topics.sort();
}

/** Takes the plant and publishes one value of each of its tags. */
function tell(telemetry: Telemetry, plant: Plant): void {
  telemetry.take(plant);
  const writer = new ParcelWriter('samples', new ArrayBuffer(4096), 0);
  for (const { index } of plant.tags) writer.append(index, 0, 0, 0, Buffer.from('{"v":1}'));
  telemetry.publish(new ParcelReader(writer.finish()));
}

test('a value that is retained no more is taken back, as that of a tag that is gone', async () => {
  const broker = await startBroker();
  const telemetry = new Telemetry(broker, new Metrics());
  tell(telemetry, await plantOf('{ a: { holding: 0 }, b: { holding: 1 }, c: { holding: 2 } }'));
  assert.equal(retainedIn(broker).length, 3);
  telemetry.take(await plantOf('{ a: { holding: 0 }, b: { holding: 1, retain: false } }'));
  assert.deepEqual(retainedIn(broker), ['holdfast/p7/data/press/a']);
});

test('what an earlier life stored of tags that are gone is taken back, and nothing else', async () => {
  const broker = await startBroker();
  const stored =
    '{ a: { holding: 0, stored: true }, b: { holding: 1, stored: true }, c: { holding: 2, stored: true } }';
  tell(new Telemetry(broker, new Metrics()), await plantOf(stored));
  for (const topic of ['holdfast/p70/data/press/a', 'holdfast/p7/status'])
    broker.publish({ topic, payload: Buffer.from('theirs'), qos: 0, retain: true, sender: null });
  const renamed = '{ a: { holding: 0, stored: true }, c: { holding: 2 }, d: { holding: 1, stored: true } }';
  new Telemetry(broker, new Metrics()).take(await plantOf(renamed));
  const left = ['holdfast/p7/data/press/a', 'holdfast/p7/status', 'holdfast/p70/data/press/a'];
  assert.deepEqual(retainedIn(broker), left);
  const elsewhere = await plantOf('{ a: { holding: 0 } }', '{ data: "{base}/{device}/{tag}" }');
  new Telemetry(broker, new Metrics()).take(elsewhere);
  assert.deepEqual(retainedIn(broker), left, 'the topics do not say whose they are');
});

test('the last hour has the numbers of batches too, each by its tag', async () => {
  const history = new History(4, () => 100_000);
  const telemetry = new Telemetry(await startBroker(), new Metrics());
  const plant = await plantOf(
    '{ a: { holding: 0, payload: batch }, b: { holding: 1, payload: batch }, c: { coil: 0, payload: batch }, d: { holding: 2 } }',
  );
  telemetry.take(plant);
  telemetry.remember(history);
  const [batch] = plant.batches;
  assert.ok(batch);
  const writer = new ParcelWriter('samples', new ArrayBuffer(4096), 0);
  const payload = '{"v":{"a":-21.5,"b":null,"c":true},"q":"bad","e":{"b":"timeout"},"t":100000}';
  writer.append(batch.index, 0, 0, 100_000, Buffer.from(payload));
  telemetry.publish(new ParcelReader(writer.finish()));
  const newest = plant.tags.map(({ index }) => history.series(index).max.at(-1));
  assert.deepEqual(newest, [-21.5, null, null, null]);
});
