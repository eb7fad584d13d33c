/** Sessions: what outlives a connection, for how long, and what ends it. */
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { PROPERTY, type Property } from '../support/wire.js';
import { conforms, useBroker, type Scene } from './conforms.js';

const expiry = (seconds: number): readonly Property[] => [[PROPERTY.sessionExpiry, seconds]];

/** Whether a session of this client is there; looking at it changes neither it nor its expiry. */
async function hasSession(scene: Scene, clientId: string, keepS: number): Promise<boolean> {
  const { client, connack } = await scene.connectTold({ clientId, clean: false, properties: expiry(keepS) });
  await client.disconnect();
  return connack.sessionPresent;
}

describe('sessions', { concurrency: 16 }, () => {
  useBroker();

  conforms(
    { v3: '3.1.2-4 3.1.2-5 3.1.3-2 4.1.0-1 4.5.0-1', v5: '3.1.2-5 3.1.2-23 3.1.3-2 4.5.0-1' },
    'a kept session holds subscriptions and gathers QoS 1 and 2 while its client is away',
    async (scene) => {
      const clientId = scene.clientId();
      const { client } = await scene.connectKept(clientId);
      await client.subscribe(scene.topic('+'), 2);
      await client.disconnect();
      const publisher = await scene.connect();
      for (let index = 0; index < 10; index++)
        await publisher.publish(scene.topic(`${index % 3}`), `${index}`, { qos: 1 + (index % 2) });
      const { client: back, connack } = await scene.connectKept(clientId);
      assert.ok(connack.sessionPresent);
      for (let index = 0; index < 10; index++) {
        const message = await back.receive();
        assert.deepEqual([message.payload.toString(), message.qos, message.dup], [`${index}`, 1 + (index % 2), false]); // prettier-ignore
      }
      await publisher.publish(scene.topic('0'), 'live', { qos: 0 });
      assert.equal((await back.receive()).payload.toString(), 'live');
      await back.quiet();
    },
  );

  conforms(
    { v3: '3.1.2-4 3.1.4-3', v5: '3.1.2-6 3.1.4-4' },
    'without a session a connection that would resume one starts afresh',
    async (scene) => {
      const { client, connack } = await scene.connectKept(scene.clientId());
      assert.equal(connack.sessionPresent, false);
      await client.subscribe(scene.topic(), 1);
      await client.publish(scene.topic(), 'x', { qos: 1 });
      await client.receive();
    },
  );

  conforms(
    { v3: '3.1.2-6 3.1.4-3', v5: '3.1.2-4 3.1.4-4' },
    'a clean start discards subscriptions, queue and exchanges of the session before it',
    async (scene) => {
      const clientId = scene.clientId();
      const { client } = await scene.connectKept(clientId);
      await client.subscribe(scene.topic(), 2);
      const publisher = await scene.connect();
      await publisher.publish(scene.topic(), 'open', { qos: 2 });
      await client.next('PUBLISH');
      await client.cut();
      await publisher.publish(scene.topic(), 'queued', { qos: 1 });
      const clean = await scene.connectTold({ clientId, clean: true });
      assert.equal(clean.connack.sessionPresent, false);
      await publisher.publish(scene.topic(), 'after', { qos: 1 });
      await clean.client.quiet();
      await clean.client.disconnect();
      const { client: last, connack } = await scene.connectKept(clientId);
      assert.equal(connack.sessionPresent, false);
      await last.quiet();
    },
  );

  conforms(
    { v3: '3.1.2-6 4.1.0-2' },
    'with CleanSession 1 nothing is kept beyond the connection',
    async (scene) => {
      const clientId = scene.clientId();
      const client = await scene.connect({ clientId });
      await client.subscribe(scene.topic(), 1);
      await client.cut();
      await (await scene.connect()).publish(scene.topic(), 'x', { qos: 1 });
      const { client: back, connack } = await scene.connectKept(clientId);
      assert.equal(connack.sessionPresent, false);
      await back.quiet();
    },
  );

  conforms(
    { v5: '4.1.0-2 3.2.2-3' },
    'without an expiry interval the session ends with its connection',
    async (scene) => {
      for (const properties of [[], expiry(0)]) {
        const clientId = scene.clientId();
        const { client } = await scene.connectTold({ clientId, clean: false, properties });
        await client.subscribe(scene.topic(), 1);
        await client.cut();
        const { connack } = await scene.connectTold({ clientId, clean: false });
        assert.equal(connack.sessionPresent, false);
      }
    },
  );

  conforms(
    { v5: '4.1.0-2 3.1.2-23' },
    'a session ends when its interval is over, not before',
    async (scene) => {
      const clientId = scene.clientId();
      assert.equal(await hasSession(scene, clientId, 4), false);
      assert.equal(await hasSession(scene, clientId, 4), true);
      await sleep(1200);
      assert.equal(await hasSession(scene, clientId, 4), true);
      await sleep(5200);
      assert.equal(await hasSession(scene, clientId, 0), false);
    },
  );

  conforms(
    { v5: '4.1.0-1 4.1.0-2' },
    'the interval does not run while the client is connected, and begins anew with each end',
    async (scene) => {
      const clientId = scene.clientId();
      const { client } = await scene.connectTold({ clientId, properties: expiry(2) });
      await client.subscribe(scene.topic(), 1);
      await sleep(3200);
      await client.publish(scene.topic(), 'x', { qos: 1 });
      await client.receive();
      await client.cut();
      const { client: back, connack } = await scene.connectTold({
        clientId,
        clean: false,
        properties: expiry(2),
      });
      assert.ok(connack.sessionPresent);
      await sleep(3200);
      await back.publish(scene.topic(), 'y', { qos: 1 });
      assert.equal((await back.receive()).payload.toString(), 'y');
    },
  );

  conforms(
    { v5: '3.1.2-23 4.1.0-2' },
    'the interval of the latest connection counts, even where it is longer or shorter',
    async (scene) => {
      const longer = scene.clientId();
      const shorter = scene.clientId();
      await hasSession(scene, longer, 1);
      await hasSession(scene, longer, 60);
      await hasSession(scene, shorter, 60);
      await hasSession(scene, shorter, 1);
      await sleep(2500);
      assert.equal(await hasSession(scene, longer, 0), true);
      assert.equal(await hasSession(scene, shorter, 0), false);
    },
  );

  conforms(
    { v5: '3.1.2-23 4.1.0-2' },
    'DISCONNECT may shorten, lengthen or end the session',
    async (scene) => {
      const ids = { shorter: scene.clientId(), longer: scene.clientId(), ended: scene.clientId() };
      const connect = async (clientId: string, seconds: number) =>
        (await scene.connectTold({ clientId, properties: expiry(seconds) })).client;
      await (await connect(ids.shorter, 60)).disconnect(0, expiry(1));
      await (await connect(ids.longer, 1)).disconnect(0, expiry(60));
      await (await connect(ids.ended, 60)).disconnect(0, expiry(0));
      assert.equal(await hasSession(scene, ids.ended, 0), false);
      await sleep(2500);
      assert.equal(await hasSession(scene, ids.longer, 0), true);
      assert.equal(await hasSession(scene, ids.shorter, 0), false);
    },
  );

  conforms(
    { v5: '4.13.1-1' },
    'DISCONNECT may not give a session to a connection that had none',
    async (scene) => {
      const clientId = scene.clientId();
      const client = await scene.connect({ clientId });
      client.send(Buffer.from('e00700051100000064', 'hex'));
      await client.expectClosed(0x82);
      const { connack } = await scene.connectTold({ clientId, clean: false });
      assert.equal(connack.sessionPresent, false);
    },
  );

  conforms(
    { v5: '3.1.2-23' },
    'intervals beyond any timer, and the one without end, keep the session',
    async (scene) => {
      for (const seconds of [2_147_483, 2_147_484, 4_294_967, 0x7fffffff, 0xfffffffe, 0xffffffff]) {
        const clientId = scene.clientId();
        assert.equal(await hasSession(scene, clientId, seconds), false);
        await sleep(20);
        assert.equal(await hasSession(scene, clientId, seconds), true);
        assert.equal(await hasSession(scene, clientId, 0), true);
      }
    },
  );

  conforms(
    { v3: '3.1.2-4 3.2.2-2', v5: '3.2.2-3' },
    'a session without subscriptions is a session',
    async (scene) => {
      const clientId = scene.clientId();
      const { client } = await scene.connectKept(clientId);
      await client.cut();
      const { connack } = await scene.connectKept(clientId);
      assert.ok(connack.sessionPresent);
    },
  );

  conforms(
    { v3: '3.1.2-7', v5: '3.3.1-5' },
    'retained messages outlive the session of their publisher',
    async (scene) => {
      const clientId = scene.clientId();
      const { client } = await scene.connectKept(clientId);
      await client.publish(scene.topic(), 'kept', { qos: 1, retain: true });
      await client.disconnect();
      await (await scene.connect({ clientId, clean: true })).disconnect();
      const later = await scene.connect();
      await later.subscribe(scene.topic(), 1);
      assert.equal((await later.receive()).payload.toString(), 'kept');
    },
  );

  conforms(
    { v3: '4.1.0-2', v5: '4.1.0-1' },
    'take-over with resumption moves subscriptions and open exchanges to the new connection',
    async (scene) => {
      const clientId = scene.clientId();
      const { client: first } = await scene.connectKept(clientId);
      await first.subscribe(scene.topic(), 2);
      const publisher = await scene.connect();
      await publisher.publish(scene.topic(), 'open', { qos: 1 });
      const { id } = await first.next('PUBLISH');
      const { client: second, connack } = await scene.connectKept(clientId);
      assert.ok(connack.sessionPresent);
      await first.closed();
      const again = await second.receive();
      assert.deepEqual([again.id, again.dup, again.payload.toString()], [id, true, 'open']);
      await publisher.publish(scene.topic(), 'live', { qos: 2 });
      assert.equal((await second.receive()).payload.toString(), 'live');
    },
  );
});
