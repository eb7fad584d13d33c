/**
 * The one door of the broker: listeners let clients in, and the gateway uses publish(), publishSample() and
 * subscribe(). It joins the parts of this room and owns the connections; what happens to a message is in delivery.ts.
 */
import { existsSync, readFileSync } from 'node:fs';
import { type Clock, steadyClock, type SteadyClock, systemClock } from '../clock.js';
import { type Log, silentLog } from '../log.js';
import { Metrics } from '../metrics.js';
import type { Store } from '../store/store.js';
import { type AccessRule, Rights } from './access.js';
import type { AuthenticationMethod } from './authentication.js';
import { Admission } from './connect.js';
import type { Connection } from './connection.js';
import { Connections } from './connections.js';
import { Core } from './core.js';
import { brokerCounters, type BrokerCounters } from './counters.js';
import { Figures } from './figures.js';
import { Inflow } from './inflow.js';
import { Insiders, type TopicHandle } from './insiders.js';
import { Wheel } from './keepalive.js';
import { type BrokerLimits, DEFAULT_LIMITS } from './limits.js';
import { isLoopback, type ListenerHost, type ListenerSettings } from './door.js';
import { Listener } from './listener.js';
import { MemoryWatch, ownMemory } from './memory.js';
import type { FoundRetained, Message, MessageInflow, QoS, Sender, Subscriber } from './message.js';
import { Publishing } from './publish.js';
import type { Session } from './session.js';
import { SystemTopics } from './system.js';
import { Scram } from './scram.js';
import { matches } from './topic.js';
import { Users } from './users.js';
import { parseUsers } from './usersfile.js';
import type { Upgrade } from './websocket.js';

/** What the rest of the gateway may ask of the broker; implemented by the Broker class of this file. */
export interface BrokerApi {
  /** What messages expire by: wall time at the first start and what has passed since, whoever sets the clock meanwhile. */
  readonly clock: Clock;
  /** Recovers sessions and retained messages from the store. */
  open(): Promise<void>;
  publish(message: Message): void;
  /** Messages of one connection to a broker elsewhere, which is told of each once it is kept. */
  inflow(acknowledge: (ticket: number) => void): MessageInflow;
  handleOf(topic: string): TopicHandle;
  /**
   * The hot path of telemetry: no object a sample. bytes[start..end) is the payload; it is copied before the call
   * returns. Sent at the end of the loop turn, or by sendNow(). Its retained copy is not stored unless `stored`.
   */
  publishSample(
    handle: TopicHandle,
    bytes: Uint8Array,
    start: number,
    end: number,
    qos: 0 | 1 | 2,
    retain: boolean,
    stored: boolean,
  ): void;
  /** What was published goes out before this turn of the loop is over; to be called when no more is at hand. */
  sendNow(): void;
  /** In-process subscription; not bound by access rules. The RETAIN flag is handed on as published. */
  subscribe(filter: string, subscriber: Subscriber): void;
  unsubscribe(filter: string, subscriber: Subscriber): void;
  /** The retained messages that a filter matches; payloads and properties are valid during the call. */
  retained(filter: string, found: FoundRetained): void;
  /** Whether this sender could publish there itself: an answer to a response topic gives nobody a right he has not. */
  mayPublish(sender: Sender, topic: string): boolean;
  /** DISCONNECT 0x8B to v5 clients; none comes any more, and the gateway's own messages are taken until close(). */
  dismiss(): void;
  /** Lets clients go, commits, closes. */
  close(): Promise<void>;
}

/** Who may enter and do what; everything of it can be changed while the broker runs. */
export interface BrokerPolicy {
  readonly anonymous: boolean;
  readonly anonymousBeyondLoopback: boolean;
  readonly usersFile: string | null;
  /** null: whoever may connect may do all. */
  readonly access: readonly AccessRule[] | null;
  /** Filters of topics whose publications are never kept as retained, such as commands. */
  readonly neverRetained: readonly string[];
  /** Names in lower case that pages with WebSockets may come from, beside addresses, localhost and the machine's own. */
  readonly hostNames?: readonly string[];
  /** All there are or will be, by which it is known who has no way in; undefined: nobody is known to have none. */
  readonly listeners?: readonly Pick<ListenerSettings, 'anonymous' | 'tls'>[];
}

