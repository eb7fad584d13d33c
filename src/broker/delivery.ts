/**
 * Who gets a publication, and what of it is kept before. It is handed parts and the route of their topic; it knows
 * nothing of sockets and packets.
 */
import { messageOf as messageOfError } from '../errors.js';
import type { Log } from '../log.js';
import type { Receiver as KeptReceiver, Store } from '../store/store.js';
import type { BrokerCounters } from './counters.js';
import { type Incoming, messageOf, publishedOf } from './incoming.js';
import type { Outgoing } from './outgoing.js';
import { keepFor, type Retaining } from './retaining.js';
import { type Group, groupKey, keptReceiverOf, type Route } from './route.js';
import type { Routing } from './routing.js';
import type { Session } from './session.js';
import { type Member, Shares } from './shares.js';
import type { Entry } from './subscriptions.js';
import type { Turns } from './turns.js';

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

export interface DeliveryParts {
  readonly log: Log;
  readonly store: Store;
  readonly counters: BrokerCounters;
  readonly turns: Turns;
  readonly routing: Routing;
  readonly retaining: Retaining;
}

/** Another copy for a session that gets one already, each by a subscription of its own (MQTT 5, 4.8.2). */
interface Copy {
  readonly receiver: KeptReceiver;
  position: number;
}

const NONE: readonly number[] = [];
/** So many further copies of a publication, or so many bytes of them, go to sessions that are in several of its shares. */
const COPIES_MIN = 16;
const COPIES_BYTES = 4 * 1024 * 1024;

export class Delivery {
  readonly #log: Log;
  readonly #store: Store;
  readonly #counters: BrokerCounters;
  readonly #turns: Turns;
  readonly #routing: Routing;
  readonly #retaining: Retaining;
  readonly shares = new Shares();
  /** Position of the publication that is being handed out. */
  #position = 0;
  /** Further copies of it, by the member of a shared subscription that gets one: kept apart, for each is acknowledged. */
  #copies: Map<Member, Copy> | null = null;
  /** Who has it by a shared subscription already, where there are several; and what further copies there are. */
  readonly #holders = new Set<Session>();
  #copyCount = 0;
  #copyBytes = 0;
  /** Memory is short: no topic gets a retained message that has none. */
  isShort = false;

  constructor({ log, store, counters, turns, routing, retaining }: DeliveryParts) {
    this.#log = log;
    this.#store = store;
    this.#counters = counters;
    this.#turns = turns;
    this.#routing = routing;
    this.#retaining = retaining;
  }

