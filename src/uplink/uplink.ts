/**
 * One uplink: takes what its rules match from the local broker into its queue, keeps one connection to one of its
 * nodes, sends what is queued within a window, and brings in what its rules ask for. A message leaves the queue when the
 * far side has acknowledged it, and only then.
 */
import type { Message, Subscriber } from '../broker/message.js';
import type { Cancel, Clock } from '../clock.js';
import { messageOf } from '../errors.js';
import type { Log } from '../log.js';
import { connectRemote, VIA, type Remote, type RemoteMessage, type RemoteOptions } from './client.js';
import type { Entry } from './block.js';
import type { UplinkQueue } from './queue.js';
import { route, type Rule } from './rule.js';

/** What an uplink needs of the broker beside it. */
export interface LocalBroker {
  publish(message: Message): void;
  subscribe(filter: string, subscriber: Subscriber): void;
  unsubscribe(filter: string, subscriber: Subscriber): void;
  retained(filter: string, found: (topic: string, payload: Uint8Array, qos: 0 | 1 | 2) => void): void;
}

export interface UplinkOptions {
  readonly name: string;
  /** Tried in turn. */
  readonly nodes: readonly string[];
  readonly remote: Omit<RemoteOptions, 'url' | 'will'>;
  readonly out: readonly Rule[];
  readonly in: readonly Rule[];
  /** Local topics whose retained messages are sent again on each connection, because a far side may have forgotten them. */
  readonly announce: readonly string[];
  /** Topic on the far side that says online, and offline as the will; null: none. */
  readonly statusTopic: string | null;
  /** Names this gateway in what it forwards, so that a loop is seen. */
  readonly gatewayId: string;
  /** Messages a second while the backlog drains; Infinity: no limit. */
  readonly drainPerS: number;
  readonly order: 'oldest-first' | 'live-first';
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
  readonly clock: Clock;
  readonly log: Log;
  /** Called when the connection comes or goes. */
  readonly changed: (about: UplinkAbout) => void;
}

/** Messages sent and not acknowledged, at most. */
const WINDOW = 200;
const ACK_TIMEOUT_MS = 20_000;
const RETRY_MIN_MS = 1_000;
const RETRY_MAX_MS = 60_000;
const DRAIN_TICK_MS = 100;
/** Reason codes that another try may cure: unspecified, implementation specific, quota exceeded. */
const PASSING = new Set([0x80, 0x83, 0x97]);

export class Uplink {
  readonly #options: UplinkOptions;
  readonly #parts: Parts;
  readonly #clientId: string;
  readonly #subscriber: Subscriber = { deliver: (message) => this.#take(message) };
  #remote: Remote | null = null;
  /** Counts connections, so that answers of an old one are known as such. */
  #generation = 0;
  #nodeIndex = 0;
  #retryMs = RETRY_MIN_MS;
  #error = '';
  #isStopping = false;
  #cancelRetry: Cancel | null = null;
  #cancelTick: Cancel | null = null;
  /** Two places in the queue to send from: the backlog, and in live-first order what came since the connection. */
  #backlogAt = 1;
  #backlogEnd = 0;
  #liveAt = 1;
  #inFlight = new Map<number, number>();
  #isPumping = false;
  #wantsPump = false;
  #allowance = 0;
  #sent = 0;
  #refused = 0;

  constructor(options: UplinkOptions, parts: Parts) {
    this.#options = options;
    this.#parts = parts;
    this.#clientId = `uplink:${options.name}`;
  }

  start(): void {
    for (const { from } of this.#options.out) this.#parts.local.subscribe(from, this.#subscriber);
    this.#connect();
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#cancelRetry?.();
    this.#cancelTick?.();
    for (const { from } of this.#options.out) this.#parts.local.unsubscribe(from, this.#subscriber);
    const remote = this.#remote;
    this.#remote = null;
    if (remote !== null) {
      const { statusTopic } = this.#options;
      if (statusTopic !== null) remote.publish(statusTopic, Buffer.from('offline'), 1, true, null, () => {});
      await remote.end(false);
    }
    await this.#parts.queue.close();
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
      dropped,
      refused: this.#refused,
      sent: this.#sent,
      error: this.#error,
    };
  }

  #node(): string {
    return this.#options.nodes[this.#nodeIndex % this.#options.nodes.length] ?? '';
  }

