/**
 * What outlives a connection: subscriptions, packet identifiers, the in-flight window and the queue. A session that is
 * kept (expiry above 0) has its queue in the store (storedqueue.ts), any other in memory (queue.ts). It sends through a
 * Link, which a connection is; it knows nothing of sockets.
 */
import type { StoredMessage, StoreRecord } from '../store/store.js';
import type { Identity, Rights } from './access.js';
import {
  copyOf,
  PublishWriter,
  PUBREL,
  type Publication,
  writeAcknowledgement,
  writeUint32,
} from './codec.js';
import type { Owed } from './commits.js';
import type { BrokerCounters } from './counters.js';
import { AWAITS_PUBACK, AWAITS_PUBCOMP, AWAITS_PUBREC, FREE, InFlight, type State } from './inflight.js';
import type { Holder, Link } from './link.js';
import { type Outgoing, outgoingOf } from './outgoing.js';
import { MemoryQueue, type Shared, sharedMessageOf } from './queue.js';
import { type QueueOwner, StoredQueue, type StoredQueueHost } from './storedqueue.js';
import type { Entry } from './subscriptions.js';
import type { Will } from './will.js';

/** What sessions share. */
export interface SessionHost extends StoredQueueHost {
  readonly counters: BrokerCounters;
  /** How much of what is queued may wait in memory for one session now: less while slow readers together hold too much. */
  readonly maxHeldBytes: number;
  /** Whether a session may go on with retained messages in this turn; if not, it is touched when it may. */
  mayFeed(session: Session): boolean;
  /** A new subscription to this filter has had all retained messages. */
  fed(session: Session, filter: string): void;
  owe(link: Link, owed: Owed): void;
  /** A message left a queue because the queue was full; told once a while per session. */
  overflowed(session: Session, count: number): void;
}

/** What a session that ended had by a shared subscription, and did not acknowledge: another member can take it. */
export interface Left {
  readonly entry: Entry<unknown>;
  readonly message: Outgoing;
  readonly qos: 1 | 2;
}

/** The retained messages of a new subscription on their way. */
export interface Feed {
  /** Its filter was subscribed to again: it begins anew for that when it is through, once, however often that was. */
  again(entry: Entry<unknown>): void;
  /** Delivers one message, or looks for it for a while; false: there is nothing left. */
  step(): boolean;
  /** It rests until the next step, and what is retained may change. */
  rest(): void;
  /** It is given up. */
  end(): void;
}

const EMPTY = new Uint8Array(0);
const writer = new PublishWriter();
/** The two records of every delivery: filled in anew each time, for a store copies what it keeps. */
const sentRecord = { type: 'Sent', session: 0, position: 0, packetIdentifier: 0 } satisfies StoreRecord;
const completedRecord = {
  type: 'Completed',
  session: 0,
  packetIdentifier: 0,
  position: 0,
} satisfies StoreRecord;

export class Session implements QueueOwner {
  readonly clientId: string;
  readonly #host: SessionHost;
  /** Who owns it, and what that one may. */
  identity: Identity;
  rights: Rights;
  /** Where its client is, or was last; empty: it has not come since the start. */
  address = '';
  /** Number in the store; 0: it is not kept. */
  number = 0;
  expiryS = 0;
  version: 4 | 5 = 4;
  link: Link | null = null;
  /** The connection whose session it is, also while its CONNACK waits. */
  holder: Holder | null = null;
  /** By filter as the client wrote it, share name included. */
  subscriptions: Map<string, Entry<Session>> | null = null;
  /** It has, or had, shared subscriptions: what waits for it may have come by one that it left since. */
  wasMember = false;
  /** Levels of its deep filters: to count them anew for each SUBSCRIBE would take its time from everybody. */
  deepLevels = 0;
  will: Will | null = null;
  /** Number under which the store has the will; 0: it has none. */
  willNumber = 0;
  /** Ends a pending will or the session itself, while the client is away. */
  cancelWill: (() => void) | null = null;
  cancelExpiry: (() => void) | null = null;
  /** Identifiers of QoS 2 publications from this client that were not released. */
  incoming: Set<number> | null = null;
  /** Those of them that a process before this one had taken: whether who keeps messages elsewhere got them, nobody knows. */
  doubtfulIncoming: Set<number> | null = null;
  /** Nothing is sent to it any more, though its subscriptions may not all have been taken out yet. */
  hasEnded = false;
  /** Messages dropped because the queue was full. */
  droppedCount = 0;

