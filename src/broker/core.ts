/**
 * The inside of the broker that every packet handler works on: sessions, subscriptions, retained messages, routes and
 * the store. It decides who gets a publication and what is kept; it knows nothing of sockets and packets.
 */
import { type Cancel, type Clock, CLOCK_SET_AFTER_MS } from '../clock.js';
import { messageOf as messageOfError } from '../errors.js';
import type { Log } from '../log.js';
import type { PublishedMessage, Receiver as KeptReceiver, Store, StoredState } from '../store/store.js';
import { type AccessRule, type Identity, Rights } from './access.js';
import { bequeath, heritageOf } from './bequest.js';
import { copyOf, type Publication } from './codec.js';
import { Commits, type CommitTurns, type Owed } from './commits.js';
import type { BrokerCounters } from './counters.js';
import type { BrokerLimits } from './limits.js';
import type { Message, QoS } from './message.js';
import { held } from './held.js';
import { Arena, type Outbox } from './outbox.js';
import { type Retained, RetainedMessages } from './retained.js';
import type { Group, Owner, Route } from './route.js';
import { Routing } from './routing.js';
import { type Link, type Outgoing, Session, type SessionHost } from './session.js';
import { type Entry, Subscriptions } from './subscriptions.js';
import { parseFilter } from './topic.js';
import { KeptWills, type Will } from './will.js';

export interface CoreOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly store: Store;
  readonly counters: BrokerCounters;
  readonly limits: BrokerLimits;
  /** Filters of topics whose publications are never kept as retained. */
  readonly neverRetained: readonly string[];
  /** A session's queue overflowed: so many messages were dropped since it was last told. */
  readonly onOverflow: (clientId: string, count: number) => void;
}

/** A publication as it came in. */
export interface Incoming extends Outgoing {
  qos: QoS;
  retain: boolean;
  /** Null: the gateway itself. */
  from: Session | null;
  /** Address of the sender. */
  address: string;
  /** Its retained copy is to survive a restart. */
  isStored: boolean;
  /** QoS 2 from a kept session: its packet identifier, kept with it. */
  packetIdentifier: number;
}

/** How a publication was taken. */
export type Outcome =
  /** Done; nothing needs to be kept first. */
  | 'done'
  /** To be acknowledged once it is kept. */
  | 'owed'
  /** Nobody subscribed. */
  | 'unmatched'
  /** The store refuses now, or a limit is reached. */
  | 'refused';

type Member = Group['members'][number];

const NONE: readonly number[] = [];
const EMPTY = new Uint8Array(0);
const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
/** When so much waits for the disk, those who wait for it are not read from. */
const BACKLOG_BYTES = 4 * 1024 * 1024;
/** How often a session's overflow is told. */
const OVERFLOW_MS = 10_000;
/** What one slow reader may have unsent, and what it is read from with, while all together hold too much. */
const OUTBOX_MIN = 131_072;
const READ_STOP_BYTES = 1024 * 1024;
/** Share of the memory limit that may be held for all slow readers together before each gets less. */
const HELD_SHARE = 0.15;
/** What may wait in memory for one slow reader while that is little. */
const QUEUED_MIN = 65_536;
/** When reading has taken so long, those who send more wait for the next turn, and others have theirs. */
const TURN_MS = 5;
const NEVER_EXPIRES_S = 0xffffffff;

export class Core implements SessionHost, CommitTurns {
  readonly clock: Clock;
  readonly log: Log;
  readonly store: Store;
  readonly counters: BrokerCounters;
  readonly limits: BrokerLimits;
  readonly arena = new Arena();
  readonly commits: Commits;
  readonly sessions = new Map<string, Session>();
  readonly subscriptions = new Subscriptions<Owner>();
  readonly retained: RetainedMessages;
  readonly routing: Routing;
  keptPosition = 0;
  access: readonly AccessRule[] | null = null;
  readonly #onOverflow: (clientId: string, count: number) => void;
  readonly #overflows = new Map<string, number>();
  #overflowTimer: Cancel | null = null;
  #nextPosition = 1;
  #nextSession = 1;
  readonly #turns = new Map<string, number>();
  /** Outboxes with something to write at the end of this turn. */
  #dirty: Outbox[] = [];
  #waiting: Session[] = [];
  #immediate: NodeJS.Immediate | null = null;
  /** When the first bytes of this turn came. */
  #readingSinceMs: number | null = null;
  readonly #afterTurn: (() => void)[] = [];
  /** Called at the end of each turn before anything is written. */
  beforeFlush: () => void = () => {};

