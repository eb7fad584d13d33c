/** Retained messages, and the subscription options that concern them. */
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import * as wire from '../support/wire.js';
import { PROPERTY, propertiesOf } from '../support/wire.js';
import { conforms, useBroker } from './conforms.js';

const HANDLING = { always: 0, ifNew: 16, never: 32 };
const AS_PUBLISHED = 8;

describe('retained messages', { concurrency: 8 }, () => {
  useBroker();

  conforms(
    { v3: '3.3.1-5 3.3.1-6 3.3.1-8', v5: '3.3.1-5 3.3.1-9' },
    'the last retained message of each matching topic comes with a new subscription, RETAIN 1, QoS kept',
    async (scene) => {
      const publisher = await scene.connect();
      for (const qos of [0, 1, 2]) {
        await publisher.publish(scene.topic(`q${qos}`), 'old', { qos: 2, retain: true });
        await publisher.publish(scene.topic(`q${qos}`), `new${qos}`, { qos, retain: true });
      }
      const subscriber = await scene.connect();
      await subscriber.subscribe(scene.topic('+'), 2);
      const messages = [await subscriber.receive(), await subscriber.receive(), await subscriber.receive()];
      messages.sort((a, b) => a.topic.localeCompare(b.topic));
      assert.deepEqual(
        messages.map(({ topic, payload, qos, retain, dup }) => [topic, payload.toString(), qos, retain, dup]),
        [0, 1, 2].map((qos) => [scene.topic(`q${qos}`), `new${qos}`, qos, true, false]),
      );
      await subscriber.quiet();
      const lower = await scene.connect();
      await lower.subscribe(scene.topic('q2'), 1);
      assert.equal((await lower.receive()).qos, 1);
    },
  );

  conforms(
    { v3: '3.3.1-7', v5: '3.3.1-5' },
    'a retained message of QoS 0 takes the place of one of QoS 2',
    async (scene) => {
      const publisher = await scene.connect();
      await publisher.publish(scene.topic(), 'two', { qos: 2, retain: true });
      await publisher.publish(scene.topic(), 'zero', { qos: 0, retain: true });
      const subscriber = await scene.connect();
      await subscriber.subscribe(scene.topic(), 2);
      assert.equal((await subscriber.receive()).payload.toString(), 'zero');
      await subscriber.quiet();
    },
  );

  conforms(
    { v3: '3.3.1-9', v5: '3.3.1-12' },
    'an established subscription gets it with RETAIN 0, at once or queued',
    async (scene) => {
      const clientId = scene.clientId();
      const { client: absent } = await scene.connectKept(clientId);
      await absent.subscribe(scene.topic(), 1);
      await absent.disconnect();
      const live = await scene.connect();
      await live.subscribe(scene.topic(), 1);
      await (await scene.connect()).publish(scene.topic(), 'x', { qos: 1, retain: true });
      const { client: back } = await scene.connectKept(clientId);
      assert.equal((await live.receive()).retain, false);
      assert.equal((await back.receive()).retain, false);
      await back.quiet();
    },
  );

  conforms(
    { v3: '3.3.1-10 3.3.1-11', v5: '3.3.1-6 3.3.1-7' },
    'an empty retained message is delivered, removes what was retained and is not retained itself',
    async (scene) => {
      const publisher = await scene.connect();
      const live = await scene.connect();
      await live.subscribe(scene.topic(), 1);
      for (const qos of [0, 1, 2]) {
        await publisher.publish(scene.topic(), 'x', { qos: 1, retain: true });
        await publisher.publish(scene.topic(), '', { qos, retain: true });
        assert.deepEqual(await live.receiveTexts(2), ['x', '']);
        const later = await scene.connect();
        await later.subscribe(scene.topic(), 1);
        await later.quiet();
      }
    },
  );

  conforms(
    { v3: '3.3.1-12', v5: '3.3.1-8' },
    'a message without RETAIN neither is retained nor touches what is, empty or not',
    async (scene) => {
      const publisher = await scene.connect();
      await publisher.publish(scene.topic(), 'kept', { qos: 1, retain: true });
      await publisher.publish(scene.topic(), 'passing', { qos: 1 });
      await publisher.publish(scene.topic(), '', { qos: 1 });
      await publisher.publish(scene.topic('b'), 'passing', { qos: 1 });
      const later = await scene.connect();
      await later.subscribe(scene.topic('#'), 1);
      assert.equal((await later.receive()).payload.toString(), 'kept');
      await later.quiet();
    },
  );

  conforms(
    { v3: '3.3.1-6 4.7.1-3 4.7.1-2', v5: '3.3.1-9 4.7.1-1 4.7.1-2' },
    'filters find retained messages as they find live ones, empty levels and parents included',
    async (scene) => {
      const publisher = await scene.connect();
      const rests = ['a', 'a/', 'a/b', '/a', '//', 'a/b/c', 'b'];
      for (const rest of rests) await publisher.publish(scene.topic(rest), rest, { qos: 1, retain: true });
      const expected: Readonly<Record<string, readonly string[]>> = {
        'a/+': ['a/', 'a/b'],
        '+/+': ['a/', 'a/b', '/a'],
        '+': ['a', 'b'],
        'a/#': ['a', 'a/', 'a/b', 'a/b/c'],
        '+/+/+': ['//', 'a/b/c'],
        '/+': ['/a'],
        '#': rests,
        '+/b/#': ['a/b', 'a/b/c'],
        '/#': ['/a', '//'],
      };
      for (const [filter, matches] of Object.entries(expected)) {
        const subscriber = await scene.connect();
        await subscriber.subscribe(scene.topic(filter), 1);
        const texts = await subscriber.receiveTexts(matches.length);
        assert.deepEqual(texts.sort(), [...matches].sort(), filter);
        await subscriber.quiet();
      }
    },
  );

  conforms(
    { v3: '3.8.4-3', v5: '3.3.1-9 3.8.4-4' },
    'subscribing again brings retained messages again',
    async (scene) => {
      await (await scene.connect()).publish(scene.topic(), 'x', { qos: 1, retain: true });
      const subscriber = await scene.connect();
      for (let round = 0; round < 3; round++) {
        await subscriber.subscribe(scene.topic(), 1);
        assert.equal((await subscriber.receive()).retain, true);
      }
      await subscriber.quiet();
    },
  );

  conforms(
    { v5: '3.3.1-10' },
    'Retain Handling 1 brings retained messages only where there was no subscription',
    async (scene) => {
      await (await scene.connect()).publish(scene.topic(), 'x', { qos: 1, retain: true });
      const clientId = scene.clientId();
      const { client } = await scene.connectKept(clientId);
      await client.subscribe(scene.topic(), 1 | HANDLING.ifNew);
      await client.receive();
      await client.subscribe(scene.topic(), 1 | HANDLING.ifNew);
      await client.subscribe(scene.topic(), HANDLING.ifNew | AS_PUBLISHED);
      await client.quiet();
      await client.disconnect();
      const { client: back } = await scene.connectKept(clientId);
      await back.subscribe(scene.topic(), 1 | HANDLING.ifNew);
      await back.quiet();
      await back.unsubscribe(scene.topic());
      await back.subscribe(scene.topic(), 1 | HANDLING.ifNew);
      await back.receive();
      await back.quiet();
    },
  );

  conforms({ v5: '3.3.1-11' }, 'Retain Handling 2 brings none', async (scene) => {
    await (await scene.connect()).publish(scene.topic(), 'x', { qos: 1, retain: true });
    const subscriber = await scene.connect();
    await subscriber.subscribe(scene.topic(), 1 | HANDLING.never);
    await subscriber.quiet();
    await subscriber.subscribe(scene.topic('#'), 1 | HANDLING.never | AS_PUBLISHED);
    await subscriber.quiet();
    await subscriber.subscribe(scene.topic(), 1 | HANDLING.always);
    await subscriber.receive();
  });

  conforms(
    { v5: '3.3.1-12 3.3.1-13' },
    'Retain As Published keeps RETAIN as it was, live and queued',
    async (scene) => {
      const clientId = scene.clientId();
      const { client: absent } = await scene.connectKept(clientId);
      await absent.subscribe(scene.topic(), 1 | AS_PUBLISHED);
      await absent.disconnect();
      const keeping = await scene.connect();
      await keeping.subscribe(scene.topic(), 1 | AS_PUBLISHED);
      const clearing = await scene.connect();
      await clearing.subscribe(scene.topic(), 1);
      const publisher = await scene.connect();
      await publisher.publish(scene.topic(), 'with', { qos: 1, retain: true });
      await publisher.publish(scene.topic(), 'without', { qos: 1 });
      const { client: back } = await scene.connectKept(clientId);
      for (const client of [keeping, back]) {
        assert.equal((await client.receive()).retain, true);
        assert.equal((await client.receive()).retain, false);
      }
      assert.equal((await clearing.receive()).retain, false);
      assert.equal((await clearing.receive()).retain, false);
    },
  );

  conforms(
    { v5: '3.3.1-9 3.3.4-3' },
    'retained messages carry the identifier of the subscription that brought them',
    async (scene) => {
      await (await scene.connect()).publish(scene.topic(), 'x', { qos: 1, retain: true });
      const subscriber = await scene.connect();
      await subscriber.subscribe(scene.topic('#'), 1 | HANDLING.never, [
        [PROPERTY.subscriptionIdentifier, 1],
      ]);
      await subscriber.subscribe(scene.topic(), 1, [[PROPERTY.subscriptionIdentifier, 268_435_455]]);
      const message = await subscriber.receive();
      assert.equal(message.retain, true);
      assert.ok(propertiesOf(message, PROPERTY.subscriptionIdentifier).includes(268_435_455));
    },
  );

  conforms({ v5: '3.3.1-9' }, 'a shared subscription brings no retained messages', async (scene) => {
    await (await scene.connect()).publish(scene.topic(), 'x', { qos: 1, retain: true });
    const subscriber = await scene.connect();
    await subscriber.subscribe(`$share/group/${scene.topic()}`, 1);
    await subscriber.quiet();
  });

  conforms(
    { v5: '3.3.1-5 3.3.2-17' },
    'a retained message has the properties of its own publication, not of the one before',
    async (scene) => {
      const publisher = await scene.connect();
      const properties: readonly wire.Property[] = [[PROPERTY.contentType, 'old'], [PROPERTY.user, ['a', 'b']]]; // prettier-ignore
      await publisher.publish(scene.topic(), 'old', { qos: 1, retain: true, properties });
      await publisher.publish(scene.topic(), 'new', { qos: 1, retain: true });
      const later = await scene.connect();
      await later.subscribe(scene.topic(), 1);
      const message = await later.receive();
      assert.deepEqual([message.payload.toString(), message.properties], ['new', []]);
    },
  );

  conforms(
    { v3: '3.3.1-6', v5: '3.3.1-9 3.3.4-9' },
    'hundreds of retained messages come through a narrow window, each once',
    async (scene) => {
      const publisher = await scene.connect();
      const count = 300;
      for (let index = 0; index < count; index++)
        await publisher.publish(scene.topic(`r/${index}`), `${index}`, { qos: 1, retain: true });
      const properties: readonly wire.Property[] = scene.version === 5 ? [[PROPERTY.receiveMaximum, 2]] : [];
      const subscriber = await scene.connect({ properties });
      await subscriber.subscribe(scene.topic('r/#'), 2);
      const texts = await subscriber.receiveTexts(count);
      assert.equal(new Set(texts).size, count);
      await subscriber.quiet();
    },
  );

  conforms(
    { v3: '3.3.1-6 4.6.0-6', v5: '3.3.1-9 4.6.0-5' },
    'what is published while retained messages wait for their window is not followed by what it replaced',
    async (scene) => {
      const publisher = await scene.connect();
      for (let index = 0; index < 30; index++)
        await publisher.publish(scene.topic(`r/${index}`), 'old', { qos: 1, retain: true });
      const properties: readonly wire.Property[] = scene.version === 5 ? [[PROPERTY.receiveMaximum, 1]] : [];
      const subscriber = await scene.connect({ properties });
      await subscriber.subscribe(scene.topic('r/#'), 1);
      for (let index = 0; index < 30; index++)
        await publisher.publish(scene.topic(`r/${index}`), 'new', { qos: 1, retain: true });
      await publisher.publish(scene.topic('r/end'), 'end', { qos: 1 });
      const last = new Map<string, string>();
      let isEnd = false;
      for (let silent = 0; silent < 2;) {
        const packets = await subscriber.arrived();
        silent = packets.length === 0 ? silent + 1 : 0;
        for (const { type, id, topic, payload } of packets) {
          if (type === 'PUBLISH') subscriber.send(wire.acknowledge('PUBACK', id));
          isEnd ||= payload.toString() === 'end';
          last.set(topic, payload.toString());
        }
      }
      assert.ok(isEnd);
      assert.deepEqual([...new Set(last.values())].sort(), ['end', 'new']);
    },
  );
});
