/**
 * docs/security.md against the tests that it names: each is there. `npm run accept:evidence` takes each protection away in
 * a copy of the compiled program and shows that the requirement's test fails; HOLDFAST_EVIDENCE=R12,R12b does these rows.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { packageFolder } from '../../src/entry.js';
import { REMOVALS, type Removal } from './protections.js';

const IS_LONG = process.env['HOLDFAST_LONG'] === '1';
const CHOSEN = process.env['HOLDFAST_EVIDENCE']?.split(',') ?? [];
const isChosen = (id: string): boolean => CHOSEN.length === 0 || CHOSEN.includes(id);
const root = packageFolder();
const build = join(root, 'build');

interface Row {
  readonly id: string;
  /** Such as broker/framer. */
  readonly file: string;
  readonly title: string;
}

/** Table lines whose last cell is `room/file`: title. */
const rows: Row[] = [
  ...readFileSync(join(root, 'docs/security.md'), 'utf8').matchAll(
    /^\| (R\d+\w?) \|.*\| `([\w/]+)`: (.+) \|$/gm,
  ),
].map(([, id = '', file = '', title = '']) => ({ id, file, title }));

const sourceOf = ({ file }: Removal): string => readFileSync(join(build, 'src', `${file}.js`), 'utf8');

describe('docs/security.md', () => {
  test('names every requirement with a test and a removal', () => {
    assert.ok(rows.length >= 35);
    assert.deepEqual(
      rows.map(({ id }) => id).filter((id) => !REMOVALS.some(({ row }) => row === id)),
      [],
    );
    assert.deepEqual(
      REMOVALS.map(({ row }) => row).filter((row) => !rows.some(({ id }) => row === id)),
      [],
    );
  });

  for (const { id, file, title } of rows) {
    test(`${id} has its test`, () => {
      const path = join(root, 'test', `${file}.test.ts`);
      assert.ok(existsSync(path), path);
      assert.ok(readFileSync(path, 'utf8').includes(title), `${path} has no test "${title}"`);
    });
  }

  for (const removal of REMOVALS) {
    test(`${removal.row} is protected in ${removal.file}: ${removal.text.slice(0, 60)}`, () => {
      assert.equal(sourceOf(removal).split(removal.text).length, 2, 'the text stands there exactly once');
    });
  }
});

if (IS_LONG)
  describe('without its protection', () => {
    const copy = mkdtempSync(join(build, 'evidence-'));
    after(() => rmSync(copy, { recursive: true }));
    for (const part of ['src', 'test']) cpSync(join(build, part), join(copy, part), { recursive: true });

    const passes = ({ file, title }: Row): boolean => {
      const pattern = title.replaceAll(/[.*+?^${}()|[\]\\/]/g, '\\$&');
      const { status, stdout } = spawnSync(
        process.execPath,
        [
          '--test',
          '--test-timeout=60000',
          '--test-reporter=tap',
          `--test-name-pattern=${pattern}`,
          join(copy, 'test', `${file}.test.js`),
        ],
        {
          encoding: 'utf8',
          env: {
            ...process.env,
            HOLDFAST_LONG: '',
            HOLDFAST_MAIN: join(copy, 'src/main.js'),
            NODE_TEST_CONTEXT: undefined,
          },
        },
      );
      return status === 0 && /^# pass [1-9]/m.test(stdout);
    };

    /** The row's test without one of its protections; what is left must be a program still. */
    const passesWithout = (row: Row, removal: Removal): boolean => {
      const path = join(copy, 'src', `${removal.file}.js`);
      const whole = readFileSync(path, 'utf8');
      writeFileSync(
        path,
        whole.replace(removal.text, () => removal.instead),
      );
      try {
        assert.equal(
          spawnSync(process.execPath, ['--check', path]).status,
          0,
          `no program: ${removal.instead}`,
        );
        return passes(row);
      } finally {
        writeFileSync(path, whole);
      }
    };

    const table: string[] = [];
    for (const row of rows.filter(({ id }) => isChosen(id))) {
      test(`${row.id}: ${row.title}`, { timeout: 600_000 }, () => {
        const isWhole = passes(row);
        const removals = REMOVALS.filter(({ row: id }) => id === row.id);
        const unnoticed = removals.filter((removal) => passesWithout(row, removal));
        table.push(
          `${row.id.padEnd(5)} ${isWhole ? 'passes' : 'FAILS '}  ${removals.length} taken away, ` +
            `${removals.length - unnoticed.length} noticed  ${row.file}`,
        );
        assert.ok(isWhole, 'with the protection the test passes');
        assert.deepEqual(
          unnoticed.map(({ text }) => text),
          [],
          'nobody noticed that this is gone',
        );
      });
    }

    test('as a table', (context) => context.diagnostic(`\n${table.join('\n')}`));
  });
