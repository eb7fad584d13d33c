/**
 * The queue of a kept session: its messages are in the store, and what is about to be sent is read back in slices. It
 * knows how far the session has come in them, how much waits, and what was in flight and has to be sent again. Which
 * message may go when is the session's business.
 */
import type { Clock } from '../clock.js';
import { IDENTIFIER_BYTES, type Store, type StoredMessage } from '../store/store.js';
import type { Publication } from './codec.js';
import { held } from './held.js';
import { AWAITS_PUBCOMP, type InFlightEntry } from './inflight.js';

/** Whose queue it is. */
export interface QueueOwner {
  /** More of its queue can be sent: it has output at the end of the turn. */
  touch(): void;
  /** What is in flight under this identifier is not in the store any more, and cannot be sent again. */
  lost(packetIdentifier: number): void;
}

/** What stored queues share. */
export interface StoredQueueHost {
  readonly clock: Clock;
  readonly store: Store;
  readonly maxQueuedMessages: number;
  readonly maxQueuedBytes: number;
  /** Slow readers together hold too much: little is read at once, and nothing ahead. */
  readonly isTight: boolean;
  /** Everything up to here is kept. */
  readonly keptPosition: number;
  /** Touches the owner when more is kept. */
  awaitKept(owner: QueueOwner): void;
}

/** How much of a queue is read at once: so many bytes by the average, within these counts. */
const SLICE_BYTES = 512 * 1024;
const SLICE_TIGHT_BYTES = 16 * 1024;
const SLICE_MIN = 8;
const SLICE_MAX = 1024;
/** When a queue that could not be read is read again. */
const READ_RETRY_MS = 1000;

export class StoredQueue {
  readonly #host: StoredQueueHost;
  readonly #owner: QueueOwner;
  /** The session's number in the store. */
  readonly #session: number;
  /** Everything up to the cursor was handed to the client, everything up to #last is queued. */
  #cursor = 0;
  #last = 0;
  #slice: StoredMessage[] = [];
  #sliceIndex = 0;
  #sliceBytes = 0;
  #isReading = false;
  /** Grows when what was read belongs to an earlier connection. */
  #round = 0;
  /** What was handed out before this connection came. */
  #handedOut = 0;
  /** What is in flight and was not sent again on this connection: position -> identifier. */
  #unsent: Map<number, number> | null = null;
  /** PUBRELs to be sent again, among the messages that are sent again: in the order of first sending. */
  #releases: { readonly position: number; readonly packetIdentifier: number }[] = [];
  /** What waits in the store. */
  #waitingMessages = 0;
  #waitingBytes = 0;

  constructor(host: StoredQueueHost, owner: QueueOwner, session: number) {
    this.#host = host;
    this.#owner = owner;
    this.#session = session;
  }

  /** Messages that wait, not counting those in flight. */
  get waitingMessages(): number {
    return this.#waitingMessages;
  }

  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** How many are in flight and were not sent again on this connection. */
  get unsentCount(): number {
    return this.#unsent === null ? 0 : this.#unsent.size;
  }

  /** Whether something is left of it for the client. */
  get hasMore(): boolean {
    return !this.isCaughtUp || this.#releases.length > 0;
  }

  /** No message has to be sent before one that comes now. */
  get isCaughtUp(): boolean {
    return this.#cursor >= this.#last && this.#unsent === null;
  }

  /** Takes over what the store knew: how far the session had come, what waits, and where the last of it is. */
  restore(cursor: number, messages: number, bytes: number, last: number): void {
    this.#cursor = cursor;
    this.#waitingMessages = messages;
    this.#waitingBytes = bytes;
    this.#last = last;
  }

  // ---------------------------------------------------------------- connections come and go

