import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { packageFolder } from '../../src/entry.js';

const { scripts } = JSON.parse(readFileSync(join(packageFolder(), 'package.json'), 'utf8')) as {
  scripts: Record<string, string>;
};
/** What hands its arguments to the program is left out: that has a help of its own. */
const files = new Set(
  Object.values(scripts).flatMap((command) => {
    const file = /^node ((?:scripts|bench)\/\S+)/.exec(command)?.[1];
    return file === undefined || /(run|demo)\.mjs$/.test(file.replace('bench/run', '')) ? [] : [file];
  }),
);

for (const file of files) {
  test(`${file} tells how it is used, and does nothing when it is asked what it does not know`, () => {
    const told = (argument: string) =>
      spawnSync(process.execPath, [join(packageFolder(), file), argument], { encoding: 'utf8' });
    const [help, wrong] = [told('--help'), told('--hepl')];
    assert.deepEqual([help.status, help.stderr], [0, '']);
    assert.match(help.stdout, /^usage: npm /);
    assert.deepEqual([wrong.status, wrong.stdout], [2, '']);
    assert.match(wrong.stderr, /'--hepl'.*\nusage: npm /);
  });
}

test('a room that is not there is refused before anything is built', () => {
  const { status, stderr } = spawnSync(
    process.execPath,
    [join(packageFolder(), 'scripts/test.mjs'), 'brokr'],
    {
      encoding: 'utf8',
    },
  );
  assert.deepEqual([status, stderr], [1, 'no test at test/brokr\n']);
});
