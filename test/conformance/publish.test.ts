/** Chapter 3.3 without its flow control: PUBLISH, what it may be and what reaches subscribers. */
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import * as wire from '../support/wire.js';
import { PROPERTY, propertiesOf, propertyOf } from '../support/wire.js';
import { conforms, useBroker } from './conforms.js';

describe('PUBLISH', { concurrency: 8 }, () => {
  useBroker();

  conforms(
    { v3: '3.3.1-2', v5: '3.3.1-2' },
    'DUP with QoS 0 ends the connection, and is never sent',
    async (scene) => {
      await scene.refuses(wire.publish(scene.version, { topic: scene.topic(), dup: true }), 0x81, 0x82);
      const client = await scene.connect();
      await client.subscribe(scene.topic(), 0);
      await client.publish(scene.topic(), 'x', { qos: 1, dup: true });
      assert.equal((await client.receive()).dup, false);
    },
  );

  conforms(
    { v3: '3.3.1-3', v5: '3.3.1-3 4.3.2-2 4.3.3-2' },
    "the publisher's DUP does not reach subscribers",
    async (scene) => {
      const subscriber = await scene.connect();
      await subscriber.subscribe(scene.topic(), 2);
      const publisher = await scene.connect();
      for (const qos of [1, 2]) {
        await publisher.publish(scene.topic(), 'x', { qos, dup: true });
        assert.equal((await subscriber.receive()).dup, false);
      }
      await publisher.publish(scene.topic(), 'kept', { qos: 1, dup: true, retain: true });
      assert.equal((await subscriber.receive()).dup, false);
      const later = await scene.connect();
      await later.subscribe(scene.topic(), 2);
      assert.equal((await later.receive()).dup, false);
    },
  );

  conforms({ v3: '3.3.1-4', v5: '3.3.1-4' }, 'QoS 3 ends the connection', async (scene) => {
    const { version } = scene;
    const topic = scene.topic();
    for (const dup of [false, true])
      for (const retain of [false, true])
        await scene.refuses(wire.publish(version, { topic, qos: 3, dup, retain }), 0x81);
  });

  conforms(
    { v3: '3.3.2-1 4.7.3-1', v5: '3.3.2-1 4.7.3-1' },
    'a PUBLISH without a topic, or cut short, ends the connection',
    async (scene) => {
      const { version } = scene;
      await scene.refuses(wire.publish(version, { topic: '', payload: 'x' }), 0x82, 0x81, 0x90);
      await scene.refuses(Buffer.from('3000', 'hex'), 0x81);
      await scene.refuses(Buffer.from('300100', 'hex'), 0x81);
      await scene.refuses(Buffer.from('30020001', 'hex'), 0x81);
      await scene.refuses(Buffer.from('300400056161', 'hex'), 0x81);
      await scene.refuses(wire.frame(0x32, wire.field(scene.topic())), 0x81);
      await scene.refuses(wire.frame(0x32, wire.field(scene.topic()), wire.u8(1)), 0x81);
    },
  );

  conforms(
    { v3: '3.3.2-2 4.7.1-1', v5: '3.3.2-2 4.7.0-1' },
    'wildcards in a topic name end the connection',
    async (scene) => {
      for (const topic of ['#', '+', 'a/#', 'a/+', '+/a', 'a/+/b', 'a#', 'a+b', '/#'])
        for (const qos of [0, 1, 2]) await scene.refuses(wire.publish(scene.version, { topic, qos }), 0x81, 0x82, 0x90); // prettier-ignore
    },
  );

  conforms(
    { v3: '3.3.2-3', v5: '3.3.2-3' },
    'a subscriber gets the topic as it was published, and it matches its filter',
    async (scene) => {
      const subscriber = await scene.connect();
      await subscriber.subscribe(scene.topic('+/b/#'));
      const publisher = await scene.connect();
      for (const rest of ['a/b', 'a/c', 'b', 'a/b/c/d', 'a/B/c', '/b/']) await publisher.publish(scene.topic(rest)); // prettier-ignore
      for (const rest of ['a/b', 'a/b/c/d', '/b/'])
        assert.equal((await subscriber.receive()).topic, scene.topic(rest));
      await subscriber.quiet();
    },
  );

  conforms(
    { v3: '3.3.4-1 4.3.2-2 4.3.3-2', v5: '3.3.4-1 4.3.2-4 4.3.3-8 4.3.3-11 3.4.2-1 3.5.2-1 3.7.2-1' },
    'each QoS has its answer: none, PUBACK, PUBREC and PUBCOMP',
    async (scene) => {
      const { version } = scene;
      const client = await scene.connect();
      client.send(wire.publish(version, { topic: scene.topic(), qos: 0 }));
      client.send(wire.publish(version, { topic: scene.topic(), qos: 1, id: 10 }));
      client.send(wire.publish(version, { topic: scene.topic(), qos: 2, id: 11 }));
      client.send(wire.acknowledge('PUBREL', 11));
      const ids: number[] = [];
      for (const type of ['PUBACK', 'PUBREC', 'PUBCOMP'] as const) ids.push((await client.next(type)).id);
      assert.deepEqual(ids, [10, 11, 11]);
      await client.quiet();
    },
  );

  conforms(
    { v3: '3.3.4-1', v5: '3.3.4-1' },
    'payloads of any bytes and sizes arrive as they were',
    async (scene) => {
      const client = await scene.connect();
      await client.subscribe(scene.topic(), 2);
      for (const size of [
        0, 1, 117, 118, 119, 120, 127, 128, 16_373, 16_374, 16_384, 65_535, 65_536, 200_000,
      ]) {
        const payload = Buffer.alloc(size, Buffer.from([0, 1, 254, 255, 10, 13]));
        await client.publish(scene.topic(), payload, { qos: size % 3 });
        const message = await client.receive();
        assert.ok(message.payload.equals(payload), `${size}`);
      }
    },
  );

  conforms(
    { v5: '3.3.2-4 3.3.2-15 3.3.2-16 3.3.2-17 3.3.2-18 3.3.2-20' },
    'properties are passed on unaltered and user properties in order, live, queued and retained',
    async (scene) => {
      const properties: readonly wire.Property[] = [
        [PROPERTY.user, ['z', '1']],
        [PROPERTY.payloadFormat, 1],
        [PROPERTY.user, ['10', 'ten']],
        [PROPERTY.contentType, 'text/ö'],
        [PROPERTY.user, ['9', 'nine']],
        [PROPERTY.responseTopic, 'answer/ö'],
        [PROPERTY.user, ['z', '']],
        [PROPERTY.correlationData, Buffer.from([0, 255, 128])],
        [PROPERTY.user, ['', '']],
        [PROPERTY.user, ['__proto__', 'x']],
        [PROPERTY.user, ['z', '1']],
        [PROPERTY.user, ['a', 'x'.repeat(300)]],
      ];
      const users = properties.filter(([identifier]) => identifier === PROPERTY.user).map(([, pair]) => pair);
      const clientId = scene.clientId();
      const { client: absent } = await scene.connectKept(clientId);
      await absent.subscribe(scene.topic(), 2);
      await absent.disconnect();
      const live = await scene.connect();
      await live.subscribe(scene.topic(), 1);
      const publisher = await scene.connect();
      await publisher.publish(scene.topic(), 'x', { qos: 1, retain: true, properties });
      const { client: back } = await scene.connectKept(clientId);
      const later = await scene.connect();
      await later.subscribe(scene.topic(), 0);
      for (const client of [live, back, later]) {
        const message = await client.receive();
        assert.deepEqual(propertiesOf(message, PROPERTY.user), users);
        assert.equal(propertyOf(message, PROPERTY.payloadFormat), 1);
        assert.equal(propertyOf(message, PROPERTY.contentType), 'text/ö');
        assert.equal(propertyOf(message, PROPERTY.responseTopic), 'answer/ö');
        assert.deepEqual(propertyOf(message, PROPERTY.correlationData), Buffer.from([0, 255, 128]));
        assert.equal(message.properties.length, properties.length);
      }
    },
  );

  conforms(
    { v5: '3.3.2-4 3.3.2-16' },
    'payload format 0, an empty content type and empty correlation data are passed on too',
    async (scene) => {
      const client = await scene.connect();
      await client.subscribe(scene.topic());
      const properties: readonly wire.Property[] = [[PROPERTY.payloadFormat, 0], [PROPERTY.contentType, ''], [PROPERTY.correlationData, '']]; // prettier-ignore
      await client.publish(scene.topic(), 'x', { properties });
      const message = await client.receive();
      assert.equal(propertyOf(message, PROPERTY.payloadFormat), 0);
      assert.equal(propertyOf(message, PROPERTY.contentType), '');
      assert.deepEqual(propertyOf(message, PROPERTY.correlationData), Buffer.alloc(0));
    },
  );

  conforms(
    { v5: '3.3.4-6 3.3.2-14 3.3.2-8 4.13.1-1' },
    'properties out of range, repeated or of another packet end the connection',
    async (scene) => {
      const topic = scene.topic();
      const refuse = async (codes: readonly number[], ...properties: wire.Property[]) => {
        try {
          await scene.refuses(wire.publish(5, { topic, payload: 'x', properties }), ...codes);
        } catch (fault) {
          throw new Error(`properties ${JSON.stringify(properties)}`, { cause: fault });
        }
      };
      await refuse([0x81, 0x82], [PROPERTY.payloadFormat, 2]);
      await refuse([0x81, 0x82], [PROPERTY.payloadFormat, 1], [PROPERTY.payloadFormat, 1]);
      await refuse([0x81, 0x82], [PROPERTY.payloadFormat, 0], [PROPERTY.payloadFormat, 0]);
      await refuse([0x81, 0x82], [PROPERTY.messageExpiry, 1], [PROPERTY.messageExpiry, 1]);
      await refuse([0x94, 0x82, 0x81], [PROPERTY.topicAlias, 0]);
      await refuse([0x81, 0x82, 0x94], [PROPERTY.topicAlias, 1], [PROPERTY.topicAlias, 1]);
      await refuse([0x81, 0x82], [PROPERTY.responseTopic, 'a'], [PROPERTY.responseTopic, 'a']);
      await refuse([0x81, 0x82, 0x90], [PROPERTY.responseTopic, 'a/#']);
      await refuse([0x81, 0x82, 0x90], [PROPERTY.responseTopic, '+']);
      await refuse([0x81, 0x82, 0x90], [PROPERTY.responseTopic, '']);
      await refuse([0x81, 0x82], [PROPERTY.correlationData, 'a'], [PROPERTY.correlationData, 'a']);
      await refuse([0x81, 0x82], [PROPERTY.contentType, ''], [PROPERTY.contentType, '']);
      await refuse([0x81, 0x82], [PROPERTY.subscriptionIdentifier, 1]);
      await refuse([0x81, 0x82], [PROPERTY.subscriptionIdentifier, 0]);
      const foreign: readonly wire.Property[] = [
        [PROPERTY.sessionExpiry, 1], [PROPERTY.assignedClientIdentifier, 'a'], [PROPERTY.serverKeepAlive, 1],
        [PROPERTY.authenticationMethod, 'a'], [PROPERTY.authenticationData, 'a'], [PROPERTY.requestProblemInformation, 1],
        [PROPERTY.willDelay, 1], [PROPERTY.requestResponseInformation, 1], [PROPERTY.responseInformation, 'a'],
        [PROPERTY.serverReference, 'a'], [PROPERTY.reasonString, 'a'], [PROPERTY.receiveMaximum, 1],
        [PROPERTY.topicAliasMaximum, 1], [PROPERTY.maximumQoS, 1], [PROPERTY.retainAvailable, 1],
        [PROPERTY.maximumPacketSize, 99], [PROPERTY.wildcardAvailable, 1], [PROPERTY.identifiersAvailable, 1],
        [PROPERTY.sharedAvailable, 1], [0x00, 1], [0x04, 1], [0x7f, 1],
      ]; // prettier-ignore
      for (const property of foreign) await refuse([0x81, 0x82], property);
    },
  );

  conforms(
    { v5: '4.13.1-1 2.2.2-1' },
    'a property block that overruns its packet, or a value that overruns the block, is malformed',
    async (scene) => {
      const topic = wire.field(scene.topic());
      for (const hex of [
        '05',
        '7f',
        '0102',
        '020200',
        '050200000000'.slice(0, 10),
        '0203ff',
        '0426000161',
        '0226',
        '80',
        'ffffff7f',
      ])
        // prettier-ignore
        await scene.refuses(wire.frame(0x30, topic, Buffer.from(hex, 'hex')), 0x81);
      // The next packet's bytes must not be taken for the missing ones.
      const short = wire.frame(0x30, topic, Buffer.from('05', 'hex'));
      await scene.refuses(Buffer.concat([short, wire.PINGREQ, wire.PINGREQ, wire.PINGREQ]), 0x81);
    },
  );

  conforms(
    { v5: '3.3.2-12 3.3.2-7 3.2.2-17' },
    'topic aliases stand for the topic last sent with them, until the connection ends',
    async (scene) => {
      const { client, connack } = await scene.connectTold();
      const maximum = propertyOf(connack, PROPERTY.topicAliasMaximum);
      assert.ok(typeof maximum === 'number' && maximum > 0);
      const subscriber = await scene.connect();
      await subscriber.subscribe(scene.topic('#'), 2);
      const alias = (value: number): readonly wire.Property[] => [[PROPERTY.topicAlias, value]];
      for (const value of [1, maximum]) {
        await client.publish(scene.topic('first'), '1', { properties: alias(value) });
        await client.publish('', '2', { properties: alias(value), qos: 1 });
        await client.publish(scene.topic('second'), '3', { properties: alias(value) });
        await client.publish('', '4', { properties: alias(value), qos: 2 });
        for (const rest of ['first', 'first', 'second', 'second']) {
          const message = await subscriber.receive();
          assert.equal(message.topic, scene.topic(rest));
          assert.equal(propertyOf(message, PROPERTY.topicAlias), undefined);
        }
      }
      const other = await scene.connect();
      other.send(wire.publish(5, { topic: '', properties: alias(1) }));
      await other.expectClosed(0x82, 0x94, 0x81);
    },
  );

  conforms(
    { v5: '3.2.2-17 3.2.2-18 3.3.2-9 3.3.2-8' },
    'a topic alias past the maximum, or 0, ends the connection',
    async (scene) => {
      const { connack } = await scene.connectTold();
      const maximum = propertyOf(connack, PROPERTY.topicAliasMaximum);
      const past = typeof maximum === 'number' ? maximum + 1 : 1;
      for (const value of [0, past, 65_535]) {
        const properties: readonly wire.Property[] = [[PROPERTY.topicAlias, value]];
        await scene.refuses(
          wire.publish(5, { topic: scene.topic(), properties }),
          0x94,
          ...(value === 0 ? [0x81, 0x82] : []),
        );
      }
    },
  );

  conforms({ v5: '3.3.2-7' }, 'a resumed session has lost its aliases', async (scene) => {
    const clientId = scene.clientId();
    const properties: readonly wire.Property[] = [[PROPERTY.topicAlias, 1]];
    const { client } = await scene.connectKept(clientId);
    await client.publish(scene.topic(), 'x', { properties });
    await client.disconnect();
    const { client: back } = await scene.connectKept(clientId);
    back.send(wire.publish(5, { topic: '', properties }));
    await back.expectClosed(0x82, 0x94, 0x81);
  });

  conforms(
    { v5: '3.1.2-26 3.1.2-27 3.3.2-11' },
    'aliases towards a subscriber stay within its maximum and stand for the right topics',
    async (scene) => {
      for (const maximum of [undefined, 0, 1, 2, 5]) {
        const properties: readonly wire.Property[] = maximum === undefined ? [] : [[PROPERTY.topicAliasMaximum, maximum]]; // prettier-ignore
        const subscriber = await scene.connect({ properties });
        await subscriber.subscribe(scene.topic('#'), 1);
        const publisher = await scene.connect();
        const aliases = new Map<number, string>();
        for (let index = 0; index < 24; index++) {
          const topic = scene.topic(`${'long/'.repeat(10)}${index % 4}`);
          await publisher.publish(topic, `${index}`, { qos: index % 2 });
          const message = await subscriber.receive();
          const alias = propertyOf(message, PROPERTY.topicAlias);
          if (typeof alias === 'number') {
            assert.ok(alias >= 1 && alias <= (maximum ?? 0), `alias ${alias} of ${maximum}`);
            if (message.topic !== '') aliases.set(alias, message.topic);
          }
          assert.equal(typeof alias === 'number' ? aliases.get(alias) : message.topic, topic);
          assert.equal(message.payload.toString(), `${index}`);
        }
        // Where a client takes aliases, long topics are not sent again and again.
        const bare = subscriber.history.filter(({ type, topic }) => type === 'PUBLISH' && topic === '');
        if ((maximum ?? 0) >= 4) assert.ok(bare.length >= 6, `${bare.length} topics spared`);
      }
    },
  );

  conforms(
    { v5: '3.1.2-26' },
    'aliases towards a subscriber begin anew with its connection, also for what is sent again',
    async (scene) => {
      const clientId = scene.clientId();
      const properties: readonly wire.Property[] = [[PROPERTY.topicAliasMaximum, 4]];
      const { client } = await scene.connectKept(clientId, { properties });
      await client.subscribe(scene.topic('#'), 1);
      const publisher = await scene.connect();
      for (let index = 0; index < 6; index++)
        await publisher.publish(scene.topic('same'), `${index}`, { qos: 1 });
      for (let index = 0; index < 3; index++) await client.next('PUBLISH');
      await client.cut();
      const { client: back } = await scene.connectKept(clientId, { properties });
      let known = '';
      for (let index = 0; index < 6; index++) {
        const message = await back.receive();
        if (message.topic !== '') known = message.topic;
        assert.equal(known, scene.topic('same'));
        assert.equal(message.payload.toString(), `${index}`);
      }
    },
  );

  conforms(
    { v5: '3.3.2-17 3.3.2-18' },
    'tens of thousands of user properties are passed on, all and in order',
    async (scene) => {
      const client = await scene.connect();
      await client.subscribe(scene.topic(), 1);
      const properties = Array.from({ length: 20_000 }, (_, index): wire.Property => [PROPERTY.user, [`${index % 7}`, `${index}`]]); // prettier-ignore
      await client.publish(scene.topic(), 'x', { qos: 1, properties });
      const message = await client.receive();
      assert.deepEqual(message.properties, properties);
      await client.subscribeAll(
        Array.from({ length: 5000 }, (_, index): wire.Filter => [scene.topic(`m/${index}`), 1]),
      );
      await client.publish(scene.topic('m/4999'), 'y', { qos: 1 });
      assert.equal((await client.receive()).payload.toString(), 'y');
    },
  );
});