  /** The client is here: what was in flight is sent again before anything else. */
  begin(inFlight: readonly InFlightEntry[]): void {
    this.#round++;
    this.#handedOut = this.#cursor;
    let lowest = this.#cursor + 1;
    for (const { packetIdentifier, state, position } of inFlight) {
      if (state === AWAITS_PUBCOMP) {
        this.#releases.push({ position, packetIdentifier });
        continue;
      }
      (this.#unsent ??= new Map()).set(position, packetIdentifier);
      lowest = Math.min(lowest, position);
    }
    this.#last = Math.max(this.#last, this.#cursor);
    this.#cursor = lowest - 1;
  }

  /** The client is gone. */
  end(): void {
    this.forgetSlice();
    // The cursor stays at the last message that was ever handed out, so that nothing counts as new twice.
    this.#cursor = Math.max(this.#cursor, this.#handedOut);
    this.#unsent = null;
    this.#releases = [];
  }

  /** Gives up what was read and what is being read: it is asked for again from the cursor on. */
  forgetSlice(): void {
    this.#round++;
    this.#hold([]);
    this.#isReading = false;
  }

  // ---------------------------------------------------------------- what comes in

  /** A message that comes now is handed out at once, without having waited. */
  pass(position: number): void {
    this.#cursor = this.#last = position;
  }

  /** A message waits from now on. Answers how many of the oldest were dropped for it, to stay within the limits. */
  add(publication: Publication, position: number, identifiers: readonly number[]): number {
    this.#last = position;
    this.#waitingMessages++;
    this.#waitingBytes += sizeOf(publication, identifiers);
    return this.#trim();
  }

  /** Drops so many of the oldest that wait; answers how many there were. */
  shorten(count: number): number {
    const least = Math.max(0, this.#waitingMessages - count);
    return this.#dropWhile(() => this.#waitingMessages > least);
  }

  /** Drops the oldest that wait until the limits are met again. */
  #trim(): number {
    const { maxQueuedBytes, maxQueuedMessages } = this.#host;
    return this.#dropWhile(
      () => this.#waitingMessages > maxQueuedMessages || this.#waitingBytes > maxQueuedBytes,
    );
  }