export interface BrokerOptions extends Partial<BrokerPolicy> {
  readonly store: Store;
  readonly limits?: Partial<BrokerLimits>;
  readonly clock?: Clock;
  readonly log?: Log;
  readonly metrics?: Metrics;
  readonly version?: string;
  /** Methods of enhanced authentication beside SCRAM-SHA-512, which the users file serves. */
  readonly authenticationMethods?: readonly AuthenticationMethod[];
  /** File descriptors that are for others, such as the page's visitors. */
  readonly descriptorsElsewhere?: number;
  /** How often $SYS is told; 0: never. Default 10 s. */
  readonly systemIntervalMs?: number;
  /** A session's queue overflowed; at most every 10 s a session. */
  readonly onOverflow?: (clientId: string, dropped: number) => void;
}

/** An open listener. */
export interface OpenListener {
  /** Such as mqtt://127.0.0.1:1883. */
  readonly url: string;
  close(): Promise<void>;
  /** Reads its certificate again, and throws when it is not right; what it answers takes it over. */
  certificateRenewal(): () => void;
}

const SERVER_SHUTTING_DOWN = 0x8b;
const NOT_AUTHORIZED = 0x87;
const ADMINISTRATIVE_ACTION = 0x98;
const QUOTA_EXCEEDED = 0x97;
const encoder = new TextEncoder();

export class Broker implements BrokerApi {
  readonly counters: BrokerCounters;
  readonly #core: Core;
  readonly #log: Log;
  readonly clock: SteadyClock;
  readonly #wheel: Wheel;
  readonly #users: Users;
  readonly #host: ListenerHost;
  readonly #system: SystemTopics;
  readonly #memory: MemoryWatch;
  readonly #connections: Connections;
  readonly #listeners = new Set<Listener>();
  readonly #insiders: Insiders;
  /** What there is of everything, for management. */
  readonly figures: Figures;
  #policy: BrokerPolicy;
  /** Clients are let go and none is let in. */
  #isDismissing = false;
  #isClosing = false;

