import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { connectAsync } from 'mqtt';
import { Daemon } from '../support/daemon.js';
import { holdfast } from '../support/holdfast.js';

const CONFIG = `
version: 1
gateway: { id: gw }
broker:
  listeners: [{ protocol: mqtt, host: 127.0.0.1, port: 0 }]
  anonymous: true
  users_file: users.passwd
  store: { path: data }
`;

async function used(context: TestContext): Promise<Daemon> {
  const daemon = new Daemon(CONFIG, { files: { 'users.passwd': '' } });
  context.after(() => daemon.remove());
  await daemon.start();
  const client = await connectAsync(`mqtt://127.0.0.1:${daemon.port()}`);
  await client.publishAsync('plant/kept', 'secret', { qos: 1, retain: true });
  await client.endAsync();
  return daemon;
}

test('wipe says what would go, refuses while the gateway runs, and leaves what people wrote', async (context) => {
  const daemon = await used(context);
  const data = join(daemon.folder, 'data');
  const wipe = (...args: string[]) => holdfast(['wipe', '--config', daemon.configFile, ...args]);

  const running = await wipe('--yes');
  assert.equal(running.code, 1, running.stderr);
  assert.ok(existsSync(data));

  await daemon.stop();
  const asked = await wipe();
  assert.match(asked.stderr, /data: would go/);
  assert.ok(existsSync(data));

  const done = await wipe('--yes');
  assert.equal(done.code, 0, done.stderr);
  assert.ok(!existsSync(data));
  assert.equal(readFileSync(daemon.configFile, 'utf8'), CONFIG);
  assert.ok(existsSync(join(daemon.folder, 'users.passwd')));
});

test('reset goes back to the first day: nothing kept, no users, nobody let in', async (context) => {
  const daemon = await used(context);
  await daemon.stop();
  const { code, stderr } = await holdfast(['reset', '--config', daemon.configFile, '--yes']);
  assert.equal(code, 0, stderr);
  assert.ok(!existsSync(join(daemon.folder, 'data')));
  assert.ok(!existsSync(join(daemon.folder, 'users.passwd')));
  assert.equal(readFileSync(`${daemon.configFile}.old`, 'utf8'), CONFIG);

  const { stdout } = await holdfast(['run', '--config', daemon.configFile, '--print-config']);
  // Our own output.
  const { broker } = JSON.parse(stdout) as {
    broker: { anonymous: boolean; usersFile: string | null; listeners: { host: string }[] };
  };
  assert.deepEqual([broker.anonymous, broker.usersFile], [false, null]);
  assert.deepEqual(
    broker.listeners.map(({ host }) => host),
    ['127.0.0.1'],
  );
});
