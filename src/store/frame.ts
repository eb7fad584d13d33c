/**
 * How one record lies in a file: length, checksum, type, payload. The checksum starts from the length and from a
 * random number kept with the store, so that neither leftovers of another file nor bytes a client put into a
 * payload can pass for a record.
 */
import { crc32 } from 'node:zlib';

/** Length (4), checksum (4), type (1). */
export const FRAME_HEADER_BYTES = 9;

/** Below this many bytes a table loop is cheaper than the call into zlib (measured: they meet at about 250). */
const TABLE_LOOP_MAX = 224;

/** Eight tables of 256, one behind the other: the last is CRC-32's own, each before it is that with one more zero byte. */
const LAST = 7 * 256;
const TABLES = makeTables();

function makeTables(): Int32Array {
  const tables = new Int32Array(8 * 256);
  for (let byte = 0; byte < 256; byte++) {
    let code = byte;
    for (let bit = 0; bit < 8; bit++) code = code & 1 ? (code >>> 1) ^ 0xedb88320 : code >>> 1;
    tables[LAST + byte] = code;
  }
  for (let index = LAST - 1; index >= 0; index--) {
    const next = tables[index + 256] as number; // of the table behind, made before
    tables[index] = (tables[LAST + (next & 255)] as number) ^ (next >>> 8);
  }
  return tables;
}

/** What was looked at last, four bytes at a time: records come in runs from one buffer. */
let viewed: Buffer = Buffer.alloc(0);
let view: DataView = new DataView(viewed.buffer);

/** CRC-32 of bytes[start..end), continued from an earlier value, as zlib has it. */
export function checksum(bytes: Buffer, start: number, end: number, from: number): number {
  if (end - start > TABLE_LOOP_MAX)
    return crc32(new Uint8Array(bytes.buffer, bytes.byteOffset + start, end - start), from);
  if (bytes !== viewed) {
    viewed = bytes;
    view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }
  const words = view;
  let code = ~from;
  let at = start;
  // Eight bytes at once. All indexes here are in range by construction.
  for (; at + 8 <= end; at += 8) {
    code ^= words.getInt32(at, true);
    const next = words.getInt32(at + 4, true);
    code =
      (TABLES[code & 255] as number) ^
      (TABLES[256 + ((code >>> 8) & 255)] as number) ^
      (TABLES[512 + ((code >>> 16) & 255)] as number) ^
      (TABLES[768 + (code >>> 24)] as number) ^
      (TABLES[1024 + (next & 255)] as number) ^
      (TABLES[1280 + ((next >>> 8) & 255)] as number) ^
      (TABLES[1536 + ((next >>> 16) & 255)] as number) ^
      (TABLES[LAST + (next >>> 24)] as number);
  }
  for (; at < end; at++)
    code = (TABLES[LAST + ((code ^ (bytes[at] as number)) & 255)] as number) ^ (code >>> 8);
  return ~code >>> 0;
}

/** Writes the header of a frame at `start` whose payload already stands behind it and ends at `end`. */
export function sealFrame(bytes: Buffer, start: number, end: number, type: number, salt: number): void {
  const length = end - start - FRAME_HEADER_BYTES;
  putUint32(bytes, start, length);
  bytes[start + 8] = type;
  putUint32(bytes, start + 4, checksum(bytes, start + 8, end, seedOf(length, salt)));
}

/** Little end first. Node's own takes longer to check where it writes than to write. */
function putUint32(bytes: Buffer, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
}

/** The end of the frame at `start`, or -1 when no whole and sound frame lies there before `limit`. */
export function endOfFrame(bytes: Buffer, start: number, limit: number, salt: number): number {
  if (start + FRAME_HEADER_BYTES > limit) return -1;
  const length = bytes.readUInt32LE(start);
  const end = start + FRAME_HEADER_BYTES + length;
  if (end > limit) return -1;
  const sum = checksum(bytes, start + 8, end, seedOf(length, salt));
  return sum === bytes.readUInt32LE(start + 4) ? end : -1;
}

/** How many bytes a search may put through the checksum; beyond it only frames of the given length are looked for. */
const SEARCH_BUDGET_BYTES = 256 << 20;

/**
 * Where the next sound frame begins at or after `from`; `limit` when there is none. Bytes made to look like lengths
 * cannot make it slow: beyond a budget it only looks for frames of `markerBytes`.
 */
export function findFrame(
  bytes: Buffer,
  from: number,
  limit: number,
  salt: number,
  markerBytes: number,
): number {
  let budget = SEARCH_BUDGET_BYTES;
  for (let at = from; at + FRAME_HEADER_BYTES <= limit; at++) {
    const length = bytes.readUInt32LE(at);
    if (at + FRAME_HEADER_BYTES + length > limit) continue;
    budget -= length;
    if (budget < 0 && length !== markerBytes) continue;
    if (endOfFrame(bytes, at, limit, salt) !== -1) return at;
  }
  return limit;
}

export function typeOf(bytes: Buffer, start: number): number {
  return bytes[start + 8] as number; // inside a frame that endOfFrame found sound
}

function seedOf(length: number, salt: number): number {
  return (salt ^ Math.imul(length + 1, 0x9e3779b1)) >>> 0;
}
