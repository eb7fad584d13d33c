import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryStore } from '../../src/store/memory.js';
import { startBroker } from '../support/broker.js';
import { MemoryDisk } from '../support/memorydisk.js';
import { MqttClient } from '../support/mqttclient.js';
import { storeOn } from '../support/stores.js';
import { until } from '../support/wait.js';
import * as wire from '../support/wire.js';

test('while the disk takes nothing a will goes to who is there', async (context) => {
  const store = new MemoryStore();
  const { mqtt, close } = await startBroker({ store });
  context.after(close);
  const watcher = await MqttClient.open(mqtt, 5);
  context.after(() => watcher.socket.destroy());
  await watcher.handshake({ clientId: 'watcher', properties: [[0x11, 60]] });
  await watcher.subscribe('will/#', 2);
  const leavers: MqttClient[] = [];
  for (const qos of [1, 2]) {
    const leaver = await MqttClient.open(mqtt, 5);
    await leaver.handshake({
      clientId: `leaver${qos}`,
      properties: [[0x11, 60]],
      will: { topic: `will/${qos}`, payload: 'gone', qos },
    });
    leavers.push(leaver);
  }
  Object.defineProperty(store, 'isHealthy', { get: () => false });
  for (const leaver of leavers) {
    await leaver.cut();
    assert.equal((await watcher.next('PUBLISH')).payload.toString(), 'gone');
  }
});

test('a will that came while the disk was full is kept once there is room', async (context) => {
  const disk = new MemoryDisk();
  const store = storeOn(disk);
  const { mqtt, close } = await startBroker({ store, systemIntervalMs: 0 });
  context.after(close);
  const enter = async (clientId: string, options: Partial<wire.ConnectOptions> = {}): Promise<MqttClient> => {
    const client = await MqttClient.open(mqtt, 5);
    context.after(() => client.socket.destroy());
    assert.deepEqual((await client.handshake({ clientId, ...options })).codes, [0]);
    return client;
  };
  const publisher = await enter('publisher');
  disk.failWrites = 'ENOSPC';
  publisher.send(wire.publish(5, { topic: 'any', payload: 'x', qos: 1, id: 1, retain: true }));
  await until('a store that refuses', () => !store.isHealthy);
  await enter('here', { will: { topic: 'will/here', payload: 'gone', qos: 1 } });
  const left = await enter('left', { will: { topic: 'will/left', payload: 'gone', qos: 1 } });
  await left.disconnect();
  disk.failWrites = null;
  await until('what a start after a kill finds', async () => {
    const { sessions } = await storeOn(disk.afterKill()).open();
    const wills = sessions.filter(({ will }) => will !== null).map(({ clientId }) => clientId);
    return wills.join() === 'here';
  });
});

test('on a disk that takes nothing those who come again and again leave no more than so much in memory', async (context) => {
  const store = new MemoryStore();
  const { mqtt, close } = await startBroker({ store, systemIntervalMs: 0 });
  context.after(close);
  const enter = async (): Promise<readonly number[]> => {
    const client = await MqttClient.open(mqtt, 5);
    context.after(() => client.socket.destroy());
    return (await client.handshake({ clientId: 'kept', clean: false, properties: [[0x11, 60]] })).codes;
  };
  assert.deepEqual(await enter(), [0]);
  let backlogBytes = 5 << 20;
  Object.defineProperty(store, 'isHealthy', { get: () => false });
  Object.defineProperty(store, 'backlogBytes', { get: () => backlogBytes });
  assert.deepEqual(await enter(), [0x97]);
  backlogBytes = 0;
  assert.deepEqual(await enter(), [0], 'fetching its queue makes room on a disk that is full');
});
