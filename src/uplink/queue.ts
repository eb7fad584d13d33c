/**
 * The messages that an uplink owes its far side, on disk until the far side has them: the newest in a journal (and in
 * memory), older ones in compressed block files. Bounded in bytes and age; what is dropped is counted. Delivery is at
 * least once: after a crash some of the last second's acknowledgements may be unknown, and those messages go again.
 */
import type { Cancel, Clock } from '../clock.js';
import { messageOf } from '../errors.js';
import type { Log } from '../log.js';
import type { Metrics } from '../metrics.js';
import type { Files } from '../store/files.js';
import { Age } from './age.js';
import { type Block, Blocks } from './blocks.js';
import { type Entry, entryBytes, type Queued } from './entry.js';
import { Progress } from './progress.js';
import { Received } from './received.js';
import { Recurrence } from './recurrence.js';
import { Tail } from './tail.js';

/** What may change while the queue is open. */
export interface QueueLimits {
  readonly maxBytes: number;
  /** 0: no limit. */
  readonly maxAgeMs: number;
  readonly drop: 'oldest' | 'newest';
  readonly sync: 'commit' | 'interval';
}

export interface QueueOptions extends QueueLimits {
  readonly folder: string;
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

/** While blocks cannot be written the tail grows to this, then entries are dropped. */
const TAIL_MAX_BYTES = 8 << 20;
const SAVE_MS = 1000;
/** Pause after a block could not be written. */
const SEAL_AGAIN_MS = 1000;

export class UplinkQueue {
  /** What came in from the far side: kept here, since the journal is. */
  readonly received = new Received();
  #options: QueueOptions;
  readonly #progress = new Progress();
  readonly #blocks: Blocks;
  readonly #tail: Tail;
  readonly #age: Age;
  #next = 1;
  #dropped = 0;
  readonly #drops: Recurrence;
  #sealing: Promise<void> | null = null;
  #sealAgainMs = 0;
  #isProgressDirty = false;
  #kept: { written: Promise<void>; quiet: Promise<void> } | null = null;
  #cancelSave: Cancel | null = null;

  constructor(options: QueueOptions) {
    this.#options = options;
    const { folder, files, log, clock } = options;
    this.#age = new Age(clock);
    this.#drops = new Recurrence(clock);
    this.#blocks = new Blocks(folder, files, log, clock);
    this.#tail = new Tail({
      ...options,
      progress: this.#progress,
      received: this.received,
      makeRoom: () => {
        const { oldest } = this.#blocks;
        if (oldest !== undefined && this.#options.drop === 'oldest') this.#drop(oldest);
        return Promise.resolve();
      },
    });
  }

  /** The sequence that the next entry gets. */
  get nextSequence(): number {
    return this.#next;
  }

  /** Everything up to this sequence is over there, or given up. */
  isDoneTo(sequence: number): boolean {
    return this.#progress.cursor >= sequence;
  }

  async open(): Promise<void> {
    await this.#options.files.makeFolder(this.#options.folder);
    await this.#blocks.open();
    await this.#tail.open(this.#blocks.last);
    this.#closeGaps();
    this.#next = Math.max(this.#tail.last, this.#blocks.last, this.#progress.last) + 1;
    await this.#removeDone();
    this.received.changed = (steps) => this.#keepReceived(steps);
  }

  /** Other limits from now on. */
  limit({ maxBytes, maxAgeMs, drop, sync }: QueueLimits): void {
    this.#options = { ...this.#options, maxBytes, maxAgeMs, drop, sync };
    this.#tail.syncBy(sync);
  }

