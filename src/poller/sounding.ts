/**
 * Whether a unit that refuses something gives values at all. A refusal teaches only when something else was answered
 * with a value meanwhile; until then single tags are read here and there. A unit that refuses all of them (it is
 * starting, or being loaded with a program) is mute: nothing is learned of it, and it is asked each second or so.
 */
import type { TagState } from './report.js';

/** So many single reads in vain: the unit refuses everything. */
const SOUNDINGS_MAX = 8;
/** Between two single reads of a mute unit: a sixtieth of the time it has been so, within these. */
const EVERY_MIN_MS = 900;
const EVERY_MAX_MS = 10_000;
const EVERY_SHARE = 1 / 60;
/** Steps of this share of all tags come everywhere and soon far away from each other. */
const STEP = 0.618_034;

export class Sounding {
  /** Reads that were answered with values. */
  valueCount = 0;
  /** A refusal waits for a value of anything else. */
  isAsked = false;
  #count = 0;
  #turn = 0;
  #sinceMs = 0;
  #nextAtMs = 0;

  get isMute(): boolean {
    return this.isAsked && this.#count >= SOUNDINGS_MAX;
  }

  /** A refusal is to be judged. */
  ask(nowMs: number): void {
    if (this.isAsked) return;
    this.isAsked = true;
    this.#count = 0;
    this.soon(nowMs);
  }

  /** Something was answered with a value. */
  end(): void {
    this.isAsked = false;
  }

  /** It may be another device now, or the same one after its start. */
  soon(nowMs: number): void {
    this.#sinceMs = nowMs;
    this.#nextAtMs = nowMs + EVERY_MIN_MS;
  }

  /** Whether a single read is to be made now, though no refusal asks for it. */
  isDue(nowMs: number): boolean {
    if (nowMs < this.#nextAtMs) return false;
    const everyMs = (nowMs - this.#sinceMs) * EVERY_SHARE;
    this.#nextAtMs = nowMs + Math.min(EVERY_MAX_MS, Math.max(EVERY_MIN_MS, everyMs));
    return true;
  }

  /** The tag to be read next. */
  next(candidates: readonly TagState[]): TagState | undefined {
    this.#count += 1;
    this.#turn = (this.#turn + STEP) % 1;
    return candidates[Math.floor(this.#turn * candidates.length)];
  }
}
