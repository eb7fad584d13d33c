/** Chapters 3.8 to 3.11: SUBSCRIBE, UNSUBSCRIBE and their answers. */
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import * as wire from '../support/wire.js';
import { PROPERTY, propertiesOf } from '../support/wire.js';
import { conforms, useBroker } from './conforms.js';

const NO_LOCAL = 4;
const identified = (identifier: number): readonly wire.Property[] => [[PROPERTY.subscriptionIdentifier, identifier]]; // prettier-ignore
const WRONG_FILTERS = ['a#', 'a/#/b', '#/a', 'a+', '+a', 'a/+b/c', 'a/b+', '##', '++', 'a/##', '#+', ''];

describe('SUBSCRIBE and UNSUBSCRIBE', { concurrency: 8 }, () => {
  useBroker();

  conforms(
    { v3: '3.8.3-3', v5: '3.8.3-2' },
    'SUBSCRIBE without a filter, or cut short, ends the connection',
    async (scene) => {
      const { version } = scene;
      const head = version === 5 ? wire.u8(0, 1, 0) : wire.u8(0, 1);
      await scene.refuses(wire.frame(0x82, head), 0x81, 0x82);
      await scene.refuses(wire.frame(0x82), 0x81);
      await scene.refuses(wire.frame(0x82, wire.u8(0)), 0x81);
      await scene.refuses(wire.frame(0x82, head, wire.field('a')), 0x81);
      await scene.refuses(wire.frame(0x82, head, wire.u8(0, 5, 97)), 0x81);
      await scene.refuses(wire.frame(0x82, head, wire.field('a'), wire.u8(0, 0)), 0x81);
    },
  );

  conforms(
    { v3: '3.10.3-2', v5: '3.10.3-2' },
    'UNSUBSCRIBE without a filter, or cut short, ends the connection',
    async (scene) => {
      const head = scene.version === 5 ? wire.u8(0, 1, 0) : wire.u8(0, 1);
      await scene.refuses(wire.frame(0xa2, head), 0x81, 0x82);
      await scene.refuses(wire.frame(0xa2), 0x81);
      await scene.refuses(wire.frame(0xa2, wire.u8(0)), 0x81);
      await scene.refuses(wire.frame(0xa2, head, wire.u8(0, 5, 97)), 0x81);
      await scene.refuses(wire.frame(0xa2, head, wire.field('a'), wire.u8(0)), 0x81);
    },
  );

  conforms(
    { v3: '3.8.3-4', v5: '3.8.3-5 4.13.1-1' },
    'reserved bits and values of the options byte end the connection',
    async (scene) => {
      const wrong = scene.version === 4 ? [3, 4, 8, 16, 32, 64, 128, 0xff, 0x81] : [3, 7, 0x30, 0x31, 64, 128, 0xc0, 0x41]; // prettier-ignore
      for (const options of wrong)
        await scene.refuses(wire.subscribe(scene.version, 1, [[scene.topic(), options]]), 0x81, 0x82);
      await scene.refuses(wire.subscribe(scene.version, 1, [[scene.topic(), 0], [scene.topic(), 3]]), 0x81, 0x82); // prettier-ignore
    },
  );

  conforms(
    { v3: '4.7.1-2 4.7.1-3 4.7.3-1', v5: '4.7.1-1 4.7.1-2 4.7.3-1' },
    'filters with misplaced wildcards, and empty ones, are not served',
    async (scene) => {
      for (const filter of WRONG_FILTERS) {
        const client = await scene.connect();
        client.send(wire.subscribe(scene.version, 1, [[filter, 0]]));
        const answer = await client.any();
        if (answer?.type === 'SUBACK') assert.ok((answer.codes[0] ?? 0) >= 0x80, filter);
        else await client.closed();
        await scene.refuses(wire.unsubscribe(scene.version, 1, ['']), 0x81, 0x82, 0x8f);
      }
    },
  );

  conforms(
    { v3: '3.8.4-5 3.9.3-1 3.9.3-2 3.8.4-1', v5: '3.8.4-6 3.8.4-7 3.9.3-1 3.9.3-2 3.8.4-1' },
    'SUBACK has a code for each filter in its order: the granted QoS',
    async (scene) => {
      const client = await scene.connect();
      const asked = [2, 0, 1, 1, 0, 2, 2];
      const filters = asked.map((qos, index): wire.Filter => [scene.topic(`${index}/+/#`), qos]);
      assert.deepEqual((await client.subscribeAll(filters)).codes, asked);
      const many = Array.from({ length: 200 }, (_, index): wire.Filter => [
        scene.topic(`m${index}`),
        index % 3,
      ]);
      const { codes } = await client.subscribeAll(many);
      assert.deepEqual(codes, many.map(([, qos]) => qos)); // prettier-ignore
    },
  );

  conforms(
    { v3: '3.8.4-4', v5: '3.8.4-5' },
    'several filters act as several SUBSCRIBEs: the last of two equal ones stands',
    async (scene) => {
      const client = await scene.connect();
      const publisher = await scene.connect();
      await publisher.publish(scene.topic(), 'kept', { qos: 2, retain: true });
      const suback = await client.subscribeAll([[scene.topic(), 2], [scene.topic('b'), 1], [scene.topic(), 0]]); // prettier-ignore
      assert.deepEqual(suback.codes, [2, 1, 0]);
      const retained = [await client.receive(), await client.receive()];
      assert.deepEqual(retained.map(({ qos }) => qos), [2, 0]); // prettier-ignore
      await publisher.publish(scene.topic(), 'live', { qos: 2 });
      assert.equal((await client.receive()).qos, 0);
      await client.quiet();
    },
  );

  conforms(
    { v3: '3.8.4-6', v5: '3.8.4-8' },
    'messages come with the lower of published and granted QoS, live and retained',
    async (scene) => {
      const publisher = await scene.connect();
      for (const granted of [0, 1, 2]) {
        for (const published of [0, 1, 2]) {
          const topic = scene.topic(`${granted}${published}`);
          const client = await scene.connect();
          await client.subscribe(topic, granted);
          await publisher.publish(topic, 'live', { qos: published });
          assert.equal((await client.receive()).qos, Math.min(granted, published));
          await publisher.publish(topic, 'kept', { qos: published, retain: true });
          assert.equal((await client.receive()).qos, Math.min(granted, published));
          const later = await scene.connect();
          await later.subscribe(topic, granted);
          assert.equal((await later.receive()).qos, Math.min(granted, published));
        }
      }
    },
  );

  conforms({ v3: '3.8.3-2', v5: '3.2.2-10' }, 'filters with wildcards are served', async (scene) => {
    const client = await scene.connect();
    await client.subscribe(scene.topic('+/x/#'), 1);
    await client.publish(scene.topic('a/x'), '', { qos: 1 });
    assert.equal((await client.receive()).topic, scene.topic('a/x'));
  });

  conforms(
    { v3: '3.8.4-3', v5: '3.8.4-3 3.8.4-4' },
    'an equal filter replaces the subscription, and no message is lost meanwhile',
    async (scene) => {
      const client = await scene.connect();
      await client.subscribe(scene.topic(), 2);
      const publisher = await scene.connect();
      await publisher.publish(scene.topic(), 'one', { qos: 2 });
      assert.equal((await client.receive()).qos, 2);
      assert.deepEqual(await client.subscribe(scene.topic(), 1), [1]);
      await publisher.publish(scene.topic(), 'two', { qos: 2 });
      const second = await client.receive();
      assert.deepEqual([second.qos, second.payload.toString()], [1, 'two']);
      await client.quiet();
      const messages = Array.from({ length: 100 }, (_, index) =>
        wire.publish(scene.version, { topic: scene.topic(), payload: `${index}`, qos: 1, id: index + 1 }),
      );
      for (let index = 0; index < 100; index++) {
        publisher.send(messages[index] ?? wire.PINGREQ);
        if (index % 10 === 0) client.send(wire.subscribe(scene.version, 1000 + index, [[scene.topic(), 1]]));
      }
      const got: string[] = [];
      while (got.length < 100) {
        const packet = await client.any();
        if (packet?.type !== 'PUBLISH') continue;
        client.send(wire.acknowledge('PUBACK', packet.id));
        got.push(packet.payload.toString());
      }
      assert.deepEqual(got, Array.from({ length: 100 }, (_, index) => `${index}`)); // prettier-ignore
    },
  );

  conforms(
    { v3: '3.3.5-1', v5: '3.3.4-2 3.3.4-3 3.3.4-4 3.3.4-5' },
    'overlapping subscriptions deliver with the highest granted QoS and every identifier',
    async (scene) => {
      const { version } = scene;
      const clientId = scene.clientId();
      const { client } = await scene.connectKept(clientId);
      const filters: readonly (readonly [string, number, number])[] = [['#', 0, 1], ['+', 2, 2], ['a', 1, 3], ['b', 2, 4]]; // prettier-ignore
      for (const [rest, qos, identifier] of filters)
        await client.subscribe(scene.topic(rest), qos, version === 5 ? identified(identifier) : undefined);
      await client.subscribe(scene.topic('a/#'), 1);
      const publisher = await scene.connect();
      const check = async (receiver: typeof client) => {
        const copies = [await receiver.receive()];
        await receiver.ping();
        while (receiver.history.filter(({ type }) => type === 'PUBLISH').length > copies.length)
          copies.push(await receiver.receive());
        assert.equal(Math.max(...copies.map(({ qos }) => qos)), 2);
        const identifiers = copies.flatMap((copy) => propertiesOf(copy, PROPERTY.subscriptionIdentifier));
        if (version === 5) assert.deepEqual(identifiers.sort(), [1, 2, 3]);
        if (copies.length > 1) for (const copy of copies) assert.ok(copy.properties.length <= 1);
      };
      await publisher.publish(scene.topic('a'), 'live', { qos: 2 });
      await check(client);
      await client.disconnect();
      await publisher.publish(scene.topic('a'), 'queued', { qos: 2 });
      const { client: back } = await scene.connectKept(clientId);
      await check(back);
    },
  );

  conforms(
    { v5: '3.3.4-3 3.8.4-3' },
    'identifiers are replaced with their subscription, and live as long as it',
    async (scene) => {
      const clientId = scene.clientId();
      const { client } = await scene.connectKept(clientId);
      const publisher = await scene.connect();
      const identifiersOf = async (receiver: typeof client) => {
        await publisher.publish(scene.topic(), 'x', { qos: 1 });
        return propertiesOf(await receiver.receive(), PROPERTY.subscriptionIdentifier);
      };
      for (const identifier of [1, 127, 128, 16_384, 2_097_152, 268_435_455]) {
        await client.subscribe(scene.topic(), 1, identified(identifier));
        assert.deepEqual(await identifiersOf(client), [identifier]);
      }
      await client.disconnect();
      const { client: back } = await scene.connectKept(clientId);
      assert.deepEqual(await identifiersOf(back), [268_435_455]);
      await back.subscribe(scene.topic(), 1);
      assert.deepEqual(await identifiersOf(back), []);
      await back.subscribeAll([[scene.topic('x'), 1], [scene.topic(), 1]], identified(7)); // prettier-ignore
      assert.deepEqual(await identifiersOf(back), [7]);
      await back.unsubscribe(scene.topic());
      await back.subscribe(scene.topic(), 1);
      assert.deepEqual(await identifiersOf(back), []);
    },
  );

  conforms(
    { v5: '3.8.3-3' },
    'No Local keeps a client from its own messages only, also over its next connection',
    async (scene) => {
      const clientId = scene.clientId();
      const { client } = await scene.connectKept(clientId);
      const other = await scene.connect();
      await client.subscribe(scene.topic(), 1 | NO_LOCAL);
      await client.publish(scene.topic(), 'own', { qos: 1 });
      await other.publish(scene.topic(), 'other', { qos: 1 });
      assert.equal((await client.receive()).payload.toString(), 'other');
      await client.quiet();
      await client.disconnect();
      const { client: back } = await scene.connectKept(clientId);
      await back.publish(scene.topic(), 'own', { qos: 1 });
      await back.quiet();
      await back.subscribe(scene.topic(), 1);
      await back.publish(scene.topic(), 'own', { qos: 1 });
      await back.receive();
      await back.subscribe(scene.topic(), 1 | NO_LOCAL);
      await back.publish(scene.topic(), 'own', { qos: 1 });
      await back.quiet();
    },
  );

  conforms(
    { v5: '3.8.3-3' },
    'No Local keeps a client from what it published at QoS 0 itself, once for each filter without it',
    async (scene) => {
      const [client, other] = [await scene.connect(), await scene.connect()];
      await client.subscribe(scene.topic(), NO_LOCAL);
      await other.subscribe(scene.topic(), 0);
      const texts = ['1', '2', '3'];
      const publishAll = (): void => {
        for (const payload of texts) client.send(wire.publish(5, { topic: scene.topic(), payload }));
      };
      publishAll();
      await client.quiet();
      await client.subscribe(scene.topic('+'), 0);
      publishAll();
      for (const payload of texts) assert.equal((await client.receive()).payload.toString(), payload);
      await client.quiet();
      for (const payload of [...texts, ...texts])
        assert.equal((await other.receive()).payload.toString(), payload);
    },
  );

  conforms(
    { v5: '3.8.3-3' },
    'No Local keeps a client from what it has retained itself, not from what another has',
    async (scene) => {
      const [client, other] = [await scene.connect(), await scene.connect()];
      await client.publish(scene.topic('own'), 'own', { qos: 1, retain: true });
      await other.publish(scene.topic('other'), 'other', { qos: 1, retain: true });
      await client.subscribe(scene.topic('+'), 1 | NO_LOCAL);
      assert.equal((await client.receive()).payload.toString(), 'other');
      await client.quiet();
    },
  );

  conforms(
    { v5: '3.8.3-3' },
    'No Local keeps a client from the will that it left itself, whatever its QoS',
    async (scene) => {
      const watcher = await scene.connect();
      await watcher.subscribe(scene.topic('#'), 2);
      for (const qos of [0, 1, 2]) {
        const clientId = scene.clientId();
        const topic = scene.topic(clientId);
        const { client } = await scene.connectKept(clientId, { will: { topic, payload: 'own', qos } });
        await client.subscribe(topic, 2 | NO_LOCAL);
        await client.cut();
        assert.equal((await watcher.receive()).topic, topic);
        const { client: back } = await scene.connectKept(clientId);
        await back.quiet();
      }
    },
  );

  conforms(
    { v5: '3.8.3-3' },
    'with overlapping filters a client gets its own message through the one without No Local',
    async (scene) => {
      const client = await scene.connect();
      await client.subscribe(scene.topic(), 2 | NO_LOCAL, identified(1));
      await client.subscribe(scene.topic('+'), 1, identified(2));
      await client.publish(scene.topic(), 'own', { qos: 2 });
      const message = await client.receive();
      assert.deepEqual(propertiesOf(message, PROPERTY.subscriptionIdentifier), [2]);
      assert.equal(message.qos, 1);
      await client.quiet();
    },
  );

  conforms(
    { v5: '4.13.1-1' },
    'properties of SUBSCRIBE and UNSUBSCRIBE out of range, repeated or of another packet end the connection',
    async (scene) => {
      const wrong: readonly (readonly wire.Property[])[] = [
        [[PROPERTY.subscriptionIdentifier, 0]],
        [[PROPERTY.subscriptionIdentifier, 1], [PROPERTY.subscriptionIdentifier, 2]],
        [[PROPERTY.subscriptionIdentifier, 1], [PROPERTY.subscriptionIdentifier, 1]],
        [[PROPERTY.reasonString, 'a']],
        [[PROPERTY.topicAlias, 1]],
        [[PROPERTY.messageExpiry, 1]],
        [[0x7e, 1]],
      ]; // prettier-ignore
      for (const properties of wrong) {
        await scene.refuses(wire.subscribe(5, 1, [[scene.topic(), 0]], properties), 0x81, 0x82);
        await scene.refuses(wire.unsubscribe(5, 1, [scene.topic()], properties), 0x81, 0x82);
      }
      await scene.refuses(wire.unsubscribe(5, 1, [scene.topic()], identified(1)), 0x81, 0x82);
      const client = await scene.connect();
      const users: readonly wire.Property[] = [[PROPERTY.user, ['a', 'b']], [PROPERTY.user, ['a', 'b']]]; // prettier-ignore
      await client.subscribe(scene.topic(), 0, users);
      client.send(wire.unsubscribe(5, 99, [scene.topic()], users));
      await client.next('UNSUBACK');
    },
  );

  conforms(
    { v3: '3.10.4-1 3.10.4-2 3.10.4-4 3.10.4-5', v5: '3.10.4-1 3.10.4-2 3.10.4-4 3.10.4-5 3.11.3-2' },
    'UNSUBSCRIBE deletes the filter that is equal character by character, and is always answered',
    async (scene) => {
      const client = await scene.connect();
      await client.subscribe(scene.topic('+'), 1);
      await client.subscribe(scene.topic('a/#'), 1);
      const publisher = await scene.connect();
      for (const filter of ['a', '#', 'A/#', 'a/+', 'a/# ', 'a/#/']) {
        const isLegal = filter !== 'a/# ' && filter !== 'a/#/';
        if (!isLegal) continue;
        const { codes } = await client.unsubscribe(scene.topic(filter));
        if (scene.version === 5) assert.deepEqual(codes, [0x11]);
      }
      await publisher.publish(scene.topic('x'), 'still', { qos: 1 });
      await publisher.publish(scene.topic('a/x'), 'here', { qos: 1 });
      assert.deepEqual(await client.receiveTexts(2), ['still', 'here']);
      const { codes } = await client.unsubscribe(scene.topic('+'));
      if (scene.version === 5) assert.deepEqual(codes, [0]);
      await publisher.publish(scene.topic('x'), 'gone', { qos: 1 });
      await publisher.publish(scene.topic('a/x'), 'here', { qos: 1 });
      assert.deepEqual(await client.receiveTexts(1), ['here']);
      await client.quiet();
    },
  );

  conforms(
    { v3: '3.10.4-6', v5: '3.10.4-6 3.11.3-1' },
    'several filters in UNSUBSCRIBE are taken in turn and answered once',
    async (scene) => {
      const client = await scene.connect();
      await client.subscribeAll(['a', 'b', 'c'].map((rest): wire.Filter => [scene.topic(rest), 1]));
      const asked = ['b', 'none', 'a', 'b'].map((rest) => scene.topic(rest));
      const { codes } = await client.unsubscribe(...asked);
      assert.deepEqual(codes, scene.version === 5 ? [0, 0x11, 0, 0x11] : []);
      const publisher = await scene.connect();
      for (const rest of ['a', 'b', 'c']) await publisher.publish(scene.topic(rest), rest, { qos: 1 });
      assert.deepEqual(await client.receiveTexts(1), ['c']);
      await client.quiet();
    },
  );

  conforms(
    { v3: '3.10.4-3', v5: '3.10.4-3' },
    'deliveries begun before UNSUBSCRIBE are completed, over a resumption too',
    async (scene) => {
      const clientId = scene.clientId();
      const { client } = await scene.connectKept(clientId);
      await client.subscribe(scene.topic(), 2);
      const publisher = await scene.connect();
      await publisher.publish(scene.topic(), 'one', { qos: 1 });
      await publisher.publish(scene.topic(), 'two', { qos: 2 });
      const one = await client.next('PUBLISH');
      const two = await client.next('PUBLISH');
      await client.unsubscribe(scene.topic());
      await publisher.publish(scene.topic(), 'three', { qos: 2 });
      client.send(wire.acknowledge('PUBREC', two.id));
      assert.equal((await client.next('PUBREL')).id, two.id);
      await client.cut();
      const { client: back } = await scene.connectKept(clientId);
      const packets = [await back.any(), await back.any()].map((packet) => `${packet?.type} ${packet?.id}`);
      assert.deepEqual(packets.sort(), [`PUBLISH ${one.id}`, `PUBREL ${two.id}`]);
      back.send(wire.acknowledge('PUBACK', one.id), wire.acknowledge('PUBCOMP', two.id));
      await back.quiet();
    },
  );

  conforms(
    { v5: '3.9.2-1 3.9.2-2 3.11.2-1 3.11.2-2 3.4.2-2 3.4.2-3 3.5.2-2 3.5.2-3 3.6.2-2 3.6.2-3 3.7.2-2 3.7.2-3 3.14.2-3 3.14.2-4 3.1.2-24' }, // prettier-ignore
    'no answer exceeds the maximum packet size, whatever it has to explain',
    async (scene) => {
      for (const size of [40, 41, 45, 60]) {
        const properties: readonly wire.Property[] = [[PROPERTY.maximumPacketSize, size], [PROPERTY.requestProblemInformation, 1]]; // prettier-ignore
        const client = await scene.connect({ clientId: scene.clientId(), properties });
        client.send(
          wire.subscribe(5, 1, [[scene.topic(), 2], [`$share/g/${scene.topic()}`, 1]]),
          wire.subscribe(5, 8, Array.from({ length: 70 }, (_, index) => [scene.topic(`${index}`), 0] as const)),
          wire.unsubscribe(5, 2, [scene.topic('none')]),
          wire.publish(5, { topic: scene.topic('nobody'), qos: 1, id: 3 }),
          wire.publish(5, { topic: scene.topic('nobody'), qos: 2, id: 4 }),
          wire.acknowledge('PUBREL', 4),
          wire.acknowledge('PUBREL', 5),
          wire.acknowledge('PUBREC', 6),
          wire.acknowledge('PUBREC', 7, 0x80),
        ); // prettier-ignore
        if (!client.isClosed) await client.ping();
        client.send(wire.publish(5, { topic: '#' }));
        await client.closed();
        for (const { type, bytes } of client.history)
          assert.ok(bytes.length <= size, `${type} of ${bytes.length}`);
      }
    },
  );
});
