/** What a raw value means: scale, texts for numbers and bits, sentinels, what is plausible, what counts. */
import { type ValueType, rawReader, writeRaw } from '../modbus/values.js';
import { type Layer, type Layers, say } from './layers.js';
import type { Kind } from './place.js';
import type { Tag, TextFormat } from './plant.js';
import { isBinary, isFloat, isInteger, isNumber, limitsOfType } from './types.js';

export interface ScaleReference {
  readonly kind: 'pow10' | 'value';
  readonly tag: string;
  readonly layer: Layer;
}

/** Whose written sentinels may be the unsigned form of a negative number. */
const SIGNED = /^int(16|32|64)$/;

export function scaleOf(
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

export function enumOf(layers: Layers, kind: Kind): Tag['enum'] {
  const picked = layers.pick('enum');
  if (picked === null) return null;
  const { type } = kind;
  if (!isInteger(type) && type !== 'bool') {
    say(picked, 'warning', 'HF2312', `raw values of ${type} seldom equal a whole number exactly`);
  }
  const entries: { raw: number; text: string }[] = [];
  for (const [written, name] of Object.entries(picked.value)) {
    const raw = enumKeyOf(written, kind);
    const text = String(name);
    const twin = entries.find((one) => one.raw === raw || one.text === text);
    if (typeof raw === 'string') say(picked, 'error', 'HF1311', raw, [written]);
    else if (twin?.raw === raw)
      say(picked, 'error', 'HF1311', `${raw} has the text ${twin.text} already; remove one of them`, [
        written,
      ]);
    else entries.push({ raw, text });
    // Read, two values may mean the same; a command has to mean one.
    if (twin?.text === text && twin.raw !== raw && (layers.pick('write')?.value ?? false) !== false) {
      const what = `${text} stands for ${twin.raw} already, which is what a command of it writes`;
      say(picked, 'warning', 'HF2311', `${what}; give each value a text of its own`, [written]);
    }
  }
  return entries;
}

/** The raw value that a key of an enum names, or why it names none. */
function enumKeyOf(written: string, kind: Kind): number | string {
  const { type, bits } = kind;
  const key = written.startsWith('-') ? -BigInt(written.slice(1)) : BigInt(written);
  const raw = bits === null && isInteger(type) ? integerOf(key, type) : key;
  const { least, most } = rangeOf(kind);
  if (raw !== null && raw >= least && raw <= most) return Number(raw);
  const what = type === 'bool' ? 'one bit' : bits === null ? type : `bits ${bits.first}-${bits.last}`;
  return `${written} cannot be named in ${what}, only ${least} to ${most}; correct it`;
}

const SAFE = BigInt(Number.MAX_SAFE_INTEGER);

/** The raw values that an enum can name; beyond 2^53 they are not told apart. */
function rangeOf({ type, bits }: Kind): { readonly least: bigint; readonly most: bigint } {
  if (type === 'bool') return { least: 0n, most: 1n };
  if (bits !== null) return { least: 0n, most: (1n << BigInt(bits.last - bits.first + 1)) - 1n };
  if (!isInteger(type)) return { least: -SAFE, most: SAFE };
  const { least, most } = limitsOfType(type);
  return { least: least < -SAFE ? -SAFE : least, most: most > SAFE ? SAFE : most };
}

export function flagsOf(layers: Layers, { type, width }: Kind): Tag['flags'] {
  const picked = layers.pick('flags');
  if (picked === null) return null;
  if (!isBinary(type)) say(picked, 'error', 'HF1311', `${type} has no flags; use uint16, uint32 or uint64`);
  const entries = Object.entries(picked.value);
  const isWritten = (layers.pick('write')?.value ?? false) !== false;
  return entries.map(([bit, text], index) => {
    if (Number(bit) >= width) say(picked, 'error', 'HF1311', `bit ${bit} is not in ${width} bits`);
    const twin = entries.slice(0, index).find(([, earlier]) => earlier === text)?.[0];
    if (twin !== undefined && isWritten)
      say(
        picked,
        'warning',
        'HF2311',
        `${text} stands for bit ${twin} already, which is what a command of it sets; give each bit a name of its own`,
        [bit],
      );
    return { bit: Number(bit), text };
  });
}

export function textOf(layers: Layers, type: ValueType): TextFormat | null {
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

export function invalidOf(layers: Layers, type: ValueType): Tag['invalid'] {
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

/** The value as the type reads it; null when it does not fit. */
function rawOf(value: number | bigint | string, type: ValueType): number | bigint | string | null {
  if (isFloat(type)) return type === 'float32' && typeof value !== 'string' ? asFloat32(value) : value;
  if (!isInteger(type) || typeof value === 'string') return null;
  if (typeof value === 'number' && !Number.isInteger(value)) return null;
  const read = integerOf(BigInt(value), type);
  return read !== null && Number.isSafeInteger(Number(read)) ? Number(read) : read;
}

/** Written with more digits than a float32 tells apart, such as 3.402823466e+38, it is still the one that is read. */
function asFloat32(value: number | bigint): number | null {
  const read = Number(rawReader('float32', 'ABCD')(writeRaw('float32', 'ABCD', Number(value)), 0));
  return Number.isFinite(read) ? read : null;
}

/** 0x8000 of an int16 is -32768. */
function integerOf(written: bigint, type: ValueType): bigint | null {
  const { least, most } = limitsOfType(type);
  const width = SIGNED.exec(type)?.[1];
  const read =
    width !== undefined && written > most && written < 1n << BigInt(width)
      ? BigInt.asIntN(Number(width), written)
      : written;
  return read < least || read > most ? null : read;
}

export function plausibleOf(layers: Layers, type: ValueType): Tag['plausible'] {
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

export function counterOf(layers: Layers, type: ValueType): Tag['counter'] {
  const picked = layers.pick('counter');
  if (picked === null || picked.value === false) return null;
  if (!isNumber(type)) {
    say(picked, 'error', 'HF1309', `${type} does not count; remove counter`);
    return null;
  }
  return { modulo: picked.value === true ? 0 : picked.value.modulo };
}
