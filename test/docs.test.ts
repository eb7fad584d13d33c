import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, describe, test } from 'node:test';
import { VERBS } from '../src/cli/verbs.js';
import { loadPlant } from '../src/config/loadplant.js';
import { formatProblem } from '../src/config/problems.js';
import { packageFolder } from '../src/entry.js';

/**
 * Every YAML block of README and docs is a gateway file, or a part of one that stands at its top level; "..." or
 * comments that say so are no way around it. Files that a block names are there, empty.
 */
const root = packageFolder();
const folder = mkdtempSync(join(tmpdir(), 'holdfast-docs-'));
after(() => rmSync(folder, { recursive: true }));
for (const name of ['users.passwd', 'server.crt', 'server.key', 'ca.crt'])
  writeFileSync(join(folder, name), '');

const pages = [
  'README.md',
  'README.zh-CN.md',
  ...readdirSync(join(root, 'docs')).map((name) => join('docs', name)),
].filter((name) => name.endsWith('.md'));

test('every file that a page links to or shows is there', () => {
  for (const page of pages) {
    const links = readFileSync(join(root, page), 'utf8').matchAll(/\]\((?!\w+:)([^)#]+)/g);
    for (const [, target = ''] of links)
      assert.ok(existsSync(join(root, dirname(page), target)), `${page}: ${target}`);
  }
});

test('every npm command that a page names is one', () => {
  // Our own file.
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>;
  };
  for (const page of pages) {
    for (const [, name = ''] of readFileSync(join(root, page), 'utf8').matchAll(/npm run ([a-z][\w:-]*)/g))
      assert.ok(name in scripts || name === 'accept', `${page}: npm run ${name}`);
  }
});

test('every verb and option that a page names is one', async () => {
  const verbs = new Map(
    await Promise.all(VERBS.map(async ({ name, load }) => [name, (await load()).verb] as const)),
  );
  for (const page of pages) {
    const commands = readFileSync(join(root, page), 'utf8').matchAll(
      /^(?: {4,}|.*`)(?:node dist\/main\.js|node holdfast\.js|holdfast) ([a-z]+)\b([^`\n]*)/gm,
    );
    for (const [whole, name = '', rest = ''] of commands) {
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

for (const page of pages) {
  const text = readFileSync(join(root, page), 'utf8');
  const blocks = [...text.matchAll(/^( *)```yaml\n([\s\S]*?)^ *```$/gm)];
  if (blocks.length === 0) continue;
  describe(page, () => {
    for (const block of blocks) {
      const line = text.slice(0, block.index).split('\n').length;
      test(`the YAML at line ${line} is valid`, async () => {
        const [, indent = '', body = ''] = block;
        const yaml = body.replaceAll(new RegExp(`^${indent}`, 'gm'), '');
        const file = join(folder, 'gateway.yaml');
        writeFileSync(file, /^version:/m.test(yaml) ? yaml : `version: 1\n${yaml}`);
        const { problems } = await loadPlant(file);
        const errors = problems.filter(({ severity }) => severity === 'error');
        assert.deepEqual(errors.map(formatProblem), []);
      });
    }
  });
}
