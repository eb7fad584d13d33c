/** Flow control: Receive Maximum both ways, Maximum Packet Size towards the client. */
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import * as wire from '../support/wire.js';
import { PROPERTY, propertyOf } from '../support/wire.js';
import type { MqttClient } from '../support/mqttclient.js';
import { conforms, useBroker } from './conforms.js';

const receiving = (maximum: number): readonly wire.Property[] => [[PROPERTY.receiveMaximum, maximum]];

describe('flow control', { concurrency: 8 }, () => {
  useBroker();

  conforms(
    { v5: '3.3.4-9 4.9.0-1 4.9.0-2' },
    'never more than Receive Maximum messages are open, and each acknowledgement makes room for one',
    async (scene) => {
      for (const maximum of [1, 2, 7]) {
        for (const qos of [1, 2]) {
          const topic = scene.topic(`${maximum}/${qos}`);
          const subscriber = await scene.connect({ properties: receiving(maximum) });
          await subscriber.subscribe(topic, 2);
          const publisher = await scene.connect();
          for (let index = 0; index < 15; index++) await publisher.publish(topic, `${index}`, { qos });
          const open = await subscriber.arrived();
          assert.equal(open.length, maximum);
          const texts = open.map(({ payload }) => payload.toString());
          while (texts.length < 15) {
            const oldest = open.shift();
            assert.ok(oldest !== undefined);
            if (qos === 2) {
              subscriber.send(wire.acknowledge('PUBREC', oldest.id));
              await subscriber.next('PUBREL');
              // The slot is free at PUBCOMP, not before.
              assert.deepEqual(await subscriber.arrived(), []);
            }
            subscriber.send(wire.acknowledge(qos === 1 ? 'PUBACK' : 'PUBCOMP', oldest.id));
            const next = await subscriber.next('PUBLISH');
            open.push(next);
            texts.push(next.payload.toString());
          }
          assert.deepEqual(texts, Array.from({ length: 15 }, (_, index) => `${index}`)); // prettier-ignore
        }
      }
    },
  );

  conforms({ v5: '3.3.4-9 4.9.0-2 4.4.0-2' }, 'refusing acknowledgements make room too', async (scene) => {
    const subscriber = await scene.connect({ properties: receiving(1) });
    await subscriber.subscribe(scene.topic(), 2);
    const publisher = await scene.connect();
    for (let index = 0; index < 6; index++)
      await publisher.publish(scene.topic(), `${index}`, { qos: 1 + (index % 2) });
    for (let index = 0; index < 6; index++) {
      const message = await subscriber.next('PUBLISH');
      assert.equal(message.payload.toString(), `${index}`);
      assert.deepEqual(await subscriber.arrived(), []);
      subscriber.send(wire.acknowledge(message.qos === 1 ? 'PUBACK' : 'PUBREC', message.id, 0x83));
    }
    await subscriber.quiet();
  });

  conforms(
    { v5: '3.3.4-9 4.9.0-1' },
    'a backlog keeps to the maximum of the new connection, be it smaller or larger',
    async (scene) => {
      const clientId = scene.clientId();
      const { client } = await scene.connectKept(clientId, { properties: receiving(10) });
      await client.subscribe(scene.topic(), 2);
      const publisher = await scene.connect();
      for (let index = 0; index < 20; index++)
        await publisher.publish(scene.topic(), `${index}`, { qos: 1 + (index % 2) });
      assert.equal((await client.arrived()).length, 10);
      await client.cut();
      for (const maximum of [2, 5, 1]) {
        const { client: back } = await scene.connectKept(clientId, { properties: receiving(maximum) });
        for (let index = 0; index < maximum; index++)
          assert.equal((await back.next('PUBLISH')).payload.toString(), `${index}`);
        await back.quiet();
        await back.cut();
      }
      const { client: last } = await scene.connectKept(clientId, { properties: receiving(3) });
      assert.deepEqual(await last.receiveTexts(20), Array.from({ length: 20 }, (_, index) => `${index}`)); // prettier-ignore
      await last.quiet();
    },
  );

  conforms({ v5: '3.3.4-9 4.9.0-2' }, 'PUBRELs repeated on resumption hold their slots', async (scene) => {
    const clientId = scene.clientId();
    const { client } = await scene.connectKept(clientId, { properties: receiving(2) });
    await client.subscribe(scene.topic(), 2);
    const publisher = await scene.connect();
    for (let index = 0; index < 4; index++) await publisher.publish(scene.topic(), `${index}`, { qos: 2 });
    const [first, second] = await client.arrived();
    for (const message of [first, second]) {
      client.send(wire.acknowledge('PUBREC', message?.id ?? 0));
      await client.next('PUBREL');
    }
    await client.cut();
    const { client: back } = await scene.connectKept(clientId, { properties: receiving(2) });
    await back.next('PUBREL');
    await back.next('PUBREL');
    await back.quiet();
    back.send(wire.acknowledge('PUBCOMP', first?.id ?? 0), wire.acknowledge('PUBCOMP', second?.id ?? 0));
    assert.deepEqual(await back.receiveTexts(2), ['2', '3']);
  });

  conforms(
    { v5: '3.3.4-10 4.9.0-3' },
    'with no quota left QoS 0, pings, SUBSCRIBE and the client’s own messages go on',
    async (scene) => {
      const subscriber = await scene.connect({ properties: receiving(1) });
      await subscriber.subscribe(scene.topic(), 2);
      const publisher = await scene.connect();
      for (let index = 0; index < 3; index++) await publisher.publish(scene.topic(), `${index}`, { qos: 1 });
      const open = await subscriber.next('PUBLISH');
      await publisher.publish(scene.topic(), 'zero', { qos: 0 });
      assert.equal((await subscriber.next('PUBLISH')).payload.toString(), 'zero');
      await subscriber.subscribe(scene.topic('other'), 1);
      await subscriber.publish(scene.topic('b'), 'own', { qos: 1 });
      await subscriber.publish(scene.topic('b'), 'own', { qos: 2 });
      await subscriber.unsubscribe(scene.topic('other'));
      await subscriber.quiet();
      subscriber.send(wire.acknowledge('PUBACK', open.id));
      assert.deepEqual(await subscriber.receiveTexts(2), ['1', '2']);
    },
  );

  conforms(
    { v5: '3.3.4-7 4.13.1-1' },
    'more open QoS 2 messages than the server takes end the connection with 0x93, not one less',
    async (scene) => {
      const clientId = scene.clientId();
      const { client, connack } = await scene.connectTold({ clientId });
      const maximum = Number(propertyOf(connack, PROPERTY.receiveMaximum) ?? 65_535);
      const publish = (id: number) => client.send(wire.publish(5, { topic: scene.topic(), qos: 2, id }));
      for (let id = 1; id <= maximum; id++) publish(id);
      for (let id = 1; id <= maximum; id++) assert.equal((await client.next('PUBREC')).id, id);
      client.send(wire.acknowledge('PUBREL', 1));
      await client.next('PUBCOMP');
      publish(1);
      await client.next('PUBREC');
      if (maximum === 65_535) return;
      publish(maximum + 1);
      await client.expectClosed(0x93);
    },
  );

  conforms(
    { v5: '3.3.4-7 4.4.0-1' },
    'a kept session may send as many QoS 2 messages in one burst as the server takes, and again after resuming',
    async (scene) => {
      const clientId = scene.clientId();
      let { client, connack } = await scene.connectKept(clientId);
      const maximum = Math.min(1000, Number(propertyOf(connack, PROPERTY.receiveMaximum) ?? 65_535));
      const ids = Array.from({ length: maximum }, (_, index) => index + 1);
      for (const dup of [false, true]) {
        client.send(...ids.map((id) => wire.publish(5, { topic: scene.topic(), qos: 2, id, dup })));
        for (const id of ids) assert.equal((await client.next('PUBREC')).id, id);
        if (dup) break;
        await client.cut();
        ({ client, connack } = await scene.connectKept(clientId));
        assert.equal(connack.sessionPresent, true);
      }
      for (let round = 0; round < 2; round++) {
        client.send(...ids.map((id) => wire.acknowledge('PUBREL', id)));
        for (const id of ids) assert.deepEqual((await client.next('PUBCOMP')).codes, [0], `${id}`);
        client.send(...ids.map((id) => wire.publish(5, { topic: scene.topic(), qos: 2, id })));
        for (const id of ids) assert.equal((await client.next('PUBREC')).id, id);
      }
    },
  );

  conforms(
    { v5: '3.3.4-7' },
    'what earlier connections left open takes nothing of the quota, and each answer gives one back',
    async (scene) => {
      const clientId = scene.clientId();
      const first = await scene.connectKept(clientId);
      let { client } = first;
      const maximum = Number(propertyOf(first.connack, PROPERTY.receiveMaximum) ?? 65_535);
      const publish = (qos: number, id: number) => wire.publish(5, { topic: scene.topic(), qos, id });
      const ids = (from: number) => Array.from({ length: maximum }, (_, index) => from + index);
      for (const from of [1, maximum + 1]) {
        client.send(...ids(from).map((id) => publish(2, id)));
        for (const id of ids(from)) assert.equal((await client.next('PUBREC')).id, id);
        await client.cut();
        ({ client } = await scene.connectKept(clientId));
      }
      client.send(publish(1, 60_000));
      assert.equal((await client.next('PUBACK')).id, 60_000);
      client.send(
        ...ids(1).map((id) => wire.acknowledge('PUBREL', id)),
        ...ids(1).map((id) => publish(2, id)),
      );
      for (const id of ids(1)) assert.deepEqual([(await client.next('PUBCOMP')).id], [id]);
      for (const id of ids(1)) assert.equal((await client.next('PUBREC')).id, id);
      client.send(...ids(maximum + 1).map((id) => wire.acknowledge('PUBREL', id)));
      for (const id of ids(maximum + 1)) assert.equal((await client.next('PUBCOMP')).id, id);
      client.send(...ids(maximum + 1).map((id) => publish(2, id)));
      for (const id of ids(maximum + 1)) assert.equal((await client.next('PUBREC')).id, id);
      if (2 * maximum > 59_000) return;
      client.send(publish(2, 60_000));
      await client.expectClosed(0x93);
    },
  );

  conforms(
    { v5: '3.1.2-24 3.1.2-25 4.9.0-2' },
    'messages too large for a client are dropped and leave their quota, live and from the queue',
    async (scene) => {
      const properties: readonly wire.Property[] = [[PROPERTY.maximumPacketSize, 100], [PROPERTY.receiveMaximum, 2]]; // prettier-ignore
      const clientId = scene.clientId();
      const { client } = await scene.connectKept(clientId, { properties });
      await client.subscribe(scene.topic(), 2);
      const publisher = await scene.connect();
      const round = async (receiver: MqttClient) => {
        for (let index = 0; index < 12; index++) {
          const payload = index % 4 === 3 ? `${index}` : 'x'.repeat(200);
          await publisher.publish(scene.topic(), payload, { qos: index % 3 });
        }
        return receiver.isClosed ? [] : receiver.receiveTexts(3);
      };
      assert.deepEqual(await round(client), ['3', '7', '11']);
      await client.quiet();
      await client.disconnect();
      // QoS 0 may wait or not: 3 has it.
      await round(client);
      const { client: back } = await scene.connectKept(clientId, { properties });
      const first = await back.receive();
      const texts = [
        first.payload.toString(),
        ...(await back.receiveTexts(first.payload.toString() === '3' ? 2 : 1)),
      ];
      assert.deepEqual(texts.slice(-2), ['7', '11']);
      await back.quiet();
      for (const { bytes } of [...client.history, ...back.history]) assert.ok(bytes.length <= 100);
    },
  );

  conforms(
    { v5: '3.1.2-24 3.1.2-25' },
    'the maximum packet size is exact, counts the whole packet and is measured for each client',
    async (scene) => {
      const publisher = await scene.connect();
      const packet = wire.publish(5, { topic: scene.topic(), payload: 'x'.repeat(60), qos: 1 });
      for (const size of [packet.length - 1, packet.length, packet.length + 1]) {
        const subscriber = await scene.connect({ properties: [[PROPERTY.maximumPacketSize, size]] });
        await subscriber.subscribe(scene.topic(), 1);
        await publisher.publish(scene.topic(), 'x'.repeat(60), { qos: 1 });
        await publisher.publish(scene.topic(), 'small', { qos: 1 });
        const texts = await subscriber.receiveTexts(size < packet.length ? 1 : 2);
        assert.equal(texts.at(-1), 'small');
        await subscriber.quiet();
        await subscriber.disconnect();
      }
      await publisher.publish(scene.topic('r'), 'x'.repeat(200), { qos: 1, retain: true });
      const small = await scene.connect({ properties: [[PROPERTY.maximumPacketSize, 100]] });
      await small.subscribe(scene.topic('r'), 1);
      await small.quiet();
    },
  );

  conforms(
    { v5: '3.1.2-25 4.4.0-1' },
    'what was sent to a larger connection and is too large for the next is dropped too',
    async (scene) => {
      const clientId = scene.clientId();
      const { client } = await scene.connectKept(clientId);
      await client.subscribe(scene.topic(), 2);
      const publisher = await scene.connect();
      await publisher.publish(scene.topic(), 'x'.repeat(200), { qos: 1 });
      await publisher.publish(scene.topic(), 'small', { qos: 2 });
      await client.next('PUBLISH');
      await client.next('PUBLISH');
      await client.cut();
      const properties: readonly wire.Property[] = [[PROPERTY.maximumPacketSize, 100], [PROPERTY.receiveMaximum, 1]]; // prettier-ignore
      const { client: back } = await scene.connectKept(clientId, { properties });
      assert.deepEqual(await back.receiveTexts(1), ['small']);
      await publisher.publish(scene.topic(), 'next', { qos: 1 });
      assert.deepEqual(await back.receiveTexts(1), ['next']);
    },
  );
});
