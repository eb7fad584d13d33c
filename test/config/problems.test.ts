import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { evaluate } from '../../src/config/expression.js';
import {
  type Problem,
  editDistance,
  formatProblem,
  nearest,
  pathText,
  sortProblems,
} from '../../src/config/problems.js';
import {
  durationText,
  spanText,
  parseDuration,
  parseNumbers,
  parseRange,
  parseSize,
  sizeText,
} from '../../src/config/units.js';

const problem = (text: string, line = 1): Problem => ({
  severity: 'error',
  file: 'a.yaml',
  line,
  column: 2,
  code: 'HF1101',
  path: 'x.y',
  text,
});

test('a problem is one line with file, line, column, code, path and text', () => {
  assert.equal(formatProblem(problem('is wrong')), 'a.yaml:1:2  HF1101  x.y: is wrong');
  assert.equal(
    formatProblem({ ...problem('is odd'), severity: 'warning', path: '', line: 0 }),
    'a.yaml  HF1101 warning  is odd',
  );
  assert.equal(pathText(['a', 3, 'b c', 'd.e', '\0__proto__']), 'a[3]."b c"."d.e".__proto__');
});

test('problems are sorted by place, and told once for all devices of one line', () => {
  const all = [
    problem('of meter-11 is wrong', 7),
    problem('of meter-10 is wrong', 7),
    problem('b', 3),
    problem('a', 7),
  ];
  assert.deepEqual(
    sortProblems(all).map(({ text }) => text),
    ['b', 'of meter-11 is wrong', 'a'],
  );
});

test('the nearest word is found, and none when none is near', () => {
  const words = ['float32', 'int16', 'uint16', 'rate', 'listeners'];
  const asked = ['flaot32', 'float', 'Int16', 'listner', 'rat', 'qqqq', ''];
  assert.deepEqual(
    asked.map((word) => nearest(word, words)),
    ['float32', 'float32', 'int16', 'listeners', 'rate', null, null],
  );
});

test('edit distance is a distance', () => {
  const word = fc.string({ maxLength: 8, unit: fc.constantFrom('a', 'b', 'c') });
  fc.assert(
    fc.property(word, word, (a, b) => {
      assert.equal(editDistance(a, b), editDistance(b, a));
      assert.equal(editDistance(a, b) === 0, a === b);
      assert.ok(editDistance(a, b) <= Math.max(a.length, b.length));
    }),
    { numRuns: 300, seed: 21 },
  );
});

test('durations and sizes are read and written', () => {
  assert.deepEqual(['500ms', '1.5s', '5m', '2h', '1d', '1', '1 s', '-1s', 's'].map(parseDuration), [
    500,
    1500,
    300_000,
    7_200_000,
    86_400_000,
    null,
    null,
    null,
    null,
  ]);
  assert.deepEqual(['64KiB', '16MiB', '1GiB', '5kB', '7B', '1K', ''].map(parseSize), [
    65_536,
    16_777_216,
    1_073_741_824,
    5000,
    7,
    null,
    null,
  ]);
  assert.deepEqual([1500, 60_000, 0.5, 90_000].map(durationText), ['1.5s', '1m', '0.5ms', '1.5m']);
  // Export writes durations, and import reads them.
  for (const ms of [1, 76_000, 100_000, 3_700_000, 12_345_678])
    assert.equal(parseDuration(durationText(ms)), ms);
  assert.deepEqual([200, 900, 76_000, 3_600_000, 4_576_000, 90_061_000].map(spanText), [
    '200ms',
    '1s',
    '1m 16s',
    '1h',
    '1h 16m',
    '1d 1h',
  ]);
  assert.deepEqual([65_536, 100].map(sizeText), ['64KiB', '100B']);
  assert.deepEqual(
    [parseRange('4-6'), parseRange('6-4'), parseRange('3')],
    [{ first: 4, last: 6 }, null, { first: 3, last: 3 }],
  );
  assert.deepEqual(
    [parseNumbers('1,2,5-7,2'), parseNumbers('1,x'), parseNumbers('0-99999999')],
    [[1, 2, 5, 6, 7], null, null],
  );
});

type Sum = readonly [text: string, value: (n: number) => number];

const combine = ([[a, x], sign, [b, y]]: readonly [Sum, string, Sum]): Sum => [
  `(${a} ${sign} ${b})`,
  (n) => (sign === '+' ? x(n) + y(n) : sign === '-' ? x(n) - y(n) : x(n) * y(n)),
];

test('address arithmetic gives what the signs say', () => {
  const { sum } = fc.letrec<{ sum: Sum }>((tie) => ({
    sum: fc.oneof(
      { maxDepth: 3 },
      fc.nat(50).map((value): Sum => [String(value), () => value]),
      fc.constant<Sum>(['n', (n) => n]),
      fc.tuple(tie('sum'), fc.constantFrom('+', '-', '*'), tie('sum')).map(combine),
    ),
  }));
  fc.assert(
    fc.property(sum, fc.nat(20), ([text, value], n) =>
      assert.equal(Number(evaluate(text, { n })) + 0, value(n) + 0),
    ),
    { numRuns: 200, seed: 22 },
  );
  assert.deepEqual(
    ['6 + 2*(n-1)', '-n', '7 % 4', '2*3+4*5', '0x10'].map((text) => evaluate(text, { n: 3 })),
    [10, -3, 3, 26, 16],
  );
  for (const text of [
    '1 +',
    ')',
    '1 / 0',
    '5 / 2',
    'm',
    'constructor',
    '__proto__',
    'n()',
    'n.x',
    '1 2',
    '',
  ]) {
    assert.equal(typeof evaluate(text, { n: 3 }), 'string', text);
  }
});