  /** Takes a publication: keeps what must be kept and hands it to everybody who gets it. Rights were checked. */
  publish(incoming: Incoming, route: Route): Outcome {
    const { qos, from, packetIdentifier } = incoming;
    const store = this.#store;
    const isAnswered = packetIdentifier !== 0;
    const isRetained = incoming.retain && !route.isNeverRetained;
    const mustKeep =
      (route.hasKept && qos > 0) ||
      (isRetained && incoming.isStored && store.isLasting) ||
      (qos === 2 && isAnswered && from !== null && from.isKept);
    // A client is told, or waits, and so does a broker elsewhere; what is not answered (the gateway's own, a will) goes on to who is there.
    const isUnkept =
      mustKeep &&
      qos > 0 &&
      !isAnswered &&
      !incoming.isAwaited &&
      (!store.isHealthy || (from === null && this.#turns.isBacklogged));
    if (mustKeep && qos > 0 && !isUnkept && !store.isHealthy) return 'refused';
    if (isRetained && incoming.payloadEnd > incoming.payloadStart) {
      if (!this.#retaining.hasRoom(incoming, this.isShort)) {
        this.#counters.dropped.value++;
        // 3.1.1 cannot be told; its subscribers get the message all the same.
        if (isAnswered && from?.version === 5) return 'refused';
        incoming.retain = false;
        return this.publish(incoming, route);
      }
    }
    const isRetainedKept = isRetained && this.#retaining.take(incoming, route);
    if (isRetainedKept && (isUnkept || !store.isHealthy)) this.#retaining.storeLater(incoming);
    const isKept = mustKeep && !isUnkept && this.#keep(incoming, route, isRetainedKept);
    const count = this.#handOut(incoming, route, isUnkept);
    const isTaken = route.insiders.length > 0 && this.#tellInsiders(incoming, route.insiders, route.topic);
    if (isKept || isTaken || (isRetained && store.isLasting && store.isDirty)) return 'owed';
    return count === 0 ? 'unmatched' : 'done';
  }

  /** Answers to how many it went. */
  #handOut(incoming: Incoming, route: Route, isUnkept: boolean): number {
    const { qos, from } = incoming;
    const { receivers, groups } = route;
    const most = receivers.length + groups.length;
    this.#turns.handedOut(most);
    this.#turns.putOut(most * (incoming.payloadEnd - incoming.payloadStart));
    let count = 0;
    incoming.position = 0;
    for (let i = 0; i < receivers.length; i++) {
      let receiver = receivers[i];
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
    for (const group of groups) if (this.#deliverShared(incoming, group, isUnkept)) count++;
    this.shares.forgetChosen();
    this.#copies = null;
    // To clear one that is empty makes it anew, for each publication.
    if (this.#holders.size > 0) this.#holders.clear();
    this.#copyCount = this.#copyBytes = 0;
    return count + route.insiders.length;
  }

  /**
   * Hands a publication that the store has had since before this process to those who keep it elsewhere: what died may have
   * stored it for its own subscribers, and not there. Better twice than never.
   */
  keepElsewhere(incoming: Incoming, { insiders, topic }: Route): void {
    const keepers = insiders.filter(({ subscriber }) => subscriber.isKeeping === true);
    if (keepers.length > 0) this.#tellInsiders(incoming, keepers, topic);
  }

  /** Answers whether one of them keeps it. */
  #tellInsiders(incoming: Incoming, insiders: Route['insiders'], topic: string): boolean {
    const message = messageOf(incoming, topic);
    let isTaken = false;
    for (const { subscriber, subscription } of insiders) {
      isTaken ||= subscriber.isKeeping === true;
      try {
        subscriber.deliver(message, subscription);
      } catch (error) {
        // A fault of the gateway's own subscriber is not the publisher's.
        this.#log.error('a subscriber broke', { topic, error: messageOfError(error) });
      }
    }
    return isTaken;
  }

  /** While the disk takes nothing, a kept session gets what can be had without it: at most once, while it is there. */
  #sendUnkept(session: Session, incoming: Incoming, retain: boolean, identifiers: readonly number[]): void {
    if (session.link === null) this.#counters.dropped.value++;
    else session.sendAtMostOnce(incoming, retain, identifiers);
  }

  /** Appends one record that names all receivers that are kept; false when there was nothing to keep. */
  #keep(incoming: Incoming, route: Route, isRetainedKept: boolean): boolean {
    const { qos, from, packetIdentifier } = incoming;
    const receivers = qos === 0 ? [] : this.#keptReceivers(incoming, route, qos);
    // A will has an author, but no packet of it was ever in flight.
    const isIdentifierKept = qos === 2 && packetIdentifier !== 0 && from !== null && from.isKept;
    if (receivers.length === 0 && !isRetainedKept && !isIdentifierKept) return false;
    const publisher = isIdentifierKept ? { session: from.number, packetIdentifier } : undefined;
    const copies = this.#copies;
    this.#position = this.#append(
      incoming,
      receivers,
      isRetainedKept,
      copies === null ? publisher : undefined,
    );
    if (copies === null) return this.#store.isLasting;
    // The publisher's identifier comes last: what a crash cuts off is published again.
    let left = copies.size;
    for (const copy of copies.values())
      copy.position = this.#append(incoming, [copy.receiver], false, --left === 0 ? publisher : undefined);
    return this.#store.isLasting;
  }

