import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { validate } from 'dockerfile-utils';
import { packageFolder } from '../../src/entry.js';

const text = readFileSync(join(packageFolder(), 'packaging/Dockerfile'), 'utf8');

test('the Dockerfile has no mistake that its linter knows', () => {
  assert.deepEqual(validate(text), []);
  // The linter is awake.
  assert.notDeepEqual(validate(text.replace('USER node', 'USR node')), []);
});

test('what the Dockerfile copies from the repository is there', () => {
  for (const [, from = ''] of text.matchAll(/^COPY (?!--from)(\S+)/gm))
    assert.ok(existsSync(join(packageFolder(), from)), from);
});
