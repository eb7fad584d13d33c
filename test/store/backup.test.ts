import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { restoreBackup } from '../../src/store/backup.js';
import { systemFiles } from '../../src/store/files.js';
import { opened, published, queueOf, storeIn, temporaryFolder } from '../support/stores.js';

test('a backup made while messages come restores to everything committed before it', async (context) => {
  const folder = temporaryFolder(context);
  const store = storeIn(join(folder, 'data'));
  await store.open();
  store.append(opened(1));
  store.append(opened(2));
  for (let position = 1; position <= 500; position++) store.append(published(position, [1, 2]));
  await store.commit();
  const backup = store.backup(join(folder, 'backup.tar'));
  for (let position = 501; position <= 600; position++) {
    store.append(published(position, [1]));
    await store.commit();
  }
  await backup;
  await store.close();
  const listed = spawnSync('tar', ['tf', join(folder, 'backup.tar')]).stdout.toString();
  assert.match(listed, /^format\nsnapshot-\d+\n/, 'tar can read it');

  await restoreBackup(join(folder, 'backup.tar'), join(folder, 'restored'), systemFiles);
  const restored = storeIn(join(folder, 'restored'));
  const state = await restored.open();
  assert.deepEqual(
    state.sessions.map(({ clientId }) => clientId),
    ['c1', 'c2'],
  );
  const queue = await queueOf(restored, 1);
  assert.deepEqual(
    queue,
    Array.from({ length: queue.length }, (_, index) => index + 1),
  );
  assert.ok(queue.length >= 500);
  assert.deepEqual(await queueOf(restored, 2), queue.slice(0, 500));
  restored.append(published(1000, [1]));
  await restored.close();
});

test('a backup that is cut or changed, and a folder that holds something, are refused', async (context) => {
  const folder = temporaryFolder(context);
  const store = storeIn(join(folder, 'data'));
  await store.open();
  store.append(opened(1));
  store.append(published(1, [1]));
  await store.backup(join(folder, 'backup.tar'));
  await store.close();
  const whole = readFileSync(join(folder, 'backup.tar'));
  const target = join(folder, 'restored');
  for (let at = 0; at < whole.length - 2048; at += 97) {
    const spoiled = Buffer.from(whole);
    spoiled[at] = (spoiled[at] ?? 0) ^ 4;
    writeFileSync(join(folder, 'spoiled.tar'), at % 2 === 0 ? spoiled : whole.subarray(0, at));
    await assert.rejects(restoreBackup(join(folder, 'spoiled.tar'), target, systemFiles), {
      code: 'STORE_BACKUP',
    });
  }
  assert.equal(readdirSync(folder).includes('restored'), false);
  await assert.rejects(restoreBackup(join(folder, 'backup.tar'), folder, systemFiles), /is not empty/);
});
