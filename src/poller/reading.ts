/**
 * What the answer to a read means: values for its tags, a lesson about the device's map, or one more try. Decides when
 * the read is due again; whether its unit still counts as alive is health.ts's business.
 */
import type { Answer, ModbusError } from '../modbus/client.js';
import { type Health, type HealthParts, tookMs, wasSent } from './health.js';
import type { Lessons } from './lessons.js';
import { isSerial, transferMs } from './linecost.js';
import type { TagState } from './report.js';
import type { Block, Unit } from './unit.js';

/** After a gateway said that it does not reach the unit. */
const GATEWAY_PAUSE_MS = 100;
const BUSY_PAUSE_MS = 50;
const BUSY_PAUSE_MAX_MS = 800;
/** So many times as long as its device the request rests to which it was busy: others of it are asked in between. */
const BUSY_BEHIND = 1.25;
/** Busy for so long with one request, though it is asked again and again: that has to do with the addresses ... */
const BUSY_LASTING_MS = 5000;
/** ... sooner where it never had an answer ... */
const BUSY_FROM_START_MS = 3000;
/** ... and the same of a single tag out of such a request; of several it was asked for long enough. */
const BUSY_OF_LAST_MS = 300;
/** After a failure of the device itself. */
const FAILURE_PAUSE_MS = 20;
/** After a request that the link did not take, though it is up. */
const CLOSED_PAUSE_MS = 100;
/** So many server failures in a row, with never an answer, are about the addresses asked for. */
const SERVER_FAILURES_MAX = 4;
/** So many when it was answered before and is for several tags: a module of the device has failed, and takes its neighbours with it. */
const SERVER_FAILURES_LASTING = 6;
/** So many silences of one request, while its unit answers others, are about the addresses too ... */
const SILENCES_MAX = 3;
/** ... so many when it was answered before ... */
const SILENCES_LASTING = 6;
/** ... and this one when it is for several tags and never was: to cut it in vain costs little. */
const SILENCES_OF_MANY = 1;
/** A part of what is never answered: the reason must be somewhere. */
const SILENCES_OF_PART = 1;
/** The same when it is a single tag, which is left off then. */
const SILENCES_OF_LAST = 2;
/** Where any request may be lost, chance may be the reason for a refusal this often: of what was answered before ... */
const CHANCE_OF_GOOD = 1e-4;
/** ... of a single tag, which is left off then ... */
const CHANCE_OF_LAST = 1e-3;
/** ... and of several that were not: cutting them in vain costs little. */
const CHANCE_OF_MANY = 0.05;
/** What was never answered while its unit answers others is asked again no later than this: its tags may be legal. */
const SUSPECT_AGAIN_MS = 1000;
/** A request that was only refused with neighbours in it: they are read apart for so long. */
const NO_RIDES_MS = 600_000;
/** One that was not answered with neighbours in it, so many times in a row, though it is by itself, counts as refused. */
const LOST_RIDES_MAX = 3;

type Good = Answer & { readonly ok: true };
type Failure = Answer & { readonly ok: false };

/** One read on the line: a block, and neighbours that ride along. */
export interface Reading {
  readonly block: Block;
  readonly riders: readonly Block[];
  readonly address: number;
  readonly quantity: number;
  /** The bus's count of writes when it was sent. */
  readonly mark: number;
}

export interface ReaderParts extends HealthParts {
  readonly units: readonly Unit[];
  readonly lessons: Lessons;
}

export class Reader {
  readonly #parts: ReaderParts;
  readonly #health: Health;
  /** Why nobody is read any more; null: they are. */
  #endedBy: string | null = null;

  constructor(parts: ReaderParts, health: Health) {
    this.#parts = parts;
    this.#health = health;
  }

  /** What is answered from now on is nobody's any more: who waits for it is told why. */
  end(reason: string): void {
    this.#endedBy = reason;
  }

