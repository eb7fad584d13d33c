/**
 * The inside of the broker that every packet handler works on, put together: the turn of the loop, deliveries, retained
 * messages, the lives of sessions. It stands between the parts and the sessions, which see it as their host.
 */
import type { SteadyClock } from '../clock.js';
import type { Log } from '../log.js';
import type { Store, StoredState } from '../store/store.js';
import { Unrest } from '../unrest.js';
import type { AccessRule } from './access.js';
import type { Executor } from './bequest.js';
import type { Owed } from './commits.js';
import type { BrokerCounters } from './counters.js';
import { Crowding } from './crowding.js';
import { Denials } from './denials.js';
import { Farewells } from './farewells.js';
import { Delivery } from './delivery.js';
import { Lifecycle } from './lifecycle.js';
import { held } from './held.js';
import type { BrokerLimits } from './limits.js';
import type { Link } from './link.js';
import type { Outgoing } from './outgoing.js';
import { Overflow } from './overflow.js';
import { RetainedMessages } from './retained.js';
import { Retaining } from './retaining.js';
import type { Owner } from './route.js';
import { Routing } from './routing.js';
import type { Session, SessionHost } from './session.js';
import type { QueueOwner } from './storedqueue.js';
import { Subscriptions } from './subscriptions.js';
import { Timekeeping } from './timekeeping.js';
import { Turns } from './turns.js';

export interface CoreOptions {
  readonly clock: SteadyClock;
  readonly log: Log;
  readonly store: Store;
  readonly counters: BrokerCounters;
  readonly limits: BrokerLimits;
  /** Filters of topics whose publications are never kept as retained. */
  readonly neverRetained: readonly string[];
  /** A session's queue overflowed: so many messages were dropped since it was last told. */
  readonly onOverflow: (clientId: string, count: number) => void;
}

/** What one slow reader may have unsent, and what it is read from with, while all together hold too much. */
const OUTBOX_MIN = 131_072;
const READ_STOP_BYTES = 1024 * 1024;
/** Share of the memory limit that may be held for all slow readers together before each gets less, and for all slow senders. */
const HELD_SHARE = 0.15;
/** What may wait in memory for one slow reader while that is little. */
const QUEUED_MIN = 65_536;

export class Core implements SessionHost, Executor {
  readonly clock: SteadyClock;
  readonly log: Log;
  readonly store: Store;
  readonly counters: BrokerCounters;
  readonly limits: BrokerLimits;
  readonly subscriptions = new Subscriptions<Owner>();
  readonly retained: RetainedMessages;
  readonly routing: Routing;
  readonly turns: Turns;
  readonly #timekeeping: Timekeeping;
  readonly retaining: Retaining;
  readonly delivery: Delivery;
  readonly lifecycle: Lifecycle;
  readonly #overflow: Overflow;
  readonly #crowding: Crowding;
  readonly denials: Denials;
  readonly farewells: Farewells;
  /** What strangers may make happen again and again. */
  readonly unrest: Unrest;
  isStopped = false;

