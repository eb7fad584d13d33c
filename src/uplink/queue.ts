/**
 * The messages that an uplink owes its far side, on disk until the far side has them: the newest in a journal (and in
 * memory), older ones in compressed block files. Bounded in bytes and age; what is dropped is counted. Delivery is at
 * least once: after a crash some of the last second's acknowledgements may be unknown, and those messages go again.
 */
import type { Cancel, Clock } from '../clock.js';
import type { Log } from '../log.js';
import type { Metrics } from '../metrics.js';
import type { Files } from '../store/files.js';
import { Age } from './age.js';
import { type Block, Blocks } from './blocks.js';
import { type Entry, entryBytes } from './entry.js';
import { Progress } from './progress.js';
import { Tail } from './tail.js';

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

/** What is queued: an entry without its place and time. */
export type Queued = Omit<Entry, 'sequence' | 'timeMs'>;

/** Raw bytes of the tail that become one block. */
const BLOCK_BYTES = 1 << 20;
/** While blocks cannot be written the tail grows to this, then entries are dropped. */
const TAIL_BYTES_MAX = 8 << 20;
const SAVE_MS = 1000;

export class UplinkQueue {
  readonly #options: QueueOptions;
  readonly #progress = new Progress();
  readonly #blocks: Blocks;
  readonly #tail: Tail;
  readonly #age: Age;
  #next = 1;
  #dropped = 0;
  #sealing: Promise<void> | null = null;
  #isProgressDirty = false;
  #cancelSave: Cancel | null = null;

