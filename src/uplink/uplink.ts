/**
 * One uplink: takes what its rules match from the local broker into its queue, keeps one connection to one of its
 * nodes, and brings in what its rules ask for. What is sent when is in sender.ts.
 */
import type { FoundRetained, Message, Subscriber } from '../broker/message.js';
import type { Cancel, Clock } from '../clock.js';
import type { UplinkNotice, UplinkRule } from '../config/plant.js';
import type { Log } from '../log.js';
import { Unrest } from '../unrest.js';
import { Arrivals, Author, type LocalInflow } from './arrivals.js';
import { advised, SENT_AWAY, SENT_TOO_MUCH, withAdvice } from './advice.js';
import {
  acceptableWill,
  CONNACK_TIMEOUT_MS,
  connectRemote,
  type Remote,
  type RemoteOptions,
  type RemoteTls,
  type RemoteWill,
} from './client.js';
import type { Queued } from './entry.js';
import { type DeviceNews, Notices } from './notices.js';
import type { Place } from './payload.js';
import { viaOf } from './properties.js';
import { ForeignIdentifiers, plain } from './publications.js';
import type { UplinkQueue } from './queue.js';
import { type Routed, Router } from './rule.js';
import { Sender } from './sender.js';
import type { Subscribed } from './subscribed.js';
import { Subscriptions } from './subscriptions.js';
import type { Taken } from './taken.js';

/** What an uplink needs of the broker beside it. */
export interface LocalBroker extends LocalInflow {
  subscribe(filter: string, subscriber: Subscriber): void;
  unsubscribe(filter: string, subscriber: Subscriber): void;
  retained(filter: string, found: FoundRetained): void;
}

export interface UplinkOptions {
  readonly name: string;
  /** Tried in turn. */
  readonly nodes: readonly string[];
  readonly remote: Omit<RemoteOptions, 'url' | 'password' | 'will' | 'tls' | 'connackTimeoutMs'>;
  /** Read anew for each connection, because a token may have been renewed. */
  readonly password: () => string | null;
  /** Read anew for each connection, because a certificate may have been renewed. */
  readonly tls: () => RemoteTls | null;
  readonly out: readonly UplinkRule[];
  readonly in: readonly UplinkRule[];
  readonly notices: readonly UplinkNotice[];
  /** Texts of the names that every template may use. */
  readonly variables: Readonly<Record<string, string>>;
  /** Local topics whose retained messages are sent again on each connection, because a far side may have forgotten them. */
  readonly announce: readonly string[];
  /** Topic on the far side that says online, and offline as the will; null: none. */
  readonly statusTopic: string | null;
  /** Names this gateway in what it forwards, so that a loop is seen. */
  readonly gatewayId: string;
  /** Messages a second while the backlog drains; Infinity: no limit. */
  readonly drainPerS: number;
  readonly order: 'oldest-first' | 'live-first';
  /** Messages of one topic sent and not acknowledged, at most. */
  readonly perTopic: number;
}

export interface UplinkAbout {
  readonly name: string;
  readonly isConnected: boolean;
  readonly node: string;
  readonly queuedMessages: number;
  readonly queuedBytes: number;
  readonly oldestMs: number;
  readonly dropped: number;
  readonly refused: number;
  readonly sent: number;
  readonly error: string;
}

interface Parts {
  readonly local: LocalBroker;
  readonly queue: UplinkQueue;
  readonly subscribed: Subscribed;
  readonly taken: Taken;
  readonly clock: Clock;
  readonly log: Log;
  /** What a local topic speaks of; null when it is none of the gateway's own. */
  readonly placeOf: (topic: string) => Place | null;
  /** Not while another gateway is the active one: then nothing is taken or brought in, and what is queued still goes. */
  readonly isActive: () => boolean;
  /** Called when the connection comes or goes. */
  readonly changed: (about: UplinkAbout) => void;
}

const RETRY_MIN_MS = 1_000;
const RETRY_MAX_MS = 60_000;
/** After a connection that was of use, the next node is tried at once. */
const RETRY_SOON_MS = 100;
/** A connection that lived so long was of use, though nothing was acknowledged on it. */
const LIVED_MS = 5_000;
/** So many that lived shorter follow one another at once; after that each pause is twice as long as the one before, up to this. */
const SHORT_COUNT_MAX = 20;
const SHORT_PAUSE_MAX_MS = 10_000;
const NOTHING = new Uint8Array(0);

