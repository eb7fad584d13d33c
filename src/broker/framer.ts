/**
 * Bytes -> whole frames. The framer hands over exactly one complete frame at a time, decides on a length before
 * anything is allocated by it, and keeps only what has arrived. It knows first bytes and lengths, nothing of packets.
 * Runs in a browser too.
 */
import { MALFORMED, PROTOCOL_ERROR } from './properties.js';

export const PACKET_TOO_LARGE = 0x95;

export interface FrameSink {
  /**
   * One frame: bytes[start] is its first byte, `body` the first after the remaining length, `end` the first after the
   * frame. The bytes are the sink's only until it returns. False: stop here, keep what follows for resume().
   */
  frame(bytes: Uint8Array, start: number, body: number, end: number): boolean;
}

/** What each first byte means to the receiving side: 0 go on, otherwise the reason code to refuse it with. */
export type FirstBytes = Uint8Array;

/** Packets that a server accepts, with the header flags of MQTT 2.1.3 (2.2.2 in 3.1.1). */
export const CLIENT_PACKETS = firstBytes([1, 3, 4, 5, 6, 7, 8, 10, 12, 14, 15]);
/** Packets that a client accepts. */
export const SERVER_PACKETS = firstBytes([2, 3, 4, 5, 6, 7, 9, 11, 13, 14, 15]);
/** Before the first CONNECT nothing else is read [MQTT-3.1.0-1]. */
export const CONNECT_ONLY = firstBytes([1]);
/** And while it authenticates only the answers to that, or that it gives up [MQTT-3.1.2-30]. */
export const AUTH_ONLY = firstBytes([14, 15]);

function firstBytes(types: readonly number[]): FirstBytes {
  const table = new Uint8Array(256);
  for (let byte = 0; byte < 256; byte++) {
    const type = byte >> 4;
    const flags = byte & 15;
    const isRight =
      type === 3
        ? (flags & 6) !== 6 && (flags & 14) !== 8
        : flags === (type === 6 || type === 8 || type === 10 ? 2 : 0);
    table[byte] = type === 0 || !isRight ? MALFORMED : types.includes(type) ? 0 : PROTOCOL_ERROR;
  }
  return table;
}

/** First allocation for a frame that arrives in parts. */
const PART_BYTES = 512;

export class Framer {
  readonly #sink: FrameSink;
  /** Which first bytes are accepted now. */
  firstBytes: FirstBytes;
  /** Longest frame in bytes, header included. */
  maxBytes: number;
  /** MQTT 5 wants lengths in the fewest bytes [MQTT-1.5.5-1]. */
  isMinimal = false;
  /** What has arrived of a frame that is not complete, or of everything after a stop. */
  #part: Uint8Array | null = null;
  #partLength = 0;
  /** The sink said stop; until resume() everything is kept. */
  #isStopped = false;

  constructor(sink: FrameSink, firstBytes: FirstBytes, maxBytes: number) {
    this.#sink = sink;
    this.firstBytes = firstBytes;
    this.maxBytes = maxBytes;
  }

  /** The sink stopped it, and it was not resumed. */
  get isStopped(): boolean {
    return this.#isStopped;
  }

  /** Whether bytes wait here. */
  get hasPart(): boolean {
    return this.#partLength > 0;
  }

  /** Bytes of memory for what waits here. */
  get partBytes(): number {
    return this.#part?.length ?? 0;
  }

  /** Nothing is read any more: what waits here is let go of. */
  drop(): void {
    this.#part = null;
    this.#partLength = 0;
  }

