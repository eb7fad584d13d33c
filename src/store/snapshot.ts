/**
 * The state in one file, so that older segments need not be replayed and can go. It is written in slices while work
 * goes on: each session carries the number of the first record that is not in it, everything else may be applied twice.
 * The two newest are kept; one that is damaged gives way to the one before it, whose records are all still there.
 */
import { join } from 'node:path';
import { StoreError } from '../errors.js';
import type { Log } from '../log.js';
import { isOfPlace, readAround, type Files, type OpenFile } from './files.js';
import { endOfFrame, findFrame, FRAME_HEADER_BYTES, sealFrame, typeOf } from './frame.js';
import { decodeMessage, encodeMessage, messageMaxOf, Reader, Writer } from './records.js';
import { unreadable } from './refusal.js';
import { FORMAT_VERSION } from './segment.js';
import { newSession, type SessionState, type State } from './state.js';

/** Where replay has to begin. */
export interface SnapshotStart {
  segment: number;
  sequence: number;
}

export interface SnapshotFile {
  number: number;
  start: SnapshotStart;
  bytes: number;
}

/** A will's word: retained or not, and its delay above that. */
const WILL_DELAY_UNIT = 4;
const FRAME = { header: 1, session: 2, queue: 3, retained: 4, end: 5 } as const;
const SLICE_BYTES = 32 * 1024;
const QUEUE_ENTRIES = 1500;
const RETAINED_ENTRIES = 300;
const TEMPORARY = 'snapshot.new';

/** Writes a state to a new file of the given number. `nextSequence` is that of the next record; `settle` must make all records applied so far durable. */
export async function writeSnapshot(
  folder: string,
  files: Files,
  number: number,
  state: State,
  start: SnapshotStart,
  salt: number,
  nextSequence: () => number,
  settle: () => Promise<void>,
): Promise<SnapshotFile> {
  const temporary = join(folder, TEMPORARY);
  await files.remove(temporary).catch(() => {});
  const file = await files.open(temporary, 'create');
  const out = new Slices(file, salt);
  try {
    out.begin(64);
    const { nextPosition, nextSession, clock } = state;
    for (const value of [
      FORMAT_VERSION,
      start.segment,
      start.sequence,
      nextPosition,
      nextSession,
      // Versions that do not know these read no further.
      ...(clock === null ? [] : [clock.nowMs, clock.wallMs]),
    ]) {
      out.writer.number(value);
    }
    out.end(FRAME.header);
    await writeSessions(out, state, nextSequence);
    await writeRetained(out, state);
    out.begin(16);
    out.writer.number(out.frameCount);
    out.end(FRAME.end);
    await out.flush();
    await settle();
    await file.sync();
    await file.close();
  } catch (thrown) {
    await file.close();
    await files.remove(temporary).catch(() => {});
    throw thrown;
  }
  await files.rename(temporary, join(folder, nameOf(number)));
  await files.syncFolder(folder);
  return { number, start, bytes: out.position };
}

async function writeSessions(out: Slices, state: State, nextSequence: () => number): Promise<void> {
  let left = state.sessions.size; // those opened meanwhile come after it, and their records will be replayed
  for (const session of state.sessions.values()) {
    if (left-- === 0) break;
    writeSession(out, session, nextSequence());
    await writeQueue(out, session);
    if (out.isFull) await out.flush();
  }
}

function writeSession(out: Slices, session: SessionState, asOf: number): void {
  const { writer } = out;
  let max = 256 + 3 * (session.clientId.length + session.owner.length) + 32 * session.inFlight.size;
  max += 8 * session.incoming.size + (session.will === null ? 0 : messageMaxOf(session.will.message));
  for (const filter of session.subscriptions.keys()) max += 32 + 3 * filter.length;
  out.begin(max);
  for (const value of [
    session.session,
    asOf,
    session.expiryS,
    session.protocolVersion,
    session.disconnectedAtMs,
  ]) {
    writer.number(value);
  }
  writer.text(session.clientId);
  writer.text(session.owner);
  writer.number(session.subscriptions.size);
  for (const [filter, { options, identifier }] of session.subscriptions) {
    writer.text(filter);
    writer.number(options);
    writer.number(identifier);
  }
  writer.number(session.incoming.size);
  for (const packetIdentifier of session.incoming) writer.number(packetIdentifier);
  writer.number(session.inFlight.size);
  for (const [packetIdentifier, { position, qos, isReceived }] of session.inFlight) {
    writer.number(packetIdentifier);
    writer.number(position);
    writer.number(qos * 2 + (isReceived ? 1 : 0));
  }
  writer.number(
    session.will === null ? 0 : (session.will.retain ? 2 : 1) + session.will.delayS * WILL_DELAY_UNIT,
  );
  if (session.will !== null) {
    writer.number(session.will.dueAtMs);
    encodeMessage(writer, session.will.message);
  }
  out.end(FRAME.session);
}

