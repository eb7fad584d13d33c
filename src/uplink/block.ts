/**
 * Thousands of entries in a row as one compressed, checksummed block file. Inside, what is alike lies together: topics
 * once, times and lengths as columns, and the payloads of each topic one after the other, which is what makes telemetry
 * small. Does no input or output.
 */
import { promisify } from 'node:util';
import { crc32, deflateRaw, inflateRaw } from 'node:zlib';
import type { Chunk } from './chunk.js';
import { type Entry, field, isRetained, placesIn, qosOf } from './entry.js';

/** What a block file says of itself before it is inflated. */
export interface BlockAbout {
  readonly first: number;
  readonly count: number;
  readonly newestMs: number;
}

const MAGIC = 0x52554648; // "HFUR"
const HEADER_BYTES = 40;
/** What repeats in telemetry is found at any level; higher ones cost time. */
const LEVEL = 4;
/** f64 time, f64 expiry, u32 topic, u32 payload length, u32 properties length, u8 flags: each as a column of its own. */
const ROW_BYTES = 29;

const deflate = promisify<Buffer, { level: number }, Buffer>(deflateRaw);
const inflate = promisify<Uint8Array, { maxOutputLength: number }, Buffer>(inflateRaw);
/** A block is made of about a MiB of entries; one longer by far is damaged in a way that its checksum does not show. */
const RAW_MAX_BYTES = 512 << 20;

export async function packBlock(chunk: Chunk): Promise<Buffer> {
  const packed = await deflate(columnsOf(chunk), { level: LEVEL });
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32LE(MAGIC, 0);
  header.writeUInt32LE(chunk.offsets.length, 4);
  header.writeDoubleLE(chunk.first, 8);
  header.writeDoubleLE(chunk.newestMs, 16);
  header.writeUInt32LE(packed.length, 24);
  header.writeUInt32LE(crc32(packed), 28);
  header.writeUInt32LE(crc32(header.subarray(0, 36)), 36);
  return Buffer.concat([header, packed]);
}

/** Null when the header is damaged or the file is shorter than it says. */
export function readBlockAbout(bytes: Buffer, fileBytes: number): BlockAbout | null {
  if (bytes.length < HEADER_BYTES || bytes.readUInt32LE(0) !== MAGIC) return null;
  if (crc32(bytes.subarray(0, 36)) !== bytes.readUInt32LE(36)) return null;
  if (HEADER_BYTES + bytes.readUInt32LE(24) !== fileBytes) return null;
  return { first: bytes.readDoubleLE(8), count: bytes.readUInt32LE(4), newestMs: bytes.readDoubleLE(16) };
}

export const BLOCK_ABOUT_BYTES = HEADER_BYTES;

/** An inflated block; null when it is damaged. */
export async function openBlock(bytes: Buffer): Promise<OpenBlock | null> {
  const about = readBlockAbout(bytes, bytes.length);
  const packed = bytes.subarray(HEADER_BYTES);
  if (about === null || crc32(packed) !== bytes.readUInt32LE(28)) return null;
  try {
    const block = new OpenBlock(await inflate(packed, { maxOutputLength: RAW_MAX_BYTES }), about);
    return block.isWhole ? block : null;
  } catch {
    return null;
  }
}

/** u32 topics; u16 lengths and texts of them; the columns; payloads, then properties, by topic. */
function columnsOf({ bytes, offsets, usedBytes }: Chunk): Buffer {
  const topics = new Map<string, number>();
  const indexes = Uint32Array.from(offsets, (at) => {
    const { topic, payload } = placesIn(bytes, at);
    const name = bytes.toString('utf8', topic, payload);
    const known = topics.get(name);
    if (known === undefined) topics.set(name, topics.size);
    return known ?? topics.size - 1;
  });
  // Headers and topics are longer there than columns and topics are here.
  const raw = Buffer.allocUnsafeSlow(8 + usedBytes + (ROW_BYTES + 2) * offsets.length);
  raw.writeUInt32LE(topics.size, 0);
  let at = 4;
  for (const name of topics.keys()) {
    const length = raw.write(name, at + 2);
    raw.writeUInt16LE(length, at);
    at += 2 + length;
  }
  const columns = new Columns(raw, at, offsets.length);
  let [time, expiry] = [0, 0];
  offsets.forEach((from, i) => {
    const [timeMs, expiresAtMs] = [field.timeMs(bytes, from), field.expiresAtMs(bytes, from)];
    columns.write(i, bytes, from, indexes[i] ?? 0, timeMs - time, expiresAtMs - expiry);
    [time, expiry] = [timeMs, expiresAtMs];
  });
  at = columns.end;
  const order = byTopic(indexes);
  for (const i of order) {
    const { payload, properties } = placesIn(bytes, offsets[i] ?? 0);
    at += bytes.copy(raw, at, payload, properties);
  }
  for (const i of order) {
    const { properties, end } = placesIn(bytes, offsets[i] ?? 0);
    at += bytes.copy(raw, at, properties, end);
  }
  return raw.subarray(0, at);
}

