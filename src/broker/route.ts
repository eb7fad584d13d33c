/**
 * What one topic leads to: receivers, shared groups, in-process subscribers. Found by the topic's bytes, in a bounded
 * table where a newcomer takes the place of whoever has its slot; built again when subscriptions or rights changed.
 */
import type { Receiver as KeptReceiver } from '../store/store.js';
import type { Subscriber, Subscription } from './message.js';
import type { Place } from './retained.js';
import type { Session } from './session.js';
import type { Entry } from './subscriptions.js';

/** A subscriber inside this process, such as the gateway's command path. */
export class Insider {
  readonly subscriber: Subscriber;

  constructor(subscriber: Subscriber) {
    this.subscriber = subscriber;
  }
}

export type Owner = Session | Insider;

/** One session that gets the topic, all its matching subscriptions taken together [MQTT-3.3.4-2]. */
export interface Receiver {
  readonly session: Session;
  qos: 0 | 1 | 2;
  retainAsPublished: boolean;
  identifiers: number[];
  /** What is left for the session's own publications once No Local is counted; undefined: the same, null: nothing. */
  own: Receiver | null | undefined;
}

/** The members of one shared subscription. */
export interface Group {
  /** What its turn is kept by. */
  readonly key: string;
  readonly members: { readonly session: Session; readonly entry: Entry<Owner> }[];
}

/** Share name and filter, which together name a group. */
export const groupKey = ({ share, filter }: Pick<Entry<unknown>, 'share' | 'filter'>): string =>
  `${share}/${filter}`;

const NOBODY: readonly Receiver[] = [];
const NO_GROUPS: readonly Group[] = [];
const NO_INSIDERS: readonly [] = [];

export class Route {
  readonly topic: string;
  readonly bytes: Uint8Array;
  readonly hash: number;
  /** Of subscriptions and rights when this was built. */
  epoch = -1;
  receivers: readonly Receiver[] = NOBODY;
  groups: readonly Group[] = NO_GROUPS;
  insiders: readonly { readonly subscriber: Subscriber; readonly subscription: Subscription }[] = NO_INSIDERS;
  /** Nothing but receivers: runs can be handed on as they are. */
  isPlain = true;
  /** Some receiver is, or may be, a kept session at QoS 1 or 2. */
  hasKept = false;
  /** Kept receivers by the publication's QoS, once they were asked for. */
  #kept: (readonly KeptReceiver[] | undefined)[] | null = null;
  /** Commands and the like: never kept as retained. */
  isNeverRetained = false;
  /** Clients never write here. */
  isSystem = false;
  /** Where its retained message is kept, once there was one. */
  place: Place | null = null;

  constructor(topic: string, bytes: Uint8Array, hash: number) {
    this.topic = topic;
    this.bytes = bytes;
    this.hash = hash;
  }

  /** Who gets the topic now. Empty lists are shared: there are many topics that nobody subscribed to. */
  set(receivers: readonly Receiver[], groups: readonly Group[], insiders: Route['insiders']): void {
    this.receivers = receivers.length === 0 ? NOBODY : receivers;
    this.groups = groups.length === 0 ? NO_GROUPS : groups;
    this.insiders = insiders.length === 0 ? NO_INSIDERS : insiders;
    this.#kept = null;
    this.isPlain = groups.length === 0 && insiders.length === 0;
    this.hasKept =
      receivers.some((receiver) => receiver.session.isKept && receiver.qos > 0) ||
      groups.some((group) => group.members.some(({ session, entry }) => session.isKept && entry.qos > 0));
  }