/** Entries up to the last one of now: what comes later is replayed, and must come after these. */
async function writeQueue(out: Slices, session: SessionState): Promise<void> {
  const last = session.queue.lastPosition;
  let previous = 0;
  for (let isMore = session.queue.count > 0; isMore;) {
    out.begin(64 + QUEUE_ENTRIES * 32);
    out.writer.number(session.session);
    let count = 0;
    isMore = false;
    session.queue.visit(previous, (position, segment, offset, size, qos) => {
      if (position > last) return false;
      if (count === QUEUE_ENTRIES) {
        isMore = true;
        return false;
      }
      out.writer.number(position - previous);
      out.writer.number(segment);
      out.writer.number(offset);
      out.writer.number(size * 4 + qos);
      previous = position;
      count++;
      return true;
    });
    out.end(FRAME.queue);
    if (out.isFull) await out.flush();
  }
}

async function writeRetained(out: Slices, state: State): Promise<void> {
  let left = state.retained.size; // as with sessions
  let count = 0;
  for (const [key, { position, segment, offset }] of state.retained.entries()) {
    if (left-- === 0) break;
    out.begin(64 + key.length);
    out.writer.blob(Buffer.from(key, 'latin1'));
    out.writer.number(position);
    out.writer.number(segment);
    out.writer.number(offset);
    out.end(FRAME.retained);
    if (++count % RETAINED_ENTRIES === 0) await out.flush();
  }
}

/** Frames on their way into a file; flush() lets the loop run. */
class Slices {
  readonly writer = new Writer();
  readonly #file: OpenFile;
  readonly #salt: number;
  #start = 0;
  #length = 0;
  position = 0;
  frameCount = 0;

  constructor(file: OpenFile, salt: number) {
    this.#file = file;
    this.#salt = salt;
    this.writer.bytes = Buffer.allocUnsafeSlow(SLICE_BYTES * 4);
  }

  get isFull(): boolean {
    return this.#length >= SLICE_BYTES;
  }