  /** Its answer came, or none: tags, blocks and statistics learn of it. What was read is told before anything is counted. */
  finish(reading: Reading, answer: Answer): void {
    const { block, riders, quantity } = reading;
    const { unit } = block;
    const isWhole = answer.ok && answer.data.length === block.bytesOf(quantity);
    if (isWhole && this.#endedBy === null) this.#tell(reading, answer);
    this.#health.settle(unit, answer, transferMs(this.#parts.bus, block.table, quantity));
    block.isUnderWay = false;
    for (const rider of riders) rider.isUnderWay = false;
    if (this.#endedBy !== null) return this.#parts.desk.answerFailedRead(block, 'OFFLINE', this.#endedBy);
    this.#parts.statistics.reads += 1;
    unit.statistics.reads += 1;
    block.tally.reads += 1;
    for (const rider of riders) rider.tally.reads += 1;
    const nowMs = this.#parts.clock.monotonicMs();
    if (!answer.ok) {
      block.tally.failed(answer.error);
      return this.#failed(reading, answer, nowMs);
    }
    block.tally.response.add(tookMs(answer));
    if (!isWhole) {
      const expected = block.bytesOf(quantity);
      const text = `answer of ${answer.data.length} bytes instead of ${expected}`;
      const error: ModbusError = { kind: 'mismatch', exception: 0, text };
      return this.#failed(reading, { ...answer, ok: false, error }, nowMs);
    }
    if (!isSerial(this.#parts.bus)) unit.slope.add(quantity, tookMs(answer));
    block.tookMs = tookMs(answer);
    unit.busyPauseMs = 0;
    block.detour = null;
    if (riders.length > 0) block.lostRides = 0;
    this.#succeeded(block, nowMs);
    for (const rider of riders) this.#succeeded(rider, nowMs);
  }

  /** All of an answer is taken before any of it is told, or calculated with: its values belong together. */
  #tell({ block, riders, address, mark }: Reading, answer: Good): void {
    const { clock, publisher } = this.#parts;
    const nowMs = clock.monotonicMs();
    const timeMs = Math.trunc(clock.nowMs() - (nowMs - answer.receivedAtMs));
    const blocks = [block, ...riders];
    // Factors before the values that they scale, whatever their addresses.
    for (const one of blocks) one.takeScales(answer, address, timeMs, mark);
    for (const one of blocks) one.take(answer, address, timeMs, mark);
    for (const one of blocks) this.#publish(one, answer, nowMs);
    for (const state of dependentsOfAll(blocks)) {
      if (!state.calculate() || state.tag.payload === 'batch') continue;
      const isAsked = block.asked.some((command) => command.state === state);
      if (isAsked || state.isDue(nowMs)) publisher.publish(state, nowMs);
    }
    for (const one of blocks) for (const joined of one.batches) publisher.arrived(joined, one, timeMs, nowMs);
    publisher.answered();
  }

  #publish({ states, asked }: Block, answer: Good, nowMs: number): void {
    const isAsked = asked.length > 0;
    for (const state of states) {
      if (state.tag.payload === 'batch' || state.readAtMs !== answer.receivedAtMs) continue;
      if (isAsked || state.isDue(nowMs)) this.#parts.publisher.publish(state, nowMs);
    }
  }

  /** What a good answer means for the block itself. */
  #succeeded(block: Block, nowMs: number): void {
    const { unit, states } = block;
    if (block.isTransient && unit.batches.length > 0) this.#parts.publisher.readApart(unit, states);
    block.succeeded();
    this.#parts.desk.answerRead(block);
    if (!block.isTransient) this.#parts.agenda.again(block, nowMs, true);
    this.#parts.lessons.answered(block, nowMs);
    if (unit.state !== 'online') this.#health.review(unit);
  }

  #failed({ block, riders }: Reading, answer: Failure, nowMs: number): void {
    const { error } = answer;
    for (const rider of riders) this.#parts.agenda.at(rider, nowMs);
    switch (error.kind) {
      case 'exception':
        return this.#excepted(block, riders.length > 0 || block.detour !== null, answer, nowMs);
      case 'timeout':
        if (riders.length > 0) this.#lostRide(block, nowMs);
        return this.#timedOut(block, answer, nowMs);
      case 'crc':
      case 'framing':
      case 'mismatch':
        return this.#garbled(block, answer, nowMs);
      case 'closed':
      case 'refused':
        return this.#hungUp(block, answer, nowMs);
      case 'invalid-request':
        this.#parts.events.event('invalid-request', { device: block.unit.device.name, error: error.text });
        return this.#refused(block, error, nowMs);
    }
  }

