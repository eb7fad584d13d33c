/**
 * Folders of cases: config.yaml beside expected.txt, which holds every problem as `holdfast check` prints it. A case
 * whose expected.txt is empty loads without a word.
 */
import assert from 'node:assert/strict';
import { chmodSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadPlant } from '../../src/config/loadplant.js';
import { formatProblem } from '../../src/config/problems.js';
import { packageFolder } from '../../src/entry.js';

const folder = join(packageFolder(), 'test/config/cases');

// A checkout does not keep modes; secrets that everybody can read are a warning.
for (const file of ['server.key', 'users.passwd']) chmodSync(join(folder, 'contract', file), 0o600);
chmodSync(join(folder, 'privacy', 'open.key'), 0o644);
chmodSync(join(folder, 'privacy', 'users.passwd'), 0o640);
chmodSync(join(folder, 'users', 'users.passwd'), 0o600);

for (const name of readdirSync(folder).sort()) {
  test(`case ${name} is answered with its expected problems`, async () => {
    const file = join(folder, name, 'config.yaml');
    const { plant, problems } = await loadPlant(file, { SPEED: '19200', HOST: '127.0.0.1' });
    const said = problems
      .map(formatProblem)
      .join('\n')
      .replaceAll(join(folder, name), '')
      .replaceAll(packageFolder(), 'PACKAGE')
      .replaceAll(/^\//gm, '');
    assert.equal(said.trim(), readFileSync(join(folder, name, 'expected.txt'), 'utf8').trim());
    assert.equal(
      plant === null,
      problems.some(({ severity }) => severity === 'error'),
    );
  });
}
