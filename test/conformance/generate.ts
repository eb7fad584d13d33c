/** docs/conformance.md: every statement of both specifications beside the tests that show it, read from the tests' source. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import type { Statement } from './statement.js';
import { statements311 } from './statements311.js';
import { statements50 } from './statements50.js';

interface Shown {
  readonly file: string;
  readonly title: string;
}

type Tests = Map<string, Shown[]>;

/** Statements of chapters 1 to 4 and 6 in each specification's appendix B. */
const LISTED = { v3: 137, v5: 251 };

export async function generated(root: string): Promise<Map<string, string>> {
  const tests = { v3: new Map(), v5: new Map() } satisfies Record<'v3' | 'v5', Tests>;
  const folder = join(root, 'test/conformance');
  for (const file of readdirSync(folder)
    .filter((name) => name.endsWith('.test.ts'))
    .sort())
    collect(`test/conformance/${file}`, readFileSync(join(folder, file), 'utf8'), tests);
  const text = [
    '# Conformance',
    '',
    'Generated from the tests; `npm run generate` writes it, `npm run check` fails when it is stale.',
    '',
    ...summary(tests),
    '',
    'A statement that binds the client alone is counted and listed at the end; where the server has to answer a client’s',
    'breach, the statement stands with the server’s. Each test runs against a real broker over real sockets and has the',
    'statement’s id in its name: `MQTT3` for 3.1.1, `MQTT5` for 5.0. The statements are told in our own words.',
    ...chapter('MQTT 3.1.1', statements311, tests.v3),
    ...chapter('MQTT 5.0', statements50, tests.v5),
    '',
  ].join('\n');
  return new Map([['docs/conformance.md', text]]);
}

/** Every conforms() call of a file; ids and title must be literals. */
function collect(file: string, text: string, tests: Record<'v3' | 'v5', Tests>): void {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.ESNext, true);
  const visit = (node: ts.Node): void => {
    if (ts.isCallExpression(node) && node.expression.getText(source) === 'conforms') record(node);
    ts.forEachChild(node, visit);
  };
  const record = (call: ts.CallExpression): void => {
    const [shown, title] = call.arguments;
    assert.ok(shown && ts.isObjectLiteralExpression(shown), `${file}: conforms() without literal ids`);
    assert.ok(title && ts.isStringLiteralLike(title), `${file}: conforms() without a literal title`);
    for (const entry of shown.properties) {
      assert.ok(ts.isPropertyAssignment(entry) && ts.isStringLiteralLike(entry.initializer), `${file}: ids of ${title.text}`); // prettier-ignore
      const version = entry.name.getText(source);
      assert.ok(version === 'v3' || version === 'v5', `${file}: version ${version}`);
      for (const id of entry.initializer.text.split(' '))
        add(tests[version], id, { file, title: title.text });
    }
  };
  visit(source);
}

function add(tests: Tests, id: string, shown: Shown): void {
  tests.set(id, [...(tests.get(id) ?? []), shown]);
}

function summary(tests: Record<'v3' | 'v5', Tests>): string[] {
  const row = (name: string, listed: number, statements: readonly Statement[], shown: Tests): string => {
    assert.equal(statements.length, listed, `${name}: rows against the specification's own list`);
    assert.equal(new Set(statements.map(({ id }) => id)).size, listed, `${name}: an id twice`);
    const serverSide = statements.filter(({ side }) => side === 'server');
    const hidden = serverSide.filter(({ notObservable }) => notObservable !== undefined);
    check(name, statements, shown);
    return `| ${[name, listed, listed - serverSide.length, serverSide.length, serverSide.length - hidden.length, hidden.length].join(' | ')} |`; // prettier-ignore
  };
  return [
    '| version | statements of chapters 1 to 4 and 6 | of the client alone | of the server | shown by a test | not observable |',
    '|---|---|---|---|---|---|',
    row('MQTT 3.1.1', LISTED.v3, statements311, tests.v3),
    row('MQTT 5.0', LISTED.v5, statements50, tests.v5),
  ];
}

/** No row without a test, no test without a row. */
function check(name: string, statements: readonly Statement[], tests: Tests): void {
  const known = new Set(statements.map(({ id }) => id));
  const unknown = [...tests.keys()].filter((id) => !known.has(id));
  assert.deepEqual(unknown, [], `${name}: tests name statements that are not in the list`);
  const untested = statements.filter(({ id, side, notObservable }) => side === 'server' && notObservable === undefined && !tests.has(id)); // prettier-ignore
  assert.deepEqual(untested.map(({ id }) => id), [], `${name}: statements without a test`); // prettier-ignore
  const contradicted = statements.filter(({ id, notObservable }) => notObservable !== undefined && tests.has(id)); // prettier-ignore
  assert.deepEqual(contradicted.map(({ id }) => id), [], `${name}: not observable, yet shown by a test`); // prettier-ignore
}

function chapter(name: string, statements: readonly Statement[], tests: Tests): string[] {
  const rows = statements
    .filter(({ side }) => side === 'server')
    .map((statement) => {
      const shown = (tests.get(statement.id) ?? []).map(({ file, title }) => `\`${file}\`: ${title}`);
      const proof = statement.notObservable === undefined ? shown.join('<br>') : `not observable: ${statement.notObservable}`; // prettier-ignore
      return `| ${[`MQTT-${statement.id}`, statement.asks, proof].map(escaped).join(' | ')} |`;
    });
  const clients = statements.filter(({ side }) => side === 'client');
  return [
    '',
    `## ${name}`,
    '',
    '| statement | what it asks | shown by |',
    '|---|---|---|',
    ...rows,
    '',
    `### ${name}, of the client alone`,
    '',
    '| statement | what it asks |',
    '|---|---|',
    ...clients.map(({ id, asks }) => `| MQTT-${id} | ${escaped(asks)} |`),
  ];
}

function escaped(cell: string): string {
  return cell.replaceAll('|', '\\|');
}
