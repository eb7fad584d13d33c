/**
 * Thousands of entries in a row as one compressed, checksummed block file. Inside, what is alike lies together: topics
 * once, times and lengths as columns, and the payloads of each topic one after the other, which is what makes telemetry
 * small. Does no input or output.
 */
import { promisify } from 'node:util';
import { crc32, deflateRaw, inflateRaw } from 'node:zlib';
import { type Entry, flagsOf, qosOf } from './entry.js';

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

export async function packBlock(entries: readonly Entry[]): Promise<Buffer> {
  const packed = await deflate(columnsOf(entries), { level: LEVEL });
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32LE(MAGIC, 0);
  header.writeUInt32LE(entries.length, 4);
  header.writeDoubleLE(entries[0]?.sequence ?? 0, 8);
  header.writeDoubleLE(entries.at(-1)?.timeMs ?? 0, 16);
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

/** The entries of a block; null when it is damaged. */
export async function unpackBlock(bytes: Buffer): Promise<Entry[] | null> {
  const about = readBlockAbout(bytes, bytes.length);
  const packed = bytes.subarray(HEADER_BYTES);
  if (about === null || crc32(packed) !== bytes.readUInt32LE(28)) return null;
  try {
    return entriesOf(await inflate(packed, { maxOutputLength: RAW_MAX_BYTES }), about);
  } catch {
    return null;
  }
}

/** u32 topics, u32 their bytes, u16 lengths and texts of them; the columns; payloads, then properties, by topic. */
function columnsOf(entries: readonly Entry[]): Buffer {
  const topics = new Map<string, number>();
  for (const { topic } of entries) if (!topics.has(topic)) topics.set(topic, topics.size);
  const names = [...topics.keys()].map((topic) => Buffer.from(topic));
  const namesBytes = names.reduce((sum, name) => sum + 2 + name.length, 0);
  const bodies = entries.reduce(
    (sum, { payload, properties }) => sum + payload.length + properties.length,
    0,
  );
  const raw = Buffer.allocUnsafe(8 + namesBytes + ROW_BYTES * entries.length + bodies);
  raw.writeUInt32LE(names.length, 0);
  raw.writeUInt32LE(namesBytes, 4);
  let at = 8;
  for (const name of names) {
    raw.writeUInt16LE(name.length, at);
    name.copy(raw, at + 2);
    at += 2 + name.length;
  }
  const columns = new Columns(raw, at, entries.length);
  const indexes = entries.map(({ topic }) => topics.get(topic) ?? 0);
  let [time, expiry] = [0, 0];
  entries.forEach((entry, i) => {
    columns.write(i, entry, indexes[i] ?? 0, entry.timeMs - time, entry.expiresAtMs - expiry);
    [time, expiry] = [entry.timeMs, entry.expiresAtMs];
  });
  at = columns.end;
  const order = byTopic(indexes);
  for (const i of order) at += copy(raw, at, entries[i]?.payload);
  for (const i of order) at += copy(raw, at, entries[i]?.properties);
  return raw;
}

function copy(into: Buffer, at: number, bytes: Uint8Array | undefined): number {
  if (bytes === undefined) return 0;
  into.set(bytes, at);
  return bytes.length;
}

function entriesOf(raw: Buffer, { first, count }: BlockAbout): Entry[] | null {
  const names: string[] = [];
  let at = 8;
  for (let left = raw.readUInt32LE(0); left > 0; left--) {
    const end = at + 2 + raw.readUInt16LE(at);
    names.push(raw.toString('utf8', at + 2, end));
    at = end;
  }
  const columns = new Columns(raw, at, count);
  const indexes = Array.from({ length: count }, (_none, i) => columns.topic(i));
  const order = byTopic(indexes);
  const payloads = parts(raw, columns.end, order, (i) => columns.payloadLength(i));
  const properties = parts(raw, payloads.end, order, (i) => columns.propertiesLength(i));
  if (properties.end !== raw.length) return null;
  let [timeMs, expiresAtMs] = [0, 0];
  const entries: Entry[] = [];
  for (let i = 0; i < count; i++) {
    timeMs += columns.time(i);
    expiresAtMs += columns.expiry(i);
    const qos = qosOf(columns.flags(i));
    const topic = names[indexes[i] ?? -1];
    const payload = payloads.of[i];
    if (qos === null || topic === undefined || payload === undefined) return null;
    entries.push({
      sequence: first + i,
      topic,
      payload,
      qos,
      retain: (columns.flags(i) & 4) !== 0,
      timeMs,
      properties: properties.of[i] ?? new Uint8Array(0),
      expiresAtMs,
    });
  }
  return entries;
}

/** Views into the block, by entry. */
function parts(raw: Buffer, start: number, order: readonly number[], lengthOf: (i: number) => number) {
  const of: Uint8Array[] = [];
  let at = start;
  for (const i of order) {
    const end = at + lengthOf(i);
    of[i] = raw.subarray(at, end);
    at = end;
  }
  return { of, end: at };
}

/** Places of the entries, those of one topic together and in their order. */
function byTopic(indexes: readonly number[]): number[] {
  return indexes.map((_topic, i) => i).sort((a, b) => (indexes[a] ?? 0) - (indexes[b] ?? 0) || a - b);
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

  write(i: number, entry: Entry, topic: number, timeStep: number, expiryStep: number): void {
    this.#raw.writeDoubleLE(timeStep, this.#at(0, 8, i));
    this.#raw.writeDoubleLE(expiryStep, this.#at(8, 8, i));
    this.#raw.writeUInt32LE(topic, this.#at(16, 4, i));
    this.#raw.writeUInt32LE(entry.payload.length, this.#at(20, 4, i));
    this.#raw.writeUInt32LE(entry.properties.length, this.#at(24, 4, i));
    this.#raw.writeUInt8(flagsOf(entry), this.#at(28, 1, i));
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
