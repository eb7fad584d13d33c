/** One row of a register list -> the settings of a tag; what a row leaves open is asked for, never guessed. */
import { SLUG } from '../config/schema/words.js';
import { VALUE_TYPES, ORDER_NAMES } from '../modbus/values.js';
import type { ListRow } from './registerlist.js';
import type { TagSettings } from './taginput.js';

/** How plain numbers are to be read; null: it was not said. */
export interface Reading {
  /** What the first register is called. */
  readonly base: 0 | 1 | null;
  readonly order: string | null;
  /** Where a row names no table. */
  readonly table: string | null;
  /** Tables whose addresses are plain numbers, even those that look like references; see `plainTables`. */
  readonly plain?: ReadonlySet<string>;
}

export type RowOutcome =
  | { readonly kind: 'tag'; readonly name: string; readonly settings: TagSettings; readonly unitId: number | null; readonly isOrderOpen: boolean }
  | { readonly kind: 'problem'; readonly text: string }; // prettier-ignore

const TABLE_OF_DIGIT: Readonly<Record<string, string>> = {
  0: 'coil',
  1: 'discrete',
  3: 'input',
  4: 'holding',
};
/** Function codes, prefixes and words for a table. */
const TABLE_WORDS: readonly (readonly [RegExp, string])[] = [
  [/^(coils?|c|co|do|0x|线圈|0?1|fc0?1|0x01)$/i, 'coil'],
  [/^(discrete( ?inputs?)?|di|1x|离散量?输入|离散量?|0?2|fc0?2|0x02)$/i, 'discrete'],
  [/^(holding( ?registers?)?|hr|hreg|4x|保持寄存器|0?3|fc0?3|0x03)$/i, 'holding'],
  [/^(input( ?registers?)?|ir|ireg|3x|输入寄存器|0?4|fc0?4|0x04)$/i, 'input'],
];
const TYPE_WORDS: Readonly<Record<string, string>> = {
  boolean: 'bool', bool: 'bool', bit: 'bool', 布尔: 'bool', 开关量: 'bool',
  short: 'int16', int: 'int16', integer: 'int16', int16: 'int16', s16: 'int16', i16: 'int16', 有符号16位: 'int16', 有符号整数: 'int16', 短整型: 'int16',
  word: 'uint16', uint: 'uint16', uint16: 'uint16', u16: 'uint16', ushort: 'uint16', 无符号16位: 'uint16', 无符号整数: 'uint16', 字: 'uint16',
  long: 'int32', dint: 'int32', int32: 'int32', s32: 'int32', i32: 'int32', 有符号32位: 'int32', 长整型: 'int32',
  dword: 'uint32', udint: 'uint32', uint32: 'uint32', u32: 'uint32', ulong: 'uint32', 无符号32位: 'uint32', 双字: 'uint32',
  llong: 'int64', lint: 'int64', int64: 'int64', s64: 'int64', i64: 'int64',
  qword: 'uint64', ulint: 'uint64', uint64: 'uint64', u64: 'uint64',
  float: 'float32', real: 'float32', float32: 'float32', f32: 'float32', single: 'float32', float4: 'float32', 浮点: 'float32', 浮点数: 'float32', 浮点型: 'float32', 单精度: 'float32', 单精度浮点: 'float32', 单精度浮点数: 'float32',
  double: 'float64', lreal: 'float64', float64: 'float64', f64: 'float64', float8: 'float64', 双精度: 'float64', 双精度浮点: 'float64', 双精度浮点数: 'float64',
  bcd: 'bcd16', lbcd: 'bcd32', string: 'string', 字符串: 'string',
}; // prettier-ignore
/** Ignition's letters behind HR and IR. */
const IGNITION_TYPES: Readonly<Record<string, string>> = {
  '': 'int16', us: 'uint16', i: 'int32', ui: 'uint32', l: 'int64', ul: 'uint64', f: 'float32', d: 'float64', bcd: 'bcd16', bcd32: 'bcd32',
}; // prettier-ignore
/** Ignition counts bytes where others count bits. */
const IGNITION_WORDS: Readonly<Record<string, string>> = { int2: 'int16', int4: 'int32', int8: 'int64' };
/** Neuron's marks; without one it is #LL. */
const NEURON_ORDERS: Readonly<Record<string, string>> = {
  B: 'BADC', L: 'ABCD', LL: 'ABCD', LB: 'BADC', BL: 'CDAB', BB: 'DCBA',
}; // prettier-ignore
const NEURON_BYTES: Readonly<Record<string, string>> = {
  H: 'both',
  L: 'swapped',
  '': 'swapped',
  D: 'low',
  E: 'high',
};

