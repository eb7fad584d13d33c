import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { mainFile } from '../support/holdfast.js';
import { temporaryFolder } from '../support/stores.js';
import { startHost } from './process.js';

/** A file system of its own that can be turned read-only; null where that cannot be had. */
function mounted(context: TestContext): string | null {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-readonly-'));
  const isMounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'tmpfs', folder]).status === 0;
  context.after(() => {
    if (isMounted) spawnSync('umount', ['-l', folder]);
    rmSync(folder, { recursive: true, force: true });
  });
  return isMounted ? folder : null;
}

/** Starts the gateway with a store there, which must fail; resolves with exit code and what was said. */
async function refusalOf(
  context: TestContext,
  path: string,
): Promise<{ code: number | null; output: string }> {
  const config = join(temporaryFolder(context), 'holdfast.yaml');
  const listener = '{ protocol: mqtt, host: 127.0.0.1, port: 0 }';
  writeFileSync(
    config,
    `version: 1\ngateway: { id: start }\nbroker:\n  listeners: [${listener}]\n  anonymous: true\n  store: { path: ${path} }\n`,
  );
  const child = spawn(process.execPath, [mainFile, 'run', '--config', config], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (bytes: Buffer) => (output += bytes.toString()));
  const [code] = (await once(child, 'exit')) as [number | null];
  return { code, output };
}

test('a store on a read-only file system refuses the start, and says what to do', async (context) => {
  const disk = mounted(context);
  if (disk === null) return context.skip('needs the right to mount a tmpfs');
  const used = join(disk, 'used');
  mkdirSync(used);
  const host = await startHost(used, 'product');
  await host.kill();
  assert.equal(spawnSync('mount', ['-o', 'remount,ro', disk]).status, 0);
  for (const path of [join(disk, 'new'), join(used, 'data')]) {
    const { code, output } = await refusalOf(context, path);
    assert.equal(code, 1, output);
    assert.ok(output.includes(`${path}: is on a read-only file system: mount it writable`), output);
    assert.match(output, /name another folder as 'path' of the store, or have 'store: memory'/);
    assert.doesNotMatch(output, /"ready"/, 'no listener was opened');
  }
});

test('a store where a file is in the way refuses the start, and says what to do', async (context) => {
  const file = join(temporaryFolder(context), 'file');
  writeFileSync(file, '');
  for (const path of [file, join(file, 'data')]) {
    const { code, output } = await refusalOf(context, path);
    assert.equal(code, 1, output);
    assert.ok(output.includes(`${path}: is no folder`), output);
    assert.match(output, /name another folder as 'path' of the store, or have 'store: memory'/);
  }
});
