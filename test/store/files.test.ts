import assert from 'node:assert/strict';
import fs from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { systemFiles } from '../../src/store/files.js';
import { temporaryFolder } from '../support/stores.js';

test('a folder that was made has its name on the disk, and each that was made for it', async (context) => {
  const root = fs.realpathSync(temporaryFolder(context));
  const synced: string[] = [];
  const { fsync } = fs;
  context.mock.method(fs, 'fsync', (fd: number, done: fs.NoParamCallback) => {
    synced.push(fs.readlinkSync(`/proc/self/fd/${fd}`));
    fsync(fd, done);
  });
  await systemFiles.makeFolder(join(root, 'plant/data'));
  assert.deepEqual(synced, [join(root, 'plant'), root]);
  synced.length = 0;
  // A process that was killed may have made it and no more.
  await systemFiles.makeFolder(join(root, 'plant/data'));
  assert.deepEqual(synced, [join(root, 'plant')]);
});
