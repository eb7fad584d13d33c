/** What becomes of publications with the RETAIN flag, and how a new subscription gets what was retained. */
import type { Cancel, Clock } from '../clock.js';
import type { PublishedMessage, Store, StoredState } from '../store/store.js';
import { type Incoming, topicOf } from './incoming.js';
import type { Outgoing } from './outgoing.js';
import type { Retained, RetainedMessages } from './retained.js';
import type { Route } from './route.js';
import type { Feed, Session } from './session.js';
import type { Entry } from './subscriptions.js';
import type { TopicSearch } from './topictree.js';
import type { Turns } from './turns.js';
import { Unstored } from './unstored.js';

const NONE: readonly number[] = [];
/** How often it is looked whether something expired, how long that takes of the loop, and pauses amid a round. */
const SWEEP_EVERY_MS = 1000;
const SWEEP_MS = 2;
const SWEEP_PAUSE_MS = 20;
/** The time is looked at after so many places. */
const SWEEP_PLACES = 256;

export interface RetainingParts {
  readonly clock: Clock;
  readonly store: Store;
  readonly turns: Turns;
  readonly retained: RetainedMessages;
}

export class Retaining {
  readonly #clock: Clock;
  readonly #store: Store;
  readonly #turns: Turns;
  readonly #retained: RetainedMessages;
  readonly #unstored: Unstored;
  /** Null while no message has an expiry. */
  #cancelSweep: Cancel | null = null;
  #isStopped = false;

  constructor({ clock, store, turns, retained }: RetainingParts) {
    this.#clock = clock;
    this.#store = store;
    this.#turns = turns;
    this.#retained = retained;
    this.#unstored = new Unstored(clock, store, turns, (topic) => this.#storeAsItIs(topic));
  }

  /** Whether there is room for it. While memory is short clients replace what is there and bring nothing new. */
  hasRoom(incoming: Incoming, isShort: boolean): boolean {
    if (isShort && incoming.from !== null && this.#retained.get(topicOf(incoming)) === null) return false;
    return this.#retained.hasRoom(incoming) || this.#makeRoom(incoming);
  }

  /** What has expired takes nobody's room, though nobody asked for it since. */
  #makeRoom(incoming: Incoming): boolean {
    if (this.#retained.soonestExpiryMs > this.#clock.nowMs()) return false;
    // Thousands who are refused are not to have the loop to themselves with this.
    this.#turns.handedOut(SWEEP_PLACES);
    return this.#sweep(() => this.#retained.hasRoom(incoming));
  }

  // ---------------------------------------------------------------- expiry

  /** Goes through some of what is kept for what has expired, until that is enough; answers whether it was. */
  #sweep(isEnough: () => boolean): boolean {
    const nowMs = this.#clock.nowMs();
    const endMs = this.#clock.monotonicMs() + SWEEP_MS;
    while (this.#retained.soonestExpiryMs <= nowMs) {
      this.#retained.sweep(nowMs, SWEEP_PLACES, this.#expired);
      if (isEnough()) return true;
      if (this.#clock.monotonicMs() >= endMs) return false;
    }
    return false;
  }

  readonly #expired = ({ topic, topicStart, topicEnd, isStored }: Retained): void => {
    if (isStored) this.#clearStored(topic.subarray(topicStart, topicEnd));
  };

  /** Lets go of what expires, though nobody asks for it [MQTT 5, 3.3.1.3]; nothing goes on while nothing can expire. */
  #sweepLater(): void {
    if (this.#cancelSweep !== null || this.#isStopped) return;
    const isAmid = this.#retained.soonestExpiryMs <= this.#clock.nowMs();
    this.#cancelSweep = this.#clock.after(isAmid ? SWEEP_PAUSE_MS : SWEEP_EVERY_MS, () => {
      this.#cancelSweep = null;
      // Each of those that are stored is a record.
      if (!this.#turns.isBacklogged) this.#sweep(() => false);
      if (this.#retained.soonestExpiryMs < Infinity) this.#sweepLater();
    });
  }

  stop(): void {
    this.#isStopped = true;
    this.#cancelSweep?.();
    this.#cancelSweep = null;
    this.#unstored.stop();
  }

  // ---------------------------------------------------------------- what comes and goes

  /** Takes a message as its topic's retained one, or clears that; answers whether it is to be stored, too. */
  take(incoming: Incoming, route: Route): boolean {
    if (incoming.payloadEnd === incoming.payloadStart) {
      this.#drop(topicOf(incoming));
      return false;
    }
    const isStored = incoming.isStored && this.#store.isLasting;
    const node = this.#nodeOf(incoming, route);
    const wasStored = this.#retained.set(node, incoming, incoming.from?.clientId ?? '', isStored);
    if (wasStored && !isStored) this.#clearStored(topicOf(incoming));
    if (incoming.expiresAtMs > 0) this.#sweepLater();
    return isStored;
  }

  /** The store does not take the one that was just taken: it gets what there is then when it takes messages again. */
  storeLater(incoming: Incoming): void {
    this.#unstored.add(topicOf(incoming));
  }