  constructor(options: QueueOptions) {
    this.#options = options;
    const { folder, files, log, clock, drop } = options;
    this.#age = new Age(clock);
    this.#blocks = new Blocks(folder, files, log);
    this.#tail = new Tail({
      ...options,
      progress: this.#progress,
      makeRoom: () => {
        const { oldest } = this.#blocks;
        if (oldest !== undefined && drop === 'oldest') this.#drop(oldest);
        return Promise.resolve();
      },
    });
  }

  /** The sequence that the next entry gets. */
  get nextSequence(): number {
    return this.#next;
  }

  async open(): Promise<void> {
    await this.#options.files.makeFolder(this.#options.folder);
    await this.#blocks.open();
    await this.#tail.open(this.#blocks.last);
    this.#next = Math.max(this.#tail.last?.sequence ?? 0, this.#blocks.last, this.#progress.cursor) + 1;
    this.#closeGaps();
    await this.#removeDone();
  }

  /** Queues a message; false when it was dropped because the queue is full and keeps the oldest. */
  push(message: Queued): boolean {
    const entry: Entry = {
      ...message,
      payload: message.payload.slice(),
      properties: message.properties.slice(),
      sequence: this.#next,
      timeMs: this.#options.clock.nowMs(),
    };
    if (!this.#makeRoomFor(entryBytes(entry))) {
      this.#dropped++;
      return false;
    }
    this.#next++;
    this.#tail.append(entry);
    if (this.#tail.bytes >= BLOCK_BYTES) this.#seal();
    return true;
  }

  /** Up to `limit` entries that are not done, from a sequence on, oldest first. */
  async read(from: number, limit: number): Promise<Entry[]> {
    for (let next = this.#progress.nextOpen(from); ; next = this.#progress.nextOpen(next)) {
      const block = this.#blocks.from(next);
      // While a block is written its entries are in the tail still.
      if (block === undefined || (this.#tail.first?.sequence ?? Infinity) <= next)
        return this.#tail.read(next, limit, (sequence) => !this.#progress.isDone(sequence));
      const entries = await this.#blocks.read(block);
      if (entries === null) this.#drop(block);
      const open: Entry[] = [];
      for (let i = Math.max(0, next - block.first); i < (entries?.length ?? 0); i++) {
        const entry = entries?.[i];
        if (entry !== undefined && !this.#progress.isDone(entry.sequence)) open.push(entry);
        if (open.length === limit) break;
      }
      if (open.length > 0) return open;
      next = block.last + 1;
    }
  }

  /** The far side has it. */
  done(sequence: number): void {
    this.#progress.done(sequence);
    this.#isProgressDirty = true;
    this.#cancelSave ??= this.#options.clock.after(SAVE_MS, () => {
      this.#cancelSave = null;
      this.#saveProgress();
      this.#removeDone()
        .then(() => this.#tail.commit())
        .catch(() => {});
    });
  }

  figures(): QueueFigures {
    const first = this.#progress.nextOpen(0);
    const ahead = this.#progress.ranges.reduce((sum, [from, to]) => sum + to - from + 1, 0);
    return {
      messages: Math.max(0, this.#next - 1 - this.#progress.cursor - ahead),
      bytes: this.#bytes(),
      oldestMs:
        first >= this.#next ? 0 : (this.#blocks.from(first)?.newestMs ?? this.#tail.first?.timeMs ?? 0),
      dropped: this.#dropped,
    };
  }

  async commit(): Promise<void> {
    await this.#tail.commit();
  }

  async close(): Promise<void> {
    this.#cancelSave?.();
    await this.#sealing;
    this.#saveProgress();
    await this.#tail.close();
  }

  #bytes(): number {
    return this.#tail.bytes + this.#blocks.bytes;
  }

  #saveProgress(): void {
    if (!this.#isProgressDirty) return;
    this.#isProgressDirty = false;
    this.#tail.saveProgress();
  }

  /** What was lost with a damaged block or journal is given up, so that nothing waits for it. */
  #closeGaps(): void {
    let expected = this.#progress.cursor + 1;
    for (const { first, last } of this.#blocks.all) {
      if (first > expected) this.#giveUp(expected, first - 1);
      expected = Math.max(expected, last + 1);
    }
    const rest = this.#tail.read(0, Infinity, () => true);
    for (const { sequence } of rest) {
      if (sequence > expected) this.#giveUp(expected, sequence - 1);
      expected = Math.max(expected, sequence + 1);
    }
  }

  /** Keeps the limits; false when the newest is to be dropped. */
  #makeRoomFor(bytes: number): boolean {
    const { maxBytes, drop } = this.#options;
    this.#dropOld();
    while (this.#bytes() + bytes > maxBytes || this.#tail.bytes + bytes > TAIL_BYTES_MAX) {
      if (drop === 'newest') return false;
      const { oldest } = this.#blocks;
      if (oldest !== undefined && this.#tail.bytes + bytes <= TAIL_BYTES_MAX) this.#drop(oldest);
      else if (this.#tail.count > 0) this.#dropTail(Math.ceil(this.#tail.count / 8));
      else return false;
    }
    return true;
  }

  #dropOld(): void {
    const { maxAgeMs } = this.#options;
    for (let block = this.#blocks.oldest; block !== undefined; block = this.#blocks.oldest) {
      if (!this.#age.isOlder(block.newestMs, maxAgeMs)) return;
      this.#drop(block);
    }
    if (this.#age.isOlder(this.#tail.first?.timeMs ?? 0, maxAgeMs)) this.#dropTail(1);
  }

  #drop(block: Block): void {
    this.#giveUp(block.first, block.last);
    this.#blocks.remove(block);
  }

  /** The oldest of the tail: they are too old, or come faster than blocks can be written. */
  #dropTail(count: number): void {
    const first = this.#tail.first?.sequence ?? 0;
    const last = this.#tail.read(first, count, () => true).at(-1)?.sequence ?? first;
    this.#tail.take(last);
    this.#giveUp(first, last);
  }

  /** Counts what of a range the far side does not have, and will never get. */
  #giveUp(first: number, last: number): void {
    const open = this.#progress.openIn(first, last);
    if (open > 0 && this.#dropped === 0) {
      const { log, folder } = this.#options;
      log.warn('the uplink queue drops messages: it is full, or they are too old or damaged', {
        file: folder,
        messages: open,
      });
    }
    this.#dropped += open;
    this.#progress.doneRange(first, last);
    this.#isProgressDirty = true;
  }

  async #removeDone(): Promise<void> {
    for (const block of this.#blocks.all)
      if (this.#progress.nextOpen(block.first) > block.last) this.#blocks.remove(block);
    const isAllDone = this.#tail.count > 0 && this.#progress.cursor >= this.#next - 1;
    if (this.#sealing === null && isAllDone) await this.#tail.forget(this.#next - 1);
  }

  /** Turns the oldest of the tail into block files, as long as there is enough of it. */
  #seal(): void {
    this.#sealing ??= this.#sealAll()
      .catch((error: unknown) => {
        const { folder, log } = this.#options;
        log.warn('an uplink queue block could not be written; trying again with the next message', {
          file: folder,
          error: String(error),
        });
      })
      .then(() => {
        this.#sealing = null;
      });
  }

  async #sealAll(): Promise<void> {
    while (this.#tail.bytes >= BLOCK_BYTES) {
      const entries = this.#tail.oldest(BLOCK_BYTES);
      await this.#blocks.write(entries);
      this.#isProgressDirty = false;
      await this.#tail.forget(entries.at(-1)?.sequence ?? 0);
    }
  }
}
