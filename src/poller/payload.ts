/**
 * Readings -> payload bytes, written straight into a parcel: {"v":21.4,"q":"good","t":1795376237895}, the bare value,
 * or one JSON for a batch. No object and, for most numbers, no string is made for a sample.
 */
import type { Batch, Tag } from '../config/plant.js';
import type { Value } from '../modbus/values.js';
import { parcelBytes, ParcelWriter, qualityOf, reasonOf, sampleCode } from './parcel.js';

/** What a payload is made of; a TagState is one. */
export interface Reading {
  readonly tag: Tag;
  readonly value: Value | null;
  /** Quality and reason as in parcels. */
  readonly code: number;
  readonly timeMs: number;
}

/** A number's text is at most 25 bytes, the frame around the value below 70. */
const NUMBER_BYTES_MAX = 26;
const FRAME_BYTES_MAX = 80;

const encoder = new TextEncoder();
const OPEN = Buffer.from('{"v":');
const NULL = Buffer.from('null');

/** What stands after the value, by quality: kept with its time, because a whole answer shares it. */
const tails: ({ timeMs: number; readonly bytes: Uint8Array } | undefined)[] = [];
/** Digits of times since 1970, from 2001 until 2286. */
const TIME_DIGITS = 13;
const TIME_MIN_MS = 10 ** (TIME_DIGITS - 1);

/** The most bytes that writePayload() will need for this reading. */
export function payloadBytesMax(state: Reading): number {
  const { value } = state;
  if (typeof value === 'string') return FRAME_BYTES_MAX + 6 * value.length + 2;
  return FRAME_BYTES_MAX + NUMBER_BYTES_MAX;
}

/** Writes a reading's payload and returns where it ends. */
export function writePayload(into: Uint8Array, start: number, state: Reading): number {
  const { value } = state;
  if (state.tag.payload === 'raw') {
    if (value === null) return start;
    return typeof value === 'string' ? writeUtf8(into, start, value) : writeValue(into, start, value);
  }
  let at = copy(into, start, OPEN);
  at = value === null ? copy(into, at, NULL) : writeValue(into, at, value);
  return copy(into, at, tailOf(state.code, state.timeMs));
}

/** The payload of a reading, in bytes of its own: for rare uses. */
export function payloadOf(state: Reading): Uint8Array {
  const bytes = new Uint8Array(payloadBytesMax(state));
  return bytes.slice(0, writePayload(bytes, 0, state));
}

/** JSON text of a value, in bytes of its own. */
export function payloadOfValue(value: Value): Uint8Array {
  return encoder.encode(typeof value === 'bigint' ? value.toString() : JSON.stringify(value));
}

function tailOf(code: number, timeMs: number): Uint8Array {
  const wholeMs = Math.trunc(timeMs);
  const known = tails[code];
  if (known?.timeMs === wholeMs) return known.bytes;
  if (known === undefined || wholeMs < TIME_MIN_MS || known.timeMs < TIME_MIN_MS) {
    const bytes = newTail(code, wholeMs);
    tails[code] = { timeMs: wholeMs, bytes };
    return bytes;
  }
  // The same but for the digits of the time, which end before the brace.
  known.timeMs = wholeMs;
  const { bytes } = known;
  let left = wholeMs;
  for (let at = bytes.length - 2; at >= bytes.length - 1 - TIME_DIGITS; at -= 1) {
    const rest = Math.floor(left / 10);
    bytes[at] = 48 + left - rest * 10;
    left = rest;
  }
  return bytes;
}

function newTail(code: number, wholeMs: number): Uint8Array {
  const reason = reasonOf(code);
  return Buffer.from(
    `,"q":"${qualityOf(code)}"${reason === undefined ? '' : `,"e":"${reason}"`},"t":${wholeMs}}`,
    'latin1',
  );
}

/** JSON text of a value. */
export function writeValue(into: Uint8Array, at: number, value: Value): number {
  if (typeof value === 'number') return writeNumber(into, at, value);
  if (typeof value === 'boolean') return writeAscii(into, at, value ? 'true' : 'false');
  if (typeof value === 'bigint') return writeAscii(into, at, value.toString());
  return writeUtf8(into, at, JSON.stringify(value));
}

