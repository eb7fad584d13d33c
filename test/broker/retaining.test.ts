/** What is retained and goes again of its own accord, and what a new subscription gets of it, and when. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { BrokerOptions } from '../../src/broker/broker.js';
import { RetainedMessages } from '../../src/broker/retained.js';
import type { StoreRecord } from '../../src/store/store.js';
import { MemoryStore } from '../../src/store/memory.js';
import { startBroker, type TestBroker } from '../support/broker.js';
import { ManualClock } from '../support/clock.js';
import { MemoryDisk } from '../support/memorydisk.js';
import { MqttClient } from '../support/mqttclient.js';
import { storeOn } from '../support/stores.js';
import { until } from '../support/wait.js';
import * as wire from '../support/wire.js';

const QUOTA_EXCEEDED = 0x97;
const encoder = new TextEncoder();
const expiring = (seconds: number): readonly wire.Property[] => [[wire.PROPERTY.messageExpiry, seconds]];

async function start(context: TestContext, options: Partial<BrokerOptions> = {}): Promise<TestBroker> {
  const broker = await startBroker({ systemIntervalMs: 0, ...options });
  context.after(() => broker.close());
  return broker;
}

async function enter(
  context: TestContext,
  { mqtt }: TestBroker,
  clientId: string,
  options: Partial<wire.ConnectOptions> = {},
): Promise<MqttClient> {
  const client = await MqttClient.open(mqtt, 5);
  context.after(() => client.socket.destroy());
  assert.deepEqual((await client.handshake({ clientId, ...options })).codes, [0]);
  return client;
}

// ---------------------------------------------------------------- expiry

/** A store that lasts, as far as the broker can tell. */
class NotingStore extends MemoryStore {
  override readonly isLasting = true as never;
  readonly cleared: string[] = [];

  override append(record: StoreRecord): void {
    if (record.type === 'RetainedCleared') this.cleared.push(Buffer.from(record.topic).toString());
    super.append(record);
  }
}

test('what expires goes though nobody asks for it, from the store too', async (context) => {
  const clock = new ManualClock();
  const store = new NotingStore();
  const broker = await start(context, { clock, store });
  const client = await enter(context, broker, 'c');
  for (let at = 0; at < 600; at++)
    client.send(wire.publish(5, { topic: `e/${at}`, payload: 'x', retain: true, properties: expiring(2) }));
  await client.publish('later', 'x', { retain: true, properties: expiring(60) });
  await client.publish('ever', 'x', { retain: true });
  const count = (): number => broker.broker?.figures.retainedCount ?? -1;
  clock.advance(1500);
  assert.equal(count(), 602);
  clock.advance(1500);
  assert.equal(count(), 2);
  assert.equal(store.cleared.length, 600);
  assert.ok(store.cleared.includes('e/599'));
  clock.advance(60_000);
  assert.equal(count(), 1);
});

test('what has expired takes nobody the room', async (context) => {
  const clock = new ManualClock();
  const broker = await start(context, { clock, limits: { maxRetainedMessages: 20 } });
  const client = await enter(context, broker, 'c');
  const put = async (topic: string, properties: readonly wire.Property[] = []): Promise<number> =>
    (await client.publish(topic, 'x', { qos: 1, retain: true, properties })).codes[0] ?? 0;
  assert.notEqual(await put('a'), QUOTA_EXCEEDED);
  for (let at = 1; at < 20; at++) await put(`e/${at}`, expiring(1));
  clock.advance(500);
  // It is not due for long when the next look is.
  await put('e/19', expiring(1));
  assert.equal(await put('b'), QUOTA_EXCEEDED);
  clock.advance(700);
  assert.notEqual(await put('b'), QUOTA_EXCEEDED, 'before any look');
  assert.notEqual(await put('a'), QUOTA_EXCEEDED);
  assert.equal(broker.broker?.figures.retainedCount, 3);
});

test('a round for what has expired goes on where it was, and ends where nothing is left that can', () => {
  const retained = new RetainedMessages(Infinity, Infinity);
  const keep = (topic: string, expiresAtMs: number): void => {
    const bytes = encoder.encode(topic);
    const [none, ends] = [{ topicStart: 0, propertiesStart: 0, propertiesEnd: 0, payloadStart: 0 }, { topicEnd: bytes.length, payloadEnd: bytes.length }]; // prettier-ignore
    retained.set(retained.nodeOf(bytes, 0, bytes.length), { topic: bytes, properties: bytes, payload: bytes, qos: 0, expiresAtMs, ...none, ...ends }, '', false); // prettier-ignore
  };
  const gone: string[] = [];
  const sweep = (nowMs: number, places: number): void =>
    retained.sweep(nowMs, places, ({ topic, topicStart, topicEnd }) =>
      gone.push(Buffer.from(topic.subarray(topicStart, topicEnd)).toString()),
    );
  assert.equal(retained.soonestExpiryMs, Infinity);
  for (let at = 0; at < 10; at++) keep(`t${at}`, at === 5 ? 0 : 100 + at);
  assert.equal(retained.soonestExpiryMs, 100);
  sweep(103, 4);
  assert.ok(gone.length < 4 && retained.soonestExpiryMs <= 103, 'amid the round');
  keep('t0', 50);
  sweep(103, 100);
  assert.ok(gone.includes('t3'));
  assert.equal(retained.soonestExpiryMs, 50, 'what came behind it is left for the next');
  sweep(109, 100);
  assert.equal(retained.count, 1);
  assert.equal(retained.soonestExpiryMs, Infinity);
  assert.deepEqual(gone.sort(), ['t0', 't0', 't1', 't2', 't3', 't4', 't6', 't7', 't8', 't9']);
});

