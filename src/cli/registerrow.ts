/** One row of a register list -> the settings of a tag; what a row leaves open is asked for, never guessed. */
import { SLUG } from '../config/schema/words.js';
import { VALUE_TYPES, type ValueType } from '../modbus/values.js';
import type { ColumnName, ListRow } from './registerlist.js';
import { factorOf, functionsOf, hexText, inverseOf, isExactType, orderOf, tableOf, typeWord } from './registerwords.js'; // prettier-ignore
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
  /** What a column for the length counts for each register: 1, or 2 for bytes, 16 for bits. */
  readonly perRegister?: number;
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
  const typed = typeOf(cells, place, reading.perRegister ?? 1);
  if (typeof typed === 'string') return problem(typed);
  const isBitTable = place.table === 'coil' || place.table === 'discrete';
  const extra = extraOf(cells.get('settings') ?? '');
  if (extra === null) return problem('its column settings is no JSON object');
  const scale = scaleOf(cells, typed.type);
  if (typeof scale === 'string') return problem(scale);
  const isLong = !isBitTable && registersOf(typed.type) > 1;
  const order = typed.order ?? place.order;
  const settings: TagSettings = {
    [place.table]: place.address,
    ...(isBitTable ? {} : { type: typed.type }),
    ...(typed.type === 'string' && !('count' in extra) ? { count: typed.count } : {}),
    ...(place.bytes === undefined || place.bytes === 'both' ? {} : { bytes: place.bytes }),
    ...orderSetting(order ?? (isLong ? reading.order : null)),
    ...bitSetting(cells.get('bit') || place.bit, typed.type),
    ...scale,
    ...textSetting('unit', unitText(cells, typed.type)),
    ...textSetting('description', cells.get('description') ?? ''),
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
  const said = (cells.get('address') ?? '').trim();
  const isSaidHex = said === '' || /^[\da-f]+h$/i.test(said);
  const text = isSaidHex ? hexText(said || (cells.get('hex_address') ?? '').trim()) : said;
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
  const isHex = isSaidHex || (/^0x/i.test(rest) && typeWord(cells.get('type') ?? '') !== 'bool');
  if (reference === null || isHex || (named !== null && reading.plain?.has(named) === true)) return plainPlace(rest, named, base, unit);
  const [, digit = '', number = '', last, tail = ''] = reference;
  const address = Number(number) - 1;
  if (address < 0) return `${text} is no reference; they count from 1. Say which table it is in with a column "table" or --table`;
  if (!isTail(tail)) return `${tail} behind the address is not understood; a bit is .3, a text of 20 bytes .20H`;
  const count = last === undefined ? {} : { count: Number(last) - Number(number) + 1 };
  return { table: TABLE_OF_DIGIT[digit] ?? '', address, ...count, ...unit, ...tailOf(tail) };
} // prettier-ignore

/** 40001 and its like, when the table that is named beside it does not say otherwise. */
function referenceOf(text: string, named: string | null): RegExpExecArray | null {
  const match = /^([0134])(\d{4,5})(?:\s*(?:[~/,–—…-]|\.{2,3})\s*[0134]?(\d{4,5}))?(.*)$/.exec(text.replace(/^4x|^3x|^1x|^0x/i, (mark) => mark[0] ?? ''));
  if (match === null || isPlain(text, named)) return null;
  return named === null || named === TABLE_OF_DIGIT[match[1] ?? ''] ? match : null;
} // prettier-ignore

/** Below ten thousand nothing is a reference, and with leading zeros only coils are. */
function isPlain(text: string, table: string | null): boolean {
  return table !== null && table !== 'coil' && /^0/.test(text);
}

