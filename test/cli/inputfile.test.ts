import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { inputFile } from '../../src/cli/inputfile.js';
import { UsageError } from '../../src/cli/verb.js';

const folder = mkdtempSync(join(tmpdir(), 'holdfast-input-'));
after(() => rmSync(folder, { recursive: true }));

test('a file that is named is read, or the error says which one and why not', () => {
  const file = join(folder, 'list.csv');
  writeFileSync(file, 'name');
  assert.equal(inputFile(file).toString(), 'name');
  const missing = join(folder, 'lost.csv');
  assert.throws(() => inputFile(missing), new UsageError(`${missing} cannot be read: there is no such file`));
  assert.throws(() => inputFile(folder), new UsageError(`${folder} cannot be read: it is a folder`));
});
