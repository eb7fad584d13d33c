import assert from 'node:assert/strict';
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, describe, test } from 'node:test';
import { VERBS } from '../../src/cli/verbs.js';
import { loadPlant } from '../../src/config/loadplant.js';
import { formatProblem } from '../../src/config/problems.js';
import { blocksOf, PAGES, root, textOf } from './pages.js';

/**
 * Every YAML block of README and docs is a gateway file, or a part of one that stands at its top level; "..." or
 * comments that say so are no way around it. Files that a block names are there. Commands are run in
 * commands.test.ts.
 */
const folder = mkdtempSync(join(tmpdir(), 'holdfast-docs-'));
after(() => rmSync(folder, { recursive: true }));
const ready = join(root, 'test/config/cases/contract');
for (const name of ['server.crt', 'ca.crt', 'cloud-ca.crt', 'plant-7.crt'])
  copyFileSync(join(ready, 'server.crt'), join(folder, name));
for (const name of ['server.key', 'plant-7.key']) copyFileSync(join(ready, 'server.key'), join(folder, name));
writeFileSync(join(folder, 'users.passwd'), '');

test('every file that a page links to or shows is there', () => {
  for (const page of PAGES) {
    for (const [, target = ''] of textOf(page).matchAll(/\]\((?!\w+:)([^)#]+)/g))
      assert.ok(existsSync(join(root, dirname(page), target)), `${page}: ${target}`);
  }
});

test('every npm command that a page names is one', () => {
  // Our own file.
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>;
  };
  for (const page of PAGES) {
    for (const [, name = ''] of textOf(page).matchAll(/npm run (?!accept:NAME)([a-z][\w:-]*)/g))
      assert.ok(name in scripts, `${page}: npm run ${name}`);
  }
});

test('every verb and option that a page names is one', async () => {
  const verbs = new Map(
    await Promise.all(VERBS.map(async ({ name, load }) => [name, (await load()).verb] as const)),
  );
  for (const page of PAGES) {
    const commands = textOf(page).matchAll(
      /^(?: *|.*`)(?:node dist\/main\.js|node holdfast\.js|holdfast) ([a-z]+)\b([^`\n]*)/gm,
    );
    for (const [whole, name = '', rest = ''] of commands) {
      // A sentence that begins a line, or a verb.
      if (!verbs.has(name) && !whole.includes('`') && !/ -/.test(rest)) continue;
      const verb = verbs.get(name);
      assert.ok(verb, `${page}: ${whole.trim()}`);
      for (const [, option = ''] of rest.matchAll(/\s(--[a-z][a-z-]*)/g))
        assert.ok(
          verb.options.some(({ flags }) => flags.split(/[ ,]+/).includes(option)),
          `${page}: ${name} ${option}`,
        );
    }
  }
});

test('every block says what it is, so that commands are known as such and run', () => {
  for (const page of PAGES) {
    for (const { language, line } of blocksOf(page))
      assert.match(language, /^(sh|yaml|json|text)$/, `${page}:${line}`);
    // Four blanks after an empty line are a block without a name.
    assert.doesNotMatch(textOf(page).replaceAll(/^( *)```[\s\S]*?^\1```$/gm, ''), /\n\n {4,}\S/, page);
  }
});

test('every JSON line of a page is JSON', () => {
  for (const page of PAGES) {
    for (const { language, line, text } of blocksOf(page)) {
      if (language !== 'json') continue;
      for (const one of text.trim().split('\n'))
        assert.doesNotThrow(() => JSON.parse(one), `${page}:${line}: ${one}`);
    }
  }
});

test('both languages of the README show the same commands, files, codes and links', () => {
  const shown = (page: string): unknown => ({
    blocks: blocksOf(page).map(({ language, text }) => [language, text.replaceAll(/ *#.*$/gm, '')]),
    // What stands in the first cell of tables, and the long runs.
    codes: textOf(page).match(/^\| (\d+|`[^`]+`) \|/gm),
    links: [...textOf(page).matchAll(/\]\(((?!README)[^)]+\.md)/g)].map(([, target]) => target).sort(),
  });
  assert.deepEqual(shown('README.zh-CN.md'), shown('README.md'));
});

for (const page of PAGES) {
  const blocks = blocksOf(page).filter(({ language }) => language === 'yaml');
  if (blocks.length === 0) continue;
  describe(page, () => {
    for (const { line, text } of blocks) {
      test(`the YAML at line ${line} is valid`, async () => {
        const file = join(folder, 'gateway.yaml');
        writeFileSync(file, /^version:/m.test(text) ? text : `version: 1\n${text}`);
        const { problems } = await loadPlant(file);
        const errors = problems.filter(({ severity }) => severity === 'error');
        assert.deepEqual(errors.map(formatProblem), []);
      });
    }
  });
}