/** What an address text says, as far as it says it. */
interface Place {
  readonly isIgnition?: true;
  readonly table: string;
  readonly address: number;
  readonly type?: string;
  readonly order?: string;
  readonly bit?: string;
  /** Registers. */
  readonly count?: number;
  readonly bytes?: string;
  readonly unitId?: number;
}

export function tagOfRow(cells: ListRow, reading: Reading): RowOutcome {
  const name = nameOf(cells.get('name') ?? '');
  if (name === '') return problem('has no name');
  const place = placeOf(cells, reading);
  if (typeof place === 'string') return problem(place);
  const typed = typeOf(cells, place);
  if (typeof typed === 'string') return problem(typed);
  const isBitTable = place.table === 'coil' || place.table === 'discrete';
  const extra = extraOf(cells.get('settings') ?? '');
  if (extra === null) return problem('its column settings is no JSON object');
  const scale = scaleOf(cells);
  if (typeof scale === 'string') return problem(scale);
  const isLong = !isBitTable && (VALUE_TYPES[typed.type as keyof typeof VALUE_TYPES].registers > 1);
  const order = typed.order ?? place.order;
  const settings: TagSettings = {
    [place.table]: place.address,
    ...(isBitTable ? {} : { type: typed.type }),
    ...(typed.type === 'string' && !('count' in extra) ? { count: typed.count } : {}),
    ...(place.bytes === undefined || place.bytes === 'both' ? {} : { bytes: place.bytes }),
    ...orderSetting(order ?? (isLong ? reading.order : null)),
    ...bitSetting(cells.get('bit') || place.bit, typed.type),
    ...scale,
    ...textSetting('unit', cells),
    ...textSetting('description', cells),
    ...rateSetting(cells.get('rate') ?? ''),
    ...(isWritable(cells, place) && !('write' in extra) ? { write: true } : {}),
    ...extra,
  };
  const isOrderOpen = isLong && order === undefined && reading.order === null;
  return { kind: 'tag', name, settings, unitId: place.unitId ?? unitOf(cells), isOrderOpen };
} // prettier-ignore

function problem(text: string): RowOutcome {
  return { kind: 'problem', text };
}

/**
 * A list counts in one way: where one address of a table is no reference, none there is, though it may look like one, as
 * 47086 does beside 32080 among holding registers.
 */
export function plainTables(rows: readonly ListRow[], reading: Reading): ReadonlySet<string> {
  return new Set(
    rows.flatMap((cells) => {
      const named = namedTable(cells, reading);
      const text = (cells.get('address') ?? '').trim();
      return named !== null && /^\d/.test(text) && referenceOf(text, named) === null ? [named] : [];
    }),
  );
}

function namedTable(cells: ListRow, { table }: Reading): string | null {
  return tableOf(cells.get('table') ?? '') ?? tableOf(table ?? '');
}

/** A name that topics can hold; what cannot stand in it becomes _, but letters lose their accents only. */
function nameOf(text: string): string {
  if (SLUG.test(text)) return text;
  const name = text.normalize('NFKD').replace(/\p{M}+/gu, '').replace(/[^A-Za-z0-9_-]+/g, '_').replace(/^_+|_+$/g, '').slice(0, 64); // prettier-ignore
  // Nothing is left of a name in Chinese: its letters by number, so that it stays the same one.
  return name !== '' || text === '' ? name : [...text].map((one) => `u${(one.codePointAt(0) ?? 0).toString(16)}`).join('_').slice(0, 64); // prettier-ignore
}

