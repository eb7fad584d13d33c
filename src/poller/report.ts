/**
 * One tag's newest reading, and report by exception: it is published when it moved beyond its deadband, when its
 * quality changed, and at least every heartbeat. A bad value is null, never the last good one.
 */
import { CLOCK_SET_AFTER_MS } from '../clock.js';
import type { Tag } from '../config/plant.js';
import type { Value } from '../modbus/values.js';
import { compileDecode, isImplausible, type Decode } from './decode.js';
import { compileFormula } from './formula.js';
import { SAMPLE_CODE, sampleCode } from './parcel.js';
import type { Reason } from './sample.js';

export const CODE_UNREAD = 255;
const CODE_INVALID = sampleCode('bad', 'invalid');
const CODE_IMPLAUSIBLE = sampleCode('uncertain', 'implausible');
const CODE_CLOCK = sampleCode('uncertain', 'clock');

/** How bad each quality code is: good, stale, bad, uncertain. */
const RANK = [0, 2, 3, 1];

/** Shared, because there are many tags and few formulas. */
const NONE: readonly TagState[] = [];

export class TagState {
  readonly tag: Tag;
  readonly decode: Decode;
  readonly #formula: ReturnType<typeof compileFormula> | null;
  /** The tag that holds a factor of this one's value. */
  scaleTag: TagState | null = null;
  /** Other tags take a factor from this one. */
  isScale = false;
  /** For a calculated tag: the tags of its formula, in order. */
  inputs: readonly TagState[] = NONE;
  /** Tags that are calculated from this one. */
  dependents: readonly TagState[] = NONE;

  value: Value | null = null;
  /** Quality and reason as in parcels; CODE_UNREAD before the first reading. */
  code: number = CODE_UNREAD;
  /** Wall time of the answer that gave the value, or of noticing that there is none. */
  timeMs = 0;
  /** Monotonic time of the last answer with this tag in it; -Infinity: none yet. */
  readAtMs = -Infinity;

  reportedValue: Value | null = null;
  reportedCode: number = CODE_UNREAD;
  reportedAtMs = -Infinity;

  /** Counter of the bus at the last write that touches this tag; results of reads sent before are dropped. */
  writeMark = 0;
  writesUnderWay = 0;
  /** It was written since it was read. */
  isOutdated = false;
  /** True while it waits in the outbox for a free parcel. */
  isHeld = false;

  constructor(tag: Tag) {
    this.tag = tag;
    this.decode = compileDecode(tag);
    this.#formula = tag.formula === null ? null : compileFormula(tag.formula);
  }

  /** Takes the value from an answer. position: byte offset of its first register, or bit offset. */
  take(bytes: Uint8Array, position: number, timeMs: number, monotonicMs: number): void {
    const { factor } = this;
    const value = Number.isNaN(factor) ? undefined : this.decode(bytes, position, factor);
    if (value === undefined) {
      this.code = CODE_INVALID;
      this.value = null;
    } else {
      this.code = this.#isBelievable(value, monotonicMs)
        ? timeMs < CLOCK_SET_AFTER_MS
          ? CODE_CLOCK
          : SAMPLE_CODE.good
        : CODE_IMPLAUSIBLE;
      this.value = value;
    }
    this.timeMs = timeMs;
    this.readAtMs = monotonicMs;
    this.isOutdated = false;
  }

  /**
   * Takes the value from its inputs; false while one of them was never read. It is no better than the worst of them,
   * and as old as the newest.
   */
  calculate(): boolean {
    const { inputs } = this;
    let worst = SAMPLE_CODE.good as number;
    let timeMs = 0;
    let readAtMs = -Infinity;
    const values: Value[] = [];
    for (const input of inputs) {
      if (input.code === CODE_UNREAD) return false;
      if (RANK[input.code & 3]! > RANK[worst & 3]!) worst = input.code;
      timeMs = Math.max(timeMs, input.timeMs);
      readAtMs = Math.max(readAtMs, input.readAtMs);
      if (input.value !== null) values.push(input.value);
    }
    const value = values.length < inputs.length ? undefined : this.#formula?.(values);
    this.timeMs = timeMs;
    if (value === undefined) {
      this.code = (worst & 3) === SAMPLE_CODE.bad ? worst : CODE_INVALID;
      this.value = null;
    } else {
      this.code =
        worst === SAMPLE_CODE.good && !this.#isBelievable(value, readAtMs) ? CODE_IMPLAUSIBLE : worst;
      this.value = value;
    }
    this.readAtMs = readAtMs;
    return true;
  }

