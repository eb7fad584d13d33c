/**
 * A TCP byte stream cut into MBAP frames. TCP loses nothing, yet devices and converters send answers cut short, with
 * bytes before or behind them: where several answers may be on their way the next one would fill up what is missing,
 * so what begins within a frame, and what follows it, is looked at before the frame is believed. A frame that ends with
 * what may be the first bytes of another answer is held back until its successor shows whose bytes they are. Where one
 * answer alone may come it is looked for behind bytes that begin none.
 */
import { byteAt, wordAt } from './bytes.js';

export const HEADER_BYTES = 7;
/** Unit identifier and PDU, as the header's length field counts them (Modbus/TCP 3.1.3). */
const LENGTH_MIN = 2;
const LENGTH_MAX = 254;
const FRAME_MAX = HEADER_BYTES - 1 + LENGTH_MAX;
/** Identifier, protocol and upper half of the length: the same in all answers to one request. */
const TELLING_BYTES = 5;
/** With unit and function code behind them no data looks like it by chance, and it is known how long the frame is. */
const CERTAIN_BYTES = HEADER_BYTES + 1;
/** Function code and exception code (Modbus 7). */
const EXCEPTION_FRAME_BYTES = HEADER_BYTES + 2;
/** Identifier, protocol and length, which show that a frame begins here and not a few bytes before. */
const BEGINNING_BYTES = 6;
/** A frame may pause for so long on its way. */
const PARTIAL_MS = 50;
/** No identifier. */
const NOBODY = -1;

export interface FrameListener {
  /** Further answers may be on their way besides the one that is awaited. */
  readonly isCrowded: boolean;
  /** Whether anything at all may come. */
  readonly isAwaiting: boolean;
  /** Unit and function code, a byte each, of the request whose answer may come with this identifier; -1: none may. */
  asked(identifier: number): number;
  /** Whether an answer may come whose identifier, other than this one, begins with that byte. */
  mayBegin(highByte: number, own: number): boolean;
  /** isJoined: it came in pieces, and more came with its last one. False: no more frames, please. */
  frame(bytes: Uint8Array, start: number, end: number, isJoined: boolean, atMs: number): boolean;
  /** So many bytes were no frame, and nobody waits for one. */
  dropped(byteCount: number): void;
}

export class MbapStream {
  readonly #listener: FrameListener;
  /** The beginning of a frame whose end has not come yet, or one that is held back and what came behind it. */
  readonly #partial = new Uint8Array(FRAME_MAX + BEGINNING_BYTES);
  #partialBytes = 0;
  #partialAtMs = 0;
  /** Bytes of the frame that is held back; 0: none is. */
  #heldBytes = 0;
  #isHeldJoined = false;

  constructor(listener: FrameListener) {
    this.#listener = listener;
  }

  reset(): void {
    this.#partialBytes = 0;
    this.#heldBytes = 0;
  }

  /** An answer is here, and what follows it has yet to show that it is whole. */
  get isHolding(): boolean {
    return this.#heldBytes > 0;
  }

  /** A frame was begun long ago and not ended, or is held back since then. */
  isCutOff(nowMs: number): boolean {
    return this.#partialBytes > 0 && nowMs - this.#partialAtMs > PARTIAL_MS;
  }

