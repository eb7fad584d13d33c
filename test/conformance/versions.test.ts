/** Clients of both versions on one broker: each sees what its own version says. */
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import * as wire from '../support/wire.js';
import { PROPERTY, propertiesOf, type Version } from '../support/wire.js';
import { conforms, useBroker, type Scene } from './conforms.js';

const other = (scene: Scene): Version => (scene.version === 4 ? 5 : 4);
const PROPERTIES: readonly wire.Property[] = [
  [PROPERTY.user, ['a', 'b']],
  [PROPERTY.contentType, 'text/plain'],
  [PROPERTY.responseTopic, 'answer'],
];

describe('both versions', { concurrency: 8 }, () => {
  useBroker();

  conforms(
    { v3: '3.3.4-1 4.5.0-1', v5: '3.3.2-17 4.5.0-1' },
    'messages cross between the versions: to 5.0 with their properties, to 3.1.1 without',
    async (scene) => {
      const subscriber = await scene.connect();
      await subscriber.subscribe(scene.topic(), 2);
      const publisher = await scene.connect({ version: other(scene) });
      for (const qos of [0, 1, 2]) {
        const properties = publisher.version === 5 ? PROPERTIES : [];
        await publisher.publish(scene.topic(), `${qos}`, { qos, properties, retain: true });
        const message = await subscriber.receive();
        assert.deepEqual([message.qos, message.payload.toString(), message.properties], [qos, `${qos}`, []]);
      }
      const own = await scene.connect();
      await own.publish(scene.topic(), 'own', { qos: 1, properties: scene.version === 5 ? PROPERTIES : [] });
      const message = await subscriber.receive();
      assert.deepEqual(message.properties, scene.version === 5 ? PROPERTIES : []);
    },
  );

  conforms(
    { v3: '3.1.2-4 3.1.4-2', v5: '3.1.2-5 3.1.4-3' },
    'a session begun with the other version is resumed, with what waits for it',
    async (scene) => {
      const clientId = scene.clientId();
      const expiry: readonly wire.Property[] = [[PROPERTY.sessionExpiry, 60]];
      const before = await scene.connect({
        version: other(scene),
        clientId,
        clean: false,
        properties: expiry,
      });
      await before.subscribe(scene.topic('#'), 2);
      const publisher = await scene.connect({ version: 5 });
      await publisher.publish(scene.topic('a'), 'open', { qos: 1, properties: PROPERTIES });
      const { id } = await before.next('PUBLISH');
      await before.disconnect();
      await publisher.publish(scene.topic('a'), 'queued', { qos: 2, properties: PROPERTIES });
      const { client, connack } = await scene.connectKept(clientId);
      assert.ok(connack.sessionPresent);
      const messages = [await client.receive(), await client.receive()];
      assert.deepEqual(messages.map(({ payload, dup }) => [payload.toString(), dup]), [['open', true], ['queued', false]]); // prettier-ignore
      assert.equal(messages[0]?.id, id);
      for (const message of messages)
        assert.equal(propertiesOf(message, PROPERTY.user).length, scene.version === 5 ? 1 : 0);
    },
  );

  conforms(
    { v3: '3.1.4-2', v5: '3.1.4-3' },
    'a connection of either version takes over one of the other',
    async (scene) => {
      const clientId = scene.clientId();
      const first = await scene.connect({ version: other(scene), clientId });
      const second = await scene.connect({ clientId });
      await first.expectClosed(0x8e);
      await second.ping();
    },
  );

  conforms(
    { v3: '3.1.2-8', v5: '3.1.2-8' },
    'a will reaches subscribers of the other version',
    async (scene) => {
      const watcher = await scene.connect({ version: other(scene) });
      await watcher.subscribe(scene.topic(), 2);
      const properties = scene.version === 5 ? PROPERTIES : [];
      const client = await scene.connect({
        will: { topic: scene.topic(), payload: 'w', qos: 2, properties },
      });
      await client.cut();
      assert.equal((await watcher.receive()).payload.toString(), 'w');
    },
  );
});
