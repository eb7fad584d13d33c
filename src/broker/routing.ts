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
import type { Entry, Subscriptions } from './subscriptions.js';
import { isTopicName, levelCount, matches } from './topic.js';

const NONE: readonly number[] = [];
const NOBODY: readonly [] = [];
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

export class Routing {
  readonly #subscriptions: Subscriptions<Owner>;
  readonly #topicLevelsMax: () => number;
  readonly #table = new RouteTable();
  readonly #long = new LongRoutes();
  /** Filters of topics whose publications are never kept as retained. */
  #neverRetained: readonly string[];
  #epoch = 0;
  /** What collect() found for the route under way; only what is needed is made. */
  #topic = '';
  #receivers: Receiver[] | null = null;
  #receiverOf: Map<Session, Receiver> | null = null;
  #lastReceivers: readonly Receiver[] = NOBODY;
  #groups: Map<string, Group> | null = null;
  #insiders: Route['insiders'][number][] | null = null;

  constructor(
    subscriptions: Subscriptions<Owner>,
    neverRetained: readonly string[],
    topicLevelsMax: () => number,
  ) {
    this.#subscriptions = subscriptions;
    this.#neverRetained = neverRetained;
    this.#topicLevelsMax = topicLevelsMax;
  }

  /** Grows when subscriptions or rights change: routes built before are built again. */
  get epoch(): number {
    return this.#epoch;
  }

  /** Subscriptions or rights are not what they were. */
  changed(): void {
    this.#epoch++;
    this.#long.forgetAll();
  }

  set neverRetained(filters: readonly string[]) {
    this.#neverRetained = filters;
    this.changed();
  }

  /** The route of bytes[start..end); null when that is no topic name. */
  find(bytes: Uint8Array, start: number, end: number): Route | null {
    const hash = hashOf(bytes, start, end);
    let route = this.#table.find(bytes, start, end, hash);
    if (route === undefined) {
      if (!isTopicName(bytes, start, end)) return null;
      const levelsMax = this.#topicLevelsMax();
      if (levelsMax < end - start && levelCount(bytes, start, end) > levelsMax) return null;
      const own = copyOf(bytes, start, end);
      // What was read lies in a Buffer, which is quicker to make a text of.
      const topic = Buffer.isBuffer(bytes) ? bytes.toString('utf8', start, end) : decoder.decode(own);
      route = new Route(topic, own, hash);
      this.#build(route);
      this.#table.put(route);
    } else if (route.epoch !== this.#epoch) this.#build(route);
    return route;
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
    this.#subscriptions.match(route.topic, this.#collect);
    const groups = this.#groups === null ? NOBODY : [...this.#groups.values()];
    const before = this.#lastReceivers;
    const receivers = this.#joined(this.#receivers ?? NOBODY);
    route.set(receivers, groups, this.#insiders ?? NOBODY);
    route.isNeverRetained = this.#neverRetained.some((filter) => matches(filter, route.topic));
    route.isSystem = route.topic.charCodeAt(0) === 0x24;
    route.epoch = this.#epoch;
    // A list that many routes share costs nothing, but for what the store is told of it.
    const lists = (receivers === before ? 0 : 1) + (route.hasKept ? 1 : 0);
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
    if (owner instanceof Insider)
      (this.#insiders ??= []).push({ subscriber: owner.subscriber, subscription: entry });
    else if (!owner.rights.mayRead(this.#topic)) return;
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

/** One more subscription of the same session matches [MQTT-3.3.4-2]: the highest QoS counts, all identifiers are told. */
function join(receiver: Receiver, entry: Entry<Owner>): void {
  if (entry.noLocal) {
    if (receiver.own === undefined) receiver.own = { ...receiver };
  } else if (receiver.own === null) receiver.own = receiverOf(receiver.session, entry);
  else if (receiver.own !== undefined) join(receiver.own, entry);
  receiver.qos = entry.qos > receiver.qos ? entry.qos : receiver.qos;
  receiver.retainAsPublished ||= entry.retainAsPublished;
  if (entry.identifier !== 0) receiver.identifiers = [...receiver.identifiers, entry.identifier];
}
