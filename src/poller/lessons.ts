/**
 * What a device's refusals lead to: halves on trial, tags that are asked again rarely, a new plan once all is known.
 * learn.ts is the reasoning about one request; this is its course over time.
 */
import type { Clock } from '../clock.js';
import type { ModbusError } from '../modbus/client.js';
import type { Agenda } from './agenda.js';
import type { Desk } from './desk.js';
import type { KnowledgeRecord } from './knowledge.js';
import { accepted, halve } from './learn.js';
import type { Publisher } from './publisher.js';
import type { TagState } from './report.js';
import type { Block, Unit } from './unit.js';

/** A block that answered before is only bisected when it is refused for so long. */
const REFUSED_LONG_MS = 30_000;
/** Between two attempts of one request that was refused. */
const AGAIN_MS = 10;
/** Between second tries of refused tags of one device. */
const RETEST_EVERY_MS = 15_000;

export interface LessonsOptions {
  readonly clock: Clock;
  readonly agenda: Agenda;
  readonly publisher: Publisher;
  readonly desk: Desk;
  /** A device refuses a tag, for the first time. */
  refused(unit: Unit, state: TagState, error: string): void;
  learned(unit: Unit, record: KnowledgeRecord): void;
}

export class Lessons {
  readonly #options: LessonsOptions;

  constructor(options: LessonsOptions) {
    this.#options = options;
  }

  /** Exceptions 1 to 3, or silence where others are answered: the request asks for what is not there. */
  refused(block: Block, error: ModbusError, nowMs: number): void {
    const { agenda, publisher } = this.#options;
    const { unit } = block;
    block.refusals += 1;
    if (block.refusals === 1) block.refusedSinceMs = nowMs;
    if (block.isTransient) return this.#refusedOnce(block, error);
    // Once may be chance; what was readable before is given time to become so again.
    if (block.refusals < 2) return agenda.at(block, nowMs + AGAIN_MS);
    if (block.wasGood && (block.refusals < 10 || nowMs - block.refusedSinceMs < REFUSED_LONG_MS)) {
      publisher.fail(unit, block.states, 'exception', nowMs);
      return agenda.again(block, nowMs, false);
    }
    if (block.split !== null) unit.openSplits -= 1;
    unit.blocks = unit.blocks.filter((other) => other !== block);
    // Exception 3 of a read is about its length (Modbus 6.1 to 6.4).
    const halves = block.states.length > 1 ? halve(block, error.exception === 3) : null;
    if (halves === null) this.#refuseTags(unit, block.states, error, nowMs);
    else this.#try(unit, halves, nowMs);
    this.#planWhenSettled(unit, nowMs);
  }

  /** A block was read: what that says of refusals before. */
  answered(block: Block, nowMs: number): void {
    const { unit } = block;
    if (block.isTransient) this.#pardon(block);
    if (block.split !== null) {
      unit.openSplits -= 1;
      if (accepted(block, this.#options.clock.nowMs())) unit.needsPlan = true;
    }
    if (unit.isPlanOutdated) unit.needsPlan = true;
    this.#planWhenSettled(unit, nowMs);
  }

  /** Makes a unit's blocks anew. */
  replan(unit: Unit, nowMs: number): void {
    const { agenda, publisher, desk } = this.#options;
    const { added, removed, unreadable } = unit.plan();
    for (const block of removed) {
      agenda.schedule.remove(block);
      desk.answerRead(block);
    }
    if (!unit.breaker.isOpen) for (const block of added) agenda.enter(block, nowMs);
    publisher.fail(unit, unreadable, 'invalid', nowMs);
    const refused = unit.states.filter(({ tag }) => unit.knowledge.refusals.has(tag.name));
    publisher.fail(unit, refused, 'exception', nowMs);
  }

  /** Asks again, rarely and one at a time, for a tag that the device refused; old knowledge is dropped. */
  retest(unit: Unit, nowMs: number): void {
    const wallMs = this.#options.clock.nowMs();
    const { knowledge } = unit;
    if (knowledge.forgetOld(wallMs)) {
      unit.needsPlan = true;
      this.#planWhenSettled(unit, nowMs);
    }
    if (nowMs < unit.retestAfterMs) return;
    for (const refusal of knowledge.refusals.values()) {
      if (refusal.retestAtMs > wallMs) continue;
      const state = unit.states.find(({ tag }) => tag.name === refusal.tag);
      if (state === undefined) {
        knowledge.refusals.delete(refusal.tag);
        continue;
      }
      unit.retestAfterMs = nowMs + RETEST_EVERY_MS;
      refusal.retestAtMs = wallMs + RETEST_EVERY_MS;
      return this.#options.agenda.readOnce(unit, [state], nowMs);
    }
  }

  /** The device may be another one now: what it refused is asked soon. */
  retestSoon(unit: Unit): void {
    if (unit.goodCount === 0) return;
    const soonMs = this.#options.clock.nowMs() + RETEST_EVERY_MS;
    for (const refusal of unit.knowledge.refusals.values())
      refusal.retestAtMs = Math.min(refusal.retestAtMs, soonMs);
  }

  /** Hands what is known to be kept. */
  remember(unit: Unit): void {
    const { latency, knowledge } = unit;
    if (latency.count >= 8)
      knowledge.responseMs = { p50: hundredths(latency.p50Ms), p99: hundredths(latency.p99Ms) };
    this.#options.learned(unit, knowledge.toRecord(unit.device, this.#options.clock.nowMs()));
  }

  #try(unit: Unit, halves: readonly Block[], nowMs: number): void {
    unit.openSplits += halves.length;
    for (const half of halves) {
      unit.blocks.push(half);
      this.#options.agenda.enter(half, nowMs);
    }
  }

  #refuseTags(unit: Unit, states: readonly TagState[], error: ModbusError, nowMs: number): void {
    const { clock, publisher, refused } = this.#options;
    for (const state of states) {
      const { count } = unit.knowledge.refuse(state.tag.name, error.text, clock.nowMs());
      if (count === 1) refused(unit, state, error.text);
    }
    publisher.fail(unit, states, 'exception', nowMs);
    unit.needsPlan = true;
    this.remember(unit);
  }

  #refusedOnce(block: Block, error: ModbusError): void {
    const { knowledge } = block.unit;
    for (const { tag } of block.states) {
      if (knowledge.refusals.has(tag.name))
        knowledge.refuse(tag.name, error.text, this.#options.clock.nowMs());
    }
    this.#options.desk.answerFailedRead(block, error.exception, error.text);
  }

  /** A tag that was refused is answered after all: it is read with the others again. */
  #pardon(block: Block): void {
    const { unit } = block;
    for (const { tag } of block.states) if (unit.knowledge.refusals.delete(tag.name)) unit.needsPlan = true;
  }

  #planWhenSettled(unit: Unit, nowMs: number): void {
    if (unit.openSplits > 0 || !unit.needsPlan) return;
    this.replan(unit, nowMs);
    this.remember(unit);
  }
}

function hundredths(ms: number): number {
  return Math.round(ms * 100) / 100;
}