  /** A local message; what this uplink itself brought in does not go out again. */
  #take(message: Message): void {
    if (message.sender?.clientId === this.#clientId) return;
    const found = route(this.#options.out, message.topic);
    if (found === null) return;
    const qos = Math.min(message.qos, found.rule.qos) as 0 | 1 | 2;
    this.#parts.queue.push(found.topic, message.payload, qos, found.rule.retain === 'keep' && message.retain);
    if (this.#remote !== null) this.#pump();
  }

  #connect(): void {
    const generation = ++this.#generation;
    const url = this.#node();
    const { statusTopic, remote } = this.#options;
    connectRemote(
      { ...remote, url, will: statusTopic === null ? null : { topic: statusTopic, payload: 'offline' } },
      {
        message: (message) => this.#bringIn(message),
        closed: (reason) => this.#lost(generation, reason),
      },
    )
      .then((connected) => this.#connected(generation, connected))
      .catch((error: unknown) => this.#lost(generation, messageOf(error)));
  }

  async #connected(generation: number, remote: Remote): Promise<void> {
    if (this.#isStopping || generation !== this.#generation) return remote.end(true);
    const { queue, log, changed, clock } = this.#parts;
    this.#remote = remote;
    this.#retryMs = RETRY_MIN_MS;
    this.#error = '';
    this.#inFlight.clear();
    this.#backlogAt = 1;
    this.#liveAt = queue.nextSequence;
    this.#backlogEnd = this.#options.order === 'live-first' ? queue.nextSequence - 1 : Infinity;
    this.#allowance = this.#options.drainPerS / 10;
    log.info('uplink connected', {
      uplink: this.#options.name,
      node: this.#node(),
      queued: queue.figures().messages,
    });
    changed(this.about());
    for (const { from, qos } of this.#options.in) await remote.subscribe(from, qos);
    if (generation !== this.#generation) return;
    this.#announce(remote);
    this.#cancelTick = clock.after(DRAIN_TICK_MS, () => this.#tick(generation));
    this.#pump();
  }

  /** Says online, and brings the retained messages of the announced topics through the rules once more. */
  #announce(remote: Remote): void {
    const { statusTopic, announce, gatewayId } = this.#options;
    if (statusTopic !== null)
      remote.publish(statusTopic, Buffer.from('online'), 1, true, gatewayId, () => {});
    for (const filter of announce) {
      this.#parts.local.retained(filter, (topic, payload, qos) =>
        this.#take({ topic, payload, qos, retain: true, sender: null }),
      );
    }
  }

  #lost(generation: number, reason: string): void {
    if (generation !== this.#generation || this.#isStopping) return;
    this.#generation++;
    const { log, changed, clock } = this.#parts;
    const node = this.#node();
    const isNews = this.#remote !== null || this.#error !== reason;
    const hadConnection = this.#remote !== null;
    void this.#remote?.end(true);
    this.#remote = null;
    this.#error = reason;
    this.#cancelTick?.();
    if (isNews)
      log.warn('uplink not connected; messages are kept in its queue', {
        uplink: this.#options.name,
        node,
        error: reason,
      });
    this.#nodeIndex++;
    const wasLast = this.#nodeIndex % this.#options.nodes.length === 0;
    const delayMs = hadConnection || !wasLast ? 100 : this.#retryMs * (0.5 + Math.random() / 2);
    if (wasLast && !hadConnection) this.#retryMs = Math.min(RETRY_MAX_MS, this.#retryMs * 2);
    changed(this.about());
    this.#cancelRetry = clock.after(delayMs, () => this.#connect());
  }

  /** Ten times a second: a new allowance for the backlog, and a look whether an acknowledgement is overdue. */
  #tick(generation: number): void {
    if (generation !== this.#generation) return;
    const { clock } = this.#parts;
    this.#allowance = Math.min(
      this.#options.drainPerS,
      this.#allowance + (this.#options.drainPerS * DRAIN_TICK_MS) / 1000,
    );
    const oldestMs = this.#inFlight.values().next().value ?? Infinity;
    if (clock.monotonicMs() - oldestMs > ACK_TIMEOUT_MS)
      return this.#lost(generation, 'an acknowledgement did not come within 20 s');
    this.#cancelTick = clock.after(DRAIN_TICK_MS, () => this.#tick(generation));
    this.#pump();
  }

  /** Sends as much as window and allowance permit. One at a time; a call meanwhile makes it look once more. */
  #pump(): void {
    this.#wantsPump = true;
    if (this.#isPumping) return;
    this.#isPumping = true;
    this.#pumpAll()
      .catch((error: unknown) => this.#lost(this.#generation, messageOf(error)))
      .finally(() => {
        this.#isPumping = false;
      });
  }

  async #pumpAll(): Promise<void> {
    while (this.#wantsPump) {
      this.#wantsPump = false;
      const generation = this.#generation;
      const room = Math.min(WINDOW, this.#remote?.receiveMaximum ?? 0) - this.#inFlight.size;
      if (room <= 0) return;
      const isLiveFirst = this.#backlogEnd !== Infinity;
      const live = isLiveFirst ? await this.#parts.queue.read(this.#liveAt, room) : [];
      if (generation !== this.#generation) continue;
      for (const entry of live) this.#liveAt = this.#send(entry);
      const left = Math.min(room - live.length, Math.floor(this.#allowance));
      if (left <= 0) continue;
      const backlog = await this.#parts.queue.read(this.#backlogAt, left);
      if (generation !== this.#generation) continue;
      for (const entry of backlog) {
        if (entry.sequence > this.#backlogEnd) break;
        this.#backlogAt = this.#send(entry);
        this.#allowance--;
      }
      if (backlog.length === left) this.#wantsPump = true;
    }
  }

  /** Sends one entry; answers the place behind it. */
  #send(entry: Entry): number {
    const generation = this.#generation;
    this.#inFlight.set(entry.sequence, this.#parts.clock.monotonicMs());
    this.#remote?.publish(
      entry.topic,
      entry.payload,
      entry.qos,
      entry.retain,
      this.#options.gatewayId,
      (outcome) => {
        if (generation === this.#generation) this.#answered(generation, entry, outcome);
      },
    );
    return entry.sequence + 1;
  }

  #answered(generation: number, entry: Entry, outcome: number): void {
    if (outcome < 0) return this.#lost(generation, 'a message could not be sent');
    if (PASSING.has(outcome))
      return this.#lost(generation, `the far side cannot take messages now (reason ${outcome})`);
    this.#inFlight.delete(entry.sequence);
    this.#parts.queue.done(entry.sequence);
    if (outcome === 0) this.#sent++;
    else this.#refuse(entry, outcome);
    this.#pump();
  }

  /** Refused for good: it would be refused again and hold up all behind it. */
  #refuse(entry: Entry, reason: number): void {
    this.#refused++;
    if (this.#refused > 1) return;
    this.#parts.log.error('the far side refuses messages; they are dropped and counted', {
      uplink: this.#options.name,
      topic: entry.topic,
      reason,
    });
  }

  #bringIn(message: RemoteMessage): void {
    const via = message.userProperties[VIA];
    if (via === this.#options.gatewayId || (Array.isArray(via) && via.includes(this.#options.gatewayId)))
      return;
    const found = route(this.#options.in, message.topic);
    if (found === null) return;
    this.#parts.local.publish({
      topic: found.topic,
      payload: message.payload,
      qos: Math.min(message.qos, found.rule.qos) as 0 | 1 | 2,
      retain: found.rule.retain === 'keep' && message.retain,
      sender: { clientId: this.#clientId, user: '', address: this.#node() },
    });
  }
}
