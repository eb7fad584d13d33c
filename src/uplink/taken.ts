/**
 * What was taken from a far side that may not know it, and would send it again: on the next connection, when the
 * acknowledgement was lost with this one. It outlives connections, as the far side's session does; at QoS 2 it outlives
 * the process.
 */
import { crc32 } from 'node:zlib';
import type { RemoteMessage } from './client.js';
import type { Received } from './received.js';

/** More of QoS 1 are not under way: there are no more packet identifiers, and MQTT 3.1.1 has no other limit. */
const REMEMBERED_MAX = 65_535;

interface Remembered {
  readonly key: string;
  readonly timeMs: number;
}

export class Taken {
  /** The far side knows what it was told so long before a connection ended, or that would have ended before. */
  readonly #knownAfterMs: number;
  #openedAtMs = 0;
  /** At QoS 2, what is kept here; and what is not yet, which a kill would have to bring again. */
  readonly #received: Received;
  readonly #unkept = new Map<number, number>();
  /**
   * At QoS 1 the last of each packet identifier, and of each topic, because brokers may number them anew. An older one of
   * the same text does not count: on, off and on again are three orders, however often the last one is sent.
   */
  readonly #ofIdentifier = new Map<number, Remembered>();
  readonly #ofTopic = new Map<string, Remembered>();

  constructor(keepAliveS: number, received: Received) {
    this.#knownAfterMs = 2000 * keepAliveS;
    this.#received = received;
  }

  /** Whether this one comes again. */
  has(message: RemoteMessage, packetIdentifier: number): boolean {
    if (message.qos === 2) return this.#hasTwice(packetIdentifier, markOf(message));
    if (!message.isRepeated) return false;
    const key = keyOf(message);
    return [this.#ofIdentifier.get(packetIdentifier), this.#ofTopic.get(message.topic)].some(
      (last) => last?.key === key,
    );
  }

  add(message: RemoteMessage, packetIdentifier: number, nowMs: number): void {
    if (message.qos === 2) this.#unkept.set(packetIdentifier, markOf(message));
    if (message.qos !== 1) return;
    const taken = { key: keyOf(message), timeMs: nowMs };
    remember(this.#ofIdentifier, packetIdentifier, taken);
    remember(this.#ofTopic, message.topic, taken);
    this.#forgetKnown(nowMs);
  }

  #hasTwice(packetIdentifier: number, mark: number): boolean {
    return this.#unkept.get(packetIdentifier) === mark || this.#received.has(packetIdentifier, mark);
  }

  /** The one with this packet identifier is kept here, and about to be acknowledged. */
  kept(packetIdentifier: number): void {
    const mark = this.#unkept.get(packetIdentifier);
    if (mark === undefined) return;
    this.#unkept.delete(packetIdentifier);
    this.#received.add(packetIdentifier, mark);
  }

  release(packetIdentifier: number): void {
    this.#unkept.delete(packetIdentifier);
    this.#received.release(packetIdentifier);
  }

  /** A connection is there. */
  opened(nowMs: number): void {
    this.#openedAtMs = nowMs;
  }

  /** It has ended. One that was shorter than that may have had no time to bring again what was lost with those before. */
  lost(nowMs: number): void {
    this.#forgetKnown(nowMs);
  }

  #forgetKnown(nowMs: number): void {
    const knownMs = nowMs - this.#knownAfterMs;
    if (knownMs < this.#openedAtMs) return;
    forget(this.#ofIdentifier, knownMs);
    forget(this.#ofTopic, knownMs);
  }

  /** The far side has a new session. */
  clear(): void {
    this.#unkept.clear();
    this.#received.clear();
    this.#ofIdentifier.clear();
    this.#ofTopic.clear();
  }
}

function remember<K>(all: Map<K, Remembered>, at: K, taken: Remembered): void {
  all.delete(at);
  all.set(at, taken);
  const [oldest] = all.keys();
  if (all.size > REMEMBERED_MAX && oldest !== undefined) all.delete(oldest);
}

/** They are in the order of their time. */
function forget<K>(all: Map<K, Remembered>, beforeMs: number): void {
  for (const [at, { timeMs }] of all) {
    if (timeMs >= beforeMs) return;
    all.delete(at);
  }
}

/** What tells one order from another. */
function keyOf({ topic, payload, properties }: RemoteMessage): string {
  return `${crc32(payload, crc32(properties.correlationData ?? ''))} ${payload.length} ${topic}`;
}

/** The same in 32 bits, and never 0. */
function markOf(message: RemoteMessage): number {
  return crc32(keyOf(message)) || 1;
}
