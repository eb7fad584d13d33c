/**
 * The newest entries of a queue: in memory to be sent, in a journal to be there after a crash. What was sealed in a block
 * or is done is forgotten here, and the journal's segments with it.
 */
import { Journal, type JournalOptions } from '../store/journal.js';
import { type Entry, entryBytes, readEntry, writeEntry } from './entry.js';
import type { Progress } from './progress.js';

export interface TailOptions extends Pick<
  JournalOptions,
  'folder' | 'sync' | 'files' | 'clock' | 'log' | 'metrics' | 'makeRoom'
> {
  /** Told of each progress record when the journal is read at the start. */
  readonly progress: Progress;
}

/** An entry, and the journal segment that it was appended to. */
interface Held {
  readonly entry: Entry;
  readonly segment: number;
}

const ENTRY = 1;
const PROGRESS = 2;
const SEGMENT_BYTES = 1 << 20;
const SYNC_MS = 1000;
/** While the disk refuses, the journal keeps what it could not write up to here; beyond it entries are in memory only. */
const UNWRITTEN_MAX_BYTES = 8 << 20;

export class Tail {
  bytes = 0;
  readonly #options: TailOptions;
  readonly #journal: Journal;
  #held: Held[] = [];

  constructor(options: TailOptions) {
    this.#options = options;
    this.#journal = new Journal({
      ...options,
      intervalMs: SYNC_MS,
      segmentBytes: () => SEGMENT_BYTES,
      moved: () => {},
    });
  }

  get count(): number {
    return this.#held.length;
  }

  get first(): Entry | undefined {
    return this.#held[0]?.entry;
  }

  get last(): Entry | undefined {
    return this.#held.at(-1)?.entry;
  }

  /** Reads the journal: entries behind `sealed`, which are in no block, and how far the far side is. */
  async open(sealed: number): Promise<void> {
    await this.#journal.open(0, 0, (type, bytes, start, end, segment) => {
      if (type === PROGRESS) this.#restoreProgress(bytes.subarray(start, end));
      else if (type === ENTRY && end - start >= 8) {
        const sequence = bytes.readDoubleLE(start);
        // A record may be there twice after a failed write.
        if (sequence <= Math.max(sealed, this.last?.sequence ?? 0)) return;
        const entry = readEntry(bytes, start + 8, end, sequence);
        if (entry !== null) this.#hold(entry, segment);
      }
    });
  }

  append(entry: Entry): void {
    const isKept = this.#journal.backlogBytes < UNWRITTEN_MAX_BYTES || !this.#journal.isFailing;
    if (isKept) {
      const at = this.#journal.begin(8 + entryBytes(entry));
      this.#journal.buffer.writeDoubleLE(entry.sequence, at);
      this.#journal.end(ENTRY, writeEntry(this.#journal.buffer, at + 8, entry));
    }
    this.#hold(entry, this.#journal.currentSegment);
  }

  /** Up to `limit` entries from this sequence on for which `isWanted`. */
  read(from: number, limit: number, isWanted: (sequence: number) => boolean): Entry[] {
    const found: Entry[] = [];
    for (let i = this.#placeOf(from); i < this.#held.length && found.length < limit; i++) {
      const entry = this.#held[i]?.entry;
      if (entry !== undefined && isWanted(entry.sequence)) found.push(entry);
    }
    return found;
  }

  /** The oldest entries in a row that make up so many bytes. */
  oldest(bytes: number): Entry[] {
    const found: Entry[] = [];
    let sum = 0;
    for (const { entry } of this.#held) {
      const before = found.at(-1);
      if (sum >= bytes || (before !== undefined && entry.sequence !== before.sequence + 1)) break;
      found.push(entry);
      sum += entryBytes(entry);
    }
    return found;
  }

  /** Takes the entries up to this sequence out; the journal lets go of them with the next forget(). */
  take(last: number): number {
    const gone = this.#held.splice(0, this.#placeOf(last + 1));
    this.bytes -= gone.reduce((sum, { entry }) => sum + entryBytes(entry), 0);
    return gone.length;
  }

  /** The entries up to this sequence are kept elsewhere, or done: neither memory nor journal need hold them. */
  async forget(last: number): Promise<void> {
    this.take(last);
    this.saveProgress();
    const segment = this.#journal.currentSegment;
    await this.#journal.sync();
    this.#journal.segments.keepFrom(Math.min(segment, this.#held[0]?.segment ?? segment));
  }

  saveProgress(): void {
    if (this.#journal.isFailing && this.#journal.backlogBytes >= UNWRITTEN_MAX_BYTES) return;
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

  commit(): Promise<void> {
    return this.#journal.commit();
  }

  close(): Promise<void> {
    return this.#journal.close();
  }

  #hold(entry: Entry, segment: number): void {
    this.#held.push({ entry, segment });
    this.bytes += entryBytes(entry);
  }

  #restoreProgress(bytes: Buffer): void {
    const { progress } = this.#options;
    if (bytes.length < 8) return;
    progress.doneRange(0, bytes.readDoubleLE(0));
    for (let at = 8; at + 16 <= bytes.length; at += 16)
      progress.doneRange(bytes.readDoubleLE(at), bytes.readDoubleLE(at + 8));
  }

  /** Index of the first entry with this sequence or a later one. */
  #placeOf(sequence: number): number {
    let [low, high] = [0, this.#held.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#held[middle]?.entry.sequence ?? Infinity) < sequence) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
