/**
 * What a worker has to tell, in parcels: samples into the buffers of a ring, which the main thread gives back. With no buffer left the newest reading of each tag waits, so a slow main thread costs values in between,
 * never memory. Results of commands are never dropped; their number is bounded by the commands that may wait.
 */
import type { Clock } from '../clock.js';
import type { Batch } from '../config/plant.js';
import { ParcelWriter, parcelBytes } from './parcel.js';
import { batchPayload, payloadBytesMax, writePayload } from './payload.js';
import type { TagState } from './report.js';
import type { Ring } from './ring.js';

/** Where pollers put what they have to tell. */
export interface Sink {
  sample(state: TagState): void;
  batch(batch: Batch, states: readonly TagState[], timeMs: number): void;
  /** All samples of an answer were told. */
  answered(): void;
  result(tagIndex: number, code: number, correlation: number, payload: Uint8Array): void;
}

export interface OutboxOptions {
  readonly clock: Clock;
  readonly ring: Ring;
  /** Hands over a parcel in a buffer of its own. */
  post(buffer: ArrayBuffer): void;
  /** Calls back once, at the end of this turn of the loop or a little later; in a crowd more is about to come. */
  defer(flush: () => void, isCrowd: boolean): void;
}

/** Nothing was handed over for so long: what comes now need not wait for more. */
const QUIET_MS = 20;
/** So many answers, none later than this after the one before it, are a crowd: devices of a fleet are asked together. */
const CROWD_COUNT = 4;
const CROWD_GAP_MS = 2;

/** Times in parcels are counted from this long before they are made: stale readings carry older times. */
const BASE_BEFORE_MS = 86_400_000;

export class Outbox implements Sink {
  readonly #options: OutboxOptions;
  /** Readings that wait for a buffer, each tag once. */
  #held: TagState[] = [];
  #heldBatches = new Map<number, { batch: Batch; states: readonly TagState[]; timeMs: number }>();
  #samples: ParcelWriter<SharedArrayBuffer> | null = null;
  /** By index of a buffer of the ring: made once, as views of shared memory cost more than what is written. */
  readonly #writers: (ParcelWriter<SharedArrayBuffer> | undefined)[] = [];
  /** Which buffer of the ring it fills. */
  #index = -1;
  #results: ParcelWriter | null = null;
  #isDeferred = false;
  #flushedAtMs = -Infinity;
  /** Answers that came close together, now and the last time. */
  #togetherCount = 0;
  #togetherCountBefore = 0;
  #answeredAtMs = -Infinity;
  /** Readings that were replaced by newer ones while waiting. */
  overwrittenCount = 0;

  constructor(options: OutboxOptions) {
    this.#options = options;
  }

  sample(state: TagState): void {
    if (state.isHeld) {
      this.overwrittenCount += 1;
    } else if (!this.#write(state)) {
      state.isHeld = true;
      this.#held.push(state);
    }
  }

