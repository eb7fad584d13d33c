/**
 * One tag's layers -> its settings, checked: address, type, scale, rate, report, write. What concerns several tags
 * (topics, overlaps, groups) is checked where all of them are known.
 */
import { isBitTable } from '../modbus/protocol.js';
import type { ValueType } from '../modbus/values.js';
import {
  ADDRESS_KEYS,
  ADDRESS_MAX,
  type Address,
  type AddressKey,
  addressOf,
  addressText,
} from './address.js';
import { type Layer, type Layers, type Picked, say } from './layers.js';
import { suggestion } from './problems.js';
import type { Device, Tag, TextFormat } from './plant.js';
import { isFloat, isInteger, isNumber, limitsOfType, registersOf } from './types.js';
import { parseDuration } from './units.js';
import { stepOf, writeOf } from './write.js';

export type Rates = ReadonlyMap<string, number>;

/** A tag whose settings are known, and whose place in the plant (index, group, topics) is not yet. */
export interface TagDraft {
  readonly tag: { -readonly [K in keyof Tag]: Tag[K] };
  /** Name of the tag that holds the scale. */
  readonly scaleFrom: ScaleReference | null;
  /** The text that it is calculated by. */
  readonly formula: Picked<string> | null;
  readonly ownTopic: string | null;
}

interface ScaleReference {
  readonly kind: 'pow10' | 'value';
  readonly tag: string;
  readonly layer: Layer;
}

/** Whose written sentinels may be the unsigned form of a negative number. */
const SIGNED = /^int(16|32|64)$/;

/** null when its address or type is wrong, which has been said then. */
export function resolveTag(name: string, device: Device, layers: Layers, rates: Rates): TagDraft | null {
  const formula = layers.pick('value');
  if (formula !== null) return resolveCalculated(name, device, layers, formula);
  const place = addressPicked(layers);
  if (place === null) return null;
  const kind = kindOf(layers, place);
  if (kind === null) return null;
  const { scale, offset, scaleFrom } = scaleOf(layers, kind.type);
  const page = layers.pick('select');
  const select = page === null ? null : stepOf(page.value, page, []);
  const isText = !isNumber(kind.type) || layers.pick('enum') !== null || layers.pick('flags') !== null;
  const tag: TagDraft['tag'] = {
    index: -1,
    name,
    device,
    table: place.table,
    address: place.address + kind.shift,
    quantity: kind.quantity,
    type: kind.type,
    order: layers.value('order', 'ABCD'),
    select,
    scale,
    offset,
    scaleFrom: null,
    formula: null,
    bits: kind.bits,
    enum: enumOf(layers, kind),
    flags: flagsOf(layers, kind),
    text: textOf(layers, kind.type),
    invalid: invalidOf(layers, kind.type),
    plausible: plausibleOf(layers, kind.type),
    counter: counterOf(layers, kind.type),
    unit: layers.pick('unit')?.value ?? null,
    description: layers.pick('description')?.value ?? null,
    intervalMs: intervalOf(layers, rates),
    ...reportOf(layers, isText),
    write: writeOf(layers, { ...place, address: place.address + kind.shift }, kind.type, select, device),
    ...UNPLACED,
  };
  return { tag, scaleFrom, formula: null, ownTopic: layers.pick('topic')?.value ?? null };
}

/** What is known of a tag only once it has its place in the plant. */
const UNPLACED = { group: null, topic: '', setTopic: '', getTopic: '', ackTopic: '' };

/** Keys that say how registers are read or written. */
const REGISTER_KEYS = ['coil', 'discrete', 'input', 'holding', 'at', 'type', 'count', 'bytes', 'encoding', 'pad', 'select', 'scale', 'offset', 'bit', 'bits', 'enum', 'flags', 'invalid', 'counter', 'write', 'rate'] as const; // prettier-ignore

