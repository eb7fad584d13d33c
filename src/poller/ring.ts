/**
 * Buffers that a worker fills and the main thread reads, in memory that both see: nothing is allocated, transferred or
 * collected for a parcel. Who fills takes a buffer, who read gives it back, and that is the acknowledgement.
 */

/** What the two threads share. */
export interface RingMemory {
  readonly buffers: readonly SharedArrayBuffer[];
  /** For each buffer whether it is taken, and last whether somebody waits for one. */
  readonly states: SharedArrayBuffer;
}

const FREE = 0;
const TAKEN = 1;
const STATE_BYTES = Int32Array.BYTES_PER_ELEMENT;

export function ringMemory(bufferCount: number, bufferBytes: number): RingMemory {
  return {
    buffers: Array.from({ length: bufferCount }, () => new SharedArrayBuffer(bufferBytes)),
    states: new SharedArrayBuffer((bufferCount + 1) * STATE_BYTES),
  };
}

/** One thread's hold on the ring. */
export class Ring {
  readonly #buffers: readonly SharedArrayBuffer[];
  readonly #states: Int32Array;
  readonly #waitingAt: number;

  constructor({ buffers, states }: RingMemory) {
    this.#buffers = buffers;
    this.#states = new Int32Array(states);
    this.#waitingAt = buffers.length;
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
