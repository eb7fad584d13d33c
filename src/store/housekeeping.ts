/**
 * Keeps the store small and quick to open: takes a snapshot after so many bytes of records, lets segments go that
 * nothing needs, copies live messages out of the emptiest ones, and says when the store is full. All of it runs beside
 * the work, in slices.
 */
import type { Cancel, Clock } from '../clock.js';
import { messageOf, StoreError } from '../errors.js';
import type { Log } from '../log.js';
import type { Files } from './files.js';
import { FRAME_HEADER_BYTES } from './frame.js';
import type { Journal } from './journal.js';
import { decodePublished, RECORD_TYPE } from './records.js';
import { scanSegment } from './segment.js';
import { liveBytesOf, type Segment } from './segments.js';
import {
  findSnapshots,
  readSnapshot,
  removeSnapshot,
  writeSnapshot,
  type SnapshotFile,
  type SnapshotStart,
} from './snapshot.js';
import type { State } from './state.js';

/** A snapshot is due after so many bytes of records, or a 32nd of a small store. */
const STEP_BYTES_MAX = 16 << 20;
const STEP_BYTES_MIN = 32 * 1024;
/** Below this, and below twice what is live, files are not compacted. */
const SLACK_BYTES = 16 << 20;
/** A segment with more than this share alive is not worth copying; under pressure more is. */
const LIVE_SHARE_MAX = 0.6;
const LIVE_SHARE_MAX_PRESSED = 0.85;
/** Of the limit: above it room is made, and below it a full store takes messages again. */
const PRESSED_SHARE = 0.75;
const RELAXED_SHARE = 0.9;
const COPY_SLICE_BYTES = 128 * 1024;
const FULL_RETRY_MS = 500;
const NONE: ReadonlySet<Segment> = new Set();
/** Segments left by many short runs are replayed one by one: better a snapshot. */
const REPLAYED_SEGMENTS_MAX = 4;

export class Housekeeping {
  readonly #folder: string;
  readonly #files: Files;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #journal: Journal;
  readonly #state: State;
  #maxBytes = Infinity;
  #stepBytes = STEP_BYTES_MAX;
  /** Newest first; at most two. */
  #snapshots: SnapshotFile[] = [];
  #snapshotNumber = 0;
  #appendedAtSnapshot = 0;
  #appendedAtRound = 0;
  #isDue = false;
  #round: Promise<void> | null = null;
  #isFull = false;
  #isClosing = false;
  #cancelRetry: Cancel | null = null;

  constructor(folder: string, files: Files, log: Log, clock: Clock, journal: Journal, state: State) {
    this.#folder = folder;
    this.#files = files;
    this.#log = log;
    this.#clock = clock;
    this.#journal = journal;
    this.#state = state;
  }

  get isFull(): boolean {
    return this.#isFull;
  }

  get usedBytes(): number {
    const snapshots = this.#snapshots.reduce((sum, { bytes }) => sum + bytes, 0);
    return this.#journal.segments.totalBytes + snapshots + this.#journal.backlogBytes;
  }

