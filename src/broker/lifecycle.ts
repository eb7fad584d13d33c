/**
 * The lives of sessions: opened, resumed, left, ended, and brought back after a restart; with what is due at each of
 * these moments, the will above all.
 */
import { type Cancel, type Clock, CLOCK_SET_AFTER_MS } from '../clock.js';
import type { Store, StoredState } from '../store/store.js';
import { type AccessRule, type Identity, Rights } from './access.js';
import { bequeath, type Executor, handOn, hasHeritage } from './bequest.js';
import type { BrokerCounters } from './counters.js';
import type { Delivery } from './delivery.js';
import { incomingOf } from './incoming.js';
import type { Retaining } from './retaining.js';
import type { Owner } from './route.js';
import type { Routing } from './routing.js';
import { Session, type SessionHost } from './session.js';
import { type Entry, entryOf, optionsOf, type Subscriptions } from './subscriptions.js';
import { deepLevelsOf, parseFilter } from './topic.js';
import type { Turns } from './turns.js';
import { KeptWills, type Will } from './will.js';

export interface LifecycleParts {
  readonly clock: Clock;
  readonly store: Store;
  readonly counters: BrokerCounters;
  readonly subscriptions: Subscriptions<Owner>;
  readonly routing: Routing;
  readonly turns: Turns;
  readonly delivery: Delivery;
  readonly retaining: Retaining;
}

const NEVER_EXPIRES_S = 0xffffffff;
/** With the options of a subscription in the store: it has not had all retained messages yet. No SUBSCRIBE sets this bit. */
const IS_FED = 0x40;
/** How many subscriptions of a session that ended are taken out in a turn. */
const REMOVED_MAX = 512;
/** How often it is looked whether the store takes wills again. */
const LOOK_MS = 1000;
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

export class Lifecycle {
  /** By client identifier. */
  readonly sessions = new Map<string, Session>();
  readonly #parts: LifecycleParts;
  readonly #host: SessionHost & Executor;
  readonly #wills: KeptWills;
  #cancelLook: Cancel | null = null;
  #access: readonly AccessRule[] | null = null;
  #nextSession = 1;
  #isDeferring = false;

  constructor(parts: LifecycleParts, host: SessionHost & Executor) {
    const { clock, store, turns } = parts;
    this.#parts = parts;
    this.#host = host;
    this.#wills = new KeptWills({ clock, store, schedule: () => turns.schedule() });
  }

  /** The rules of who may do what; every session's rights are made again. */
  get access(): readonly AccessRule[] | null {
    return this.#access;
  }

  set access(access: readonly AccessRule[] | null) {
    this.#access = access;
    for (const session of this.sessions.values()) session.rights = new Rights(access, session.identity);
  }

  // ---------------------------------------------------------------- subscriptions

  /** `known` is the one of the session that it replaces, if there is one. */
  subscribe(session: Session, text: string, entry: Entry<Session>, known?: Entry<Session>): void {
    this.#parts.subscriptions.add(entry, known ?? null);
    (session.subscriptions ??= new Map()).set(text, entry);
    if (entry.share !== '') session.wasMember = true;
    if (known === undefined) session.deepLevels += deepLevelsOf(entry.filter);
    this.#parts.routing.changed();
  }

  /** What the store must know of a kept session's subscription. */
  noteSubscription(session: Session, filter: string): void {
    const entry = session.subscriptions?.get(filter);
    if (!session.isKept || entry === undefined) return;
    const options = optionsOf(entry) | (session.feedOf(filter) === undefined ? 0 : IS_FED);
    const { identifier } = entry;
    this.#parts.store.append({ type: 'Subscribed', session: session.number, filter, options, identifier });
  }

  /** Answers whether the subscription was there. */
  unsubscribe(session: Session, text: string): boolean {
    const entry = session.subscriptions?.get(text);
    if (entry === undefined) return false;
    session.subscriptions?.delete(text);
    session.deepLevels -= deepLevelsOf(entry.filter);
    session.endFeed(text);
    this.#remove(session, entry);
    this.#parts.routing.changed();
    return true;
  }

