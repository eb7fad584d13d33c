/**
 * The Store on disk. It owns the folder: journal segments, snapshots, lock. Facts go into the journal and into the State
 * in memory, which knows where each message lies but not what it says; open() adds up the newest snapshot and the
 * records since. Room is made by housekeeping.ts.
 */
import { systemClock, type Clock } from '../clock.js';
import { messageOf, StoreError } from '../errors.js';
import type { Log } from '../log.js';
import type { Counter, Metrics } from '../metrics.js';
import { readAll, writeArchive, writeBackup, type Sink } from './backup.js';
import { systemFiles, type Files } from './files.js';
import { FRAME_HEADER_BYTES } from './frame.js';
import { Housekeeping } from './housekeeping.js';
import { Journal } from './journal.js';
import { lockFolder, type Lock } from './lock.js';
import { readMessages, readRetained, type Slice } from './messages.js';
import {
  decodePublished,
  decodeRecord,
  encodePublished,
  encodeRecord,
  payloadMaxOf,
  RECORD_TYPE,
  Writer,
} from './records.js';
import type { QueueEntry } from './queue.js';
import { refusalOf } from './refusal.js';
import { nameOf as segmentName } from './segments.js';
import { nameOf as snapshotName } from './snapshot.js';
import { type SessionState, State, storedSession } from './state.js';
import type {
  Position,
  QueuedMessage,
  SessionNumber,
  Store,
  StoredMessage,
  StoredState,
  StoreRecord,
} from './store.js';
import { Unread } from './unread.js';

export interface DiskOptions {
  path: string;
  sync: 'commit' | 'interval';
  intervalMs: number;
  /** All files together; beyond it no new messages are taken. */
  maxBytes: number;
}

export interface DiskContext {
  log: Log;
  metrics: Metrics;
  clock?: Clock;
  files?: Files;
  /** How the folder is kept to one process. */
  lock?: (folder: string, log: Log) => Promise<Lock>;
}

const SEGMENT_BYTES_MIN = 64 * 1024;
const SEGMENT_BYTES_MAX = 8 << 20;

export class DiskStore implements Store {
  readonly isLasting = true;
  readonly #options: DiskOptions;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #files: Files;
  readonly #journal: Journal;
  readonly #state: State;
  readonly #housekeeping: Housekeeping;
  readonly #writer = new Writer();
  /** Of the record that is appended: filled in anew each time, for the state copies what it keeps. */
  readonly #place = { segment: 0, offset: 0, bytes: 0 };
  readonly #damaged: Counter;
  readonly #lockFolder: (folder: string, log: Log) => Promise<Lock>;
  #lock: Lock | null = null;
  #segmentBytes = SEGMENT_BYTES_MAX;
  /** Of sessions that wait for messages which cannot be read. */
  readonly #unread = new WeakMap<SessionState, Unread>();
  /** A Published was not taken: the next commit must say so. */
  #hasRefused = false;
  #isClosed = false;
  isClockDue = false;

