import assert from 'node:assert/strict';
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { replaceUser } from '../../src/broker/usersfile.js';
import { temporaryFolder } from '../support/stores.js';

test('a user who was made is on the disk, and so is the name of his file', (context) => {
  const folder = temporaryFolder(context);
  const synced: string[] = [];
  const { fsyncSync } = fs;
  const { mock } = context.mock.method(fs, 'fsyncSync', (fd: number) => {
    synced.push(basename(fs.readlinkSync(`/proc/self/fd/${fd}`)));
    fsyncSync(fd);
  });
  syncBuiltinESMExports();
  context.after(() => {
    mock.restore();
    syncBuiltinESMExports();
  });
  replaceUser(join(folder, 'users'), '', 'operator', 'operator:hash');
  assert.deepEqual(synced, ['users.new', basename(folder)]);
});
