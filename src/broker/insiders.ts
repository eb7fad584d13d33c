/**
 * The gateway's own publications and subscriptions, within this process: no packets, no access rules, no queue. The hot
 * path of telemetry is here.
 */
import { copyOf } from './codec.js';
import type { Core } from './core.js';
import type { Outcome } from './delivery.js';
import { emptyIncoming, incomingOf } from './incoming.js';
import type { FoundRetained, Message, QoS, Subscriber } from './message.js';
import { Insider, Route } from './route.js';
import { parseFilter } from './topic.js';

/** A topic the gateway publishes to again and again: found once, kept by the caller. Opaque outside this room. */
export interface TopicHandle {
  readonly topic: string;
}

const EMPTY = new Uint8Array(0);
const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

export class Insiders {
  readonly #core: Core;
  /** Weak: who has unsubscribed is not known any more, such as an uplink that a reload took away, with all that it holds. */
  readonly #owners = new WeakMap<Subscriber, Insider>();
  readonly #sample = emptyIncoming();
  /** Whether #sample is in use: a subscriber may publish while it is handed a message. */
  #isPublishing = false;

  constructor(core: Core) {
    this.#core = core;
  }

  /** isAwaited: it is refused where it cannot be kept, instead of going on to who is there. */
  publish(message: Message, isAwaited: boolean): Outcome {
    const bytes = encoder.encode(message.topic);
    const route = this.#core.routing.find(bytes, 0, bytes.length);
    if (route === null) return 'unmatched';
    const { payload, properties = EMPTY, expiresAtMs = 0, qos, retain, sender, stored = true } = message;
    return this.#core.delivery.publish(
      incomingOf(bytes, payload, properties, {
        expiresAtMs,
        qos,
        retain,
        sender,
        isStored: stored,
        isAwaited,
      }),
      route,
    );
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
    const incoming = this.#isPublishing ? { ...this.#sample } : this.#sample;
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
      core.delivery.publish(incoming, handle);
    } finally {
      this.#isPublishing = false;
    }
  }

  subscribe(filter: string, subscriber: Subscriber): void {
    const parsed = parseFilter(filter);
    if (parsed === null) throw new Error(`not a topic filter: ${filter}`);
    let owner = this.#owners.get(subscriber);
    if (owner === undefined) {
      owner = new Insider(subscriber);
      this.#owners.set(subscriber, owner);
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
    const owner = this.#owners.get(subscriber);
    if (owner === undefined) return;
    this.#core.subscriptions.remove(owner, filter, '');
    this.#core.routing.changed();
  }

  retained(filter: string, found: FoundRetained): void {
    this.#core.retained.match(filter, (message) =>
      found(
        decoder.decode(message.topic.subarray(message.topicStart, message.topicEnd)),
        copyOf(message.payload, message.payloadStart, message.payloadEnd),
        message.qos,
        copyOf(message.properties, message.propertiesStart, message.propertiesEnd),
        message.publisher,
      ),
    );
  }
}