/** A tag without registers; its formula is read once all tags of its device are known. */
function resolveCalculated(name: string, device: Device, layers: Layers, formula: Picked<string>): TagDraft {
  for (const key of REGISTER_KEYS) {
    const picked = layers.pick(key);
    if (picked?.layer.name === 'tag')
      say(picked, 'error', 'HF1319', `a calculated tag has no ${key}; remove it, or remove value`);
  }
  const tag: TagDraft['tag'] = {
    index: -1,
    name,
    device,
    table: 'holding-register',
    address: 0,
    quantity: 0,
    type: 'float64',
    order: 'ABCD',
    select: null,
    scale: 1,
    offset: 0,
    scaleFrom: null,
    formula: null,
    bits: null,
    enum: null,
    flags: null,
    text: null,
    invalid: [],
    plausible: plausibleOf(layers, 'float64'),
    counter: null,
    unit: layers.pick('unit')?.value ?? null,
    description: layers.pick('description')?.value ?? null,
    intervalMs: 0,
    ...reportOf(layers, false),
    write: null,
    ...UNPLACED,
  };
  return { tag, scaleFrom: null, formula, ownTopic: layers.pick('topic')?.value ?? null };
}

/** When and how it is published. */
function reportOf(
  layers: Layers,
  isText: boolean,
): Pick<Tag, 'report' | 'deadband' | 'heartbeatMs' | 'payload' | 'qos' | 'retain' | 'stored'> {
  return {
    report: layers.value('report', 'change'),
    deadband: deadbandOf(layers, isText),
    heartbeatMs: layers.value('heartbeat', 60_000),
    payload: layers.value('payload', 'vqt'),
    qos: layers.value('qos', 1),
    retain: layers.value('retain', true),
    stored: layers.value('stored', false),
  };
}

interface Place extends Address {
  readonly layer: Layer;
  readonly key: AddressKey;
}

function addressPicked(layers: Layers): Place | null {
  const found = layers.pickOne(ADDRESS_KEYS);
  const [picked, second] = found;
  if (picked === undefined) {
    const { source, path } = layers.nearest;
    source.add(
      'error',
      'HF1301',
      path,
      'has no address; write holding:, input:, coil:, discrete: or at:, or value: to calculate it',
      'key',
    );
    return null;
  }
  if (second !== undefined) {
    say(
      second,
      'error',
      'HF1302',
      `has ${found.length} addresses (${found.map(({ key }) => key).join(', ')}); a tag has one`,
    );
    return null;
  }
  const key = ADDRESS_KEYS.find((one) => one === picked.key);
  if (key === undefined) return null;
  const address = addressOf(key, picked.value, picked.layer);
  if (typeof address === 'string') {
    say(picked, 'error', 'HF1303', address);
    return null;
  }
  return { ...address, layer: picked.layer, key };
}

interface Kind {
  readonly type: ValueType;
  readonly quantity: number;
  readonly bits: Tag['bits'];
  /** Bits that the raw value has. */
  readonly width: number;
  /** Registers from the address on to the one that holds the bit. */
  readonly shift: number;
}

function kindOf(layers: Layers, place: Place): Kind | null {
  const type = layers.pick('type');
  const [one, other] = layers.pickOne(['bit', 'bits']);
  if (one !== undefined && other !== undefined)
    say(other, 'error', 'HF1306', 'bit and bits exclude each other; remove one');
  if (isBitTable(place.table)) return bitKind(type, one ?? layers.pick('count') ?? undefined);
  const raw = type?.value ?? 'uint16';
  const quantity = raw === 'string' ? stringRegisters(layers) : registersOf(raw);
  if (quantity === null) return null;
  const count = layers.pick('count');
  if (raw !== 'string' && count !== null && count.value !== quantity) {
    say(
      count,
      'error',
      'HF1307',
      `${raw} takes ${quantity} register${quantity === 1 ? '' : 's'}, not ${count.value}; remove count`,
    );
  }
  if (place.address + quantity > ADDRESS_MAX + 1) {
    say(
      place,
      'error',
      'HF1305',
      `${addressText(place.table, place.address)} and ${quantity} registers reach beyond 65535`,
    );
    return null;
  }
  const width = quantity * 16;
  if (one === undefined) return { type: raw, quantity, bits: null, width, shift: 0 };
  return registerBits(one, raw, quantity, layers.value('order', 'ABCD'));
}

function bitKind(type: Picked<ValueType> | null, bits: Picked<unknown> | undefined): Kind {
  if (type !== null && type.value !== 'bool')
    say(type, 'error', 'HF1304', `coils and discrete inputs are bool, not ${type.value}; remove type`);
  if (bits !== undefined)
    say(
      bits,
      'error',
      'HF1306',
      `a coil or discrete input is one bit; remove ${bits.key}, and give each a tag of its own (repeat makes many)`,
    );
  return { type: 'bool', quantity: 1, bits: null, width: 1, shift: 0 };
}

