/**
 * Messages that wait in memory for a session that is not kept: encoded packets in a few large buffers, without an
 * object each. Packet identifier and message expiry are filled in when a packet leaves.
 */

import { held } from './held.js';

/** What stands before each packet, so that it can be finished when it leaves. */
export interface Waiting {
  bytes: Uint8Array;
  start: number;
  end: number;
  packetIdentifierAt: number;
  /** Where the expiry interval stands; -1: none. */
  expiryAt: number;
  /** Wall time in ms; 0: never. */
  expiresAtMs: number;
}

/** Large ones go back to the system as soon as they are let go; the first ones are small and double. */
const CHUNK_BYTES = 131_072;
const CHUNK_MIN = 4096;
/** Chunks that were let go and are used again: a queue that overflows makes and drops them all the time. */
const SPARE_MAX = 16;
const spares: Uint8Array[] = [];
/** Numbers a packet: start, end, identifier place, expiry place, expiry time. */
const FIELDS = 5;

interface Chunk {
  bytes: Uint8Array;
  length: number;
  fields: number[];
  next: number;
}

export class MemoryQueue {
  #chunks: Chunk[] = [];
  #count = 0;
  #bytes = 0;
  readonly #head: Waiting = {
    bytes: new Uint8Array(0),
    start: 0,
    end: 0,
    packetIdentifierAt: 0,
    expiryAt: -1,
    expiresAtMs: 0,
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
      chunk = { bytes: spare ?? Buffer.allocUnsafeSlow(size), length: 0, fields: [], next: 0 };
      held.bytes += size;
      this.#chunks.push(chunk);
    }
    return { bytes: chunk.bytes, start: chunk.length };
  }

  commit(length: number, packetIdentifierAt: number, expiryAt: number, expiresAtMs: number): void {
    const chunk = this.#chunks.at(-1);
    if (chunk === undefined) return;
    chunk.fields.push(chunk.length, chunk.length + length, packetIdentifierAt, expiryAt, expiresAtMs);
    chunk.length += length;
    this.#count++;
    this.#bytes += length;
  }

  /** The oldest packet, valid until the next call; null when there is none. */
  peek(): Waiting | null {
    const chunk = this.#chunks[0];
    if (chunk === undefined || this.#count === 0) return null;
    const { fields, next } = chunk;
    const head = this.#head;
    head.bytes = chunk.bytes;
    head.start = fields[next] ?? 0;
    head.end = fields[next + 1] ?? 0;
    head.packetIdentifierAt = fields[next + 2] ?? 0;
    head.expiryAt = fields[next + 3] ?? 0;
    head.expiresAtMs = fields[next + 4] ?? 0;
    return head;
  }

  /** Lets go of the oldest packet. Its bytes stay readable until something is reserved. */
  shift(): void {
    const chunk = this.#chunks[0];
    if (chunk === undefined || this.#count === 0) return;
    this.#count--;
    this.#bytes -= (chunk.fields[chunk.next + 1] ?? 0) - (chunk.fields[chunk.next] ?? 0);
    chunk.next += FIELDS;
    if (chunk.next < chunk.fields.length) return;
    if (this.#chunks.length > 1 || chunk.bytes.length > CHUNK_MIN) {
      this.#chunks.shift();
      letGo(chunk);
    } else {
      chunk.fields.length = 0;
      chunk.next = 0;
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

function letGo({ bytes }: Chunk): void {
  held.bytes -= bytes.length;
  if (bytes.length === CHUNK_BYTES && spares.length < SPARE_MAX) spares.push(bytes);
}