  /** Queues a message, whose bytes are copied; false when it was dropped because the queue is full. */
  push(message: Queued): boolean {
    if (!this.#makeRoomFor(entryBytes(message))) {
      this.#countDropped(1);
      return false;
    }
    const timeMs = this.#age.stamp(this.#next, this.#progress.cursor + 1);
    this.#tail.append(this.#next++, message, timeMs);
    if (this.#tail.full !== undefined) this.#seal();
    return true;
  }

  /** Up to `limit` entries that are not done, from a sequence on, oldest first. */
  async read(from: number, limit: number): Promise<Entry[]> {
    const isOpen = (sequence: number): boolean => !this.#progress.isDone(sequence);
    for (let next = this.#progress.nextOpen(from); ; next = this.#progress.nextOpen(next)) {
      const block = this.#blocks.from(next);
      // While a block is written its entries are in the tail still.
      const isInTail = block === undefined || (this.#tail.oldest?.first ?? Infinity) <= next;
      const found = isInTail
        ? this.#tail.read(next, limit, isOpen)
        : await this.#readBlock(block, next, limit, isOpen);
      const fresh = found.filter((entry) => !this.#dropIfOld(entry));
      if (fresh.length > 0 || (isInTail && found.length === 0)) return fresh;
      next = found.at(-1)?.sequence ?? block?.last ?? next;
      next += 1;
    }
  }

  /** What is left of the time it was given when it was queued; 0 and below: nobody wants it any more. */
  leftMs({ sequence, timeMs, expiresAtMs }: Entry): number {
    return expiresAtMs === 0 ? Infinity : expiresAtMs - timeMs - this.#age.ageMs(sequence, timeMs);
  }

  /** The far side has it. */
  done(sequence: number): void {
    this.#progress.done(sequence);
    this.#isProgressDirty = true;
    this.#saveSoon();
  }

  figures(): QueueFigures {
    const first = this.#progress.nextOpen(0);
    const ahead = this.#progress.ranges.reduce((sum, [from, to]) => sum + to - from + 1, 0);
    const block = this.#blocks.from(first);
    const chunk = this.#tail.all.find(({ last }) => last >= first);
    return {
      messages: Math.max(0, this.#next - 1 - this.#progress.cursor - ahead),
      bytes: this.#bytes(),
      oldestMs:
        first >= this.#next ? 0 : (block?.newestMs ?? chunk?.timeMs(Math.max(first, chunk.first)) ?? 0),
      dropped: this.#dropped,
    };
  }

  async commit(): Promise<void> {
    await this.#tail.commit();
  }

  /**
   * Resolves when what was pushed is in the journal, the same promise for all who ask before it is written; null: it is
   * there, or the disk refuses and nobody should wait for it. Never rejects.
   */
  kept(): Promise<void> | null {
    if (!this.#tail.isDirty) return null;
    const written = this.#tail.commit();
    if (this.#kept?.written !== written) this.#kept = { written, quiet: written.catch(() => {}) };
    return this.#kept.quiet;
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

  #saveSoon(): void {
    this.#cancelSave ??= this.#options.clock.after(SAVE_MS, () => {
      this.#cancelSave = null;
      this.#saveProgress();
      this.#removeDone()
        .then(() => this.#tail.commit())
        .catch(() => {});
    });
  }

  /** Written with all else of this turn: before long the far side hears that it is here. */
  #keepReceived(steps: Buffer): void {
    if (!this.#tail.isDirty) setImmediate(() => void this.kept());
    this.#tail.saveReceived(steps);
    this.#saveSoon();
  }

  #saveProgress(): void {
    if (!this.#isProgressDirty) return;
    this.#isProgressDirty = false;
    this.#tail.saveProgress();
  }

  /**
   * What was lost with a damaged block or journal, or was in memory only, is given up, so that nothing waits for it and
   * nothing that comes is taken for what the far side has.
   */
  #closeGaps(): void {
    let expected = this.#progress.cursor + 1;
    for (const { first, last } of [...this.#blocks.all, ...this.#tail.all]) {
      if (first > expected) this.#giveUp(expected, first - 1);
      expected = Math.max(expected, last + 1);
    }
    const lastDone = this.#progress.last;
    if (lastDone >= expected) this.#giveUp(expected, lastDone);
  }

  async #readBlock(
    block: Block,
    from: number,
    limit: number,
    isOpen: (sequence: number) => boolean,
  ): Promise<Entry[]> {
    const open = await this.#blocks.read(block);
    if (open === null) {
      this.#drop(block);
      return [];
    }
    const found: Entry[] = [];
    for (let sequence = Math.max(from, open.first); sequence <= open.last; sequence++) {
      if (found.length === limit) break;
      if (isOpen(sequence)) found.push(open.entry(sequence));
    }
    return found;
  }

  #dropIfOld({ sequence, timeMs }: Entry): boolean {
    const isOld = this.#age.isOlder(sequence, timeMs, this.#options.maxAgeMs);
    if (isOld) this.#giveUp(sequence, sequence);
    return isOld;
  }

  /** Keeps the limits; false when the newest is to be dropped. */
  #makeRoomFor(bytes: number): boolean {
    const { maxBytes, maxAgeMs, drop } = this.#options;
    // All that waits would make no room for one that has none even alone.
    if (bytes > Math.min(maxBytes, TAIL_MAX_BYTES)) return false;
    for (let block = this.#blocks.oldest; block !== undefined; block = this.#blocks.oldest) {
      if (!this.#age.isOlder(block.last, block.newestMs, maxAgeMs)) break;
      this.#drop(block);
    }
    while (this.#bytes() + bytes > maxBytes || this.#tail.bytes + bytes > TAIL_MAX_BYTES) {
      if (drop === 'newest') return false;
      const { oldest } = this.#blocks;
      const chunk = this.#tail.oldest;
      if (oldest !== undefined && this.#tail.bytes + bytes <= TAIL_MAX_BYTES) this.#drop(oldest);
      else if (chunk !== undefined) {
        // They come faster than blocks can be written.
        this.#tail.take(chunk);
        this.#giveUp(chunk.first, chunk.last);
      } else return false;
    }
    return true;
  }

  #drop(block: Block): void {
    this.#giveUp(block.first, block.last);
    this.#blocks.remove(block);
  }

  /** Counts what of a range the far side does not have, and will never get. */
  #giveUp(first: number, last: number): void {
    this.#countDropped(this.#progress.openIn(first, last));
    this.#progress.doneRange(first, last);
    this.#isProgressDirty = true;
  }

  #countDropped(messages: number): void {
    this.#dropped += messages;
    const untold = this.#drops.add(messages);
    if (untold === 0) return;
    const { log, folder } = this.#options;
    log.warn('the uplink queue drops messages: it is full, or they are too large, too old or damaged', {
      file: folder,
      messages: untold,
    });
  }

  async #removeDone(): Promise<void> {
    const isDone = ({ first, last }: { first: number; last: number }): boolean =>
      this.#progress.nextOpen(first) > last;
    const blocks = this.#blocks.all.filter(isDone);
    // A block that is gone before it is on the disk that it was done counts as lost. A full disk gets its room in any case.
    if (blocks.length > 0) await this.#tail.sync().catch(() => {});
    for (const block of blocks) this.#blocks.remove(block);
    const done = this.#tail.all.filter(isDone);
    if (this.#sealing === null && (done.length > 0 || this.#tail.isLong)) await this.#tail.forget(done);
  }

  /** Turns the chunks that are full into block files, oldest first. */
  #seal(): void {
    const { clock, folder, log } = this.#options;
    if (clock.monotonicMs() < this.#sealAgainMs) return;
    this.#sealing ??= this.#sealAll()
      .then(() => {
        if (this.#sealAgainMs > 0) log.info('uplink queue blocks can be written again', { file: folder });
        this.#sealAgainMs = 0;
      })
      .catch((error: unknown) => {
        if (this.#sealAgainMs === 0)
          log.warn('an uplink queue block cannot be written; trying again every second', {
            file: folder,
            error: messageOf(error),
          });
        this.#sealAgainMs = clock.monotonicMs() + SEAL_AGAIN_MS;
      })
      .then(() => {
        this.#sealing = null;
      });
  }

  async #sealAll(): Promise<void> {
    for (let chunk = this.#tail.full; chunk !== undefined; chunk = this.#tail.full) {
      await this.#blocks.write(chunk);
      this.#isProgressDirty = false;
      await this.#tail.forget([chunk]);
    }
  }
}
