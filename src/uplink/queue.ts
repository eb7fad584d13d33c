/**
 * The messages that an uplink owes its far side, on disk until the far side has them: the newest in a journal (and in
 * memory), older ones in compressed block files. Bounded in bytes and age; what is dropped is counted. Delivery is at
 * least once: after a crash some of the last second's acknowledgements may be unknown, and those messages go again.
 */
import { join } from 'node:path';
import type { Cancel, Clock } from '../clock.js';
import type { Log } from '../log.js';
import type { Metrics } from '../metrics.js';
import type { Files } from '../store/files.js';
import { Journal } from '../store/journal.js';
import {
  BLOCK_ABOUT_BYTES,
  entryBytes,
  packBlock,
  readBlockAbout,
  readEntry,
  unpackBlock,
  writeEntry,
  type Entry,
} from './block.js';
import { Progress } from './progress.js';

export interface QueueOptions {
  readonly folder: string;
  readonly maxBytes: number;
  /** 0: no limit. */
  readonly maxAgeMs: number;
  readonly drop: 'oldest' | 'newest';
  readonly sync: 'commit' | 'interval';
  readonly files: Files;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}

export interface QueueFigures {
  readonly messages: number;
  readonly bytes: number;
  /** When the oldest that waits was queued; 0: nothing waits. */
  readonly oldestMs: number;
  readonly dropped: number;
}

interface Block {
  readonly first: number;
  readonly last: number;
  readonly bytes: number;
  readonly newestMs: number;
}

/** Entries of the tail, and the journal segment that each was appended to. */
interface TailEntry {
  readonly entry: Entry;
  readonly segment: number;
}

const ENTRY = 1;
const PROGRESS = 2;
/** Raw bytes of the tail that become one block. */
const BLOCK_BYTES = 1 << 20;
const SEGMENT_BYTES = 1 << 20;
/** While blocks cannot be written the tail grows to this, then entries are dropped. */
const TAIL_BYTES_MAX = 8 << 20;
const SAVE_MS = 1000;

export class UplinkQueue {
  readonly #options: QueueOptions;
  readonly #journal: Journal;
  readonly #progress = new Progress();
  #blocks: Block[] = [];
  #tail: TailEntry[] = [];
  #tailBytes = 0;
  #next = 1;
  #dropped = 0;
  #inflated: { first: number; entries: Entry[] } | null = null;
  #isSealing = false;
  #sealing: Promise<void> = Promise.resolve();
  #isProgressDirty = false;
  #cancelSave: Cancel | null = null;

