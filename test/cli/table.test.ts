/** What comes from the table of verbs: help, the man page; and schemas. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { helpOf, helpOfAll } from '../../src/cli/help.js';
import { manPage } from '../../src/cli/manpage.js';
import { VERBS } from '../../src/cli/verbs.js';
import { packageFolder } from '../../src/entry.js';
import { holdfast } from '../support/holdfast.js';

const verbs = await Promise.all(VERBS.map(async (entry) => (await entry.load()).verb));

test('every verb has help within 80 columns that begins with examples of that verb', () => {
  for (const verb of verbs) {
    const help = helpOf(verb);
    for (const line of help.split('\n')) assert.ok([...line].length <= 80, line);
    assert.match(help.split('\n')[2] ?? '', new RegExp(`^ {2}holdfast ${verb.name}`));
  }
  for (const line of helpOfAll(VERBS, verbs).split('\n')) assert.ok(line.length <= 80, line);
  assert.deepEqual(VERBS.map(({ name }) => name), verbs.map(({ name }) => name)); // prettier-ignore
});

test('the man page names every verb and option, and is the one that is kept', () => {
  const page = manPage(verbs);
  for (const { name, options } of verbs) {
    assert.ok(page.includes(`.SS holdfast ${name}`));
    for (const { flags } of options)
      assert.ok(page.includes(flags.replaceAll('-', '\\-')), `${name} ${flags}`);
  }
  assert.equal(readFileSync(join(packageFolder(), 'docs/holdfast.1'), 'utf8'), page);
});

test('schemas are those that are shipped, and version says what runs', async () => {
  const kept = readFileSync(join(packageFolder(), 'config/gateway.schema.json'), 'utf8');
  assert.equal((await holdfast(['schema'])).stdout, kept);
  assert.match((await holdfast(['schema', 'map'])).stdout, /device map/i);
  assert.equal((await holdfast(['schema', 'x'])).code, 2);
  assert.match((await holdfast(['version'])).stdout, /^holdfast \d/);
});
