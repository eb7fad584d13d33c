import assert from 'node:assert/strict';
import {
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { connectAsync } from 'mqtt';
import { Daemon } from '../support/daemon.js';
import { holdfast } from '../support/holdfast.js';
import { until } from '../support/wait.js';

const CONFIG = `
version: 1
gateway: { id: gw }
broker:
  listeners: [{ protocol: mqtt, host: 127.0.0.1, port: 0 }]
  anonymous: true
  store: { path: data }
`;

async function queued(daemon: Daemon, count: number): Promise<string[]> {
  const reader = await connectAsync(`mqtt://127.0.0.1:${daemon.port()}`, {
    clientId: 'reader',
    clean: false,
  });
  const received: string[] = [];
  reader.on('message', (_topic, payload) => received.push(payload.toString()));
  await until('what was queued', () => received.length >= count);
  await reader.endAsync();
  return received;
}

test('a backup of the running gateway and one of it at rest bring everything back', async (context) => {
  const daemon = new Daemon(CONFIG);
  context.after(() => daemon.remove());
  const data = join(daemon.folder, 'data');
  const call = (verb: string, file: string) =>
    holdfast([verb, '--config', daemon.configFile, join(daemon.folder, file)]);
  await daemon.start();
  const url = `mqtt://127.0.0.1:${daemon.port()}`;
  const reader = await connectAsync(url, { clientId: 'reader', clean: false });
  await reader.subscribeAsync('plant/#', { qos: 1 });
  await reader.endAsync();
  const publisher = await connectAsync(url);
  const payloads = Array.from({ length: 300 }, (_, index) => `${index} ${'x'.repeat(5_000)}`);
  await Promise.all(payloads.map((payload) => publisher.publishAsync('plant/a', payload, { qos: 1 })));

  const [first, second] = await Promise.all([call('backup', 'one.tar'), call('backup', 'two.tar')]);
  const outcomes = [first, second];
  assert.ok(
    outcomes.some(({ code }) => code === 0),
    JSON.stringify(outcomes),
  );
  for (const { code, stderr } of outcomes) if (code !== 0) assert.match(stderr, /another one under way/);
  const taken = join(daemon.folder, first.code === 0 ? 'one.tar' : 'two.tar');
  assert.equal(existsSync(`${taken}.new`), false);

  const occupied = await call('restore', taken.slice(daemon.folder.length + 1));
  assert.equal(occupied.code, 1);
  assert.match(occupied.stderr, /data: is not empty; move it away/);
  await publisher.endAsync();
  assert.equal(await daemon.stop(), 0);

  assert.equal((await call('backup', 'rest.tar')).code, 0);
  for (const backup of [taken, join(daemon.folder, 'rest.tar')]) {
    renameSync(data, `${data}.${backup.length}`);
    const restored = await call('restore', backup.slice(daemon.folder.length + 1));
    assert.equal(restored.code, 0, restored.stderr);
    await daemon.start();
    assert.deepEqual(await queued(daemon, payloads.length), payloads);
    assert.equal(await daemon.stop(), 0);
  }
});

test('a backup that is not whole is refused, and nothing is written', async (context) => {
  const daemon = new Daemon(CONFIG);
  context.after(() => daemon.remove());
  const file = join(daemon.folder, 'backup.tar');
  const call = (verb: string) => holdfast([verb, '--config', daemon.configFile, file]);
  assert.equal((await call('backup')).code, 0);
  const whole = readFileSync(file);
  writeFileSync(file, whole.subarray(0, whole.length / 2));
  renameSync(join(daemon.folder, 'data'), join(daemon.folder, 'old'));
  const { code, stderr } = await call('restore');
  assert.equal(code, 1);
  assert.match(stderr, /backup\.tar: is not a whole backup/);
  assert.equal(existsSync(join(daemon.folder, 'data')), false);
});

test(
  'what root backs up or restores stays with whom the store belongs to',
  { skip: process.getuid?.() === 0 ? false : 'only root writes for others' },
  async (context) => {
    const daemon = new Daemon(CONFIG);
    context.after(() => daemon.remove());
    const data = join(daemon.folder, 'data');
    for (const verb of ['backup', 'restore']) {
      mkdirSync(data, { mode: 0o700 });
      chownSync(data, 1234, 1235);
      const { code, stderr } = await holdfast([
        verb,
        '--config',
        daemon.configFile,
        join(daemon.folder, 'b.tar'),
      ]);
      assert.equal(code, 0, stderr);
      const owners = readdirSync(data).map((name) => lstatSync(join(data, name)).uid);
      assert.deepEqual([...new Set(owners)], [1234]);
      renameSync(data, `${data}.${verb}`);
    }
  },
);