  /**
   * Time has passed: a frame behind which nothing has come is whole. Had it lost its end to another answer, the rest of
   * that one would have come right behind.
   */
  settle(): void {
    if (this.isHolding && this.#partialBytes === this.#heldBytes) this.#release(this.#partialAtMs);
  }

  /** False: the stream is out of step, and whatever follows could be anything. */
  take(bytes: Uint8Array, atMs: number): boolean {
    const listener = this.#listener;
    let at = 0;
    if (this.#isStray()) return this.take(this.#joined(bytes), atMs);
    if (this.#heldBytes > 0) {
      at = this.#addBehind(bytes);
      const verdict = this.#verdict(this.#partial, this.#heldBytes, this.#partialBytes);
      if (verdict !== 'whole') return verdict === 'open';
      if (!this.#release(atMs)) return true;
    }
    if (this.#partialBytes > 0) {
      // What comes so much later may be another answer, whose beginning would pass for the rest of this one.
      if (listener.isCrowded && this.isCutOff(atMs)) return false;
      this.#partialAtMs = atMs;
      at = this.#complete(bytes, at);
      if (at < 0) return false;
      if (this.#partialBytes > 0) return true;
      const size = frameSize(this.#partial, 0, CERTAIN_BYTES);
      const isJoined = at < bytes.length;
      if (this.#isEndOpen(this.#partial, 0, size)) {
        const verdict = this.#verdict(bytes, at, bytes.length);
        if (verdict === 'open')
          this.#hold(this.#partial.subarray(0, size), bytes.subarray(at), isJoined, atMs);
        if (verdict !== 'whole') return verdict === 'open';
      }
      if (!listener.frame(this.#partial, 0, size, isJoined, atMs)) return true;
    }
    while (at < bytes.length) {
      const size = frameSize(bytes, at, bytes.length);
      const isWhole = size > 0 && at + size <= bytes.length;
      const next = isWhole ? at : this.#behindStray(bytes, at, size);
      if (next > at) {
        listener.dropped(next - at);
        at = next;
        continue;
      }
      if (size < 0 && listener.isAwaiting) return false;
      if (size < 0) {
        this.#drop(bytes.length - at);
        return true;
      }
      const end = at + size;
      if (!isWhole) {
        this.#begin(bytes.subarray(at), atMs);
        break;
      }
      if (listener.isCrowded && this.#isDoubtful(bytes, at, end, bytes.length)) return false;
      if (this.#isEndOpen(bytes, at, end)) {
        const verdict = this.#verdict(bytes, end, bytes.length);
        if (verdict === 'open') this.#hold(bytes.subarray(at, end), bytes.subarray(end), false, atMs);
        if (verdict !== 'whole') return verdict === 'open';
      }
      if (!listener.frame(bytes, at, end, false, atMs)) return true;
      at = end;
    }
    if (this.#partialBytes > 0 && !listener.isAwaiting) this.#drop(this.#partialBytes);
    return true;
  }

  /**
   * Some devices send more than an answer. When nothing is awaited nothing can be meant by what is no frame, and kept it
   * would only swallow what comes next.
   */
  #drop(byteCount: number): void {
    this.reset();
    this.#listener.dropped(byteCount);
  }

  /** What one answer was followed by may come when the next is awaited already: no answer begins so. */
  #isStray(): boolean {
    const { isCrowded, isAwaiting } = this.#listener;
    if (this.#partialBytes === 0 || this.isHolding || isCrowded || !isAwaiting) return false;
    return this.#partialBytes < 2 || this.#listener.asked(wordAt(this.#partial, 0)) < 0;
  }

  #joined(bytes: Uint8Array): Uint8Array {
    const joined = new Uint8Array(this.#partialBytes + bytes.length);
    joined.set(this.#partial.subarray(0, this.#partialBytes));
    joined.set(bytes, this.#partialBytes);
    this.#partialBytes = 0;
    return joined;
  }

  /**
   * Where the answer may begin behind bytes that begin none. Only one that is awaited alone is looked for: among several
   * such bytes may be the rest of one whose beginning was lost. size: of the frame that they begin, as far as it tells.
   */
  #behindStray(bytes: Uint8Array, at: number, size: number): number {
    const { isCrowded, isAwaiting } = this.#listener;
    if (isCrowded || !isAwaiting || bytes.length - at < 2) return at;
    if (this.#listener.asked(wordAt(bytes, at)) >= 0) return at;
    for (let next = at + 1; next < bytes.length; next += 1)
      if (this.#begins(bytes, next, bytes.length, NOBODY)) return next;
    return size < 0 ? bytes.length : at;
  }

  #begin(bytes: Uint8Array, atMs: number): void {
    this.#partial.set(bytes, 0);
    this.#partialBytes = bytes.length;
    this.#partialAtMs = atMs;
  }

  #hold(frame: Uint8Array, behind: Uint8Array, isJoined: boolean, atMs: number): void {
    this.#partial.set(frame, 0);
    this.#partial.set(behind, frame.length);
    this.#heldBytes = frame.length;
    this.#partialBytes = frame.length + behind.length;
    this.#partialAtMs = atMs;
    this.#isHeldJoined = isJoined;
  }

  /** Adds to what follows the frame that is held back, as far as that has to be seen: how many bytes that took. */
  #addBehind(bytes: Uint8Array): number {
    const wanted = this.#heldBytes + BEGINNING_BYTES - this.#partialBytes;
    const taken = Math.min(bytes.length, wanted);
    this.#partial.set(bytes.subarray(0, taken), this.#partialBytes);
    this.#partialBytes += taken;
    return taken;
  }

  /** Hands over the frame that was held back; what came behind it is the beginning of the next. */
  #release(atMs: number): boolean {
    const end = this.#heldBytes;
    this.#heldBytes = 0;
    if (!this.#listener.frame(this.#partial, 0, end, this.#isHeldJoined, this.#partialAtMs)) return false;
    this.#partial.copyWithin(0, end, this.#partialBytes);
    this.#partialBytes -= end;
    this.#partialAtMs = atMs;
    return true;
  }

  /** Adds to the frame that was begun, from there: up to where that took the bytes, -1 when the stream is out of step. */
  #complete(bytes: Uint8Array, from: number): number {
    const partial = this.#partial;
    let at = from + Math.min(bytes.length - from, Math.max(0, CERTAIN_BYTES - this.#partialBytes));
    partial.set(bytes.subarray(from, at), this.#partialBytes);
    this.#partialBytes += at - from;
    const size = frameSize(partial, 0, this.#partialBytes);
    if (size <= 0) return size === 0 ? at : -1;
    const rest = Math.min(bytes.length - at, size - this.#partialBytes);
    partial.set(bytes.subarray(at, at + rest), this.#partialBytes);
    this.#partialBytes += rest;
    at += rest;
    if (this.#partialBytes < size) return at;
    this.#partialBytes = 0;
    if (frameSize(bytes, at, bytes.length) < 0) return -1;
    // Something may have been missing, and was taken from the frame that follows.
    if (!this.#listener.isCrowded) return at;
    const isFilled =
      this.#isFilledBy(bytes, from, wordAt(partial, 0)) || this.#holdsAnother(partial, 0, size);
    return isFilled ? -1 : at;
  }

  /** Whether the last piece of a frame is another answer. */
  #isFilledBy(bytes: Uint8Array, from: number, own: number): boolean {
    return bytes.length - from >= TELLING_BYTES && this.#begins(bytes, from, bytes.length, own);
  }

  /** Whether another answer begins within this frame, or none behind it, because its own end was lost on the way. */
  #isDoubtful(bytes: Uint8Array, start: number, end: number, have: number): boolean {
    return frameSize(bytes, end, have) < 0 || this.#holdsAnother(bytes, start, end);
  }

  #holdsAnother(bytes: Uint8Array, start: number, end: number): boolean {
    const own = wordAt(bytes, start);
    for (let at = start + HEADER_BYTES; at + CERTAIN_BYTES <= end; at += 1) {
      if (this.#begins(bytes, at, end, own)) return true;
    }
    return false;
  }

  /** Whether this frame's last bytes may be the first of another answer, taken for its own that were lost. */
  #isEndOpen(bytes: Uint8Array, start: number, end: number): boolean {
    if (!this.#listener.isCrowded) return false;
    const own = wordAt(bytes, start);
    for (let at = Math.max(start + HEADER_BYTES, end - CERTAIN_BYTES + 1); at < end; at += 1) {
      if (this.#begins(bytes, at, end, own)) return true;
    }
    return false;
  }

  /** What follows a frame says of its end; little enough leaves it open. */
  #verdict(bytes: Uint8Array, at: number, end: number): 'whole' | 'open' | 'torn' {
    if (end - at >= 2 && this.#listener.asked(wordAt(bytes, at)) < 0) return 'torn';
    if (frameSize(bytes, at, end) < 0) return 'torn';
    return end - at < BEGINNING_BYTES ? 'open' : 'whole';
  }

  /** Whether an answer to another request may begin here; the fewer bytes there are, the more may be one. */
  #begins(bytes: Uint8Array, at: number, end: number, own: number): boolean {
    const have = Math.min(end - at, CERTAIN_BYTES);
    for (let next = 2; next < TELLING_BYTES && next < have; next += 1)
      if (bytes[at + next] !== 0) return false;
    if (have === 1) return this.#listener.mayBegin(byteAt(bytes, at), own);
    const identifier = wordAt(bytes, at);
    const asked = identifier === own ? -1 : this.#listener.asked(identifier);
    if (asked < 0) return false;
    if (have > 5 && (byteAt(bytes, at + 5) < LENGTH_MIN || byteAt(bytes, at + 5) > LENGTH_MAX)) return false;
    if (have > 6 && byteAt(bytes, at + 6) !== asked >>> 8) return false;
    return have < CERTAIN_BYTES || (byteAt(bytes, at + 7) & 0x7f) === (asked & 0x7f);
  }
}

/** Bytes of the frame that begins here; 0 when that cannot be told yet, -1 when it is no frame at all. */
export function frameSize(bytes: Uint8Array, start: number, end: number): number {
  const have = end - start;
  if (have >= 4 && wordAt(bytes, start + 2) !== 0) return -1;
  if (have < 6) return 0;
  const length = wordAt(bytes, start + 4);
  if (length < LENGTH_MIN || length > LENGTH_MAX) return -1;
  if (have < CERTAIN_BYTES) return 0;
  const size = HEADER_BYTES - 1 + length;
  if (byteAt(bytes, start + HEADER_BYTES) < 0x80) return size;
  // Some devices announce one byte less than the exception that they send, or one more.
  return have >= size && size > EXCEPTION_FRAME_BYTES ? size : EXCEPTION_FRAME_BYTES;
}