  #excepted(block: Block, hadRiders: boolean, answer: Failure, nowMs: number): void {
    const { unit } = block;
    const { error } = answer;
    switch (error.exception) {
      case 1:
      case 2:
      case 3:
        if (!hadRiders) return this.#refused(block, error, nowMs);
        // Several blocks in one request: each by itself shows whose fault it is.
        unit.noRidesUntilMs = nowMs + NO_RIDES_MS;
        return this.#parts.agenda.at(block, nowMs);
      case 5:
      case 6:
        return this.#busy(block, error, nowMs);
      case 10:
      case 11:
        return this.#unreached(block, answer, nowMs);
      default:
        return this.#deviceFailed(block, error, nowMs);
    }
  }

  /** The device is asked again soon, and what it is busy with each time ever later: that it perhaps does not have. */
  #busy(block: Block, error: ModbusError, nowMs: number): void {
    const { unit } = block;
    unit.busyPauseMs = longerPause(unit.busyPauseMs);
    unit.holdUntilMs = nowMs + unit.busyPauseMs;
    block.busyPauseMs = longerPause(block.busyPauseMs);
    block.busySinceMs = Math.min(block.busySinceMs, nowMs);
    if (nowMs - block.busySinceMs >= busyMaxMs(block)) return this.#alwaysBusy(block, error, nowMs);
    this.#retry(block, nowMs + BUSY_BEHIND * block.busyPauseMs, error);
  }

  /** What it never answered it was asked for often enough; what it did counts as failed, as often as any failure may come. */
  #alwaysBusy(block: Block, error: ModbusError, nowMs: number): void {
    if (block.wasGood) this.#deviceFailed(block, error, nowMs);
    else this.#refused(block, error, nowMs);
  }

  /** Exception 4 and its like: the value is bad, the device is there. */
  #deviceFailed(block: Block, error: ModbusError, nowMs: number): void {
    block.serverFailures += 1;
    if (block.serverFailures >= serverFailuresMaxOf(block)) return this.#refused(block, error, nowMs);
    if (!block.isRetry) {
      block.isRetry = true;
      return this.#retry(block, nowMs + FAILURE_PAUSE_MS, error);
    }
    this.#parts.publisher.fail(block.unit, block.states, 'exception', nowMs);
    this.#giveUp(block, error, nowMs);
    this.#health.review(block.unit);
  }

  /** Any answer may be lost; what is lost again and again lies between the blocks, where nobody asks by itself. */
  #lostRide(block: Block, nowMs: number): void {
    block.lostRides += 1;
    if (block.lostRides < LOST_RIDES_MAX) return;
    block.lostRides = 0;
    block.unit.noRidesUntilMs = nowMs + NO_RIDES_MS;
  }

  #timedOut(block: Block, answer: Failure, nowMs: number): void {
    const { unit } = block;
    const { error } = answer;
    this.#parts.link.missed();
    this.#parts.patience.missed(unit, answer.sentAtMs);
    this.#parts.patience.failed(unit, tookMs(answer), nowMs);
    const isSettled = this.#isSettledWithout(block, answer, nowMs);
    if (unit.breaker.isOpen && !unit.isOnTrial) this.#health.silent(unit, error, nowMs);
    if (isSettled) return;
    if (block.isRetry || block.isTransient) return this.#giveUp(block, error, nowMs);
    block.isRetry = true;
    this.#parts.agenda.at(block, nowMs);
  }

  /** A gateway had no answer of it: the unit is silent, or silent when it is asked this. */
  #unreached(block: Block, answer: Failure, nowMs: number): void {
    if (this.#isSettledWithout(block, answer, nowMs)) return;
    if (block.isTransient || block.silences > 1) return this.#giveUp(block, answer.error, nowMs);
    this.#retry(block, nowMs + GATEWAY_PAUSE_MS, answer.error);
  }

  /** An answer came, but broken: once more at once, then at the next turn. */
  #garbled(block: Block, answer: Failure, nowMs: number): void {
    const { unit } = block;
    const { error } = answer;
    // So broken that the connection had to go with it.
    if (!this.#parts.client.isUp) return this.#hungUp(block, answer, nowMs);
    this.#parts.link.missed();
    this.#parts.patience.failed(unit, tookMs(answer), nowMs);
    if (this.#isSettledWithout(block, answer, nowMs)) return;
    if (block.isRetry) return this.#giveUp(block, error, nowMs);
    block.isRetry = true;
    this.#retry(block, nowMs, error);
  }

  /** The link is gone, or about to be. What was due stays due, unless it is what others are answered without. */
  #hungUp(block: Block, answer: Failure, nowMs: number): void {
    const { unit } = block;
    const { error } = answer;
    this.#health.hungUp(unit, nowMs);
    const againMs = nowMs + (this.#parts.client.isUp ? CLOSED_PAUSE_MS : 0);
    if (!wasSent(answer)) return this.#retry(block, againMs, error);
    if (this.#isSettledWithout(block, answer, nowMs)) return;
    if (block.silences > 1 || (block.isTransient && block.isRetry)) return this.#giveUp(block, error, nowMs);
    block.isRetry = block.isTransient;
    this.#retry(block, againMs, error);
  }

  /** It had no answer: what that says of its unit, and of its addresses. True when nothing is to be done about it now. */
  #isSettledWithout(block: Block, answer: Failure, nowMs: number): boolean {
    const { unit } = block;
    const { error } = answer;
    block.wasSilent();
    // Who hangs up has been asked something that he does not bear, rather than lost it.
    if (block.wasChance && error.kind !== 'closed') unit.lost();
    // Parts of what is never answered say nothing of their unit: what is read in between does.
    const isOfPart = block.isSilentPart;
    if (!isOfPart && !this.#isOfLink(block, error))
      this.#health.failed(unit, error, tookMs(answer), nowMs, block.isSuspect);
    if (!unit.breaker.isOpen || unit.isOnTrial) {
      if (block.silences >= silencesMaxOf(block)) {
        this.#refused(block, error, nowMs);
        return true;
      }
      if (block.silences >= SILENCES_MAX) this.#parts.publisher.fail(unit, block.states, 'timeout', nowMs);
    }
    if (!unit.breaker.isOpen) return false;
    this.#parts.desk.answerFailedRead(block, codeOf(error), error.text);
    return true;
  }

  /** Of a link with one unit it is told that it is gone, and not that the unit is, unless the unit answers other requests. */
  #isOfLink({ unit, isSuspect }: Block, { kind }: ModbusError): boolean {
    return kind === 'closed' && this.#parts.units.length === 1 && unit.state !== 'offline' && !isSuspect;
  }

  #refused(block: Block, error: ModbusError, nowMs: number): void {
    this.#parts.lessons.refused(block, error, nowMs);
    this.#health.review(block.unit);
  }

  /** Another try at that time; a read that somebody waits for is answered instead. */
  #retry(block: Block, atMs: number, error: ModbusError): void {
    if (block.asked.length > 0) this.#parts.desk.answerFailedRead(block, codeOf(error), error.text);
    else this.#parts.agenda.at(block, atMs);
  }

  /** No further try before the next turn. */
  #giveUp(block: Block, error: ModbusError, nowMs: number): void {
    block.isRetry = false;
    this.#parts.desk.answerFailedRead(block, codeOf(error), error.text);
    // A refused tag that is not answered either is still refused.
    if (block.isTransient) return this.#parts.lessons.refused(block, error, nowMs);
    if (!block.wasGood && block.isSuspect && block.intervalMs > SUSPECT_AGAIN_MS)
      return this.#parts.agenda.at(block, nowMs + SUSPECT_AGAIN_MS);
    this.#parts.agenda.again(block, nowMs, false);
  }
}

