/**
 * The store that promises nothing: the same contract in memory, so that sessions have one way of working. Queues of
 * kept sessions live here: a message lies once in a slab, as long as some queue names it, and a queue is a few numbers
 * a message. Nothing of it is an object, so a long queue does not keep the garbage collector busy.
 */
import { type Page, Slab } from '../slab.js';
import { Queue, type QueueEntry } from './queue.js';
import {
  IDENTIFIER_BYTES,
  type Position,
  type PublishedMessage,
  type QueuedMessage,
  type Receiver,
  type SessionNumber,
  type Store,
  type StoredMessage,
  type StoredState,
  type StoreRecord,
} from './store.js';

interface Waiting {
  /** The place of a message is its block, and how to deliver it. */
  readonly queue: Queue;
  /** Subscription identifiers by position, for those that have any. */
  identifiers: Map<Position, readonly number[]> | null;
  /** And the shared subscriptions of those that came by one. */
  shares: Map<Position, string> | null;
}

/** A block: expiry, lengths of topic and payload, how many queues name it; then the bytes, properties last. */
const HEADER_BYTES = 24;
const TOPIC = 2;
const PAYLOAD = 3;
const NAMED = 4;
/** One answer holds at most so much: what is read and waits is work for the garbage collector. */
const READ_MAX = 128;
const READ_BYTES_MAX = 256 * 1024;
const NO_IDENTIFIERS: readonly number[] = [];

export class MemoryStore implements Store {
  readonly isLasting = false;
  readonly isDirty = false;
  readonly isHealthy = true;
  readonly #slab = new Slab();
  readonly #sessions = new Map<SessionNumber, Waiting>();

  get contentBytes(): number {
    return this.#slab.bytes;
  }

  open(): Promise<StoredState> {
    return Promise.resolve({ sessions: [], retained: [], nextPosition: 1, nextSession: 1, clock: null });
  }

  append(record: StoreRecord): void {
    switch (record.type) {
      case 'SessionOpened':
        this.#sessions.set(record.session, { queue: new Queue(), identifiers: null, shares: null });
        return;
      case 'SessionEnded':
        this.#end(record.session);
        return;
      case 'Published':
        if (record.receivers.length > 0) this.#publish(record.position, record.message, record.receivers);
        return;
      case 'Received':
      case 'Completed':
      case 'Dropped':
        this.#drop(this.#sessions.get(record.session), record.position);
        return;
      case 'SessionChanged':
      case 'Subscribed':
      case 'Unsubscribed':
      case 'RetainedCleared':
      case 'Released':
      case 'Sent':
      case 'WillPending':
      case 'WillCleared':
      case 'ClockRead':
        // The broker itself holds these; nothing of them is asked for again before a restart, which forgets all.
        return;
    }
  }

  commit(): Promise<void> {
    return Promise.resolve();
  }

  read(session: SessionNumber, after: Position, limit: number): Promise<StoredMessage[]> {
    const waiting = this.#sessions.get(session);
    if (waiting === undefined) return Promise.resolve([]);
    const entries: QueueEntry[] = [];
    let length = 0;
    waiting.queue.visit(after, (position, segment, offset, size, qos) => {
      entries.push({ position, segment, offset, size, qos });
      length += size;
      return entries.length < Math.min(limit, READ_MAX) && length < READ_BYTES_MAX;
    });
    const found: StoredMessage[] = [];
    for (let from = 0; from < entries.length;) from = this.#copyRun(entries, from, waiting, found);
    return Promise.resolve(found);
  }

