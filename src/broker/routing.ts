/**
 * From the bytes of a topic to its route: looked up, or built from the subscriptions and rights of now and remembered.
 * What one change makes stale is built again when somebody publishes there.
 */
import { copyOf } from './codec.js';
import {
  type Group,
  groupKey,
  hashOf,
  Insider,
  LongRoutes,
  type Owner,
  type Receiver,
  Route,
  RouteTable,
} from './route.js';
import type { Session } from './session.js';
import { type Entry, entryOf, Subscriptions } from './subscriptions.js';
import { isTopicName, levelCount } from './topic.js';

const NONE: number[] = [];
const NOBODY: readonly [] = [];
const SLASH = 0x2f;
const DOLLAR = 0x24;
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

export class Routing {
  readonly #subscriptions: Subscriptions<Owner>;
  readonly #topicLevelsMax: () => number;
  readonly #worked: (steps: number) => void;
  readonly #table = new RouteTable();
  readonly #long = new LongRoutes();
  /** Filters of topics whose publications are never kept as retained. */
  #neverRetained: Subscriptions<null>;
  #epoch = 0;
  /** Where isUnreached() topics lead: it stands for all of them, so it knows neither name nor place. */
  readonly nowhere = new Route('', new Uint8Array(0), 0);
  /**
   * Levels that nothing goes on below, of the topic that led nowhere last: who publishes thousands of topics that nobody
   * subscribed to has them side by side.
   */
  #unreached: Uint8Array | null = null;
  /** What collect() found for the route under way; only what is needed is made. */
  #topic = '';
  #receivers: Receiver[] | null = null;
  #receiverOf: Map<Session, Receiver> | null = null;
  #lastReceivers: readonly Receiver[] = NOBODY;
  #groups: Map<string, Group> | null = null;
  #insiders: Route['insiders'][number][] | null = null;
  #isAnyFound = false;

  constructor(
    subscriptions: Subscriptions<Owner>,
    neverRetained: readonly string[],
    topicLevelsMax: () => number,
    /** Told how many levels of filters a route took that was built. */
    worked: (steps: number) => void = () => {},
  ) {
    this.#subscriptions = subscriptions;
    this.#neverRetained = trieOf(neverRetained);
    this.#topicLevelsMax = topicLevelsMax;
    this.#worked = worked;
  }

  /** Grows when subscriptions or rights change: routes built before are built again. */
  get epoch(): number {
    return this.#epoch;
  }

  /** Subscriptions or rights are not what they were. */
  changed(): void {
    this.#epoch++;
    this.#unreached = null;
    this.#long.forgetAll();
  }

  set neverRetained(filters: readonly string[]) {
    this.#neverRetained = trieOf(filters);
    this.changed();
  }

  /** The route of bytes[start..end); null when that is no topic name. */
  find(bytes: Uint8Array, start: number, end: number): Route | null {
    const hash = hashOf(bytes, start, end);
    let route = this.#table.find(bytes, start, end, hash);
    if (route === undefined) {
      if (!this.#isTopic(bytes, start, end)) return null;
      const own = copyOf(bytes, start, end);
      // What was read lies in a Buffer, which is quicker to make a text of.
      const topic = Buffer.isBuffer(bytes) ? bytes.toString('utf8', start, end) : decoder.decode(own);
      route = new Route(topic, own, hash);
      this.#build(route);
      this.#table.put(route);
    } else if (route.epoch !== this.#epoch) this.#build(route);
    return route;
  }

  #isTopic(bytes: Uint8Array, start: number, end: number): boolean {
    if (!isTopicName(bytes, start, end)) return false;
    const levelsMax = this.#topicLevelsMax();
    return levelsMax >= end - start || levelCount(bytes, start, end) <= levelsMax;
  }

  /** Whether bytes[start..end) is a topic name that leads `nowhere`, as far as that shows without building a route. */
  isUnreached(bytes: Uint8Array, start: number, end: number): boolean {
    const levels = this.#unreached;
    if (levels === null) return false;
    const next = start + levels.length;
    if (next > end || (next < end && bytes[next] !== SLASH)) return false;
    for (let i = levels.length - 1; i >= 0; i--) if (levels[i] !== bytes[start + i]) return false;
    return this.#isTopic(bytes, start, end);
  }

  /** A route for one who publishes there again and again and keeps it: it takes no room in the table. */
  ownRoute(topic: string): Route | null {
    // Topics of the plan are many and stay: their bytes lie side by side in buffers of Node's pool.
    const { buffer, byteOffset, length } = Buffer.from(topic);
    const bytes = new Uint8Array(buffer, byteOffset, length);
    return isTopicName(bytes, 0, length) ? new Route(topic, bytes, hashOf(bytes, 0, length)) : null;
  }

  /** Makes a route that somebody kept one of now. */
  refresh(route: Route): void {
    if (route.epoch !== this.#epoch) this.#build(route);
  }

  #build(route: Route): void {
    this.#topic = route.topic;
    this.#isAnyFound = route.isNeverRetained = false;
    const before = this.#subscriptions.lookedAt;
    const depth = this.#subscriptions.match(route.topic, this.#collect);
    this.#worked(this.#subscriptions.lookedAt - before);
    const neverDepth = this.#neverRetained.match(route.topic, () => {
      route.isNeverRetained = true;
    });
    const groups = this.#groups === null ? NOBODY : [...this.#groups.values()];
    const last = this.#lastReceivers;
    const receivers = this.#joined(this.#receivers ?? NOBODY);
    route.set(receivers, groups, this.#insiders ?? NOBODY);
    route.isSystem = route.topic.charCodeAt(0) === DOLLAR;
    route.epoch = this.#epoch;
    if (!this.#isAnyFound && !route.isNeverRetained && !route.isSystem)
      this.#unreached = topLevels(route.bytes, Math.max(depth, neverDepth)) ?? this.#unreached;
    // A list that many routes share costs nothing, but for what the store is told of it.
    const lists = (receivers === last ? 0 : 1) + (route.hasKept ? 1 : 0);
    const count = groups.reduce((sum, { members }) => sum + 1 + members.length, receivers.length * lists);
    this.#long.built(route, count);
    this.#receivers = this.#receiverOf = this.#groups = this.#insiders = null;
  }

  /** Thousands of topics go to the same receivers: what equals the list of the route before is that list. */
  #joined(receivers: readonly Receiver[]): readonly Receiver[] {
    const last = this.#lastReceivers;
    const isSame = last.length === receivers.length && last.every((one, at) => isEqual(one, receivers[at]));
    if (!isSame) this.#lastReceivers = [...receivers];
    return this.#lastReceivers;
  }

