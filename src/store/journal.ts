/**
 * A segmented append log: records in, one write and one sync for all who wait (group commit), records back on open.
 * Knows nothing of what records mean. Records are numbered in their order (sequence) and found again by segment and
 * offset. A sync that failed is never trusted: what it covered is written again, to a new segment, before anything is
 * promised. While the disk refuses, isHealthy is false and the journal tries again by itself.
 */
import type { Cancel, Clock } from '../clock.js';
import { messageOf, StoreError } from '../errors.js';
import type { Log } from '../log.js';
import type { Counter, Metrics } from '../metrics.js';
import { Batch, type Tail } from './batch.js';
import type { Files, OpenFile } from './files.js';
import { Pacing } from './pacing.js';
import {
  findJournal,
  recoverJournal,
  type FoundJournal,
  type Recovered,
  type RecordVisit,
} from './recover.js';
import { isFullDisk, Reserve } from './reserve.js';
import { Segments } from './segments.js';

export interface JournalOptions {
  folder: string;
  /** commit: a commit resolves after a sync. interval: after the write; syncs happen every intervalMs. */
  sync: 'commit' | 'interval';
  intervalMs: number;
  /** A segment is followed by the next one when it has grown to this; read at every batch, so it may change. */
  segmentBytes: () => number;
  files: Files;
  clock: Clock;
  log: Log;
  metrics: Metrics;
  /** Told when an unsynced record had to move to another place. */
  moved: (type: number, bytes: Buffer, start: number, end: number, place: Moved) => void;
  /** The disk is full: make room by removing what is not needed. */
  makeRoom: () => Promise<void>;
  /** What a disk that refuses means for those who read the log; nothing is acknowledged unless said otherwise. */
  meanwhile?: string;
}

export interface Moved {
  oldSegment: number;
  segment: number;
  offset: number;
}

/** A batch of this size is written even if nobody waits, or waits already for company. */
const BATCH_BYTES_MAX = 256 * 1024;
/** What nobody waits for is written after this. */
const LAZY_MS = 250;
/** In interval mode, so many written bytes are synced at once: until then they are kept in memory as well. */
const UNSYNCED_BYTES_MAX = 4 << 20;
/** Buffers up to this size are used again. */
const SPARE_BYTES_MAX = 1 << 20;
const RETRY_MIN_MS = 50;
const RETRY_MAX_MS = 2_000;

export class Journal {
  readonly segments: Segments;
  readonly #options: JournalOptions;
  #sync: JournalOptions['sync'];
  readonly #reserve: Reserve;
  readonly #pacing = new Pacing();
  #found: FoundJournal | null = null;
  readonly #bytesWritten: Counter;
  readonly #syncs: Counter;
  #salt = 0;
  #nextSequence = 1;
  #appendedBytes = 0;
  /** The newest segment number ever used, and the segment and position at which the next batch would go on. */
  #lastNumber = 0;
  #tail: Tail = { number: 0, end: 0 };
  #file: OpenFile | null = null;
  /** A segment was created whose name is not durable yet. */
  #isFolderDirty = false;
  #pending: Batch | null = null;
  #flight: Batch | null = null;
  /** Written and not yet synced, oldest first. */
  #unsynced: Batch[] = [];
  /** Files that hold what was promised after its write, and is to be written again elsewhere: until then a kill needs them. */
  #superseded: string[] = [];
  #spare: Buffer | null = null;
  /** A write or sync is under way, or a wait before it: one at a time. */
  #isBusy = false;
  /** What is written is to be synced before anything else is written. */
  #isSyncWanted = false;
  #activity: Promise<void> = Promise.resolve();
  /** The pending batch waits for company. */
  #isPacing = false;
  #isClosing = false;
  #failure: StoreError | null = null;
  #moveCount = 0;
  #retryMs = RETRY_MIN_MS;
  #cancelLazy: Cancel | null = null;
  #cancelRetry: Cancel | null = null;
  #cancelInterval: Cancel | null = null;
  #wake: (() => void) | null = null;

  constructor(options: JournalOptions) {
    this.#options = options;
    this.#sync = options.sync;
    this.segments = new Segments(options.folder, options.files, options.log);
    this.#reserve = new Reserve(options);
    const { metrics } = options;
    this.#bytesWritten = metrics.counter('store_bytes_written_total', 'Bytes written to the store.');
    this.#syncs = metrics.counter('store_syncs_total', 'Syncs of store files.');
  }

  get salt(): number {
    return this.#salt;
  }

  get nextSequence(): number {
    return this.#nextSequence;
  }

  /** The segment that the next record may go to: replay from here on finds it and all after it. */
  get currentSegment(): number {
    return this.#pending?.place.segment ?? this.#tail.number;
  }

  /** Bytes of records ever appended. */
  get appendedBytes(): number {
    return this.#appendedBytes;
  }

