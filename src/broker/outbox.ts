/**
 * One connection's outgoing bytes: appended during a turn of the loop, written once at its end. A run that goes to
 * many connections is a slice of the turn's arena; the first slice is kept as it is, and only when something follows
 * that does not continue it the bytes are copied together. Buffers are borrowed while there is something to write.
 */
import { copyBytes, viewOf } from './codec.js';
import { held } from './held.js';

/** Where an outbox writes to. */
export interface Transport {
  /**
   * True: the kernel took everything, so the bytes may be reused at once. Otherwise `lent`, the buffer of their own that
   * they lie in, is given back once it has; null: they lie in one that others use.
   */
  write(bytes: Uint8Array, lent: Buffer | null): boolean;
  /** Bytes handed over and not yet taken by the kernel. */
  readonly pendingBytes: number;
  pause(): void;
  resume(): void;
  /** Sends what is pending, then closes. */
  end(): void;
  destroy(): void;
}

/** Whose outbox it is. */
export interface OutboxOwner {
  /** The first bytes of a turn came: flush() is to be called at its end. */
  becameDirty(outbox: Outbox): void;
  /** Asked for more just before the bytes of a turn are written. */
  beforeFlush(): void;
}

/** Sizes of pooled buffers, with glibc's 16 bytes whole pages of memory; larger ones are made and forgotten. */
const SIZES = [2032, 16368, 65520, 270320] as const;
/** How many of each are kept. */
const KEPT = [64, 32, 8, 8] as const;
const pools: Buffer[][] = SIZES.map(() => []);

function borrow(length: number): Buffer {
  for (let i = 0; i < SIZES.length; i++) {
    const size = SIZES[i] ?? 0;
    if (length <= size) return pools[i]?.pop() ?? Buffer.allocUnsafeSlow(size);
  }
  return Buffer.allocUnsafeSlow(length);
}

/** Takes back a buffer that write() was lent. */
export function giveBack(buffer: Buffer): void {
  const index = SIZES.findIndex((size) => size === buffer.length);
  const pool = pools[index];
  if (pool !== undefined && pool.length < (KEPT[index] ?? 0)) pool.push(buffer);
}

/** Beyond this many bytes a turn does not wait for its end. */
const EARLY_BYTES = 262144;

/** Bytes of one turn that several outboxes send: runs are copied here once. */
export class Arena {
  #buffer = Buffer.allocUnsafeSlow(65536);
  #length = 0;
  /** Some write of this turn was not taken whole, so the bytes must stay as they are. */
  isPinned = false;

  get buffer(): Buffer {
    return this.#buffer;
  }

  /** Room for so many bytes; answers where in `buffer`. */
  reserve(length: number): number {
    if (this.#length + length > this.#buffer.length) {
      this.#buffer = Buffer.allocUnsafeSlow(Math.max(length, 65536));
      this.#length = 0;
    }
    const at = this.#length;
    this.#length += length;
    return at;
  }

  /** At the end of a turn, after all writes. */
  endTurn(): void {
    if (this.#length === 0) return;
    if (this.isPinned) this.#buffer = Buffer.allocUnsafeSlow(65536);
    this.isPinned = false;
    this.#length = 0;
  }
}

export class Outbox {
  readonly #transport: Transport;
  readonly #arena: Arena;
  readonly #owner: OutboxOwner;
  #isDirty = false;
  #isClosed = false;
  /** The slice that is everything so far, while buffer is null. */
  #slice: Buffer | null = null;
  #sliceStart = 0;
  #sliceEnd = 0;
  /** Own bytes; length of them are filled. */
  buffer: Buffer | null = null;
  #length = 0;
  /** Bytes written in all. */
  sentBytes = 0;
  /** What is held here while the kernel is full. */
  #heldBytes = 0;

  constructor(transport: Transport, arena: Arena, owner: OutboxOwner) {
    this.#transport = transport;
    this.#arena = arena;
    this.#owner = owner;
  }

  /** Bytes that the kernel has not taken. */
  get pendingBytes(): number {
    return this.#transport.pendingBytes + this.#length + (this.#sliceEnd - this.#sliceStart);
  }