function placeOf(cells: ListRow, reading: Reading): Place | string {
  const { base } = reading;
  const text = (cells.get('address') ?? '').trim();
  if (text === '') return 'has no address';
  const own = /^(coil|discrete|input|holding):(\d+)$/.exec(text);
  if (own !== null) return { table: own[1] ?? '', address: Number(own[2]) };
  const station = /^(\d{1,3})!(.*)$/.exec(text);
  const rest = station?.[2] ?? text;
  const unit = station === null ? {} : { unitId: Number(station[1]) };
  const ignition = /^(?:\[[^\]]*\])?(?:(\d{1,3})\.)?(HR|IR|DI|C)(BCD32|BCD|US|UI|UL|F|D|I|L|S)?(\d+)(?:\.(\d+))?(?::(\d+))?$/i.exec(rest);
  if (ignition !== null) return ignitionPlace(ignition, base);
  const named = namedTable(cells, reading);
  const reference = referenceOf(rest, named);
  // What is no bit is no coil: there 0x begins a number.
  const isHex = /^0x/i.test(rest) && typeWord(cells.get('type') ?? '') !== 'bool';
  if (reference === null || isHex || (named !== null && reading.plain?.has(named) === true)) return plainPlace(rest, named, base, unit);
  const [, digit = '', number = '', last, tail = ''] = reference;
  const address = Number(number) - 1;
  if (address < 0) return `${text} is no reference; they count from 1`;
  if (!isTail(tail)) return `${tail} behind the address is not understood; a bit is .3, a text of 20 bytes .20H`;
  const count = last === undefined ? {} : { count: Number(last) - Number(number) + 1 };
  return { table: TABLE_OF_DIGIT[digit] ?? '', address, ...count, ...unit, ...tailOf(tail) };
} // prettier-ignore

/** 40001 and its like, when the table that is named beside it does not say otherwise. */
function referenceOf(text: string, named: string | null): RegExpExecArray | null {
  const match = /^([0134])(\d{4,5})(?:\s*[~-]\s*[0134]?(\d{4,5}))?(.*)$/.exec(text.replace(/^4x|^3x|^1x|^0x/i, (mark) => mark[0] ?? ''));
  if (match === null || isPlain(text, named)) return null;
  return named === null || named === TABLE_OF_DIGIT[match[1] ?? ''] ? match : null;
} // prettier-ignore

/** Below ten thousand nothing is a reference, and with leading zeros only coils are. */
function isPlain(text: string, table: string | null): boolean {
  return table !== null && table !== 'coil' && /^0/.test(text);
}

function plainPlace(text: string, table: string | null, base: Reading['base'], unit: object): Place | string {
  const match = /^(0x[\da-f]+|\d+)(?:\s*[~-]\s*(0x[\da-f]+|\d+))?(.*)$/i.exec(text);
  if (match === null) return `address "${text}" is not understood; write holding:0 or 40001`;
  const [, first = '', last, tail = ''] = match;
  if (!isTail(tail)) return `${tail} behind the address is not understood; a bit is .3, a text of 20 bytes .20H`;
  if (table === null) return `address ${text} says no table; add a column "table" (holding, input, coil, discrete) or give --table`;
  if (base === null)
    return `address ${text} may be register ${first} (counted from 0) or ${Number(first) - 1} (counted from 1); say which with --base 0 or --base 1`;
  const address = Number(first) - base;
  if (address < 0 || address > 0xffff) return `address ${text} is outside, counted from ${base}`;
  const count = last === undefined ? {} : { count: Number(last) - Number(first) + 1 };
  return { table, address, ...count, ...unit, ...tailOf(tail) };
} // prettier-ignore

