/** Wills: when they are published, when not, and what of them is. */
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import * as wire from '../support/wire.js';
import { PROPERTY, propertiesOf, propertyOf, type ConnectOptions, type Will } from '../support/wire.js';
import type { MqttClient } from '../support/mqttclient.js';
import { stopwatch, type Took } from '../support/stopwatch.js';
import { conforms, useBroker, type Scene } from './conforms.js';

/** A client that watches the topic of the wills, and the client that leaves one. */
async function mourners(
  scene: Scene,
  will: Partial<Will> = {},
  options: ConnectOptions = {},
): Promise<{ watcher: MqttClient; client: MqttClient }> {
  const watcher = await scene.connect();
  await watcher.subscribe(scene.topic('will'), 2);
  const client = await scene.connect({ will: { topic: scene.topic('will'), payload: 'will', ...will }, ...options }); // prettier-ignore
  return { watcher, client };
}

const delayed = (seconds: number): Partial<Will> => ({ properties: [[PROPERTY.willDelay, seconds]] });
const kept = (seconds: number): ConnectOptions => ({ properties: [[PROPERTY.sessionExpiry, seconds]] });

/** How long the next message takes from before what brings it about. */
function timeToMessage(watcher: MqttClient, cause: () => unknown): Promise<Took> {
  const both = async (): Promise<void> => {
    await cause();
    await watcher.receive();
  };
  return stopwatch(both());
}

