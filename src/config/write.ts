/** `write:` of a tag: where and how commands reach the device, and what has to be done around them. */
import { isBitTable } from '../modbus/protocol.js';
import { encodeValue, truthOf, truthsText } from '../modbus/conversion.js';
import type { ValueType } from '../modbus/values.js';
import { type Address, type AddressKey, addressOf, tableText } from './address.js';
import { type Layers, type Picked, say } from './layers.js';
import type { Device, Json, RefreshSettings, Tag, WriteSettings, WriteStep } from './plant.js';
import type { Path } from './problems.js';
import type { TagInput } from './schema/tag.js';
import { isInteger, limitsOfType } from './types.js';

type WriteInput = Exclude<NonNullable<TagInput['write']>, boolean>;
type StepInput = NonNullable<WriteInput['before']>[number];
type ValueInput = NonNullable<WriteInput['rest']>;

const FUNCTIONS_OF_BITS: readonly number[] = [5, 15];

/** read: where the value is read, which is where it is written unless it says otherwise. */
export function writeOf(
  layers: Layers,
  read: Address & { readonly key: AddressKey },
  type: ValueType,
  select: WriteStep | null,
  device: Device,
): WriteSettings | null {
  const picked = layers.pick('write');
  if (picked === null || picked.value === false) return null;
  const input: WriteInput = picked.value === true ? {} : picked.value;
  const target = writeTarget(input, read, picked);
  if (target === null) return null;
  if (isBitTable(target.table) !== isBitTable(read.table)) {
    say(
      picked,
      'error',
      'HF1308',
      `${type} cannot be written to ${tableText(target.table)}s; write it to ${isBitTable(target.table) ? 'holding' : 'coil'}`,
    );
  }
  const { min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY, functions = [] } = input;
  if (min > max) say(picked, 'error', 'HF1314', `min ${min} is above max ${max}`);
  functions.forEach((code, index) => {
    if (FUNCTIONS_OF_BITS.includes(code) !== isBitTable(target.table))
      say(picked, 'error', 'HF1308', `function ${code} does not write ${tableText(target.table)}s`, [
        'functions',
        index,
      ]);
  });
  checkTogether(input, device, picked);
  return {
    ...target,
    functions,
    min,
    max,
    step: input.step ?? 0,
    verify: (input.verify ?? true) && input.pulse === undefined && input.broadcast !== true,
    with: input.with ?? 'auto',
    newestOnly: input.newest_only ?? false,
    before: [...(select === null ? [] : [select]), ...stepsOf('before', input, picked)],
    after: stepsOf('after', input, picked),
    pulse: input.pulse === undefined ? null : { ms: input.pulse, rest: jsonOf(input.rest ?? restOf(type)) },
    refresh: refreshOf(input),
    broadcast: input.broadcast ?? false,
    perHourMax: input.max_per_hour ?? Number.POSITIVE_INFINITY,
  };
}

/** A range that promises more than the registers hold: its far end is refused when somebody commands it. */
export function checkReach(tag: Tag, layers: Layers): void {
  const picked = layers.pick('write');
  const { write, type, scale, offset, bits, enum: names } = tag;
  if (picked === null || write === null || !isInteger(type) || bits !== null || names !== null) return;
  const { least, most } = limitsOfType(type);
  // As it is written: 32767 times 0.1 is 3276.7.
  const ends = [least, most].map((raw) => Number((Number(raw) * scale + offset).toPrecision(15)));
  const [low, high] = [Math.min(...ends), Math.max(...ends)];
  const told = (key: 'min' | 'max', value: number): void =>
    say(picked, 'warning', 'HF2321', `${value} is beyond what ${type} holds here, ${low} to ${high}; ${key === 'min' ? 'raise' : 'lower'} it, or give the tag the type that its registers have`, [key]); // prettier-ignore
  if (write.min > Number.NEGATIVE_INFINITY && write.min < low) told('min', write.min);
  if (write.max < Number.POSITIVE_INFINITY && write.max > high) told('max', write.max);
}

/** A mask write is of one register. */
export function checkBits({ write, bits }: Tag, layers: Layers): void {
  const picked = layers.pick('write');
  if (write?.with !== 'mask' || picked === null || bits === null) return;
  const registers = [bits.first, bits.last].map((bit) => Math.floor(bit / 16));
  if (registers[0] !== registers[1])
    say(picked, 'error', 'HF1308', `bits ${bits.first}-${bits.last} lie in several registers, which no mask write reaches at once; make a tag of those in each, or remove with`); // prettier-ignore
}

/** What the gateway writes of its own accord must go into the registers, or a pulse or a command would never end. */
export function checkOwnValues(tag: Tag, layers: Layers): void {
  const picked = layers.pick('write');
  if (tag.write === null || picked === null || typeof picked.value === 'boolean') return;
  const { pulse, rest = restOf(tag.type), fallback, initial } = picked.value;
  for (const [key, value] of [
    ['rest', pulse && rest],
    ['fallback', fallback],
    ['initial', initial],
  ] as const) {
    const why = value === undefined ? null : whyNotWritten(tag, value, picked.value[key] === undefined);
    if (why !== null) say(picked, 'error', 'HF1318', `${String(value)} cannot be written: ${why}`, [key]);
  }
}

