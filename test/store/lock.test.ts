import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, readdirSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { entryUrl } from '../../src/entry.js';
import { silentLog } from '../../src/log.js';
import { lockFolder } from '../../src/store/lock.js';
import { smallDisk } from '../support/smalldisk.js';
import { opened, published, queueOf, storeIn, temporaryFolder } from '../support/stores.js';

/** A process that has the lock until it is killed. */
async function ownerOf(folder: string): Promise<{ pid: number; kill: () => Promise<void> }> {
  const script = `
    import { lockFolder } from ${JSON.stringify(entryUrl('store/lock.js').href)};
    await lockFolder(${JSON.stringify(folder)}, { warn() {} });
    console.log('locked');
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout, 'data');
  return {
    pid: child.pid ?? 0,
    kill: async () => {
      child.kill('SIGKILL');
      await once(child, 'exit');
    },
  };
}

test('a second process is refused and told who has the store; a killed one leaves nothing in the way', async (context) => {
  const folder = temporaryFolder(context);
  const owner = await ownerOf(folder);
  await assert.rejects(storeIn(folder).open(), {
    code: 'STORE_LOCKED',
    message: new RegExp(`process ${owner.pid}\\b`),
  });
  await owner.kill();
  const store = storeIn(folder);
  await store.open();
  await store.close();
  (await lockFolder(folder, silentLog)).release();
});

test('of several that find a stale lock at once, one gets it', async (context) => {
  const folder = temporaryFolder(context);
  const owner = await ownerOf(folder);
  await owner.kill();
  const rivals = await Promise.allSettled([1, 2, 3].map(() => ownerOrNull(folder)));
  const owners = rivals.flatMap((rival) =>
    rival.status === 'fulfilled' && rival.value !== null ? [rival.value] : [],
  );
  assert.equal(owners.length, 1);
  for (const { kill } of owners) await kill();
});

async function ownerOrNull(folder: string): Promise<{ kill: () => Promise<void> } | null> {
  const script = `
    import { lockFolder } from ${JSON.stringify(entryUrl('store/lock.js').href)};
    try { await lockFolder(${JSON.stringify(folder)}, { warn() {} }); console.log('locked'); setInterval(() => {}, 1000); }
    catch (error) { console.log(error.code); }`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [answer] = (await once(child.stdout, 'data')) as [Buffer];
  if (answer.toString().trim() !== 'locked') return null;
  return {
    kill: async () => {
      child.kill('SIGKILL');
      await once(child, 'exit');
    },
  };
}

test('a folder whose path is longer than a socket address is locked all the same', async (context) => {
  const folder = join(temporaryFolder(context), 'x'.repeat(120));
  mkdirSync(folder);
  const lock = await lockFolder(folder, silentLog);
  await assert.rejects(lockFolder(folder, silentLog), {
    code: 'STORE_LOCKED',
    message: new RegExp(`process ${process.pid}\\b`),
  });
  lock.release();
});

test('files are readable by their owner only, and a folder open to others is closed', async (context) => {
  const folder = temporaryFolder(context);
  chmodSync(folder, 0o755);
  const store = storeIn(folder);
  await store.open();
  store.append(opened(1));
  store.append(published(1, [1]));
  await store.commit();
  assert.equal(statSync(folder).mode & 0o777, 0o700);
  for (const name of readdirSync(folder)) {
    if (name !== 'lock') assert.equal(statSync(join(folder, name)).mode & 0o777, 0o600, name);
  }
  await store.close();
  const again = storeIn(folder);
  await again.open();
  assert.deepEqual(await queueOf(again, 1), [1]);
  await again.close();
});

test('a path that cannot be a folder refuses the start with its name', async (context) => {
  const file = join(temporaryFolder(context), 'file');
  writeFileSync(file, '');
  await assert.rejects(storeIn(join(file, 'data')).open(), { code: 'STORE_OPEN', message: /file\/data/ });
});

test('a lock left by a crash on a disk without room for another file does not hinder', async (context) => {
  // The folder itself and the stale socket: more names it does not take.
  const folder = smallDisk(context, '1m', 2);
  if (folder === null) return context.skip('no small disk can be mounted here');
  const server = createServer().listen(join(folder, 'stale'));
  await once(server, 'listening');
  renameSync(join(folder, 'stale'), join(folder, 'lock'));
  server.close();
  await once(server, 'close');
  const lock = await lockFolder(folder, silentLog);
  await assert.rejects(lockFolder(folder, silentLog), { code: 'STORE_LOCKED' });
  lock.release();
});
