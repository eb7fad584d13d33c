/**
 * A TCP byte stream cut into MBAP frames. TCP loses nothing, yet devices and converters send answers cut short, with
 * bytes before or behind them: where several answers may be on their way the next one would fill up what is missing,
 * so what begins within a frame, and what follows it, is looked at before the frame is believed.
 */
import { wordAt } from './bytes.js';

export const HEADER_BYTES = 7;
/** Unit identifier and PDU, as the header's length field counts them (Modbus/TCP 3.1.3). */
const LENGTH_MIN = 2;
const LENGTH_MAX = 254;
const FRAME_MAX = HEADER_BYTES - 1 + LENGTH_MAX;
/** Identifier, protocol and upper half of the length: the same in all answers to one request. */
const TELLING_BYTES = 5;
/** A frame may pause for so long on its way. */
const PARTIAL_MS = 50;

export interface FrameListener {
  /** Further answers may be on their way besides the one that is awaited. */
  readonly isCrowded: boolean;
  /** Whether anything at all may come. */
  readonly isAwaiting: boolean;
  /** Whether a request lately went with this identifier. */
  isRecent(identifier: number): boolean;
  /** isJoined: it came in pieces, and more came with its last one. False: no more frames, please. */
  frame(bytes: Uint8Array, start: number, end: number, isJoined: boolean, atMs: number): boolean;
}

export class MbapStream {
  readonly #listener: FrameListener;
  /** The beginning of a frame whose end has not come yet. */
  readonly #partial = new Uint8Array(FRAME_MAX);
  #partialBytes = 0;
  #partialAtMs = 0;

  constructor(listener: FrameListener) {
    this.#listener = listener;
  }

  reset(): void {
    this.#partialBytes = 0;
  }

  /** A frame was begun long ago and not ended. */
  isCutOff(nowMs: number): boolean {
    return this.#partialBytes > 0 && nowMs - this.#partialAtMs > PARTIAL_MS;
  }

  /** False: the stream is out of step, and whatever follows could be anything. */
  take(bytes: Uint8Array, atMs: number): boolean {
    const listener = this.#listener;
    let at = 0;
    if (this.#partialBytes > 0) {
      // What comes so much later may be another answer, whose beginning would pass for the rest of this one.
      if (listener.isCrowded && this.isCutOff(atMs)) return false;
      this.#partialAtMs = atMs;
      const taken = this.#complete(bytes);
      if (taken < 0) return false;
      if (this.#partialBytes > 0) return true;
      const size = frameSize(this.#partial, 0, HEADER_BYTES);
      if (!listener.frame(this.#partial, 0, size, taken < bytes.length, atMs)) return true;
      at = taken;
    }
    while (at < bytes.length) {
      const size = frameSize(bytes, at, bytes.length);
      if (size < 0) return false;
      if (size === 0 || at + size > bytes.length) {
        this.#begin(bytes.subarray(at), atMs);
        break;
      }
      if (listener.isCrowded && this.#isDoubtful(bytes, at, at + size, bytes.length)) return false;
      if (!listener.frame(bytes, at, at + size, false, atMs)) return true;
      at += size;
    }
    // Nothing can be meant by a beginning when nothing is awaited: it would only swallow what comes next.
    return this.#partialBytes === 0 || listener.isAwaiting;
  }

  #begin(bytes: Uint8Array, atMs: number): void {
    this.#partial.set(bytes, 0);
    this.#partialBytes = bytes.length;
    this.#partialAtMs = atMs;
  }

  /** Adds to the frame that was begun: how many bytes that took, -1 when the stream is out of step. */
  #complete(bytes: Uint8Array): number {
    const partial = this.#partial;
    let taken = Math.min(bytes.length, Math.max(0, HEADER_BYTES - this.#partialBytes));
    partial.set(bytes.subarray(0, taken), this.#partialBytes);
    this.#partialBytes += taken;
    const size = frameSize(partial, 0, this.#partialBytes);
    if (size <= 0) return size === 0 ? taken : -1;
    const rest = Math.min(bytes.length - taken, size - this.#partialBytes);
    partial.set(bytes.subarray(taken, taken + rest), this.#partialBytes);
    this.#partialBytes += rest;
    taken += rest;
    if (this.#partialBytes < size) return taken;
    this.#partialBytes = 0;
    if (frameSize(bytes, taken, bytes.length) < 0) return -1;
    // Something may have been missing, and was taken from the frame that follows.
    if (!this.#listener.isCrowded) return taken;
    const own = wordAt(partial, 0);
    const isFilled = this.#begins(bytes, 0, bytes.length, own) || this.#holdsAnother(partial, 0, size);
    return isFilled ? -1 : taken;
  }

  /** Whether another answer begins within this frame, or none behind it, because its own end was lost on the way. */
  #isDoubtful(bytes: Uint8Array, start: number, end: number, have: number): boolean {
    return frameSize(bytes, end, have) < 0 || this.#holdsAnother(bytes, start, end);
  }

  #holdsAnother(bytes: Uint8Array, start: number, end: number): boolean {
    const own = wordAt(bytes, start);
    for (let at = start + HEADER_BYTES; at + TELLING_BYTES <= end; at += 1) {
      if (this.#begins(bytes, at, end, own)) return true;
    }
    return false;
  }

  /** Whether an answer to another recent request begins here. Shorter beginnings show by what follows them. */
  #begins(bytes: Uint8Array, at: number, end: number, own: number): boolean {
    if (end - at < TELLING_BYTES) return false;
    for (let next = 2; next < TELLING_BYTES; next += 1) if (bytes[at + next] !== 0) return false;
    const identifier = wordAt(bytes, at);
    return identifier !== own && this.#listener.isRecent(identifier);
  }
}

/** Bytes of the frame that begins here; 0 when its header is not complete, -1 when it is no frame at all. */
function frameSize(bytes: Uint8Array, start: number, end: number): number {
  const have = end - start;
  if (have >= 4 && wordAt(bytes, start + 2) !== 0) return -1;
  if (have < 6) return 0;
  const length = wordAt(bytes, start + 4);
  if (length < LENGTH_MIN || length > LENGTH_MAX) return -1;
  return have < HEADER_BYTES ? 0 : HEADER_BYTES - 1 + length;
}
