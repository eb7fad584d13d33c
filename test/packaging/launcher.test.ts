import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { productVersion } from '../../src/cli/version.js';
import { packageFolder } from '../../src/entry.js';

test('the start script finds the program, however it is linked, and keeps the allocator short', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-launcher-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const command = join(folder, 'holdfast');
  symlinkSync(join(packageFolder(), 'packaging/holdfast.sh'), command);
  const printed = execFileSync(command, ['--version'], { encoding: 'utf8' });
  assert.equal(printed, `holdfast ${productVersion()}\n`);

  // A password that nobody gives keeps it running until it was looked at.
  const child = spawn(command, ['passwd', '--file', join(folder, 'users.passwd'), 'anna']);
  t.after(() => child.kill('SIGKILL'));
  await once(child, 'spawn');
  const environment = (): string => readFileSync(`/proc/${child.pid ?? 0}/environ`, 'utf8');
  while (!environment().includes('MALLOC_ARENA_MAX=2')) {
    assert.equal(child.exitCode, null, 'it ended before its environment was seen');
    await new Promise((resolve) => setImmediate(resolve));
  }
});
