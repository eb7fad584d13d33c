/**
 * The tree of a formula -> a function of its inputs' values. Whatever is not a value in the end (a division by zero, a
 * sum with a text) is undefined: not available. Nothing here can be reached but the functions of the table.
 */
import type { Formula, FormulaFunction, FormulaNode } from '../config/plant.js';
import type { Value } from '../modbus/values.js';

type Values = readonly Value[];
type Evaluate = (values: Values) => Value;

export function compileFormula({ root }: Formula): (values: Values) => Value | undefined {
  const evaluate = compile(root);
  return (values) => {
    const value = evaluate(values);
    if (typeof value !== 'number') return value;
    if (!Number.isFinite(value)) return undefined;
    // Without the digits that only binary arithmetic put there.
    return Number.isInteger(value) ? value : Number(value.toPrecision(14));
  };
}

function compile(node: FormulaNode): Evaluate {
  switch (node.kind) {
    case 'constant': {
      const { value } = node;
      return () => value;
    }
    case 'input': {
      const { position } = node;
      return (values) => values[position] ?? NaN;
    }
    case 'call':
      return compileCall(node.name, node.args.map(compile));
  }
}

function compileCall(name: FormulaFunction, args: readonly Evaluate[]): Evaluate {
  const [a = nothing, b = nothing, c = nothing] = args;
  switch (name) {
    case '==':
      return (values) => isEqual(a(values), b(values));
    case '!=':
      return (values) => !isEqual(a(values), b(values));
    case '&&':
      return (values) => isTrue(a(values)) && isTrue(b(values));
    case '||':
      return (values) => isTrue(a(values)) || isTrue(b(values));
    case 'not':
      return (values) => !isTrue(a(values));
    case 'if':
      return (values) => (isTrue(a(values)) ? b(values) : c(values));
    case '<':
      return (values) => amountOf(a(values)) < amountOf(b(values));
    case '<=':
      return (values) => amountOf(a(values)) <= amountOf(b(values));
    case '>':
      return (values) => amountOf(a(values)) > amountOf(b(values));
    case '>=':
      return (values) => amountOf(a(values)) >= amountOf(b(values));
    case 'bit':
      return (values) => bitOf(a(values), numberOf(b(values)));
    default: {
      const calculate = ARITHMETIC[name];
      return (values) => calculate(...args.map((arg) => numberOf(arg(values))));
    }
  }
}

type Other = '==' | '!=' | '&&' | '||' | 'not' | 'if' | '<' | '<=' | '>' | '>=' | 'bit';

const sum = (...all: number[]): number => all.reduce((total, one) => total + one, 0);

const ARITHMETIC: Readonly<Record<Exclude<FormulaFunction, Other>, (...numbers: number[]) => number>> = {
  '+': (a = NaN, b = NaN) => a + b,
  '-': (a = NaN, b = NaN) => a - b,
  '*': (a = NaN, b = NaN) => a * b,
  '/': (a = NaN, b = NaN) => a / b,
  '%': (a = NaN, b = NaN) => a % b,
  negate: (a = NaN) => -a,
  abs: Math.abs,
  min: Math.min,
  max: Math.max,
  sum,
  mean: (...all) => sum(...all) / all.length,
  clamp: (value = NaN, least = NaN, most = NaN) => Math.min(Math.max(value, least), most),
  round: (value = NaN, digits = 0) => shifted(Math.round(shifted(value, digits)), -digits),
  floor: Math.floor,
  ceil: Math.ceil,
  sqrt: Math.sqrt,
  pow: Math.pow,
  exp: Math.exp,
  log: Math.log,
  log10: Math.log10,
  sin: Math.sin,
  cos: Math.cos,
  tan: Math.tan,
  atan2: Math.atan2,
  hypot: Math.hypot,
};

/** The decimal point moved, not the number multiplied: 1.005 times 100 would be a hair less than 100.5. */
function shifted(value: number, places: number): number {
  const [digits = '', exponent = '0'] = String(value).split('e');
  return Number(`${digits}e${Number(exponent) + places}`);
}

/** Of a negative number as its register has it. */
function bitOf(value: Value, index: number): number {
  if (typeof value === 'bigint' && index >= 0 && Number.isInteger(index))
    return Number((value >> BigInt(index)) & 1n);
  return Math.abs(Math.floor(numberOf(value) / 2 ** index) % 2);
}

function nothing(): Value {
  return NaN;
}

/** Texts are no numbers, whatever they look like. */
function numberOf(value: Value): number {
  return typeof value === 'string' ? NaN : Number(value);
}

/** To compare with: 64-bit integers with all their digits, even with a fraction. */
function amountOf(value: Value): number | bigint {
  return typeof value === 'bigint' ? value : numberOf(value);
}

function isTrue(value: Value): boolean {
  return typeof value === 'string' ? value !== '' : Number(value) !== 0 && !Number.isNaN(value);
}

function isEqual(a: Value, b: Value): boolean {
  if (typeof a === 'string' || typeof b === 'string') return a === b;
  const [one, other] = [amountOf(a), amountOf(b)];
  return one <= other && one >= other;
}
