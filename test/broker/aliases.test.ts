import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startBroker } from '../support/broker.js';
import { MemoryDisk } from '../support/memorydisk.js';
import { MqttClient } from '../support/mqttclient.js';
import { storeOn } from '../support/stores.js';
import { PROPERTY, propertyOf, publish, type Packet, type Property } from '../support/wire.js';

/** The topic of each message as its client understands it. */
function topicsOf(messages: readonly Packet[]): (string | undefined)[] {
  const known = new Map<unknown, string>();
  return messages.map((message) => {
    const alias = propertyOf(message, PROPERTY.topicAlias);
    if (message.topic !== '' && alias !== undefined) known.set(alias, message.topic);
    return message.topic === '' ? known.get(alias) : message.topic;
  });
}

test('what waits for the disk neither sets an alias nor uses one: others are sent meanwhile', async (context) => {
  const broker = await startBroker({ store: storeOn(new MemoryDisk()) });
  context.after(() => broker.close());
  const subscriber = await MqttClient.open(broker.mqtt, 5);
  const properties: readonly Property[] = [
    [PROPERTY.sessionExpiry, 3600],
    [PROPERTY.topicAliasMaximum, 10],
  ];
  await subscriber.handshake({ clientId: 'subscriber', properties });
  await subscriber.subscribe('t/#', 2);
  const publisher = await MqttClient.open(broker.mqtt, 5);
  await publisher.handshake({ clientId: 'publisher' });
  const retain = true;
  for (let round = 0; round < 4; round++) {
    // QoS 1 waits with QoS 2 before it, QoS 0 passes both.
    publisher.send(
      publish(5, { topic: 't/exact', payload: 't/exact', qos: 2, id: round * 3 + 1 }),
      publish(5, { topic: `t/once${round}`, payload: `t/once${round}`, qos: 1, id: round * 3 + 2 }),
      publish(5, { topic: `t/live${round}`, payload: `t/live${round}`, qos: 0, retain }),
      publish(5, { topic: 't/steady', payload: 't/steady', qos: 1, id: round * 3 + 3 }),
    );
    for (let count = 0; count < 4; count++) await subscriber.receive();
    for (const topic of [`t/live${round}`, `t/once${round}`, 't/steady']) {
      publisher.send(publish(5, { topic, payload: topic, qos: 0, retain }));
      await subscriber.receive();
    }
  }
  const messages = subscriber.history.filter(({ type }) => type === 'PUBLISH');
  assert.deepEqual(
    topicsOf(messages),
    messages.map(({ payload }) => payload.toString()),
  );
  assert.ok(messages.some(({ topic }) => topic === ''));
});

test('an alias costs no message its place in what the client takes', async (context) => {
  const broker = await startBroker({ store: storeOn(new MemoryDisk()) });
  context.after(() => broker.close());
  const publisher = await MqttClient.open(broker.mqtt, 5);
  await publisher.handshake({ clientId: 'publisher' });
  for (const expiryS of [0, 60]) {
    for (const qos of [0, 1, 2]) {
      const maximum = 200;
      const subscriber = await MqttClient.open(broker.mqtt, 5);
      const properties: readonly Property[] = [
        [PROPERTY.sessionExpiry, expiryS],
        [PROPERTY.topicAliasMaximum, 10],
        [PROPERTY.maximumPacketSize, maximum],
      ];
      await subscriber.handshake({ clientId: 'subscriber', properties });
      await subscriber.subscribe('t/#', qos);
      // Properties keep a message from being handed on as it came.
      const largest = (topic: string): string => {
        const bare = publish(5, {
          topic,
          payload: '',
          qos,
          id: 1,
          properties: [[PROPERTY.contentType, 'c']],
        });
        return 'x'.repeat(maximum - bare.length - 1);
      };
      for (const topic of ['t/first', 't/second']) {
        for (const less of [0, 1, 2, 3, 4]) {
          const payload = largest(topic).slice(less);
          await publisher.publish(topic, payload, { qos, properties: [[PROPERTY.contentType, 'c']] });
          const message = await subscriber.receive();
          assert.equal(message.payload.toString(), payload);
        }
      }
      const messages = subscriber.history.filter(({ type }) => type === 'PUBLISH');
      const expected = ['t/first', 't/second'].flatMap((topic) => Array.from({ length: 5 }, () => topic));
      assert.deepEqual(topicsOf(messages), expected);
      await publisher.publish('t/third', `${largest('t/third')}x`, { qos, properties: [[PROPERTY.contentType, 'c']] }); // prettier-ignore
      await subscriber.quiet();
      await subscriber.disconnect(0, expiryS === 0 ? [] : [[PROPERTY.sessionExpiry, 0]]);
    }
  }
});