  /** Asks for a flush at the end of the turn even without bytes. */
  touch(): void {
    if (this.#isDirty) return;
    this.#isDirty = true;
    this.#owner.becameDirty(this);
  }

  /** Room for so many bytes in `buffer`, which the caller fills; answers where. */
  reserve(length: number): number {
    if (!this.#isDirty) this.touch();
    if (this.#slice !== null) this.#own();
    let buffer = this.buffer;
    if (buffer === null) buffer = this.buffer = borrow(length);
    else if (this.#length + length > buffer.length) {
      if (this.#length >= EARLY_BYTES) {
        this.#write();
        buffer = this.buffer = borrow(length);
      } else buffer = this.#grow(length);
    }
    const at = this.#length;
    this.#length += length;
    return at;
  }

  /** Appends a copy of bytes[start..end). */
  append(bytes: Uint8Array, start: number, end: number): void {
    const at = this.reserve(end - start);
    const buffer = this.buffer;
    if (buffer !== null) copyBytes(buffer, at, bytes, start, end);
  }

  /** Appends arena bytes, which stay as they are until the end of the turn: no copy when they come first. */
  appendSlice(buffer: Buffer, start: number, end: number): void {
    if (!this.#isDirty) this.touch();
    if (this.buffer === null) {
      if (this.#slice === null) {
        this.#slice = buffer;
        this.#sliceStart = start;
        this.#sliceEnd = end;
        return;
      }
      if (this.#slice === buffer && this.#sliceEnd === start) {
        this.#sliceEnd = end;
        return;
      }
    }
    const at = this.reserve(end - start);
    buffer.copy(this.buffer ?? buffer, at, start, end);
  }

  /** Writes what there is, at the end of the turn. */
  flush(): void {
    if (this.#isClosed) return;
    this.#owner.beforeFlush();
    this.#isDirty = false;
    this.#write();
  }

  /** Writes what there is before a close; nothing is written afterwards. */
  flushLast(): void {
    this.#writeOut();
  }

  /** Forgets what was not written, for a connection that is gone. */
  drop(): void {
    this.#isClosed = true;
    this.#hold(0);
    if (this.buffer !== null) giveBack(this.buffer);
    this.buffer = null;
    this.#length = 0;
    this.#slice = null;
    this.#sliceStart = this.#sliceEnd = 0;
  }

  /**
   * While the kernel is full, what follows is collected here: many small writes that wait would hold much more memory than
   * they have bytes, and leave holes when they go.
   */
  #write(): void {
    if (this.#transport.pendingBytes > 0 && this.#length + this.#sliceEnd - this.#sliceStart < EARLY_BYTES) {
      this.#own();
      this.#hold(this.buffer?.length ?? 0);
    } else this.#writeOut();
  }

  #hold(bytes: number): void {
    held.bytes += bytes - this.#heldBytes;
    this.#heldBytes = bytes;
  }

  #writeOut(): void {
    this.#hold(0);
    if (this.#slice !== null) {
      const slice = viewOf(this.#slice, this.#sliceStart, this.#sliceEnd);
      this.sentBytes += slice.length;
      this.#slice = null;
      this.#sliceStart = this.#sliceEnd = 0;
      if (!this.#transport.write(slice, null)) this.#arena.isPinned = true;
      return;
    }
    const buffer = this.buffer;
    const length = this.#length;
    if (buffer === null) return;
    this.buffer = null;
    this.#length = 0;
    this.sentBytes += length;
    if (length === 0 || this.#transport.write(viewOf(buffer, 0, length), buffer)) giveBack(buffer);
  }

  /** Turns the slice into own bytes. */
  #own(): void {
    const slice = this.#slice;
    if (slice === null) return;
    const length = this.#sliceEnd - this.#sliceStart;
    const buffer = borrow(length);
    slice.copy(buffer, 0, this.#sliceStart, this.#sliceEnd);
    this.buffer = buffer;
    this.#length = length;
    this.#slice = null;
    this.#sliceStart = this.#sliceEnd = 0;
  }

  #grow(length: number): Buffer {
    const old = this.buffer ?? borrow(0);
    const grown = borrow(Math.max(this.#length + length, Math.min(old.length * 2, EARLY_BYTES)));
    old.copy(grown, 0, 0, this.#length);
    giveBack(old);
    this.buffer = grown;
    return grown;
  }
}
