/**
 * Reads messages back from where the state says they lie, as few reads as there are stretches. What the disk does not give
 * now it may give later: that is told apart from what it gives and is damaged.
 */
import { isOfPlace } from './files.js';
import { endOfFrame, FRAME_HEADER_BYTES, typeOf } from './frame.js';
import type { Journal } from './journal.js';
import { decodePublished, decodeStored, RECORD_TYPE } from './records.js';
import type { QueueEntry } from './queue.js';
import type { SessionState, State } from './state.js';
import type { StoredMessage, StoredState } from './store.js';

/** One answer holds at most so many bytes of messages (but always one message). */
const ANSWER_BYTES_MAX = 1 << 20;
/** What lies between two messages is read over up to this. */
const GAP_BYTES_MAX = 16 * 1024;
const STRETCH_BYTES_MAX = 1 << 20;
/** Room for what a record holds beside its message; larger ones are read again. */
const MARGIN_BYTES = 512;

interface Wanted {
  segment: number;
  offset: number;
  /** At least so long. */
  size: number;
}

/** The disk did not give it. */
class Unreadable {
  readonly cause: unknown;

  constructor(cause: unknown) {
    this.cause = cause;
  }
}

/** Some of a queue, in its order. */
export interface Slice {
  messages: StoredMessage[];
  damaged: QueueEntry[];
  /** Not read, and nothing of what is behind it either; null: nothing is in the way. */
  unread: { entry: QueueEntry; cause: unknown } | null;
}

/** With `isLost` what cannot be read counts as damaged. */
export async function readMessages(
  journal: Journal,
  state: SessionState,
  after: number,
  limit: number,
  isLost: boolean,
): Promise<Slice> {
  const entries: QueueEntry[] = [];
  let bytes = 0;
  state.queue.visit(after, (position, segment, offset, size, qos) => {
    if (entries.length >= limit || (entries.length > 0 && bytes + size > ANSWER_BYTES_MAX)) return false;
    entries.push({ position, segment, offset, size, qos });
    bytes += size;
    return true;
  });
  const found = await readRecords(journal, entries, (...place) => decodeStored(...place, state.session));
  const messages: StoredMessage[] = [];
  const damaged: QueueEntry[] = [];
  for (const [index, entry] of entries.entries()) {
    const message = found[index] ?? null;
    const isUnread = message instanceof Unreadable;
    if (!isUnread && message?.position === entry.position) messages.push(message);
    else if (hasMoved(state, entry)) return readMessages(journal, state, after, limit, isLost);
    else if (state.queue.get(entry.position) === null) continue;
    else if (isUnread && !isLost) return { messages, damaged, unread: { entry, cause: message.cause } };
    else damaged.push(entry);
  }
  return { messages, damaged, unread: null };
}

/** Whether it was copied elsewhere while it was read. */
function hasMoved(state: SessionState, { position, segment, offset }: QueueEntry): boolean {
  const now = state.queue.get(position);
  return now !== null && (now.segment !== segment || now.offset !== offset);
}

/** All retained messages; those that are damaged are given up. */
export async function readRetained(journal: Journal, state: State): Promise<StoredState['retained']> {
  const wanted = [...state.retained.entries()].map(([key, entry]) => ({ key, ...entry, size: key.length }));
  wanted.sort((a, b) => a.segment - b.segment || a.offset - b.offset);
  const retained: StoredState['retained'] = [];
  const SLICE = 2_000;
  for (let at = 0; at < wanted.length; at += SLICE) {
    const slice = wanted.slice(at, at + SLICE);
    const found = await readRecords(journal, slice, decodePublished);
    slice.forEach(({ key, position }, index) => {
      const publication = found[index] ?? null;
      if (publication instanceof Unreadable || publication?.position !== position)
        return state.clearRetained(key);
      retained.push({ message: publication.message, position, storedAtMs: publication.storedAtMs });
    });
  }
  return retained;
}

