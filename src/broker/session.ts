/**
 * What outlives a connection: subscriptions, packet identifiers, the in-flight window and the queue. A session that is
 * kept (expiry above 0) has its queue in the store and reads it back in slices; any other has it in memory. It sends
 * through a Link, which a connection is; it knows nothing of sockets.
 */
import type { Clock } from '../clock.js';
import type { Store, StoredMessage, StoreRecord } from '../store/store.js';
import type { Identity, Rights } from './access.js';
import { PublishWriter, PUBREL, type Publication, writeAcknowledgement, writeUint32 } from './codec.js';
import type { Debtor, Owed } from './commits.js';
import type { BrokerCounters } from './counters.js';
import { held } from './held.js';
import { AWAITS_PUBACK, AWAITS_PUBCOMP, AWAITS_PUBREC, FREE, InFlight, type State } from './inflight.js';
import type { Outbox } from './outbox.js';
import { MemoryQueue } from './queue.js';
import type { Entry } from './subscriptions.js';
import type { Will } from './will.js';

/** A publication on its way to receivers. */
export interface Outgoing extends Publication {
  /** Wall time in ms; 0: never. */
  expiresAtMs: number;
  /** Its position in the store; 0: it is not kept. */
  position: number;
}

/** Who holds a session: a connection, from its CONNECT on. */
export interface Holder {
  /** Another connection takes the session over, or it is taken away. */
  giveUp(reason: number): void;
}

/** What a session sends through while its client is there. */
export interface Link extends Debtor {
  readonly version: 4 | 5;
  readonly outbox: Outbox;
  /** Too much waits for the kernel: QoS 0 is dropped, the rest stays in the queue. */
  readonly isFull: boolean;
  /** The client's limits. */
  readonly maxPacketBytes: number;
  readonly receiveMaximum: number;
  /** The alias to send instead of a topic; 0: none. Negative: new, to be sent with the topic and then noted. */
  aliasOf(publication: Publication): number;
  /** The alias that aliasOf() proposed last is on its way. */
  noteAlias(): void;
}

/** What sessions share. */
export interface SessionHost {
  readonly clock: Clock;
  readonly store: Store;
  readonly counters: BrokerCounters;
  readonly maxQueuedMessages: number;
  readonly maxQueuedBytes: number;
  /** How much of them may wait in memory for one session now: less while slow readers together hold too much. */
  readonly maxHeldBytes: number;
  readonly isTight: boolean;
  /** Everything up to here is kept. */
  readonly keptPosition: number;
  owe(link: Link, owed: Owed): void;
  /** Calls the session's output again when more is kept. */
  awaitKept(session: Session): void;
  /** A message left a queue because the queue was full; told once a while per session. */
  overflowed(session: Session, count: number): void;
  /** Something the session was given can be sent to nobody any more (it ended): the shared subscription takes it. */
  redistribute(session: Session, entry: Entry<unknown>, message: Outgoing, qos: 1 | 2): void;
}

/** Delivers one message; false: there is nothing left. */
export type Feed = () => boolean;

/** How much of a queue is read at once: so many bytes by the average, within these counts. */
const SLICE_BYTES = 512 * 1024;
const SLICE_TIGHT_BYTES = 16 * 1024;
const SLICE_MIN = 8;
const SLICE_MAX = 1024;
/** When a queue that could not be read is read again. */
const READ_RETRY_MS = 1000;
const writer = new PublishWriter();
/** The two records of every delivery: filled in anew each time, for a store copies what it keeps. */
const sentRecord = { type: 'Sent', session: 0, position: 0, packetIdentifier: 0 } satisfies StoreRecord;
const completedRecord = {
  type: 'Completed',
  session: 0,
  packetIdentifier: 0,
  position: 0,
} satisfies StoreRecord;

export class Session {
  readonly clientId: string;
  readonly #host: SessionHost;
  /** Who owns it, and what that one may. */
  identity: Identity;
  rights: Rights;
  /** Number in the store; 0: it is not kept. */
  number = 0;
  expiryS = 0;
  version: 4 | 5 = 4;
  link: Link | null = null;
  /** The connection whose session it is, also while its CONNACK waits. */
  holder: Holder | null = null;
  /** By filter as the client wrote it, share name included. */
  subscriptions: Map<string, Entry<Session>> | null = null;
  will: Will | null = null;
  /** Number under which the store has the will; 0: it has none. */
  willNumber = 0;
  /** Ends a pending will or the session itself, while the client is away. */
  cancelWill: (() => void) | null = null;
  cancelExpiry: (() => void) | null = null;
  /** Identifiers of QoS 2 publications from this client that were not released. */
  incoming: Set<number> | null = null;
  hasEnded = false;
  /** Messages dropped because the queue was full. */
  droppedCount = 0;