function writeNumber(into: Uint8Array, at: number, value: number): number {
  const magnitude = value < 0 ? -value : value;
  if (magnitude >= 1e9) return writeAscii(into, at, String(value));
  const whole = magnitude | 0;
  if (whole === magnitude) {
    if (value < 0) into[at++] = 45;
    return writeDigits(into, at, whole);
  }
  // Most measured values have few digits after the point: three are tried before the general conversion.
  const thousandths = Math.round(magnitude * 1000);
  if (thousandths / 1000 !== magnitude || thousandths > 1e9) return writeAscii(into, at, String(value));
  if (value < 0) into[at++] = 45;
  return writeThousandths(into, at, thousandths);
}

function writeDigits(into: Uint8Array, start: number, whole: number): number {
  let count = 1;
  for (let power = 10; power <= whole; power *= 10) count += 1;
  let left = whole;
  for (let at = start + count - 1; at >= start; at -= 1) {
    const rest = (left / 10) | 0;
    into[at] = 48 + left - rest * 10;
    left = rest;
  }
  return start + count;
}

function writeThousandths(into: Uint8Array, start: number, thousandths: number): number {
  const whole = (thousandths / 1000) | 0;
  let fraction = thousandths - whole * 1000;
  let at = writeDigits(into, start, whole);
  into[at++] = 46;
  for (let unit = 100; fraction > 0; unit /= 10) {
    const digit = (fraction / unit) | 0;
    into[at++] = 48 + digit;
    fraction -= digit * unit;
  }
  return at;
}

function writeAscii(into: Uint8Array, start: number, text: string): number {
  for (let i = 0; i < text.length; i += 1) into[start + i] = text.charCodeAt(i);
  return start + text.length;
}

function writeUtf8(into: Uint8Array, start: number, text: string): number {
  return start + encoder.encodeInto(text, into.subarray(start)).written;
}

/** Byte loops beat TypedArray.set() below some 40 bytes. */
function copy(into: Uint8Array, start: number, from: Uint8Array): number {
  for (let i = 0; i < from.length; i += 1) into[start + i] = from[i] ?? 0;
  return start + from.length;
}

/**
 * One JSON for a batch: values by tag name, the worst quality, and the reason of each tag that is not good:
 * {"v":{"flow":3.2,"level":null},"q":"bad","e":{"level":"exception"},"t":1795376237895}
 */
export function batchPayload(states: readonly Reading[], timeMs: number): Uint8Array {
  let values = '';
  let reasons = '';
  let worst = 0;
  for (const state of states) {
    const { tag, value, code } = state;
    const text = value === null ? 'null' : typeof value === 'string' ? JSON.stringify(value) : String(value);
    values += `${values === '' ? '' : ','}${JSON.stringify(tag.name)}:${text}`;
    if (RANK[code & 3]! > RANK[worst]!) worst = code & 3;
    const reason = reasonOf(code);
    if (reason !== undefined)
      reasons += `${reasons === '' ? '' : ','}${JSON.stringify(tag.name)}:"${reason}"`;
  }
  const error = reasons === '' ? '' : `,"e":{${reasons}}`;
  return encoder.encode(`{"v":{${values}},"q":"${qualityOf(worst)}"${error},"t":${Math.trunc(timeMs)}}`);
}

/** How bad each quality code is: good, stale, bad, uncertain. */
const RANK = [0, 2, 3, 1];

const OFFLINE_PARCEL_BYTES = 65_536;

/** Parcels that say of all these tags that nobody reads them any more. */
export function offlineParcels(
  tags: readonly Tag[],
  batches: readonly Batch[],
  timeMs: number,
): ArrayBuffer[] {
  const code = sampleCode('bad', 'offline');
  const readingOf = (tag: Tag): Reading => ({ tag, value: null, code, timeMs });
  const buffers: ArrayBuffer[] = [];
  let writer = new ParcelWriter('samples', new ArrayBuffer(OFFLINE_PARCEL_BYTES), timeMs);
  const append = (index: number, payload: Uint8Array): void => {
    if (writer.append(index, code, timeMs, 0, payload)) return;
    buffers.push(writer.finish());
    const size = Math.max(OFFLINE_PARCEL_BYTES, parcelBytes(payload.length));
    writer = new ParcelWriter('samples', new ArrayBuffer(size), timeMs);
    writer.append(index, code, timeMs, 0, payload);
  };
  for (const tag of tags) if (tag.payload !== 'batch') append(tag.index, payloadOf(readingOf(tag)));
  for (const batch of batches) append(batch.index, batchPayload(batch.tags.map(readingOf), timeMs));
  buffers.push(writer.finish());
  return buffers;
}