  constructor(options: BrokerOptions) {
    const metrics = options.metrics ?? new Metrics();
    this.#log = options.log ?? silentLog;
    this.clock = steadyClock(options.clock ?? systemClock);
    this.counters = brokerCounters(metrics);
    this.#policy = {
      anonymous: options.anonymous ?? false,
      anonymousBeyondLoopback: options.anonymousBeyondLoopback ?? false,
      usersFile: options.usersFile ?? null,
      access: options.access ?? null,
      neverRetained: options.neverRetained ?? [],
      hostNames: options.hostNames ?? [],
      ...(options.listeners === undefined ? {} : { listeners: options.listeners }),
    };
    this.#core = new Core({
      clock: this.clock,
      log: this.#log,
      store: options.store,
      counters: this.counters,
      limits: { ...DEFAULT_LIMITS, ...options.limits },
      neverRetained: this.#policy.neverRetained,
      onOverflow: options.onOverflow ?? (() => {}),
    });
    this.#core.lifecycle.access = this.#policy.access;
    this.#connections = new Connections(this.#core.limits, options.descriptorsElsewhere ?? 0);
    this.#insiders = new Insiders(this.#core);
    this.figures = new Figures(options.version ?? '0', this.#core, this.#connections);
    this.#wheel = new Wheel(this.clock, (lateMs) => this.#stalled(lateMs));
    this.#users = new Users(this.clock);
    this.#host = this.#listenerHost(options.authenticationMethods ?? []);
    this.#system = new SystemTopics(
      this.figures,
      this.clock,
      options.systemIntervalMs ?? 10_000,
      (topic, value) =>
        this.publish({
          topic,
          payload: encoder.encode(value),
          qos: 0,
          retain: true,
          sender: null,
          stored: false,
        }),
    );
    this.#memory = new MemoryWatch(
      {
        ...ownMemory(() => this.#connections.endedCount),
        setShort: (isShort) => (this.#core.isShort = isShort),
        cutUnended: () => {
          for (const connection of this.#connections.unendedBeyond(this.#core.heldBytesMax))
            connection.giveUp(QUOTA_EXCEEDED);
        },
        cutSlowest: () => this.#connections.slowest?.giveUp(QUOTA_EXCEEDED),
      },
      this.#core.limits.maxMemoryBytes,
      this.clock,
      this.#log,
    );
    this.figures.tell(metrics);
  }

  #listenerHost(further: readonly AuthenticationMethod[]): ListenerHost {
    const core = this.#core;
    const methods = [new Scram(this.#users), ...further];
    return {
      core,
      log: this.#log,
      publishing: new Publishing(core),
      admission: new Admission(core, this.#users, methods, (user) => this.#mayEnter(user, methods)),
      wheel: this.#wheel,
      maxPacketBytes: core.limits.maxPacketBytes,
      hasRoom: (host, ends) => this.#hasRoom(host, ends),
      arrived: (socket, host, ends) => this.#connections.arrived(socket, host, ends),
      opened: (connection) => this.#opened(connection),
      hostNames: () => this.#policy.hostNames ?? [],
      undecided: (change) => this.#undecided(change),
      closed: (connection) => this.#connections.delete(connection),
      gone: (connection) => this.#connections.gone(connection),
      isAnonymousAllowed: (settings, host) => this.#isAnonymousAllowed(settings.anonymous, host),
    };
  }

  async open(): Promise<void> {
    this.#loadUsers(this.#policy.usersFile);
    this.#core.restore(await this.#core.store.open(), (user) => this.#users.groupsOf(user));
    this.#system.start();
    if (this.#core.limits.maxMemoryBytes < Infinity) this.#memory.start();
  }

  #stalled(lateMs: number): void {
    this.counters.stalls.value++;
    const message = 'the loop stood still: the machine is too busy, or something took too long';
    this.#core.unrest.tell('warn', message, { lateMs: Math.round(lateMs) }, 'stall');
  }

  // ---------------------------------------------------------------- listeners

  /** Opens one listener; rejects with the system's error when that cannot be done now. */
  async openListener(settings: ListenerSettings): Promise<OpenListener> {
    const listener = new Listener(this.#host, settings);
    const url = await listener.open();
    // What stood still before clients could come, while the process started, harmed nobody.
    if (this.#listeners.size === 0) this.#wheel.start();
    this.#listeners.add(listener);
    return {
      url,
      certificateRenewal: () => listener.certificateRenewal(),
      close: async () => {
        this.#listeners.delete(listener);
        await listener.close();
      },
    };
  }

  /** Addresses of the open listeners. */
  get urls(): string[] {
    return [...this.#listeners].map((listener) => listener.url);
  }

  /** For WebSocket upgrades that another HTTP server receives. */
  async webSocketUpgrade(): Promise<Upgrade> {
    const { webSocketUpgrade } = await import('./websocket.js');
    return webSocketUpgrade(
      this.#host,
      () => 'web',
      (host) => this.#isAnonymousAllowed(null, host),
    );
  }

  #hasRoom(host: string, ends: string): boolean {
    const isRefused = this.#isDismissing || this.#core.isShort || !this.#connections.hasRoom(host, ends);
    if (isRefused) this.counters.refused.value++;
    return !isRefused;
  }

  #opened(connection: Connection): void {
    this.counters.connections.value++;
    this.#connections.add(connection);
  }

  /** Nobody needs much to come in: those with the most are cut, until little is left, so that this is seldom looked for. */
  #undecided(change: number): void {
    const mostBytes = this.#core.heldBytesMax;
    if (this.#connections.countUndecided(change) <= mostBytes || change < 0) return;
    for (const connection of this.#connections.undecidedBeyond(mostBytes / 2))
      connection.cut('those who are not let in yet hold too much together');
  }

  #isAnonymousAllowed(ofListener: boolean | null, host: string): boolean {
    return (
      (ofListener ?? this.#policy.anonymous) && (this.#policy.anonymousBeyondLoopback || isLoopback(host))
    );
  }

  // ---------------------------------------------------------------- who may do what

  /** Names in certificates are known to those who sign them only: whoever has none here may have one. */
  #mayEnter(user: string, methods: readonly AuthenticationMethod[]): boolean {
    const { anonymous, listeners } = this.#policy;
    if (listeners === undefined) return true;
    if (user === '') return anonymous || listeners.some((listener) => listener.anonymous === true);
    const takesCertificates = listeners.some(({ tls }) => tls !== null && tls.clientCa !== null);
    return takesCertificates || this.#users.has(user) || methods.some((method) => method.has(user));
  }

  /** At the start only, a users file may be one that nobody made yet: nobody enters then. */
  #loadUsers(file: string | null): void {
    const isThere = file !== null && existsSync(file);
    this.#users.set(isThere ? parseUsers(readFileSync(file, 'utf8'), file) : new Map());
  }

  /**
   * Takes over users and rules. Throws, with everything as it was, when the users file is not right. Clients that may
   * no longer connect are cut; what others may no longer do ends with their next packet or message.
   */
  reload(policy: BrokerPolicy): void {
    const users =
      policy.usersFile === null
        ? new Map()
        : parseUsers(readFileSync(policy.usersFile, 'utf8'), policy.usersFile);
    const changed = this.#users.set(users);
    this.#policy = policy;
    for (const session of this.#core.lifecycle.sessions.values()) {
      session.identity = { ...session.identity, groups: this.#users.groupsOf(session.identity.user) };
    }
    this.#core.setAccess(policy.access, policy.neverRetained);
    for (const connection of [...this.#connections]) {
      const user = connection.session?.identity.user;
      if (user === undefined) continue;
      if (!this.#mayStay(connection, user, changed)) connection.giveUp(NOT_AUTHORIZED);
      else if (hasPassword(connection)) void cutUnless(connection, changed.get(user));
    }
    for (const session of this.#core.lifecycle.sessions.values()) this.#dropDenied(session);
  }

  /** changed: users whose hash is another one now. */
  #mayStay(connection: Connection, user: string, changed: ReadonlyMap<string, unknown>): boolean {
    const { authentication, policy } = connection;
    if (user === '') return policy.isAnonymousAllowed();
    if (authentication !== null) return authentication.method.has(user) && !changed.has(user);
    return !hasPassword(connection) || this.#users.has(user);
  }

  /** Subscriptions that the new rules do not give. */
  #dropDenied(session: Session): void {
    for (const [filter, entry] of session.subscriptions ?? []) {
      if (session.rights.maySubscribe(entry.filter)) continue;
      this.#core.lifecycle.unsubscribe(session, filter);
      if (session.isKept) {
        this.#core.store.append({ type: 'Unsubscribed', session: session.number, filter });
        this.#core.turns.schedule();
      }
    }
  }

  mayPublish(sender: Sender, topic: string): boolean {
    if (topic.startsWith('$')) return false;
    const identity = {
      user: sender.user,
      groups: this.#users.groupsOf(sender.user),
      clientId: sender.clientId,
    };
    return new Rights(this.#core.lifecycle.access, identity).mayWrite(topic);
  }

  // ---------------------------------------------------------------- the gateway's own messages

  /** Publishers are acknowledged once this resolves too; null: nothing to wait for. Asked once a turn. */
  acknowledgeAfter(also: () => Promise<void> | null): void {
    this.#core.turns.acknowledgeAfter(also);
  }

  publish(message: Message): void {
    this.#insiders.publish(message, false);
  }

  inflow(acknowledge: (ticket: number) => void): MessageInflow {
    return new Inflow(this.#core, this.#insiders, acknowledge);
  }

  handleOf(topic: string): TopicHandle {
    return this.#insiders.handleOf(topic);
  }

  publishSample(
    handle: TopicHandle,
    bytes: Uint8Array,
    start: number,
    end: number,
    qos: QoS,
    retain: boolean,
    stored: boolean,
  ): void {
    this.#insiders.publishSample(handle, bytes, start, end, qos, retain, stored);
  }

  sendNow(): void {
    this.#core.turns.flush();
  }

  subscribe(filter: string, subscriber: Subscriber): void {
    this.#insiders.subscribe(filter, subscriber);
  }

  unsubscribe(filter: string, subscriber: Subscriber): void {
    this.#insiders.unsubscribe(filter, subscriber);
  }

  retained(filter: string, found: FoundRetained): void {
    this.#insiders.retained(filter, found);
  }

  /** Whether a publication with the RETAIN flag is kept here for later subscribers; one of a command never is. */
  keepsRetained(topic: string): boolean {
    return !this.#policy.neverRetained.some((filter) => matches(filter, topic));
  }

  // ---------------------------------------------------------------- management

  /** Those that are open now. */
  get connections(): readonly Connection[] {
    return [...this.#connections];
  }

  /** Cuts a client's connection; with `forget` its session ends, too. Answers whether there was such a client. */
  disconnect(clientId: string, forget = false): boolean {
    const session = this.#core.lifecycle.sessions.get(clientId);
    if (session === undefined) return false;
    session.holder?.giveUp(ADMINISTRATIVE_ACTION);
    if (forget) this.#core.lifecycle.end(session);
    return true;
  }

  // ---------------------------------------------------------------- the end

  dismiss(): void {
    this.#isDismissing = true;
    this.#core.lifecycle.deferWills();
    for (const connection of [...this.#connections]) connection.giveUp(SERVER_SHUTTING_DOWN);
  }

  async close(): Promise<void> {
    if (this.#isClosing) return;
    this.#isClosing = true;
    this.#isDismissing = true;
    this.#system.stop();
    this.#wheel.stop();
    this.#memory.stop();
    for (const listener of [...this.#listeners]) await listener.close();
    this.#listeners.clear();
    this.dismiss();
    this.#core.turns.flush();
    this.#core.stop();
    await this.#core.store.close();
  }
}

/** Whether it is by a password, if it has a user, that it came in. */
function hasPassword({ authentication, certificateName }: Connection): boolean {
  return authentication === null && certificateName === null;
}

/** Who came in with a password that lets nobody in any more. */
async function cutUnless(connection: Connection, isStillRight: Promise<boolean> | undefined): Promise<void> {
  if ((await isStillRight) === false) connection.giveUp(NOT_AUTHORIZED);
}