  constructor(options: CoreOptions) {
    this.clock = options.clock;
    this.log = options.log;
    this.store = options.store;
    this.counters = options.counters;
    this.limits = options.limits;
    this.routing = new Routing(
      this.subscriptions,
      options.neverRetained,
      () => options.limits.maxTopicLevels,
    );
    this.#onOverflow = options.onOverflow;
    this.retained = new RetainedMessages(options.limits.maxRetainedMessages, options.limits.maxRetainedBytes);
    this.commits = new Commits(options.store, this);
  }

  /** Memory is short: nothing new is taken in (connections, subscriptions, retained topics), slow readers get less. */
  isShort = false;
  isStopped = false;

  /** Slow readers together hold so much that each of them gets little. */
  get isTight(): boolean {
    return this.isShort || held.bytes > this.limits.maxMemoryBytes * HELD_SHARE;
  }

  /** Unsent bytes of one connection above which QoS 0 to it is dropped. */
  get outboxBytes(): number {
    return this.isTight ? OUTBOX_MIN : Math.max(OUTBOX_MIN, this.limits.maxOutboxBytes);
  }

  /** Unsent bytes of one connection above which nothing more is read from it. */
  get readStopBytes(): number {
    return this.isTight ? OUTBOX_MIN : READ_STOP_BYTES;
  }

  get maxQueuedMessages(): number {
    return this.limits.maxQueuedMessages;
  }

  get maxQueuedBytes(): number {
    return this.limits.maxQueuedBytes;
  }

  get maxHeldBytes(): number {
    return this.isTight ? Math.min(QUEUED_MIN, this.limits.maxQueuedBytes) : this.limits.maxQueuedBytes;
  }

  // ---------------------------------------------------------------- the turn of the loop

  /** An outbox has something to write at the end of this turn. */
  markDirty(outbox: Outbox): void {
    this.#dirty.push(outbox);
    this.schedule();
  }

  /** Asks for an end of turn. */
  schedule(): void {
    this.#immediate ??= setImmediate(() => this.#endTurn());
  }