  readonly inFlight = new InFlight();
  #queue: MemoryQueue | null = null;
  #feeds: Feed[] | null = null;
  /** Messages of shared subscriptions by identifier, until they are acknowledged: another member can take them. */
  #shared: Map<number, { entry: Entry<unknown>; message: Outgoing }> | null = null;

  /** Of a kept session: everything up to the cursor was handed to the client, everything up to #last is queued. */
  #cursor = 0;
  #last = 0;
  #slice: StoredMessage[] = [];
  #sliceIndex = 0;
  #sliceBytes = 0;
  #isReading = false;
  /** Grows when what was read belongs to an earlier connection. */
  #round = 0;
  /** What is in flight and was not sent again on this connection: position -> identifier. */
  #unsent: Map<number, number> | null = null;
  /** Packets that wait for a commit before they are sent. */
  #owedSends = 0;
  /** PUBRELs to be sent again, among the messages that are sent again: in the order of first sending. */
  #releases: { readonly position: number; readonly packetIdentifier: number }[] = [];
  /** What waits in the store. */
  #waitingMessages = 0;
  #waitingBytes = 0;

  constructor(host: SessionHost, clientId: string, identity: Identity, rights: Rights) {
    this.#host = host;
    this.clientId = clientId;
    this.identity = identity;
    this.rights = rights;
  }

  get isKept(): boolean {
    return this.number !== 0;
  }

  /** Messages that wait, not counting those in flight. */
  get queuedMessages(): number {
    return this.isKept ? this.#waitingMessages : (this.#queue?.count ?? 0);
  }

  get queuedBytes(): number {
    return this.isKept ? this.#waitingBytes : (this.#queue?.bytes ?? 0);
  }

  /** Takes over what the store knew of this session. */
  restore(
    inFlight: readonly { packetIdentifier: number; position: number; qos: 1 | 2 }[],
    queuedMessages: number,
    queuedBytes: number,
    lastPosition: number,
  ): void {
    for (const { packetIdentifier, position, qos } of inFlight) {
      const state = position === 0 ? AWAITS_PUBCOMP : qos === 1 ? AWAITS_PUBACK : AWAITS_PUBREC;
      this.inFlight.restore(packetIdentifier, state, position);
      this.#cursor = Math.max(this.#cursor, position);
    }
    this.#waitingMessages = queuedMessages;
    this.#waitingBytes = queuedBytes;
    this.#last = lastPosition;
  }

