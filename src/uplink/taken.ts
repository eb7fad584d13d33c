/**
 * What was taken from a far side that may not know it, and would send it again: on the next connection, when the
 * acknowledgement was lost with this one. It outlives connections, as the far side's session does.
 */
import { crc32 } from 'node:zlib';
import type { RemoteMessage } from './client.js';

/** More of QoS 1 are not under way. */
const REMEMBERED_MAX = 1000;

export class Taken {
  /** The far side knows what it was told so long before a connection ended, or that would have ended before. */
  readonly #knownAfterMs: number;
  /** At QoS 2, by packet identifier, until it is released. */
  readonly #identifiers = new Set<number>();
  /** At QoS 1, and when; by what they say, because brokers may number them anew. */
  readonly #times = new Map<string, number>();

  constructor(keepAliveS: number) {
    this.#knownAfterMs = 2000 * keepAliveS;
  }

  /** Whether this one comes again. */
  has(message: RemoteMessage, packetIdentifier: number): boolean {
    if (message.qos === 2) return this.#identifiers.has(packetIdentifier);
    return message.isRepeated && this.#times.has(keyOf(message));
  }

  add(message: RemoteMessage, packetIdentifier: number, nowMs: number): void {
    if (message.qos === 2) this.#identifiers.add(packetIdentifier);
    if (message.qos !== 1) return;
    const key = keyOf(message);
    this.#times.delete(key);
    this.#times.set(key, nowMs);
    const [oldest] = this.#times.keys();
    if (this.#times.size > REMEMBERED_MAX && oldest !== undefined) this.#times.delete(oldest);
  }

  release(packetIdentifier: number): void {
    this.#identifiers.delete(packetIdentifier);
  }

  /** A connection has ended. */
  lost(nowMs: number): void {
    for (const [key, timeMs] of this.#times) if (timeMs < nowMs - this.#knownAfterMs) this.#times.delete(key);
  }

  /** The far side has a new session. */
  clear(): void {
    this.#identifiers.clear();
    this.#times.clear();
  }
}

/** What tells one order from another. */
function keyOf({ topic, payload, properties }: RemoteMessage): string {
  return `${crc32(payload, crc32(properties.correlationData ?? ''))} ${payload.length} ${topic}`;
}
