/**
 * The newest entries of a queue: in memory to be sent, in a journal to be there after a crash. What was sealed in a block
 * or is done is forgotten here, and the journal's segments with it.
 */
import { Journal, type JournalOptions } from '../store/journal.js';
import { Chunk, CHUNK_BYTES } from './chunk.js';
import { type Entry, entryBytes, isEntry, type Queued, readEntry } from './entry.js';
import type { Progress } from './progress.js';
import type { Received } from './received.js';

export interface TailOptions extends Pick<
  JournalOptions,
  'folder' | 'sync' | 'files' | 'clock' | 'log' | 'metrics' | 'makeRoom'
> {
  /** How far the far side is; told of each progress record when the journal is read at the start. */
  readonly progress: Progress;
  /** What came in; told of each record of it likewise. */
  readonly received: Received;
}

const ENTRY = 1;
const PROGRESS = 2;
const RECEIVED = 3;
const SEGMENT_BYTES = 1 << 20;
const SYNC_MS = 1000;
/** While the disk refuses, the journal keeps what it could not write up to here; beyond it entries are in memory only. */
const UNWRITTEN_MAX_BYTES = 4 << 20;

export class Tail {
  bytes = 0;
  readonly #options: TailOptions;
  readonly #journal: Journal;
  #chunks: Chunk[] = [];
  /** Segments before this one are let go of. */
  #keptFrom = 0;

  constructor(options: TailOptions) {
    this.#options = options;
    this.#journal = new Journal({
      ...options,
      intervalMs: SYNC_MS,
      segmentBytes: () => SEGMENT_BYTES,
      moved: () => {},
      meanwhile: 'what the uplink owes waits in memory, and the oldest of it goes when that is full',
    });
  }

  get oldest(): Chunk | undefined {
    return this.#chunks[0];
  }

  get last(): number {
    return this.#chunks.at(-1)?.last ?? 0;
  }

  get all(): readonly Chunk[] {
    return [...this.#chunks];
  }

  /** The oldest chunk, when it will not grow any more. */
  get full(): Chunk | undefined {
    const [oldest, next] = this.#chunks;
    const isFull = oldest !== undefined && (next !== undefined || oldest.usedBytes >= CHUNK_BYTES);
    return isFull ? oldest : undefined;
  }

  /** Reads the journal: entries behind `sealed`, which are in no block, and how far the far side is. */
  async open(sealed: number): Promise<void> {
    await this.#journal.open(0, 0, (type, bytes, start, end, segment) => {
      if (type === PROGRESS) this.#restoreProgress(bytes.subarray(start, end));
      else if (type === RECEIVED) this.#options.received.restore(bytes.subarray(start, end));
      else if (type === ENTRY && end - start >= 8 && isEntry(bytes, start + 8, end)) {
        const sequence = bytes.readDoubleLE(start);
        // A record may be there twice after a failed write.
        if (sequence <= Math.max(sealed, this.last)) return;
        const entry = readEntry(bytes, start + 8, sequence);
        this.#chunkFor(sequence, entry, segment).append(entry, entry.timeMs);
        this.bytes += entryBytes(entry);
      }
    });
    this.#keptFrom = this.#firstNeeded;
  }

  append(sequence: number, message: Queued, timeMs: number): void {
    const chunk = this.#chunkFor(sequence, message, this.#journal.currentSegment);
    chunk.append(message, timeMs);
    const bytes = chunk.bytesOf(sequence);
    this.bytes += bytes.length;
    if (this.#isOverfull()) return;
    const at = this.#journal.begin(8 + bytes.length);
    this.#journal.buffer.writeDoubleLE(sequence, at);
    bytes.copy(this.#journal.buffer, at + 8);
    this.#journal.end(ENTRY, at + 8 + bytes.length);
  }

  /** Up to `limit` entries from this sequence on for which `isWanted`. */
  read(from: number, limit: number, isWanted: (sequence: number) => boolean): Entry[] {
    const found: Entry[] = [];
    for (const chunk of this.#chunks) {
      for (let sequence = Math.max(from, chunk.first); sequence <= chunk.last; sequence++) {
        if (found.length === limit) return found;
        if (isWanted(sequence)) found.push(chunk.entry(sequence));
      }
    }
    return found;
  }

  /** Takes a chunk out of memory; the journal lets go of it with the next forget(). */
  take(chunk: Chunk): void {
    const index = this.#chunks.indexOf(chunk);
    if (index < 0) return;
    this.#chunks.splice(index, 1);
    this.bytes -= chunk.usedBytes;
  }

  /** These chunks are kept elsewhere, or done: neither memory nor journal need hold them. */
  async forget(chunks: readonly Chunk[]): Promise<void> {
    for (const chunk of chunks) this.take(chunk);
    this.saveProgress();
    this.saveReceived(this.#options.received.toBytes());
    const first = this.#firstNeeded;
    await this.#journal.sync();
    this.#keptFrom = first;
    this.#journal.segments.keepFrom(first);
  }

  /** The journal has segments that forget() would let go of. */
  get isLong(): boolean {
    return this.#firstNeeded > this.#keptFrom;
  }

  get #firstNeeded(): number {
    const segment = this.#journal.currentSegment;
    return Math.min(segment, this.oldest?.segment ?? segment);
  }

  saveProgress(): void {
    if (this.#isOverfull()) return;
    const { cursor, ranges } = this.#options.progress;
    const length = 8 + 16 * ranges.length;
    const at = this.#journal.begin(length);
    const bytes = this.#journal.buffer;
    bytes.writeDoubleLE(cursor, at);
    ranges.forEach(([first, last], i) => {
      bytes.writeDoubleLE(first, at + 8 + 16 * i);
      bytes.writeDoubleLE(last, at + 16 + 16 * i);
    });
    this.#journal.end(PROGRESS, at + length);
  }

  saveReceived(steps: Buffer): void {
    if (steps.length === 0 || this.#isOverfull()) return;
    const at = this.#journal.begin(steps.length);
    steps.copy(this.#journal.buffer, at);
    this.#journal.end(RECEIVED, at + steps.length);
  }

  commit(): Promise<void> {
    return this.#journal.commit();
  }

  /** As commit, but also synced in interval mode. */
  sync(): Promise<void> {
    return this.#journal.sync();
  }

  /** Something is in memory only, and the disk would take it. */
  get isDirty(): boolean {
    return this.#journal.isDirty && !this.#journal.isFailing;
  }

  syncBy(sync: JournalOptions['sync']): void {
    this.#journal.syncBy(sync);
  }

  close(): Promise<void> {
    return this.#journal.close();
  }

  /** The disk refuses, and the journal holds as much as it may until the disk takes it. */
  #isOverfull(): boolean {
    return this.#journal.isFailing && this.#journal.backlogBytes >= UNWRITTEN_MAX_BYTES;
  }

  /** The newest chunk when the entry fits and follows without a gap, else a new one. */
  #chunkFor(sequence: number, message: Queued, segment: number): Chunk {
    const newest = this.#chunks.at(-1);
    if (newest !== undefined && newest.last + 1 === sequence && newest.hasRoomFor(message)) return newest;
    const fresh = new Chunk(sequence, segment, entryBytes(message));
    this.#chunks.push(fresh);
    return fresh;
  }

  #restoreProgress(bytes: Buffer): void {
    const { progress } = this.#options;
    if (bytes.length < 8) return;
    progress.doneRange(0, bytes.readDoubleLE(0));
    for (let at = 8; at + 16 <= bytes.length; at += 16)
      progress.doneRange(bytes.readDoubleLE(at), bytes.readDoubleLE(at + 8));
  }
}
