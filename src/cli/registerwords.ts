/** What makers write into the cells of a register list for tables, types, orders and factors -> this program's own words. */
import { ORDER_NAMES, VALUE_TYPES } from '../modbus/values.js';

const TABLE_WORDS: readonly (readonly [RegExp, string])[] = [
  [/^(c|co|do|0x)$|coil|线圈/i, 'coil'],
  [/^(di|1x)$|discrete|离散/i, 'discrete'],
  [/^(hr|hreg|4x)$|holding|保持/i, 'holding'],
  [/^(ir|ireg|3x)$|input|输入/i, 'input'],
];
/** By function code; those that write stand for the table that they write to. */
const TABLE_OF_FUNCTION: Readonly<Record<number, string>> = {
  1: 'coil', 2: 'discrete', 3: 'holding', 4: 'input', 5: 'coil', 6: 'holding', 15: 'coil', 16: 'holding',
}; // prettier-ignore
const FIRST_WRITE_FUNCTION = 5;
const FUNCTION_CODES = /^\s*(?:(?:fc|0x)?(?:\d{1,3}|0?f)h?(?:\s*[/,;|&+、和]\s*|\s*$))+$/i;

const TYPE_WORDS: Readonly<Record<string, string>> = {
  boolean: 'bool', bool: 'bool', bit: 'bool', 布尔: 'bool', 开关量: 'bool',
  short: 'int16', int: 'int16', integer: 'int16', 短整型: 'int16', uint: 'uint16', word: 'uint16', ushort: 'uint16', 字: 'uint16',
  long: 'int32', dint: 'int32', 长整型: 'int32', dword: 'uint32', udint: 'uint32', ulong: 'uint32', 双字: 'uint32',
  llong: 'int64', lint: 'int64', qword: 'uint64', ulint: 'uint64',
  single: 'float32', float4: 'float32', 单精度: 'float32', 单精度浮点: 'float32', 单精度浮点数: 'float32',
  double: 'float64', lreal: 'float64', float8: 'float64', 双精度: 'float64', 双精度浮点: 'float64', 双精度浮点数: 'float64',
  bcd: 'bcd16', lbcd: 'bcd32', '4q_fp_pf': 'pf4q',
  string: 'string', str: 'string', ascii: 'string', text: 'string', char: 'string', 'utf-8': 'string', utf8: 'string', 字符串: 'string',
}; // prettier-ignore
const WORD_WIDTH: Readonly<Record<string, number>> = { word: 16, dword: 32, qword: 64 };

const ORDER_WORDS: Readonly<Record<string, string>> = {
  bigendian: 'ABCD', be: 'ABCD', highwordfirst: 'ABCD', mswfirst: 'ABCD', 大端: 'ABCD', 高字在前: 'ABCD', 1234: 'ABCD',
  wordswap: 'CDAB', wordswapped: 'CDAB', bigendianwordswap: 'CDAB', bigendianwordswapped: 'CDAB', lowwordfirst: 'CDAB', lswfirst: 'CDAB', 低字在前: 'CDAB', 3412: 'CDAB',
  byteswap: 'BADC', byteswapped: 'BADC', bigendianbyteswap: 'BADC', 2143: 'BADC', 4321: 'DCBA',
}; // prettier-ignore

export function tableOf(text: string): string | null {
  const word = text.trim();
  return TABLE_WORDS.find(([words]) => words.test(word))?.[1] ?? functionsOf(word)?.table ?? null;
}

/** 03, FC4, 0x03/0x10: the first one names the table; null: these are no function codes. */
export function functionsOf(text: string): { readonly table: string; readonly isWritable: boolean } | null {
  if (text.trim() === '' || !FUNCTION_CODES.test(text)) return null;
  const codes = [...text.matchAll(/(fc|0x)?0?(\d{1,2}|f)h?/gi)].map(([, , digits = '']) => functionOf(digits));
  const table = TABLE_OF_FUNCTION[codes[0] ?? 0];
  return table === undefined ? null : { table, isWritable: codes.some((code) => code >= FIRST_WRITE_FUNCTION) };
} // prettier-ignore

