/**
 * A command's JSON -> what goes to the device: checked against the tag's type, range, step, enum and bits, and encoded
 * as registers, a bit, or some bits of a register.
 */
import type { Tag } from '../config/plant.js';
import { setWord } from '../modbus/bytes.js';
import { encodeValue, truthNamer, truthOf, truthsText } from '../modbus/conversion.js';
import type { MaskedRegister } from '../modbus/conversion.js';
import { stepsTo } from '../modbus/decimal.js';
import { isBitTable } from '../modbus/protocol.js';
import type { Table } from '../modbus/protocol.js';

export type Encoded =
  | { readonly kind: 'bits'; readonly bits: readonly boolean[]; readonly json: string }
  | { readonly kind: 'registers'; readonly registers: Uint8Array; readonly json: string }
  /** That register, counted from the tag's address, = (itself and not mask) or value. */
  | {
      readonly kind: 'masked';
      readonly register: number;
      readonly mask: number;
      readonly value: number;
      readonly json: string;
    }
  /** The registers from the tag's address on = (themselves and not mask) or registers. */
  | {
      readonly kind: 'merged';
      readonly registers: Uint8Array;
      readonly mask: Uint8Array;
      readonly json: string;
    }
  | { readonly kind: 'refused'; readonly code: RefusalCode; readonly text: string };

type RefusalCode = 'RANGE' | 'TYPE' | 'READ_ONLY' | 'BUSY';

/** Longer commands than any value needs are not parsed. */
const COMMAND_BYTES_MAX = 4096;

type Json = number | bigint | boolean | string;

/** factor: what another register multiplies the value by; NaN when that was not read yet. */
export function encodeCommand(tag: Tag, payload: Uint8Array, factor = 1): Encoded {
  if (tag.write === null) return refused('READ_ONLY', 'the tag cannot be written');
  const value = parse(payload);
  if (value === undefined) return refused('TYPE', 'expected a JSON number, boolean or string');
  if (tag.type === 'bool' || isBitTable(tag.write.table)) return encodeTruth(tag, tag.write.table, value);
  const asked = numberOf(tag, value);
  const outside = asked === null ? null : outsideOf(tag, asked);
  if (outside !== null) return outside;
  if (!Number.isFinite(factor) || factor === 0)
    return refused('BUSY', 'the register that holds its scale has not been read; try again');
  const json = typeof value === 'bigint' ? value.toString() : JSON.stringify(value);
  return encodeRegisters(tag, value, json, factor);
}

function encodeRegisters(tag: Tag, value: Json, json: string, factor: number): Encoded {
  const encoded = encodeValue(tag, value, factor);
  switch (encoded.kind) {
    case 'refused':
      return encoded;
    case 'registers':
      return { kind: 'registers', registers: encoded.registers, json };
    case 'masked': {
      const [part, further] = encoded.parts;
      if (part !== undefined && further === undefined) return { kind: 'masked', ...part, json };
      return { kind: 'merged', ...mergedOf(tag, encoded.parts), json };
    }
  }
}

function mergedOf(
  { quantity }: Tag,
  parts: readonly MaskedRegister[],
): { readonly registers: Uint8Array; readonly mask: Uint8Array } {
  const [registers, mask] = [new Uint8Array(2 * quantity), new Uint8Array(2 * quantity)];
  for (const part of parts) {
    setWord(registers, 2 * part.register, part.value);
    setWord(mask, 2 * part.register, part.mask);
  }
  return { registers, mask };
}

export function refused(code: RefusalCode, text: string): Encoded & { kind: 'refused' } {
  return { kind: 'refused', code, text };
}

/** JSON text to a value; whole numbers beyond 2^53 keep all their digits. */
function parse(payload: Uint8Array): Json | undefined {
  if (payload.length > COMMAND_BYTES_MAX) return undefined;
  const text = Buffer.from(payload.buffer, payload.byteOffset, payload.length).toString('utf8').trim();
  if (/^-?\d{16,20}$/.test(text)) return BigInt(text);
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'number' && Number.isFinite(value)) return value;
    return typeof value === 'boolean' || typeof value === 'string' ? value : undefined;
  } catch {
    return undefined;
  }
}

/** A coil, or a register or a bit of one that is true or false, by the names of its enum where it has one. */
function encodeTruth(tag: Tag, table: Table, value: Json): Encoded {
  const truth = truthOf(value, tag.enum);
  if (truth === undefined) return refused('TYPE', truthsText(tag.enum));
  const json = JSON.stringify(truthNamer(tag.enum)(truth));
  return isBitTable(table) ? { kind: 'bits', bits: [truth], json } : encodeRegisters(tag, truth, json, 1);
}

/** What limits hold for; a name of an enum stands for its number. null: it has none, and says so when it is encoded. */
function numberOf(tag: Tag, value: Json): number | bigint | null {
  if (typeof value === 'number' || typeof value === 'bigint') return value;
  return tag.enum?.find(({ text }) => text === value)?.raw ?? null;
}

function rangeText(min: number, max: number): string {
  if (min === -Infinity) return `what is allowed, at most ${max}`;
  return max === Infinity ? `what is allowed, at least ${min}` : `${min} to ${max}`;
}

function outsideOf(tag: Tag, value: number | bigint): (Encoded & { kind: 'refused' }) | null {
  const { min, max, step } = tag.write ?? { min: -Infinity, max: Infinity, step: 0 };
  if (value < min || value > max) return refused('RANGE', `${value} is outside ${rangeText(min, max)}`);
  if (step > 0 && stepsTo(value, Number.isFinite(min) ? min : 0, step) === null)
    return refused('RANGE', `${value} is not a multiple of ${step}`);
  return null;
}