  constructor({ clock, log, store, counters, limits, neverRetained, onOverflow }: CoreOptions) {
    this.clock = clock;
    this.log = log;
    this.store = store;
    this.counters = counters;
    this.limits = limits;
    const { subscriptions } = this;
    this.#timekeeping = new Timekeeping(clock, store);
    const turns = (this.turns = new Turns(store, log, clock, this.#timekeeping));
    const routing = (this.routing = new Routing(
      subscriptions,
      neverRetained,
      () => limits.maxTopicLevels,
      (steps) => turns.handedOut(steps),
    ));
    const retained = new RetainedMessages(limits.maxRetainedMessages, limits.maxRetainedBytes);
    this.retained = retained;
    const retaining = (this.retaining = new Retaining({ clock, store, turns, retained }));
    const delivery = new Delivery({ log, store, counters, turns, routing, retaining });
    this.delivery = delivery;
    this.lifecycle = new Lifecycle(
      { clock, store, counters, subscriptions, routing, turns, delivery, retaining },
      this,
    );
    this.#overflow = new Overflow(clock, log, onOverflow);
    const { sessions } = this.lifecycle;
    this.#crowding = new Crowding(clock, store, sessions, limits.maxMemoryBytes, (then) =>
      this.afterTurn(then),
    );
    this.denials = new Denials(clock, log);
    this.farewells = new Farewells(clock, log);
    this.unrest = new Unrest(clock, log);
  }

  /** Memory is short: nothing new is taken in (connections, subscriptions, retained topics), slow readers get less. */
  get isShort(): boolean {
    return this.delivery.isShort;
  }

  set isShort(isShort: boolean) {
    this.delivery.isShort = isShort;
  }

  /** Slow readers together hold so much that each of them gets little. */
  get isTight(): boolean {
    return this.isShort || held.bytes > this.heldBytesMax;
  }

  /** What may be held for all clients together of what they do not read, or do not send to its end. */
  get heldBytesMax(): number {
    return this.limits.maxMemoryBytes * HELD_SHARE;
  }

  /** Unsent bytes of one connection above which QoS 0 to it is dropped. */
  get outboxBytes(): number {
    return this.isTight ? OUTBOX_MIN : Math.max(OUTBOX_MIN, this.limits.maxOutboxBytes);
  }

  /** Unsent bytes of one connection above which nothing more is read from it. */
  get readStopBytes(): number {
    return this.isTight ? OUTBOX_MIN : READ_STOP_BYTES;
  }

  // ---------------------------------------------------------------- what sessions ask of their host

  get maxQueuedMessages(): number {
    return this.limits.maxQueuedMessages;
  }

  get maxQueuedBytes(): number {
    return this.limits.maxQueuedBytes;
  }

  get maxHeldBytes(): number {
    return this.isTight ? Math.min(QUEUED_MIN, this.limits.maxQueuedBytes) : this.limits.maxQueuedBytes;
  }

  get keptPosition(): number {
    return this.turns.keptPosition;
  }

  mayFeed(session: Session): boolean {
    return this.turns.feeding.mayGoOn(session);
  }

  fed(session: Session, filter: string): void {
    this.lifecycle.noteSubscription(session, filter);
  }

  owe(link: Link, owed: Owed): void {
    this.turns.owe(link, owed);
  }

  awaitKept(owner: QueueOwner): void {
    this.turns.awaitKept(owner);
  }

  overflowed(session: Session, count: number): void {
    this.#overflow.count(session.clientId, count);
  }

  afterTurn(then: () => void): void {
    this.turns.afterTurn(then);
    this.turns.schedule();
  }

  redistribute(session: Session, share: string, message: Outgoing, qos: 1 | 2): void {
    this.delivery.redistribute(session, share, message, qos);
  }

  // ---------------------------------------------------------------- all parts together

  /** Takes over what the store kept. */
  restore(state: StoredState, groupsOf: (user: string) => readonly string[] = () => []): void {
    this.#timekeeping.start(state.clock);
    this.turns.startAt(state.nextPosition);
    this.retaining.restore(state.retained);
    this.lifecycle.restore(state, groupsOf);
    this.#crowding.start();
  }

  /** Rules changed. */
  setAccess(access: readonly AccessRule[] | null, neverRetained: readonly string[]): void {
    this.lifecycle.access = access;
    this.routing.neverRetained = neverRetained;
  }

  /** Everything stops that goes on of its own accord. */
  stop(): void {
    this.isStopped = true;
    this.#timekeeping.stop();
    this.turns.stop();
    this.#overflow.stop();
    this.#crowding.stop();
    this.denials.stop();
    this.farewells.stop();
    this.unrest.stop();
    this.retaining.stop();
    this.lifecycle.stop();
  }
}