  readonly #collect = (entry: Entry<Owner>): void => {
    const { owner } = entry;
    this.#isAnyFound = true;
    if (owner instanceof Insider)
      (this.#insiders ??= []).push({ subscriber: owner.subscriber, subscription: entry });
    else if (owner.hasEnded || !owner.rights.mayRead(this.#topic)) return;
    else if (entry.share !== '') this.#collectShared(owner, entry);
    else this.#collectReceiver(owner, entry);
  };

  #collectShared(session: Session, entry: Entry<Owner>): void {
    const key = groupKey(entry);
    const groups = (this.#groups ??= new Map<string, Group>());
    const group = groups.get(key);
    if (group === undefined) groups.set(key, { key, members: [{ session, entry }] });
    else group.members.push({ session, entry });
  }

  #collectReceiver(session: Session, entry: Entry<Owner>): void {
    const receivers = (this.#receivers ??= []);
    const first = receivers[0];
    // With one receiver, as most topics have, no map is needed.
    const known =
      first === undefined || first.session === session
        ? first
        : (this.#receiverOf ??= new Map([[first.session, first]])).get(session);
    if (known !== undefined) return join(known, entry);
    const receiver = receiverOf(session, entry);
    receivers.push(receiver);
    this.#receiverOf?.set(session, receiver);
  }
}

function trieOf(filters: readonly string[]): Subscriptions<null> {
  const trie = new Subscriptions<null>();
  for (const filter of filters) trie.add(entryOf(null, { share: '', filter }, 0, 0));
  return trie;
}

/** The first levels of a topic, without the slash behind them; null: it has not so many. */
function topLevels(topic: Uint8Array, count: number): Uint8Array | null {
  let end = -1;
  for (let level = 0; level < count; level++) {
    if (end === topic.length) return null;
    const slash = topic.indexOf(SLASH, end + 1);
    end = slash < 0 ? topic.length : slash;
  }
  return copyOf(topic, 0, end);
}

function isEqual(one: Receiver, other: Receiver | undefined): boolean {
  return (
    other !== undefined &&
    one.session === other.session &&
    one.qos === other.qos &&
    one.retainAsPublished === other.retainAsPublished &&
    one.identifiers === other.identifiers &&
    one.own === other.own
  );
}

function receiverOf(session: Session, entry: Entry<Owner>): Receiver {
  return {
    session,
    qos: entry.qos,
    retainAsPublished: entry.retainAsPublished,
    identifiers: entry.identifier === 0 ? NONE : [entry.identifier],
    own: entry.noLocal ? null : undefined,
  };
}

/** Into a list of the receiver's own: tens of thousands of its subscriptions may match, and each is told. */
function tell(receiver: Receiver, identifier: number): void {
  const { identifiers } = receiver;
  if (identifiers.length === 0) receiver.identifiers = [identifier];
  else identifiers.push(identifier);
}

/** One more subscription of the same session matches [MQTT-3.3.4-2]: the highest QoS counts, all identifiers are told. */
function join(receiver: Receiver, entry: Entry<Owner>): void {
  if (entry.noLocal) {
    if (receiver.own === undefined) receiver.own = { ...receiver, identifiers: [...receiver.identifiers] };
  } else if (receiver.own === null) receiver.own = receiverOf(receiver.session, entry);
  else if (receiver.own !== undefined) join(receiver.own, entry);
  receiver.qos = entry.qos > receiver.qos ? entry.qos : receiver.qos;
  receiver.retainAsPublished ||= entry.retainAsPublished;
  if (entry.identifier !== 0) tell(receiver, entry.identifier);
}
