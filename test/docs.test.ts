import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
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

const pages = ['README.md', ...readdirSync(join(root, 'docs')).map((name) => join('docs', name))].filter(
  (name) => name.endsWith('.md'),
);

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
