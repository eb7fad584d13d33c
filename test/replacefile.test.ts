import assert from 'node:assert/strict';
import fs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { replaceFile } from '../src/replacefile.js';

async function folderFor(t: TestContext): Promise<string> {
  const folder = await fs.mkdtemp(join(tmpdir(), 'replace-'));
  t.after(() => fs.rm(folder, { recursive: true }));
  return folder;
}

test('what is in a file is on the disk before it takes its name, and its name before it is promised', async (t) => {
  const folder = await folderFor(t);
  const steps: string[] = [];
  const { open, rename } = fs;
  t.mock.method(fs, 'open', async (...args: Parameters<typeof open>) => {
    const file = await open(...args);
    const sync = file.sync.bind(file);
    t.mock.method(file, 'sync', () => {
      steps.push(`sync ${basename(String(args[0]))}`);
      return sync();
    });
    return file;
  });
  t.mock.method(fs, 'rename', (from: string, to: string) => {
    steps.push(`name ${basename(to)}`);
    return rename(from, to);
  });
  await replaceFile(join(folder, 'one'), 'first');
  assert.deepEqual(steps, ['sync one.new', 'name one', `sync ${basename(folder)}`]);
});

test('one that cannot be replaced stays, and nothing is left beside it', async (t) => {
  const folder = await folderFor(t);
  const path = join(folder, 'one');
  await replaceFile(path, 'first');
  t.mock.method(fs, 'rename', () => Promise.reject(new Error('EROFS')));
  await assert.rejects(replaceFile(path, 'second'), /EROFS/);
  assert.equal(await fs.readFile(path, 'utf8'), 'first');
  assert.deepEqual(await fs.readdir(folder), ['one']);
});
