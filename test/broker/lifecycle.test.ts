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

/** Whose sessions a start after a kill would find. */
async function keptOn(disk: MemoryDisk): Promise<string> {
  const { sessions } = await storeOn(disk.afterKill()).open();
  return sessions
    .map(({ clientId }) => clientId)
    .toSorted()
    .join();
}

test('a clean session is in the store for its will alone, and no longer than that', async (context) => {
  const disk = new MemoryDisk();
  const { mqtt, close } = await startBroker({ store: storeOn(disk), systemIntervalMs: 0 });
  context.after(close);
  const enter = async (clientId: string): Promise<MqttClient> => {
    const client = await MqttClient.open(mqtt, 5);
    context.after(() => client.socket.destroy());
    await client.handshake({ clientId, will: { topic: 'will', payload: 'gone', qos: 1 } });
    return client;
  };
  const polite = await enter('polite');
  const rude = await enter('rude');
  await until('two wills', async () => (await keptOn(disk)) === 'polite,rude');
  await polite.disconnect();
  await until('one that is not due any more', async () => (await keptOn(disk)) === 'rude');
  await rude.cut();
  await until('one that was published', async () => (await keptOn(disk)) === '');
});

test('who was connected when the broker was stopped has left a will, which the next start publishes, once', async (context) => {
  const disk = new MemoryDisk();
  let broker = await startBroker({ store: storeOn(disk), systemIntervalMs: 0 });
  context.after(() => broker.close());
  const enter = async (clientId: string, expiryS: number, delayS?: number): Promise<MqttClient> => {
    const client = await MqttClient.open(broker.mqtt, 5);
    context.after(() => client.socket.destroy());
    const topic = `will/${clientId}`;
    const will: wire.Will = { topic, payload: clientId, qos: 1, properties: [[0x18, delayS ?? 0]] };
    await client.handshake({
      clientId,
      clean: false,
      properties: [[0x11, expiryS]],
      ...(delayS === undefined ? {} : { will }),
    });
    return client;
  };
  await (await enter('witness', 1000)).subscribe('will/#', 1);
  await enter('clean', 0, 0);
  await enter('clean and late', 0, 1000);
  await enter('kept', 1000, 0);
  await enter('late', 1000, 1000);
  await (await enter('ending', 1000)).disconnect();
  await enter('ending', 0, 0);
  await (await enter('polite', 1000, 0)).disconnect();
  const restart = async (): Promise<string> => {
    await broker.close();
    broker = await startBroker({ store: storeOn(disk), systemIntervalMs: 0 });
    const witness = await enter('witness', 1000);
    await (await enter('teller', 0)).publish('will/none', 'none', { qos: 1 });
    const wills: string[] = [];
    while (wills.at(-1) !== 'none') wills.push(...(await witness.receiveTexts(1)));
    await witness.ping();
    return wills.toSorted().join();
  };
  assert.equal(await restart(), 'clean,clean and late,ending,kept,none');
  assert.equal(await restart(), 'none');
  assert.equal(await keptOn(disk), 'kept,late,polite,witness');
});

test('a session whose shared messages went to others is forgotten by the store', async (context) => {
  const disk = new MemoryDisk();
  const { mqtt, close } = await startBroker({ store: storeOn(disk), systemIntervalMs: 0 });
  context.after(close);
  const enter = async (clientId: string, options: Partial<wire.ConnectOptions> = {}): Promise<MqttClient> => {
    const client = await MqttClient.open(mqtt, 5);
    context.after(() => client.socket.destroy());
    await client.handshake({ clientId, ...options });
    return client;
  };
  const leaver = await enter('leaver', { clean: false, properties: [[0x11, 60]] });
  await leaver.subscribe('$share/group/work', 1);
  await leaver.disconnect();
  const heir = await enter('heir');
  heir.send(wire.publish(5, { topic: 'work', payload: 'x', qos: 1, id: 1 }));
  await heir.next('PUBACK');
  await heir.subscribe('$share/group/work', 1);
  assert.equal(await keptOn(disk), 'leaver');
  await enter('leaver', { clean: true });
  assert.equal((await heir.next('PUBLISH')).payload.toString(), 'x');
  await until('a store without it', async () => (await keptOn(disk)) === '');
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