/** 10 and F are hexadecimal: there is no function 10, and none below 20 with an F but 15. */
function functionOf(digits: string): number {
  return digits === '10' || /f/i.test(digits) ? parseInt(digits, 16) : Number(digits);
}

/** `registers`: how many it takes, for words such as "unsigned" that do not say it. */
export function typeWord(text: string, registers = 1): string | undefined {
  const word = text.trim().toLowerCase();
  return word in VALUE_TYPES ? word : (TYPE_WORDS[word] ?? numberType(word, registers));
}

/** int, u16, INT32U, unsigned 16 bit, 32-bit float, U_DWORD, uint16_t, Bitfield16 ... */
function numberType(text: string, registers: number): string | undefined {
  const word = text.replace(/_t$/, '').replace(/ieee-?754/, 'float').replace(/[\s_-]+|bits?(?!igned|field|map|mask)|位/g, ''); // prettier-ignore
  const width = /16|32|64/.exec(word)?.[0];
  const rest = word.replace(width ?? '', '');
  if (/^(float|real|fp|f|floatingpoint|浮点|浮点数|浮点型)+$/.test(rest))
    return width === '16' ? undefined : `float${width ?? '32'}`;
  const words = /^([us])([dq]?word)$/.exec(rest);
  if (words !== null) return `${words[1] === 'u' ? 'uint' : 'int'}${WORD_WIDTH[words[2] ?? '']}`;
  const match =
    /^(unsigned|signed|u|s|i|无符号|有符号)?(int|integer|整数|整型|enum|bitfield|bitmap|bitmask)?(unsigned|signed|u|s)?$/.exec(rest); // prettier-ignore
  if (match === null || rest === '' || (rest.length === 1 && width === undefined)) return undefined;
  const [, before, kind = '', behind] = match;
  const bits = Number(width ?? 16 * registers);
  const isUnsigned = /^(u|无)/.test(before ?? behind ?? '') || /^(enum|bit)/.test(kind);
  return [16, 32, 64].includes(bits) ? `${isUnsigned ? 'uint' : 'int'}${bits}` : undefined;
}

/** Whether a type word says itself how many registers it takes. */
export function isExactType(text: string): boolean {
  return typeWord(text, 1) !== undefined && typeWord(text, 1) === typeWord(text, 2);
}

export function orderOf(word: string): string | null {
  const known = Object.keys(ORDER_NAMES).find(
    (name) => name.toLowerCase() === word.replace('_', '-').toLowerCase(),
  );
  if (known !== undefined) return ORDER_NAMES[known as keyof typeof ORDER_NAMES]; // it is one of the keys
  return ORDER_WORDS[word.toLowerCase().replace(/[\s_-]+/g, '')] ?? null;
}

/** 0.1, 0,1, x0.1, /10, 1/10, 10^-1; 1 where nothing is meant; null: it is none of these. */
export function factorOf(text: string): number | null {
  if (/^\s*([-—–/]|n\/?a|none|无)?\s*$/i.test(text)) return 1;
  const power = /^\s*[x×*]?\s*10\s*(?:\^|\*\*)\s*([+-]?\d+)\s*$/i.exec(text);
  if (power !== null) return Number(`1e${power[1]}`);
  const [, mark = '', number = ''] = /^\s*([x×*÷/]|1\s*\/)?\s*(.*)$/i.exec(text) ?? [];
  const factor = Number(number.replace(',', '.'));
  if (number === '' || !Number.isFinite(factor)) return null;
  return /[÷/]/.test(mark) ? inverseOf(factor) : factor;
}

export function inverseOf(divisor: number): number | null {
  return divisor === 0 ? null : Number((1 / divisor).toPrecision(12));
}

/** A number in hexadecimal without a mark, as under a header that says so: 0x before it. */
export function hexText(text: string): string {
  return text.replace(/\b(?:0x)?([\da-f]+)h?\b/gi, '0x$1');
}