/** Makes something of the payload of a Published in bytes[start..end). */
type Decode<Found> = (bytes: Buffer, start: number, end: number) => Found | null;

/** What is at the given places, null for each that is not there any more or is damaged. */
async function readRecords<Found>(
  journal: Journal,
  wanted: Wanted[],
  decode: Decode<Found>,
): Promise<(Found | Unreadable | null)[]> {
  const stretches: { from: number; to: number }[] = [];
  for (let from = 0; from < wanted.length;) {
    let to = from + 1;
    while (to < wanted.length && isNear(wanted, from, to)) to++;
    stretches.push({ from, to });
    from = to;
  }
  for (const { segment } of wanted) journal.segments.lend(segment);
  try {
    const read = stretches.map(({ from, to }) => readStretch(journal, wanted.slice(from, to), decode));
    return (await Promise.all(read)).flat();
  } finally {
    for (const { segment } of wanted) journal.segments.giveBack(segment);
  }
}

function isNear(wanted: Wanted[], from: number, to: number): boolean {
  const [first, previous, next] = [wanted[from], wanted[to - 1], wanted[to]];
  if (first === undefined || previous === undefined || next === undefined) return false;
  if (next.segment !== first.segment || next.offset <= previous.offset) return false;
  const gap = next.offset - (previous.offset + previous.size);
  return gap <= GAP_BYTES_MAX && next.offset + next.size - first.offset <= STRETCH_BYTES_MAX;
}

async function readStretch<Found>(
  journal: Journal,
  wanted: Wanted[],
  decode: Decode<Found>,
): Promise<(Found | Unreadable | null)[]> {
  const [first, last] = [wanted[0], wanted.at(-1)];
  if (first === undefined || last === undefined) return [];
  const length = last.offset + last.size + MARGIN_BYTES - first.offset;
  let bytes: Buffer;
  try {
    bytes = await journal.read(first.segment, first.offset, length);
  } catch {
    // It may be one place of it that is bad.
    return Promise.all(wanted.map((one) => readAlone(journal, one, decode)));
  }
  const found: (Found | Unreadable | null)[] = [];
  for (const one of wanted) {
    const at = one.offset - first.offset;
    const isLonger = isCutOff(bytes, at);
    found.push(isLonger ? await readAlone(journal, one, decode) : decodeAt(bytes, at, journal.salt, decode));
  }
  return found;
}

/** Whether the record is longer than was guessed. */
function isCutOff(bytes: Buffer, at: number): boolean {
  return at + FRAME_HEADER_BYTES <= bytes.length && at + lengthAt(bytes, at) > bytes.length;
}

function lengthAt(bytes: Buffer, at: number): number {
  return FRAME_HEADER_BYTES + bytes.readUInt32LE(at);
}

/** One record, and nothing beside it. */
async function readAlone<Found>(
  journal: Journal,
  { segment, offset }: Wanted,
  decode: Decode<Found>,
): Promise<Found | Unreadable | null> {
  try {
    const header = await journal.read(segment, offset, FRAME_HEADER_BYTES);
    const length = header.length < FRAME_HEADER_BYTES ? Infinity : lengthAt(header, 0);
    if (length > journal.segments.get(segment).bytes + journal.backlogBytes) return null;
    return decodeAt(await journal.read(segment, offset, length), 0, journal.salt, decode);
  } catch (thrown) {
    if (!isOfPlace(thrown)) throw thrown;
    return new Unreadable(thrown);
  }
}

function decodeAt<Found>(bytes: Buffer, at: number, salt: number, decode: Decode<Found>): Found | null {
  const end = at < 0 ? -1 : endOfFrame(bytes, at, bytes.length, salt);
  if (end === -1) return null;
  const type = typeOf(bytes, at);
  if (type !== RECORD_TYPE.Published && type !== RECORD_TYPE.Moved) return null;
  return decode(bytes, at + FRAME_HEADER_BYTES, end);
}
