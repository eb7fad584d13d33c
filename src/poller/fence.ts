/**
 * Until when this process may speak to its devices, in memory that all threads share: one of two gateways is active, and
 * the one whose lease ran out must be silent even before it knows. Read right before each frame goes out. Counted on the
 * clock that all threads have in common.
 */

export class Fence {
  readonly buffer: SharedArrayBuffer;
  readonly #until: BigInt64Array;

  constructor(buffer = new SharedArrayBuffer(BigInt64Array.BYTES_PER_ELEMENT)) {
    this.buffer = buffer;
    this.#until = new BigInt64Array(buffer);
  }

  get isOpen(): boolean {
    return process.hrtime.bigint() < Atomics.load(this.#until, 0);
  }

  /** Open for so long from now; 0 closes it. */
  openFor(ms: number): void {
    const until = ms <= 0 ? 0n : process.hrtime.bigint() + BigInt(Math.floor(ms * 1e6));
    Atomics.store(this.#until, 0, until);
  }
}