  begin(payloadMax: number): void {
    const needed = this.#length + FRAME_HEADER_BYTES + payloadMax;
    if (needed > this.writer.bytes.length) {
      const larger = Buffer.allocUnsafeSlow(needed * 2);
      this.writer.bytes.copy(larger, 0, 0, this.#length);
      this.writer.bytes = larger;
    }
    this.#start = this.#length;
    this.writer.at = this.#length + FRAME_HEADER_BYTES;
  }

  end(type: number): void {
    sealFrame(this.writer.bytes, this.#start, this.writer.at, type, this.#salt);
    this.#length = this.writer.at;
    this.frameCount++;
  }

  async flush(): Promise<void> {
    if (this.#length === 0) return;
    await this.#file.write(this.writer.bytes.subarray(0, this.#length), this.position);
    this.position += this.#length;
    this.#length = 0;
  }
}

export async function findSnapshots(folder: string, files: Files): Promise<number[]> {
  const numbers: number[] = [];
  for (const name of await files.list(folder)) {
    const match = /^snapshot-(\d{10})$/.exec(name);
    if (match) numbers.push(Number(match[1]));
  }
  return numbers.sort((a, b) => b - a);
}

export async function removeSnapshot(folder: string, files: Files, number: number): Promise<void> {
  await files.remove(join(folder, nameOf(number)));
}

export function nameOf(number: number): string {
  return `snapshot-${String(number).padStart(10, '0')}`;
}

/**
 * Reads a snapshot into an empty state; null when it is not sound from end to end. With `isLastChance` what is sound of
 * it is taken all the same, so that damage costs what it hit and no more.
 */
export async function readSnapshot(
  folder: string,
  files: Files,
  log: Log,
  number: number,
  state: State,
  salt: number,
  isLastChance: boolean,
): Promise<SnapshotFile | null> {
  const path = join(folder, nameOf(number));
  const bytes = await readWhole(path, files).catch((thrown: unknown) => {
    // The one before it may be readable.
    if (isLastChance || !isOfPlace(thrown)) throw unreadable(path, thrown);
    return Buffer.alloc(0);
  });
  if (!isLastChance && !isWhole(bytes, salt)) {
    log.error('a snapshot of the store is damaged; the one before it is used, and nothing is lost', {
      file: path,
    });
    return null;
  }
  let start: SnapshotStart | null = null;
  let lostBytes = 0;
  let session: SessionState | null = null;
  for (let at = 0; at < bytes.length;) {
    const end = endOfFrame(bytes, at, bytes.length, salt);
    if (end === -1) {
      const next = findFrame(bytes, at + 1, bytes.length, salt, 0);
      lostBytes += next - at;
      at = next;
      continue;
    }
    const reader = new Reader(bytes, at + FRAME_HEADER_BYTES, end);
    const type = typeOf(bytes, at);
    if (type === FRAME.header) start = readHeader(reader, path, state);
    else if (type === FRAME.session) session = readSession(reader, state);
    else if (type === FRAME.queue) readQueue(reader, state, session);
    else if (type === FRAME.retained) readRetained(reader, state);
    at = end;
  }
  if (lostBytes > 0) {
    log.error(
      'the only snapshot of the store is damaged; sessions and retained messages named in it are lost in part',
      {
        file: path,
        bytes: lostBytes,
      },
    );
  }
  return { number, start: start ?? { segment: 0, sequence: 0 }, bytes: bytes.length };
}

async function readWhole(path: string, files: Files): Promise<Buffer> {
  const file = await files.open(path, 'read');
  try {
    const bytes = Buffer.allocUnsafeSlow(await file.size());
    return bytes.subarray(0, (await readAround(file, bytes)).got);
  } finally {
    await file.close();
  }
}

function isWhole(bytes: Buffer, salt: number): boolean {
  let count = 0;
  for (let at = 0; at < bytes.length; count++) {
    const end = endOfFrame(bytes, at, bytes.length, salt);
    if (end === -1) return false;
    if (typeOf(bytes, at) === FRAME.end) {
      return end === bytes.length && new Reader(bytes, at + FRAME_HEADER_BYTES, end).number() === count;
    }
    at = end;
  }
  return false;
}

function readHeader(reader: Reader, path: string, state: State): SnapshotStart {
  const version = reader.number();
  if (version > FORMAT_VERSION) {
    throw new StoreError(
      'STORE_FORMAT',
      { file: path },
      `is of format ${version}, written by a newer holdfast; use that one`,
    );
  }
  const start = { segment: reader.number(), sequence: reader.number() };
  state.nextPosition = reader.number();
  state.nextSession = reader.number();
  if (reader.at < reader.end) state.clock = { nowMs: reader.number(), wallMs: reader.number() };
  return start;
}

function readSession(reader: Reader, state: State): SessionState {
  const number = reader.number();
  const asOf = reader.number();
  const expiryS = reader.number();
  const protocolVersion = reader.number() === 5 ? 5 : 4;
  const disconnectedAtMs = reader.number();
  const clientId = reader.text();
  const session = newSession(
    { session: number, clientId, owner: reader.text(), expiryS, protocolVersion },
    asOf,
  );
  session.disconnectedAtMs = disconnectedAtMs;
  for (let left = reader.number(); left > 0 && reader.isSound; left--) {
    const filter = reader.text();
    session.subscriptions.set(filter, { options: reader.number(), identifier: reader.number() });
  }
  for (let left = reader.number(); left > 0 && reader.isSound; left--) session.incoming.add(reader.number());
  for (let left = reader.number(); left > 0 && reader.isSound; left--) {
    const packetIdentifier = reader.number();
    const position = reader.number();
    const word = reader.number();
    const qos = word >> 1 === 2 ? 2 : word >> 1 === 1 ? 1 : 0;
    session.inFlight.set(packetIdentifier, { position, qos, isReceived: (word & 1) === 1 });
  }
  const will = reader.number();
  if (will > 0) {
    const dueAtMs = reader.number();
    session.will = {
      dueAtMs,
      retain: will % WILL_DELAY_UNIT === 2,
      delayS: Math.floor(will / WILL_DELAY_UNIT),
      message: decodeMessage(reader).message,
    };
  }
  if (reader.isSound) state.sessions.set(number, session);
  return session;
}

function readQueue(reader: Reader, state: State, session: SessionState | null): void {
  const number = reader.number();
  if (session?.session !== number) return; // its session was in a damaged part
  let position = session.queue.lastPosition;
  while (reader.at < reader.end) {
    position += reader.number();
    const segment = reader.number();
    const offset = reader.number();
    const weight = reader.number();
    if (reader.isSound) {
      state.restoreQueued(session, {
        position,
        segment,
        offset,
        size: Math.floor(weight / 4),
        qos: weight & 3,
      });
    }
  }
}

function readRetained(reader: Reader, state: State): void {
  const key = reader.blob().toString('latin1');
  const position = reader.number();
  const segment = reader.number();
  const offset = reader.number();
  if (reader.isSound) state.restoreRetained(key, position, segment, offset);
}
