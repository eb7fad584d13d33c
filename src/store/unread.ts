/**
 * How long something on the disk could not be read. A disk that comes back gives what it did not give before, so only what
 * failed again and again for a while is lost.
 */

const TRIES_MIN = 5;
const LOST_AFTER_MS = 10_000;
/** Tries that lie further apart have nothing to do with each other. */
const GAP_MS = 300_000;

export class Unread {
  #tries = 0;
  #sinceMs = 0;
  #lastMs = -Infinity;

  /** One more try has failed. Answers whether it is the first of those that belong together. */
  failed(nowMs: number): boolean {
    if (nowMs - this.#lastMs > GAP_MS) this.#tries = 0;
    if (this.#tries === 0) this.#sinceMs = nowMs;
    this.#lastMs = nowMs;
    return this.#tries++ === 0;
  }

  /** Should the next try fail, it is lost. */
  isLost(nowMs: number): boolean {
    const isLong = this.#tries >= TRIES_MIN && nowMs - this.#sinceMs >= LOST_AFTER_MS;
    return isLong && nowMs - this.#lastMs <= GAP_MS;
  }
}
