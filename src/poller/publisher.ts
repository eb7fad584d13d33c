/**
 * Readings on their way to the outbox: single tags as their reports fall due, batches once all their blocks were read.
 * Also what is told without an answer: tags that failed, values that grew old, heartbeats of what stands still.
 */
import type { Clock } from '../clock.js';
import type { Tag } from '../config/plant.js';
import type { Sink } from './outbox.js';
import { SAMPLE_CODE, sampleCode } from './parcel.js';
import { CODE_UNREAD, type TagState } from './report.js';
import type { Reason } from './sample.js';
import type { Statistics } from './statistics.js';
import { dependentsOf, type BatchState, type Block, type Unit } from './unit.js';

/** A value that the device gave. */
const CODE_INVALID = sampleCode('bad', 'invalid');

export class Publisher {
  readonly #clock: Clock;
  readonly #sink: Sink;
  readonly #statistics: Statistics;

  constructor(clock: Clock, sink: Sink, statistics: Statistics) {
    this.#clock = clock;
    this.#sink = sink;
    this.#statistics = statistics;
  }

  publish(state: TagState, nowMs: number): void {
    state.reported(nowMs);
    this.#statistics.samples += 1;
    this.#sink.sample(state);
  }

  /** All of an answer was published. */
  answered(): void {
    this.#sink.answered();
  }

  /** Tags were read once, apart from their batches: these are told with their next poll. */
  readApart(unit: Unit, states: readonly TagState[]): void {
    for (const joined of unit.batches)
      if (joined.states.some((state) => states.includes(state))) joined.hasNews = true;
  }

  /** A block of a batch was read; the last one it waits for completes it. */
  arrived(joined: BatchState, block: Block, timeMs: number, nowMs: number): void {
    joined.arrived.add(block);
    for (const other of joined.awaited) if (!joined.arrived.has(other) && !isFailed(other)) return;
    joined.arrived.clear();
    if (joined.batch.group !== null && isMixed(block, joined.batch.group)) {
      joined.hasNews = true;
      return;
    }
    const { hasNews } = joined;
    joined.hasNews = false;
    // A device's batch is told every poll, a group's when one of its tags is.
    const isDue =
      joined.batch.group === null ||
      hasNews ||
      joined.states.some((state) => state.isDue(nowMs) || state.reportedAtMs === nowMs);
    if (isDue) this.#publishBatch(joined, timeMs, nowMs);
  }

  /** These tags of a unit have no value any more. */
  fail(unit: Unit, states: readonly TagState[], reason: Reason, nowMs: number): void {
    const timeMs = Math.trunc(this.#clock.nowMs());
    const changed: TagState[] = [];
    for (const state of states) {
      state.fail(reason, timeMs);
      if (state.code !== state.reportedCode) changed.push(state);
    }
    this.#calculate(changed);
    this.#publishAll(unit, changed, timeMs, nowMs);
  }

  /** Marks as stale what had no answer for three periods (longer on a line that cannot keep up), and keeps heartbeats. */
  age(unit: Unit, cycleMs: number, nowMs: number): void {
    if (nowMs < unit.agesAtMs) return;
    const timeMs = Math.trunc(this.#clock.nowMs());
    const changed: TagState[] = [];
    const unchanged: TagState[] = [];
    let nextMs = Infinity;
    for (const state of unit.states) {
      const { tag, code } = state;
      // What is calculated grows old with what it is calculated from.
      const isTimeless = tag.intervalMs === 0 || tag.formula !== null;
      const freshMs = isTimeless ? Infinity : 3 * Math.max(tag.intervalMs, cycleMs);
      const heartbeatMs = tag.heartbeatMs === 0 ? Infinity : tag.heartbeatMs;
      let dueMs = Infinity;
      if (hasValue(code)) {
        const staleMs = state.readAtMs + freshMs;
        const beatMs = isHeardByPolls(tag) ? Infinity : state.reportedAtMs + heartbeatMs;
        dueMs = Math.min(staleMs, beatMs);
        if (nowMs > staleMs) {
          state.age('timeout');
          changed.push(state);
        } else if (nowMs >= beatMs) unchanged.push(state);
      } else if (code !== CODE_UNREAD) {
        dueMs = state.reportedAtMs + heartbeatMs;
        if (nowMs >= dueMs) {
          // That there is no value is seen now; a sentinel is what the device said then.
          if ((code & 3) === SAMPLE_CODE.bad && code !== CODE_INVALID) state.timeMs = timeMs;
          changed.push(state);
        }
      }
      // Whatever becomes of it meanwhile, it is not due before it could be due from now on.
      nextMs = Math.min(nextMs, dueMs, nowMs + freshMs, nowMs + heartbeatMs);
    }
    unit.agesAtMs = nextMs;
    this.#calculate(changed);
    this.#publishAll(unit, changed, timeMs, nowMs);
    for (const state of unchanged) this.publish(state, nowMs);
  }

  /** Adds what is calculated from these and has another quality now. */
  #calculate(changed: TagState[]): void {
    for (const dependent of dependentsOf(changed)) {
      if (changed.includes(dependent) || !dependent.calculate()) continue;
      if (dependent.code !== dependent.reportedCode) changed.push(dependent);
    }
  }

  #publishAll(unit: Unit, changed: readonly TagState[], timeMs: number, nowMs: number): void {
    if (changed.length === 0) return;
    for (const state of changed) if (state.tag.payload !== 'batch') this.publish(state, nowMs);
    for (const joined of unit.batches) {
      if (joined.states.some((state) => changed.includes(state))) this.#publishBatch(joined, timeMs, nowMs);
    }
  }

  #publishBatch(joined: BatchState, timeMs: number, nowMs: number): void {
    // Of what is read more rarely nothing may be known yet, and of what has just been written only what it was before.
    const states = joined.states.filter(
      ({ code, value, isOutdated }) => code !== CODE_UNREAD && (value === null || !isOutdated),
    );
    for (const state of states) if (state.tag.payload === 'batch') state.reported(nowMs);
    this.#statistics.samples += states.length;
    this.#sink.batch(joined.batch, states, timeMs);
  }
}

/** Its polls keep its heartbeat, or it has none: a batch is told as it is read, and so is what is told after every poll. */
function isHeardByPolls({ payload, report, formula, intervalMs, heartbeatMs }: Tag): boolean {
  if (payload === 'batch' || report === 'always') return true;
  return formula === null && intervalMs > 0 && intervalMs <= heartbeatMs;
}

/** Some of its values are of another answer than the others: they were written to while this one was on its way. */
function isMixed({ states }: Block, group: string): boolean {
  let readAtMs: number | null = null;
  for (const state of states) {
    if (state.tag.group !== group || !hasValue(state.code)) continue;
    readAtMs ??= state.readAtMs;
    if (state.readAtMs !== readAtMs) return true;
  }
  return false;
}

/** It was not read when it should have been: whatever else there is in its batches is told meanwhile. */
function isFailed({ states }: Block): boolean {
  return states.every(({ code }) => code !== CODE_UNREAD && code !== CODE_INVALID && !hasValue(code));
}

function hasValue(code: number): boolean {
  const quality = code & 3;
  return code !== CODE_UNREAD && (quality === SAMPLE_CODE.good || quality === SAMPLE_CODE.uncertain);
}
