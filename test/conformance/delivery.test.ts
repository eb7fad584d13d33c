/** Chapters 4.3, 4.4 and 4.6: the exchanges of QoS 1 and 2, repetition on resumption, order. */
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import * as wire from '../support/wire.js';
import type { MqttClient } from '../support/mqttclient.js';
import type { Packet } from '../support/wire.js';
import { conforms, useBroker, type Scene } from './conforms.js';

/** A subscriber with a kept session, and messages of these QoS on their way to it, taken but not acknowledged. */
async function openExchanges(scene: Scene, levels: readonly number[]) {
  const clientId = scene.clientId();
  const { client } = await scene.connectKept(clientId);
  await client.subscribe(scene.topic(), 2);
  const publisher = await scene.connect();
  for (const [index, qos] of levels.entries()) await publisher.publish(scene.topic(), `${index}`, { qos });
  const messages: Packet[] = [];
  for (const _ of levels) messages.push(await client.next('PUBLISH'));
  return { clientId, client, publisher, messages };
}

const told = ({ type, id, payload, qos, dup }: Packet) => [type, id, payload.toString(), qos, dup];

describe('delivery', { concurrency: 8 }, () => {
  useBroker();

  conforms({ v3: '4.3.1-1', v5: '4.3.1-1' }, 'QoS 0 goes out once, with QoS 0 and DUP 0', async (scene) => {
    const subscriber = await scene.connect();
    await subscriber.subscribe(scene.topic(), 2);
    await (await scene.connect()).publish(scene.topic(), 'x', { qos: 0 });
    const message = await subscriber.receive();
    assert.deepEqual([message.qos, message.dup], [0, false]);
    await subscriber.quiet();
  });

  conforms(
    { v3: '4.3.2-1 4.4.0-1 3.3.1-1 4.6.0-1 2.3.1-4', v5: '4.3.2-2 4.3.2-3 4.3.3-2 4.3.3-3 4.4.0-1 3.3.1-1' },
    'on resumption unacknowledged messages come again: same identifiers, same order, DUP 1',
    async (scene) => {
      const { clientId, client, messages } = await openExchanges(scene, [1, 2, 1, 2, 2, 1]);
      for (const message of messages) assert.equal(message.dup, false);
      await client.cut();
      for (let round = 0; round < 2; round++) {
        const { client: back } = await scene.connectKept(clientId);
        for (const message of messages)
          assert.deepEqual(told(await back.next('PUBLISH')), told({ ...message, dup: true }));
        await back.quiet();
        await back.cut();
      }
    },
  );

  conforms(
    { v3: '4.3.2-1 4.4.0-1', v5: '4.3.2-3 4.4.0-1' },
    'what was acknowledged does not come again',
    async (scene) => {
      const { clientId, client, messages } = await openExchanges(scene, [1, 2, 1]);
      const [first, second, third] = messages as [Packet, Packet, Packet];
      client.send(wire.acknowledge('PUBACK', first.id), wire.acknowledge('PUBREC', second.id));
      await client.next('PUBREL');
      client.send(wire.acknowledge('PUBCOMP', second.id));
      await client.ping();
      await client.disconnect();
      const { client: back } = await scene.connectKept(clientId);
      assert.deepEqual(told(await back.receive()), told({ ...third, dup: true }));
      await back.quiet();
      await back.disconnect();
      const { client: last } = await scene.connectKept(clientId);
      await last.quiet();
    },
  );

  conforms(
    { v3: '4.3.3-1 4.4.0-1', v5: '4.3.3-4 4.3.3-5 4.3.3-6 4.4.0-1 3.6.2-1' },
    'after PUBREC only PUBREL is sent, again with each resumption until PUBCOMP',
    async (scene) => {
      const { clientId, client, messages } = await openExchanges(scene, [2, 2]);
      const [first, second] = messages as [Packet, Packet];
      client.send(wire.acknowledge('PUBREC', second.id));
      assert.equal((await client.next('PUBREL')).id, second.id);
      await client.cut();
      for (let round = 0; round < 2; round++) {
        const { client: back } = await scene.connectKept(clientId);
        const packets = [await back.any(), await back.any()];
        const types = packets.map((packet) => `${packet?.type} ${packet?.id}`).sort();
        assert.deepEqual(types, [`PUBLISH ${first.id}`, `PUBREL ${second.id}`]);
        await back.quiet();
        await back.cut();
      }
      const { client: back } = await scene.connectKept(clientId);
      back.send(wire.acknowledge('PUBCOMP', second.id));
      await back.ping();
      await back.cut();
      const { client: last } = await scene.connectKept(clientId);
      assert.equal((await last.receive()).id, first.id);
      await last.quiet();
    },
  );

  conforms({ v5: '4.4.0-1' }, 'nothing is sent again while the connection stands', async (scene) => {
    const { client, messages } = await openExchanges(scene, [1, 2, 2]);
    client.send(wire.acknowledge('PUBREC', messages[2]?.id ?? 0));
    await client.next('PUBREL');
    await sleep(3000);
    await client.quiet();
  });

  conforms(
    { v5: '4.4.0-2 4.3.3-4' },
    'PUBACK or PUBREC from 0x80 on ends the exchange for good',
    async (scene) => {
      const { clientId, client, messages } = await openExchanges(scene, [1, 2, 1]);
      const [first, second, third] = messages as [Packet, Packet, Packet];
      client.send(wire.acknowledge('PUBACK', first.id, 0x80), wire.acknowledge('PUBREC', second.id, 0x97));
      await client.quiet();
      await client.cut();
      const { client: back } = await scene.connectKept(clientId);
      assert.equal((await back.receive()).id, third.id);
      await back.quiet();
    },
  );

  conforms(
    { v3: '4.3.2-2', v5: '4.3.2-4 4.3.2-5' },
    'after PUBACK the same identifier brings a new message, with DUP or without',
    async (scene) => {
      const subscriber = await scene.connect();
      await subscriber.subscribe(scene.topic(), 1);
      const publisher = await scene.connect();
      for (const [index, dup] of [false, true, true].entries())
        await publisher.publish(scene.topic(), `${index}`, { qos: 1, id: 7, dup });
      assert.deepEqual(await subscriber.receiveTexts(3), ['0', '1', '2']);
    },
  );

  conforms(
    { v3: '4.3.3-2', v5: '4.3.3-8 4.3.3-10 4.3.3-11 4.3.3-12' },
    'QoS 2 is delivered once however often it is sent, and its identifier is free after PUBCOMP',
    async (scene) => {
      const { version } = scene;
      const subscriber = await scene.connect();
      await subscriber.subscribe(scene.topic(), 2);
      const clientId = scene.clientId();
      const { client } = await scene.connectKept(clientId);
      const send = (to: MqttClient, payload: string, dup: boolean) =>
        to.send(wire.publish(version, { topic: scene.topic(), payload, qos: 2, id: 9, dup }));
      send(client, 'one', false);
      for (let copy = 0; copy < 20; copy++) send(client, 'one', true);
      for (let copy = 0; copy < 21; copy++) assert.equal((await client.next('PUBREC')).id, 9);
      await client.cut();
      const { client: back } = await scene.connectKept(clientId);
      await back.quiet();
      send(back, 'one', true);
      assert.equal((await back.next('PUBREC')).id, 9);
      back.send(wire.acknowledge('PUBREL', 9));
      assert.equal((await back.next('PUBCOMP')).id, 9);
      back.send(wire.acknowledge('PUBREL', 9));
      assert.equal((await back.next('PUBCOMP')).id, 9);
      send(back, 'two', true);
      assert.equal((await back.next('PUBREC')).id, 9);
      back.send(wire.acknowledge('PUBREL', 9));
      await back.next('PUBCOMP');
      assert.deepEqual(await subscriber.receiveTexts(2), ['one', 'two']);
      await subscriber.quiet();
    },
  );

  conforms(
    { v3: '4.3.3-2', v5: '4.3.3-10' },
    'a clean start forgets the identifiers of QoS 2',
    async (scene) => {
      const { version } = scene;
      const subscriber = await scene.connect();
      await subscriber.subscribe(scene.topic(), 2);
      const clientId = scene.clientId();
      for (const payload of ['one', 'two']) {
        const client = await scene.connect({ clientId, clean: true });
        client.send(wire.publish(version, { topic: scene.topic(), payload, qos: 2, id: 9 }));
        await client.next('PUBREC');
        client.send(wire.acknowledge('PUBREL', 9));
        await client.next('PUBCOMP');
        client.send(wire.publish(version, { topic: scene.topic('b'), qos: 2, id: 9 }));
        await client.next('PUBREC');
        await client.cut();
      }
      assert.deepEqual(await subscriber.receiveTexts(2), ['one', 'two']);
    },
  );

  conforms(
    { v3: '4.3.3-2', v5: '4.3.3-11 3.7.2-1 3.6.2-1' },
    'PUBREL and PUBREC for what is not known are answered, in MQTT 5 by 0x92',
    async (scene) => {
      const client = await scene.connect();
      client.send(wire.acknowledge('PUBREL', 77));
      const completed = await client.next('PUBCOMP');
      assert.equal(completed.id, 77);
      if (scene.version === 4) return;
      assert.deepEqual(completed.codes, [0x92]);
      client.send(wire.acknowledge('PUBREC', 78));
      const released = await client.next('PUBREL');
      assert.deepEqual([released.id, released.codes], [78, [0x92]]);
      await client.quiet();
    },
  );

  conforms(
    { v3: '4.8.0-1', v5: '4.13.1-1' },
    'acknowledgements that belong to nothing, or to another QoS, harm nobody',
    async (scene) => {
      const { client, publisher } = await openExchanges(scene, []);
      client.send(wire.acknowledge('PUBACK', 500), wire.acknowledge('PUBCOMP', 501));
      await client.ping();
      await publisher.publish(scene.topic(), 'x', { qos: 2 });
      await client.receive();
    },
  );

  conforms(
    { v3: '4.6.0-2 4.6.0-3', v5: '4.3.2-4 4.3.3-8' },
    'acknowledgements come in the order of their messages',
    async (scene) => {
      const client = await scene.connect();
      const { version } = scene;
      const ids = Array.from({ length: 100 }, (_, index) => ((index * 37) % 100) + 1);
      client.send(...ids.map((id) => wire.publish(version, { topic: scene.topic(), qos: 1, id })));
      for (const id of ids) assert.equal((await client.next('PUBACK')).id, id);
      const twenty = ids.slice(0, 20);
      client.send(...twenty.map((id) => wire.publish(version, { topic: scene.topic(), qos: 2, id })));
      for (const id of twenty) assert.equal((await client.next('PUBREC')).id, id);
      client.send(...twenty.map((id) => wire.acknowledge('PUBREL', id)));
      for (const id of twenty) assert.equal((await client.next('PUBCOMP')).id, id);
    },
  );

  conforms({ v3: '4.6.0-4', v5: '4.3.3-4' }, 'PUBRELs come in the order of their PUBRECs', async (scene) => {
    const { client, messages } = await openExchanges(
      scene,
      Array.from({ length: 15 }, () => 2),
    );
    const ids = messages.map(({ id }) => id).reverse();
    client.send(...ids.map((id) => wire.acknowledge('PUBREC', id)));
    for (const id of ids) assert.equal((await client.next('PUBREL')).id, id);
  });

  conforms(
    { v3: '4.6.0-5 4.6.0-6', v5: '4.6.0-5 4.6.0-6' },
    'each subscriber sees the messages of a client in their order, whatever their QoS',
    async (scene) => {
      const { version } = scene;
      const subscribers: MqttClient[] = [];
      for (const qos of [0, 1, 2]) {
        const subscriber = await scene.connect();
        await subscriber.subscribe(scene.topic(), qos);
        subscribers.push(subscriber);
      }
      const publisher = await scene.connect();
      for (const qos of [0, 1, 2]) {
        const count = 90;
        const sending = (async () => {
          for (let at = 0; at < count; at += 15) {
            for (let index = at; index < at + 15; index++)
              publisher.send(
                wire.publish(version, { topic: scene.topic(), payload: `${index}`, qos, id: index + 1 }),
              );
            if (qos === 1) for (let index = 0; index < 15; index++) await publisher.next('PUBACK');
            if (qos === 2) {
              for (let index = 0; index < 15; index++)
                publisher.send(wire.acknowledge('PUBREL', (await publisher.next('PUBREC')).id));
              for (let index = 0; index < 15; index++) await publisher.next('PUBCOMP');
            }
            if (qos === 0) await publisher.ping();
          }
        })();
        const expected = Array.from({ length: count }, (_, index) => `${index}`);
        const received = subscribers.map((subscriber) => subscriber.receiveTexts(count));
        await sending;
        for (const texts of await Promise.all(received)) assert.deepEqual(texts, expected);
      }
    },
  );

  conforms(
    { v3: '4.6.0-6', v5: '4.6.0-5' },
    'messages that come in one piece keep their order, whatever their form and QoS',
    async (scene) => {
      const { version } = scene;
      const [subscriber, publisher] = [await scene.connect(), await scene.connect()];
      await subscriber.subscribe(scene.topic('+'), 0);
      const properties: readonly wire.Property[] = [[wire.PROPERTY.messageExpiry, 60]];
      const forms = [{}, {}, { retain: true }, {}, { qos: 1 }, {}, { topic: scene.topic('other') }, {}, { properties }, {}]; // prettier-ignore
      const messages = forms.map((form, index) =>
        wire.publish(version, { topic: scene.topic('t'), payload: `${index}`, id: 1, ...form }),
      );
      publisher.send(Buffer.concat(messages));
      await publisher.next('PUBACK');
      assert.deepEqual(
        await subscriber.receiveTexts(forms.length),
        forms.map((_, index) => `${index}`),
      );
    },
  );

  conforms(
    { v3: '4.6.0-6 4.6.0-1', v5: '4.6.0-5' },
    'what is published while a session resumes comes behind what waited for it',
    async (scene) => {
      const { version } = scene;
      const clientId = scene.clientId();
      const { client } = await scene.connectKept(clientId);
      await client.subscribe(scene.topic(), 1);
      const publisher = await scene.connect();
      let sent = 0;
      const publish = async (count: number) => {
        const first = sent;
        for (; sent < first + count; sent++)
          publisher.send(wire.publish(version, { topic: scene.topic(), payload: `${sent}`, qos: 1, id: (sent % 60_000) + 1 })); // prettier-ignore
        for (let index = 0; index < count; index++) await publisher.next('PUBACK');
      };
      await publish(5);
      for (let index = 0; index < 5; index++) await client.next('PUBLISH');
      await client.cut();
      for (let index = 0; index < 9; index++) await publish(10);
      const back = await scene.open();
      const connecting = back.handshake({
        clientId,
        clean: false,
        properties: version === 5 ? [[0x11, 60]] : [],
      });
      const flood = (async () => {
        for (let index = 0; index < 20; index++) await publish(5);
      })();
      await connecting;
      const texts = await back.receiveTexts(195);
      await flood;
      assert.deepEqual(texts, Array.from({ length: 195 }, (_, index) => `${index}`)); // prettier-ignore
    },
  );
});
