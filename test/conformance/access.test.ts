/** What the broker does not allow: statements that show only where access rules refuse something. */
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import type { AccessRule } from '../../src/broker/access.js';
import * as wire from '../support/wire.js';
import { PROPERTY, type ConnectOptions } from '../support/wire.js';
import { conforms, useBroker } from './conforms.js';

const anybody = { user: null, group: null, client: null };
const ACCESS: readonly AccessRule[] = [
  { ...anybody, allow: [], deny: ['read', 'write', 'subscribe'], topic: 'denied/#' },
  { ...anybody, allow: ['read', 'write', 'subscribe'], deny: [], topic: '#' },
];

describe('access', { concurrency: 8 }, () => {
  useBroker({ access: ACCESS });

  conforms(
    { v3: '3.3.5-2', v5: '3.4.2-1 3.5.2-1 4.3.2-4' },
    'a PUBLISH that is not allowed is acknowledged or closes the connection, and reaches nobody',
    async (scene) => {
      const subscriber = await scene.connect();
      await subscriber.subscribe('#', 2);
      for (const qos of [0, 1, 2]) {
        const client = await scene.connect();
        const answer = await client.publish('denied/a', scene.root, { qos, retain: true });
        if (scene.version === 5 && qos > 0) assert.deepEqual(answer.codes, [0x87]);
        await client.ping();
      }
      await subscriber.ping();
      assert.ok(!subscriber.history.some(({ topic }) => topic.startsWith('denied/')));
    },
  );

  conforms(
    { v3: '3.1.4-3', v5: '3.1.4-2' },
    'a CONNECT that is refused neither takes a connection over nor ends a session, nor cancels a will',
    async (scene) => {
      const will = { topic: 'denied/will', payload: 'x' };
      const refused: ConnectOptions[] = [
        { clean: true, will },
        { clean: false, will },
      ];
      if (scene.version === 5)
        for (const clean of [true, false])
          refused.push({ clean, properties: [[PROPERTY.maximumPacketSize, 4]] });
      const watcher = await scene.connect();
      await watcher.subscribe(scene.topic('will'), 1);
      const properties: readonly wire.Property[] = scene.version === 5 ? [[PROPERTY.willDelay, 1]] : [];
      for (const options of refused) {
        const clientId = scene.clientId();
        const attempt = async (): Promise<void> => {
          const other = await scene.open();
          other.send(wire.connect({ version: scene.version, clientId, ...options }));
          await other.closed();
        };
        const { client } = await scene.connectKept(clientId, {
          will: { topic: scene.topic('will'), payload: clientId, properties },
        });
        await attempt();
        await client.ping();
        await client.cut();
        await attempt();
        assert.equal((await watcher.receive()).payload.toString(), clientId);
        assert.equal((await scene.connectKept(clientId)).connack.sessionPresent, true);
      }
    },
  );

  conforms(
    { v5: '4.3.3-9' },
    'after a refusing PUBREC the same identifier brings a new message',
    async (scene) => {
      const subscriber = await scene.connect();
      await subscriber.subscribe(scene.topic(), 2);
      const client = await scene.connect();
      for (const text of ['one', 'two']) {
        client.send(wire.publish(5, { topic: 'denied/a', qos: 2, id: 5 }));
        assert.deepEqual((await client.next('PUBREC')).codes, [0x87]);
        assert.deepEqual(
          (await client.publish(scene.topic(), text, { qos: 2, id: 5, dup: true })).codes,
          [0],
        );
        assert.equal((await subscriber.receive()).payload.toString(), text);
      }
    },
  );

  conforms(
    { v3: '3.8.4-5 3.9.3-1 3.9.3-2', v5: '3.8.4-7 3.9.3-1 3.9.3-2' },
    'a refused filter has its failure code at its place among the granted ones',
    async (scene) => {
      const client = await scene.connect();
      const filters: readonly wire.Filter[] = [[scene.topic('a'), 2], ['denied/a', 1], [scene.topic('b'), 0]]; // prettier-ignore
      const refused = scene.version === 5 ? 0x87 : 0x80;
      assert.deepEqual((await client.subscribeAll(filters)).codes, [2, refused, 0]);
      await client.publish(scene.topic('b'), 'x', { qos: 1 });
      await client.receive();
    },
  );
});