  readonly inFlight = new InFlight();
  #queue: MemoryQueue | null = null;
  /** Of a kept session, instead. */
  #stored: StoredQueue | null = null;
  /** By filter; null: none. They take their turns one after the other. */
  #feeds: Map<string, Feed> | null = null;
  /** Messages of shared subscriptions by identifier, until they are acknowledged: another member can take them. */
  #shared: Map<number, { entry: Entry<unknown>; message: Outgoing }> | null = null;

  /** Packets that wait for a commit before they are sent. */
  #owedSends = 0;
  /** Up to here QoS 1 may have been sent by a process that died before it had noted that; QoS 2 is noted first. */
  #doubtfulPosition = -1;

  constructor(host: SessionHost, clientId: string, identity: Identity, rights: Rights) {
    this.#host = host;
    this.clientId = clientId;
    this.identity = identity;
    this.rights = rights;
  }

  get isKept(): boolean {
    return this.number !== 0;
  }

  /** It is kept from now on, under this number in the store. */
  keep(number: number): void {
    this.number = number;
    this.#stored = new StoredQueue(this.#host, this, number);
  }

  /** Messages that wait, not counting those in flight. */
  get queuedMessages(): number {
    return this.#stored === null ? (this.#queue?.count ?? 0) : this.#stored.waitingMessages;
  }

  get queuedBytes(): number {
    return this.#stored === null ? (this.#queue?.bytes ?? 0) : this.#stored.waitingBytes;
  }

  /** Takes over what the store knew of this session; `wasCut`: its client was there when the process died. */
  restore(
    inFlight: readonly { packetIdentifier: number; position: number; qos: 1 | 2 }[],
    queuedMessages: number,
    queuedBytes: number,
    lastPosition: number,
    wasCut: boolean,
  ): void {
    if (wasCut) this.#doubtfulPosition = lastPosition;
    let cursor = 0;
    for (const { packetIdentifier, position, qos } of inFlight) {
      const state = position === 0 ? AWAITS_PUBCOMP : qos === 1 ? AWAITS_PUBACK : AWAITS_PUBREC;
      this.inFlight.restore(packetIdentifier, state, position);
      cursor = Math.max(cursor, position);
    }
    this.#stored?.restore(cursor, queuedMessages, queuedBytes, lastPosition);
  }

  /** The client is here: what was in flight goes out again, marked DUP, before anything else [MQTT-4.4.0-1]. */
  attach(link: Link): void {
    this.link = link;
    this.version = link.version;
    this.#stored?.begin(this.inFlight.list());
    link.outbox.touch();
  }

