/**
 * The last hour of every tag for the trend view, in a ring of fixed size: each bucket keeps the lowest and the highest
 * value of its time, so that no peak is lost however coarse the buckets are. More tags make buckets longer, never the memory larger.
 */

const SPAN_MS = 3_600_000;
const BUCKET_MIN_MS = 10_000;
const BYTES_MAX = 4 * 1024 * 1024;
/** Lowest and highest, four bytes each. */
const BYTES_PER_BUCKET = 8;

export interface Series {
  readonly min: (number | null)[];
  readonly max: (number | null)[];
}

export class History {
  readonly bucketMs: number;
  readonly #buckets: number;
  /** Per tag: lowest of each bucket, then highest of each; NaN where nothing was. Made when a tag's first number comes. */
  readonly #rings = new Map<number, Float32Array>();
  readonly #nowMs: () => number;
  /** Number of the newest bucket, counted from 1970. */
  #newest = 0;

  constructor(tagCount: number, nowMs: () => number) {
    this.#nowMs = nowMs;
    const fitting = Math.floor(BYTES_MAX / (BYTES_PER_BUCKET * Math.max(1, tagCount)));
    this.#buckets = Math.max(2, Math.min(SPAN_MS / BUCKET_MIN_MS, fitting));
    this.bucketMs = SPAN_MS / this.#buckets;
  }

  /** Takes one value; what is older than the ring, or not finite, is left out. */
  take(index: number, timeMs: number, value: number): void {
    if (!Number.isFinite(value)) return;
    const bucket = Math.floor(timeMs / this.bucketMs);
    if (bucket < this.#newest) this.#lookAtClock();
    if (bucket > this.#newest) this.#moveTo(bucket);
    if (bucket <= this.#newest - this.#buckets) return;
    let ring = this.#rings.get(index);
    if (ring === undefined) {
      ring = new Float32Array(2 * this.#buckets).fill(NaN);
      this.#rings.set(index, ring);
    }
    const at = bucket % this.#buckets;
    const low = ring[at] ?? NaN;
    const high = ring[at + this.#buckets] ?? NaN;
    if (!(low <= value)) ring[at] = value;
    if (!(high >= value)) ring[at + this.#buckets] = value;
  }

  /** Tags that are gone take no memory; their numbers are not used again. */
  keep(isThere: (index: number) => boolean): void {
    for (const index of this.#rings.keys()) if (!isThere(index)) this.#rings.delete(index);
  }

  /** Starts of the buckets in seconds since 1970, oldest first: the time axis of every series. */
  times(): number[] {
    return Array.from(
      { length: this.#buckets },
      (_none, i) => ((this.#newest - this.#buckets + 1 + i) * this.bucketMs) / 1000,
    );
  }

  series(index: number): Series {
    const ring = this.#rings.get(index);
    const at = (i: number): number => (this.#newest + 1 + i) % this.#buckets;
    const read = (offset: number): (number | null)[] =>
      Array.from({ length: this.#buckets }, (_none, i) => {
        const value = ring?.[at(i) + offset] ?? NaN;
        return Number.isNaN(value) ? null : value;
      });
    return { min: read(0), max: read(this.#buckets) };
  }

  /** Where the clock has been set back, what is newer than now would keep out all that comes until then. */
  #lookAtClock(): void {
    const bucket = Math.floor(this.#nowMs() / this.bucketMs);
    if (bucket < this.#newest) this.#moveTo(bucket);
  }

  /** Makes this bucket the newest; those between it and the newest so far are empty. */
  #moveTo(bucket: number): void {
    const count = Math.min(this.#buckets, Math.abs(bucket - this.#newest));
    const last = Math.max(bucket, this.#newest);
    for (const ring of this.#rings.values()) {
      for (let i = 0; i < count; i++) {
        const at = (last - i) % this.#buckets;
        ring[at] = NaN;
        ring[at + this.#buckets] = NaN;
      }
    }
    this.#newest = bucket;
  }
}