  /**
   * The receivers that are kept, as the store names them, for a publication without RETAIN and to a topic without shared
   * subscriptions; null: it depends on who publishes (No Local).
   */
  keptReceivers(qos: 1 | 2): readonly KeptReceiver[] | null {
    const known = this.#kept?.[qos];
    if (known !== undefined) return known;
    if (this.receivers.some(({ own }) => own !== undefined)) return null;
    const kept = this.receivers
      .filter((receiver) => receiver.session.isKept && receiver.qos > 0)
      .map((receiver) => keptReceiverOf(receiver, qos, false));
    (this.#kept ??= [])[qos] = kept;
    return kept;
  }

  /** Lets go of its lists: they are built again when somebody publishes here. */
  forget(): void {
    this.set(NOBODY, NO_GROUPS, NO_INSIDERS);
    this.epoch = -1;
  }

  /** Whether a message to it goes anywhere. */
  get isMatched(): boolean {
    return this.receivers.length > 0 || !this.isPlain;
  }

  isTopic(bytes: Uint8Array, start: number, end: number): boolean {
    const own = this.bytes;
    if (own.length !== end - start) return false;
    // Topics of one client differ at their end.
    for (let i = own.length - 1; i >= 0; i--) if (own[i] !== bytes[start + i]) return false;
    return true;
  }
}

/** A receiver at QoS 1 or 2 as the store names it. */
export function keptReceiverOf(
  { session, qos, retainAsPublished, identifiers }: Receiver,
  publishedQos: 1 | 2,
  retain: boolean,
): KeptReceiver {
  return {
    session: session.number,
    // The caller looked.
    qos: (qos < publishedQos ? qos : publishedQos) as 1 | 2,
    retain: retain && retainAsPublished,
    identifiers,
  };
}

/** A list of so many costs little; how many there may be in all longer ones. */
const SHORT = 16;
const LONG_MAX = 65_536;

/**
 * Routes with long lists of their own, which thousands of topics may have: the oldest let go of theirs. To build such a
 * list costs less than to hand a message to everybody on it.
 */
export class LongRoutes {
  readonly #counts = new Map<Route, number>();
  #total = 0;

  /** A route has lists of so many now. */
  built(route: Route, count: number): void {
    this.#drop(route);
    if (count <= SHORT) return;
    this.#counts.set(route, count);
    this.#total += count;
    for (const oldest of this.#counts.keys()) {
      if (this.#total <= LONG_MAX || oldest === route) return;
      this.#drop(oldest);
      oldest.forget();
    }
  }

  #drop(route: Route): void {
    this.#total -= this.#counts.get(route) ?? 0;
    this.#counts.delete(route);
  }

  /** None of them holds any more. */
  forgetAll(): void {
    if (this.#total === 0) return;
    for (const route of this.#counts.keys()) route.forget();
    this.#counts.clear();
    this.#total = 0;
  }
}

const SLOTS_MIN = 1024;
const SLOTS_MAX = 65536;
const VISITORS = 4096;
/** Longer topics are looked up anew each time: a table of them would be large. */
const KEPT_BYTES_MAX = 1024;

export class RouteTable {
  #slots: (Route | undefined)[] = new Array<Route | undefined>(SLOTS_MIN);
  /** Hashes of topics that were asked for once. */
  readonly #visitors = new Int32Array(VISITORS);
  #displaced = 0;

  /** The route of a topic, undefined when it is not in the table. */
  find(bytes: Uint8Array, start: number, end: number, hash: number): Route | undefined {
    const route = this.#slots[hash & (this.#slots.length - 1)];
    return route !== undefined && route.hash === hash && route.isTopic(bytes, start, end) ? route : undefined;
  }

  /**
   * Takes in a route that was asked for before, not long ago: what is published once, such as a hundred thousand
   * topics in a row, neither displaces what is in use nor stays. One that leads to nobody takes nobody's place.
   */
  put(route: Route): void {
    if (route.bytes.length > KEPT_BYTES_MAX) return;
    const visitor = route.hash & (VISITORS - 1);
    if (this.#visitors[visitor] !== route.hash) {
      this.#visitors[visitor] = route.hash;
      return;
    }
    const index = route.hash & (this.#slots.length - 1);
    const known = this.#slots[index];
    if (known !== undefined && known.isMatched) {
      if (!route.isMatched) return;
      if (++this.#displaced > this.#slots.length / 4) this.#grow();
    }
    this.#slots[route.hash & (this.#slots.length - 1)] = route;
  }

  #grow(): void {
    this.#displaced = 0;
    const old = this.#slots;
    if (old.length >= SLOTS_MAX) return;
    this.#slots = new Array<Route | undefined>(old.length * 4);
    for (const route of old)
      if (route !== undefined) this.#slots[route.hash & (this.#slots.length - 1)] = route;
  }
}

/** FNV-1a over the bytes. */
export function hashOf(bytes: Uint8Array, start: number, end: number): number {
  let hash = 0x811c9dc5 | 0;
  for (let at = start; at < end; at++) hash = Math.imul(hash ^ (bytes[at] ?? 0), 0x01000193);
  // The low bits of FNV are weak alone; they choose the slot.
  return (hash ^ (hash >>> 15)) & 0x7fffffff;
}