function registerBits(picked: Picked<unknown>, raw: ValueType, quantity: number, order: string): Kind | null {
  const width = quantity * 16;
  const range = bitsOf(picked.value);
  if (raw !== 'bool' && !isInteger(raw)) {
    say(picked, 'error', 'HF1306', `${raw} has no bits to pick; use uint16, uint32 or uint64`);
    return null;
  }
  if (range.last >= width) {
    say(
      picked,
      'error',
      'HF1306',
      `bit ${range.last} is not in ${width} bits; ${width === 64 ? 'the highest is 63' : 'use type uint32 or uint64'}`,
    );
    return null;
  }
  if (picked.key === 'bits')
    return { type: raw === 'bool' ? 'uint16' : raw, quantity, bits: range, width, shift: 0 };
  // One bit lies in one register, which is all that needs to be read and written for it.
  const word = Math.floor(range.first / 16);
  const bit = range.first % 16;
  const shift = order === 'CDAB' || order === 'DCBA' ? word : quantity - 1 - word;
  return { type: 'bool', quantity: 1, bits: { first: bit, last: bit }, width: 1, shift };
}

function bitsOf(value: unknown): { first: number; last: number } {
  if (typeof value === 'number') return { first: value, last: value };
  const range = value as { first: number; last: number }; // what the schema makes of bits
  return { first: range.first, last: range.last };
}

function stringRegisters(layers: Layers): number | null {
  const count = layers.pick('count');
  if (count !== null) return count.value;
  const { source, path } = layers.nearest;
  source.add('error', 'HF1307', [...path, 'count'], 'missing; a string needs the number of its registers');
  return null;
}

function scaleOf(
  layers: Layers,
  type: ValueType,
): { scale: number; offset: number; scaleFrom: ScaleReference | null } {
  const scale = layers.pick('scale');
  const offset = layers.pick('offset');
  for (const picked of [scale, offset]) {
    if (picked !== null && !isNumber(type))
      say(picked, 'error', 'HF1309', `${type} has no ${picked.key}; remove it`);
  }
  const base = { offset: offset?.value ?? 0 };
  if (scale === null) return { ...base, scale: 1, scaleFrom: null };
  const { value, layer } = scale;
  if (typeof value === 'number') return { ...base, scale: value, scaleFrom: null };
  const [kind, tag] =
    'pow10_of' in value ? (['pow10', value.pow10_of] as const) : (['value', value.value_of] as const);
  return { ...base, scale: 1, scaleFrom: { kind, tag, layer } };
}

function enumOf(layers: Layers, { type, bits }: Kind): Tag['enum'] {
  const picked = layers.pick('enum');
  if (picked === null) return null;
  if (!isInteger(type) && type !== 'bool') {
    say(picked, 'warning', 'HF2312', `raw values of ${type} seldom equal a whole number exactly`);
  }
  const entries = Object.entries(picked.value).map(([raw, text]) => ({
    raw: Number(raw),
    text: String(text),
  }));
  const most = bits === null ? Number.POSITIVE_INFINITY : 2 ** (bits.last - bits.first + 1) - 1;
  for (const { raw } of entries) {
    if (raw > most)
      say(
        picked,
        'error',
        'HF1311',
        `${raw} cannot occur in ${most === 1 ? 'one bit' : `bits that reach ${most}`}`,
      );
  }
  return entries;
}

function flagsOf(layers: Layers, { type, width }: Kind): Tag['flags'] {
  const picked = layers.pick('flags');
  if (picked === null) return null;
  if (!isInteger(type)) say(picked, 'error', 'HF1311', `${type} has no flags; use uint16, uint32 or uint64`);
  return Object.entries(picked.value).map(([bit, text]) => {
    if (Number(bit) >= width) say(picked, 'error', 'HF1311', `bit ${bit} is not in ${width} bits`);
    return { bit: Number(bit), text };
  });
}

function textOf(layers: Layers, type: ValueType): TextFormat | null {
  if (type !== 'string') {
    for (const key of ['bytes', 'encoding', 'pad'] as const) {
      const picked = layers.pick(key);
      if (picked !== null) say(picked, 'error', 'HF1309', `${type} has no ${key}; only strings have`);
    }
    return null;
  }
  return {
    bytes: layers.value('bytes', 'both'),
    encoding: layers.value('encoding', 'ascii'),
    pad: layers.value('pad', 0),
  };
}