  /** How often unsynced records had to move to another place. */
  get moveCount(): number {
    return this.#moveCount;
  }

  /** The last attempt to write failed. */
  get isFailing(): boolean {
    return this.#failure !== null;
  }

  /** Counts bytes that were written beside the journal. */
  countBytes(bytes: number): void {
    this.#bytesWritten.value += bytes;
  }

  get backlogBytes(): number {
    return (this.#pending?.length ?? 0) + (this.#flight?.length ?? 0);
  }

  get isDirty(): boolean {
    return this.#pending !== null || this.#flight !== null;
  }

  get isHealthy(): boolean {
    return this.#failure === null && !this.#reserve.isMissing;
  }

  /** Why it is not healthy. */
  get failure(): StoreError | null {
    return this.#failure ?? (this.#reserve.isMissing ? this.#reserve.error() : null);
  }

  /** Finds out what is there; to be called once, before open(). */
  async find(): Promise<void> {
    const { folder, files } = this.#options;
    this.#found = await findJournal(folder, files, this.segments);
    this.#salt = this.#found.salt;
  }

  /** Visits all records from a segment on; records to come are numbered from `sequence` on at least. Called once. */
  async open(segment: number, sequence: number, visit: RecordVisit): Promise<Recovered> {
    const { folder, files, log } = this.#options;
    if (this.#found === null) await this.find();
    const all = this.#found?.all ?? [];
    this.#found = null;
    const found = await recoverJournal({
      folder,
      files,
      log,
      segments: this.segments,
      salt: this.#salt,
      all,
      segment,
      visit,
    });
    this.#tail = { number: found.lastNumber, end: found.lastEnd };
    this.#lastNumber = Math.max(found.lastNumber, segment, this.segments.highest());
    this.#nextSequence = Math.max(found.nextSequence, sequence);
    await this.#reserve.open();
    if (this.#sync === 'interval') this.#armInterval();
    return found;
  }

  /** When commits resolve from now on. */
  syncBy(sync: JournalOptions['sync']): void {
    if (sync === this.#sync) return;
    this.#sync = sync;
    this.#cancelInterval?.();
    if (sync === 'interval') this.#armInterval();
    else if (this.#unsynced.length > 0) void this.#syncNow();
  }

  /** Begins a record of at most payloadMax bytes: its payload is to be written into `buffer` at the returned index. */
  begin(payloadMax: number): number {
    return this.#open().begin(payloadMax);
  }

  /** Valid until the next begin(). */
  get buffer(): Buffer {
    return this.#open().bytes;
  }

  /** Ends the record whose payload ends at `end` in `buffer`; returns the offset at which it lies in currentSegment. */
  end(type: number, end: number): number {
    const batch = this.#open();
    this.#appendedBytes += end - batch.length;
    const offset = batch.finish(type, end);
    this.#nextSequence++;
    if (this.#isPacing) this.#pacing.arrived(this.#options.clock.monotonicMs());
    if (batch.length >= BATCH_BYTES_MAX && this.#failure === null) this.#want(batch);
    return offset;
  }

  /** Resolves when all appended so far is durable; rejects when the next attempt to make it so fails. */
  commit(): Promise<void> {
    const batch = this.#pending;
    if (batch !== null) {
      this.#want(batch);
      return batch.done;
    }
    return this.#flight === null ? Promise.resolve() : this.#flight.done;
  }

  /** As commit, but also synced in interval mode. */
  async sync(): Promise<void> {
    await this.commit();
    if (this.#unsynced.length > 0) await this.#syncNow();
    if (this.#failure !== null) throw this.#failure;
  }

  /** Lets segments go that nothing needs: at once when all is durable, else with the next sync. */
  removeDone(): void {
    this.segments.sweep();
    if (this.isDirty || this.#unsynced.length > 0) return;
    this.segments.cover();
    this.segments.removeCovered();
  }

  /** Bytes [offset, offset + length) of a segment, less where it ends; from memory what is not on the disk yet. */
  async read(segment: number, offset: number, length: number): Promise<Buffer> {
    const into = Buffer.allocUnsafe(length);
    const inMemory = this.#inMemory(segment);
    const first = inMemory[0]?.place.offset ?? Infinity;
    const fromFile = Math.max(0, Math.min(length, first - offset));
    let end = fromFile;
    for (const batch of inMemory) end += batch.copyTo(into, end, offset + end);
    if (fromFile > 0) {
      const got = await this.segments.read(segment, into.subarray(0, fromFile), offset);
      if (got < fromFile) end = got;
    }
    return into.subarray(0, end);
  }

  /** Writes and syncs what is left, and lets go of all files. */
  async close(): Promise<void> {
    this.#isClosing = true;
    this.#reserve.close();
    for (const cancel of [this.#cancelLazy, this.#cancelInterval]) cancel?.();
    this.#wake?.();
    try {
      await this.sync();
    } finally {
      this.#cancelRetry?.();
      await this.#file?.close();
      this.#file = null;
      await this.segments.close();
    }
  }

  #inMemory(segment: number): Batch[] {
    return [...this.#unsynced, this.#flight, this.#pending].filter(
      (batch): batch is Batch => batch !== null && batch.place.segment === segment,
    );
  }

  /** The batch that records go to now. */
  #open(): Batch {
    return this.#pending ?? this.#openNext();
  }

  #openNext(): Batch {
    const isNew = this.#tail.number !== this.#lastNumber || this.#mustRotate();
    if (isNew) this.#lastNumber++;
    const place = {
      segment: this.#lastNumber,
      offset: isNew ? 0 : this.#tail.end,
      firstSequence: this.#nextSequence,
      salt: this.#salt,
      previous: this.#tail,
    };
    this.#pending = new Batch(place, this.#spare);
    this.#spare = null;
    this.#cancelLazy ??= this.#options.clock.after(LAZY_MS, () => {
      this.#cancelLazy = null;
      if (this.#pending !== null && this.#failure === null) this.#want(this.#pending);
    });
    return this.#pending;
  }

  /** After a start and after a failure a new segment begins; so does one behind a full one. */
  #mustRotate(): boolean {
    const hasFile = this.#file !== null || this.#flight !== null;
    return !hasFile || this.#tail.end >= this.#options.segmentBytes();
  }

  #want(batch: Batch): void {
    batch.isWanted = true;
    if (batch.length >= BATCH_BYTES_MAX) this.#wake?.();
    this.#goOn();
  }

  /** Begins what is to be done next, unless something is under way. */
  #goOn(): void {
    if (this.#isBusy || this.#failure !== null) return;
    if (this.#isSyncWanted) this.#busy(this.#syncWritten());
    else if (this.#pending?.isWanted === true) this.#busy(this.#pump());
  }

  /** Marks the time of some work, and goes on with what came up meanwhile. */
  #busy(work: Promise<void>): void {
    this.#isBusy = true;
    this.#activity = work.then(() => {
      this.#isBusy = false;
      this.#goOn();
    });
  }

  /** Writes batch after batch as long as somebody wants one, and nobody a sync between them. Never rejects. */
  async #pump(): Promise<void> {
    while (this.#pending?.isWanted === true && !this.#isSyncWanted) {
      if (this.#sync === 'commit' && this.#failure === null) await this.#pace();
      const batch = this.#pending;
      this.#pending = null;
      this.#flight = batch;
      this.segments.cover();
      this.#tail = { number: batch.place.segment, end: batch.end };
      try {
        await this.#write(batch);
        if (this.#sync === 'commit' || this.#isTooMuchUnsynced()) await this.#syncFile();
      } catch (thrown) {
        this.#failed(thrown, batch);
        break;
      }
      this.#flight = null;
      this.#succeeded(batch);
    }
  }

  async #pace(): Promise<void> {
    const { clock } = this.#options;
    this.#pacing.begin(clock.monotonicMs());
    this.#isPacing = true;
    for (;;) {
      const waitMs =
        this.#isClosing || this.backlogBytes >= BATCH_BYTES_MAX
          ? 0
          : this.#pacing.waitMs(clock.monotonicMs());
      if (waitMs <= 0) break;
      await new Promise<void>((resolve) => {
        const cancel = clock.after(waitMs, resolve);
        this.#wake = () => {
          cancel();
          resolve();
        };
      });
      this.#wake = null;
    }
    this.#isPacing = false;
    this.#pacing.started(clock.monotonicMs());
  }

  async #write(batch: Batch): Promise<void> {
    const { segment, offset } = batch.place;
    if (offset === 0) {
      if (this.#unsynced.length > 0) await this.#syncFile();
      await this.#file?.close();
      this.#file = null;
    }
    const bytes = batch.seal((this.#unsynced[0] ?? batch).place.firstSequence);
    if (offset === 0) {
      this.#isFolderDirty = true;
      this.#file = await this.#options.files.open(this.segments.pathOf(segment), 'create');
    }
    if (this.#file === null) throw new Error('the segment to append to is not open');
    await this.#file.write(bytes, offset);
    this.#bytesWritten.value += bytes.length;
    this.segments.add(segment, batch.end);
    this.#unsynced.push(batch);
  }

  #isTooMuchUnsynced(): boolean {
    return this.#unsynced.reduce((sum, batch) => sum + batch.length, 0) >= UNSYNCED_BYTES_MAX;
  }

  async #syncFile(): Promise<void> {
    this.#syncs.value++;
    await this.#file?.sync();
    if (this.#isFolderDirty) {
      await this.#options.files.syncFolder(this.#options.folder);
      this.#isFolderDirty = false;
    }
    const last = this.#unsynced.at(-1);
    // Where a segment ends, what let go may be in the batch that is to begin the next one, and not written yet.
    if (this.#flight === null || this.#flight === last) this.segments.removeCovered();
    if (last !== undefined && last.bytes.length <= SPARE_BYTES_MAX) this.#spare = last.bytes;
    this.#unsynced = [];
  }

  #succeeded(batch: Batch): void {
    if (this.#failure !== null) {
      this.#failure = null;
      this.#retryMs = RETRY_MIN_MS;
      this.#options.log.info('the disk takes the store again', { file: this.#options.folder });
    }
    batch.isPromised = true;
    this.#removeSuperseded();
    batch.resolve();
  }

  /** Everything unsynced, and what was appended since, becomes one batch of a new segment that is tried again. */
  #failed(thrown: unknown, batch: Batch): void {
    const error = this.#report(thrown);
    // They take the room that what they hold needs elsewhere.
    if (isFullDisk(thrown)) this.#removeSuperseded();
    batch.reject(error);
    const late = this.#pending;
    late?.reject(error);
    const lost = this.#unsynced.includes(batch) ? this.#unsynced : [...this.#unsynced, batch];
    const { segment, offset, previous, firstSequence } = (lost[0] ?? batch).place;
    this.#unsynced = [];
    this.#flight = null;
    this.#isSyncWanted = false;
    // The chain goes on behind what was synced; segments begun since then are void.
    this.#tail = offset === 0 ? previous : { number: segment, end: offset };
    this.#pending = this.#gather(late === null ? lost : [...lost, late], firstSequence);
    this.#giveUp(lost);
    if (offset > 0) this.segments.add(segment, offset);
    this.#armRetry();
  }

  #gather(batches: Batch[], firstSequence: number): Batch {
    const segment = ++this.#lastNumber;
    const place = { segment, offset: 0, firstSequence, salt: this.#salt, previous: this.#tail };
    const gathered = new Batch(place, null);
    this.#moveCount++;
    for (const batch of batches) {
      const oldSegment = batch.place.segment;
      gathered.adopt(batch, (type, start, end, offset) =>
        this.#options.moved(type, gathered.bytes, start, end, { oldSegment, segment, offset }),
      );
    }
    return gathered;
  }

  #giveUp(lost: Batch[]): void {
    this.#file?.close().catch(() => {});
    this.#file = null;
    for (const { place, isPromised } of lost) {
      if (place.offset > 0) continue;
      this.segments.forget(place.segment);
      const path = this.segments.pathOf(place.segment);
      if (isPromised) this.#superseded.push(path);
      else this.#options.files.remove(path).catch(() => {});
    }
  }

  #removeSuperseded(): void {
    for (const path of this.#superseded.splice(0)) this.#options.files.remove(path).catch(() => {});
  }

  #report(thrown: unknown): StoreError {
    const { folder, log, meanwhile = 'nothing is acknowledged until it takes it' } = this.#options;
    const isKnown = this.#failure !== null;
    if (isFullDisk(thrown)) {
      this.#reserve.give(thrown);
      this.#failure = this.#reserve.error(thrown);
      return this.#failure;
    }
    const error = messageOf(thrown);
    this.#failure = new StoreError('STORE_IO', { file: folder }, `cannot be written: ${error}`, thrown);
    if (!isKnown) {
      log.error(`the disk refuses the store; ${meanwhile}`, { file: folder, error });
    }
    return this.#failure;
  }

  /** While closing there is no further attempt. */
  #armRetry(): void {
    if (this.#isClosing) return;
    this.#cancelRetry = this.#options.clock.after(this.#retryMs, () => {
      if (this.#pending === null || this.#isBusy) return;
      this.#pending.isWanted = true;
      this.#busy(this.#pump());
    });
    this.#retryMs = Math.min(RETRY_MAX_MS, this.#retryMs * 2);
  }

  #armInterval(): void {
    this.#cancelInterval = this.#options.clock.after(this.#options.intervalMs, () => {
      if (this.#unsynced.length > 0) void this.#syncNow();
      this.#armInterval();
    });
  }

  /** Interval mode: syncs what was written, however much more is to be. A failure is dealt with as one of a write is. */
  async #syncNow(): Promise<void> {
    this.#isSyncWanted = true;
    this.#goOn();
    while (this.#isSyncWanted) await this.#activity;
  }

  /** Never rejects. */
  async #syncWritten(): Promise<void> {
    const last = this.#unsynced.at(-1);
    try {
      if (last !== undefined) await this.#syncFile();
      this.#isSyncWanted = false;
    } catch (thrown) {
      if (last !== undefined) this.#failed(thrown, last);
    }
  }
}
