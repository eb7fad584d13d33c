/**
 * Addresses as people write them -> table and zero-based address, and back: from 0, from 1, or as Modicon references.
 */
import type { Table } from '../modbus/protocol.js';
import { evaluate } from './expression.js';
import type { Layer, Numbering } from './layers.js';

export const ADDRESS_KEYS = ['coil', 'discrete', 'input', 'holding', 'at'] as const;
export type AddressKey = (typeof ADDRESS_KEYS)[number];

export const TABLE_OF: Readonly<Record<Exclude<AddressKey, 'at'>, Table>> = {
  coil: 'coil',
  discrete: 'discrete-input',
  input: 'input-register',
  holding: 'holding-register',
};

const DIGIT_OF: Readonly<Record<Table, number>> = {
  coil: 0,
  'discrete-input': 1,
  'input-register': 3,
  'holding-register': 4,
};
const TABLE_OF_DIGIT: Readonly<Record<string, Table>> = {
  0: 'coil',
  1: 'discrete-input',
  3: 'input-register',
  4: 'holding-register',
};
export const ADDRESS_MAX = 65_535;

export interface Address {
  readonly table: Table;
  readonly address: number;
}

/** The address, or a text that says what is wrong and what to do. */
export function addressOf(
  key: AddressKey,
  written: unknown,
  layer: Pick<Layer, 'numbering' | 'variables'>,
): Address | string {
  const { numbering, variables } = layer;
  if (key === 'at')
    return typeof written === 'number' || typeof written === 'string'
      ? modicon(written, null, variables)
      : 'is not an address';
  const table = TABLE_OF[key];
  if (numbering === 'modicon')
    return typeof written === 'number' || typeof written === 'string'
      ? modicon(written, table, variables)
      : 'is not an address';
  if (typeof written === 'string' && isSpan(written)) return spanText(written);
  const value = typeof written === 'string' ? evaluate(written, variables) : Number(written);
  if (typeof value === 'string') return `"${String(written)}" ${value}`;
  const first = numbering === 'one-based' ? 1 : 0;
  if (!Number.isInteger(value) || value < first || value > ADDRESS_MAX + first) {
    const hint =
      numbering === 'pdu' && value > ADDRESS_MAX ? '; for references such as 40101 write `at:`' : '';
    return `${value} is outside ${first}..${ADDRESS_MAX + first} (numbering ${numbering})${hint}`;
  }
  return { table, address: value - first };
}

/** 40101, 400101, "00001": the first digit is the table, the rest counts from 1. */
function modicon(
  written: number | string,
  table: Table | null,
  variables: Readonly<Record<string, number>>,
): Address | string {
  let text = String(written).trim();
  const [, register, bit] = /^(?:[xX]?)([34]\d{4,5})\.(\d{1,2})$/.exec(text) ?? [];
  if (register !== undefined)
    return `${text} is one bit of a register; write ${table === null ? 'at: ' : ''}${register}, and bit: ${Number(bit)} beside it`;
  const [, digit, rest] = /^([0134])[xX](\d{4,5})$/.exec(text) ?? [];
  if (digit !== undefined && rest !== undefined) {
    const plain = `${digit}${rest}`;
    return `${JSON.stringify(text)} is not a Modicon reference; write ${digit === '0' ? `"${plain}"` : plain}`;
  }
  // YAML reads 00001 as the number 1; under its key it can only be the coil.
  if (table === 'coil' && typeof written === 'number' && written < 10_000) text = text.padStart(5, '0');
  else if (typeof written === 'number' && (written < 10_001 || !Number.isInteger(written))) {
    return `${written} is not a Modicon reference; write five or six digits, coils in quotes: at: "${text.padStart(5, '0')}"`;
  }
  if (isSpan(text)) return spanText(text);
  if (!/^\d+$/.test(text)) {
    const value = evaluate(text, variables);
    if (typeof value === 'string') return `"${text}" ${value}`;
    text = String(value).padStart(5, '0');
  }
  if (!/^[0134](\d{4}|\d{5})$/.test(text))
    return `${text} is not a Modicon reference; write five or six digits that begin with 0 (coil), 1 (discrete), 3 (input) or 4 (holding)`;
  const found = TABLE_OF_DIGIT[text.slice(0, 1)];
  const number = Number(text.slice(1));
  if (found === undefined || number < 1 || number > ADDRESS_MAX + 1)
    return `${text} is outside ${text.slice(0, 1)}00001..${text.slice(0, 1)}65536`;
  if (table !== null && found !== table)
    return `${text} refers to ${tableText(found)}s, not to ${tableText(table)}s; write it under the key it belongs to, or as \`at:\``;
  return { table: found, address: number - 1 };
}

/** 40001-40002, as lists of makers have it; as a difference it would be less than nothing. */
function isSpan(text: string): boolean {
  const [, first, last] = /^(\d+)\s*(?:-|\.\.|~)\s*(\d+)$/.exec(text) ?? [];
  return first !== undefined && Number(last) >= Number(first);
}

function spanText(text: string): string {
  return `${text} is more than one address; write the first, ${/^\d+/.exec(text)?.[0]}, and the type says how many it takes`;
}

/** "holding register". */
export function tableText(table: Table): string {
  return table.replace('-', ' ');
}

/** Both forms, for messages: "holding-register 100 (40101)". */
export function addressText(table: Table, address: number): string {
  const number = address + 1;
  const digits = number > 9999 ? 5 : 4;
  return `${tableText(table)} ${address} (${DIGIT_OF[table]}${String(number).padStart(digits, '0')})`;
}

export function numberingOf(value: unknown, otherwise: Numbering): Numbering {
  return value === 'pdu' || value === 'one-based' || value === 'modicon' ? value : otherwise;
}
