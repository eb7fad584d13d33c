/**
 * The one door of the broker: listeners let clients in, and the gateway uses publish(), publishSample() and
 * subscribe(). It joins the parts of this room and owns the connections; what happens to a message is in core.ts.
 */
import { existsSync, readFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type Clock, steadyClock, systemClock } from '../clock.js';
import { type Log, silentLog } from '../log.js';
import { Metrics } from '../metrics.js';
import type { Store } from '../store/store.js';
import { type AccessRule, Rights } from './access.js';
import type { AuthenticationMethod } from './authentication.js';
import { copyOf } from './codec.js';
import { Admission } from './connect.js';
import type { Connection } from './connection.js';
import { Core, type Incoming } from './core.js';
import { brokerCounters, type BrokerCounters } from './counters.js';
import { descriptorRoom } from './descriptors.js';
import { Wheel } from './keepalive.js';
import { type BrokerLimits, DEFAULT_LIMITS } from './limits.js';
import {
  isLoopback,
  Listener,
  type ListenerHost,
  type ListenerSettings,
  webSocketUpgrade,
} from './listener.js';
import { MemoryWatch, processMemory } from './memory.js';
import type { Message, QoS, Sender, Subscriber } from './message.js';
import { Publishing } from './publish.js';
import { Insider, Route } from './route.js';
import type { Session } from './session.js';
import { SystemTopics, type SystemSource } from './system.js';
import { parseFilter } from './topic.js';
import { Scram } from './scram.js';
import { parseUsers, Users } from './users.js';

/** A topic the gateway publishes to again and again: found once, kept by the caller. Opaque outside this room. */
export interface TopicHandle {
  readonly topic: string;
}

/** What the rest of the gateway may ask of the broker; implemented by the Broker class of this file. */
export interface BrokerApi {
  /** Recovers sessions and retained messages from the store. */
  open(): Promise<void>;
  publish(message: Message): void;
  handleOf(topic: string): TopicHandle;
  /**
   * The hot path of telemetry: no object a sample. bytes[start..end) is the payload; it is copied before the call
   * returns. Sent at the end of the loop turn. Its retained copy is not stored unless `stored`.
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
  /** In-process subscription; not bound by access rules. The RETAIN flag is handed on as published. */
  subscribe(filter: string, subscriber: Subscriber): void;
  unsubscribe(filter: string, subscriber: Subscriber): void;
  /** The retained messages that a filter matches; payloads are valid during the call. */
  retained(filter: string, found: (topic: string, payload: Uint8Array, qos: 0 | 1 | 2) => void): void;
  /** Whether this sender could publish there itself: an answer to a response topic gives nobody a right he has not. */
  mayPublish(sender: Sender, topic: string): boolean;
  /** DISCONNECT 0x8B to v5 clients, commit, close. */
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
  /** How often $SYS is told; 0: never. Default 10 s. */
  readonly systemIntervalMs?: number;
  /** A session's queue overflowed; at most every 10 s a session. */
  readonly onOverflow?: (clientId: string, dropped: number) => void;
}

/** One client, as management sees it. */
export interface ClientInfo {
  readonly clientId: string;
  readonly user: string;
  /** Empty: not connected. */
  readonly address: string;
  readonly listener: string;
  readonly isConnected: boolean;
  readonly version: 4 | 5;
  readonly keepAliveS: number;
  /** 0 while it is away. */
  readonly connectedAtMs: number;
  readonly sessionExpiryS: number;
  readonly subscriptions: readonly string[];
  readonly inFlight: number;
  readonly queuedMessages: number;
  readonly queuedBytes: number;
  readonly dropped: number;
}

/** An open listener. */
export interface OpenListener {
  /** Such as mqtt://127.0.0.1:1883. */
  readonly url: string;
  close(): Promise<void>;
}

const SERVER_SHUTTING_DOWN = 0x8b;
const NOT_AUTHORIZED = 0x87;
const ADMINISTRATIVE_ACTION = 0x98;
const QUOTA_EXCEEDED = 0x97;
const EMPTY = new Uint8Array(0);
const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

