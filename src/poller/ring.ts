/**
 * Buffers that a worker fills and the main thread reads, in memory that both see: nothing is allocated, transferred or
 * collected for a parcel. Who fills takes a buffer and posts it, who read gives it back, and that is the acknowledgement.
 * The reader is woken through that memory, too: a message would cost both sides several times as much.
 */

/** What the two threads share. */
export interface RingMemory {
  readonly buffers: readonly SharedArrayBuffer[];
  /** For each buffer whether it is taken; whether somebody waits for one; how many were posted, and which, in order. */
  readonly states: SharedArrayBuffer;
}

const FREE = 0;
const TAKEN = 1;
const STATE_BYTES = Int32Array.BYTES_PER_ELEMENT;

export function ringMemory(bufferCount: number, bufferBytes: number): RingMemory {
  return {
    buffers: Array.from({ length: bufferCount }, () => new SharedArrayBuffer(bufferBytes)),
    states: new SharedArrayBuffer((bufferCount + 2 + postsOf(bufferCount)) * STATE_BYTES),
  };
}

/** Room for all buffers posted and none read; a power of two, so that the count of posts may wrap. */
function postsOf(bufferCount: number): number {
  return 2 ** Math.ceil(Math.log2(bufferCount));
}

/** One thread's hold on the ring. */
export class Ring {
  readonly #buffers: readonly SharedArrayBuffer[];
  readonly #states: Int32Array;
  readonly #waitingAt: number;
  readonly #postedAt: number;
  /** The reader's: posts that it has read. */
  #readCount: number;
  #isClosed = false;

  constructor({ buffers, states }: RingMemory) {
    this.#buffers = buffers;
    this.#states = new Int32Array(states);
    this.#waitingAt = buffers.length;
    this.#postedAt = buffers.length + 1;
    this.#readCount = Atomics.load(this.#states, this.#postedAt);
  }

  get bufferBytes(): number {
    return this.#buffers[0]?.byteLength ?? 0;
  }

  bufferAt(index: number): SharedArrayBuffer {
    const buffer = this.#buffers[index];
    if (buffer === undefined) throw new Error(`the ring has no buffer ${index}`);
    return buffer;
  }

  /** The index of a free buffer, which is taken now; -1: there is none, and the other side will say when there is. */
  take(): number {
    const index = this.#takeFree();
    if (index >= 0) return index;
    Atomics.store(this.#states, this.#waitingAt, 1);
    // One may have come back before that could be seen.
    return this.#takeFree();
  }

  /** Hands a filled buffer to the reader, who sees it when it is woken or looks by itself. */
  post(index: number): void {
    const count = Atomics.load(this.#states, this.#postedAt);
    Atomics.store(this.#states, this.#placeOf(count), index);
    Atomics.store(this.#states, this.#postedAt, (count + 1) | 0);
  }

  /** Wakes the reader. One that sleeps costs who wakes it more than a buffer's worth of samples does. */
  wake(): void {
    Atomics.notify(this.#states, this.#postedAt);
  }

  /** The oldest buffer that was posted and not read; -1: there is none. */
  read(): number {
    if (this.#readCount === Atomics.load(this.#states, this.#postedAt)) return -1;
    const index = Atomics.load(this.#states, this.#placeOf(this.#readCount));
    this.#readCount = (this.#readCount + 1) | 0;
    return index;
  }

  /** Calls back whenever something may have been posted, until the ring is closed. */
  onPosted(callback: () => void): void {
    const { async: isAsync, value } = Atomics.waitAsync(this.#states, this.#postedAt, this.#readCount);
    const wake = (): void => {
      if (this.#isClosed) return;
      callback();
      this.onPosted(callback);
    };
    if (isAsync) void value.then(wake);
    // More has come already; everything else gets its turn in between.
    else setImmediate(wake);
  }

  /** The reader's side: it waits no more. */
  close(): void {
    this.#isClosed = true;
    Atomics.notify(this.#states, this.#postedAt);
  }

  #placeOf(count: number): number {
    return this.#postedAt + 1 + (count & (postsOf(this.#buffers.length) - 1));
  }

  /** The buffer may be filled again; true when that has to be said. */
  give(index: number): boolean {
    Atomics.store(this.#states, index, FREE);
    return Atomics.exchange(this.#states, this.#waitingAt, 0) === 1;
  }

  #takeFree(): number {
    const index = this.#buffers.findIndex((_, at) => Atomics.load(this.#states, at) === FREE);
    if (index >= 0) Atomics.store(this.#states, index, TAKEN);
    return index;
  }
}
