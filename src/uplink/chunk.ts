/** Entries in a row as bytes in memory: what becomes one block file. No object is kept for an entry. */
import { type Entry, entryBytes, field, type Queued, readEntry, writeEntry } from './entry.js';

/** Raw bytes that become one block. */
export const CHUNK_BYTES = 1 << 20;

export class Chunk {
  /** Sequence of the first entry; the others follow without a gap. */
  readonly first: number;
  /** Journal segment that the first entry was appended to. */
  readonly segment: number;
  readonly bytes: Buffer;
  /** Where each entry begins in `bytes`. */
  readonly offsets: number[] = [];
  #end = 0;

  /** A message larger than a chunk has one for itself. */
  constructor(first: number, segment: number, bytesOfFirst: number) {
    this.first = first;
    this.segment = segment;
    this.bytes = Buffer.allocUnsafeSlow(Math.max(CHUNK_BYTES, bytesOfFirst));
  }

  get last(): number {
    return this.first + this.offsets.length - 1;
  }

  get usedBytes(): number {
    return this.#end;
  }

  get newestMs(): number {
    return field.timeMs(this.bytes, this.offsets.at(-1) ?? 0);
  }

  hasRoomFor(message: Queued): boolean {
    return this.#end + entryBytes(message) <= this.bytes.length;
  }

  append(message: Queued, timeMs: number): void {
    this.offsets.push(this.#end);
    this.#end = writeEntry(this.bytes, this.#end, message, timeMs);
  }

  /** The bytes of the entry with this sequence. */
  bytesOf(sequence: number): Buffer {
    const index = sequence - this.first;
    return this.bytes.subarray(this.offsets[index] ?? 0, this.offsets[index + 1] ?? this.#end);
  }

  entry(sequence: number): Entry {
    return readEntry(this.bytes, this.offsets[sequence - this.first] ?? 0, sequence);
  }

  timeMs(sequence: number): number {
    return field.timeMs(this.bytes, this.offsets[sequence - this.first] ?? 0);
  }
}
