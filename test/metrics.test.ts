import assert from 'node:assert/strict';
import { closeSync, openSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';
import { processMemory } from '../src/metrics.js';

test('what the process takes is told though no descriptor is left', () => {
  if (process.env['HOLDFAST_FEW_DESCRIPTORS'] === undefined) {
    const { status, stderr } = spawnSync(
      '/bin/sh',
      ['-c', 'ulimit -n 64; exec "$@"', 'sh', process.execPath, fileURLToPath(import.meta.url)],
      { env: { ...process.env, HOLDFAST_FEW_DESCRIPTORS: 'yes', NODE_TEST_CONTEXT: undefined } },
    );
    assert.equal(status, 0, String(stderr));
    return;
  }
  const before = processMemory();
  const files: number[] = [];
  assert.throws(() => {
    for (;;) files.push(openSync('/dev/null', 'r'));
  }, /EMFILE/);
  const { residentBytes, heapBytes } = processMemory();
  files.forEach((file) => closeSync(file));
  assert.equal(residentBytes, before.residentBytes);
  assert.ok(heapBytes > 0);
});