  /** Somebody's bytes are about to be read. */
  beginReading(): void {
    if (this.#readingSinceMs !== null) return;
    this.#readingSinceMs = this.clock.monotonicMs();
    this.schedule();
  }

  /** This turn has had its time: who sends more is read from again at the next. */
  get isTurnOver(): boolean {
    return this.#readingSinceMs !== null && this.clock.monotonicMs() - this.#readingSinceMs > TURN_MS;
  }

  /** Goes on when this turn's output is written. */
  afterTurn(then: () => void): void {
    this.#afterTurn.push(then);
  }

  #endTurn(): void {
    this.#immediate = null;
    this.#readingSinceMs = null;
    this.beforeFlush();
    const dirty = this.#dirty;
    this.#dirty = [];
    for (let i = 0; i < dirty.length; i++) {
      try {
        dirty[i]?.flush();
      } catch (error) {
        // One output that breaks must not keep the others waiting.
        this.log.error('an output broke', { error: messageOfError(error) });
      }
    }
    this.arena.endTurn();
    this.commits.endTurn();
    for (const goOn of this.#afterTurn.splice(0)) goOn();
  }

  get appendedPosition(): number {
    return this.#nextPosition - 1;
  }

  /** The disk does not keep up. */
  get isBacklogged(): boolean {
    return (this.store.backlogBytes ?? 0) > BACKLOG_BYTES;
  }

  get isAwaiting(): boolean {
    return this.#waiting.length > 0;
  }

  kept(position: number): void {
    this.keptPosition = position;
    // Those who waited for what is kept now read on.
    for (const session of this.#waiting.splice(0)) session.link?.outbox.touch();
  }

  /** A session that can go on once more is kept. */
  awaitKept(session: Session): void {
    this.#waiting.push(session);
    this.schedule();
  }

  owe(link: Link, owed: Owed): void {
    this.commits.owe(link, owed);
    this.schedule();
  }

  // ---------------------------------------------------------------- publications

  /** Takes a publication: keeps what must be kept and hands it to everybody who gets it. Rights were checked. */
  publish(incoming: Incoming, route: Route): Outcome {
    const { qos, from } = incoming;
    const isRetained = incoming.retain && !route.isNeverRetained;
    const mustKeep =
      (route.hasKept && qos > 0) ||
      (isRetained && incoming.isStored && this.store.isLasting) ||
      (qos === 2 && from !== null && from.isKept);
    // A client is told, or waits; the gateway's own goes on to who is there.
    const isUnkept = mustKeep && qos > 0 && from === null && (!this.store.isHealthy || this.isBacklogged);
    if (mustKeep && qos > 0 && !isUnkept && !this.store.isHealthy) return 'refused';
    if (isRetained && incoming.payloadEnd > incoming.payloadStart) {
      const bytes =
        incoming.payloadEnd - incoming.payloadStart + incoming.propertiesEnd - incoming.propertiesStart;
      // While memory is short clients replace what is there and bring nothing new.
      const isTooMuch = this.isShort && from !== null && this.retained.get(route.bytes) === null;
      if (isTooMuch || !this.retained.hasRoom(route.bytes, bytes)) {
        this.counters.dropped.value++;
        // 3.1.1 cannot be told; its subscribers get the message all the same.
        if (qos > 0 && from?.version === 5) return 'refused';
        incoming.retain = false;
        return this.publish(incoming, route);
      }
    }
    const isRetainedKept = isRetained && this.#retain(incoming, route);
    const kept = mustKeep && !isUnkept && this.#keep(incoming, route, isRetainedKept);
    incoming.position = 0;
    let count = 0;
    for (let i = 0; i < route.receivers.length; i++) {
      let receiver = route.receivers[i];
      if (receiver === undefined) continue;
      if (receiver.own !== undefined && receiver.session === from) {
        if (receiver.own === null) continue;
        receiver = receiver.own;
      }
      count++;
      const { session } = receiver;
      const retain = incoming.retain && receiver.retainAsPublished;
      const deliveredQos = qos < receiver.qos ? qos : receiver.qos;
      if (deliveredQos === 0) session.sendAtMostOnce(incoming, retain, receiver.identifiers);
      else if (isUnkept && session.isKept) this.#sendUnkept(session, incoming, retain, receiver.identifiers);
      else {
        incoming.position = session.isKept ? this.#position : 0;
        session.deliver(incoming, deliveredQos, retain, receiver.identifiers);
      }
    }
    for (const group of route.groups) {
      if (this.#deliverShared(incoming, group, isUnkept)) count++;
    }
    let isTaken = false;
    if (route.insiders.length > 0) {
      const message = messageOf(incoming, route.topic);
      for (const { subscriber, subscription } of route.insiders) {
        isTaken ||= subscriber.isKeeping === true;
        try {
          subscriber.deliver(message, subscription);
        } catch (error) {
          // A fault of the gateway's own subscriber is not the publisher's.
          this.log.error('a subscriber broke', { topic: route.topic, error: messageOfError(error) });
        }
      }
      count += route.insiders.length;
    }
    this.#chosen = null;
    if (kept || isTaken || (isRetained && this.store.isLasting && this.store.isDirty)) return 'owed';
    return count === 0 ? 'unmatched' : 'done';
  }

  readonly #wills = new KeptWills(this);
  /** Position of the publication that is being handed out. */
  #position = 0;
  /** Who gets it of each shared group, chosen before it was appended. */
  #chosen: Map<string, Member | null> | null = null;

  /** While the disk takes nothing, a kept session gets what can be had without it: at most once, while it is there. */
  #sendUnkept(session: Session, incoming: Incoming, retain: boolean, identifiers: readonly number[]): void {
    if (session.link === null) this.counters.dropped.value++;
    else session.sendAtMostOnce(incoming, retain, identifiers);
  }

  /** Appends one record that names all receivers that are kept; false when there was nothing to keep. */
  #keep(incoming: Incoming, route: Route, isRetainedKept: boolean): boolean {
    const receivers: KeptReceiver[] = [];
    const { qos, from } = incoming;
    if (qos > 0) {
      for (const one of route.receivers) {
        const receiver = one.own !== undefined && one.session === from ? one.own : one;
        if (receiver === null || !receiver.session.isKept || receiver.qos === 0) continue;
        receivers.push({
          session: receiver.session.number,
          qos: qos < receiver.qos ? qos : receiver.qos,
          retain: incoming.retain && receiver.retainAsPublished,
          identifiers: receiver.identifiers,
        });
      }
      this.#chosen = new Map(route.groups.map((group) => [group.key, this.#choose(group)]));
      for (const chosen of this.#chosen.values()) {
        if (chosen === null || !chosen.session.isKept || chosen.entry.qos === 0) continue;
        receivers.push({
          session: chosen.session.number,
          qos: qos < chosen.entry.qos ? qos : chosen.entry.qos,
          retain: incoming.retain && chosen.entry.retainAsPublished,
          identifiers: chosen.entry.identifier === 0 ? NONE : [chosen.entry.identifier],
        });
      }
    }
    const isIdentifierKept = qos === 2 && from !== null && from.isKept;
    if (receivers.length === 0 && !isRetainedKept && !isIdentifierKept) return false;
    this.#position = this.#nextPosition++;
    this.store.append({
      type: 'Published',
      position: this.#position,
      message: publishedOf(incoming, route),
      receivers,
      retained: isRetainedKept,
      ...(isIdentifierKept
        ? { from: { session: from.number, packetIdentifier: incoming.packetIdentifier } }
        : undefined),
    });
    if (!this.store.isLasting) {
      // There is nothing to wait for.
      this.keptPosition = this.#position;
      return false;
    }
    this.schedule();
    return true;
  }

  /** Takes a message as its topic's retained one, or clears that; answers whether it is to be stored, too. */
  #retain(incoming: Incoming, route: Route): boolean {
    if (incoming.payloadEnd === incoming.payloadStart) {
      if (this.retained.delete(route.bytes)?.isStored === true) this.#clearStored(route.bytes);
      return false;
    }
    let { place } = route;
    if (place === null || !this.retained.isHere(place))
      place = route.place = this.retained.placeOf(route.bytes);
    const isStored = incoming.isStored && this.store.isLasting;
    const wasStored = this.retained.set(place, incoming, incoming.from?.clientId ?? '', isStored);
    if (wasStored && !isStored) this.#clearStored(route.bytes);
    return isStored;
  }