// ---------------------------------------------------------------- new subscriptions

const receiving = (count: number): readonly wire.Property[] => [[wire.PROPERTY.receiveMaximum, count]];

async function fill(client: MqttClient, count: number, prefix = 'r'): Promise<void> {
  for (let at = 0; at < count; at++)
    client.send(wire.publish(5, { topic: `${prefix}/${at}`, payload: `${at}`, qos: 1, retain: true, id: at + 1 })); // prettier-ignore
  for (let at = 0; at < count; at++) await client.next('PUBACK');
}

test('nothing more of what was retained comes after UNSUBACK, whether it was there or came since', async (context) => {
  const broker = await start(context);
  const publisher = await enter(context, broker, 'publisher');
  await fill(publisher, 50);
  await fill(publisher, 20, 's');
  const client = await enter(context, broker, 'c', { properties: receiving(5) });
  await client.subscribe('r/#', 1);
  await client.subscribe('s/#', 1);
  await client.unsubscribe('r/#');
  await publisher.publish('r/40', 'new', { qos: 1, retain: true });
  const topics: string[] = [];
  // What was on its way, and all of the other subscription.
  while (topics.length < 25) topics.push((await client.receive()).topic);
  await client.quiet();
  assert.deepEqual(
    [topics.filter((topic) => topic.startsWith('r/')).length, topics.slice(5).every((topic) => topic.startsWith('s/'))], // prettier-ignore
    [5, true],
  );
  // The subscription may come back, and so does all that is retained.
  await client.subscribe('r/#', 1);
  assert.ok((await client.receiveTexts(50)).includes('new'));
});

test('a kept session gets on its next connection what the one before had no time for, each once', async (context) => {
  const broker = await start(context);
  const publisher = await enter(context, broker, 'publisher');
  await fill(publisher, 300);
  await fill(publisher, 20, 's');
  const properties = [[wire.PROPERTY.sessionExpiry, 60], ...receiving(10)] as const;
  const first = await enter(context, broker, 'c', { properties });
  await first.subscribe('r/#', 1);
  await first.subscribe('s/+', 1);
  const seen = [];
  while (seen.length < 25) seen.push((await first.receive()).topic);
  // Those are acknowledged for certain; what comes now is not.
  await first.ping();
  await first.cut();
  await until('it to be away', () => broker.broker?.figures.connectedCount === 1);
  // What is gone meanwhile is not sent, and what is new comes as it was published.
  await publisher.publish('r/299', '', { qos: 1, retain: true });
  await publisher.publish('r/new', 'x', { qos: 1, retain: true });
  const second = await enter(context, broker, 'c', { clean: false, properties });
  const messages = [];
  // r/299 and r/new once each, and the rest of 299 and 20.
  while (messages.length < 299 + 20 + 2 - 25) messages.push(await second.receive());
  await second.quiet();
  seen.push(...messages.filter(({ retain }) => retain).map(({ topic }) => topic));
  assert.equal(new Set(seen).size, 300 - 1 + 20);
  assert.equal(messages.filter(({ topic, retain }) => topic === 'r/new' && !retain).length, 1);
  await second.disconnect();
});

test('a kept session gets after a restart what it had no time for before, and no more after the next', async (context) => {
  const disk = new MemoryDisk();
  const properties = [[wire.PROPERTY.sessionExpiry, 60], ...receiving(10)] as const;
  const seen = new Set<string>();
  const before = await start(context, { store: storeOn(disk) });
  await fill(await enter(context, before, 'publisher'), 60);
  const client = await enter(context, before, 'c', { properties });
  await client.subscribe('r/#', 1, [[wire.PROPERTY.subscriptionIdentifier, 7]]);
  // Nothing of it but what the window lets through.
  for (let count = 0; count < 10; count++) seen.add((await client.next('PUBLISH')).topic);
  await before.close();
  const between = await start(context, { store: storeOn(disk) });
  const again = await enter(context, between, 'c', { clean: false, properties });
  while (seen.size < 60) seen.add((await again.receive()).topic);
  for (const { id } of await again.arrived()) again.send(wire.acknowledge('PUBACK', id));
  await again.ping();
  await between.close();
  const after = await start(context, { store: storeOn(disk) });
  await (await enter(context, after, 'c', { clean: false, properties })).quiet();
});

test('what a session had waiting leaves nothing behind when it ends', async (context) => {
  const broker = await start(context);
  const publisher = await enter(context, broker, 'publisher');
  await fill(publisher, 50);
  const client = await enter(context, broker, 'c', {
    properties: [[wire.PROPERTY.sessionExpiry, 60], ...receiving(5)],
  });
  await client.subscribe('r/#', 1);
  await client.subscribe('+/+', 1);
  await client.disconnect(0, [[wire.PROPERTY.sessionExpiry, 0]]);
  await until('it to be away', () => broker.broker?.figures.sessionCount === 1);
  for (let at = 0; at < 50; at++) await publisher.publish(`r/${at}`, '', { qos: 1, retain: true });
  assert.deepEqual([broker.broker?.figures.retainedCount, broker.broker?.figures.retainedBytes], [0, 0]);
});