  /** No record may get a number below: sessions of a snapshot count from theirs. */
  get sequenceMin(): number {
    let min = 1;
    for (const { asOf } of this.#state.sessions.values()) min = Math.max(min, asOf);
    return min;
  }

  /** Fills the state from the newest sound snapshot; returns where replay begins. */
  async readSnapshot(salt: number): Promise<SnapshotStart> {
    const numbers = await findSnapshots(this.#folder, this.#files);
    this.#snapshotNumber = numbers[0] ?? 0;
    const read = (number: number, isLastChance: boolean): Promise<SnapshotFile | null> =>
      readSnapshot(this.#folder, this.#files, this.#log, number, this.#state, salt, isLastChance);
    for (const number of numbers) {
      const snapshot = await read(number, false);
      if (snapshot !== null) this.#snapshots.push(snapshot);
      if (snapshot !== null) break;
    }
    const newest = numbers[0];
    if (this.#snapshots.length === 0 && newest !== undefined) {
      const snapshot = await read(newest, true);
      if (snapshot !== null) this.#snapshots.push(snapshot);
    }
    return this.#snapshots[0]?.start ?? { segment: 0, sequence: 0 };
  }

  /** After recovery: from now on tend() may work. */
  begin(capacity: number, maxBytes: number, replayedSegments: number): void {
    this.#maxBytes = maxBytes;
    this.#stepBytes = Math.max(STEP_BYTES_MIN, Math.min(STEP_BYTES_MAX, Math.floor(capacity / 32)));
    this.#isDue = replayedSegments > REPLAYED_SEGMENTS_MAX;
  }

  /** Called often; cheap unless something is due. */
  tend(): void {
    if (!this.#isFull && this.usedBytes > this.#maxBytes) this.#becomeFull();
    const appended = this.#journal.appendedBytes;
    if (!this.#isDue && appended - this.#appendedAtRound < this.#stepBytes) return;
    if (this.#round !== null || this.#isClosing || !this.#journal.isHealthy) return;
    this.#isDue = false;
    this.#appendedAtRound = appended;
    this.#alone(this.#tidy()).catch((thrown: unknown) => this.#report(thrown));
  }

  failure(): StoreError {
    return new StoreError(
      'STORE_FULL',
      { file: this.#folder },
      `has reached max_bytes (${this.#maxBytes}); it takes messages again when queued ones were fetched or dropped`,
    );
  }

  /** The disk is full: whatever a snapshot can free is freed, even if only one is left. */
  async makeRoom(): Promise<void> {
    while (this.#round !== null) await this.#round;
    await this.#alone(this.#free());
  }

  async #free(): Promise<void> {
    const { segments } = this.#journal;
    const isWorthIt = segments.list().some((segment) => segment.live === 0 && segments.isReplayed(segment));
    if (isWorthIt && this.#journal.appendedBytes > this.#appendedAtSnapshot) await this.#snapshot(1);
    if (!this.#journal.isFailing) await this.#compact(true);
  }

  /** Leaves a snapshot behind when there is much to replay. */
  async close(): Promise<void> {
    this.#isClosing = true;
    this.#cancelRetry?.();
    await this.#round;
    if (this.#journal.appendedBytes - this.#appendedAtSnapshot < STEP_BYTES_MIN || !this.#journal.isHealthy)
      return;
    await this.#snapshot(2).catch((thrown: unknown) => this.#report(thrown));
  }

  /** A snapshot of this very moment. */
  async snapshot(): Promise<SnapshotFile> {
    while (this.#round !== null) await this.#round;
    return this.#alone(this.#snapshot(2));
  }

  /** Marks the time of some work: one at a time. */
  #alone<T>(work: Promise<T>): Promise<T> {
    const over = (): void => {
      this.#round = null;
    };
    this.#round = work.then(over, over);
    return work;
  }

  async #tidy(): Promise<void> {
    await this.#snapshot(2);
    await this.#compact(false);
    if (this.#isFull) this.#checkFull();
  }

  async #snapshot(keep: 1 | 2): Promise<SnapshotFile> {
    const journal = this.#journal;
    const start = { segment: journal.currentSegment, sequence: journal.nextSequence };
    const appended = journal.appendedBytes;
    const { moveCount } = journal;
    const snapshot = await writeSnapshot(
      this.#folder,
      this.#files,
      ++this.#snapshotNumber,
      this.#state,
      start,
      journal.salt,
      () => journal.nextSequence,
      () => this.#settle(moveCount),
    );
    journal.countBytes(snapshot.bytes);
    this.#appendedAtSnapshot = appended;
    this.#snapshots = [snapshot, ...this.#snapshots];
    const oldest = this.#snapshots.slice(0, keep).at(-1) ?? snapshot;
    // With one snapshot only, everything from the beginning is kept to stand in for it.
    journal.segments.keepFrom(this.#snapshots.length < keep ? 0 : oldest.start.segment);
    journal.removeDone();
    this.#snapshots.splice(keep);
    for (const number of await findSnapshots(this.#folder, this.#files)) {
      if (this.#snapshots.some((kept) => kept.number === number)) continue;
      await removeSnapshot(this.#folder, this.#files, number).catch(() => {});
    }
    return snapshot;
  }

  /** What a snapshot names is durable where it says; records that moved since it was begun are not there any more. */
  async #settle(moveCount: number): Promise<void> {
    await this.#journal.sync();
    if (this.#journal.moveCount === moveCount) return;
    const text = 'failed while its snapshot was written, which is void';
    throw new StoreError('STORE_IO', { file: this.#folder }, text);
  }

  /** Copies what is live out of the emptiest segments, one by one, as long as files are much larger than that. */
  async #compact(isPressed: boolean): Promise<void> {
    // What damage holds in its segment stays there: none is copied from twice in a round.
    const done = new Set<Segment>();
    for (;;) {
      const segment = this.#emptiest(done);
      if (segment === null || this.#isClosing) return;
      const used = this.usedBytes;
      const pressed = isPressed || used > this.#maxBytes * PRESSED_SHARE;
      const isLoose = used > Math.max(Math.min(SLACK_BYTES, this.#maxBytes / 8), 2 * this.#liveBytes());
      if (!segment.isDamaged && !pressed && !isLoose) return;
      const share = liveBytesOf(segment) / Math.max(1, segment.bytes);
      if (!segment.isDamaged && share > (pressed ? LIVE_SHARE_MAX_PRESSED : LIVE_SHARE_MAX)) return;
      done.add(segment);
      await this.#copyOut(segment);
    }
  }

  #emptiest(done: ReadonlySet<Segment>): Segment | null {
    const { segments } = this.#journal;
    let best: Segment | null = null;
    let bestShare = Infinity;
    for (const segment of segments.list()) {
      if (segments.isReplayed(segment) || segment.live === 0 || done.has(segment)) continue;
      const share = segment.isDamaged ? -1 : liveBytesOf(segment) / Math.max(1, segment.bytes);
      if (share < bestShare) [best, bestShare] = [segment, share];
    }
    return best;
  }

  #liveBytes(): number {
    return this.#journal.segments.list().reduce((sum, segment) => sum + liveBytesOf(segment), 0);
  }

  async #copyOut(segment: Segment): Promise<void> {
    const journal = this.#journal;
    const bytes = await journal.read(segment.number, 0, segment.bytes);
    const places: { start: number; end: number; offset: number }[] = [];
    scanSegment(bytes, bytes.length, journal.salt, false, (type, _, start, end, offset) => {
      if (type === RECORD_TYPE.Published || type === RECORD_TYPE.Moved) places.push({ start, end, offset });
    });
    let copied = 0;
    for (const { start, end, offset } of places) {
      const record = decodePublished(bytes, start, end);
      if (record === null || !this.#state.isLive(record, segment.number, offset)) continue;
      const at = journal.begin(end - start);
      bytes.copy(journal.buffer, at, start, end);
      const newOffset = journal.end(RECORD_TYPE.Moved, at + end - start);
      const length = end - start + FRAME_HEADER_BYTES;
      this.#state.moved(record, { segment: journal.currentSegment, offset: newOffset, bytes: length });
      copied += length;
      if (copied < COPY_SLICE_BYTES) continue;
      copied = 0;
      await journal.commit();
    }
    await journal.sync();
    // What still refers to it could not be found in it: damage, which reading will report.
    if (segment.live > 0) segment.addedBytes = segment.addedCount * segment.bytes;
    journal.removeDone();
  }

  #becomeFull(): void {
    this.#isFull = true;
    this.#log.error('the store is full; messages are not acknowledged until there is room', {
      file: this.#folder,
      bytes: this.usedBytes,
      maxBytes: this.#maxBytes,
    });
    this.#isDue = true;
    this.#armRetry();
  }

  #armRetry(): void {
    if (this.#isClosing) return;
    this.#cancelRetry = this.#clock.after(FULL_RETRY_MS, () => {
      this.#checkFull();
      if (!this.#isFull) return;
      const { segments } = this.#journal;
      if (segments.list().some((segment) => segment.live === 0) || this.#emptiest(NONE) !== null)
        this.#isDue = true;
      if (this.#journal.appendedBytes > this.#appendedAtRound) this.tend();
      this.#armRetry();
    });
  }

  #checkFull(): void {
    if (!this.#isFull || this.usedBytes > this.#maxBytes * RELAXED_SHARE) return;
    this.#isFull = false;
    this.#log.info('the store takes messages again', { file: this.#folder, bytes: this.usedBytes });
  }

  #report(thrown: unknown): void {
    this.#log.warn('the store could not be tidied up; it is tried again later', {
      file: this.#folder,
      error: messageOf(thrown),
    });
  }
}