  #clearStored(topic: Uint8Array): void {
    this.store.append({ type: 'RetainedCleared', topic });
    this.schedule();
  }

  /** Lets go of a topic's retained message; answers whether there was one. */
  dropRetained(topic: string): boolean {
    const bytes = encoder.encode(topic);
    const old = this.retained.delete(bytes);
    if (old?.isStored === true) this.#clearStored(bytes);
    return old !== null;
  }

  // ---------------------------------------------------------------- shared subscriptions

  /** The member whose turn it is: one that can take it now, else one whose queue is kept. */
  #choose(group: Group): Member | null {
    const { members, key } = group;
    const turn = this.#turns.get(key) ?? 0;
    this.#turns.set(key, (turn + 1) % 0x40000000);
    let away: (typeof members)[number] | null = null;
    let busy: (typeof members)[number] | null = null;
    for (let i = 0; i < members.length; i++) {
      const member = members[(turn + i) % members.length];
      if (member === undefined) continue;
      if (member.session.hasRoom) return member;
      if (member.session.link !== null) busy ??= member;
      else if (member.session.isKept) away ??= member;
    }
    return busy ?? away;
  }

  #deliverShared(incoming: Incoming, group: Group, isUnkept: boolean): boolean {
    const already = this.#chosen?.get(group.key);
    const chosen = already === undefined ? this.#choose(group) : already;
    if (chosen === null) return false;
    const { session, entry } = chosen;
    const retain = incoming.retain && entry.retainAsPublished;
    const qos = incoming.qos < entry.qos ? incoming.qos : entry.qos;
    const identifiers = entry.identifier === 0 ? NONE : [entry.identifier];
    if (qos === 0) session.sendAtMostOnce(incoming, retain, identifiers);
    else if (isUnkept && session.isKept) this.#sendUnkept(session, incoming, retain, identifiers);
    else {
      incoming.position = session.isKept ? this.#position : 0;
      const id = session.deliver(incoming, qos, retain, identifiers);
      if (id !== 0 && qos === 1) session.noteShared(id, entry, sharedCopy(incoming));
    }
    return true;
  }

  redistribute(session: Session, entry: Entry<unknown>, message: Outgoing, messageQos: 1 | 2): void {
    const route = this.routing.find(message.topic, message.topicStart, message.topicEnd);
    const group = route?.groups.find((one) => one.key === `${entry.share}/${entry.filter}`);
    if (route === null || group === undefined) return;
    const others = { key: group.key, members: group.members.filter((member) => member.session !== session) };
    const chosen = this.#choose(others);
    if (chosen === null) return;
    this.log.debug('message of a shared subscription goes to another member', {
      topic: route.topic,
      client: chosen.session.clientId,
    });
    const qos = messageQos < chosen.entry.qos ? messageQos : chosen.entry.qos;
    const identifiers = chosen.entry.identifier === 0 ? NONE : [chosen.entry.identifier];
    if (qos === 0) chosen.session.sendAtMostOnce(message, false, identifiers);
    else {
      if (chosen.session.isKept) {
        const stored = storedOf(message, messageQos, '');
        this.#appendFor(chosen.session, message, stored, qos, false, identifiers);
      }
      const id = chosen.session.deliver(message, qos, false, identifiers);
      if (id !== 0 && qos === 1) chosen.session.noteShared(id, chosen.entry, message);
    }
  }

  // ---------------------------------------------------------------- retained messages to new subscriptions

  /** Gives a session the retained messages of a new subscription, as fast as it takes them. */
  feedRetained(session: Session, entry: Entry<Owner>): void {
    if (this.retained.count === 0) return;
    const places = this.retained.placesOf(entry.filter);
    if (places.length === 0) return;
    let index = 0;
    session.addFeed(() => {
      // What was replaced meanwhile is sent as it is now; what was deleted is not sent.
      const message = this.retained.at(places[index] ?? 0, places[index + 1] ?? 0);
      index += 2;
      if (message !== null) this.#sendRetained(session, entry, message);
      return index < places.length;
    });
  }

  #sendRetained(session: Session, entry: Entry<Owner>, message: Retained): void {
    const { rights } = session;
    if (!rights.mayReadAt(message.topic, message.topicStart, message.topicEnd)) return;
    if (message.expiresAtMs > 0 && message.expiresAtMs <= this.clock.nowMs()) {
      this.dropRetained(topicOf(message));
      return;
    }
    if (entry.noLocal && message.publisher !== '' && message.publisher === session.clientId) return;
    const outgoing: Outgoing = message;
    const qos = message.qos < entry.qos ? message.qos : entry.qos;
    const identifiers = entry.identifier === 0 ? NONE : [entry.identifier];
    if (qos === 0) {
      session.sendAtMostOnce(outgoing, true, identifiers);
      return;
    }
    if (session.isKept) {
      const stored = storedOf(message, message.qos, message.publisher);
      this.#appendFor(session, outgoing, stored, qos, true, identifiers);
    }
    session.deliver(outgoing, qos, true, identifiers);
  }

  /** Keeps a message for one kept session alone, and notes its position. */
  #appendFor(
    session: Session,
    outgoing: Outgoing,
    message: PublishedMessage,
    qos: 1 | 2,
    retain: boolean,
    identifiers: readonly number[],
  ): void {
    outgoing.position = this.#nextPosition++;
    this.store.append({
      type: 'Published',
      position: outgoing.position,
      message,
      receivers: [{ session: session.number, qos, retain, identifiers }],
      retained: false,
    });
    if (!this.store.isLasting) this.keptPosition = outgoing.position;
    this.schedule();
  }

  // ---------------------------------------------------------------- subscriptions

  subscribe(session: Session, text: string, entry: Entry<Session>): boolean {
    const isNew = this.subscriptions.add(entry);
    (session.subscriptions ??= new Map()).set(text, entry);
    this.routing.changed();
    return isNew;
  }

  /** Answers whether the subscription was there. */
  unsubscribe(session: Session, text: string): boolean {
    const entry = session.subscriptions?.get(text);
    if (entry === undefined) return false;
    session.subscriptions?.delete(text);
    this.subscriptions.remove(session, entry.filter, entry.share);
    this.routing.changed();
    return true;
  }

  // ---------------------------------------------------------------- sessions

  /** A new session for a client identifier that has none. Kept ones are told to the store. */
  openSession(clientId: string, identity: Identity, version: 4 | 5, expiryS: number): Session {
    const session = new Session(this, clientId, identity, new Rights(this.access, identity));
    session.version = version;
    session.expiryS = expiryS;
    this.sessions.set(clientId, session);
    if (expiryS > 0) this.#open(session);
    return session;
  }

  #open(session: Session): void {
    session.number = this.#openInStore(session);
  }

  #openInStore(session: Session): number {
    const number = this.#nextSession++;
    this.store.append({
      type: 'SessionOpened',
      session: number,
      clientId: session.clientId,
      owner: session.identity.user,
      expiryS: session.expiryS,
      protocolVersion: session.version,
    });
    this.schedule();
    return number;
  }

  /** What the client that is connected now leaves behind. */
  setWill(session: Session, will: Will | null): void {
    session.will = will;
    // Without the store it is published all the same, as long as this process lives.
    if (will === null || !this.store.isHealthy) return;
    this.#wills.arm(session, will, session.isKept ? session.number : this.#openInStore(session));
  }

  /** The session goes on with a new connection: nothing of its end is pending any more. */
  resumeSession(session: Session, identity: Identity, version: 4 | 5, expiryS: number): void {
    this.#cancelTimers(session);
    session.will = null;
    this.#wills.clear(session);
    session.identity = identity;
    session.rights = new Rights(this.access, identity);
    session.version = version;
    session.expiryS = expiryS;
    if (!session.isKept) return;
    this.store.append({ type: 'SessionChanged', session: session.number, expiryS, disconnectedAtMs: 0 });
    this.schedule();
  }

  /** The connection is gone. The will is published now, later, or (null by then) not at all. */
  leaveSession(session: Session): void {
    if (session.hasEnded) return;
    session.detach();
    const { will, expiryS } = session;
    const delayS = will === null ? 0 : Math.min(will.delayS, expiryS);
    if (expiryS === 0) {
      this.endSession(session);
      return;
    }
    const nowMs = this.clock.nowMs();
    if (session.isKept) {
      this.store.append({
        type: 'SessionChanged',
        session: session.number,
        expiryS,
        disconnectedAtMs: nowMs,
      });
      this.schedule();
    }
    if (will === null) this.#wills.clear(session);
    else if (delayS === 0) this.#publishWill(session);
    else {
      this.#wills.wait(session, will, nowMs + delayS * 1000);
      session.cancelWill = this.clock.after(delayS * 1000, () => this.#publishWill(session));
    }
    this.#expireIn(session, expiryS * 1000);
  }

  #expireIn(session: Session, delayMs: number): void {
    if (session.expiryS >= NEVER_EXPIRES_S) return;
    session.cancelExpiry = this.clock.after(delayMs, () => this.endSession(session));
  }

  /** The session is over: its will is due, its subscriptions and its queue are gone. */
  endSession(session: Session): void {
    if (session.hasEnded) return;
    if (this.sessions.get(session.clientId) === session) this.sessions.delete(session.clientId);
    session.link = null;
    this.#cancelTimers(session);
    const heritage = heritageOf(session);
    if (session.subscriptions !== null) {
      for (const entry of session.subscriptions.values()) {
        this.subscriptions.remove(session, entry.filter, entry.share);
      }
      session.subscriptions = null;
      this.routing.changed();
    }
    if (session.will === null) this.#wills.clear(session);
    else this.#publishWill(session);
    session.end();
    if (heritage !== null) {
      void bequeath(this, session, heritage).then((isDone) => {
        if (isDone) this.#forget(session);
      });
    } else if (session.isKept) this.#forget(session);
  }

  #forget(session: Session): void {
    this.store.append({ type: 'SessionEnded', session: session.number });
    this.schedule();
  }

  #cancelTimers(session: Session): void {
    session.cancelExpiry?.();
    session.cancelExpiry = null;
    session.cancelWill?.();
    session.cancelWill = null;
  }

  #publishWill(session: Session): void {
    const { will } = session;
    session.cancelWill?.();
    session.cancelWill = null;
    if (will === null) return;
    session.will = null;
    // Rights may have changed since it was given.
    if (session.rights.mayWrite(decoder.decode(will.topic))) this.publishWillMessage(session, will);
    else this.counters.denied.value++;
    // In this order: a write that is cut between the two brings it again rather than never.
    this.#wills.clear(session);
  }

  /** The will becomes an ordinary publication of its session. */
  publishWillMessage(session: Session | null, will: Will): void {
    const route = this.routing.find(will.topic, 0, will.topic.length);
    if (route === null) return;
    const incoming: Incoming = {
      topic: route.bytes,
      topicStart: 0,
      topicEnd: route.bytes.length,
      properties: will.properties,
      propertiesStart: 0,
      propertiesEnd: will.properties.length,
      payload: will.payload,
      payloadStart: 0,
      payloadEnd: will.payload.length,
      position: 0,
      expiresAtMs: will.expiryS < 0 ? 0 : this.clock.nowMs() + will.expiryS * 1000,
      qos: will.qos,
      retain: will.retain,
      from: session,
      address: '',
      isStored: true,
      packetIdentifier: 0,
    };
    // Its packet never was in flight, so there is no identifier to keep.
    if (incoming.qos === 2 && session?.isKept === true) incoming.from = null;
    this.publish(incoming, route);
  }

  // ---------------------------------------------------------------- recovery

  /** Takes over what the store kept. */
  restore(state: StoredState, groupsOf: (user: string) => readonly string[] = () => []): void {
    const nowMs = this.clock.nowMs();
    this.#nextPosition = Math.max(1, state.nextPosition);
    this.#nextSession = Math.max(1, state.nextSession);
    this.keptPosition = this.#nextPosition - 1;
    for (const { message } of state.retained) {
      if (message.expiresAtMs > 0 && message.expiresAtMs <= nowMs) {
        this.store.append({ type: 'RetainedCleared', topic: message.topic });
        continue;
      }
      const { topic, payload, properties, qos, expiresAtMs, publisher } = message;
      const parts = { topicStart: 0, topicEnd: topic.length, payloadStart: 0, payloadEnd: payload.length };
      const ends = { propertiesStart: 0, propertiesEnd: properties.length };
      const retainable = { topic, payload, properties, qos, expiresAtMs, ...parts, ...ends };
      this.retained.set(this.retained.placeOf(topic), retainable, publisher, true);
    }
    // What ends with the start is published when everybody is back who may get it.
    const ends = state.sessions.map((kept) => this.#restoreSession(kept, groupsOf(kept.owner), nowMs));
    for (const end of ends) end?.();
  }

  /** Answers what is due at once: the session's end, or its will. */
  #restoreSession(
    kept: StoredState['sessions'][number],
    groups: readonly string[],
    nowMs: number,
  ): (() => void) | null {
    const identity: Identity = { user: kept.owner, groups, clientId: kept.clientId };
    const session = new Session(this, kept.clientId, identity, new Rights(this.access, identity));
    session.number = kept.session;
    session.expiryS = kept.expiryS;
    session.version = kept.protocolVersion;
    this.sessions.set(kept.clientId, session);
    const lastPosition = kept.queuedMessages + kept.inFlight.length > 0 ? this.#nextPosition - 1 : 0;
    session.restore(kept.inFlight, kept.queuedMessages, kept.queuedBytes, lastPosition);
    if (kept.incoming.length > 0) session.incoming = new Set(kept.incoming);
    for (const { filter, options, identifier } of kept.subscriptions) {
      const parsed = parseFilter(filter);
      if (parsed !== null) this.subscribe(session, filter, entryOf(session, parsed, options, identifier));
    }
    // One that was connected when the process died has been away since then, as far as anybody can tell.
    // One that left before the clock was set left some time ago, nobody knows when.
    const isKnown = kept.disconnectedAtMs >= CLOCK_SET_AFTER_MS;
    const sinceMs = isKnown ? Math.min(kept.disconnectedAtMs, nowMs) : nowMs;
    if (kept.disconnectedAtMs === 0) {
      this.store.append({
        type: 'SessionChanged',
        session: kept.session,
        expiryS: kept.expiryS,
        disconnectedAtMs: nowMs,
      });
    }
    const dueAtMs = kept.will === null ? Infinity : this.#wills.restore(session, kept.will);
    const endsInMs = kept.expiryS >= NEVER_EXPIRES_S ? Infinity : sinceMs + kept.expiryS * 1000 - nowMs;
    if (endsInMs <= 0) return () => this.endSession(session);
    this.#expireIn(session, endsInMs);
    if (dueAtMs <= nowMs) return () => this.#publishWill(session);
    if (session.will !== null)
      session.cancelWill = this.clock.after(dueAtMs - nowMs, () => this.#publishWill(session));
    return null;
  }

  // ---------------------------------------------------------------- overflow

  overflowed(session: Session, count: number): void {
    this.#overflows.set(session.clientId, (this.#overflows.get(session.clientId) ?? 0) + count);
    if (this.#overflowTimer !== null) return;
    const tell = (): void => {
      const overflows = [...this.#overflows];
      this.#overflows.clear();
      this.#overflowTimer = overflows.length === 0 ? null : this.clock.after(OVERFLOW_MS, tell);
      for (const [clientId, dropped] of overflows) {
        this.log.warn('queue is full: the oldest messages were dropped', { client: clientId, dropped });
        this.#onOverflow(clientId, dropped);
      }
    };
    this.#overflowTimer = this.clock.after(0, tell);
  }

  /** Writes what is pending and stops everything of its own accord. */
  stop(): void {
    this.isStopped = true;
    if (this.#immediate !== null) clearImmediate(this.#immediate);
    this.#immediate = null;
    this.#overflowTimer?.();
    this.#overflowTimer = null;
    this.commits.stop();
    for (const session of this.sessions.values()) this.#cancelTimers(session);
  }

  /** Runs the end of a turn now. */
  flush(): void {
    if (this.#immediate !== null) clearImmediate(this.#immediate);
    this.#endTurn();
  }

  /** Rules changed: every session's rights are made again. */
  setAccess(access: readonly AccessRule[] | null, neverRetained: readonly string[]): void {
    this.access = access;
    for (const session of this.sessions.values()) session.rights = new Rights(access, session.identity);
    this.routing.neverRetained = neverRetained;
  }
}

/** Options byte of a subscription, as in SUBSCRIBE, as an entry of the trie. */
export function entryOf<Owned extends Owner>(
  owner: Owned,
  parsed: { share: string; filter: string },
  options: number,
  identifier: number,
): Entry<Owned> {
  return {
    owner,
    filter: parsed.filter,
    share: parsed.share,
    // Two bits, checked not to be 3.
    qos: (options & 3) as QoS,
    noLocal: (options & 4) !== 0,
    retainAsPublished: (options & 8) !== 0,
    identifier,
  };
}

function publishedOf(incoming: Incoming, route: Route): PublishedMessage {
  return {
    topic: route.bytes,
    payload: incoming.payload.subarray(incoming.payloadStart, incoming.payloadEnd),
    properties:
      incoming.propertiesStart === incoming.propertiesEnd
        ? EMPTY
        : incoming.properties.subarray(incoming.propertiesStart, incoming.propertiesEnd),
    qos: incoming.qos,
    expiresAtMs: incoming.expiresAtMs,
    publisher: incoming.from?.clientId ?? '',
  };
}

/** A message for those who keep it: its bytes are copied. */
function messageOf(incoming: Incoming, topic: string): Message {
  const { from } = incoming;
  return {
    topic,
    payload: copyOf(incoming.payload, incoming.payloadStart, incoming.payloadEnd),
    qos: incoming.qos,
    retain: incoming.retain,
    ...(incoming.propertiesStart === incoming.propertiesEnd
      ? undefined
      : { properties: copyOf(incoming.properties, incoming.propertiesStart, incoming.propertiesEnd) }),
    sender:
      from === null
        ? null
        : { clientId: from.clientId, user: from.identity.user, address: incoming.address || 'unknown' },
    ...(incoming.expiresAtMs === 0 ? undefined : { expiresAtMs: incoming.expiresAtMs }),
    stored: incoming.isStored,
  };
}

/** A message as the store takes it, which copies what it keeps. */
function storedOf(message: Outgoing, qos: QoS, publisher: string): PublishedMessage {
  const { expiresAtMs } = message;
  return {
    topic: message.topic.subarray(message.topicStart, message.topicEnd),
    payload: message.payload.subarray(message.payloadStart, message.payloadEnd),
    properties: message.properties.subarray(message.propertiesStart, message.propertiesEnd),
    qos,
    expiresAtMs,
    publisher,
  };
}

function topicOf({ topic, topicStart, topicEnd }: Publication): string {
  return decoder.decode(topic.subarray(topicStart, topicEnd));
}

function sharedCopy(incoming: Incoming): Outgoing {
  return {
    topic: copyOf(incoming.topic, incoming.topicStart, incoming.topicEnd),
    topicStart: 0,
    topicEnd: incoming.topicEnd - incoming.topicStart,
    properties: copyOf(incoming.properties, incoming.propertiesStart, incoming.propertiesEnd),
    propertiesStart: 0,
    propertiesEnd: incoming.propertiesEnd - incoming.propertiesStart,
    payload: copyOf(incoming.payload, incoming.payloadStart, incoming.payloadEnd),
    payloadStart: 0,
    payloadEnd: incoming.payloadEnd - incoming.payloadStart,
    expiresAtMs: incoming.expiresAtMs,
    position: 0,
  };
}