function whyNotWritten(tag: Tag, value: ValueInput, isImplied: boolean): string | null {
  if (tag.type === 'bool') return truthOf(value, tag.enum) === undefined ? truthsText(tag.enum) : null;
  const encoded = encodeValue(tag, value);
  if (encoded.kind === 'refused') return encoded.text;
  // Numbers that somebody wrote are looked at where they stand; a name of an enum, and the 0 of a pulse, are not.
  const { min, max } = tag.write ?? { min: -Infinity, max: Infinity };
  const raw = tag.enum?.find(({ text }) => text === value)?.raw ?? (isImplied ? Number(value) : null);
  return raw !== null && (raw < min || raw > max)
    ? 'it is outside min and max; widen them, or write another value'
    : null;
}

/** What a pulse ends with unless it says otherwise. */
function restOf(type: ValueType): boolean | number {
  return type === 'bool' ? false : 0;
}

function writeTarget(input: WriteInput, read: Address, picked: Picked<unknown>): Address | null {
  for (const key of ['coil', 'holding'] as const) {
    if (input[key] === undefined) continue;
    const address = addressOf(key, input[key], picked.layer);
    if (typeof address !== 'string') return address;
    say(picked, 'error', 'HF1303', address, [key]);
    return null;
  }
  if (read.table === 'coil' || read.table === 'holding-register')
    return { table: read.table, address: read.address };
  say(
    picked,
    'error',
    'HF1308',
    `${tableText(read.table)}s are read-only; name where it is written: write: { ${read.table === 'discrete-input' ? 'coil' : 'holding'}: ADDRESS }`,
  );
  return null;
}

/** Settings that mean something only beside others, or not beside them. */
function checkTogether(input: WriteInput, { bus }: Device, picked: Picked<unknown>): void {
  const complain = (key: keyof WriteInput, text: string): void => say(picked, 'error', 'HF1318', text, [key]);
  if (input.rest !== undefined && input.pulse === undefined)
    complain('rest', 'is what a pulse ends with; add pulse: 200ms');
  for (const key of ['hold', 'fallback', 'initial'] as const)
    if (input[key] !== undefined && input.refresh === undefined)
      complain(key, `${key} means something with refresh only; add refresh: 10s`);
  if (input.refresh !== undefined && input.refresh < 500)
    complain('refresh', 'more often than every 500ms is more than it can be; write 500ms or more');
  if (input.pulse !== undefined && input.refresh !== undefined)
    complain('pulse', 'a pulse ends by itself and is not refreshed; remove one of the two');
  if (input.hold !== undefined && input.refresh !== undefined && input.hold < input.refresh)
    complain('hold', 'is over before the first refresh; write a longer one');
  if (input.broadcast === true && bus.link.kind !== 'rtu' && bus.link.kind !== 'ascii' && bus.index >= 0)
    complain('broadcast', 'only a serial line has broadcasts; remove it');
  for (const key of ['rest', 'fallback', 'initial'] as const) {
    const value = input[key];
    if (typeof value !== 'number' && typeof value !== 'bigint') continue;
    if (value < (input.min ?? value) || value > (input.max ?? value))
      complain(key, `${value} is outside what may be written, ${String(input.min)} to ${String(input.max)}`);
  }
}

function stepsOf(key: 'before' | 'after', input: WriteInput, picked: Picked<unknown>): WriteStep[] {
  return (input[key] ?? []).flatMap((step, index) => stepOf(step, picked, [key, index]) ?? []);
}

export function stepOf(step: StepInput, picked: Picked<unknown>, at: Path): WriteStep | null {
  const key = step.coil === undefined ? 'holding' : 'coil';
  if ((step.coil === undefined) === (step.holding === undefined)) {
    say(picked, 'error', 'HF1301', 'names one register or coil: write { holding: 9000, value: 1 }', at);
    return null;
  }
  const address = addressOf(key, step[key], picked.layer);
  if (typeof address === 'string') {
    say(picked, 'error', 'HF1303', address, [...at, key]);
    return null;
  }
  const values = (Array.isArray(step.value) ? step.value : [step.value]).map(Number);
  if (key === 'coil' && (values.length > 1 || (values[0] ?? 0) > 1)) {
    say(picked, 'error', 'HF1106', 'a coil is true or false', [...at, 'value']);
    return null;
  }
  if (address.table !== 'coil' && address.table !== 'holding-register') return null;
  return { table: address.table, address: address.address, values };
}

function refreshOf(input: WriteInput): RefreshSettings | null {
  if (input.refresh === undefined) return null;
  return {
    everyMs: input.refresh,
    holdMs: input.hold ?? Number.POSITIVE_INFINITY,
    fallback: input.fallback === undefined ? null : jsonOf(input.fallback),
    initial: input.initial === undefined ? null : jsonOf(input.initial),
  };
}

/** As a command would bring it; integers beyond 2^53 keep their digits. */
function jsonOf(value: ValueInput): Json {
  return typeof value === 'bigint' ? value.toString() : JSON.stringify(value);
}
