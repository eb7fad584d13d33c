/** What a client had been sent when the process died comes again as what may have come before. */
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { MqttClient } from '../support/mqttclient.js';
import { temporaryFolder } from '../support/stores.js';
import { PROPERTY } from '../support/wire.js';
import { startHost } from './process.js';

const COUNT = 20;

test('a message that was sent just before the process died is not sent again as if for the first time', async (context) => {
  const folder = join(temporaryFolder(context), 'store');
  mkdirSync(folder);
  let host = await startHost(folder, 'host');
  context.after(() => host.kill());
  const connect = async (clientId: string): Promise<MqttClient> => {
    const client = await MqttClient.open({ host: '127.0.0.1', port: host.port }, 5);
    context.after(() => client.socket.destroy());
    await client.handshake({ clientId, clean: false, properties: [[PROPERTY.sessionExpiry, 600]] });
    return client;
  };
  const away = await connect('away');
  await away.subscribe('crash/t', 1);
  await away.disconnect();
  const publisher = await connect('publisher');
  for (let number = 0; number < COUNT; number++)
    await publisher.publish('crash/t', `${number}`, { qos: 1 + (number % 2) });

  const before = await connect('away');
  for (let number = 0; number < COUNT; number++) assert.equal((await before.next('PUBLISH')).dup, false);
  await host.kill();

  host = await startHost(folder, 'host');
  const after = await connect('away');
  for (let number = 0; number < COUNT; number++) {
    const { dup, payload } = await after.next('PUBLISH');
    assert.deepEqual([payload.toString(), dup], [`${number}`, true]);
  }
  await (await connect('publisher')).publish('crash/t', 'new', { qos: 1 });
  const { dup, payload } = await after.next('PUBLISH');
  assert.deepEqual([payload.toString(), dup], ['new', false]);
});
