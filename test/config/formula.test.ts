import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseFormula } from '../../src/config/formula.js';
import { compileFormula } from '../../src/poller/formula.js';
import type { Value } from '../../src/modbus/values.js';

const TAGS: Readonly<Record<string, Value>> = { a: 6, b: 4, big: 2n ** 60n, alarms: 2n ** 63n + 1n, more: 2n ** 63n + 2n, on: true, off: false, mode: 'auto', 'm1/speed': 1450, 'total-power': 12.5 }; // prettier-ignore
const NAMES = Object.keys(TAGS);
const find = (name: string): number | undefined => (NAMES.includes(name) ? NAMES.indexOf(name) : undefined);

function valueOf(text: string, tags = TAGS): Value | undefined {
  const formula = parseFormula(text, find, () => NAMES);
  assert.notEqual(typeof formula, 'string', `${text}: ${String(formula)}`);
  if (typeof formula === 'string') return undefined;
  return compileFormula(formula)(formula.inputs.map((index) => tags[NAMES[index] ?? ''] ?? NaN));
}

const problemOf = (text: string): string => {
  const formula = parseFormula(text, find, () => NAMES);
  assert.equal(typeof formula, 'string', `${text} was understood`);
  return String(formula);
};

test('arithmetic, comparison, choice and functions give what they say', () => {
  const cases: [string, Value | undefined][] = [
    ['a + b * 2', 14],
    ['(a + b) * 2', 20],
    ['-a - -b', -2],
    ['a / b', 1.5],
    ['a % b', 2],
    ['a * 0.1 + a * 0.2', 1.8],
    ['a > b && on', true],
    ['!on || a == 6', true],
    ['a <= 6 && b <= 5', true],
    ['a <= 5', false],
    ['a >= 6 && a >= b', true],
    ['b >= a', false],
    ['a < 6 || a > 6', false],
    ['mode == "auto" ? a : b', 6],
    ["mode != 'auto' ? a : b", 4],
    ['off ? 1 : on ? a : b', 6],
    ['abs(b - a)', 2],
    ['min(a, b, 5)', 4],
    ['max(a, b)', 6],
    ['mean(a, b)', 5],
    ['sum(a, b, on)', 11],
    ['round(a / 7, 2)', 0.86],
    ['round(-a / 4)', -1],
    ['round(a / 4.0e9, 3)', 0],
    ['round(-a / 4.0e9, 10)', -1.5e-9],
    ['round(1.005 * on, 2)', 1.01],
    ['round(a * 1e22)', 6e22],
    ['alarms == more || alarms >= more', false],
    ['alarms < more && alarms <= more && more > alarms', true],
    ['alarms == alarms && alarms > 1.5', true],
    ['round(big, -15)', 1153e15],
    ['clamp(a, 0, 5)', 5],
    ['pow(a, 2)', 36],
    ['hypot(a, b * 2)', 10],
    ['bit(a, 1) + bit(a, 0)', 1],
    ['bit(-a, 1) * 10 + bit(-a, 0)', 10],
    ['bit(-a, 15)', 1],
    ['bit(alarms, 63) * 100 + bit(alarms, 1) * 10 + bit(alarms, 0)', 101],
    ['m1.speed / 100', 14.5],
    ['tag("total-power") * 2', 25],
    ['big / pow(2, 50)', 1024],
    ['cos(a * 0) * pi', 3.1415926535898],
    ['a / 0', undefined],
    ['sqrt(-a)', undefined],
    ['mode + 1', undefined],
    ['mode', 'auto'],
  ];
  for (const [text, value] of cases) assert.equal(valueOf(text), value, text);
});

test('what is no formula is told with what to do', () => {
  assert.match(problemOf('aa + 1'), /names aa, and there is no such tag in this device; did you mean a\?/);
  assert.match(problemOf('a ^ 2'), /has \^, which is not known; write pow\(a, b\)/);
  assert.match(problemOf('a === b'), /write ==/);
  assert.match(problemOf('sin()'), /gives sin 0 values, and it takes 1/);
  assert.match(problemOf('root(a)'), /calls root, which is not known; known are abs, min/);
  assert.match(problemOf('a b'), /operator is missing/);
  assert.match(problemOf('a +'), /is not understood: .*character/);
  assert.match(problemOf('1 + 2'), /names no tag/);
  assert.match(problemOf('a'.repeat(501)), /longer than 500/);
});

test('there is no way out of a formula', () => {
  for (const text of [
    'constructor',
    'a.constructor',
    'a.constructor.constructor("return 1")()',
    'this.a',
    'globalThis',
    'process.exit()',
    '__proto__',
    'toString()',
    'hasOwnProperty("a")',
    'a["constructor"]',
    'tag.constructor(a)',
    '[a, b]',
    'if(a, 1, 2)',
    'a = 1',
    'null + a',
    '`${a}`',
  ])
    // prettier-ignore
    problemOf(text);
});

test('any text is understood or refused, and what is understood gives a value or none', () => {
  const word = fc.constantFrom('a', 'b', 'on', 'mode', '1', '2.5', '+', '-', '*', '/', '%', '(', ')', ',', '?', ':', '==', '<', '&&', '!', 'min', 'round', 'm1.speed', '"x"', ' '); // prettier-ignore
  fc.assert(
    fc.property(fc.array(word, { maxLength: 30 }), (words) => {
      const formula = parseFormula(words.join(''), find, () => NAMES);
      if (typeof formula === 'string') return;
      const value = compileFormula(formula)(formula.inputs.map((index) => TAGS[NAMES[index] ?? ''] ?? NaN));
      assert.ok(value === undefined || typeof value !== 'number' || Number.isFinite(value));
    }),
    { numRuns: 3000 },
  );
  fc.assert(fc.property(fc.string({ maxLength: 60, unit: 'binary' }), (text) => void parseFormula(text, find, () => NAMES))); // prettier-ignore
});

test('deep nesting is no danger', () => {
  assert.equal(valueOf(`${'('.repeat(200)}a${')'.repeat(200)}`), 6);
  assert.equal(valueOf(`${'-'.repeat(400)}a`), 6);
});
