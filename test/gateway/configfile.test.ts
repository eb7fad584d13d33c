import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { loadPlant } from '../../src/config/loadplant.js';
import { ConfigFile } from '../../src/gateway/configfile.js';

const folder = mkdtempSync(join(tmpdir(), 'holdfast-config-'));
after(() => rmSync(folder, { recursive: true }));
const file = join(folder, 'holdfast.yaml');
const OLD = 'version: 1\nbroker: { anonymous: true }\n';
writeFileSync(file, OLD);
const config = new ConfigFile(file, (path) => loadPlant(path));

test('a draft is checked beside the file, with the words of check, and leaves nothing behind', async () => {
  const problems = await config.check(`${OLD}brokr: {}\n`);
  assert.deepEqual(
    problems.map(({ file: named, line, column, code }) => ({ named, line, column, code })),
    [{ named: file, line: 3, column: 1, code: 'HF1101' }],
  );
  assert.deepEqual(await config.check(OLD), []);
  assert.deepEqual(readdirSync(folder), ['holdfast.yaml']);
});

test('several drafts are checked at once, each for itself', async () => {
  const drafts = Array.from({ length: 8 }, (_none, i) => `${OLD}brokr${i}: {}\n`);
  const found = await Promise.all(drafts.map((text) => config.check(text)));
  found.forEach((problems, i) => assert.equal(problems[0]?.path, `brokr${i}`));
  assert.deepEqual(readdirSync(folder), ['holdfast.yaml']);
});

test('more drafts than people have are refused, and taken again when some were checked', async () => {
  let release = (): void => {};
  const held = new Promise<void>((resolve) => (release = resolve));
  const slow = new ConfigFile(file, (path) => held.then(() => loadPlant(path)));
  const checks = Array.from({ length: 8 }, () => slow.check(OLD));
  await assert.rejects(slow.check(OLD), /8 texts are being checked; ask again later/);
  release();
  assert.deepEqual((await Promise.all(checks)).flat(), []);
  assert.deepEqual(await slow.check(OLD), []);
});

test('a replaced file can be put back, and its last version stays beside it', async () => {
  const putBack = await config.replace('version: 1\n');
  assert.equal(readFileSync(file, 'utf8'), 'version: 1\n');
  assert.equal(readFileSync(`${file}.previous`, 'utf8'), OLD);
  await putBack();
  assert.equal(readFileSync(file, 'utf8'), OLD);
});
