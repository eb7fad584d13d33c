import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { packageFolder } from '../../src/entry.js';
import { generated } from './generate.js';

/** The tests' sources in a folder of their own, one of them changed. */
async function generatedWith(file: string, change: (text: string) => string): Promise<string> {
  const root = mkdtempSync(join(tmpdir(), 'holdfast-table-'));
  try {
    cpSync(join(packageFolder(), 'test/conformance'), join(root, 'test/conformance'), { recursive: true });
    const path = join(root, 'test/conformance', file);
    writeFileSync(path, change(readFileSync(path, 'utf8')));
    return (await generated(root)).get('docs/conformance.md') ?? '';
  } finally {
    rmSync(root, { recursive: true });
  }
}

test('every server-side statement has a row with its test, and the page says how many', async () => {
  const page = await generatedWith('connect.test.ts', (text) => text);
  assert.match(page, /\| MQTT 3\.1\.1 \| 137 \| 8 \| 129 \|/);
  assert.match(page, /\| MQTT 5\.0 \| 251 \| 17 \| 234 \|/);
  assert.match(page, /\| MQTT-3\.12\.4-1 \| [^|]+ \| `test\/conformance\/[a-z]+\.test\.ts`: /);
});

test('a statement whose test is gone stops the generator', async () => {
  await assert.rejects(
    generatedWith('topics.test.ts', () => ''),
    /4\.7\.2-1/,
  );
});

test('a test of a statement that does not exist stops the generator', async () => {
  const change = (text: string): string => text.replace("'4.7.2-1'", "'4.7.2-9'");
  await assert.rejects(generatedWith('topics.test.ts', change), /4\.7\.2-9/);
});