  #dropWhile(isTooLong: () => boolean): number {
    const { store } = this.#host;
    let count = 0;
    let after = this.#cursor;
    while (isTooLong()) {
      const oldest = store.oldest(this.#session, after);
      if (oldest === null) break;
      after = oldest.position;
      if (this.#unsent?.has(after) === true) continue;
      this.#waitingMessages--;
      this.#waitingBytes -= oldest.size;
      this.drop(after);
      count++;
      // What was in flight before a new connection comes before it, and is yet to be sent.
      if (this.#unsent === null) this.#cursor = after;
      else this.forgetSlice();
    }
    return count;
  }

  /** A message is given up. */
  drop(position: number): void {
    this.#host.store.append({ type: 'Dropped', session: this.#session, position });
  }

  // ---------------------------------------------------------------- what goes out

  /** The next message that was read; undefined: there is none, and readOn() fetches more if there is more. */
  peek(): StoredMessage | undefined {
    return this.#slice[this.#sliceIndex];
  }

  /**
   * Hands it out. Answers the identifier that it was sent under before; 0: it is new; -1: it was handed out already, or
   * acknowledged since it was read.
   */
  take(message: StoredMessage): number {
    const { position } = message;
    this.#sliceIndex++;
    if (position <= this.#cursor) return -1;
    this.#cursor = position;
    if (position <= this.#handedOut) {
      const sentAs = this.#unsent?.get(position) ?? -1;
      this.settled(position);
      return sentAs;
    }
    this.#waitingMessages = Math.max(0, this.#waitingMessages - 1);
    this.#waitingBytes = Math.max(0, this.#waitingBytes - sizeOf(message, message.identifiers));
    return 0;
  }

  /** The next PUBREL that belongs before a position and is to be sent again: its identifier; 0: there is none. */
  takeRelease(before: number): number {
    if (this.#releases.length === 0) return 0;
    const next = this.#releases[0];
    if (next === undefined || next.position >= before) return 0;
    this.#releases.shift();
    return next.packetIdentifier;
  }

  /** What was in flight is sent again, or was acknowledged before and need not be. */
  settled(position: number): void {
    if (this.#unsent === null) return;
    this.#unsent.delete(position);
    if (this.#unsent.size === 0) this.#unsent = null;
  }

  /** The next message is not kept yet, and goes when it is; what is behind it waits with it. */
  awaitKept(): void {
    this.forgetSlice();
    this.#host.awaitKept(this.#owner);
  }

  /** Reads the next slice, when there is more. */
  readOn(): void {
    if (this.#isReading) return;
    if (this.#cursor >= this.#last) return this.#close();
    if (this.#cursor >= this.#host.keptPosition) {
      this.#host.awaitKept(this.#owner);
      return;
    }
    this.#read(this.#cursor);
  }

  /**
   * All was read: what is still to be sent again is gone, and must not keep its place in the window. Nor does anything wait,
   * though what turned out damaged was counted still.
   */
  #close(): void {
    this.#waitingMessages = this.#waitingBytes = 0;
    const lost = this.#unsent;
    this.#unsent = null;
    for (const packetIdentifier of lost?.values() ?? []) this.#owner.lost(packetIdentifier);
  }

  /** Fetches what comes behind the slice while the rest of it is sent, so that nobody waits for the store. */
  readAhead(): void {
    const last = this.#slice.at(-1);
    // What the client is slow to take can be read again.
    if (this.#host.isTight) return this.forgetSlice();
    if (this.#isReading || last === undefined || this.#sliceIndex * 2 < this.#slice.length) return;
    if (last.position < Math.min(this.#last, this.#host.keptPosition)) this.#read(last.position);
  }

  #read(after: number): void {
    this.#isReading = true;
    const round = this.#round;
    const until = Math.min(this.#last, this.#host.keptPosition);
    this.#host.store.read(this.#session, after, this.#sliceLength()).then(
      (messages) => {
        if (this.#round !== round) return;
        this.#isReading = false;
        const left = this.#slice.slice(this.#sliceIndex);
        this.#hold(left.length === 0 ? messages : left.concat(messages));
        // Nothing is left of what was kept when it was asked for: the rest was dropped or expired.
        if (this.#slice.length === 0) this.#cursor = Math.max(this.#cursor, until);
        this.#owner.touch();
      },
      () => {
        // The disk refuses; the session stays where it is and asks again later.
        if (this.#round !== round) return;
        this.#host.clock.after(READ_RETRY_MS, () => {
          if (this.#round !== round) return;
          this.#isReading = false;
          this.#owner.touch();
        });
      },
    );
  }

  #hold(slice: StoredMessage[]): void {
    held.bytes -= this.#sliceBytes;
    this.#slice = slice;
    this.#sliceIndex = 0;
    this.#sliceBytes = slice.reduce((sum, message) => sum + sizeOf(message, message.identifiers), 0);
    held.bytes += this.#sliceBytes;
  }

  #sliceLength(): number {
    const average = this.#waitingMessages > 0 ? this.#waitingBytes / this.#waitingMessages : 0;
    const bytes = this.#host.isTight ? SLICE_TIGHT_BYTES : SLICE_BYTES;
    return Math.max(SLICE_MIN, Math.min(SLICE_MAX, Math.floor(bytes / (average + 256))));
  }
}

/** What a message counts against the limit of a queue. */
function sizeOf(publication: Publication, identifiers: readonly number[]): number {
  const { topicStart, topicEnd, payloadStart, payloadEnd, propertiesStart, propertiesEnd } = publication;
  const bytes = topicEnd - topicStart + (payloadEnd - payloadStart) + (propertiesEnd - propertiesStart);
  return bytes + IDENTIFIER_BYTES * identifiers.length;
}