export class Uplink {
  readonly #options: UplinkOptions;
  readonly #parts: Parts;
  readonly #clientId: string;
  readonly #subscriber: Subscriber = {
    isKeeping: true,
    // A message that several filters match is delivered for each of them.
    deliver: (message, { filter }) => {
      if (this.#out.firstFilter(message.topic) === filter) this.#take(message);
    },
  };
  readonly #out: Router;
  readonly #in: Router;
  readonly #sender: Sender;
  readonly #notices: Notices;
  readonly #subscriptions: Subscriptions;
  /** A far side may take each connection, and end it. */
  readonly #unrest: Unrest;
  #remote: Remote | null = null;
  /** Counts connections, so that news of an old one are known as such. */
  #generation = 0;
  #connectedAtMs = 0;
  #nodeIndex = 0;
  /** Nodes tried in vain since the last connection that was of use, or since the pause that followed when all had been. */
  #triedCount = 0;
  #roundBeganMs = 0;
  #retryMs = RETRY_MIN_MS;
  /** Connections of use in a row that did not live long. */
  #shortCount = 0;
  #dialedAtMs = 0;
  /** What a connection is given until CONNACK: twice what the last one took, so that a slow line has it at once again. */
  #connackMs = CONNACK_TIMEOUT_MS;
  #error = '';
  #isStopping = false;
  #isTurnDue = false;
  #arrivals: Arrivals | null = null;
  readonly #identifiers: ForeignIdentifiers;
  #will: RemoteWill | null;
  #cancelRetry: Cancel | null = null;

