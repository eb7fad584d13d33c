/**
 * What a device's refusals lead to: halves on trial, tags that are asked again rarely, a new plan once all is known.
 * learn.ts is the reasoning about one request; this is its course over time.
 */
import type { Clock } from '../clock.js';
import type { ModbusError } from '../modbus/client.js';
import type { Agenda } from './agenda.js';
import type { Desk } from './desk.js';
import { isRefusal } from './health.js';
import type { KnowledgeRecord, Refusal } from './knowledge.js';
import { halve, learn, questionAfter, questionOfGap } from './learn.js';
import type { Publisher } from './publisher.js';
import type { TagState } from './report.js';
import type { Block, Split, Unit } from './unit.js';

/** A block that answered before is asked in its turns for so long, though its device refuses everything. */
const TURNS_MS = 30_000;
/** Between two attempts of one request that was refused. */
const AGAIN_MS = 10;
/** The same while it is looked whether its device gives values at all. */
const SOUND_MS = 20;
/** Between second tries of refused tags of one device. */
const RETEST_EVERY_MS = 15_000;
/** Between two times that all of them are asked because one was answered: that costs many exceptions if they are illegal. */
const AMNESTY_EVERY_MS = 600_000;

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
    const { unit } = block;
    const { agenda } = this.#options;
    block.refusals += 1;
    block.unanswered = isRefusal(error) ? null : error;
    if (block.refusals === 1) {
      block.refusedSinceMs = nowMs;
      // That the unit gives values was seen while a part of what is never answered waited for its turn.
      block.refusedAtValue = block.isSilentPart ? block.triedAtValue : unit.sounding.valueCount;
    }
    if (block.isTransient) return this.#refusedOnce(block, error, nowMs);
    // The plan was made anew while it was under way.
    if (!unit.blocks.includes(block)) return;
    // Once may be chance; so may twice be for what was readable before. Silences were counted before they came here.
    const isChance = isRefusal(error) && block.refusals < (block.wasGood ? 3 : 2);
    if (isChance && !unit.sounding.isMute) return agenda.at(block, nowMs + AGAIN_MS);
    // Only what gives values elsewhere refuses this place and not everything.
    if (block.refusedAtValue === unit.sounding.valueCount) return this.#sound(block, nowMs);
    this.#settle(block, error, nowMs);
    this.#planWhenSettled(unit, nowMs);
  }

  /** A block was read: what that says of refusals before. */
  answered(block: Block, nowMs: number): void {
    const { unit } = block;
    unit.sounding.valueCount += 1;
    if (unit.sounding.isAsked) this.#goOn(block, nowMs);
    if (block.isTransient) this.#pardon(block, nowMs);
    if (block.split !== null) this.#accepted(block, nowMs);
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

  /**
   * Asks again, rarely and one at a time, for a tag that the device refused, and more often for any tag of a device that
   * refuses all of them; old knowledge is dropped.
   */
  retest(unit: Unit, nowMs: number): void {
    const wallMs = this.#options.clock.nowMs();
    const { knowledge, sounding } = unit;
    if (knowledge.forgetOld(wallMs)) {
      unit.needsPlan = true;
      this.#planWhenSettled(unit, nowMs);
    }
    if (unit.blocks.length === 0 && knowledge.refusals.size > 0) sounding.ask(nowMs);
    if (sounding.isAsked) {
      if (sounding.isDue(nowMs)) this.#readAnywhere(unit, nowMs);
      return;
    }
    for (const refusal of knowledge.refusals.values()) {
      if (refusal.retestAtMs > wallMs || (refusal.count > 0 && nowMs < unit.retestAfterMs)) continue;
      const state = unit.states.find(({ tag }) => tag.name === refusal.tag);
      if (state === undefined) {
        knowledge.pardon(refusal.tag);
        continue;
      }
      if (refusal.count > 0) unit.retestAfterMs = nowMs + RETEST_EVERY_MS;
      refusal.retestAtMs = wallMs + RETEST_EVERY_MS;
      return this.#options.agenda.readOnce(unit, [state], nowMs);
    }
  }

  /**
   * The device may be another one now: what it refused is asked soon. When its link was gone for a moment only, or it was
   * silent, that is done now and then: to ask may be what ends the connection, and devices come and go.
   */
  retestSoon(unit: Unit, nowMs: number, wasDown: boolean): void {
    unit.sounding.soon(nowMs);
    if (unit.goodCount === 0 || (!wasDown && nowMs < unit.anewAfterMs)) return;
    unit.anewAfterMs = nowMs + AMNESTY_EVERY_MS;
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

  /** Looks whether the device gives values at all. While it does not, nothing is learned. */
  #sound(block: Block, nowMs: number): void {
    const { unit } = block;
    const { agenda, publisher } = this.#options;
    unit.sounding.ask(nowMs);
    if (!unit.sounding.isMute) {
      this.#readAnywhere(unit, nowMs);
      return agenda.at(block, nowMs + SOUND_MS);
    }
    publisher.fail(unit, block.states, 'exception', nowMs);
    // What was readable before keeps its turns for a while; all else waits for a value of anything.
    if (block.wasGood && nowMs - block.refusedSinceMs < TURNS_MS) agenda.again(block, nowMs, false);
  }

  /** Reads one tag somewhere, of those that are not known to be refused as far as there are any. */
  #readAnywhere(unit: Unit, nowMs: number): void {
    const read = unit.states.filter(({ tag }) => tag.formula === null);
    const legal = read.filter(({ tag }) => !unit.knowledge.refusals.has(tag.name));
    // Turning to a page writes, which is not done in vain.
    const plain = legal.filter(({ tag }) => tag.select === null);
    const state = unit.sounding.next(plain.length > 0 ? plain : legal.length > 0 ? legal : read);
    if (state !== undefined) this.#options.agenda.readOnce(unit, [state], nowMs);
  }

  /** The device gives values: what it refused meanwhile is asked now, and what it did not answer is settled. */
  #goOn({ unit }: Block, nowMs: number): void {
    const { agenda } = this.#options;
    const wasMute = unit.sounding.isMute;
    unit.sounding.end();
    for (const block of [...unit.blocks]) {
      if (block.refusals === 0 || block.isUnderWay) continue;
      // All that was refused together is forgiven together.
      if (wasMute) block.refusals = 0;
      agenda.schedule.remove(block);
      if (wasMute || block.unanswered === null) agenda.at(block, nowMs);
      else this.#settle(block, block.unanswered, nowMs);
    }
  }

  /** The block is not read any more as it is. */
  #settle(block: Block, error: ModbusError, nowMs: number): void {
    const { unit } = block;
    if (block.split !== null) unit.openSplits -= 1;
    unit.blocks = unit.blocks.filter((other) => other !== block);
    this.#conclude(block, error, nowMs);
  }

  /** A block is refused by a device that gives other values. */
  #conclude(block: Block, error: ModbusError, nowMs: number): void {
    const { unit, states } = block;
    const { clock } = this.#options;
    if (block.split !== null && block.about !== 'half') {
      learn(block, clock.nowMs());
      unit.needsPlan = true;
      return;
    }
    if (block.split !== null) doubt(unit, block.split);
    if (states.length === 1) return this.#refuseTags(unit, states, error, nowMs);
    // Exception 3 of a read is about its length (Modbus 6.1 to 6.4).
    const isSilent = !isRefusal(error);
    const parts = halve(block, error.exception === 3, isSilent);
    // Until a unit's own times are known each silence costs the whole time of the settings.
    for (let count = 0; isSilent && count < unit.missingCount; count += 1) this.#readAnywhere(unit, nowMs);
    if (parts.length > 0) this.#try(unit, parts, nowMs);
    // What was learned meanwhile may stand in the way of its halves; else they cannot be told apart.
    else if (unit.terrain(block.table).fit(block.address, block.end) === null) unit.needsPlan = true;
    else this.#refuseTags(unit, states, error, nowMs);
  }

  /** What was on trial is readable. */
  #accepted(block: Block, nowMs: number): void {
    const { unit } = block;
    unit.openSplits -= 1;
    unit.needsPlan = true;
    const isQuestion = block.about !== 'half';
    const question = questionAfter(block, this.#options.clock.nowMs());
    if (isQuestion) {
      unit.blocks = unit.blocks.filter((other) => other !== block);
      this.#options.agenda.schedule.remove(block);
    }
    if (question !== null) this.#try(unit, [question], nowMs);
  }

  #try(unit: Unit, parts: readonly Block[], nowMs: number): void {
    unit.openSplits += parts.length;
    for (const part of parts) {
      part.triedAtValue = unit.sounding.valueCount;
      unit.blocks.push(part);
      this.#options.agenda.enter(part, nowMs);
    }
  }

  #refuseTags(unit: Unit, states: readonly TagState[], error: ModbusError, nowMs: number): void {
    const { publisher, refused } = this.#options;
    for (const state of states) {
      const isNew = !unit.knowledge.refusals.has(state.tag.name);
      const { count } = this.#refuse(unit, state, error);
      if (isNew && count < 2) refused(unit, state, error.text);
    }
    publisher.fail(unit, states, 'exception', nowMs);
    unit.needsPlan = true;
    this.remember(unit);
  }

  #refuse({ knowledge }: Unit, { tag, readAtMs }: TagState, error: ModbusError): Refusal {
    const wallMs = this.#options.clock.nowMs();
    const isFault = isRefusal(error) && error.exception > 3;
    if (readAtMs === -Infinity) return knowledge.refuse(tag.name, error.text, wallMs, isFault);
    return knowledge.refuseForNow(tag.name, error.text, wallMs, isFault);
  }

  #refusedOnce(block: Block, error: ModbusError, nowMs: number): void {
    const { unit } = block;
    this.#options.agenda.soon(unit, block.states, nowMs);
    for (const state of block.states) {
      const before = unit.knowledge.refusals.get(state.tag.name);
      // While the device refuses everything that says nothing of this tag.
      if (before === undefined || unit.sounding.isAsked) continue;
      const { count } = this.#refuse(unit, state, error);
      if (before.count === 0 && count > 0) this.remember(unit);
    }
    this.#options.desk.answerFailedRead(block, error.exception, error.text);
  }

  /**
   * A tag that was refused is answered after all: it is read with the others again. What was refused with it is mostly
   * readable again, too, so that everything is asked now, joined; what is not is found again.
   */
  #pardon(block: Block, nowMs: number): void {
    const { unit } = block;
    let isPardoned = false;
    for (const { tag } of block.states) if (unit.knowledge.pardon(tag.name)) isPardoned = true;
    if (!isPardoned) return;
    unit.needsPlan = true;
    if (unit.knowledge.refusals.size === 0 || nowMs < unit.amnestyAfterMs) return;
    unit.amnestyAfterMs = nowMs + AMNESTY_EVERY_MS;
    unit.knowledge.pardonAll();
  }

  #planWhenSettled(unit: Unit, nowMs: number): void {
    if (unit.openSplits > 0 || !unit.needsPlan) return;
    this.#try(
      unit,
      unit.doubtfulCuts.splice(0).flatMap((cut) => questionOfGap(cut) ?? []),
      nowMs,
    );
    if (unit.openSplits > 0) return;
    this.replan(unit, nowMs);
    this.remember(unit);
  }
}

function doubt(unit: Unit, cut: Split): void {
  if (cut.gapTo > cut.gapFrom && !unit.doubtfulCuts.includes(cut)) unit.doubtfulCuts.push(cut);
}

function hundredths(ms: number): number {
  return Math.round(ms * 100) / 100;
}
