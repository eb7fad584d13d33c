/**
 * Whole-number arithmetic in addresses: + - * / % ( ), numbers and the variables of `repeat`. A parser of its own for a
 * language of six signs: there is nothing in it that could be called.
 */

const TEXT_MAX = 200;

/** The value, or a text that says what is wrong. */
export function evaluate(text: string, variables: Readonly<Record<string, number>>): number | string {
  if (text.length > TEXT_MAX) return `is longer than ${TEXT_MAX} characters`;
  if (/\d_\d/.test(text)) return `is not a number; write ${text.replaceAll('_', '')}`;
  const tokens = text.match(/\s+|0x[\da-fA-F]+|\d+|[A-Za-z_][A-Za-z0-9_]*|[-+*/%()]|./gs) ?? [];
  const reader = new Reader(
    tokens.filter((token) => token.trim() !== ''),
    variables,
  );
  try {
    const value = reader.sum();
    if (reader.next !== undefined) return `has ${JSON.stringify(reader.next)} where it should end`;
    return Number.isInteger(value) ? value : `gives ${value}, which is not a whole number`;
  } catch (thrown) {
    if (thrown instanceof NotUnderstood) return thrown.message;
    throw thrown;
  }
}

class NotUnderstood extends Error {}

class Reader {
  readonly #tokens: readonly string[];
  readonly #variables: Readonly<Record<string, number>>;
  #at = 0;

  constructor(tokens: readonly string[], variables: Readonly<Record<string, number>>) {
    this.#tokens = tokens;
    this.#variables = variables;
  }

  get next(): string | undefined {
    return this.#tokens[this.#at];
  }

  sum(): number {
    let value = this.#product();
    while (this.next === '+' || this.next === '-') {
      const sign = this.#take() === '+' ? 1 : -1;
      value += sign * this.#product();
    }
    return value;
  }

  #product(): number {
    let value = this.#factor();
    while (this.next === '*' || this.next === '/' || this.next === '%') {
      const sign = this.#take();
      const by = this.#factor();
      if (sign !== '*' && by === 0) throw new NotUnderstood('divides by 0');
      value = sign === '*' ? value * by : sign === '/' ? value / by : value % by;
    }
    return value;
  }

  #factor(): number {
    const token = this.#take();
    if (token === '-') return -this.#factor();
    if (token === '(') {
      const value = this.sum();
      if (this.#take() !== ')') throw new NotUnderstood('lacks a )');
      return value;
    }
    if (/^\d|^0x/.test(token)) return Number(token);
    if (/^[A-Za-z_]/.test(token)) return this.#variable(token);
    throw new NotUnderstood(
      token === '' ? 'ends too early' : `has ${JSON.stringify(token)}, which is not understood`,
    );
  }

  #variable(name: string): number {
    const value = Object.hasOwn(this.#variables, name) ? this.#variables[name] : undefined;
    if (value !== undefined) return value;
    const known = Object.keys(this.#variables);
    throw new NotUnderstood(
      `names ${name}, which has no value${known.length === 0 ? '' : `; known are ${known.join(', ')}`}`,
    );
  }

  #take(): string {
    const token = this.next ?? '';
    this.#at += 1;
    return token;
  }
}
