/**
 * Messages that wait in memory for a session that is not kept: encoded packets in a few large buffers, without an
 * object each. Packet identifier and message expiry are filled in when a packet leaves; where they stand, the packet tells.
 */

import { copyOf } from './codec.js';
import { held } from './held.js';
import type { Outgoing } from './outgoing.js';
import type { Entry } from './subscriptions.js';

/** What came by a shared subscription, which another member may get instead: what its packet does not tell of it. */
export interface Shared {
  readonly entry: Entry<unknown>;
  /** To forward. */
  readonly properties: Uint8Array;
  readonly payloadLength: number;
}

/** A PUBLISH at QoS 1 or 2, and what is needed to finish it when it leaves. */
export interface Waiting {
  bytes: Uint8Array;
  start: number;
  end: number;
  topicStart: number;
  /** Here stands its packet identifier, too. */
  topicEnd: number;
  /** Where the expiry interval stands; -1: none. */
  expiryAt: number;
  /** Wall time in ms; 0: never. */
  expiresAtMs: number;
  /** Null: it did not come by a shared subscription. */
  shared: Shared | null;
}

/** Large ones go back to the system as soon as they are let go; the first ones are small and double. */
const CHUNK_BYTES = 131_072;
const CHUNK_MIN = 4096;
/** Chunks that were let go and are used again: a queue that overflows makes and drops them all the time. */
const SPARE_MAX = 16;
const spares: Uint8Array[] = [];

interface Note extends Pick<Waiting, 'expiryAt' | 'expiresAtMs' | 'shared'> {
  readonly start: number;
}

interface Chunk {
  bytes: Uint8Array;
  /** Where its oldest packet begins, and where the newest ends. */
  start: number;
  length: number;
  /** Of those of its packets that expire, or came by a shared subscription. */
  notes: Note[] | null;
}

export class MemoryQueue {
  #chunks: Chunk[] = [];
  #count = 0;
  #bytes = 0;
  readonly #head: Waiting = {
    bytes: new Uint8Array(0),
    start: 0,
    end: 0,
    topicStart: 0,
    topicEnd: 0,
    expiryAt: -1,
    expiresAtMs: 0,
    shared: null,
  };

  get count(): number {
    return this.#count;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Room for a packet; the caller writes it to the answer's bytes at start and then calls commit(). */
  reserve(length: number): { bytes: Uint8Array; start: number } {
    let chunk = this.#chunks.at(-1);
    if (chunk === undefined || chunk.length + length > chunk.bytes.length) {
      const size = Math.max(length, Math.min(CHUNK_BYTES, (chunk?.bytes.length ?? CHUNK_MIN / 2) * 2));
      const spare = size === CHUNK_BYTES ? spares.pop() : undefined;
      chunk = { bytes: spare ?? Buffer.allocUnsafeSlow(size), start: 0, length: 0, notes: null };
      held.bytes += size;
      this.#chunks.push(chunk);
    }
    return { bytes: chunk.bytes, start: chunk.length };
  }

  /** The packet is written. Where its expiry interval stands (-1: nowhere), and the wall time in ms (0: never). */
  commit(length: number, expiryAt: number, expiresAtMs: number, shared: Shared | null = null): void {
    const chunk = this.#chunks.at(-1);
    if (chunk === undefined) return;
    if (expiresAtMs > 0 || shared !== null)
      (chunk.notes ??= []).push({ start: chunk.length, expiryAt, expiresAtMs, shared });
    chunk.length += length;
    this.#count++;
    this.#bytes += length;
  }

  /** The oldest packet, valid until the next call; null when there is none. */
  peek(): Waiting | null {
    const chunk = this.#chunks[0];
    if (chunk === undefined || this.#count === 0) return null;
    const { bytes, start } = chunk;
    const body = bodyStart(bytes, start);
    const head = this.#head;
    head.bytes = bytes;
    head.start = start;
    head.end = endOf(bytes, start);
    head.topicStart = body + 2;
    head.topicEnd = body + 2 + (((bytes[body] ?? 0) << 8) | (bytes[body + 1] ?? 0));
    const note = chunk.notes?.[0];
    const isNoted = note?.start === start;
    head.expiryAt = isNoted ? note.expiryAt : -1;
    head.expiresAtMs = isNoted ? note.expiresAtMs : 0;
    head.shared = isNoted ? note.shared : null;
    return head;
  }

  /** Lets go of the oldest packet. Its bytes stay readable until something is reserved. */
  shift(): void {
    const chunk = this.#chunks[0];
    if (chunk === undefined || this.#count === 0) return;
    const end = endOf(chunk.bytes, chunk.start);
    this.#count--;
    this.#bytes -= end - chunk.start;
    if (chunk.notes?.[0]?.start === chunk.start) chunk.notes.shift();
    chunk.start = end;
    if (end < chunk.length) return;
    if (this.#chunks.length > 1 || chunk.bytes.length > CHUNK_MIN) {
      this.#chunks.shift();
      letGo(chunk);
    } else {
      chunk.start = 0;
      chunk.length = 0;
    }
  }

  clear(): void {
    this.#chunks.forEach(letGo);
    this.#chunks = [];
    this.#count = 0;
    this.#bytes = 0;
  }
}

/** A copy of what waits, for another member of the shared subscription that it came by. */
export function sharedMessageOf(
  { bytes, topicStart, topicEnd, end, expiresAtMs }: Waiting,
  shared: Shared,
): Outgoing {
  const { properties, payloadLength } = shared;
  return {
    topic: copyOf(bytes, topicStart, topicEnd),
    topicStart: 0,
    topicEnd: topicEnd - topicStart,
    properties,
    propertiesStart: 0,
    propertiesEnd: properties.length,
    payload: copyOf(bytes, end - payloadLength, end),
    payloadStart: 0,
    payloadEnd: payloadLength,
    expiresAtMs,
    position: 0,
  };
}

/** Where the body of a packet begins. */
function bodyStart(bytes: Uint8Array, start: number): number {
  let at = start + 1;
  while ((bytes[at++] ?? 0) > 127);
  return at;
}

/** Where a packet ends. */
function endOf(bytes: Uint8Array, start: number): number {
  let length = 0;
  for (let at = start + 1, shift = 0; ; at++, shift += 7) {
    const byte = bytes[at] ?? 0;
    length |= (byte & 127) << shift;
    if (byte < 128) return at + 1 + length;
  }
}

function letGo({ bytes }: Chunk): void {
  held.bytes -= bytes.length;
  if (bytes.length === CHUNK_BYTES && spares.length < SPARE_MAX) spares.push(bytes);
}