function plainPlace(text: string, table: string | null, base: Reading['base'], unit: object): Place | string {
  const match = /^(0x[\da-f]+|\d+)(?:\s*(?:[~–—…-]|\.{2,3})\s*(0x[\da-f]+|\d+))?(.*)$/i.exec(text);
  if (/^(?=.*[a-f])[\da-f]{2,4}$/i.test(text)) return `address "${text}" looks hexadecimal; write 0x${text}, or call the column "address (hex)"`;
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

interface Typed {
  readonly type: string;
  readonly order?: string;
  readonly count: number;
}

/** A type may come with its order, as in "float32 ABCD"; how many registers there are counts where it says no width. */
function typeOf(cells: ListRow, place: Place, perRegister: number): Typed | string {
  const words = (cells.get('type') ?? '').trim().split(/[\s,/()（）]+/).filter((word) => word !== ''); // prettier-ignore
  const ordered = cells.get('order') ?? '';
  const order = [ordered, ...words].find((word) => word !== '' && orderOf(word) !== null);
  const named = words.filter((word) => orderOf(word) === null).join('');
  const isBitTable = place.table === 'coil' || place.table === 'discrete';
  const count = place.count ?? countOf(cells, perRegister);
  const found = typeWord(named, count || 1) ?? (place.isIgnition === true ? IGNITION_WORDS[named.toLowerCase()] : undefined);
  if (named !== '' && found === undefined) return `type "${named}" is not known; write one of ${Object.keys(VALUE_TYPES).slice(0, 9).join(', ')} ...`;
  const type = place.type === 'string' || place.bit !== undefined && found === undefined ? (place.type ?? 'bool') : (found ?? place.type ?? (isBitTable ? 'bool' : undefined));
  if (type === undefined)
    return (place.count ?? 1) > 1 ? `${place.count} registers, but no type; add a column "type"` : 'has no type; add a column "type"';
  const registers = registersOf(type);
  if (!isBitTable && type !== 'string' && type !== 'bool' && count > 0 && place.bit === undefined && count !== registers)
    return `its ${place.count === undefined ? 'length' : 'address'} has ${count} registers, ${type} takes ${registers}; correct one of them`;
  if (type === 'string' && !(count > 0) && !(cells.get('settings') ?? '').includes('"count"')) return 'a string needs a column "count", in registers';
  if (ordered !== '' && orderOf(ordered) === null && registers > 1) return `order "${ordered}" may mean several; write ABCD (high word first), CDAB (low word first), BADC or DCBA`;
  return { type, count, ...(order === undefined ? {} : { order: orderOf(order) ?? order }) };
} // prettier-ignore

/** Registers, as a column for them says; 0: it says none. */
function countOf(cells: ListRow, perRegister: number): number {
  const bytes = Number(cells.get('byte_count') || 0);
  const count = bytes > 0 ? bytes / 2 : Number(cells.get('count') || 0) / perRegister;
  return Number.isFinite(count) ? Math.ceil(count) : 0;
}

function registersOf(type: string): number {
  return VALUE_TYPES[type as ValueType].registers; // it was found among them
}

/** A list that gives every int16 a length of 2, and every int32 one of 4, counts bytes, and one with 16 and 32 bits. */
export function lengthOfRegister(rows: readonly ListRow[]): number {
  const exact = rows.flatMap((cells) => {
    const [word, count] = [cells.get('type') ?? '', Number(cells.get('count') || 0)];
    const type = isExactType(word) ? typeWord(word) : undefined;
    return type === undefined || type === 'bool' || type === 'string' || !(count > 0) ? [] : [count / registersOf(type)];
  });
  return [2, 16].find((each) => exact.length > 0 && exact.every((one) => one === each)) ?? 1;
} // prettier-ignore

/** In references the table is the digit in front of these. */
const REFERENCES = 10_000;
const OFFSETS_MIN = 3;

/** Whether the column for what is added to values counts on as the addresses do: then it is the address once more. */
export function isOffsetOfRegisters(rows: readonly ListRow[]): boolean {
  const pairs = rows.flatMap((cells) => {
    const [, address] = /^(?:[a-z]+:|\d+!)?(0x[\da-f]+|\d+)/i.exec(cells.get('address') ?? '') ?? [];
    const offset = cells.get('offset') ?? '';
    return address === undefined || offset === '' ? [] : [{ address: Number(address), offset: Number(offset) }];
  });
  const from = pairs.map(({ address, offset }) => (((address - offset) % REFERENCES) + REFERENCES) % REFERENCES);
  const isCounting = new Set(pairs.map(({ offset }) => offset)).size >= OFFSETS_MIN;
  return isCounting && new Set(from).size === 1;
} // prettier-ignore

function orderSetting(order: string | null): TagSettings {
  return order === null || order === 'ABCD' ? {} : { order };
}

function bitSetting(bit: string | undefined, type: string): TagSettings {
  const text = (bit ?? '').replace(/^bits?\s*/i, '').replace(/\s*(\.{2,3}|~|–)\s*/, '-');
  if (text === '') return {};
  return type === 'bool' && /^\d+$/.test(text) ? { bit: Number(text) } : { bits: text };
}

function textSetting(key: 'unit' | 'description', text: string): TagSettings {
  return text === '' ? {} : { [key]: text };
}

/** A plain number is milliseconds, as Kepware has it. */
function rateSetting(text: string): TagSettings {
  if (text === '') return {};
  return { rate: /^\d+$/.test(text) ? `${text}ms` : text };
}

/** A factor and an addition, or the two ends of a line as Kepware has them. */
function scaleOf(cells: ListRow, type: string): TagSettings | string {
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
  const offset = cells.get('offset') ?? '';
  if (offset !== '' && !Number.isFinite(numberOf(offset))) return `"${offset}" is no number`;
  const scale = factorIn(cells, type);
  return typeof scale === 'string' ? scale : { ...factor(scale), ...(offset === '' ? {} : addition(numberOf(offset))) };
} // prettier-ignore

/** The factor, in whichever column and form the list has it. */
function factorIn(cells: ListRow, type: string): number | string {
  const told = (name: ColumnName): string => cells.get(name) ?? '';
  const scaling = /^(linear|none)$/i.test(told('scaling')) ? '' : told('scaling');
  const written = told('scale') || scaling;
  if (written !== '') return factorOf(written) ?? `"${written}" is no number`;
  const [divisor, decimals] = [told('divisor'), told('decimals')];
  if (divisor !== '') return inverseOf(numberOf(divisor)) ?? `"${divisor}" is no divisor`;
  if (decimals !== '' && isWhole(type)) return /^\d$/.test(decimals) ? Number(`1e-${decimals}`) : `"${decimals}" is no number of decimals`;
  for (const name of ['gain', 'decimal'] as const) {
    const [text, value] = [told(name), factorOf(told(name))];
    if (value === null) return `"${text}" is no number`;
    if (text === '') continue;
    if (value > 0 && value <= 1 && !(name === 'decimal' && text === '1')) return value === 1 ? stepOf(cells, type) : value;
    if (value !== 0) return OPEN_FACTOR[name](text);
  }
  return stepOf(cells, type);
} // prettier-ignore

/** What a number under these headers does to the raw value is not the same for all makers. */
const OPEN_FACTOR = {
  gain: (text: string) => `gain ${text} may multiply or divide; call the column "scale" (value = raw x ${text}) or "divisor" (raw / ${text})`,
  decimal: (text: string) => `decimal ${text} may be places or a factor; call the column "decimals" (${text} behind the point) or "scale" (raw x ${text})`,
}; // prettier-ignore

/** What one step of a whole number is worth, as a column or the unit says it: 0.1 V. Other types hold the value itself. */
function stepOf(cells: ListRow, type: string): number {
  if (!isWhole(type)) return 1;
  const step = (cells.get('resolution') ?? '').split(/\s/)[0] ?? '';
  return STEP.test(step) ? numberOf(step) : (stepUnit(cells)?.step ?? 1);
}

function isWhole(type: string): boolean {
  return /^u?int/.test(type);
}

const STEP = /^0?[.,]\d+$/;

/** null: the unit is a unit, or another column has the factor. */
function stepUnit(cells: ListRow): { step: number; unit: string } | null {
  const match = /^(0?[.,]\d+)\s*([^\d\s].*)$/.exec(cells.get('unit') ?? '');
  return match === null || cells.has('scale') ? null : { step: numberOf(match[1] ?? ''), unit: match[2] ?? '' };
} // prettier-ignore

function unitText(cells: ListRow, type: string): string {
  return (isWhole(type) ? stepUnit(cells)?.unit : undefined) ?? cells.get('unit') ?? '';
}

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
  const functions = access === '' ? functionsOf(cells.get('table') ?? '') : null;
  const says =
    /w|写/.test(access) ||
    (/^\d+$/.test(access) && (Number(access) & 2) !== 0) ||
    /^(y|yes|true|1|x|是)$/i.test(cells.get('writable') ?? '') ||
    functions?.isWritable === true;
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