  /** The client is gone. */
  detach(): void {
    this.link = null;
    this.#stored?.end();
    this.#owedSends = 0;
    // What is left of new subscriptions goes to the next connection [MQTT-3.3.1-9], or the session ends.
    for (const feed of this.#feeds?.values() ?? []) feed.rest();
  }

  /** A packet that waited for a commit is on its way. */
  sendSettled(): void {
    if (this.#owedSends > 0) this.#owedSends--;
  }

  /**
   * Everything it holds is given up. Answers one by one, the oldest first, what it leaves of what it had in memory (null:
   * a message of its own), to be gone through to the end.
   */
  end(): Iterator<Left | null> {
    this.#stored?.forgetSlice();
    this.#endFeeds();
    const left = leftOf(this.#shared, this.#queue);
    this.#shared = null;
    this.#queue = null;
    return left;
  }

  /** Sends a publication at QoS 0, or drops it when the client does not keep up or is away. It has not expired while it waited. */
  sendAtMostOnce(publication: Outgoing, retain: boolean, identifiers: readonly number[]): void {
    const link = this.link;
    if (link === null) return;
    if (link.isFull) {
      this.#host.counters.dropped.value++;
      return;
    }
    writer.reset(link.version, 0, retain);
    writer.identifiers = identifiers;
    this.#setExpiry(publication.expiresAtMs);
    this.#setAlias(link, publication);
    const length = this.#fit(link, publication);
    if (length === 0) return;
    this.#write(link, length, publication);
  }

  /** Hands over a publication at QoS 1 or 2. One that is kept has its position; it was appended before. */
  deliver(
    publication: Outgoing,
    qos: 1 | 2,
    retain: boolean,
    identifiers: readonly number[],
    share: Entry<unknown> | null = null,
  ): void {
    const { link } = this;
    if (this.#stored !== null) {
      this.#deliverKept(this.#stored, link, publication, qos, retain, identifiers);
    } else if (link === null) return;
    else if ((this.#queue === null || this.#queue.count === 0) && this.#hasRoom(link)) {
      const id = this.#send(link, publication, qos, retain, identifiers);
      if (share !== null && id !== 0 && qos === 1) this.#noteShared(id, share, outgoingOf(publication));
    } else this.#enqueue(link, publication, qos, retain, identifiers, share);
  }

  /** A message in flight came by a shared subscription. QoS 2 that was begun goes to nobody else [MQTT-4.8.2-5]. */
  #noteShared(packetIdentifier: number, entry: Entry<unknown>, message: Outgoing): void {
    (this.#shared ??= new Map()).set(packetIdentifier, { entry, message });
  }

  /** The retained messages of a filter that still wait here. */
  feedOf(filter: string): Feed | undefined {
    return this.#feeds?.get(filter);
  }

  /** Retained messages of a new subscription, sent as the client takes them. */
  addFeed(filter: string, feed: Feed): void {
    (this.#feeds ??= new Map()).set(filter, feed);
    this.touch();
  }

  /** Nothing more of it is sent: the subscription is gone [MQTT-3.10.4-2]. */
  endFeed(filter: string): void {
    const feed = this.#feeds?.get(filter);
    if (feed === undefined) return;
    feed.end();
    this.#feeds?.delete(filter);
  }

  #endFeeds(): void {
    for (const feed of this.#feeds?.values() ?? []) feed.end();
    this.#feeds = null;
  }

  touch(): void {
    this.link?.outbox.touch();
  }

  /** Whether more could be handed to the client now. */
  get hasRoom(): boolean {
    return this.link !== null && this.#hasRoom(this.link);
  }

  #hasRoom(link: Link): boolean {
    const unsentCount = this.#stored === null ? 0 : this.#stored.unsentCount;
    return this.inFlight.count - unsentCount < link.receiveMaximum && !link.isFull;
  }

  #setExpiry(expiresAtMs: number): void {
    if (expiresAtMs === 0) return;
    const leftMs = expiresAtMs - this.#host.clock.nowMs();
    writer.expiryS = Math.max(0, Math.ceil(leftMs / 1000));
  }

  /** Of a message that waits: what is handed on as it comes goes out even if it was given no time [MQTT-3.3.2-5]. */
  #hasExpired(expiresAtMs: number): boolean {
    if (expiresAtMs === 0 || expiresAtMs > this.#host.clock.nowMs()) return false;
    this.#host.counters.expired.value++;
    return true;
  }

  #setAlias(link: Link, publication: Publication): void {
    const alias = link.aliasOf(publication);
    if (alias === 0) return;
    writer.alias = Math.abs(alias);
    writer.isAliasKnown = alias > 0;
  }

  /** Bytes of the packet; 0: the client does not take so many, which is as if it had been delivered [MQTT-3.1.2-25]. */
  #fit(link: Link, publication: Publication): number {
    let length = writer.length(publication);
    if (length > link.maxPacketBytes && writer.alias > 0 && !writer.isAliasKnown) {
      // A new alias adds to the topic; a known one never takes more than its topic.
      writer.alias = 0;
      length = writer.length(publication);
    }
    if (length <= link.maxPacketBytes) return length;
    this.#host.counters.dropped.value++;
    return 0;
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
    this.#setExpiry(publication.expiresAtMs);
    // Its identifier must be kept before it is seen, or a restart would send the message as a new one. What follows
    // waits with it, so that order is kept across QoS, too.
    const isDeferred =
      resentAs === 0 && this.isKept && this.#host.store.isLasting && (qos === 2 || this.#owedSends > 0);
    // An alias would mean something else by then: what is sent meanwhile may set it for another topic.
    if (!isDeferred) this.#setAlias(link, publication);
    const length = this.#fit(link, publication);
    if (length === 0) return 0;
    // It may be the first time that it is sent, but 0 would say that it surely is [MQTT-3.3.1-1].
    writer.isDuplicate = resentAs !== 0 || (qos === 1 && publication.position <= this.#doubtfulPosition);
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
    }
    if (isDeferred) {
      this.#owedSends++;
      const bytes = Buffer.allocUnsafeSlow(length);
      writer.write(bytes, 0, publication);
      this.#host.counters.publishSent.value++;
      this.#host.owe(link, bytes);
      return id;
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
    share: Entry<unknown> | null,
  ): void {
    const queue = (this.#queue ??= new MemoryQueue());
    writer.reset(link.version, qos, retain);
    writer.identifiers = identifiers;
    if (this.#hasExpired(publication.expiresAtMs)) return;
    this.#setExpiry(publication.expiresAtMs);
    const length = this.#fit(link, publication);
    if (length === 0) return;
    const { maxHeldBytes, maxQueuedMessages } = this.#host;
    while (queue.count > 0 && (queue.count >= maxQueuedMessages || queue.bytes + length > maxHeldBytes)) {
      queue.shift();
      this.#countDropped(1);
    }
    const place = queue.reserve(length);
    writer.write(place.bytes, place.start, publication);
    const shared = share === null ? null : sharedOf(publication, share);
    queue.commit(length, writer.expiryAt, publication.expiresAtMs, shared);
    link.outbox.touch();
  }

  #deliverKept(
    stored: StoredQueue,
    link: Link | null,
    publication: Outgoing,
    qos: 1 | 2,
    retain: boolean,
    identifiers: readonly number[],
  ): void {
    const { position } = publication;
    if (link !== null && stored.isCaughtUp && this.#hasRoom(link)) {
      stored.pass(position);
      if (this.#send(link, publication, qos, retain, identifiers) === 0) stored.drop(position);
      return;
    }
    const droppedCount = stored.add(publication, position, identifiers);
    if (droppedCount > 0) this.#countDropped(droppedCount);
    link?.outbox.touch();
  }

  shorten(count: number): void {
    const droppedCount = this.#stored?.shorten(count) ?? 0;
    if (droppedCount > 0) this.#countDropped(droppedCount);
  }

  /** There is no room for one that is for it. */
  miss(): void {
    this.#countDropped(1);
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
    if (this.#stored !== null) this.#pumpStored(link, this.#stored);
    else this.#pumpQueue(link);
    if (this.#feeds !== null) this.#pumpFeeds(link, this.#feeds);
  }

  #pumpFeeds(link: Link, feeds: Map<string, Feed>): void {
    for (const [filter, feed] of feeds) {
      do {
        // To send may have ended the connection.
        const hasRoom = this.link === link && this.#hasRoom(link) && this.queuedMessages === 0;
        if (!hasRoom || !this.#host.mayFeed(this)) return feed.rest();
      } while (feed.step());
      feeds.delete(filter);
      this.#host.fed(this, filter);
    }
    this.#feeds = null;
  }

  #pumpQueue(link: Link): void {
    const queue = this.#queue;
    if (queue === null) return;
    for (let head = queue.peek(); head !== null && this.#hasRoom(link); head = queue.peek()) {
      const { bytes, start, end, topicStart, topicEnd, expiryAt, expiresAtMs, shared } = head;
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
      const qos = qosOf(bytes, start);
      const id = this.inFlight.take(qos === 1 ? AWAITS_PUBACK : AWAITS_PUBREC, 0);
      if (shared !== null && qos === 1) this.#noteShared(id, shared.entry, sharedMessageOf(head, shared));
      bytes[topicEnd] = id >> 8;
      bytes[topicEnd + 1] = id & 255;
      link.outbox.append(bytes, start, end);
      this.#host.counters.publishSent.value++;
      queue.shift();
    }
  }

  #pumpStored(link: Link, stored: StoredQueue): void {
    while (this.#hasRoom(link)) {
      const message = stored.peek();
      if (message === undefined) {
        stored.readOn();
        if (stored.unsentCount === 0) this.#release(link, stored, Infinity);
        return;
      }
      // QoS 2 is delivered when it is kept; what is behind it waits with it.
      if (message.position > this.#host.keptPosition) return stored.awaitKept();
      const resentAs = stored.take(message);
      if (resentAs < 0) continue;
      this.#release(link, stored, message.position);
      this.#sendStored(link, stored, message, resentAs);
    }
    stored.readAhead();
    // They need no room, and give some when they are answered.
    this.#release(link, stored, Infinity);
  }

  /** Sends again the PUBRELs that belong before a position. */
  #release(link: Link, stored: StoredQueue, before: number): void {
    for (let id = stored.takeRelease(before); id !== 0; id = stored.takeRelease(before)) {
      if (this.inFlight.stateOf(id) !== AWAITS_PUBCOMP) continue;
      const at = link.outbox.reserve(4);
      const { buffer } = link.outbox;
      if (buffer !== null) writeAcknowledgement(buffer, at, PUBREL, id, 4, 0);
    }
  }

  #sendStored(link: Link, stored: StoredQueue, message: StoredMessage, resentAs: number): void {
    if (message.qos === 0) return stored.drop(message.position);
    // What was sent once does not expire any more [MQTT-4.3.3-7].
    const isDue = resentAs !== 0 || !this.#hasExpired(message.expiresAtMs);
    const sent =
      isDue && this.rights.mayReadAt(message.topic, message.topicStart, message.topicEnd)
        ? this.#send(link, message, message.qos, message.retain, message.identifiers, resentAs)
        : 0;
    if (sent !== 0) return;
    if (resentAs === 0) stored.drop(message.position);
    else this.#complete(resentAs);
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

  lost(packetIdentifier: number): void {
    this.#complete(packetIdentifier);
  }

  /** What is acknowledged before it was sent again need not be sent again. */
  #resent(packetIdentifier: number): void {
    if (this.#stored === null || this.#stored.unsentCount === 0) return;
    this.#stored.settled(this.inFlight.positionOf(packetIdentifier));
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
    if (this.#hasMore) this.touch();
  }

  /** Whether something waits for room. */
  get #hasMore(): boolean {
    if (this.#feeds !== null && this.#feeds.size > 0) return true;
    if (this.#stored === null) return this.#queue !== null && this.#queue.count > 0;
    return this.#stored.hasMore;
  }
}

function qosOf(bytes: Uint8Array, start: number): 1 | 2 {
  return ((bytes[start] ?? 0) & 6) === 2 ? 1 : 2;
}

function sharedOf(publication: Outgoing, entry: Entry<unknown>): Shared {
  const { properties, propertiesStart, propertiesEnd, payloadStart, payloadEnd } = publication;
  return {
    entry,
    properties:
      propertiesStart === propertiesEnd ? EMPTY : copyOf(properties, propertiesStart, propertiesEnd),
    payloadLength: payloadEnd - payloadStart,
  };
}

function* leftOf(
  inFlight: ReadonlyMap<number, { entry: Entry<unknown>; message: Outgoing }> | null,
  queue: MemoryQueue | null,
): Generator<Left | null> {
  for (const { entry, message } of inFlight?.values() ?? []) yield { entry, message, qos: 1 };
  for (let head = queue?.peek() ?? null; queue !== null && head !== null; head = queue.peek()) {
    const { shared, bytes, start } = head;
    const left =
      shared === null
        ? null
        : { entry: shared.entry, message: sharedMessageOf(head, shared), qos: qosOf(bytes, start) };
    queue.shift();
    yield left;
  }
  queue?.clear();
}
