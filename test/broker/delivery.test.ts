import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import type { Message } from '../../src/broker/message.js';
import { MemoryStore } from '../../src/store/memory.js';
import type { Store, StoreRecord } from '../../src/store/store.js';
import { startBroker, type TestBroker } from '../support/broker.js';
import { MemoryDisk } from '../support/memorydisk.js';
import { MqttClient } from '../support/mqttclient.js';
import { storeOn } from '../support/stores.js';
import {
  acknowledge,
  publish as encodePublish,
  PROPERTY,
  propertyOf,
  type Packet,
  type Property,
} from '../support/wire.js';

const TOPIC = 'i/x';
const PAIRS: readonly (readonly [string, string])[] = [
  [TOPIC, '$share/g/i/+'],
  ['$share/g/i/x', '$share/h/i/x'],
];

async function brokerOn(context: TestContext, store: Store): Promise<TestBroker> {
  const broker = await startBroker({ store });
  context.after(() => broker.close());
  return broker;
}

async function join(broker: TestBroker, clientId: string, receiveMaximum: number): Promise<MqttClient> {
  const client = await MqttClient.open(broker.mqtt, 5);
  const properties: readonly Property[] = [
    [PROPERTY.sessionExpiry, 3600],
    [PROPERTY.receiveMaximum, receiveMaximum],
  ];
  await client.handshake({ clientId, clean: false, properties });
  return client;
}

/** Text, and the subscription a message came by. */
const told = (message: Packet): string =>
  `${message.payload.toString()} by ${String(propertyOf(message, PROPERTY.subscriptionIdentifier))}`;

async function receiveTold(client: MqttClient, count: number): Promise<string[]> {
  const texts: string[] = [];
  while (texts.length < count) texts.push(told(await client.receive()));
  await client.quiet();
  return texts;
}

describe('a kept session with two subscriptions to one topic, of which one is shared at least', () => {
  for (const [name, makeStore] of [
    ['in memory', () => new MemoryStore()],
    ['on disk', () => storeOn(new MemoryDisk())],
  ] as const) {
    for (const filters of PAIRS) {
      for (const qos of [1, 2]) {
        test(`gets a copy for each, and acknowledges each by itself: ${name}, QoS ${qos}, ${filters.join()}`, async (context) => {
          const broker = await brokerOn(context, makeStore());
          const publisher = await join(broker, 'publisher', 10);
          let client = await join(broker, 'c', 10);
          for (const [index, filter] of filters.entries())
            await client.subscribe(filter, qos, [[PROPERTY.subscriptionIdentifier, index + 1]]);

          await publisher.publish(TOPIC, 'live', { qos });
          assert.deepEqual(await receiveTold(client, 2), ['live by 1', 'live by 2']);

          // One of two is acknowledged.
          for (const text of ['a', 'b']) {
            await publisher.publish(TOPIC, text, { qos });
            const both = [await client.next('PUBLISH'), await client.next('PUBLISH')];
            assert.deepEqual(both.map(told), [`${text} by 1`, `${text} by 2`]);
            client.send(acknowledge(qos === 1 ? 'PUBACK' : 'PUBREC', both[1]?.id ?? 0));
            if (qos === 2) {
              client.send(acknowledge('PUBCOMP', (await client.next('PUBREL')).id));
            }
            await client.ping();
            await client.cut();
            client = await join(broker, 'c', 10);
            const again = await client.receive();
            assert.deepEqual([told(again), again.dup, again.id], [`${text} by 1`, true, both[0]?.id]);
            await client.quiet();
          }

          // None is, again and again: the window stays as it is.
          for (const text of ['x', 'y']) await publisher.publish(TOPIC, text, { qos });
          const four = ['x by 1', 'x by 2', 'y by 1', 'y by 2'];
          for (let round = 0; round < 3; round++) {
            await client.cut();
            client = await join(broker, 'c', 4);
            await client.ping();
          }
          assert.deepEqual(await receiveTold(client, 4), four);

          await client.cut();
          for (const text of ['x', 'y']) await publisher.publish(TOPIC, text, { qos });
          client = await join(broker, 'c', 1);
          assert.deepEqual(await receiveTold(client, 4), four);
        });
      }
    }
  }

  test('has both copies after a restart', async (context) => {
    const disk = new MemoryDisk();
    const broker = await brokerOn(context, storeOn(disk));
    const client = await join(broker, 'c', 10);
    await client.subscribe('$share/g/#', 2, [[PROPERTY.subscriptionIdentifier, 1]]);
    await client.subscribe(TOPIC, 2, [[PROPERTY.subscriptionIdentifier, 2]]);
    const publisher = await join(broker, 'publisher', 10);
    await publisher.publish(TOPIC, 'sent', { qos: 2 });
    for (let count = 0; count < 2; count++) await client.next('PUBLISH');
    await client.cut();
    await publisher.publish(TOPIC, 'queued', { qos: 2 });
    const later = await brokerOn(context, storeOn(disk.afterKill()));
    const back = await join(later, 'c', 10);
    assert.deepEqual(await receiveTold(back, 4), ['sent by 2', 'sent by 1', 'queued by 2', 'queued by 1']);
  });

  test("has the publisher's identifier kept with the last of its copies: cut off before, it is published again", async (context) => {
    class Journal extends MemoryStore {
      readonly published: Extract<StoreRecord, { type: 'Published' }>[] = [];

      override append(record: StoreRecord): void {
        if (record.type === 'Published') this.published.push(record);
        super.append(record);
      }
    }
    const store = new Journal();
    const broker = await brokerOn(context, store);
    const client = await join(broker, 'c', 10);
    for (const filter of [TOPIC, '$share/g/#', '$share/h/#']) await client.subscribe(filter, 2);
    const publisher = await join(broker, 'publisher', 10);
    await publisher.publish(TOPIC, 'once', { qos: 2, id: 77 });
    const told = store.published.map(({ receivers, from }) => [receivers.length, from?.packetIdentifier]);
    assert.deepEqual(told, [[1, undefined], [1, undefined], [1, 77]]); // prettier-ignore
  });
});

test('what a killed process had stored at QoS 2, and perhaps not queued for an uplink, is queued when it is sent again', async (context) => {
  const disk = new MemoryDisk();
  const before = await brokerOn(context, storeOn(disk));
  const publish = { topic: TOPIC, qos: 2, id: 7, payload: 'x' } as const;
  const publisher = await join(before, 'publisher', 10);
  publisher.send(encodePublish(5, publish));
  await publisher.next('PUBREC');

  const after = await brokerOn(context, storeOn(disk.afterKill()));
  const [queued, seen]: [string[], string[]] = [[], []];
  const into = (texts: string[]) => ({
    deliver: ({ payload }: Message) => void texts.push(Buffer.from(payload).toString()),
  });
  after.broker?.subscribe('i/#', { ...into(queued), isKeeping: true });
  after.broker?.subscribe('i/#', into(seen));
  const again = await join(after, 'publisher', 10);
  for (let times = 0; times < 2; times++) {
    again.send(encodePublish(5, { ...publish, dup: true }));
    await again.next('PUBREC');
  }
  assert.deepEqual([queued, seen], [['x'], []]);
});
