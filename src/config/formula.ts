/**
 * Values calculated from other tags of the same device: the text of an expression -> a tree of plain data, checked.
 * jsep reads the text; what it finds is only ever one of the nodes and functions below, so there is nothing in a
 * formula that could be called, changed or waited for. The only importer of jsep.
 */
import jsep from 'jsep';
import { FORMULA_FUNCTIONS, type Formula, type FormulaFunction, type FormulaNode } from './plant.js';
import { suggestion } from './problems.js';

const TEXT_MAX = 500;
const CONSTANTS: Readonly<Record<string, number>> = { pi: Math.PI };
const OPERATORS: readonly string[] = ['+', '-', '*', '/', '%', '==', '!=', '<', '<=', '>', '>=', '&&', '||'];
/** What people write, and what they mean. */
const MEANT: Readonly<Record<string, string>> = { '^': 'pow(a, b)', '**': 'pow(a, b)', '===': '==', '!==': '!=', '&': '&&, or bit(a, n) for one bit', '|': '||' }; // prettier-ignore

class NotUnderstood extends Error {}

/**
 * The formula, or a text that says what is wrong. find gives the index of a tag by its name; names are those that
 * there are, for suggestions.
 */
export function parseFormula(
  text: string,
  find: (name: string) => number | undefined,
  names: () => Iterable<string>,
): Formula | string {
  if (text.length > TEXT_MAX) return `is longer than ${TEXT_MAX} characters; calculate in several tags`;
  const inputs: number[] = [];
  const inputOf = (name: string): FormulaNode => {
    const index = find(name);
    if (index === undefined) {
      const hyphened = [...names()].find((one) => one.includes('-') && text.includes(one));
      const near =
        hyphened === undefined
          ? suggestion(name, names())
          : `; a - subtracts here, so write ${hyphened.replaceAll('-', '_')} in place of ${hyphened}, there and here`;
      throw new NotUnderstood(`names ${name}, and there is no such tag in this device${near}`);
    }
    if (!inputs.includes(index)) inputs.push(index);
    return { kind: 'input', position: inputs.indexOf(index) };
  };
  try {
    const root = nodeOf(jsep(text), inputOf);
    if (inputs.length === 0) return 'names no tag, so its value would never change';
    return { text, inputs, root };
  } catch (thrown) {
    if (thrown instanceof NotUnderstood) return thrown.message;
    if (thrown instanceof Error) return `is not understood: ${thrown.message}`;
    throw thrown;
  }
}

function nodeOf(expression: jsep.Expression, inputOf: (name: string) => FormulaNode): FormulaNode {
  const node = expression as jsep.CoreExpression; // jsep without plugins makes no other
  const inner = (one: jsep.Expression): FormulaNode => nodeOf(one, inputOf);
  switch (node.type) {
    case 'Literal':
      if (node.value === null || node.value instanceof RegExp)
        throw new NotUnderstood(`has ${node.raw}, which is no value`);
      return { kind: 'constant', value: node.value };
    case 'Identifier': {
      const constant = Object.hasOwn(CONSTANTS, node.name) ? CONSTANTS[node.name] : undefined;
      return constant === undefined ? inputOf(node.name) : { kind: 'constant', value: constant };
    }
    case 'MemberExpression':
      return inputOf(pathOf(node));
    case 'UnaryExpression':
      if (node.operator === '+') return inner(node.argument);
      if (node.operator === '-') return call('negate', [inner(node.argument)]);
      if (node.operator === '!') return call('not', [inner(node.argument)]);
      throw new NotUnderstood(`has ${node.operator}, which is not known`);
    case 'BinaryExpression':
      if (!OPERATORS.includes(node.operator))
        throw new NotUnderstood(`has ${node.operator}, which is not known${meant(node.operator)}`);
      return call(node.operator as FormulaFunction, [inner(node.left), inner(node.right)]); // one of OPERATORS
    case 'ConditionalExpression':
      return call('if', [node.test, node.consequent, node.alternate].map(inner));
    case 'CallExpression':
      return calledOf(node, inputOf);
    case 'Compound':
      throw new NotUnderstood(
        node.body.length === 0 ? 'is empty' : 'has several expressions; an operator is missing between them',
      );
    default:
      throw new NotUnderstood(`has a ${node.type}, which formulas do not know`);
  }
}

function calledOf(
  { callee, arguments: args }: jsep.CallExpression,
  inputOf: (name: string) => FormulaNode,
): FormulaNode {
  const name = callee.type === 'Identifier' ? String(callee['name']) : '';
  const [first] = args;
  // For names that are no words of an expression: tag("total-power").
  if (name === 'tag' && args.length === 1 && first?.type === 'Literal')
    return inputOf(String(first['value']));
  const known = Object.hasOwn(FORMULA_FUNCTIONS, name) && /^[a-z]/.test(name) && !UNWRITTEN.includes(name);
  if (!known) {
    const names = Object.keys(FORMULA_FUNCTIONS).filter(
      (one) => /^[a-z]/.test(one) && !UNWRITTEN.includes(one),
    );
    throw new NotUnderstood(
      `calls ${name || 'something'}, which is not known; known are ${[...names, 'tag'].join(', ')}`,
    );
  }
  const [least, most] = FORMULA_FUNCTIONS[name as FormulaFunction]; // has just been found there
  if (args.length < least || args.length > most) {
    const wanted =
      least === most ? String(least) : most === Infinity ? `${least} or more` : `${least} to ${most}`;
    throw new NotUnderstood(`gives ${name} ${args.length} values, and it takes ${wanted}`);
  }
  return call(
    name as FormulaFunction,
    args.map((one) => nodeOf(one, inputOf)),
  ); // the same
}

/** Written as operators. */
const UNWRITTEN: readonly string[] = ['if', 'not', 'negate'];

function call(name: FormulaFunction, args: readonly FormulaNode[]): FormulaNode {
  return { kind: 'call', name, args };
}

/** motor1.speed is the tag motor1/speed. */
function pathOf(node: jsep.MemberExpression): string {
  const { object, property } = node;
  const isWord = !node.computed && property.type === 'Identifier';
  if (!isWord || (object.type !== 'Identifier' && object.type !== 'MemberExpression'))
    throw new NotUnderstood('has something that is no name of a tag; write group.tag, or tag("name")');
  const before =
    object.type === 'Identifier' ? String(object['name']) : pathOf(object as jsep.MemberExpression);
  return `${before}/${String(property['name'])}`;
}

function meant(operator: string): string {
  const text = Object.hasOwn(MEANT, operator) ? MEANT[operator] : undefined;
  return text === undefined ? '' : `; write ${text}`;
}
