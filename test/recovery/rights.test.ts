import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { connect as mqttConnect, type MqttClient } from 'mqtt';
import { userLine } from '../../src/broker/users.js';
import { Daemon } from '../support/daemon.js';
import { until } from '../support/wait.js';

test('what a session may receive by its group reaches it after a restart, before its client is back', async (context) => {
  const daemon = new Daemon(
    `
version: 1
gateway: { id: gw }
broker:
  listeners: [{ protocol: mqtt, host: 127.0.0.1, port: 0 }]
  users_file: users
  access:
    - { group: readers, allow: [read, write], topic: 'plant/#' }
  store: { path: data }
`,
  );
  context.after(() => daemon.remove());
  const line = await userLine('operator', 'correct horse', ['readers']);
  writeFileSync(join(daemon.folder, 'users'), `${line}\n`);
  const received: string[] = [];
  // Who listens only once it is connected may miss what comes right behind the CONNACK.
  const connect = async (clientId: string, clean: boolean): Promise<MqttClient> => {
    const client = mqttConnect(`mqtt://127.0.0.1:${daemon.port()}`, {
      username: 'operator',
      password: 'correct horse',
      clientId,
      clean,
      reconnectPeriod: 0,
    });
    client.on('message', (topic, payload) => received.push(`${topic} ${payload.toString()}`));
    await new Promise<void>((resolve) => client.once('connect', () => resolve()));
    return client;
  };
  await daemon.start();
  const before = await connect('reader', false);
  await before.subscribeAsync('plant/#', { qos: 1 });
  await before.endAsync();
  daemon.signal('SIGKILL');
  await daemon.exited();
  await daemon.start();
  const publisher = await connect('publisher', true);
  await publisher.publishAsync('plant/level', '42', { qos: 1 });
  await publisher.endAsync();
  const after = await connect('reader', false);
  await until('the message', () => received.length > 0);
  assert.deepEqual(received, ['plant/level 42']);
  await after.endAsync();
});