  constructor(options: DiskOptions, context: DiskContext) {
    const { log, metrics, clock = systemClock, files = systemFiles } = context;
    this.#lockFolder = context.lock ?? lockFolder;
    this.#options = options;
    this.#log = log;
    this.#clock = clock;
    this.#files = files;
    this.#journal = new Journal({
      folder: options.path,
      sync: options.sync,
      intervalMs: options.intervalMs,
      segmentBytes: () => this.#segmentBytes,
      files,
      clock,
      log,
      metrics,
      moved: (type, bytes, start, end, { segment, offset }) => {
        if (type !== RECORD_TYPE.Published && type !== RECORD_TYPE.Moved) return;
        const record = decodePublished(bytes, start, end);
        if (record !== null) this.#state.moved(record, { segment, offset, bytes: end - start });
      },
      makeRoom: () => this.#housekeeping.makeRoom(),
    });
    this.#state = new State(this.#journal.segments);
    this.#housekeeping = new Housekeeping(options.path, files, log, clock, this.#journal, this.#state);
    this.#damaged = metrics.counter('store_damaged_total', 'Messages lost to damage of the disk.');
    metrics.gauge('store_bytes', 'Bytes of all store files.', () => this.#housekeeping.usedBytes);
    metrics.gauge('store_limit_bytes', 'What the store may use.', () => options.maxBytes);
    metrics.gauge('store_healthy', '1 while the store takes messages.', () => (this.isHealthy ? 1 : 0));
  }

  get path(): string {
    return this.#options.path;
  }

  get isDirty(): boolean {
    return this.#journal.isDirty;
  }

  get isHealthy(): boolean {
    return this.#journal.isHealthy && !this.#housekeeping.isFull;
  }

  get backlogBytes(): number {
    return this.#journal.backlogBytes;
  }

  async open(): Promise<StoredState> {
    const { path } = this.#options;
    try {
      await this.#files.makeFolder(path);
      this.#lock = await this.#lockFolder(path, this.#log);
      return await this.#recover();
    } catch (thrown) {
      this.#lock?.release();
      this.#lock = null;
      throw refusalOf(path, thrown);
    }
  }

  append(record: StoreRecord): void {
    if (this.#isClosed) return;
    if (record.type === 'Published' && !this.isHealthy) {
      if (record.message.qos > 0) this.#hasRefused = true;
      return;
    }
    const journal = this.#journal;
    const writer = this.#writer;
    const start = journal.begin(payloadMaxOf(record));
    writer.bytes = journal.buffer;
    writer.at = start;
    const place = this.#place;
    place.segment = journal.currentSegment;
    const sequence = journal.nextSequence;
    this.isClockDue = record.type !== 'ClockRead';
    // By far the most are messages: their way has nothing in it that others need.
    if (record.type === 'Published') {
      encodePublished(writer, record, record.retained ? this.#clock.nowMs() : 0);
      place.bytes = writer.at - start + FRAME_HEADER_BYTES;
      place.offset = journal.end(RECORD_TYPE.Published, writer.at);
      this.#state.published(record, place, sequence);
      return;
    }
    const qos = record.type === 'Sent' ? this.#state.qosOf(record.session, record.position) : 0;
    encodeRecord(writer, record, qos);
    place.bytes = writer.at - start + FRAME_HEADER_BYTES;
    place.offset = journal.end(RECORD_TYPE[record.type], writer.at);
    this.#state.apply(record, place, sequence, qos);
  }

  commit(): Promise<void> {
    if (this.#isClosed) return Promise.reject(this.#closedError());
    if (this.#hasRefused) {
      this.#hasRefused = false;
      const error = this.#journal.failure ?? this.#housekeeping.failure();
      this.#journal.commit().catch(() => {}); // what else was appended goes on its way
      return Promise.reject(error);
    }
    this.#housekeeping.tend();
    return this.#journal.commit();
  }

  async read(session: SessionNumber, after: Position, limit: number): Promise<StoredMessage[]> {
    const state = this.#state.sessions.get(session);
    if (state === undefined) return [];
    const { messages, damaged, unread } = await readMessages(
      this.#journal,
      state,
      after,
      limit,
      this.#isUnreadForGood(state),
    );
    if (unread === null) this.#unread.delete(state);
    else this.#noteUnread(state, unread);
    if (damaged.length > 0) this.#tellDamaged(damaged);
    for (const { position } of damaged) this.append({ type: 'Dropped', session, position });
    // An empty answer would say that nothing is left behind it.
    const last = damaged.at(-1);
    if (messages.length === 0 && unread !== null) throw unread.cause;
    return messages.length === 0 && last !== undefined ? this.read(session, last.position, limit) : messages;
  }

  /** On a disk that takes all else: one that takes nothing either may be away as a whole. */
  #isUnreadForGood(state: SessionState): boolean {
    return this.isHealthy && this.#unread.get(state)?.isLost(this.#clock.monotonicMs()) === true;
  }

  #noteUnread(state: SessionState, { entry, cause }: NonNullable<Slice['unread']>): void {
    const unread = this.#unread.get(state) ?? new Unread();
    this.#unread.set(state, unread);
    if (!unread.failed(this.#clock.monotonicMs())) return;
    this.#log.warn('queued messages cannot be read from the disk; it is tried again', {
      file: this.#journal.segments.pathOf(entry.segment),
      client: state.clientId,
      error: messageOf(cause),
    });
  }

  /** One line for each segment, when damage is first met in it: more may be met as more of it is read. */
  #tellDamaged(damaged: readonly QueueEntry[]): void {
    this.#damaged.value += damaged.length;
    const { segments } = this.#journal;
    for (const number of new Set(damaged.map(({ segment }) => segment))) {
      if (!segments.putAside(number)) continue;
      this.#log.error(
        'queued messages are damaged on the disk and are lost; metric store_damaged_total counts all',
        {
          file: segments.pathOf(number),
          messages: damaged.filter(({ segment }) => segment === number).length,
        },
      );
    }
  }

  oldest(session: SessionNumber, after: Position): QueuedMessage | null {
    return this.#state.sessions.get(session)?.queue.next(after) ?? null;
  }

  /** Everything committed so far as one file, while work goes on; resolves with its size. */
  backup(target: string): Promise<number> {
    return writeBackup(target, this.#files, (sink) => this.archive(sink));
  }

  /** The same to wherever it is wanted. */
  async archive(sink: Sink): Promise<number> {
    const journal = this.#journal;
    const { path } = this.#options;
    journal.segments.pin();
    try {
      const snapshot = await this.#housekeeping.snapshot();
      await journal.sync();
      const segments = journal.segments
        .list()
        .filter(({ number, live }) => live > 0 || number >= snapshot.start.segment)
        .sort((a, b) => a.number - b.number)
        .map(({ number, bytes }) => ({
          name: segmentName(number),
          bytes,
          read: (into: Buffer, position: number) => journal.segments.read(number, into, position),
        }));
      const others = await readAll(path, this.#files, ['format', snapshotName(snapshot.number)]);
      return await writeArchive(sink, [...others, ...segments], this.#clock.nowMs());
    } finally {
      journal.segments.unpin();
    }
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    try {
      await this.#journal.commit();
      await this.#housekeeping.close();
      this.#isClosed = true;
      await this.#journal.close();
    } catch (thrown) {
      this.#isClosed = true;
      await this.#journal.close().catch(() => {});
      throw thrown;
    } finally {
      this.#lock?.release();
      this.#lock = null;
    }
  }

  async #recover(): Promise<StoredState> {
    const { path, maxBytes } = this.#options;
    const free = await this.#files.freeBytes(path);
    const startedMs = this.#clock.monotonicMs();
    await this.#journal.find();
    const start = await this.#housekeeping.readSnapshot(this.#journal.salt);
    const recovered = await this.#journal.open(
      start.segment,
      Math.max(start.sequence, this.#housekeeping.sequenceMin),
      (type, bytes, from, to, segment, offset, sequence) => {
        if (sequence >= start.sequence)
          this.#replay(type, bytes, from, to, { segment, offset, bytes: to - from }, sequence);
      },
    );
    const capacity = Math.min(maxBytes, free + this.#journal.segments.totalBytes);
    this.#segmentBytes = Math.max(SEGMENT_BYTES_MIN, Math.min(SEGMENT_BYTES_MAX, Math.floor(capacity / 64)));
    this.#housekeeping.begin(capacity, maxBytes, recovered.segmentCount);
    this.#endDoubles();
    const known = this.#state.retained.size;
    const retained = await readRetained(this.#journal, this.#state);
    if (retained.length < known) this.#tellRetainedDamaged(known - retained.length);
    this.#dropMissing();
    this.#log.info('the store is open', {
      file: path,
      sessions: this.#state.sessions.size,
      retained: retained.length,
      records: recovered.recordCount,
      bytes: this.#housekeeping.usedBytes,
      tookMs: Math.round(this.#clock.monotonicMs() - startedMs),
    });
    const { nextPosition, nextSession, clock } = this.#state;
    return {
      sessions: [...this.#state.sessions.values()].map(storedSession),
      retained,
      nextPosition,
      nextSession,
      clock,
    };
  }

  #replay(
    type: number,
    bytes: Buffer,
    start: number,
    end: number,
    place: { segment: number; offset: number; bytes: number },
    sequence: number,
  ): void {
    if (type === RECORD_TYPE.Published || type === RECORD_TYPE.Moved) {
      const record = decodePublished(bytes, start, end);
      if (record === null) this.#unreadable(type, place);
      else if (type === RECORD_TYPE.Moved) this.#state.moved(record, place);
      else this.#state.apply(record, place, sequence, 0);
      return;
    }
    const decoded = decodeRecord(type, bytes, start, end);
    if (decoded === null) this.#unreadable(type, place);
    else this.#state.apply(decoded.record, place, sequence, decoded.qos);
  }

  #unreadable(type: number, { segment, offset }: { segment: number; offset: number }): void {
    this.#log.error('a record of the store cannot be understood and is left out', {
      file: this.#journal.segments.pathOf(segment),
      at: offset,
      type,
    });
  }

  #tellRetainedDamaged(messages: number): void {
    this.#damaged.value += messages;
    const text = 'retained messages are damaged on the disk and are lost';
    this.#log.error(text, { file: this.#options.path, messages });
  }

  /** Damage may have hidden the end of a session whose client came back with a new one. */
  #endDoubles(): void {
    const newest = new Map<string, number>();
    for (const { clientId, session } of this.#state.sessions.values()) {
      newest.set(clientId, Math.max(session, newest.get(clientId) ?? 0));
    }
    for (const session of [...this.#state.sessions.values()]) {
      if (newest.get(session.clientId) !== session.session)
        this.append({ type: 'SessionEnded', session: session.session });
    }
  }

  /** Damage may have taken a whole segment. */
  #dropMissing(): void {
    const missing = this.#journal.segments.missing();
    if (missing.size === 0) return;
    let count = 0;
    for (const session of this.#state.sessions.values()) {
      const positions: number[] = [];
      session.queue.visit(0, (position, segment) => {
        if (missing.has(segment)) positions.push(position);
        return true;
      });
      for (const position of positions) this.append({ type: 'Dropped', session: session.session, position });
      count += positions.length;
    }
    if (count === 0) return;
    this.#damaged.value += count;
    this.#log.error('segments of the store are missing, and the queued messages in them are lost', {
      file: this.#options.path,
      segments: missing.size,
      messages: count,
    });
  }

  #closedError(): StoreError {
    return new StoreError('STORE_CLOSED', { file: this.#options.path }, 'is closed');
  }
}