/** A block in memory, whose entries are made when they are asked for. */
export class OpenBlock {
  readonly first: number;
  readonly last: number;
  readonly isWhole: boolean;
  readonly #raw: Buffer;
  readonly #topics: string[] = [];
  readonly #columns: Columns;
  /** Of each entry: when it was queued, when it expires, where payload and properties begin. */
  readonly #times: Float64Array;
  readonly #expiries: Float64Array;
  readonly #payloads: Uint32Array;
  readonly #properties: Uint32Array;

  constructor(raw: Buffer, { first, count }: BlockAbout) {
    this.first = first;
    this.last = first + count - 1;
    this.#raw = raw;
    let at = 4;
    for (let left = raw.readUInt32LE(0); left > 0; left--) {
      const end = at + 2 + raw.readUInt16LE(at);
      this.#topics.push(raw.toString('utf8', at + 2, end));
      at = end;
    }
    const columns = new Columns(raw, at, count);
    this.#columns = columns;
    this.#times = sums(count, (i) => columns.time(i));
    this.#expiries = sums(count, (i) => columns.expiry(i));
    const order = byTopic(Uint32Array.from({ length: count }, (_none, i) => columns.topic(i)));
    at = columns.end;
    this.#payloads = new Uint32Array(count);
    this.#properties = new Uint32Array(count);
    for (const i of order) {
      this.#payloads[i] = at;
      at += columns.payloadLength(i);
    }
    for (const i of order) {
      this.#properties[i] = at;
      at += columns.propertiesLength(i);
    }
    this.isWhole = at === raw.length;
  }

  /** Payload and properties are views into the block. */
  entry(sequence: number): Entry {
    const i = sequence - this.first;
    const flags = this.#columns.flags(i);
    const view = (at = 0, length = 0): Uint8Array => this.#raw.subarray(at, at + length);
    return {
      sequence,
      topic: this.#topics[this.#columns.topic(i)] ?? '',
      payload: view(this.#payloads[i], this.#columns.payloadLength(i)),
      qos: qosOf(flags) ?? 0,
      retain: isRetained(flags),
      timeMs: this.#times[i] ?? 0,
      properties: view(this.#properties[i], this.#columns.propertiesLength(i)),
      expiresAtMs: this.#expiries[i] ?? 0,
    };
  }
}

/** The sums of steps up to each. */
function sums(count: number, step: (i: number) => number): Float64Array {
  let sum = 0;
  return Float64Array.from({ length: count }, (_none, i) => (sum += step(i)));
}

/** Places of the entries, those of one topic together and in their order. */
function byTopic(indexes: Uint32Array): Uint32Array {
  return Uint32Array.from(indexes, (_topic, i) => i).sort(
    (a, b) => (indexes[a] ?? 0) - (indexes[b] ?? 0) || a - b,
  );
}

/** The columns: those of eight bytes first. Times are steps from entry to entry. */
class Columns {
  readonly end: number;
  readonly #raw: Buffer;
  readonly #start: number;
  readonly #count: number;

  constructor(raw: Buffer, start: number, count: number) {
    this.#raw = raw;
    this.#start = start;
    this.#count = count;
    this.end = start + ROW_BYTES * count;
  }

  write(i: number, from: Buffer, at: number, topic: number, timeStep: number, expiryStep: number): void {
    this.#raw.writeDoubleLE(timeStep, this.#at(0, 8, i));
    this.#raw.writeDoubleLE(expiryStep, this.#at(8, 8, i));
    this.#raw.writeUInt32LE(topic, this.#at(16, 4, i));
    this.#raw.writeUInt32LE(field.payloadLength(from, at), this.#at(20, 4, i));
    this.#raw.writeUInt32LE(field.propertiesLength(from, at), this.#at(24, 4, i));
    this.#raw.writeUInt8(field.flags(from, at), this.#at(28, 1, i));
  }

  time(i: number): number {
    return this.#raw.readDoubleLE(this.#at(0, 8, i));
  }

  expiry(i: number): number {
    return this.#raw.readDoubleLE(this.#at(8, 8, i));
  }

  topic(i: number): number {
    return this.#raw.readUInt32LE(this.#at(16, 4, i));
  }

  payloadLength(i: number): number {
    return this.#raw.readUInt32LE(this.#at(20, 4, i));
  }

  propertiesLength(i: number): number {
    return this.#raw.readUInt32LE(this.#at(24, 4, i));
  }

  flags(i: number): number {
    return this.#raw.readUInt8(this.#at(28, 1, i));
  }

  /** Bytes of a row before this column, bytes of the column. */
  #at(before: number, width: number, i: number): number {
    return this.#start + before * this.#count + width * i;
  }
}
