import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Turns } from '../../src/broker/turns.js';
import { Unstored } from '../../src/broker/unstored.js';
import type { Store } from '../../src/store/store.js';
import { startBroker } from '../support/broker.js';
import { ManualClock } from '../support/clock.js';
import { MemoryDisk } from '../support/memorydisk.js';
import { MqttClient } from '../support/mqttclient.js';
import { storeOn } from '../support/stores.js';
import { until } from '../support/wait.js';
import * as wire from '../support/wire.js';

test('what was retained while the disk was full is what a restart brings back, once there was room', async (context) => {
  const disk = new MemoryDisk();
  const store = storeOn(disk);
  const server = await startBroker({ store, systemIntervalMs: 0 });
  context.after(() => server.close());
  const client = await MqttClient.open(server.mqtt, 5);
  context.after(() => client.cut());
  await client.handshake({ clientId: 'c' });
  for (const topic of ['changed', 'cleared', 'same'])
    await client.publish(topic, 'old', { qos: 1, retain: true });

  disk.failWrites = 'ENOSPC';
  client.send(wire.publish(5, { topic: 'any', payload: 'x', qos: 1, id: 1000, retain: true }));
  await until('a store that refuses', () => !store.isHealthy);
  for (const [topic, payload] of [
    ['changed', 'newer'],
    ['changed', 'newest'],
    ['new', 'first'],
    ['cleared', 'newest'],
    ['cleared', ''],
  ] as const)
    client.send(wire.publish(5, { topic, payload, retain: true }));
  await client.ping();

  disk.failWrites = null;
  await until('the state of after the next start', async () => {
    const { retained } = await storeOn(disk.afterKill()).open();
    const found = Object.fromEntries(
      retained.map(({ message: { topic, payload } }) => [
        String(Buffer.from(topic)),
        String(Buffer.from(payload)),
      ]),
    );
    return (
      JSON.stringify(found, Object.keys(found).sort()) ===
      '{"any":"x","changed":"newest","new":"first","same":"old"}'
    );
  });
});

test('a topic that retains nothing any more is not waited with', () => {
  const clock = new ManualClock();
  const store = { isHealthy: false } as Store;
  const kept: string[] = [];
  const unstored = new Unstored(clock, store, { isBacklogged: false } as Turns, (topic) =>
    kept.push(String(Buffer.from(topic))),
  );
  for (const topic of ['a', 'b', 'c']) unstored.add(Buffer.from(topic));
  unstored.forget(Buffer.from('b'));
  Object.assign(store, { isHealthy: true });
  unstored.stop();
  assert.deepEqual(kept, ['a', 'c']);
});