  constructor(options: QueueOptions) {
    this.#options = options;
    const { folder, sync, files, clock, log, metrics } = options;
    this.#journal = new Journal({
      folder,
      sync,
      intervalMs: SAVE_MS,
      segmentBytes: () => SEGMENT_BYTES,
      files,
      clock,
      log,
      metrics,
      moved: () => {},
      makeRoom: () => this.#dropOldestBlock(),
    });
  }

  /** The sequence that the next entry gets. */
  get nextSequence(): number {
    return this.#next;
  }

  async open(): Promise<void> {
    const { folder, files } = this.#options;
    await files.makeFolder(folder);
    await this.#openBlocks();
    const sealed = this.#blocks.at(-1)?.last ?? 0;
    this.#next = sealed + 1;
    await this.#journal.open(0, 0, (type, bytes, start, end, segment) => {
      if (type === PROGRESS) this.#restoreProgress(bytes.subarray(start, end));
      else if (type === ENTRY) this.#restoreEntry(bytes, start, end, segment, sealed);
    });
    this.#next = Math.max(this.#next, this.#progress.cursor + 1);
    await this.#removeDoneBlocks();
  }

  /** Queues a message; false when it was dropped because the queue is full and keeps the oldest. */
  push(topic: string, payload: Uint8Array, qos: 0 | 1 | 2, retain: boolean): boolean {
    const entry: Entry = {
      sequence: this.#next,
      topic,
      payload: payload.slice(),
      qos,
      retain,
      timeMs: this.#options.clock.nowMs(),
    };
    if (!this.#makeRoomFor(entryBytes(entry))) {
      this.#dropped++;
      return false;
    }
    this.#next++;
    const segment = this.#append(entry);
    this.#tail.push({ entry, segment });
    this.#tailBytes += entryBytes(entry);
    if (this.#tailBytes >= BLOCK_BYTES && !this.#isSealing) this.#seal();
    return true;
  }

  /** Up to `limit` entries that are not done, from a sequence on, oldest first. */
  async read(from: number, limit: number): Promise<Entry[]> {
    const next = this.#progress.nextOpen(from);
    const block = this.#blocks.find(({ last }) => last >= next);
    const entries =
      block === undefined || (this.#tail[0]?.entry.sequence ?? Infinity) <= next
        ? this.#tail.map(({ entry }) => entry)
        : await this.#inflate(block);
    const open: Entry[] = [];
    for (const entry of entries) {
      if (entry.sequence >= next && !this.#progress.isDone(entry.sequence)) open.push(entry);
      if (open.length === limit) break;
    }
    // A block whose rest is done, or that was damaged, leads to what lies behind it.
    return open.length === 0 && block !== undefined && block.last + 1 < this.#next
      ? this.read(block.last + 1, limit)
      : open;
  }

  /** The far side has it. */
  done(sequence: number): void {
    this.#progress.done(sequence);
    this.#isProgressDirty = true;
    this.#cancelSave ??= this.#options.clock.after(SAVE_MS, () => {
      this.#cancelSave = null;
      this.#saveProgress();
      void this.#removeDoneBlocks();
      this.#journal.commit().catch(() => {});
    });
  }

  figures(): QueueFigures {
    const first = this.#progress.nextOpen(0);
    const ahead = this.#progress.ranges.reduce((sum, [from, to]) => sum + to - from + 1, 0);
    const block = this.#blocks.find(({ last }) => last >= first);
    return {
      messages: Math.max(0, this.#next - 1 - this.#progress.cursor - ahead),
      bytes: this.#bytes(),
      oldestMs: first >= this.#next ? 0 : (block?.newestMs ?? this.#tail[0]?.entry.timeMs ?? 0),
      dropped: this.#dropped,
    };
  }

  async commit(): Promise<void> {
    await this.#journal.commit();
  }

  async close(): Promise<void> {
    this.#cancelSave?.();
    await this.#sealing;
    this.#saveProgress();
    await this.#journal.close();
  }

  #bytes(): number {
    return this.#tailBytes + this.#blocks.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  #append(entry: Entry): number {
    const at = this.#journal.begin(8 + entryBytes(entry));
    this.#journal.buffer.writeDoubleLE(entry.sequence, at);
    const end = writeEntry(this.#journal.buffer, at + 8, entry);
    this.#journal.end(ENTRY, end);
    return this.#journal.currentSegment;
  }

  #saveProgress(): void {
    if (!this.#isProgressDirty) return;
    this.#isProgressDirty = false;
    const { cursor, ranges } = this.#progress;
    const at = this.#journal.begin(8 + 16 * ranges.length);
    const bytes = this.#journal.buffer;
    bytes.writeDoubleLE(cursor, at);
    ranges.forEach(([first, last], i) => {
      bytes.writeDoubleLE(first, at + 8 + 16 * i);
      bytes.writeDoubleLE(last, at + 16 + 16 * i);
    });
    this.#journal.end(PROGRESS, at + 8 + 16 * ranges.length);
  }

  #restoreProgress(bytes: Buffer): void {
    if (bytes.length < 8) return;
    this.#progress.doneRange(0, bytes.readDoubleLE(0));
    for (let at = 8; at + 16 <= bytes.length; at += 16)
      this.#progress.doneRange(bytes.readDoubleLE(at), bytes.readDoubleLE(at + 8));
  }

  #restoreEntry(bytes: Buffer, start: number, end: number, segment: number, sealed: number): void {
    if (end - start < 8) return;
    const sequence = bytes.readDoubleLE(start);
    // A record may be there twice after a failed write; a sealed one is in its block.
    if (sequence <= sealed || sequence < this.#next) return;
    const read = readEntry(bytes, start + 8, end, sequence);
    if (read === null) return;
    this.#tail.push({ entry: read.entry, segment });
    this.#tailBytes += entryBytes(read.entry);
    this.#next = sequence + 1;
  }

  /** Keeps the limits; false when the newest is to be dropped. */
  #makeRoomFor(bytes: number): boolean {
    const { maxBytes, maxAgeMs, drop, clock } = this.#options;
    const oldestAllowedMs = maxAgeMs === 0 ? -Infinity : clock.nowMs() - maxAgeMs;
    for (
      let block = this.#blocks[0];
      block !== undefined && block.newestMs < oldestAllowedMs;
      block = this.#blocks[0]
    ) {
      this.#dropBlock(block);
    }
    while (this.#bytes() + bytes > maxBytes || this.#tailBytes + bytes > TAIL_BYTES_MAX) {
      if (drop === 'newest') return false;
      const oldest = this.#blocks[0];
      if (oldest !== undefined && this.#tailBytes + bytes <= TAIL_BYTES_MAX) this.#dropBlock(oldest);
      else if (this.#tail.length > 0) this.#dropTail(Math.ceil(this.#tail.length / 8));
      else return false;
    }
    return true;
  }

  async #dropOldestBlock(): Promise<void> {
    const oldest = this.#blocks[0];
    if (oldest === undefined) return;
    this.#dropBlock(oldest);
    await Promise.resolve();
  }

  #dropBlock(block: Block): void {
    this.#giveUp(block.first, block.last);
    this.#remove(block);
  }

  /** The oldest of the tail, in bulk: entries come faster than blocks can be written. */
  #dropTail(count: number): void {
    const gone = this.#tail.splice(0, count);
    this.#tailBytes -= gone.reduce((sum, { entry }) => sum + entryBytes(entry), 0);
    this.#giveUp(gone[0]?.entry.sequence ?? 0, gone.at(-1)?.entry.sequence ?? 0);
  }

  /** Counts what of a range the far side does not have, and will never get. */
  #giveUp(first: number, last: number): void {
    let open = 0;
    let at = this.#progress.nextOpen(first);
    for (; at <= last; at = this.#progress.nextOpen(at + 1)) open++;
    if (open > 0 && this.#dropped === 0) {
      const { log, folder } = this.#options;
      log.warn('the uplink queue is full; its oldest messages are dropped', { file: folder, messages: open });
    }
    this.#dropped += open;
    this.#progress.doneRange(first, last);
    this.#isProgressDirty = true;
  }

  #remove(block: Block): void {
    this.#blocks = this.#blocks.filter((other) => other !== block);
    if (this.#inflated?.first === block.first) this.#inflated = null;
    this.#options.files.remove(this.#pathOf(block.first)).catch(() => {});
  }

  async #removeDoneBlocks(): Promise<void> {
    for (const block of this.#blocks)
      if (this.#progress.nextOpen(block.first) > block.last) this.#remove(block);
    if (!this.#isSealing && this.#tail.length > 0 && this.#progress.cursor >= this.#next - 1)
      await this.#forgetTail(this.#next - 1);
  }

  /** Turns the oldest of the tail into block files, as long as there is enough of it. */
  #seal(): void {
    this.#isSealing = true;
    this.#sealing = this.#sealAll()
      .catch((error: unknown) => {
        this.#options.log.warn(
          'an uplink queue block could not be written; trying again with the next message',
          {
            file: this.#options.folder,
            error: String(error),
          },
        );
      })
      .then(() => {
        this.#isSealing = false;
      });
  }

  async #sealAll(): Promise<void> {
    while (this.#tailBytes >= BLOCK_BYTES) {
      const entries: Entry[] = [];
      let bytes = 0;
      for (const { entry } of this.#tail) {
        if (bytes >= BLOCK_BYTES) break;
        entries.push(entry);
        bytes += entryBytes(entry);
      }
      await this.#writeBlock(entries);
      await this.#forgetTail(entries.at(-1)?.sequence ?? 0);
    }
  }

  async #writeBlock(entries: readonly Entry[]): Promise<void> {
    const { files, folder } = this.#options;
    const [first, last] = [entries[0]?.sequence ?? 0, entries.at(-1)?.sequence ?? 0];
    const bytes = await packBlock(entries);
    const temporary = `${this.#pathOf(first)}.new`;
    await files.remove(temporary).catch(() => {});
    const file = await files.open(temporary, 'create');
    try {
      await file.write(bytes, 0);
      await file.sync();
    } finally {
      await file.close();
    }
    await files.rename(temporary, this.#pathOf(first));
    await files.syncFolder(folder);
    this.#blocks.push({ first, last, bytes: bytes.length, newestMs: entries.at(-1)?.timeMs ?? 0 });
  }

  /** The tail up to a sequence is kept elsewhere, or done: the journal need not hold it any more. */
  async #forgetTail(last: number): Promise<void> {
    let count = this.#tail.findIndex(({ entry }) => entry.sequence > last);
    if (count < 0) count = this.#tail.length;
    const gone = this.#tail.splice(0, count);
    this.#tailBytes -= gone.reduce((sum, { entry }) => sum + entryBytes(entry), 0);
    this.#isProgressDirty = true;
    this.#saveProgress();
    const segment = this.#journal.currentSegment;
    await this.#journal.sync();
    this.#journal.segments.keepFrom(Math.min(segment, this.#tail[0]?.segment ?? segment));
  }

  async #openBlocks(): Promise<void> {
    const { folder, files, log } = this.#options;
    for (const name of (await files.list(folder)).sort()) {
      if (!/^\d{16}\.block$/.test(name)) continue;
      const path = join(folder, name);
      const file = await files.open(path, 'read');
      try {
        const head = Buffer.alloc(BLOCK_ABOUT_BYTES);
        await file.read(head, 0);
        const bytes = await file.size();
        const about = readBlockAbout(head, bytes);
        if (about !== null)
          this.#blocks.push({
            first: about.first,
            last: about.first + about.count - 1,
            bytes,
            newestMs: about.newestMs,
          });
        else log.error('a block of the uplink queue is damaged and left out', { file: path, bytes });
      } finally {
        await file.close();
      }
    }
  }

  async #inflate(block: Block): Promise<readonly Entry[]> {
    if (this.#inflated?.first === block.first) return this.#inflated.entries;
    const path = this.#pathOf(block.first);
    const file = await this.#options.files.open(path, 'read');
    const bytes = Buffer.allocUnsafe(block.bytes);
    const got = await file.read(bytes, 0).finally(() => file.close());
    const entries = await unpackBlock(bytes.subarray(0, got));
    if (entries === null) {
      this.#options.log.error('a block of the uplink queue is damaged; its messages are lost', {
        file: path,
        messages: block.last - block.first + 1,
      });
      this.#dropBlock(block);
      return [];
    }
    this.#inflated = { first: block.first, entries };
    return entries;
  }

  #pathOf(first: number): string {
    return join(this.#options.folder, `${String(first).padStart(16, '0')}.block`);
  }
}
