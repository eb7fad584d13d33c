/**
 * The entries of an uplink's queue as bytes: one entry in the journal, or thousands in a compressed block file. Does no
 * input or output.
 */
import { promisify } from 'node:util';
import { crc32, deflateRaw, inflateRaw } from 'node:zlib';

export interface Entry {
  /** Place in the queue; grows by one with every entry. */
  readonly sequence: number;
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
  /** When it was queued, ms since 1970. */
  readonly timeMs: number;
}

/** What a block file says of itself before it is inflated. */
export interface BlockAbout {
  readonly first: number;
  readonly count: number;
  readonly newestMs: number;
}

const MAGIC = 0x51554648; // "HFUQ"
const BLOCK_HEADER_BYTES = 40;
/** f64 time, u8 flags, u8 zero, u16 topic length, u32 payload length. */
const ENTRY_HEADER_BYTES = 16;
/** Fast: what repeats in telemetry is found at any level. */
const LEVEL = 3;

const deflate = promisify<Buffer, { level: number }, Buffer>(deflateRaw);
const inflate = promisify<Uint8Array, Buffer>(inflateRaw);

export function entryBytes(entry: Entry): number {
  return ENTRY_HEADER_BYTES + Buffer.byteLength(entry.topic) + entry.payload.length;
}

/** Writes an entry without its sequence at `at`; answers where it ends. */
export function writeEntry(into: Buffer, at: number, entry: Entry): number {
  const topicLength = into.write(entry.topic, at + ENTRY_HEADER_BYTES, 'utf8');
  into.writeDoubleLE(entry.timeMs, at);
  into.writeUInt8(entry.qos | (entry.retain ? 4 : 0), at + 8);
  into.writeUInt8(0, at + 9);
  into.writeUInt16LE(topicLength, at + 10);
  into.writeUInt32LE(entry.payload.length, at + 12);
  into.set(entry.payload, at + ENTRY_HEADER_BYTES + topicLength);
  return at + ENTRY_HEADER_BYTES + topicLength + entry.payload.length;
}

/** Reads the entry at `at`; its payload is a copy. Null when the bytes do not hold one. */
export function readEntry(
  bytes: Buffer,
  at: number,
  end: number,
  sequence: number,
): { entry: Entry; next: number } | null {
  if (at + ENTRY_HEADER_BYTES > end) return null;
  const flags = bytes.readUInt8(at + 8);
  const topicEnd = at + ENTRY_HEADER_BYTES + bytes.readUInt16LE(at + 10);
  const next = topicEnd + bytes.readUInt32LE(at + 12);
  const qos = flags & 3;
  if (next > end || qos === 3) return null;
  const entry: Entry = {
    sequence,
    topic: bytes.toString('utf8', at + ENTRY_HEADER_BYTES, topicEnd),
    payload: Uint8Array.prototype.slice.call(bytes, topicEnd, next),
    qos: qos as 0 | 1 | 2,
    retain: (flags & 4) !== 0,
    timeMs: bytes.readDoubleLE(at),
  };
  return { entry, next };
}

/** Entries in a row as one compressed, checksummed block. */
export async function packBlock(entries: readonly Entry[]): Promise<Buffer> {
  const raw = Buffer.allocUnsafe(entries.reduce((sum, entry) => sum + entryBytes(entry), 0));
  let at = 0;
  for (const entry of entries) at = writeEntry(raw, at, entry);
  const packed = await deflate(raw, { level: LEVEL });
  const header = Buffer.alloc(BLOCK_HEADER_BYTES);
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
  if (bytes.length < BLOCK_HEADER_BYTES || bytes.readUInt32LE(0) !== MAGIC) return null;
  if (crc32(bytes.subarray(0, 36)) !== bytes.readUInt32LE(36)) return null;
  if (BLOCK_HEADER_BYTES + bytes.readUInt32LE(24) !== fileBytes) return null;
  return { first: bytes.readDoubleLE(8), count: bytes.readUInt32LE(4), newestMs: bytes.readDoubleLE(16) };
}

export const BLOCK_ABOUT_BYTES = BLOCK_HEADER_BYTES;

/** The entries of a block; null when it is damaged. */
export async function unpackBlock(bytes: Buffer): Promise<Entry[] | null> {
  const about = readBlockAbout(bytes, bytes.length);
  const packed = bytes.subarray(BLOCK_HEADER_BYTES);
  if (about === null || crc32(packed) !== bytes.readUInt32LE(28)) return null;
  const raw = await inflate(packed);
  const entries: Entry[] = [];
  for (let at = 0, i = 0; i < about.count; i++) {
    const read = readEntry(raw, at, raw.length, about.first + i);
    if (read === null) return null;
    entries.push(read.entry);
    at = read.next;
  }
  return entries;
}