export class Broker implements BrokerApi, SystemSource {
  readonly counters: BrokerCounters;
  readonly version: string;
  readonly #core: Core;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #wheel: Wheel;
  readonly #users: Users;
  readonly #host: ListenerHost;
  readonly #system: SystemTopics;
  readonly #memory: MemoryWatch;
  readonly #connections = new Set<Connection>();
  /** Sockets that are no clients yet, by address and port. */
  readonly #arrivals = new Set<string>();
  /** Connections and arrivals of each host. */
  readonly #addresses = new Map<string, number>();
  readonly #listeners = new Set<Listener>();
  readonly #insiders = new Map<Subscriber, Insider>();
  #policy: BrokerPolicy;
  #connectedMaximum = 0;
  readonly #descriptorRoom = descriptorRoom();
  #isClosing = false;
  readonly #upgrade: (request: IncomingMessage, socket: Duplex, head: Buffer) => void;

  constructor(options: BrokerOptions) {
    const metrics = options.metrics ?? new Metrics();
    this.#log = options.log ?? silentLog;
    this.#clock = steadyClock(options.clock ?? systemClock);
    this.version = options.version ?? '0';
    this.counters = brokerCounters(metrics);
    this.#policy = {
      anonymous: options.anonymous ?? false,
      anonymousBeyondLoopback: options.anonymousBeyondLoopback ?? false,
      usersFile: options.usersFile ?? null,
      access: options.access ?? null,
      neverRetained: options.neverRetained ?? [],
      hostNames: options.hostNames ?? [],
    };
    this.#core = new Core({
      clock: this.#clock,
      log: this.#log,
      store: options.store,
      counters: this.counters,
      limits: { ...DEFAULT_LIMITS, ...options.limits },
      neverRetained: this.#policy.neverRetained,
      onOverflow: options.onOverflow ?? (() => {}),
    });
    this.#core.access = this.#policy.access;
    this.#wheel = new Wheel(this.#clock, (lateMs) => this.#stalled(lateMs));
    this.#users = new Users(this.#clock);
    this.#host = this.#listenerHost(options.authenticationMethods ?? []);
    this.#upgrade = webSocketUpgrade(
      this.#host,
      () => 'web',
      (host) => this.#isAnonymousAllowed(null, host),
    );
    this.#system = new SystemTopics(this, this.#clock, options.systemIntervalMs ?? 10_000, (topic, value) =>
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
        ...processMemory(),
        setShort: (isShort) => (this.#core.isShort = isShort),
        cutSlowest: () => this.#cutSlowest(),
      },
      this.#core.limits.maxMemoryBytes,
      this.#clock,
      this.#log,
    );
    this.#gauges(metrics);
  }

  #listenerHost(methods: readonly AuthenticationMethod[]): ListenerHost {
    const core = this.#core;
    return {
      core,
      log: this.#log,
      publishing: new Publishing(core),
      admission: new Admission(core, this.#users, [new Scram(this.#users), ...methods]),
      wheel: this.#wheel,
      maxPacketBytes: core.limits.maxPacketBytes,
      hasRoom: (host, address) => this.#hasRoom(host, address),
      arrived: (socket, host, address) => this.#arrived(socket, host, address),
      opened: (connection) => this.#opened(connection),
      hostNames: () => this.#policy.hostNames ?? [],
      closed: (connection) => this.#closed(connection),
      isAnonymousAllowed: (settings, host) => this.#isAnonymousAllowed(settings.anonymous, host),
    };
  }

  async open(): Promise<void> {
    this.#loadUsers(this.#policy.usersFile);
    this.#core.restore(await this.#core.store.open(), (user) => this.#users.groupsOf(user));
    this.#wheel.start();
    this.#system.start();
    if (this.#core.limits.maxMemoryBytes < Infinity) this.#memory.start();
  }

  #stalled(lateMs: number): void {
    this.counters.stalls.value++;
    this.#log.warn('the loop stood still: the machine is too busy, or something took too long', {
      lateMs: Math.round(lateMs),
    });
  }

  #cutSlowest(): void {
    let slowest: Connection | null = null;
    for (const connection of this.#connections) {
      if (connection.pendingBytes > (slowest?.pendingBytes ?? 0)) slowest = connection;
    }
    slowest?.giveUp(QUOTA_EXCEEDED);
  }

  // ---------------------------------------------------------------- listeners

  /** Opens one listener; rejects with the system's error when that cannot be done now. */
  async openListener(settings: ListenerSettings): Promise<OpenListener> {
    const listener = new Listener(this.#host, settings);
    const url = await listener.open();
    this.#listeners.add(listener);
    return {
      url,
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

  /** Takes over a WebSocket upgrade that another HTTP server received. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    this.#upgrade(request, socket, head);
  }

  /** Certificates were renewed on disk. */
  renewCertificates(): void {
    for (const listener of this.#listeners) listener.renew();
  }

  #hasRoom(host: string, address: string): boolean {
    const isRefused =
      this.#isClosing || this.#core.isShort || (!this.#arrivals.has(address) && this.#isCrowded(host));
    if (isRefused) this.counters.refused.value++;
    return !isRefused;
  }

  #isCrowded(host: string): boolean {
    const { maxConnections, maxConnectionsPerAddress } = this.#core.limits;
    return (
      this.#connections.size + this.#arrivals.size >= Math.min(maxConnections, this.#descriptorRoom) ||
      (this.#addresses.get(host) ?? 0) >= maxConnectionsPerAddress
    );
  }

  #arrived(socket: Socket, host: string, address: string): void {
    this.#arrivals.add(address);
    this.#count(host, 1);
    socket.once('close', () => {
      if (this.#arrivals.delete(address)) this.#count(host, -1);
    });
  }

  #count(host: string, change: 1 | -1): void {
    const count = (this.#addresses.get(host) ?? 0) + change;
    if (count > 0) this.#addresses.set(host, count);
    else this.#addresses.delete(host);
  }

  #opened(connection: Connection): void {
    this.counters.connections.value++;
    this.#connections.add(connection);
    // Who arrived was counted then.
    if (!this.#arrivals.delete(connection.address)) this.#count(connection.host, 1);
    this.#connectedMaximum = Math.max(this.#connectedMaximum, this.#connections.size);
  }

  #closed(connection: Connection): void {
    if (this.#connections.delete(connection)) this.#count(connection.host, -1);
  }

  #isAnonymousAllowed(ofListener: boolean | null, host: string): boolean {
    return (
      (ofListener ?? this.#policy.anonymous) && (this.#policy.anonymousBeyondLoopback || isLoopback(host))
    );
  }

  // ---------------------------------------------------------------- who may do what

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
    this.#users.set(users);
    this.#policy = policy;
    for (const session of this.#core.sessions.values()) {
      session.identity = { ...session.identity, groups: this.#users.groupsOf(session.identity.user) };
    }
    this.#core.setAccess(policy.access, policy.neverRetained);
    for (const connection of this.#connections) {
      const { session } = connection;
      if (session === null) continue;
      const { user } = session.identity;
      const mayStay =
        user === ''
          ? this.#isAnonymousAllowed(connection.policy.isAnonymousAllowed ? null : false, connection.host)
          : (connection.authentication?.method.has(user) ??
            (connection.certificateName !== null || this.#users.has(user)));
      if (!mayStay) connection.giveUp(NOT_AUTHORIZED);
    }
    for (const session of this.#core.sessions.values()) this.#dropDenied(session);
  }

  /** Subscriptions that the new rules do not give. */
  #dropDenied(session: Session): void {
    for (const [filter, entry] of session.subscriptions ?? []) {
      if (session.rights.maySubscribe(entry.filter)) continue;
      this.#core.unsubscribe(session, filter);
      if (session.isKept) {
        this.#core.store.append({ type: 'Unsubscribed', session: session.number, filter });
        this.#core.schedule();
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
    return new Rights(this.#core.access, identity).mayWrite(topic);
  }

  // ---------------------------------------------------------------- publications of the gateway

  readonly #incoming: Incoming = {
    topic: EMPTY,
    topicStart: 0,
    topicEnd: 0,
    properties: EMPTY,
    propertiesStart: 0,
    propertiesEnd: 0,
    payload: EMPTY,
    payloadStart: 0,
    payloadEnd: 0,
    expiresAtMs: 0,
    position: 0,
    qos: 0,
    retain: false,
    from: null,
    address: 'gateway',
    isStored: true,
    packetIdentifier: 0,
  };
  /** Publishers are acknowledged once this resolves too; null: nothing to wait for. Asked once a turn. */
  acknowledgeAfter(also: () => Promise<void> | null): void {
    this.#core.commits.also = also;
  }

  /** Whether #incoming is in use: a subscriber may publish while it is handed a message. */
  #isPublishing = false;

  publish(message: Message): void {
    const bytes = encoder.encode(message.topic);
    const route = this.#core.routing.find(bytes, 0, bytes.length);
    if (route === null) return;
    const properties = message.properties ?? EMPTY;
    const incoming: Incoming = {
      ...this.#incoming,
      topic: bytes,
      topicEnd: bytes.length,
      properties,
      propertiesStart: 0,
      propertiesEnd: properties.length,
      payload: message.payload,
      payloadStart: 0,
      payloadEnd: message.payload.length,
      expiresAtMs: message.expiresAtMs ?? 0,
      qos: message.qos,
      retain: message.retain,
      isStored: message.stored ?? true,
    };
    this.#core.publish(incoming, route);
  }

  handleOf(topic: string): TopicHandle {
    return this.#core.routing.ownRoute(topic) ?? { topic };
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
    if (!(handle instanceof Route)) return;
    const core = this.#core;
    core.routing.refresh(handle);
    const incoming = this.#isPublishing ? { ...this.#incoming } : this.#incoming;
    incoming.topic = handle.bytes;
    incoming.topicEnd = handle.bytes.length;
    incoming.payload = bytes;
    incoming.payloadStart = start;
    incoming.payloadEnd = end;
    incoming.qos = qos;
    incoming.retain = retain;
    incoming.isStored = stored;
    this.#isPublishing = true;
    try {
      core.publish(incoming, handle);
    } finally {
      this.#isPublishing = false;
    }
  }

  subscribe(filter: string, subscriber: Subscriber): void {
    const parsed = parseFilter(filter);
    if (parsed === null) throw new Error(`not a topic filter: ${filter}`);
    let owner = this.#insiders.get(subscriber);
    if (owner === undefined) {
      owner = new Insider(subscriber);
      this.#insiders.set(subscriber, owner);
    }
    this.#core.subscriptions.add({
      owner,
      filter: parsed.filter,
      share: '',
      qos: 2,
      noLocal: false,
      retainAsPublished: true,
      identifier: 0,
    });
    this.#core.routing.changed();
  }

  unsubscribe(filter: string, subscriber: Subscriber): void {
    const owner = this.#insiders.get(subscriber);
    if (owner === undefined) return;
    this.#core.subscriptions.remove(owner, filter, '');
    this.#core.routing.changed();
  }

  // ---------------------------------------------------------------- management

  /** Every session, connected or not. */
  *clients(): IterableIterator<ClientInfo> {
    for (const session of this.#core.sessions.values()) yield this.#infoOf(session);
  }

  #infoOf(session: Session): ClientInfo {
    // A holder is a connection of ours.
    const connection = session.holder as Connection | null;
    return {
      clientId: session.clientId,
      user: session.identity.user,
      address: connection?.address ?? '',
      listener: connection?.listener ?? '',
      isConnected: session.link !== null,
      version: session.version,
      keepAliveS: connection?.keepAliveS ?? 0,
      connectedAtMs: connection?.connectedAtMs ?? 0,
      sessionExpiryS: session.expiryS,
      subscriptions: [...(session.subscriptions?.keys() ?? [])],
      inFlight: session.inFlight.count,
      queuedMessages: session.queuedMessages,
      queuedBytes: session.queuedBytes,
      dropped: session.droppedCount,
    };
  }

  /** Cuts a client's connection; with `forget` its session ends, too. Answers whether there was such a client. */
  disconnect(clientId: string, forget = false): boolean {
    const session = this.#core.sessions.get(clientId);
    if (session === undefined) return false;
    session.holder?.giveUp(ADMINISTRATIVE_ACTION);
    if (forget) this.#core.endSession(session);
    return true;
  }

  retained(filter: string, found: (topic: string, payload: Uint8Array, qos: 0 | 1 | 2) => void): void {
    this.#core.retained.match(
      filter,
      ({ topic, topicStart, topicEnd, payload, payloadStart, payloadEnd, qos }) =>
        found(
          decoder.decode(topic.subarray(topicStart, topicEnd)),
          copyOf(payload, payloadStart, payloadEnd),
          qos,
        ),
    );
  }

  /** Lets go of a retained message; answers whether there was one. */
  dropRetained(topic: string): boolean {
    return this.#core.dropRetained(topic);
  }

  // ---------------------------------------------------------------- numbers

  get connectedCount(): number {
    return this.#connections.size;
  }

  get connectedMaximum(): number {
    return this.#connectedMaximum;
  }

  get sessionCount(): number {
    return this.#core.sessions.size;
  }

  get subscriptionCount(): number {
    return this.#core.subscriptions.count;
  }

  get sharedSubscriptionCount(): number {
    return this.#sum((session) => {
      let count = 0;
      for (const entry of session.subscriptions?.values() ?? []) if (entry.share !== '') count++;
      return count;
    });
  }

  get retainedCount(): number {
    return this.#core.retained.count;
  }

  get retainedBytes(): number {
    return this.#core.retained.bytes;
  }

  get queuedCount(): number {
    return this.#sum((session) => session.queuedMessages);
  }

  get queuedBytes(): number {
    return this.#sum((session) => session.queuedBytes);
  }

  get inFlightCount(): number {
    return this.#sum((session) => session.inFlight.count);
  }

  #sum(of: (session: Session) => number): number {
    let sum = 0;
    for (const session of this.#core.sessions.values()) sum += of(session);
    return sum;
  }

  #gauges(metrics: Metrics): void {
    metrics.gauge('mqtt_clients_connected', 'Connections open now.', () => this.connectedCount);
    metrics.gauge('mqtt_sessions', 'Sessions, connected or kept.', () => this.sessionCount);
    metrics.gauge('mqtt_subscriptions', 'Subscriptions of all sessions.', () => this.subscriptionCount);
    metrics.gauge('mqtt_retained_messages', 'Retained messages.', () => this.retainedCount);
    metrics.gauge('mqtt_retained_bytes', 'Bytes of retained messages.', () => this.retainedBytes);
    metrics.gauge('mqtt_queued_messages', 'Messages that wait for their session.', () => this.queuedCount);
    metrics.gauge(
      'mqtt_queued_bytes',
      'Bytes of messages that wait for their session.',
      () => this.queuedBytes,
    );
  }

  // ---------------------------------------------------------------- the end

  async close(): Promise<void> {
    if (this.#isClosing) return;
    this.#isClosing = true;
    this.#system.stop();
    this.#wheel.stop();
    this.#memory.stop();
    for (const listener of [...this.#listeners]) await listener.close();
    this.#listeners.clear();
    for (const connection of [...this.#connections]) {
      // It is we who go: nobody is lost, so no will is published.
      if (connection.session !== null) connection.session.will = null;
      connection.giveUp(SERVER_SHUTTING_DOWN);
    }
    this.#core.flush();
    this.#core.stop();
    await this.#core.store.close();
  }
}