  /** Takes bytes[start..end); answers 0, or the reason code with which the peer is to be refused. */
  push(bytes: Uint8Array, start: number, end: number): number {
    if (this.#isStopped) return this.#keepRest(bytes, start, end);
    if (this.#partLength === 0) return this.#frames(bytes, start, end);
    let at = start;
    // The frame that began earlier is completed in its own buffer; the rest is read where it is.
    while (this.#partLength > 0 && at < end) {
      const part = this.#part ?? new Uint8Array(0);
      const length = frameLength(part, 0, this.#partLength);
      if (length === 0) {
        this.#keep(bytes, at, at + 1);
        at++;
        const fault = this.#headerFault();
        if (fault !== 0) return fault;
        if (frameLength(this.#part ?? part, 0, this.#partLength) === this.#partLength) {
          const outcome = this.#complete();
          if (outcome > 0) return outcome;
          if (outcome < 0) return this.#keepRest(bytes, at, end);
        }
        continue;
      }
      const taken = Math.min(length - this.#partLength, end - at);
      this.#keep(bytes, at, at + taken, length);
      at += taken;
      if (this.#partLength < length) return 0;
      if (this.#complete() < 0) return this.#keepRest(bytes, at, end);
    }
    return at < end ? this.#frames(bytes, at, end) : 0;
  }

  /** Goes on after a stop, with what was kept. */
  resume(): number {
    const part = this.#part;
    const length = this.#partLength;
    this.#isStopped = false;
    if (part === null || length === 0) return 0;
    this.#part = null;
    this.#partLength = 0;
    return this.#frames(part, 0, length);
  }

  /** Hands over the frame that fills #part; -1 when the sink stopped. */
  #complete(): number {
    const frame = this.#part ?? new Uint8Array(0);
    const length = this.#partLength;
    this.#part = null;
    this.#partLength = 0;
    this.#isStopped = !this.#sink.frame(frame, 0, bodyStart(frame, 0, length), length);
    return this.#isStopped ? -1 : 0;
  }

  #keepRest(bytes: Uint8Array, start: number, end: number): number {
    if (start < end) this.#keep(bytes, start, end);
    return 0;
  }

  /** Whole frames in bytes[start..end); what is left over is kept. */
  #frames(bytes: Uint8Array, start: number, end: number): number {
    let at = start;
    while (at < end) {
      const refused = this.firstBytes[bytes[at] ?? 0] ?? 0;
      if (refused !== 0) return refused;
      let body = at + 1;
      let length = bytes[body] ?? 0;
      if (body < end && length < 128) body++;
      else {
        body = bodyStart(bytes, at, end);
        if (body < 0) return MALFORMED;
        if (body === 0) break;
        if (this.isMinimal && !isMinimal(bytes, at, body)) return MALFORMED;
        length = remainingLength(bytes, at);
      }
      const next = body + length;
      if (next - at > this.maxBytes) return PACKET_TOO_LARGE;
      if (next > end) break;
      this.#isStopped = !this.#sink.frame(bytes, at, body, next);
      at = next;
      if (this.#isStopped) break;
    }
    return this.#keepRest(bytes, at, end);
  }

  /** Refuses a header that came byte by byte as soon as it shows. */
  #headerFault(): number {
    const part = this.#part ?? new Uint8Array(0);
    const refused = this.firstBytes[part[0] ?? 0] ?? 0;
    if (refused !== 0) return refused;
    const body = bodyStart(part, 0, this.#partLength);
    if (body < 0 || (body > 0 && this.isMinimal && !isMinimal(part, 0, body))) return MALFORMED;
    if (body > 0 && body + remainingLength(part, 0) > this.maxBytes) return PACKET_TOO_LARGE;
    return 0;
  }

  /** Appends to #part; it grows by doubling up to what the frame needs, never by announced length alone. */
  #keep(bytes: Uint8Array, start: number, end: number, whole = 0): void {
    const length = this.#partLength + end - start;
    let part = this.#part;
    if (part === null || part.length < length) {
      const doubled = Math.max(length * 2, PART_BYTES);
      const grown = new Uint8Array(whole >= length ? Math.min(whole, doubled) : doubled);
      if (part !== null) grown.set(part.subarray(0, this.#partLength));
      part = this.#part = grown;
    }
    part.set(bytes.subarray(start, end), this.#partLength);
    this.#partLength = length;
  }
}

/** Whether the length before `body` has no more bytes than it needs. */
export function isMinimal(bytes: Uint8Array, start: number, body: number): boolean {
  return body - start === 2 || bytes[body - 1] !== 0;
}

/** Where the body begins; 0: the header is not complete, -1: the length has more than four bytes. */
function bodyStart(bytes: Uint8Array, start: number, end: number): number {
  for (let at = start + 1; at < start + 5; at++) {
    if (at >= end) return 0;
    if ((bytes[at] ?? 0) < 128) return at + 1;
  }
  return -1;
}

function remainingLength(bytes: Uint8Array, start: number): number {
  let value = 0;
  for (let at = start + 1, scale = 1; at < start + 5; at++, scale *= 128) {
    const byte = bytes[at] ?? 0;
    value += (byte & 127) * scale;
    if (byte < 128) break;
  }
  return value;
}

/** Length of the frame at `start`, 0 while its header is not complete. */
function frameLength(bytes: Uint8Array, start: number, end: number): number {
  const body = bodyStart(bytes, start, end);
  return body <= 0 ? 0 : body - start + remainingLength(bytes, start);
}