  /**
   * Copies messages, because a block may be let go while its message waits for its turn. What was queued one after the
   * other lies so in its page, and is copied as one. Answers the index behind the last.
   */
  #copyRun(
    entries: readonly QueueEntry[],
    from: number,
    { identifiers, shares }: Waiting,
    into: StoredMessage[],
  ): number {
    const first = entries[from] as QueueEntry; // the caller checked
    const page = this.#slab.pageOf(first.segment);
    const start = this.#slab.startOf(first.segment);
    let to = from + 1;
    for (let next = entries[to]; next !== undefined; next = entries[++to]) {
      const isNext = this.#slab.startOf(next.segment) === start + (to - from) * page.blockBytes;
      if (!isNext || this.#slab.pageOf(next.segment) !== page) break;
    }
    const last = entries[to - 1] as QueueEntry; // to is behind from
    const end = this.#slab.startOf(last.segment) + HEADER_BYTES + last.size;
    const bytes = new Uint8Array(end - start);
    bytes.set(new Uint8Array(page.bytes.buffer, start, end - start));
    for (let index = from; index < to; index++) {
      const entry = entries[index] as QueueEntry; // in range
      const message = this.#messageOf(entry, page, bytes, start);
      message.identifiers = identifiers?.get(entry.position) ?? NO_IDENTIFIERS;
      message.share = shares?.get(entry.position) ?? '';
      into.push(message);
    }
    return to;
  }

  oldest(session: SessionNumber, after: Position): QueuedMessage | null {
    const waiting = this.#sessions.get(session);
    const next = waiting?.queue.next(after) ?? null;
    const identifiers = next === null ? undefined : waiting?.identifiers?.get(next.position);
    if (next === null || identifiers === undefined) return next;
    return { position: next.position, size: next.size + IDENTIFIER_BYTES * identifiers.length };
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #publish(position: Position, message: PublishedMessage, receivers: readonly Receiver[]): void {
    const {
      topic,
      payload,
      payloadStart = 0,
      payloadEnd = payload.length,
      properties,
      expiresAtMs,
    } = message;
    const payloadLength = payloadEnd - payloadStart;
    const size = topic.length + payloadLength + properties.length;
    const block = this.#slab.take(HEADER_BYTES + size);
    const { bytes, words, doubles } = this.#slab.pageOf(block);
    const start = this.#slab.startOf(block);
    const word = start >>> 2;
    doubles[start >>> 3] = expiresAtMs;
    words[word + TOPIC] = topic.length;
    words[word + PAYLOAD] = payloadLength;
    bytes.set(topic, start + HEADER_BYTES);
    bytes.set(partOf(payload, payloadStart, payloadEnd), start + HEADER_BYTES + topic.length);
    if (properties.length > 0) bytes.set(properties, start + HEADER_BYTES + topic.length + payloadLength);
    let named = 0;
    for (const { session, qos, retain, identifiers, share } of receivers) {
      const waiting = this.#sessions.get(session);
      if (waiting?.queue.append(position, block, retain ? 1 : 0, size, qos) !== true) continue;
      if (identifiers.length > 0) (waiting.identifiers ??= new Map()).set(position, identifiers);
      if (share !== undefined) (waiting.shares ??= new Map()).set(position, share);
      named++;
    }
    words[word + NAMED] = named;
    if (named === 0) this.#slab.giveBack(block);
  }

  /** The message of an entry, whose page from `copiedFrom` on was copied to `bytes`. */
  #messageOf(
    { position, segment, offset, size, qos }: QueueEntry,
    { words, doubles }: Page,
    bytes: Uint8Array,
    copiedFrom: number,
  ): StoredMessage {
    const start = this.#slab.startOf(segment);
    const word = start >>> 2;
    const topicStart = start + HEADER_BYTES - copiedFrom;
    // The words of a block are always there.
    const payloadStart = topicStart + (words[word + TOPIC] as number);
    const payloadEnd = payloadStart + (words[word + PAYLOAD] as number);
    return {
      position,
      topic: bytes,
      topicStart,
      topicEnd: payloadStart,
      payload: bytes,
      payloadStart,
      payloadEnd,
      properties: bytes,
      propertiesStart: payloadEnd,
      propertiesEnd: topicStart + size,
      expiresAtMs: doubles[start >>> 3] as number,
      qos,
      retain: offset === 1,
      identifiers: NO_IDENTIFIERS,
      share: '',
    };
  }

  /** Of what was received and then completed the second finds nothing. */
  #drop(waiting: Waiting | undefined, position: Position): void {
    const entry = waiting?.queue.remove(position);
    if (entry === undefined || entry === null) return;
    waiting?.identifiers?.delete(position);
    waiting?.shares?.delete(position);
    this.#release(entry.segment);
  }

  #end(session: SessionNumber): void {
    this.#sessions.get(session)?.queue.visit(0, (_, segment) => {
      this.#release(segment);
      return true;
    });
    this.#sessions.delete(session);
  }

  /** One queue less names a block. */
  #release(block: number): void {
    const { words } = this.#slab.pageOf(block);
    const at = (this.#slab.startOf(block) >>> 2) + NAMED;
    const named = (words[at] as number) - 1;
    words[at] = named;
    if (named === 0) this.#slab.giveBack(block);
  }
}

/** A plain view costs less than what subarray() of a Buffer does. */
function partOf(bytes: Uint8Array, start: number, end: number): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset + start, end - start);
}