describe('wills', { concurrency: 16 }, () => {
  useBroker();

  conforms(
    { v3: '3.1.2-8', v5: '3.1.2-7 3.1.2-8' },
    'a will is published when the network fails, with its QoS and payload',
    async (scene) => {
      for (const qos of [0, 1, 2]) {
        const { watcher, client } = await mourners(scene, { qos, payload: Buffer.from([0, 255, qos]) });
        await client.cut();
        const message = await watcher.receive();
        assert.deepEqual([message.qos, message.retain, [...message.payload]], [qos, false, [0, 255, qos]]);
      }
      const { watcher, client } = await mourners(scene, { payload: '' });
      client.socket.end();
      assert.equal((await watcher.receive()).payload.length, 0);
    },
  );

  conforms(
    { v3: '3.1.2-10 3.14.4-3', v5: '3.1.2-10 3.14.4-3' },
    'DISCONNECT discards the will, whether its bytes or the close come first',
    async (scene) => {
      const { watcher, client } = await mourners(scene);
      await client.disconnect();
      const second = await mourners(scene);
      second.client.send(wire.disconnect(scene.version));
      await second.client.closed();
      if (scene.version === 5) {
        const third = await mourners(scene);
        third.client.send(Buffer.from('e00100', 'hex'));
        await third.client.closed();
        const fourth = await mourners(scene);
        fourth.client.send(Buffer.from('e0020000', 'hex'));
        await fourth.client.closed();
        await fourth.watcher.quiet();
      }
      await sleep(100);
      await watcher.quiet();
      await second.watcher.quiet();
    },
  );

  conforms(
    { v3: '3.1.2-8 3.14.1-1', v5: '3.1.2-8' },
    'a will is published after every breach of the protocol, and once',
    async (scene) => {
      const { version } = scene;
      const breaches = [
        wire.connect({ version, clientId: scene.clientId() }),
        wire.subscribe(version, 0, [['a', 0]]),
        wire.publish(version, { topic: 'a/#' }),
        Buffer.from('e10000', 'hex').subarray(0, version === 4 ? 2 : 3),
        Buffer.from('c00100', 'hex'),
        Buffer.from('0000', 'hex'),
      ];
      for (const breach of breaches) {
        const { watcher, client } = await mourners(scene);
        client.send(breach);
        await client.closed();
        await watcher.receive();
        await watcher.quiet();
        await watcher.disconnect();
      }
    },
  );

  conforms(
    { v3: '3.1.2-10', v5: '3.1.2-10' },
    'a published will is gone: the next connection without one leaves none',
    async (scene) => {
      const clientId = scene.clientId();
      const { watcher, client } = await mourners(scene, {}, { clientId });
      await client.cut();
      await watcher.receive();
      await (await scene.connect({ clientId, clean: false })).cut();
      await sleep(100);
      await watcher.quiet();
    },
  );

  conforms({ v3: '3.1.2-12', v5: '3.1.2-8' }, 'without a will nothing is published', async (scene) => {
    const { watcher } = await mourners(scene);
    await (await scene.connect()).cut();
    await sleep(100);
    await watcher.quiet();
  });

  conforms(
    { v3: '3.1.2-16 3.1.2-17 3.1.2-9', v5: '3.1.2-14 3.1.2-15' },
    'a will is retained when it asks for it, and only then',
    async (scene) => {
      for (const retain of [false, true]) {
        const topic = scene.topic(`will/${retain}`);
        const { watcher, client } = await mourners(scene, { retain, topic });
        await watcher.subscribe(topic, 1);
        await client.cut();
        assert.equal((await watcher.receive()).retain, false);
        const later = await scene.connect();
        await later.subscribe(topic, 1);
        if (retain) assert.equal((await later.receive()).retain, true);
        else await later.quiet();
      }
    },
  );

  conforms(
    { v3: '3.1.2-10 3.3.1-10', v5: '3.3.1-6' },
    'an empty retained will removes what was retained',
    async (scene) => {
      await (await scene.connect()).publish(scene.topic('will'), 'before', { retain: true, qos: 1 });
      const { watcher, client } = await mourners(scene, { retain: true, payload: '' });
      await watcher.receive();
      await client.cut();
      await watcher.receive();
      const later = await scene.connect();
      await later.subscribe(scene.topic('will'));
      await later.quiet();
    },
  );

  conforms(
    { v3: '3.1.2-8 3.1.4-2', v5: '3.1.2-8 3.1.4-3' },
    'take-over publishes the will of the connection it ends',
    async (scene) => {
      const clientId = scene.clientId();
      const { watcher } = await mourners(scene, {}, { clientId });
      await scene.connect({ clientId });
      await watcher.receive();
      await watcher.quiet();
    },
  );

  conforms(
    { v3: '3.1.2-8 3.1.2-24', v5: '3.1.2-8 3.1.2-22' },
    'a client that falls silent leaves its will',
    async (scene) => {
      const watcher = await scene.connect();
      await watcher.subscribe(scene.topic('will'), 2);
      const will = { topic: scene.topic('will'), payload: 'will' };
      const { tookMs, ranMs } = await timeToMessage(watcher, () => scene.connect({ will, keepAliveS: 1 }));
      assert.ok(tookMs > 1300 && ranMs < 2600, `${tookMs} ms`);
    },
  );

  conforms(
    { v5: '3.1.2-8 3.14.4-3' },
    'DISCONNECT with any other code than 0x00 publishes the will',
    async (scene) => {
      for (const code of [0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99]) {
        const { watcher, client } = await mourners(scene);
        client.send(wire.disconnect(5, code));
        await client.closed();
        await watcher.receive();
        await watcher.disconnect();
      }
    },
  );

  conforms(
    { v5: '3.1.2-8 4.13.1-1' },
    'a DISCONNECT that is not valid does not discard the will',
    async (scene) => {
      const invalid = ['e00700051100000064', 'e0080005110000006400', 'e00103', 'e00200', 'e10100'];
      for (const hex of invalid) {
        const { watcher, client } = await mourners(scene);
        client.send(Buffer.from(hex, 'hex'));
        client.socket.end();
        await client.closed();
        await watcher.receive();
        await watcher.disconnect();
      }
    },
  );

  conforms(
    { v5: '3.1.2-8' },
    'a delayed will comes when its delay is over, with or without the session living on',
    async (scene) => {
      const { watcher, client } = await mourners(scene, delayed(1), kept(60));
      const afterCut = await timeToMessage(watcher, () => client.cut());
      assert.ok(afterCut.tookMs > 800 && afterCut.ranMs < 2500, `${afterCut.tookMs} ms`);
      const hinted = await mourners(scene, delayed(1), kept(60));
      const afterCode = await timeToMessage(hinted.watcher, () => hinted.client.send(wire.disconnect(5, 4)));
      assert.ok(afterCode.tookMs > 800 && afterCode.ranMs < 2500, `${afterCode.tookMs} ms`);
    },
  );

  conforms(
    { v5: '3.1.2-8 4.1.0-2' },
    'the end of the session publishes a will that is still delayed',
    async (scene) => {
      const { watcher, client } = await mourners(scene, delayed(60), kept(1));
      const { tookMs, ranMs } = await timeToMessage(watcher, () => client.cut());
      assert.ok(tookMs > 800 && ranMs < 2500, `${tookMs} ms`);
      const atOnce = await mourners(scene, delayed(60));
      assert.ok((await timeToMessage(atOnce.watcher, () => atOnce.client.cut())).ranMs < 1000);
      const ended = await mourners(scene, delayed(60), kept(60));
      const end = wire.disconnect(5, 4, [[PROPERTY.sessionExpiry, 0]]);
      assert.ok((await timeToMessage(ended.watcher, () => ended.client.send(end))).ranMs < 1000);
    },
  );

  conforms(
    { v5: '3.1.3-9 3.1.2-8' },
    'resuming the session within the delay cancels the will',
    async (scene) => {
      const clientId = scene.clientId();
      const { watcher, client } = await mourners(scene, delayed(2), { clientId, ...kept(60) });
      await client.cut();
      await sleep(300);
      const back = await scene.connect({ clientId, clean: false, ...kept(60) });
      await sleep(2500);
      await watcher.quiet();
      await back.cut();
      await sleep(100);
      await watcher.quiet();
    },
  );

  conforms(
    { v5: '3.1.3-9' },
    'resuming by take-over cancels the delayed will of the connection it ends',
    async (scene) => {
      const clientId = scene.clientId();
      const { watcher } = await mourners(scene, delayed(2), { clientId, ...kept(60) });
      await scene.connect({ clientId, clean: false, ...kept(60) });
      await sleep(2500);
      await watcher.quiet();
    },
  );

  conforms(
    { v5: '3.1.2-8' },
    'a clean start ends the session, and with it the delay of its will',
    async (scene) => {
      const clientId = scene.clientId();
      const { watcher, client } = await mourners(scene, delayed(60), { clientId, ...kept(60) });
      await client.cut();
      await scene.connect({ clientId, clean: true });
      await watcher.receive();
      await watcher.quiet();
    },
  );

  conforms(
    { v5: '3.1.3-10 3.1.2-9 3.3.2-4 3.3.2-15 3.3.2-16 3.3.2-18 3.3.2-20' },
    'the properties of a will come with it in their order, its delay does not',
    async (scene) => {
      const properties: readonly wire.Property[] = [
        [PROPERTY.user, ['b', '1']],
        [PROPERTY.willDelay, 0],
        [PROPERTY.payloadFormat, 1],
        [PROPERTY.messageExpiry, 60],
        [PROPERTY.user, ['a', '2']],
        [PROPERTY.contentType, 'text/plain'],
        [PROPERTY.responseTopic, 'answer/here'],
        [PROPERTY.correlationData, Buffer.from([1, 0, 255])],
        [PROPERTY.user, ['b', '1']],
        [PROPERTY.user, ['10', '']],
        [PROPERTY.user, ['9', '']],
      ];
      const { watcher, client } = await mourners(scene, { properties });
      await client.cut();
      const message = await watcher.receive();
      assert.deepEqual(propertiesOf(message, PROPERTY.user), [['b', '1'], ['a', '2'], ['b', '1'], ['10', ''], ['9', '']]); // prettier-ignore
      assert.equal(propertyOf(message, PROPERTY.payloadFormat), 1);
      assert.equal(propertyOf(message, PROPERTY.contentType), 'text/plain');
      assert.equal(propertyOf(message, PROPERTY.responseTopic), 'answer/here');
      assert.deepEqual(propertyOf(message, PROPERTY.correlationData), Buffer.from([1, 0, 255]));
      assert.equal(propertyOf(message, PROPERTY.willDelay), undefined);
    },
  );

  conforms({ v5: '3.3.2-6 3.1.2-8' }, 'the expiry of a will counts from its publication', async (scene) => {
    const properties: readonly wire.Property[] = [[PROPERTY.willDelay, 2], [PROPERTY.messageExpiry, 1]]; // prettier-ignore
    const { watcher, client } = await mourners(scene, { properties }, kept(60));
    await client.cut();
    assert.equal(propertyOf(await watcher.receive(), PROPERTY.messageExpiry), 1);
  });

  conforms({ v5: '3.1.2-8 4.12.0-4' }, 'a connection that was refused leaves no will', async (scene) => {
    const { watcher } = await mourners(scene);
    const client = await scene.open();
    const will = { topic: scene.topic('will'), payload: 'refused' };
    client.send(wire.connect({ clientId: scene.clientId(), will, properties: [[PROPERTY.authenticationMethod, 'none such']] })); // prettier-ignore
    await client.closed();
    await sleep(50);
    await watcher.quiet();
  });
});