  batch(batch: Batch, states: readonly TagState[], timeMs: number): void {
    if (!this.#writeBatch(batch, states, timeMs))
      this.#heldBatches.set(batch.index, { batch, states, timeMs });
  }

  /** The first answer for a while is on its way before anything else is done about it, unless it is one of a crowd. */
  answered(): void {
    const nowMs = this.#options.clock.monotonicMs();
    this.#countAnswer(nowMs);
    if (this.#samples === null || this.#isCrowd || nowMs - this.#flushedAtMs < QUIET_MS) return;
    this.#flushedAtMs = nowMs;
    this.#postSamples();
    this.#options.ring.wake();
  }

  result(tagIndex: number, code: number, correlation: number, payload: Uint8Array): void {
    const nowMs = this.#options.clock.nowMs();
    if (this.#results?.append(tagIndex, code, nowMs, correlation, payload) !== true) {
      this.#postResults();
      const size = Math.max(4096, parcelBytes(payload.length));
      this.#results = new ParcelWriter('results', new ArrayBuffer(size), nowMs - BASE_BEFORE_MS);
      this.#results.append(tagIndex, code, nowMs, correlation, payload);
    }
    this.#defer();
  }

  /** A buffer came back after there was none. */
  released(): void {
    const held = this.#held;
    this.#held = [];
    for (const [at, state] of held.entries()) {
      state.isHeld = false;
      if (this.#write(state)) continue;
      for (const left of held.slice(at)) left.isHeld = true;
      this.#held = held.slice(at);
      return;
    }
    for (const { batch, states, timeMs } of [...this.#heldBatches.values()]) {
      if (!this.#writeBatch(batch, states, timeMs)) return;
      this.#heldBatches.delete(batch.index);
    }
  }

  /** Sends what there is. */
  flush(): void {
    this.#isDeferred = false;
    this.#postResults();
    if (this.#samples === null) return;
    this.#flushedAtMs = this.#options.clock.monotonicMs();
    this.#postSamples();
    this.#options.ring.wake();
  }

  #countAnswer(nowMs: number): void {
    if (nowMs - this.#answeredAtMs > CROWD_GAP_MS) {
      this.#togetherCountBefore = this.#togetherCount;
      this.#togetherCount = 0;
    }
    this.#togetherCount += 1;
    this.#answeredAtMs = nowMs;
  }

  get #isCrowd(): boolean {
    return Math.max(this.#togetherCount, this.#togetherCountBefore) >= CROWD_COUNT;
  }

  #write(state: TagState): boolean {
    const lengthMax = payloadBytesMax(state);
    let writer = this.#samples;
    let at = writer?.reserve(lengthMax) ?? -1;
    if (at < 0) {
      writer = this.#nextWriter();
      if (writer === null) return false;
      at = writer.reserve(lengthMax);
      if (at < 0) return true;
    }
    if (writer === null) return false;
    const end = writePayload(writer.bytes, at, state);
    writer.commit(state.tag.index, state.code, state.timeMs, 0, end);
    if (!this.#isDeferred) this.#defer();
    return true;
  }

  #writeBatch(batch: Batch, states: readonly TagState[], timeMs: number): boolean {
    const payload = batchPayload(states, timeMs);
    if (this.#samples?.append(batch.index, 0, timeMs, 0, payload) === true) return true;
    if (parcelBytes(payload.length) > this.#options.ring.bufferBytes) {
      // Longer than any pooled buffer: a parcel of its own.
      const buffer = new ArrayBuffer(parcelBytes(payload.length));
      const writer = new ParcelWriter('samples', buffer, timeMs - BASE_BEFORE_MS);
      writer.append(batch.index, 0, timeMs, 0, payload);
      this.#postSamples();
      this.#options.post(writer.finish());
      return true;
    }
    const writer = this.#nextWriter();
    if (writer === null) return false;
    writer.append(batch.index, 0, timeMs, 0, payload);
    this.#defer();
    return true;
  }

  #nextWriter(): ParcelWriter<SharedArrayBuffer> | null {
    const { ring, clock } = this.#options;
    this.#postSamples();
    const index = ring.take();
    if (index < 0) {
      // There is one again as soon as what was posted is read.
      ring.wake();
      return null;
    }
    this.#index = index;
    const baseMs = clock.nowMs() - BASE_BEFORE_MS;
    const known = this.#writers[index];
    known?.restart(baseMs);
    this.#samples = this.#writers[index] = known ?? new ParcelWriter('samples', ring.bufferAt(index), baseMs);
    return this.#samples;
  }

  #postSamples(): void {
    const writer = this.#samples;
    if (writer === null || writer.count === 0) return;
    this.#samples = null;
    writer.finish();
    this.#options.ring.post(this.#index);
  }

  #postResults(): void {
    const writer = this.#results;
    if (writer === null || writer.count === 0) return;
    this.#results = null;
    this.#options.post(writer.finish());
  }

  #defer(): void {
    if (this.#isDeferred) return;
    this.#isDeferred = true;
    this.#options.defer(() => this.flush(), this.#isCrowd);
  }
}