  #storeAsItIs(topic: Uint8Array): void {
    const message = this.#retained.get(topic);
    if (message?.isStored !== true) return;
    const position = this.#turns.takePosition();
    this.#store.append({
      type: 'Published',
      position,
      message: storedOf(message, message.qos, message.publisher),
      receivers: [],
      retained: true,
    });
    this.#turns.appended(position);
  }

  /** Where its topic's message is kept. A route of one topic remembers that. */
  #nodeOf({ topic, topicStart, topicEnd }: Incoming, route: Route): number {
    const { place } = route;
    if (place !== null && this.#retained.isHere(place)) return place.node;
    const node = this.#retained.nodeOf(topic, topicStart, topicEnd);
    if (route.topic !== '') route.place = this.#retained.placeAt(node);
    return node;
  }

  #clearStored(topic: Uint8Array): void {
    this.#store.append({ type: 'RetainedCleared', topic });
    this.#turns.schedule();
  }

  /** Lets go of a topic's retained message. */
  #drop(topic: Uint8Array): void {
    const old = this.#retained.delete(topic);
    this.#unstored.forget(topic);
    if (old?.isStored === true) this.#clearStored(topic);
  }

  /** Gives a session the retained messages of a new subscription, as fast as it takes them. */
  feed(session: Session, entry: Entry<unknown>): void {
    const { filter } = entry;
    if (!this.#retained.mayHave(filter)) return;
    const waiting = session.feedOf(filter);
    if (waiting === undefined)
      session.addFeed(filter, new RetainedFeed(this, this.#retained, session, entry));
    else waiting.again(entry);
  }

  send(session: Session, entry: Entry<unknown>, message: Retained): void {
    if (!session.rights.mayReadAt(message.topic, message.topicStart, message.topicEnd)) return;
    // It goes with the next sweep.
    if (message.expiresAtMs > 0 && message.expiresAtMs <= this.#clock.nowMs()) return;
    if (entry.noLocal && message.publisher !== '' && message.publisher === session.clientId) return;
    const qos = message.qos < entry.qos ? message.qos : entry.qos;
    const identifiers = entry.identifier === 0 ? NONE : [entry.identifier];
    if (qos === 0) {
      session.sendAtMostOnce(message, true, identifiers);
      return;
    }
    if (session.isKept) {
      const { publisher } = message;
      keepFor(this.#store, this.#turns, session, message, { messageQos: message.qos, publisher, qos, retain: true, identifiers }); // prettier-ignore
    }
    session.deliver(message, qos, true, identifiers);
  }

  /** Takes over what the store kept. */
  restore(state: StoredState['retained']): void {
    const nowMs = this.#clock.nowMs();
    for (const { message } of state) {
      if (message.expiresAtMs > 0 && message.expiresAtMs <= nowMs) {
        this.#store.append({ type: 'RetainedCleared', topic: message.topic });
        continue;
      }
      const { topic, payload, properties, qos, expiresAtMs, publisher } = message;
      const parts = { topicStart: 0, topicEnd: topic.length, payloadStart: 0, payloadEnd: payload.length };
      const ends = { propertiesStart: 0, propertiesEnd: properties.length };
      const retainable = { topic, payload, properties, qos, expiresAtMs, ...parts, ...ends };
      this.#retained.set(this.#retained.nodeOf(topic, 0, topic.length), retainable, publisher, true);
    }
    if (this.#retained.soonestExpiryMs < Infinity) this.#sweepLater();
  }
}

/** A search takes so many places in a step. */
const SEARCH_PLACES = 32;

/**
 * What is retained is searched for the filter when it is sent, not before: a session with thousands of such has one
 * search under way. What was replaced meanwhile is sent as it is now; what was deleted, or is new, is not sent.
 */
class RetainedFeed implements Feed {
  readonly #retaining: Retaining;
  readonly #retained: RetainedMessages;
  readonly #session: Session;
  #entry: Entry<unknown>;
  #since: number;
  #search: TopicSearch | null = null;
  /** For which subscription it begins anew, and since when that is. */
  #next: Entry<unknown> | null = null;
  #nextSince = 0;

  constructor(retaining: Retaining, retained: RetainedMessages, session: Session, entry: Entry<unknown>) {
    this.#retaining = retaining;
    this.#retained = retained;
    this.#session = session;
    this.#entry = entry;
    this.#since = retained.newestPlace;
  }

  again(entry: Entry<unknown>): void {
    this.#next = entry;
    this.#nextSince = this.#retained.newestPlace;
  }

  step(): boolean {
    const search = (this.#search ??= this.#retained.search(this.#entry.filter, this.#since));
    const message = this.#retained.next(search, SEARCH_PLACES);
    if (message !== null) this.#retaining.send(this.#session, this.#entry, message);
    return !search.isDone || this.#begin();
  }

  /** Anew, if its filter was subscribed to again. */
  #begin(): boolean {
    if (this.#next === null) return false;
    this.#entry = this.#next;
    this.#since = this.#nextSince;
    this.#next = this.#search = null;
    return true;
  }

  rest(): void {
    if (this.#search !== null) this.#retained.rest(this.#search);
  }

  end(): void {
    if (this.#search !== null) this.#retained.giveUp(this.#search);
  }
}

/** How one kept session gets a message that went to nobody else. */
interface Delivered {
  readonly messageQos: 0 | 1 | 2;
  readonly publisher: string;
  readonly qos: 1 | 2;
  readonly retain: boolean;
  readonly identifiers: readonly number[];
  readonly share?: string;
}

/** Keeps a message for one kept session alone, and notes its position. */
export function keepFor(
  store: Store,
  turns: Turns,
  session: Session,
  outgoing: Outgoing,
  { messageQos, publisher, qos, retain, identifiers, share }: Delivered,
): void {
  outgoing.position = turns.takePosition();
  store.append({
    type: 'Published',
    position: outgoing.position,
    message: storedOf(outgoing, messageQos, publisher),
    receivers: [{ session: session.number, qos, retain, identifiers, share }],
    retained: false,
  });
  turns.appended(outgoing.position);
}

/** A message as the store takes it, which copies what it keeps. */
function storedOf(message: Outgoing, qos: 0 | 1 | 2, publisher: string): PublishedMessage {
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