  /** The client is here: what was in flight goes out again, marked DUP, before anything else [MQTT-4.4.0-1]. */
  attach(link: Link): void {
    this.link = link;
    this.version = link.version;
    this.#round++;
    let lowest = this.#cursor + 1;
    for (const { packetIdentifier, state, position } of this.inFlight.list()) {
      if (state === AWAITS_PUBCOMP) {
        this.#releases.push({ position, packetIdentifier });
        continue;
      }
      (this.#unsent ??= new Map()).set(position, packetIdentifier);
      lowest = Math.min(lowest, position);
    }
    this.#last = Math.max(this.#last, this.#cursor);
    this.#cursor = lowest - 1;
    link.outbox.touch();
  }

  /** The client is gone. */
  detach(): void {
    this.link = null;
    this.#forgetSlice();
    // The cursor stays at the last message that was ever handed out, so that nothing counts as new twice.
    for (const position of this.#unsent?.keys() ?? []) this.#cursor = Math.max(this.#cursor, position);
    this.#unsent = null;
    this.#releases = [];
    this.#owedSends = 0;
    this.#feeds = null;
  }

  /** A packet that waited for a commit is on its way. */
  sendSettled(): void {
    if (this.#owedSends > 0) this.#owedSends--;
  }

  /** Sends again the PUBRELs that belong before a position. */
  #release(link: Link, before: number): void {
    for (
      let next = this.#releases[0];
      next !== undefined && next.position < before;
      next = this.#releases[0]
    ) {
      this.#releases.shift();
      if (this.inFlight.stateOf(next.packetIdentifier) !== AWAITS_PUBCOMP) continue;
      const at = link.outbox.reserve(4);
      const { buffer } = link.outbox;
      if (buffer !== null) writeAcknowledgement(buffer, at, PUBREL, next.packetIdentifier, 4, 0);
    }
  }

  /** Everything it holds is given up. */
  end(): void {
    this.hasEnded = true;
    this.#queue?.clear();
    this.#queue = null;
    this.#forgetSlice();
    this.#feeds = null;
    const shared = this.#shared;
    this.#shared = null;
    if (shared !== null) {
      for (const { entry, message } of shared.values()) this.#host.redistribute(this, entry, message, 1);
    }
  }

  /** Sends a publication at QoS 0, or drops it when the client does not keep up or is away. */
  sendAtMostOnce(publication: Outgoing, retain: boolean, identifiers: readonly number[]): void {
    const link = this.link;
    if (link === null) return;
    if (link.isFull) {
      this.#host.counters.dropped.value++;
      return;
    }
    writer.reset(link.version, 0, retain);
    writer.identifiers = identifiers;
    if (!this.#setExpiry(publication.expiresAtMs)) return;
    this.#setAlias(link, publication, 0);
    const length = writer.length(publication);
    if (length > link.maxPacketBytes) {
      this.#host.counters.dropped.value++;
      return;
    }
    this.#write(link, length, publication);
  }

  /** Hands over a publication at QoS 1 or 2. One that is kept has its position; it was appended before. */
  deliver(publication: Outgoing, qos: 1 | 2, retain: boolean, identifiers: readonly number[]): number {
    if (this.isKept) {
      this.#deliverKept(publication, qos, retain, identifiers);
      return 0;
    }
    const link = this.link;
    if (link === null) return 0;
    if ((this.#queue === null || this.#queue.count === 0) && this.#hasRoom(link)) {
      return this.#send(link, publication, qos, retain, identifiers);
    }
    this.#enqueue(link, publication, qos, retain, identifiers);
    return 0;
  }

  /** Notes that a message in flight came by a shared subscription. */
  noteShared(packetIdentifier: number, entry: Entry<unknown>, message: Outgoing): void {
    (this.#shared ??= new Map()).set(packetIdentifier, { entry, message });
  }

  /** Retained messages of a new subscription, sent as the client takes them. */
  addFeed(feed: Feed): void {
    (this.#feeds ??= []).push(feed);
    this.link?.outbox.touch();
  }

  /** Whether more could be handed to the client now. */
  get hasRoom(): boolean {
    return this.link !== null && this.#hasRoom(this.link);
  }

  #hasRoom(link: Link): boolean {
    return this.inFlight.count - (this.#unsent?.size ?? 0) < link.receiveMaximum && !link.isFull;
  }

  #setExpiry(expiresAtMs: number): boolean {
    if (expiresAtMs === 0) return true;
    const leftMs = expiresAtMs - this.#host.clock.nowMs();
    writer.expiryS = Math.max(0, Math.ceil(leftMs / 1000));
    if (leftMs > 0) return true;
    this.#host.counters.expired.value++;
    return false;
  }

  #setAlias(link: Link, publication: Publication, qos: 0 | 1 | 2): void {
    // What is sent later, after a commit, must not depend on what is sent before.
    const alias = qos === 2 && this.isKept ? 0 : link.aliasOf(publication);
    if (alias === 0) return;
    writer.alias = Math.abs(alias);
    writer.isAliasKnown = alias > 0;
  }

  /** Sends now; answers the packet identifier, 0 when it could not be sent and is given up. */
  #send(
    link: Link,
    publication: Outgoing,
    qos: 1 | 2,
    retain: boolean,
    identifiers: readonly number[],
    resentAs = 0,
  ): number {
    writer.reset(link.version, qos, retain);
    writer.identifiers = identifiers;
    // What was sent once does not expire any more [MQTT-4.3.3-7].
    if (!this.#setExpiry(publication.expiresAtMs) && resentAs === 0) return 0;
    this.#setAlias(link, publication, qos);
    const length = writer.length(publication);
    // What the client cannot take is as if it had been delivered [MQTT-3.1.2-25].
    if (length > link.maxPacketBytes) {
      this.#host.counters.dropped.value++;
      return 0;
    }
    writer.isDuplicate = resentAs !== 0;
    const id =
      resentAs !== 0
        ? resentAs
        : this.inFlight.take(qos === 1 ? AWAITS_PUBACK : AWAITS_PUBREC, publication.position);
    writer.packetIdentifier = id;
    if (this.isKept && resentAs === 0) {
      const { position } = publication;
      sentRecord.session = this.number;
      sentRecord.position = position;
      sentRecord.packetIdentifier = id;
      this.#host.store.append(sentRecord);
      if (this.#host.store.isLasting && (qos === 2 || this.#owedSends > 0)) {
        // Its identifier must be kept before it is seen, or a restart would send the message as a new one. What
        // follows waits with it, so that order is kept across QoS, too.
        this.#owedSends++;
        const bytes = Buffer.allocUnsafeSlow(length);
        writer.write(bytes, 0, publication);
        this.#host.counters.publishSent.value++;
        this.#host.owe(link, bytes);
        return id;
      }
    }
    this.#write(link, length, publication);
    return id;
  }

  #write(link: Link, length: number, publication: Publication): void {
    const { outbox } = link;
    if (writer.alias > 0 && !writer.isAliasKnown) link.noteAlias();
    const at = outbox.reserve(length);
    if (outbox.buffer !== null) writer.write(outbox.buffer, at, publication);
    this.#host.counters.publishSent.value++;
    this.#host.counters.publishBytesSent.value += publication.payloadEnd - publication.payloadStart;
  }

  #enqueue(
    link: Link,
    publication: Outgoing,
    qos: 1 | 2,
    retain: boolean,
    identifiers: readonly number[],
  ): void {
    const queue = (this.#queue ??= new MemoryQueue());
    writer.reset(link.version, qos, retain);
    writer.identifiers = identifiers;
    if (!this.#setExpiry(publication.expiresAtMs)) return;
    const length = writer.length(publication);
    if (length > link.maxPacketBytes) {
      this.#host.counters.dropped.value++;
      return;
    }
    const { maxHeldBytes, maxQueuedMessages } = this.#host;
    while (queue.count > 0 && (queue.count >= maxQueuedMessages || queue.bytes + length > maxHeldBytes)) {
      queue.shift();
      this.#countDropped(1);
    }
    const place = queue.reserve(length);
    writer.write(place.bytes, place.start, publication);
    queue.commit(length, writer.expiryAt, publication.expiresAtMs);
    link.outbox.touch();
  }

  #deliverKept(publication: Outgoing, qos: 1 | 2, retain: boolean, identifiers: readonly number[]): void {
    const link = this.link;
    const isCaughtUp = this.#cursor >= this.#last && this.#unsent === null;
    if (link !== null && isCaughtUp && this.#hasRoom(link)) {
      this.#cursor = this.#last = publication.position;
      if (this.#send(link, publication, qos, retain, identifiers) === 0) this.#drop(publication.position);
      return;
    }
    this.#last = publication.position;
    this.#waitingMessages++;
    this.#waitingBytes += sizeOf(publication);
    this.#trim();
    link?.outbox.touch();
  }

  #drop(position: number): void {
    this.#host.store.append({ type: 'Dropped', session: this.number, position });
  }

  #countDropped(count: number): void {
    this.droppedCount += count;
    this.#host.counters.dropped.value += count;
    this.#host.overflowed(this, count);
  }

  /** Sends what waits, as far as the window and the output allow. */
  pump(): void {
    const { link } = this;
    if (link === null) return;
    if (this.isKept) this.#pumpKept(link);
    else this.#pumpQueue(link);
    const feeds = this.#feeds;
    if (feeds === null) return;
    while (feeds.length > 0 && this.#hasRoom(link) && this.queuedMessages === 0 && this.link === link) {
      if (feeds[0]?.() !== true) feeds.shift();
    }
  }

  #pumpQueue(link: Link): void {
    const queue = this.#queue;
    if (queue === null) return;
    for (let head = queue.peek(); head !== null && this.#hasRoom(link); head = queue.peek()) {
      const { bytes, start, end, topicStart, topicEnd, expiryAt, expiresAtMs } = head;
      if (expiresAtMs > 0) {
        const leftMs = expiresAtMs - this.#host.clock.nowMs();
        if (leftMs <= 0) {
          queue.shift();
          this.#host.counters.expired.value++;
          continue;
        }
        if (expiryAt >= 0) writeUint32(bytes, expiryAt, Math.ceil(leftMs / 1000));
      }
      if (!this.rights.mayReadAt(bytes, topicStart, topicEnd)) {
        queue.shift();
        continue;
      }
      const id = this.inFlight.take(((bytes[start] ?? 0) & 6) === 2 ? AWAITS_PUBACK : AWAITS_PUBREC, 0);
      bytes[topicEnd] = id >> 8;
      bytes[topicEnd + 1] = id & 255;
      link.outbox.append(bytes, start, end);
      this.#host.counters.publishSent.value++;
      queue.shift();
    }
  }

  #pumpKept(link: Link): void {
    while (this.#hasRoom(link)) {
      const message = this.#slice[this.#sliceIndex];
      if (message === undefined) {
        this.#readOn();
        if (this.#unsent === null) this.#release(link, Infinity);
        return;
      }
      if (message.position > this.#host.keptPosition) {
        // QoS 2 is delivered when it is kept; what is behind it waits with it.
        this.#forgetSlice();
        this.#host.awaitKept(this);
        return;
      }
      this.#sliceIndex++;
      if (message.position <= this.#cursor) continue;
      this.#cursor = message.position;
      if (this.#releases.length > 0) this.#release(link, message.position);
      this.#sendStored(link, message);
    }
    this.#readAhead();
    // They need no room, and give some when they are answered.
    if (this.#releases.length > 0) this.#release(link, Infinity);
  }

  #sendStored(link: Link, message: StoredMessage): void {
    const { position } = message;
    const resentAs = this.#unsent?.get(position) ?? 0;
    if (resentAs !== 0) {
      this.#unsent?.delete(position);
      if (this.#unsent?.size === 0) this.#unsent = null;
    } else {
      this.#waitingMessages = Math.max(0, this.#waitingMessages - 1);
      this.#waitingBytes = Math.max(0, this.#waitingBytes - sizeOf(message));
    }
    if (message.qos === 0) return this.#drop(position);
    const isReadable = this.rights.mayReadAt(message.topic, message.topicStart, message.topicEnd);
    const sent = isReadable
      ? this.#send(link, message, message.qos, message.retain, message.identifiers, resentAs)
      : 0;
    if (sent !== 0) return;
    if (resentAs === 0) this.#drop(position);
    else this.#complete(resentAs);
  }

  /** Reads the next slice of the queue, when there is more. */
  #readOn(): void {
    if (this.#isReading) return;
    if (this.#cursor >= this.#last) {
      this.#unsent = null;
      return;
    }
    if (this.#cursor >= this.#host.keptPosition) {
      this.#host.awaitKept(this);
      return;
    }
    this.#read(this.#cursor);
  }

  /** Fetches what comes behind the slice while the rest of it is sent, so that nobody waits for the store. */
  #readAhead(): void {
    const last = this.#slice.at(-1);
    // What the client is slow to take can be read again.
    if (this.#host.isTight) return this.#forgetSlice();
    if (this.#isReading || last === undefined || this.#sliceIndex * 2 < this.#slice.length) return;
    if (last.position < Math.min(this.#last, this.#host.keptPosition)) this.#read(last.position);
  }

  #read(after: number): void {
    this.#isReading = true;
    const round = this.#round;
    this.#host.store.read(this.number, after, this.#sliceLength()).then(
      (messages) => {
        if (this.#round !== round) return;
        this.#isReading = false;
        const left = this.#slice.slice(this.#sliceIndex);
        this.#hold(left.length === 0 ? messages : left.concat(messages));
        // Nothing is left of what was kept: the rest was dropped or expired.
        if (this.#slice.length === 0) {
          this.#cursor = Math.max(this.#cursor, Math.min(this.#last, this.#host.keptPosition));
          if (this.#cursor >= this.#last) this.#waitingMessages = this.#waitingBytes = 0;
        }
        this.link?.outbox.touch();
      },
      () => {
        // The disk refuses; the session stays where it is and asks again later.
        if (this.#round !== round) return;
        this.#host.clock.after(READ_RETRY_MS, () => {
          if (this.#round !== round) return;
          this.#isReading = false;
          this.link?.outbox.touch();
        });
      },
    );
  }

  /** Gives up what was read and what is being read: it is asked for again from the cursor on. */
  #forgetSlice(): void {
    this.#round++;
    this.#hold([]);
    this.#isReading = false;
  }

  #hold(slice: StoredMessage[]): void {
    held.bytes -= this.#sliceBytes;
    this.#slice = slice;
    this.#sliceIndex = 0;
    this.#sliceBytes = slice.reduce((sum, message) => sum + sizeOf(message), 0);
    held.bytes += this.#sliceBytes;
  }

  #sliceLength(): number {
    const average = this.#waitingMessages > 0 ? this.#waitingBytes / this.#waitingMessages : 0;
    const bytes = this.#host.isTight ? SLICE_TIGHT_BYTES : SLICE_BYTES;
    return Math.max(SLICE_MIN, Math.min(SLICE_MAX, Math.floor(bytes / (average + 256))));
  }

  /** Drops the oldest that wait until the limits are met again. */
  #trim(): void {
    const { maxQueuedBytes, maxQueuedMessages, store } = this.#host;
    let after = this.#cursor;
    while (this.#waitingMessages > maxQueuedMessages || this.#waitingBytes > maxQueuedBytes) {
      const oldest = store.oldest(this.number, after);
      if (oldest === null) return;
      after = oldest.position;
      if (this.#unsent?.has(after) === true) continue;
      this.#waitingMessages--;
      this.#waitingBytes -= oldest.size;
      this.#drop(after);
      this.#countDropped(1);
      // What was in flight before a new connection comes before it, and is yet to be sent.
      if (this.#unsent === null) this.#cursor = after;
      else this.#forgetSlice();
    }
  }

  /** PUBACK came from the client. */
  acknowledged(packetIdentifier: number): void {
    if (this.inFlight.stateOf(packetIdentifier) === AWAITS_PUBACK) this.#complete(packetIdentifier);
  }

  /** PUBREC came; answers the reason code for PUBREL, or -1 when none is to be sent. */
  received(packetIdentifier: number, reason: number): number {
    const state: State = this.inFlight.stateOf(packetIdentifier);
    if (state === FREE || state === AWAITS_PUBACK) return reason >= 0x80 ? -1 : 0x92;
    if (reason >= 0x80) {
      if (state === AWAITS_PUBREC) this.#complete(packetIdentifier);
      return -1;
    }
    this.#resent(packetIdentifier);
    this.inFlight.change(packetIdentifier, AWAITS_PUBCOMP);
    this.#shared?.delete(packetIdentifier);
    if (this.isKept) {
      const position = this.inFlight.positionOf(packetIdentifier);
      this.#host.store.append({ type: 'Received', session: this.number, packetIdentifier, position });
    }
    return 0;
  }

  /** PUBCOMP came. */
  completed(packetIdentifier: number): void {
    if (this.inFlight.stateOf(packetIdentifier) === AWAITS_PUBCOMP) this.#complete(packetIdentifier);
  }

  /** What is acknowledged before it was sent again need not be sent again. */
  #resent(packetIdentifier: number): void {
    if (this.#unsent === null) return;
    this.#unsent.delete(this.inFlight.positionOf(packetIdentifier));
    if (this.#unsent.size === 0) this.#unsent = null;
  }

  #complete(packetIdentifier: number): void {
    this.#resent(packetIdentifier);
    if (this.isKept) {
      completedRecord.session = this.number;
      completedRecord.packetIdentifier = packetIdentifier;
      completedRecord.position = this.inFlight.positionOf(packetIdentifier);
      this.#host.store.append(completedRecord);
    }
    this.inFlight.release(packetIdentifier);
    this.#shared?.delete(packetIdentifier);
    if (this.#hasMore) this.link?.outbox.touch();
  }

  /** Whether something waits for room. */
  get #hasMore(): boolean {
    if (this.#feeds !== null && this.#feeds.length > 0) return true;
    if (!this.isKept) return this.#queue !== null && this.#queue.count > 0;
    return this.#cursor < this.#last || this.#unsent !== null || this.#releases.length > 0;
  }
}

/** What a message counts against the limit of a queue. */
function sizeOf({
  topicStart,
  topicEnd,
  payloadStart,
  payloadEnd,
  propertiesStart,
  propertiesEnd,
}: Publication): number {
  return topicEnd - topicStart + (payloadEnd - payloadStart) + (propertiesEnd - propertiesStart);
}