  constructor(options: UplinkOptions, parts: Parts) {
    this.#options = options;
    this.#parts = parts;
    this.#clientId = `uplink:${options.name}`;
    const { statusTopic } = options;
    this.#will =
      statusTopic === null ? null : { topic: statusTopic, payload: 'offline', qos: 1, retain: true };
    const sendsTwice = [...options.out, ...options.notices].some(({ qos }) => qos === 2);
    this.#identifiers = new ForeignIdentifiers(options.remote.cleanStart || !sendsTwice);
    const { clock, log, queue, subscribed, placeOf } = parts;
    this.#unrest = new Unrest(clock, log);
    const variables = new Map(
      Object.entries(options.variables).map(([name, text]) => [name, JSON.stringify(text)]),
    );
    const nowMs = (): number => clock.nowMs();
    this.#out = new Router({ rules: options.out, variables, placeOf, nowMs });
    this.#in = new Router({ rules: options.in, variables, placeOf: null, nowMs });
    this.#notices = new Notices({ notices: options.notices, variables, clock });
    this.#subscriptions = new Subscriptions({
      uplink: options.name,
      rules: options.in,
      subscribed,
      clock,
      log,
      changed: (why) => this.#subscribed(why),
      failed: (error) => this.#lost(this.#generation, withAdvice(error)),
    });
    this.#sender = new Sender({
      ...options,
      queue,
      clock,
      log,
      isActive: parts.isActive,
      drained: () => this.#announce(),
      failed: (reason) => this.#lost(this.#generation, reason),
    });
  }

  start(): void {
    for (const filter of this.#out.filters) this.#parts.local.subscribe(filter, this.#subscriber);
    this.#connect();
  }

  async stop(): Promise<void> {
    await this.disconnect();
    this.leave();
    await this.#parts.queue.close();
  }

  /**
   * The connection ends for good, once what is under way is acknowledged or a moment has passed. What is published here
   * is queued still: a publisher who is acknowledged meanwhile counts on it.
   */
  async disconnect(): Promise<void> {
    this.#isStopping = true;
    this.#cancelRetry?.();
    this.#sender.finish();
    this.#notices.stop();
    this.#subscriptions.stop();
    this.#unrest.stop();
    const acknowledged = this.#arrivals?.finish();
    const remote = this.#remote;
    this.#remote = null;
    if (remote !== null) {
      this.#sayStatus('offline');
      await remote.settled(acknowledged);
      // Without good-bye the will says it, which the far side has.
      await remote.end(this.#sender.hasUnsaid);
    }
    this.#sender.stop();
  }

  /** Takes nothing any more; the queue may go to another uplink. */
  leave(): void {
    for (const filter of this.#out.filters) this.#parts.local.unsubscribe(filter, this.#subscriber);
    this.#flush();
  }

  about(): UplinkAbout {
    const { messages, bytes, oldestMs, dropped } = this.#parts.queue.figures();
    return {
      name: this.#options.name,
      isConnected: this.#remote !== null,
      node: this.#node(),
      queuedMessages: messages,
      queuedBytes: bytes,
      oldestMs,
      dropped: dropped + this.#sender.expired,
      refused: this.#sender.refused,
      sent: this.#sender.sent,
      error: this.#error,
    };
  }

  /** Resolves when what was taken is on the disk; null: it is there, or the disk takes nothing. */
  kept(): Promise<void> | null {
    return this.#parts.queue.kept();
  }

  deviceChanged(news: DeviceNews): void {
    for (const { topic, payload, qos, retain } of this.#notices.ofDevice(news))
      this.#queue({ topic, payload, qos, retain, properties: NOTHING, expiresAtMs: 0 });
  }

  /** Once for all that comes in a turn: written, and as much as may be is sent. */
  #queue(message: Queued): void {
    this.#parts.queue.push(message);
    if (this.#isTurnDue) return;
    this.#isTurnDue = true;
    setImmediate(() => {
      this.#isTurnDue = false;
      void this.#parts.queue.kept();
      this.#sender.pump();
    });
  }

  #node(): string {
    return this.#options.nodes[this.#nodeIndex % this.#options.nodes.length] ?? '';
  }

  /**
   * A local message. What this uplink itself brought in does not go out again; what another uplink of ours did goes on,
   * and what came through this gateway before, by whoever it came back, does not.
   */
  #take(message: Message): void {
    const { sender, properties = NOTHING } = message;
    if (!this.#parts.isActive()) return;
    const isKnown =
      sender instanceof Author
        ? sender.clientId === this.#clientId
        : viaOf(properties).includes(this.#options.gatewayId);
    if (!isKnown) this.#forward(message);
  }

  #forward(message: Message): void {
    const { topic, payload } = message;
    const routed = this.#out.route(topic, payload);
    if (routed === null) return;
    if (routed !== 'waits') this.#push(routed, message);
    // The samples of an answer are published in one turn, one after the other.
    else if (this.#out.waiting === 1) queueMicrotask(() => this.#flush());
  }

  #flush(): void {
    for (const routed of this.#out.flush()) this.#push(routed, { qos: 1, retain: false });
  }

  #push(
    { topic, payload, rule }: Routed,
    { qos, retain, ...message }: Pick<Message, 'qos' | 'retain' | 'properties' | 'expiresAtMs'>,
  ): void {
    const { local, clock } = this.#parts;
    const { expiresAtMs = 0 } = message;
    this.#queue({
      topic,
      payload,
      qos: Math.min(qos, rule.qos) as 0 | 1 | 2,
      retain: rule.retain === 'keep' && retain,
      properties: message.properties ?? NOTHING,
      // The broker's clock and the wall clock may be apart.
      expiresAtMs: expiresAtMs === 0 ? 0 : Math.max(1, clock.nowMs() + expiresAtMs - local.clock.nowMs()),
    });
  }

  #connect(): void {
    const generation = ++this.#generation;
    this.#dialedAtMs = this.#parts.clock.monotonicMs();
    if (this.#triedCount === 0) this.#roundBeganMs = this.#parts.clock.monotonicMs();
    this.#dial(generation)
      .then((connected) => this.#connected(generation, connected))
      .catch((error: unknown) => {
        if (this.#will !== null) this.#will = acceptableWill(this.#will, error);
        this.#lost(generation, withAdvice(error));
      });
  }

  async #dial(generation: number): Promise<Remote> {
    const { remote, password, tls } = this.#options;
    const arrivals = this.#arrivalsOf(generation);
    this.#arrivals = arrivals;
    return connectRemote(
      {
        ...remote,
        url: this.#node(),
        password: password(),
        // The longer nobody has answered, the more is given to a line on which that takes long.
        connackTimeoutMs: Math.max(this.#connackMs, this.#retryMs),
        tls: tls(),
        will: this.#will,
        identifiers: this.#identifiers,
      },
      {
        message: (message, ticket) => arrivals.take(message, ticket),
        closed: (reason, code) => this.#closed(generation, reason, code),
        keeper: arrivals,
      },
    );
  }

  #arrivalsOf(generation: number): Arrivals {
    const { name, gatewayId } = this.#options;
    return new Arrivals({
      ...this.#parts,
      uplink: name,
      node: this.#node(),
      gatewayId,
      router: this.#in,
      again: (reason) => this.#lost(generation, reason),
    });
  }

  async #connected(generation: number, remote: Remote): Promise<void> {
    if (this.#isStopping || generation !== this.#generation) return remote.end(true);
    const { queue, changed, clock } = this.#parts;
    this.#remote = remote;
    this.#connectedAtMs = clock.monotonicMs();
    const tookMs = this.#connectedAtMs - this.#dialedAtMs;
    this.#connackMs = Math.min(RETRY_MAX_MS, Math.max(CONNACK_TIMEOUT_MS, 2 * tookMs));
    this.#error = '';
    const { name } = this.#options;
    const queued = queue.figures().messages;
    this.#unrest.tell('info', 'uplink connected', { uplink: name, node: this.#node(), queued });
    changed(this.about());
    await this.#subscriptions.start(remote);
    if (this.#isStopping || generation !== this.#generation) return;
    this.#sayStatus('online');
    this.#notices.start((message) => this.#sender.say(message));
    this.#sender.start(remote);
  }

  #subscribed(why: string): void {
    if (this.#error === why) return;
    this.#error = why;
    this.#parts.changed(this.about());
  }

  #sayStatus(status: 'online' | 'offline'): void {
    const { statusTopic } = this.#options;
    if (statusTopic !== null) this.#sender.say(plain(statusTopic, status, 1, true));
  }

  /**
   * Brings the retained messages of the announced topics through the rules once more, but for those that came in by these
   * rules: the far side may have newer ones. Behind all that waited: connections that end before that is through would
   * otherwise leave more in the queue than they take out of it.
   */
  #announce(): void {
    const { local, isActive } = this.#parts;
    const { announce, gatewayId } = this.#options;
    if (!isActive()) return;
    for (const filter of announce) {
      local.retained(filter, (topic, payload, qos, properties) => {
        const cameIn = this.#in.mayMake(topic) && viaOf(properties).includes(gatewayId);
        if (!cameIn) this.#forward({ topic, payload, qos, retain: true, sender: null, properties });
      });
    }
  }

  #closed(generation: number, reason: string, code: number): void {
    const isSentAway = SENT_AWAY.has(code);
    if (SENT_TOO_MUCH.has(code) && generation === this.#generation) this.#sender.slowDown();
    this.#lost(generation, isSentAway ? advised(reason, code) : reason, isSentAway);
  }

  /** isSentAway: by a far side that would end the next connection too, such as one that has another client with this name. */
  #lost(generation: number, reason: string, isSentAway = false): void {
    if (generation !== this.#generation || this.#isStopping) return;
    this.#generation++;
    const { changed, clock, taken } = this.#parts;
    const { name } = this.#options;
    const hadConnection = this.#remote !== null;
    const livedMs = clock.monotonicMs() - this.#connectedAtMs;
    const wasOfUse = !isSentAway && hadConnection && (this.#sender.hasProgress || livedMs > LIVED_MS);
    if (isSentAway) this.#beginPauses(livedMs);
    this.#subscriptions.stop();
    const isNews = hadConnection || this.#error !== reason;
    const remote = this.#remote;
    this.#remote = null;
    // Before the connection ends: what that says of each message under way is no news.
    this.#sender.stop();
    void this.#arrivals?.finish();
    if (hadConnection) taken.lost(clock.monotonicMs());
    void remote?.end(true);
    this.#notices.stop();
    this.#error = reason;
    if (isNews)
      this.#unrest.tell('warn', 'uplink not connected; messages are kept in its queue', {
        uplink: name,
        node: this.#node(),
        error: reason,
      });
    this.#nodeIndex++;
    // One that takes the connection and ends it does so over what it is sent, which is found out by trying.
    const pauseMaxMs = hadConnection && !isSentAway ? SHORT_PAUSE_MAX_MS : RETRY_MAX_MS;
    const pauseMs = wasOfUse ? this.#afterUse(livedMs) : this.#afterTry(pauseMaxMs);
    changed(this.about());
    this.#cancelRetry = clock.after(pauseMs, () => this.#connect());
  }

  /** The pause is one of a whole round, since the other nodes know as much; and a short one where this is news. */
  #beginPauses(livedMs: number): void {
    this.#roundBeganMs = this.#parts.clock.monotonicMs();
    this.#triedCount = this.#options.nodes.length;
    if (livedMs > RETRY_MAX_MS) this.#retryMs = RETRY_MIN_MS;
  }

  /** Who is cut off again and again, as by another client with the same name, does not come at once for ever. */
  #afterUse(livedMs: number): number {
    this.#triedCount = 0;
    this.#retryMs = RETRY_MIN_MS;
    this.#shortCount = livedMs > LIVED_MS ? 0 : this.#shortCount + 1;
    return Math.min(SHORT_PAUSE_MAX_MS, RETRY_SOON_MS * 2 ** Math.max(0, this.#shortCount - SHORT_COUNT_MAX));
  }

  /** The time that a round took is part of its pause: nodes that were waited for have had theirs. */
  #afterTry(pauseMaxMs: number): number {
    this.#triedCount++;
    if (this.#triedCount < this.#options.nodes.length) return RETRY_SOON_MS;
    this.#triedCount = 0;
    this.#retryMs = Math.min(pauseMaxMs, this.#retryMs);
    const periodMs = this.#retryMs * (0.5 + Math.random() / 2);
    this.#retryMs = Math.min(pauseMaxMs, this.#retryMs * 2);
    return Math.max(RETRY_SOON_MS, this.#roundBeganMs + periodMs - this.#parts.clock.monotonicMs());
  }
}