/** What is calculated from these blocks' tags, each behind what it is calculated from itself. */
function dependentsOfAll(blocks: readonly Block[]): Iterable<TagState> {
  const [{ dependents } = { dependents: [] }, second] = blocks;
  if (second === undefined) return dependents;
  const all = new Set<TagState>();
  // In each block that it is in, it stands behind those: its last place is behind the last of theirs.
  for (const state of blocks.flatMap((block) => block.dependents)) {
    all.delete(state);
    all.add(state);
  }
  return all;
}

function longerPause(ms: number): number {
  return Math.min(BUSY_PAUSE_MAX_MS, Math.max(BUSY_PAUSE_MS, 2 * ms));
}

/** For how long a device may be busy with a request before that counts as a failure. */
function busyMaxMs({ split, isTransient, states, unit, wasGood }: Block): number {
  // It was left off before, and is asked whether that is over.
  if (isTransient && states.some(({ tag }) => unit.knowledge.refusals.has(tag.name))) return 0;
  if (split !== null) return states.length === 1 ? BUSY_OF_LAST_MS : 0;
  return wasGood ? BUSY_LASTING_MS : BUSY_FROM_START_MS;
}

function serverFailuresMaxOf({ split, states, wasGood }: Block): number {
  // A part of what fails again and again: the reason must be somewhere.
  if (split !== null) return 1;
  if (!wasGood) return SERVER_FAILURES_MAX;
  return states.length > 1 ? SERVER_FAILURES_LASTING : Infinity;
}

/** How many silences in a row are a refusal: more where they may be chance. */
function silencesMaxOf(block: Block): number {
  return Math.max(usualSilencesMaxOf(block), Math.log(chanceOf(block)) / Math.log(block.unit.lossShare));
}

function chanceOf({ split, states, wasGood }: Block): number {
  if (split === null && wasGood) return CHANCE_OF_GOOD;
  return states.length === 1 ? CHANCE_OF_LAST : CHANCE_OF_MANY;
}

function usualSilencesMaxOf({ split, states, wasGood }: Block): number {
  if (split === null && wasGood) return SILENCES_LASTING;
  const isPart = split?.isSilent === true;
  if (states.length === 1) return isPart ? SILENCES_OF_LAST : SILENCES_MAX;
  return isPart ? SILENCES_OF_PART : SILENCES_OF_MANY;
}

function codeOf(error: ModbusError): 'TIMEOUT' | number {
  return error.kind === 'exception' ? error.exception : 'TIMEOUT';
}