  /** Answers its position. */
  #append(
    incoming: Incoming,
    receivers: readonly KeptReceiver[],
    retained: boolean,
    from: { session: number; packetIdentifier: number } | undefined,
  ): number {
    const position = this.#turns.takePosition();
    this.#store.append({
      type: 'Published',
      position,
      message: publishedOf(incoming),
      receivers,
      retained,
      from,
    });
    this.#turns.appended(position);
    return position;
  }

  #keptReceivers(incoming: Incoming, route: Route, qos: 1 | 2): readonly KeptReceiver[] {
    const { from, retain } = incoming;
    const usual = retain || route.groups.length > 0 ? null : route.keptReceivers(qos);
    if (usual !== null) return usual;
    const receivers: KeptReceiver[] = [];
    for (const one of route.receivers) {
      const receiver = one.own !== undefined && one.session === from ? one.own : one;
      if (receiver === null || !receiver.session.isKept || receiver.qos === 0) continue;
      receivers.push(keptReceiverOf(receiver, qos, retain));
    }
    if (route.groups.length === 0) return receivers;
    const named = new Set(receivers.map(({ session }) => session));
    for (const [key, chosen] of this.shares.chooseAll(route.groups, qos)) {
      if (chosen === null || !chosen.session.isKept || chosen.entry.qos === 0) continue;
      const { session, entry } = chosen;
      const receiver = {
        session: session.number,
        qos: qos < entry.qos ? qos : entry.qos,
        retain: retain && entry.retainAsPublished,
        identifiers: identifiersOf(entry),
        share: key,
      };
      if (!named.has(session.number)) {
        named.add(session.number);
        receivers.push(receiver);
      } else if (this.#mayCopy(incoming)) (this.#copies ??= new Map()).set(chosen, { receiver, position: 0 });
      else {
        this.shares.withdraw(key);
        session.miss();
      }
    }
    return receivers;
  }

  // ---------------------------------------------------------------- shared subscriptions

  /** A session in thousands of shares that match would fill memory and disk with one large message. */
  #mayCopy({
    topicStart,
    topicEnd,
    payloadStart,
    payloadEnd,
    propertiesStart,
    propertiesEnd,
  }: Incoming): boolean {
    this.#copyCount++;
    this.#copyBytes += topicEnd - topicStart + payloadEnd - payloadStart + propertiesEnd - propertiesStart;
    return this.#copyCount <= COPIES_MIN || this.#copyBytes <= COPIES_BYTES;
  }

  /** Whether a session that has its queue in memory may have the publication, once more perhaps. */
  #mayHold(session: Session, incoming: Incoming): boolean {
    if (!this.#holders.has(session)) this.#holders.add(session);
    else if (!this.#mayCopy(incoming)) return false;
    return true;
  }

  #deliverShared(incoming: Incoming, group: Group, isUnkept: boolean): boolean {
    const member = this.shares.memberOf(group, incoming.qos);
    if (member === null) return false;
    const { session, entry } = member;
    const retain = incoming.retain && entry.retainAsPublished;
    const qos = incoming.qos < entry.qos ? incoming.qos : entry.qos;
    const identifiers = identifiersOf(entry);
    if (qos === 0) session.sendAtMostOnce(incoming, retain, identifiers);
    else if (isUnkept && session.isKept) this.#sendUnkept(session, incoming, retain, identifiers);
    else if (!session.isKept && !this.#mayHold(session, incoming)) session.miss();
    else {
      incoming.position = session.isKept ? (this.#copies?.get(member)?.position ?? this.#position) : 0;
      session.deliver(incoming, qos, retain, identifiers, entry);
    }
    return true;
  }

  /** Gives to another member of a shared subscription what a session that ended left behind. */
  redistribute(session: Session, share: string, message: Outgoing, messageQos: 1 | 2): void {
    const route = this.#routing.find(message.topic, message.topicStart, message.topicEnd);
    const group = route?.groups.find((one) => one.key === share);
    if (route === null || group === undefined) return;
    const others = { key: group.key, members: group.members.filter((member) => member.session !== session) };
    const heir = this.shares.choose(others, messageQos);
    if (heir === null) return;
    this.#log.debug('message of a shared subscription goes to another member', {
      topic: route.topic,
      client: heir.session.clientId,
    });
    this.#inherit(heir, message, messageQos);
  }

  #inherit({ session, entry }: Member, message: Outgoing, messageQos: 1 | 2): void {
    const qos = messageQos < entry.qos ? messageQos : entry.qos;
    const identifiers = identifiersOf(entry);
    if (qos === 0) {
      session.sendAtMostOnce(message, false, identifiers);
      return;
    }
    if (session.isKept)
      keepFor(this.#store, this.#turns, session, message, { messageQos, publisher: '', qos, retain: false, identifiers, share: groupKey(entry) }); // prettier-ignore
    session.deliver(message, qos, false, identifiers, entry);
  }
}

function identifiersOf({ identifier }: Entry<unknown>): readonly number[] {
  return identifier === 0 ? NONE : [identifier];
}
