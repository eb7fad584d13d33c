/** Message Expiry Interval. */
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import * as wire from '../support/wire.js';
import { PROPERTY, propertyOf } from '../support/wire.js';
import { conforms, type Scene, useBroker } from './conforms.js';

const expiring = (seconds: number): readonly wire.Property[] => [[PROPERTY.messageExpiry, seconds]];

/** The client identifier of a kept session that is subscribed, and away. */
async function absentee(scene: Scene, filter: string, qos: number): Promise<string> {
  const clientId = scene.clientId();
  const { client } = await scene.connectKept(clientId);
  await client.subscribe(filter, qos);
  await client.disconnect();
  return clientId;
}

describe('message expiry', { concurrency: 16 }, () => {
  useBroker();

  conforms(
    { v5: '3.3.2-6' },
    'what is passed on is what is left: all of it live, less after waiting, in queue and store',
    async (scene) => {
      const clientId = await absentee(scene, scene.topic(), 1);
      const live = await scene.connect();
      await live.subscribe(scene.topic(), 1);
      const publisher = await scene.connect();
      const publishedMs = performance.now();
      await publisher.publish(scene.topic(), 'x', { qos: 1, retain: true, properties: expiring(10) }); // prettier-ignore
      const first = propertyOf(await live.receive(), PROPERTY.messageExpiry);
      assert.equal(first, 10);
      await sleep(2100);
      const { client: back } = await scene.connectKept(clientId);
      const later = await scene.connect();
      await later.subscribe(scene.topic(), 1);
      for (const client of [back, later]) {
        const left = propertyOf(await client.receive(), PROPERTY.messageExpiry);
        const leastS = Math.floor(10 - (performance.now() - publishedMs) / 1000);
        assert.ok(typeof left === 'number' && left >= leastS && left <= 8, `${left} s left`);
      }
    },
  );

  conforms(
    { v5: '3.3.2-5' },
    'expired messages leave the queue and the retained store, and let the next through in order',
    async (scene) => {
      const clientId = await absentee(scene, scene.topic('#'), 2);
      const publisher = await scene.connect();
      for (let index = 0; index < 9; index++) {
        const properties = index % 3 === 1 ? expiring(1) : [];
        await publisher.publish(scene.topic('q'), `${index}`, { qos: 1 + (index % 2), properties });
      }
      await publisher.publish(scene.topic('r'), 'gone', { qos: 1, retain: true, properties: expiring(1) });
      await sleep(2100);
      const { client: back } = await scene.connectKept(clientId);
      assert.deepEqual(await back.receiveTexts(6), ['0', '2', '3', '5', '6', '8']);
      await back.quiet();
      const later = await scene.connect();
      await later.subscribe(scene.topic('r'), 1);
      await later.quiet();
    },
  );

  conforms(
    { v5: '3.3.2-5 4.9.0-2' },
    'a message that expires behind a full window is dropped and the ones behind it delivered in order',
    async (scene) => {
      const subscriber = await scene.connect({ properties: [[PROPERTY.receiveMaximum, 1]] });
      await subscriber.subscribe(scene.topic(), 1);
      const publisher = await scene.connect();
      await publisher.publish(scene.topic(), 'open', { qos: 1 });
      await publisher.publish(scene.topic(), 'expires', { qos: 1, properties: expiring(1) });
      for (const text of ['a', 'b', 'c']) await publisher.publish(scene.topic(), text, { qos: 1 });
      const open = await subscriber.next('PUBLISH');
      assert.equal(open.payload.toString(), 'open');
      await sleep(2100);
      subscriber.send(wire.acknowledge('PUBACK', open.id));
      assert.deepEqual(await subscriber.receiveTexts(3), ['a', 'b', 'c']);
      await subscriber.quiet();
    },
  );

  conforms(
    { v5: '4.3.3-7' },
    'a message that was sent does not expire: it is sent again on resumption',
    async (scene) => {
      const clientId = scene.clientId();
      const { client } = await scene.connectKept(clientId);
      await client.subscribe(scene.topic(), 2);
      const publisher = await scene.connect();
      await publisher.publish(scene.topic(), 'two', { qos: 2, properties: expiring(1) });
      const sent = await client.next('PUBLISH');
      await client.cut();
      await sleep(2100);
      const { client: back } = await scene.connectKept(clientId);
      const again = await back.receive();
      assert.deepEqual([again.id, again.dup, again.payload.toString()], [sent.id, true, 'two']);
    },
  );

  conforms(
    { v5: '4.3.3-13' },
    'the exchange of QoS 2 is completed although the message has expired, on both sides',
    async (scene) => {
      const subscriber = await scene.connect();
      await subscriber.subscribe(scene.topic(), 2);
      const publisher = await scene.connect();
      publisher.send(
        wire.publish(5, { topic: scene.topic(), payload: 'x', qos: 2, id: 5, properties: expiring(1) }),
      );
      await publisher.next('PUBREC');
      await sleep(2100);
      publisher.send(wire.acknowledge('PUBREL', 5));
      const completed = await publisher.next('PUBCOMP');
      assert.deepEqual([completed.id, completed.codes], [5, [0]]);
      // Its delivery may have begun before it expired, or not at all.
      for (const { id } of await subscriber.arrived()) {
        subscriber.send(wire.acknowledge('PUBREC', id));
        await subscriber.next('PUBREL');
        subscriber.send(wire.acknowledge('PUBCOMP', id));
      }
      await publisher.publish(scene.topic(), 'held', { qos: 2, properties: expiring(1) });
      const held = await subscriber.next('PUBLISH');
      await sleep(2100);
      subscriber.send(wire.acknowledge('PUBREC', held.id));
      assert.equal((await subscriber.next('PUBREL')).id, held.id);
      subscriber.send(wire.acknowledge('PUBCOMP', held.id));
      await subscriber.quiet();
    },
  );

  conforms(
    { v5: '3.3.2-5 3.3.2-6' },
    'a message that is given no time goes to who can take it at once, and to nobody later',
    async (scene) => {
      const clientId = await absentee(scene, scene.topic('#'), 2);
      const publisher = await scene.connect();
      const { client: kept } = await scene.connectKept(scene.clientId());
      const busy = await scene.connect({ properties: [[PROPERTY.receiveMaximum, 1]] });
      const there = [publisher, kept];
      for (const client of [...there, busy]) await client.subscribe(scene.topic('#'), 2);
      await publisher.publish(scene.topic('held'), 'held', { qos: 1 });
      const held = await busy.next('PUBLISH');
      for (const client of there) await client.receive();
      for (const qos of [0, 1, 2]) {
        await publisher.publish(scene.topic('now'), `${qos}`, { qos, retain: true, properties: expiring(0) });
        for (const client of there) {
          const message = await client.receive();
          assert.equal(message.payload.toString(), `${qos}`);
          assert.equal(propertyOf(message, PROPERTY.messageExpiry), 0);
        }
      }
      assert.equal((await busy.receive()).payload.toString(), '0', 'QoS 0 waits for no room');
      busy.send(wire.acknowledge('PUBACK', held.id));
      await busy.quiet();
      const { client: back } = await scene.connectKept(clientId);
      assert.deepEqual(await back.receiveTexts(1), ['held']);
      const later = await scene.connect();
      await later.subscribe(scene.topic('#'), 2);
      for (const client of [back, later]) await client.quiet();
    },
  );

  conforms({ v5: '3.3.2-6' }, 'without an interval none is passed on; the largest one is', async (scene) => {
    const client = await scene.connect();
    await client.subscribe(scene.topic(), 1);
    await client.publish(scene.topic(), 'x', { qos: 1 });
    assert.equal(propertyOf(await client.receive(), PROPERTY.messageExpiry), undefined);
    await client.publish(scene.topic(), 'x', { qos: 1, properties: expiring(0xffffffff) });
    assert.equal(propertyOf(await client.receive(), PROPERTY.messageExpiry), 0xffffffff);
  });
});
