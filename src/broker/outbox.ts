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
   * True: the kernel took everything, so the bytes may be reused at once. Otherwise `lent`, the piece of their own that
   * they lie in, is given back once it has; null: they lie in a buffer that others use.
   */
  write(bytes: Uint8Array, lent: Piece | null): boolean;
  /** Bytes handed over and not yet taken by the kernel. */
  readonly pendingBytes: number;
  /** The same to the byte, for those that know how much of a write was taken. */
  readonly untakenBytes?: number;
  /** Bytes that were read of a message that is not complete, where the transport has messages of its own. */
  readonly partBytes?: number;
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
  /** So many bytes were handed to the transport. */
  wrote(bytes: number): void;
}

/** Bytes that an outbox has borrowed: `size` of them in `buffer`, from `start` on. */
export class Piece {
  readonly buffer: Buffer;
  readonly start: number;
  readonly size: number;
  readonly #bytes: ArrayBufferLike;
  /** What was written from it last: the next write is often as long, and needs no new view then. */
  #view: Uint8Array;

  constructor(buffer: Buffer, start: number, size: number) {
    this.buffer = buffer;
    this.start = start;
    this.size = size;
    this.#bytes = buffer.buffer;
    this.#view = buffer;
  }

  /** Its first bytes. */
  view(length: number): Uint8Array {
    if (this.#view.length !== length) this.#view = new Uint8Array(this.#bytes, this.start, length);
    return this.#view;
  }
}

/**
 * Sizes of pooled pieces: some acknowledgements, a message, then, with glibc's 16 bytes, whole pages of memory; larger
 * ones are made and forgotten.
 */
const SIZES = [32, 256, 2032, 16368, 65520, 270320] as const;
/** How many of each are kept. */
const KEPT = [Infinity, Infinity, 64, 32, 8, 8] as const;
const pools: Piece[][] = SIZES.map(() => []);

/**
 * What the pieces of the two smallest sizes are cut from, as many as it has room for: where messages travel alone,
 * hundreds of connections write one each in a turn. What was never cut is memory never touched.
 */
const small = Buffer.allocUnsafeSlow(65536);
const SMALL_BYTES = 256;
/** What one begins with who wrote more than that the last time. */
const LARGER_BYTES = 2032;
const smallWords = new DataView(small.buffer);
let cutBytes = 0;

/** What was copied from last, the read buffer mostly. */
let source: Uint8Array = small;
let sourceWords: DataView = smallWords;

/** Copies into a small piece by fours: a message is too short for the view that the engine's copy needs. */
function copyWords(to: number, from: Uint8Array, start: number, end: number): void {
  if (from !== source) {
    source = from;
    sourceWords = new DataView(from.buffer, from.byteOffset, from.length);
  }
  let at = to;
  let next = start;
  for (; next + 4 <= end; at += 4, next += 4) smallWords.setInt32(at, sourceWords.getInt32(next, true), true);
  for (; next < end; at++, next++) smallWords.setInt8(at, sourceWords.getInt8(next));
}

/** Of at least so many bytes. */
function borrow(length: number): Piece {
  for (let i = 0; i < SIZES.length; i++) {
    const size = SIZES[i] ?? 0;
    if (length > size) continue;
    const piece = pools[i]?.pop() ?? (size <= SMALL_BYTES ? cut(size) : wholePiece(size));
    if (piece !== null) return piece;
  }
  return wholePiece(length);
}

function cut(size: number): Piece | null {
  if (cutBytes + size > small.length) return null;
  cutBytes += size;
  return new Piece(small, cutBytes - size, size);
}

function wholePiece(size: number): Piece {
  return new Piece(Buffer.allocUnsafeSlow(size), 0, size);
}

/** Takes back a piece that write() was lent. */
export function giveBack(piece: Piece): void {
  for (let i = 0; i < SIZES.length; i++) {
    if (SIZES[i] !== piece.size) continue;
    const pool = pools[i];
    if (pool !== undefined && pool.length < (KEPT[i] ?? 0)) pool.push(piece);
    return;
  }
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
  #piece: Piece | null = null;
  #length = 0;
  /** The last write was small, and the next is likely to be. */
  #isUsuallySmall = true;
  /** Bytes written in all. */
  sentBytes = 0;
  /** What is held here while the kernel is full. */
  #heldBytes = 0;

  constructor(transport: Transport, arena: Arena, owner: OutboxOwner) {
    this.#transport = transport;
    this.#arena = arena;
    this.#owner = owner;
  }

  /** Where reserve() made room. */
  get buffer(): Buffer | null {
    return this.#piece === null ? null : this.#piece.buffer;
  }

  /** Bytes that the kernel has not taken. */
  get pendingBytes(): number {
    return this.#transport.pendingBytes + this.#length + (this.#sliceEnd - this.#sliceStart);
  }

  /** Bytes that the kernel has taken in all. */
  get takenBytes(): number {
    return this.sentBytes - (this.#transport.untakenBytes ?? this.#transport.pendingBytes);
  }

  /** More bytes wait than so many; as long as the kernel refuses none, what there is goes at the end of the turn. */
  hasUnsent(bytes: number): boolean {
    return this.#transport.pendingBytes > 0 && this.pendingBytes > bytes;
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
    const piece = this.#piece;
    if (piece === null) this.#piece = borrow(this.#isUsuallySmall ? length : Math.max(length, LARGER_BYTES));
    else if (this.#length + length > piece.size) {
      if (this.#length >= EARLY_BYTES) {
        this.#write();
        this.#piece = borrow(length);
      } else this.#grow(piece, length);
    }
    const at = (this.#piece?.start ?? 0) + this.#length;
    this.#length += length;
    return at;
  }

  /** Appends a copy of bytes[start..end). */
  append(bytes: Uint8Array, start: number, end: number): void {
    const at = this.reserve(end - start);
    const piece = this.#piece;
    if (piece === null) return;
    if (piece.size === SMALL_BYTES) copyWords(at, bytes, start, end);
    else copyBytes(piece.buffer, at, bytes, start, end);
  }

  /** Appends arena bytes, which stay as they are until the end of the turn: no copy when they come first. */
  appendSlice(buffer: Buffer, start: number, end: number): void {
    if (!this.#isDirty) this.touch();
    if (this.#piece === null) {
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
    copyBytes(this.buffer ?? buffer, at, buffer, start, end);
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
    if (this.#piece !== null) giveBack(this.#piece);
    this.#piece = null;
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
      this.#hold(this.#piece?.size ?? 0);
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
      this.#count(slice.length);
      this.#slice = null;
      this.#sliceStart = this.#sliceEnd = 0;
      if (!this.#transport.write(slice, null)) this.#arena.isPinned = true;
      return;
    }
    const piece = this.#piece;
    if (piece === null) return;
    const length = this.#length;
    this.#piece = null;
    this.#length = 0;
    this.#count(length);
    this.#isUsuallySmall = length <= SMALL_BYTES;
    if (length === 0 || this.#transport.write(piece.view(length), piece)) giveBack(piece);
  }

  #count(bytes: number): void {
    this.sentBytes += bytes;
    this.#owner.wrote(bytes);
  }

  /** Turns the slice into own bytes. */
  #own(): void {
    const slice = this.#slice;
    if (slice === null) return;
    const length = this.#sliceEnd - this.#sliceStart;
    const piece = borrow(length);
    slice.copy(piece.buffer, piece.start, this.#sliceStart, this.#sliceEnd);
    this.#piece = piece;
    this.#length = length;
    this.#slice = null;
    this.#sliceStart = this.#sliceEnd = 0;
  }

  #grow(old: Piece, length: number): void {
    const grown = borrow(Math.max(this.#length + length, Math.min(old.size * 2, EARLY_BYTES)));
    old.buffer.copy(grown.buffer, grown.start, old.start, old.start + this.#length);
    giveBack(old);
    this.#piece = grown;
  }
}
