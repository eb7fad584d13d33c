/**
 * Response times: what is usual and what is the worst seen lately. A ring of the newest samples for one unit's
 * timeouts, and a histogram with logarithmic buckets for statistics.
 */

const RING_SIZE = 64;
const REFRESH_EVERY = 8;

/** The newest response times of one unit; quantiles are refreshed every few samples. */
export class LatencyRing {
  readonly #samples = new Float32Array(RING_SIZE);
  #count = 0;
  #p50 = 0;
  #p99 = 0;

  get count(): number {
    return this.#count;
  }

  get p50Ms(): number {
    return this.#p50;
  }

  get p99Ms(): number {
    return this.#p99;
  }

  add(ms: number): void {
    this.#samples[this.#count % RING_SIZE] = ms;
    this.#count += 1;
    // A slower answer than any before counts at once: timeouts must never lag behind it.
    if (ms > this.#p99) this.#p99 = ms;
    if (this.#count <= REFRESH_EVERY || this.#count % REFRESH_EVERY === 0) this.#refresh();
  }

  #refresh(): void {
    const sorted = this.#samples.slice(0, Math.min(this.#count, RING_SIZE)).sort();
    this.#p50 = sorted[sorted.length >> 1] ?? 0;
    this.#p99 = sorted[Math.floor(sorted.length * 0.99)] ?? 0;
  }
}

const BUCKETS_PER_OCTAVE = 8;
const LEAST_MS = 0.05;
const BUCKET_COUNT = 21 * BUCKETS_PER_OCTAVE;

/** Counts of times from 0.05 ms to 100 s, each bucket 9 % wider than the one before. */
export class Histogram {
  /** There are many, and most of a large plant's requests fall due once in a while. */
  #counts: Uint32Array | null = null;
  #count = 0;

  get count(): number {
    return this.#count;
  }

  add(ms: number): void {
    const bucket = Math.floor(Math.log2(Math.max(ms, LEAST_MS) / LEAST_MS) * BUCKETS_PER_OCTAVE);
    const at = Math.min(bucket, BUCKET_COUNT - 1);
    const counts = (this.#counts ??= new Uint32Array(BUCKET_COUNT));
    counts[at] = (counts[at] ?? 0) + 1;
    this.#count += 1;
  }

  /** The upper end of the bucket that holds the quantile; 0 when nothing was counted. */
  quantileMs(share: number): number {
    let left = Math.ceil(this.#count * share);
    if (left === 0) return 0;
    for (let at = 0; at < BUCKET_COUNT; at += 1) {
      left -= this.#counts?.[at] ?? 0;
      if (left <= 0) return LEAST_MS * 2 ** ((at + 1) / BUCKETS_PER_OCTAVE);
    }
    return LEAST_MS * 2 ** (BUCKET_COUNT / BUCKETS_PER_OCTAVE);
  }

  clear(): void {
    if (this.#count > 0) this.#counts?.fill(0);
    this.#count = 0;
  }
}

/** Time against size as a straight line, weighted towards what is new: finds the slow line behind a TCP converter. */
export class Slope {
  #weight = 0;
  #x = 0;
  #y = 0;
  #xx = 0;
  #xy = 0;
  #perUnitMs = 0;
  #largest = 0;

  /** The largest size that was ever seen. */
  get largest(): number {
    return this.#largest;
  }

  add(x: number, y: number): void {
    this.#largest = Math.max(this.#largest, x);
    const keep = 0.98;
    this.#weight = this.#weight * keep + 1;
    this.#x = this.#x * keep + x;
    this.#y = this.#y * keep + y;
    this.#xx = this.#xx * keep + x * x;
    this.#xy = this.#xy * keep + x * y;
  }

  /** Milliseconds for one more; 0 until requests of different sizes were seen. What they showed holds while sizes are equal. */
  get perUnitMs(): number {
    const spread = this.#weight * this.#xx - this.#x * this.#x;
    if (this.#weight >= 8 && spread >= this.#weight)
      this.#perUnitMs = Math.max(0, (this.#weight * this.#xy - this.#x * this.#y) / spread);
    return this.#perUnitMs;
  }

  /** What is left of the time when that of each unit is taken away. */
  get fixedMs(): number {
    return Math.max(0, (this.#y - this.perUnitMs * this.#x) / this.#weight);
  }
}