  /** The tags of registers that it is calculated from, directly or by way of others; of one that is read it is itself. */
  get registers(): readonly TagState[] {
    if (this.tag.formula === null) return [this];
    return [...new Set(this.inputs.flatMap(({ registers }) => registers))];
  }

  writeStarted(mark: number): void {
    this.writeMark = mark;
    this.isOutdated = true;
    this.writesUnderWay += 1;
  }

  writeEnded(mark: number): void {
    this.writeMark = mark;
    this.writesUnderWay -= 1;
  }

  /** No value any more: the device said no, or nothing. */
  fail(reason: Reason, timeMs: number): void {
    this.code = sampleCode('bad', reason);
    this.value = null;
    this.timeMs = timeMs;
  }

  /** Too old to be believed; value and time stay those of the last answer. */
  age(reason: Reason): void {
    this.code = sampleCode('stale', reason);
  }

  /** Whether this reading is to be published now. */
  isDue(monotonicMs: number): boolean {
    const { tag } = this;
    if (this.code !== this.reportedCode || tag.report === 'always') return true;
    if (tag.heartbeatMs > 0) {
      // Published now if the next poll would come too late for the longest silence.
      if (monotonicMs + tag.intervalMs / 2 - this.reportedAtMs >= tag.heartbeatMs) return true;
    }
    if (this.value === this.reportedValue) return false;
    return isBeyond(this.value, this.reportedValue, tag.deadband);
  }

  /** To be called when it is published. */
  reported(monotonicMs: number): void {
    this.reportedValue = this.value;
    this.reportedCode = this.code;
    this.reportedAtMs = monotonicMs;
  }

  /** The tags that its factor comes from: a scale may have one of its own, which stands before it. */
  get scales(): readonly TagState[] {
    return this.scaleTag === null ? NONE : [...this.scaleTag.scales, this.scaleTag];
  }

  /** What another register multiplies the value by, whenever that was read; NaN while it is not known. */
  get factor(): number {
    const { scaleTag } = this;
    if (scaleTag === null) return 1;
    const { code, value } = scaleTag;
    if ((code !== SAMPLE_CODE.good && code !== CODE_CLOCK) || typeof value !== 'number') return NaN;
    return this.tag.scaleFrom?.kind === 'pow10' ? 10 ** value : value;
  }

  #isBelievable(value: Value, monotonicMs: number): boolean {
    const { tag } = this;
    if (tag.plausible === null && tag.enum === null) return true;
    if (isImplausible(tag, value)) return false;
    const rate = tag.plausible?.maxPerSecond ?? Infinity;
    if (rate === Infinity || this.code !== SAMPLE_CODE.good || this.value === null) return true;
    const seconds = (monotonicMs - this.readAtMs) / 1000;
    let moved = Number(value) - Number(this.value);
    // A counter that rolled over moved on, not back.
    if (moved < 0 && tag.counter !== null && tag.counter.modulo > 0)
      moved += tag.counter.modulo * tag.scale * this.factor;
    return Math.abs(moved) <= rate * Math.max(seconds, 0.001);
  }
}

function isBeyond(now: Value | null, before: Value | null, deadband: Tag['deadband']): boolean {
  if (now === null || before === null) return now !== before;
  if (typeof now === 'bigint' || typeof before === 'bigint') {
    if (typeof now === 'boolean' || typeof now === 'string') return true;
    if (typeof before === 'boolean' || typeof before === 'string') return true;
    // 64-bit integers differ exactly, even from a fraction; only a deadband makes their distance an ordinary number.
    if (deadband.value === 0) return now < before || now > before;
    return isApart(Number(now), Number(before), deadband);
  }
  if (typeof now === 'number' && typeof before === 'number') return isApart(now, before, deadband);
  return now !== before;
}

function isApart(now: number, before: number, deadband: Tag['deadband']): boolean {
  const band = deadband.kind === 'absolute' ? deadband.value : (deadband.value / 100) * Math.abs(before);
  // 21.6 - 21.4 is a hair more than 0.2: what equals the band but for rounding is not beyond it.
  return Math.abs(now - before) > band * (1 + 1e-9);
}