/** What makers usually mean by "not available". */
const SENTINELS: Readonly<Partial<Record<ValueType, readonly (number | bigint | string)[]>>> = {
  int16: [-(2 ** 15), 2 ** 15 - 1],
  uint16: [2 ** 16 - 1],
  int32: [-(2 ** 31), 2 ** 31 - 1],
  uint32: [2 ** 32 - 1],
  int64: [-(2n ** 63n), 2n ** 63n - 1n],
  uint64: [2n ** 64n - 1n],
  float32: ['nan'],
  float64: ['nan'],
};

function invalidOf(layers: Layers, type: ValueType): Tag['invalid'] {
  const picked = layers.pick('invalid');
  if (picked === null) return [];
  if (picked.value === 'auto') return SENTINELS[type] ?? [];
  return picked.value.flatMap((value, index) => {
    const raw = Number.isNaN(value) ? 'nan' : rawOf(value, type);
    if (raw !== null) return [raw];
    say(
      picked,
      'error',
      'HF1313',
      `${String(value)} does not fit ${type}; a sentinel of another width hides real readings`,
      [index],
    );
    return [];
  });
}

/** The value as the type reads it: 0x8000 of an int16 is -32768. Null when it does not fit. */
function rawOf(value: number | bigint | string, type: ValueType): number | bigint | string | null {
  if (isFloat(type)) return value;
  if (!isInteger(type) || typeof value === 'string') return null;
  if (typeof value === 'number' && !Number.isInteger(value)) return null;
  const { least, most } = limitsOfType(type);
  const width = SIGNED.exec(type)?.[1];
  const written = BigInt(value);
  const read =
    width !== undefined && written > most && written < 1n << BigInt(width)
      ? BigInt.asIntN(Number(width), written)
      : written;
  if (read < least || read > most) return null;
  return Number.isSafeInteger(Number(read)) ? Number(read) : read;
}

function plausibleOf(layers: Layers, type: ValueType): Tag['plausible'] {
  const picked = layers.pick('plausible');
  if (picked === null) return null;
  if (!isNumber(type)) {
    say(picked, 'error', 'HF1309', `${type} has no plausible range; remove it`);
    return null;
  }
  const {
    min = Number.NEGATIVE_INFINITY,
    max = Number.POSITIVE_INFINITY,
    max_per_second: maxPerSecond = Number.POSITIVE_INFINITY,
  } = picked.value;
  if (min > max) say(picked, 'error', 'HF1314', `min ${min} is above max ${max}`);
  return { min, max, maxPerSecond };
}

function counterOf(layers: Layers, type: ValueType): Tag['counter'] {
  const picked = layers.pick('counter');
  if (picked === null || picked.value === false) return null;
  if (!isNumber(type)) {
    say(picked, 'error', 'HF1309', `${type} does not count; remove counter`);
    return null;
  }
  return { modulo: picked.value === true ? 0 : picked.value.modulo };
}

function intervalOf(layers: Layers, rates: Rates): number {
  const picked = layers.pick('rate');
  const name = picked?.value ?? 'normal';
  const known = rates.get(name) ?? parseDuration(name);
  if (known === null) {
    if (picked !== null)
      say(
        picked,
        'error',
        'HF1207',
        `${name} is not a rate; write a duration such as 1s, or one of ${[...rates.keys()].join(', ')}${suggestion(name, rates.keys())}`,
      );
    return 10_000;
  }
  if (known === 0 && name !== 'once' && picked !== null && rates.get(name) === undefined) {
    say(picked, 'error', 'HF1207', 'a rate of 0 would never end; write a duration, or once');
  }
  return known;
}

function deadbandOf(layers: Layers, hasNone: boolean): Tag['deadband'] {
  const picked = layers.pick('deadband');
  if (picked === null) return { kind: 'absolute', value: 0 };
  if (hasNone) {
    if (picked.layer.name === 'tag')
      say(picked, 'warning', 'HF2310', 'texts and truths have no deadband; remove it');
    return { kind: 'absolute', value: 0 };
  }
  const { value } = picked;
  return typeof value === 'number'
    ? { kind: 'absolute', value }
    : { kind: 'percent', value: Number(value.slice(0, -1)) };
}
