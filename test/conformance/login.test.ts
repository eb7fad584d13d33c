/** User names and passwords: statements that show only where not everybody may connect; and the end of the server. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe } from 'node:test';
import { userLine } from '../../src/broker/users.js';
import { startBroker } from '../support/broker.js';
import { MqttClient } from '../support/mqttclient.js';
import * as wire from '../support/wire.js';
import { conforms, useBroker } from './conforms.js';

const folder = mkdtempSync(join(tmpdir(), 'holdfast-login-'));
const usersFile = join(folder, 'users.passwd');
writeFileSync(usersFile, `${await userLine('anna', 'secret')}\n`, { mode: 0o600 });

describe('login', { concurrency: 4 }, () => {
  useBroker({ anonymous: false, usersFile });
  after(() => rmSync(folder, { recursive: true }));

  conforms(
    { v3: '3.2.2-4 3.2.2-5 3.1.4-5', v5: '3.1.4-2 3.1.4-6 3.2.2-6 3.2.2-7 3.2.2-8 4.13.2-1' },
    'who may not connect is told so, cut off, and has done nothing',
    async (scene) => {
      const { version } = scene;
      const topic = scene.topic();
      const watcher = await scene.connect({ username: 'anna', password: 'secret' });
      await watcher.subscribe(topic, 1);
      const wrong: readonly wire.ConnectOptions[] = [{}, { username: 'anna' }, { username: 'anna', password: 'wrong' }, { username: 'nobody', password: 'secret' }]; // prettier-ignore
      for (const options of wrong) {
        const client = await scene.open();
        client.send(
          wire.connect({ version, clientId: scene.clientId(), will: { topic, payload: 'w' }, ...options }),
          wire.publish(version, { topic, payload: 'x', retain: true }),
        );
        await client.closed();
        assert.deepEqual(client.history.map(({ type, sessionPresent }) => [type, sessionPresent]), [['CONNACK', false]]); // prettier-ignore
        const [code = 0] = client.history[0]?.codes ?? [];
        assert.ok((version === 5 ? [0x86, 0x87] : [4, 5]).includes(code), `code ${code}`);
      }
      await watcher.quiet();
    },
  );

  conforms(
    { v3: '3.1.2-19 3.1.2-21 3.1.4-4', v5: '3.1.2-17 3.1.2-19 3.1.4-5' },
    'what is sent behind a CONNECT whose password is still being checked is processed after it',
    async (scene) => {
      const { version } = scene;
      const client = await scene.open();
      client.send(
        wire.connect({ version, clientId: scene.clientId(), username: 'anna', password: 'secret' }),
        wire.subscribe(version, 1, [[scene.topic(), 1]]),
        wire.publish(version, { topic: scene.topic(), payload: 'x', qos: 1, id: 2 }),
        wire.PINGREQ,
      );
      assert.deepEqual((await client.next('CONNACK')).codes, [0]);
      await client.next('SUBACK');
      await client.ping();
      const types = client.history.map(({ type }) => type).sort();
      assert.deepEqual(types, ['CONNACK', 'PINGRESP', 'PUBACK', 'PUBLISH', 'SUBACK']);
    },
  );

  conforms(
    { v5: '3.14.2-1 3.14.4-2 4.13.2-1' },
    'a server that stops says DISCONNECT 0x8B and closes',
    async (scene) => {
      const ending = await startBroker();
      const client = scene.adopt(await MqttClient.open(ending.mqtt, 5));
      await client.handshake({ clientId: scene.clientId() });
      await ending.close();
      await client.expectClosed(0x8b);
    },
  );
});