  #remove(session: Session, entry: Entry<Session>): void {
    this.#parts.subscriptions.remove(session, entry.filter, entry.share, entry);
    this.#parts.delivery.shares.left(entry);
  }

  #unsubscribeAll(session: Session): void {
    const { subscriptions } = session;
    if (subscriptions === null) return;
    session.subscriptions = null;
    this.#parts.routing.changed();
    this.#removeSome(session, subscriptions.values());
  }

  /** Some of them each turn, for there may be a hundred thousand; nothing is sent to a session that has ended. */
  #removeSome(session: Session, entries: Iterator<Entry<Session>>): void {
    for (let count = 0; count < REMOVED_MAX; count++) {
      const next = entries.next();
      if (next.done === true) return;
      this.#remove(session, next.value);
    }
    this.#host.afterTurn(() => this.#removeSome(session, entries));
  }

  // ---------------------------------------------------------------- begin

  /** A new session for a client identifier that has none. Kept ones are told to the store. */
  open(clientId: string, identity: Identity, version: 4 | 5, expiryS: number): Session {
    const session = this.#add(clientId, identity, version, expiryS);
    if (expiryS > 0) session.keep(this.#openInStore(session));
    return session;
  }

  #add(clientId: string, identity: Identity, version: 4 | 5, expiryS: number): Session {
    const session = new Session(this.#host, clientId, identity, new Rights(this.#access, identity));
    session.version = version;
    session.expiryS = expiryS;
    this.sessions.set(clientId, session);
    return session;
  }

  #openInStore(session: Session): number {
    const number = this.#nextSession++;
    this.#parts.store.append({
      type: 'SessionOpened',
      session: number,
      clientId: session.clientId,
      owner: session.identity.user,
      expiryS: session.expiryS,
      protocolVersion: session.version,
    });
    this.#parts.turns.schedule();
    return number;
  }

  /** What the client that is connected now leaves behind. */
  setWill(session: Session, will: Will | null): void {
    session.will = will;
    if (will === null) return;
    if (this.#parts.store.isHealthy) {
      this.#wills.arm(session, will, session.isKept ? session.number : this.#openInStore(session));
      return;
    }
    // Without the store it is published all the same, as long as this process lives.
    this.#lookLater();
  }

  #lookLater(): void {
    this.#cancelLook ??= this.#parts.clock.after(LOOK_MS, () => {
      this.#cancelLook = null;
      if (this.#parts.store.isHealthy) this.#keepWills();
      else this.#lookLater();
    });
  }

  /** Of those who came while the store took nothing, and are here still with the connection that brought it. */
  #keepWills(): void {
    for (const session of this.sessions.values()) {
      const { will, willNumber, holder } = session;
      if (will !== null && willNumber === 0 && holder !== null) this.setWill(session, will);
    }
  }

  /** The session goes on with a new connection: nothing of its end is pending any more. */
  resume(session: Session, identity: Identity, version: 4 | 5, expiryS: number): void {
    cancelTimers(session);
    session.will = null;
    this.#wills.clear(session);
    session.identity = identity;
    session.rights = new Rights(this.#access, identity);
    session.version = version;
    session.expiryS = expiryS;
    if (session.isKept) this.#noteChange(session, 0);
  }

  /** What the store must know of a kept session that comes or goes. */
  #noteChange({ number, expiryS }: Session, disconnectedAtMs: number): void {
    this.#parts.store.append({ type: 'SessionChanged', session: number, expiryS, disconnectedAtMs });
    this.#parts.turns.schedule();
  }

  // ---------------------------------------------------------------- end

  /** The connection is gone. The will is published now, later, or (null by then) not at all. */
  leave(session: Session): void {
    if (session.hasEnded) return;
    session.detach();
    const { clock } = this.#parts;
    const { will, expiryS } = session;
    const delayS = will === null ? 0 : Math.min(will.delayS, expiryS);
    if (expiryS === 0) {
      this.end(session);
      return;
    }
    const nowMs = clock.nowMs();
    if (session.isKept) this.#noteChange(session, nowMs);
    if (will === null) this.#wills.clear(session);
    else if (delayS === 0) this.#publishWill(session);
    else {
      this.#wills.wait(session, will, nowMs + delayS * 1000);
      session.cancelWill = clock.after(delayS * 1000, () => this.#publishWill(session));
    }
    this.#expireIn(session, expiryS * 1000);
  }

  #expireIn(session: Session, delayMs: number): void {
    if (session.expiryS >= NEVER_EXPIRES_S) return;
    session.cancelExpiry = this.#parts.clock.after(delayMs, () => this.end(session));
  }

  /** The session is over: its will is due, its subscriptions and its queue are gone. */
  end(session: Session): void {
    if (session.hasEnded) return;
    session.hasEnded = true;
    if (this.sessions.get(session.clientId) === session) this.sessions.delete(session.clientId);
    session.link = null;
    cancelTimers(session);
    const isLeaving = hasHeritage(session);
    this.#unsubscribeAll(session);
    if (session.will === null) this.#wills.clear(session);
    else this.#publishWill(session);
    handOn(this.#host, session, session.end());
    // The next start ends it, with the will that waits for that.
    if (session.willNumber !== 0) return;
    if (isLeaving) {
      void bequeath(this.#host, session).then((isDone) => {
        if (isDone) this.#forget(session);
      });
    } else if (session.isKept) this.#forget(session);
  }

  #forget(session: Session): void {
    this.#parts.store.append({ type: 'SessionEnded', session: session.number });
    this.#parts.turns.schedule();
  }

  #publishWill(session: Session): void {
    const { will } = session;
    session.cancelWill?.();
    session.cancelWill = null;
    if (will === null) return;
    if (this.#isDeferring) {
      this.#wills.wait(session, will, this.#parts.clock.nowMs());
      return;
    }
    session.will = null;
    // Rights may have changed since it was given.
    if (session.rights.mayWrite(decoder.decode(will.topic))) this.#publishWillMessage(session, will);
    else this.#parts.counters.denied.value++;
    // In this order: a write that is cut between the two brings it again rather than never.
    this.#wills.clear(session);
  }

  /** The gateway ends, and nobody is there to hear of it: what is due from now on the next start publishes (MQTT 5, 3.1.2.5). */
  deferWills(): void {
    this.#isDeferring = true;
  }

  /** The will becomes an ordinary publication of its session. */
  #publishWillMessage(session: Session, will: Will): void {
    const { clock, routing, delivery } = this.#parts;
    const route = routing.find(will.topic, 0, will.topic.length);
    if (route === null) return;
    const { qos, retain, expiryS } = will;
    delivery.publish(
      incomingOf(route.bytes, will.payload, will.properties, {
        expiresAtMs: expiryS < 0 ? 0 : clock.nowMs() + expiryS * 1000,
        qos,
        retain,
        from: session,
      }),
      route,
    );
  }

  // ---------------------------------------------------------------- restart

  /** Takes over what the store kept. */
  restore(state: StoredState, groupsOf: (user: string) => readonly string[]): void {
    const nowMs = this.#parts.clock.nowMs();
    this.#nextSession = Math.max(1, state.nextSession);
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
    const { clientId, owner, expiryS, disconnectedAtMs } = kept;
    const session = this.#add(clientId, { user: owner, groups, clientId }, kept.protocolVersion, expiryS);
    session.keep(kept.session);
    this.#restoreContent(session, kept);
    // One that was connected when the process died has been away since then, as far as anybody can tell.
    // One that left before the clock was set, in a store that knows no more, left some time ago: nobody knows when.
    const isKnown = disconnectedAtMs >= CLOCK_SET_AFTER_MS || nowMs < CLOCK_SET_AFTER_MS;
    const sinceMs = isKnown && disconnectedAtMs > 0 ? Math.min(disconnectedAtMs, nowMs) : nowMs;
    if (disconnectedAtMs === 0) this.#noteChange(session, nowMs);
    const dueAtMs = kept.will === null ? Infinity : this.#wills.restore(session, kept.will);
    const endsInMs = expiryS >= NEVER_EXPIRES_S ? Infinity : sinceMs + expiryS * 1000 - nowMs;
    if (endsInMs <= 0) return () => this.end(session);
    this.#expireIn(session, endsInMs);
    if (dueAtMs <= nowMs) return () => this.#publishWill(session);
    if (session.will !== null)
      session.cancelWill = this.#parts.clock.after(dueAtMs - nowMs, () => this.#publishWill(session));
    return null;
  }

  #restoreContent(session: Session, kept: StoredState['sessions'][number]): void {
    const { inFlight, queuedMessages, queuedBytes, incoming, subscriptions } = kept;
    const isEmpty = queuedMessages + inFlight.length === 0;
    const lastPosition = isEmpty ? 0 : this.#parts.turns.appendedPosition;
    session.restore(inFlight, queuedMessages, queuedBytes, lastPosition, kept.disconnectedAtMs === 0);
    if (incoming.length > 0) {
      session.incoming = new Set(incoming);
      session.doubtfulIncoming = new Set(incoming);
    }
    for (const { filter, options, identifier } of subscriptions) {
      const parsed = parseFilter(filter);
      if (parsed === null) continue;
      const entry = entryOf(session, parsed, options, identifier);
      this.subscribe(session, filter, entry);
      // Where it had come to nobody knows: it begins anew.
      if ((options & IS_FED) !== 0) this.#parts.retaining.feed(session, entry);
    }
  }

  /** Nothing happens of its own accord any more. */
  stop(): void {
    for (const session of this.sessions.values()) cancelTimers(session);
    this.#cancelLook?.();
    this.#cancelLook = null;
  }
}

function cancelTimers(session: Session): void {
  session.cancelExpiry?.();
  session.cancelExpiry = null;
  session.cancelWill?.();
  session.cancelWill = null;
}