/** HR, HRF, HRUI and so on, with the unit in front and a bit behind. */
function ignitionPlace(match: RegExpExecArray, base: Reading['base']): Place | string {
  const [text, unit, area = '', letters = '', number = '', bit, length] = match;
  if (base === null)
    return `address ${text} may be register ${number} (counted from 0) or ${Number(number) - 1} (counted from 1), as the connection's zero-based setting says; say which with --base 0 or --base 1`;
  const table = { HR: 'holding', IR: 'input', DI: 'discrete', C: 'coil' }[area.toUpperCase()] ?? 'holding';
  const isText = letters.toLowerCase() === 's';
  return {
    isIgnition: true,
    table,
    address: Number(number) - base,
    ...(isText ? { type: 'string', count: Math.ceil(Number(length ?? 2) / 2) } : {}),
    ...(!isText && (area.length === 2 && area.toUpperCase() !== 'DI') ? { type: bit === undefined ? (IGNITION_TYPES[letters.toLowerCase()] ?? 'int16') : 'bool' } : {}),
    ...(bit === undefined ? {} : { bit }),
    ...(unit === undefined ? {} : { unitId: Number(unit) }),
  };
} // prettier-ignore

/** Anything else behind an address would be lost, and with it which bit is meant. */
function isTail(tail: string): boolean {
  return /^\s*(\.\d+[HLDE]?)?(#[BL]{1,2})?(\[\d+\])*\s*$/.test(tail);
}

/** Behind the number: .3 is a bit, .20H a text of 20 bytes, #BL an order, [10] an array. */
function tailOf(tail: string): Partial<Place> {
  const order = /#([BL]{1,2})/.exec(tail)?.[1];
  const text = /\.(\d+)([HLDE])\b/.exec(tail);
  const bit = text === null ? /\.(\d+)/.exec(tail)?.[1] : undefined;
  const bytes = text?.[2] ?? '';
  const width = bytes === 'D' || bytes === 'E' ? 1 : 2;
  return {
    ...(order === undefined ? {} : { order: NEURON_ORDERS[order] ?? 'ABCD' }),
    ...(text === null ? {} : { count: Math.ceil(Number(text[1]) / width), bytes: NEURON_BYTES[bytes] ?? 'both', type: 'string' }),
    ...(bit === undefined ? {} : { bit }),
  };
} // prettier-ignore

function tableOf(text: string): string | null {
  return TABLE_WORDS.find(([words]) => words.test(text.trim()))?.[1] ?? null;
}

interface Typed {
  readonly type: string;
  readonly order?: string;
  readonly count: number;
}

/** A type may come with its order, as in "float32 ABCD"; without any, the number of registers says little. */
function typeOf(cells: ListRow, place: Place): Typed | string {
  const words = (cells.get('type') ?? '').trim().split(/[\s,/]+/).filter((word) => word !== ''); // prettier-ignore
  const order = [cells.get('order') ?? '', ...words].find((word) => word !== '' && orderOf(word) !== null);
  const named = words.filter((word) => orderOf(word) === null).join('');
  const isBitTable = place.table === 'coil' || place.table === 'discrete';
  const found = typeWord(named) ?? (place.isIgnition === true ? IGNITION_WORDS[named.toLowerCase()] : undefined);
  if (named !== '' && found === undefined) return `type "${named}" is not known; write one of ${Object.keys(VALUE_TYPES).slice(0, 9).join(', ')} ...`;
  const type = place.type === 'string' || place.bit !== undefined && found === undefined ? (place.type ?? 'bool') : (found ?? place.type ?? (isBitTable ? 'bool' : undefined));
  if (type === undefined)
    return (place.count ?? 1) > 1 ? `${place.count} registers, but no type; add a column "type"` : 'has no type; add a column "type"';
  const count = place.count ?? Number(cells.get('count') || 0);
  const registers = VALUE_TYPES[type as keyof typeof VALUE_TYPES].registers;
  if (!isBitTable && type !== 'string' && place.count !== undefined && place.bit === undefined && place.count !== registers)
    return `its address has ${place.count} registers, ${type} takes ${registers}; correct one of them`;
  if (type === 'string' && !(count > 0) && !(cells.get('settings') ?? '').includes('"count"')) return 'a string needs a column "count", in registers';
  return { type, count, ...(order === undefined ? {} : { order: orderOf(order) ?? order }) };
} // prettier-ignore

function typeWord(word: string): string | undefined {
  return word in VALUE_TYPES ? word : TYPE_WORDS[word.trim().toLowerCase()];
}

function orderOf(word: string): string | null {
  const known = Object.keys(ORDER_NAMES).find(
    (name) => name.toLowerCase() === word.replace('_', '-').toLowerCase(),
  );
  return known === undefined ? null : ORDER_NAMES[known as keyof typeof ORDER_NAMES]; // it is one of the keys
}

function orderSetting(order: string | null): TagSettings {
  return order === null || order === 'ABCD' ? {} : { order };
}

function bitSetting(bit: string | undefined, type: string): TagSettings {
  if (bit === undefined || bit === '') return {};
  return type === 'bool' || (/^\d+$/.test(bit) && type === 'bool') ? { bit: Number(bit) } : { bits: bit };
}

function textSetting(key: 'unit' | 'description', cells: ListRow): TagSettings {
  const text = cells.get(key) ?? '';
  return text === '' ? {} : { [key]: text };
}

/** A plain number is milliseconds, as Kepware has it. */
function rateSetting(text: string): TagSettings {
  if (text === '') return {};
  return { rate: /^\d+$/.test(text) ? `${text}ms` : text };
}

/** A factor and an addition, or the two ends of a line as Kepware has them. */
function scaleOf(cells: ListRow): TagSettings | string {
  const ends = (['raw_low', 'raw_high', 'scaled_low', 'scaled_high'] as const).map((name) => cells.get(name) ?? '');
  if (/^linear$/i.test(cells.get('scaling') ?? '') && ends.every((end) => end !== '')) {
    const sign = /^(1|true|yes)$/i.test(cells.get('negate') ?? '') ? -1 : 1;
    const [rawLow = 0, rawHigh = 0] = ends.slice(0, 2).map(numberOf);
    const [low = 0, high = 0] = ends.slice(2).map((end) => sign * numberOf(end));
    if (rawHigh === rawLow) return 'its raw range is empty';
    const scale = (high - low) / (rawHigh - rawLow);
    return { ...factor(Number(scale.toPrecision(12))), ...addition(Number((low - rawLow * scale).toPrecision(12))) };
  }
  if (/^square/i.test(cells.get('scaling') ?? '')) return 'square root scaling is not known here; scale it where it is shown';
  const [scale, offset] = [cells.get('scale') ?? '', cells.get('offset') ?? ''];
  for (const text of [scale, offset]) if (text !== '' && !Number.isFinite(numberOf(text))) return `"${text}" is no number`;
  return { ...(scale === '' ? {} : factor(numberOf(scale))), ...(offset === '' ? {} : addition(numberOf(offset))) };
} // prettier-ignore

function factor(scale: number): TagSettings {
  return scale === 1 || scale === 0 ? {} : { scale };
}

function addition(offset: number): TagSettings {
  return offset === 0 ? {} : { offset };
}

/** With a decimal point or comma. */
function numberOf(text: string): number {
  return Number(text.replace(',', '.'));
}

/** Only what says so is writable, and only where writing is possible. */
function isWritable(cells: ListRow, { table }: Place): boolean {
  const access = (cells.get('access') ?? '').toLowerCase();
  const says = /w|写/.test(access) || (/^\d+$/.test(access) && (Number(access) & 2) !== 0);
  return says && (table === 'coil' || table === 'holding');
}

function unitOf(cells: ListRow): number | null {
  const text = cells.get('unit_id') ?? '';
  return /^\d{1,3}$/.test(text) ? Number(text) : null;
}

/** null: it is none. Whole numbers beyond 2^53 keep every digit. */
function extraOf(text: string): TagSettings | null {
  if (text === '') return {};
  try {
    const exact = text.replace(/(?<=[[,:]\s*)(-?\d{16,})(?=\s*[,\]}])/g, '"\\u0000$1"');
    const revive = (_: string, value: unknown): unknown =>
      typeof value === 'string' && value.startsWith('\u0000') ? BigInt(value.slice(1)) : value;
    const value: unknown = JSON.parse(exact, revive);
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as TagSettings)
      : null;
  } catch {
    return null;
  }
}
