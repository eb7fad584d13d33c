/**
 * A line on which one request is under way at a time: RTU and ASCII, on a serial port or behind a converter. Such
 * frames carry no transaction identifier, so time and shape must tell which answer belongs to which request:
 * - a request goes after the line was silent, and its answer is awaited from the end of its last character;
 * - only the unit, function, length and checksum that were asked for make an answer;
 * - on a line that was another's a moment ago nothing is asked until his last answer has passed;
 * - after a request that nobody answered, nothing that the late answer would fit is asked of that unit until it came
 *   or cannot come any more; other units and other shapes go on meanwhile;
 * - what begins before the request has left the line cannot be its answer;
 * - what another master was heard to ask is treated like a request of ours that was given up.
 * A plain object given bytes and times; it owns no port.
 */
import type { Cancel, Clock } from '../clock.js';
import { byteAt } from './bytes.js';
import { failure, noAnswer, notSent } from './exchange.js';
import type { DiscardReason, ModbusError } from './exchange.js';
import { Exchange } from './exchange.js';
import { Latecomers } from './latecomers.js';
import type { Owed, Suspect } from './latecomers.js';
import { at } from './precisely.js';
import { Promptness } from './promptness.js';
import { exceptionText, FUNCTION } from './protocol.js';
import type { Transport, TransportHost } from './wire.js';

/** How frames look on the line. find() leaves the frame that it found in unitId and pdu. */
export interface Framing {
  /** Once an answer has begun, a pause of this length ends it. */
  readonly graceMs: number;
  readonly unitId: number;
  readonly pdu: Uint8Array;
  readonly pduStart: number;
  readonly pduEnd: number;
  encode(unitId: number, pdu: Uint8Array): Uint8Array;
  /** Bytes on the wire of a frame whose PDU has so many. */
  wireBytes(pduBytes: number): number;
  /** Bytes of the whole, right frame that begins here; 0: there is none (yet). */
  find(bytes: Uint8Array, at: number, end: number, request: Exchange | null): number;
  /** The same of a master's request. */
  findRequest(bytes: Uint8Array, at: number, end: number): number;
  /** Whether what begins here means to be the answer to this request, be it broken or incomplete. */
  resembles(bytes: Uint8Array, at: number, end: number, request: Exchange): boolean;
  /** Whether the very first bytes are those of an answer of the length that was asked for. */
  announces(bytes: Uint8Array, end: number, request: Exchange): boolean;
  /** Whether as much is there as what begins here announces. */
  isWhole(bytes: Uint8Array, at: number, end: number, request: Exchange): boolean;
}

export interface LineSettings {
  /** Time of one character; 0: not known (behind a converter). */
  readonly characterMs: number;
  /** Silence between frames, from the last byte in either direction. */
  readonly silenceMs: number;
  readonly paceMs: number;
  /** Waited after a broadcast. */
  readonly turnaroundMs: number;
  /** What was sent comes back first. */
  readonly hasEcho: boolean;
  /** From the end of a request, for how long its answer may still come. */
  readonly lateMs: number;
  /** When the line was another's, for so long nothing is asked: the answer to his last request may still come. */
  readonly listenMs: number;
}

const BUFFER_BYTES = 1024;
/** A line that is not silent for so long carries somebody else's traffic. */
const BUSY_MS = 3000;
const LAST_CALL_MS = 1;
/** What came whole and wrong may be followed by what was meant; for longer than this it is not. */
const WRONG_GRACE_MS = 25;
/** Serial adapters collect up to so many bytes before they hand them on, and a little for their way. */
const ADAPTER_BYTES = 20;
/** Behind a converter the line may be as slow as 1200 baud. */
const SLOWEST_CHARACTER_MS = 9.2;
/** A single request that comes back may be a reflection, or a unit that sends back what it was sent. */
const ECHOES_MIN = 3;
/** So many bytes that begin no answer do not belong to one. */
const FOREIGN_MIN = 4;

export class Line implements Transport {
  readonly #framing: Framing;
  readonly #settings: LineSettings;
  readonly #clock: Clock;
  readonly #host: TransportHost;
  readonly #queue: Exchange[] = [];
  readonly #buffer = new Uint8Array(BUFFER_BYTES);
  #length = 0;
  /** Of the buffered bytes, how many came before the request had left the line. */
  #earlyBytes = 0;
  #isConnected = false;
  #current: Exchange | null = null;
  #sent: Uint8Array = new Uint8Array(0);
  #sentEndMs = 0;
  /** What begins before this cannot be the answer. */
  #earliestMs = 0;
  #firstByteMs = 0;
  #quietSinceMs = -Infinity;
  #endedAtMs = -Infinity;
  /** Until then the line is kept free for an answer whose request was perhaps settled by another one, or is not ours. */
  #reservedUntilMs = -Infinity;
  #cancelSend: Cancel | null = null;
  #cancelDeadline: Cancel | null = null;
  #watchedMs = 0;
  readonly #latecomers = new Latecomers();
  readonly #promptness = new Promptness();
  /** What another master asked last, while its answer is awaited. */
  #overheard: Exchange | null = null;
  /** Late answers that came while another was awaited: believed once that one has come too. */
  #alleged: Suspect[] = [];
  #hasEcho: boolean;
  #mayHaveEcho = false;
  /** Reads in a row that came back before they were answered. */
  #echoCount = 0;
  /** What has been seen of an answer since the request went. */
  #seen: 'nothing' | 'early' | 'foreign' | 'reflected' | 'begun' | 'broken' | 'mismatch' | 'twin' = 'nothing';
  /** An exception that may be the late answer to an earlier request. */
  #doubtful = 0;
  /** What was damaged or cut off was surely the answer, so that no other comes. */
  #isSurely = false;

  constructor(framing: Framing, settings: LineSettings, clock: Clock, host: TransportHost) {
    this.#framing = framing;
    this.#settings = settings;
    this.#clock = clock;
    this.#host = host;
    this.#hasEcho = settings.hasEcho;
  }

  get pendingCount(): number {
    return this.#queue.length + (this.#current === null ? 0 : 1);
  }

  get isHolding(): boolean {
    return this.#latecomers.hasSuspects;
  }

  get owed(): readonly Owed[] {
    return this.#latecomers.owed;
  }

  owe(owed: readonly Owed[]): void {
    for (const { unitId, pdu, untilMs } of owed)
      this.#latecomers.suspect(new Exchange(NOBODY, unitId, pdu, 0, false), untilMs);
  }

  heldUntilMs(unitId: number, pdu: Uint8Array): number {
    return this.#latecomers.heldUntilMs(new Exchange(NOBODY, unitId, pdu, 0, false));
  }

  submit(exchange: Exchange): void {
    exchange.submittedAtMs = this.#clock.monotonicMs();
    this.#queue.push(exchange);
    this.#pump();
  }

  connected(hasPredecessor: boolean): void {
    this.#isConnected = true;
    this.#length = 0;
    this.#quietSinceMs = this.#clock.monotonicMs();
    // Whom those asked that had the line before is not known here: their answers are let pass.
    this.#forgetEchoes();
    if (hasPredecessor) this.#reservedUntilMs = this.#quietSinceMs + this.#settings.listenMs;
    this.#pump();
  }

  hurry(): void {
    const exchange = this.#current;
    if (exchange === null || exchange.yieldMs >= exchange.timeoutMs) return;
    exchange.deadlineMs = Math.min(exchange.deadlineMs, this.#sentEndMs + exchange.yieldMs);
    this.#watch();
  }

  /** A line never has more under way. */
  oneAtATime(): void {}

  disconnected(error: ModbusError): void {
    this.#isConnected = false;
    this.#cancelSend?.();
    this.#cancelSend = null;
    this.#cancelDeadline?.();
    this.#cancelDeadline = null;
    this.#length = 0;
    const atMs = this.#clock.monotonicMs();
    const pending = this.#current === null ? [] : [this.#current];
    if (this.#current !== null) this.#suspect(this.#current);
    pending.push(...this.#queue);
    this.#current = null;
    this.#queue.length = 0;
    for (const exchange of pending) exchange.owner.failed(exchange, error, atMs);
  }

  received(bytes: Uint8Array, firstAtMs: number, lastAtMs: number): void {
    this.#quietSinceMs = Math.max(this.#quietSinceMs, lastAtMs);
    this.#host.frame?.('received', bytes.slice(), lastAtMs);
    this.#append(bytes, firstAtMs);
    this.#latecomers.expire(lastAtMs);
    if (this.#current === null) {
      this.#overhear(lastAtMs);
      this.#scanForLate(lastAtMs);
      return;
    }
    if (this.#takeEcho()) return;
    this.#overhear(lastAtMs);
    this.#scan(this.#current, lastAtMs);
    if (this.#current !== null) this.#watch();
  }

  #append(bytes: Uint8Array, firstAtMs: number): void {
    let piece = bytes;
    if (this.#length + piece.length > BUFFER_BYTES) {
      // A babbling line: what is old cannot become a frame any more.
      this.#host.discarded('noise', this.#length);
      this.#length = 0;
      this.#earlyBytes = 0;
      piece = piece.subarray(Math.max(0, piece.length - BUFFER_BYTES));
    }
    if (this.#length === 0) this.#firstByteMs = firstAtMs;
    this.#buffer.set(piece, this.#length);
    this.#length += piece.length;
    if (firstAtMs < this.#earliestMs) this.#earlyBytes = this.#length;
  }

  /** True while what came may still be the beginning of our own request coming back. */
  #takeEcho(): boolean {
    if (!this.#hasEcho && !this.#mayHaveEcho) return false;
    const sent = this.#sent;
    const shared = Math.min(sent.length, this.#length);
    for (let index = 0; index < shared; index += 1) {
      if (this.#buffer[index] === sent[index]) continue;
      this.#mayHaveEcho = false;
      return false;
    }
    if (this.#length < sent.length) return this.#hasEcho;
    // No answer to a read equals its request: an adapter that always does this echoes, and writes are kept safe from it.
    if (this.#mayHaveEcho) this.#echoCount += 1;
    this.#mayHaveEcho = false;
    this.#hasEcho ||= this.#echoCount >= ECHOES_MIN;
    this.#drop(sent.length);
    this.#earlyBytes = 0;
    this.#sent = new Uint8Array(0);
    return this.#length === 0;
  }

  /** What was learnt of echoes holds no more. */
  #forgetEchoes(): void {
    this.#hasEcho = this.#settings.hasEcho;
    this.#echoCount = 0;
  }

  #drop(bytes: number): void {
    this.#buffer.copyWithin(0, bytes, this.#length);
    this.#length -= bytes;
    this.#earlyBytes = Math.max(0, this.#earlyBytes - bytes);
  }

  /** Another master's requests: their answers are not for us, and pass before we ask. */
  #overhear(atMs: number): void {
    const framing = this.#framing;
    for (let start = 0; start < this.#length; start += 1) {
      const size = this.#requestBytes(start);
      // In an answer's data it would be chance.
      if (size === 0 && this.#current !== null) return;
      if (size === 0) continue;
      const isOwn = Buffer.compare(this.#buffer.subarray(start, start + size), this.#sent) === 0;
      this.#host.discarded(isOwn ? 'noise' : 'foreign', start + size, framing.unitId);
      const pdu = framing.pdu.slice(framing.pduStart, framing.pduEnd);
      this.#drop(start + size);
      start = -1;
      // Its beginning looked like an answer. An adapter that echoes hands it back, or a device that confirms with all of it.
      if (isOwn && this.#current !== null) [this.#seen, this.#isSurely] = ['reflected', false];
      // Everybody is told, and nobody answers.
      if (isOwn || framing.unitId === 0) continue;
      const exchange = new Exchange(NOBODY, framing.unitId, pdu, 0, false);
      exchange.sentAtMs = atMs;
      this.#latecomers.suspect(exchange, atMs + this.#settings.lateMs);
      if (this.#current !== null) {
        // Two asked at the same time: ours was perhaps not understood.
        if (this.#seen === 'nothing') this.#seen = 'foreign';
        continue;
      }
      this.#overheard = exchange;
      const latestMs = this.#promptness.latestMs(exchange.unitId, this.#quietSinceMs);
      this.#reservedUntilMs = Math.max(
        this.#reservedUntilMs,
        Math.min(latestMs, atMs + this.#settings.listenMs),
      );
    }
  }

  /** Bytes of the request that begins here, if this cannot be, or become, an answer. */
  #requestBytes(start: number): number {
    const framing = this.#framing;
    const [bytes, end, exchange] = [this.#buffer, this.#length, this.#current];
    const isPromising = exchange !== null && framing.announces(bytes, end, exchange);
    if (isPromising && !framing.isWhole(bytes, start, end, exchange)) return 0;
    const isFrame = framing.find(bytes, start, end, exchange) > 0;
    return isFrame && saysItsLength(framing) ? 0 : framing.findRequest(bytes, start, end);
  }

  /** Looks at every place for the answer; whatever stands before it is garbage. */
  #scan(exchange: Exchange, atMs: number): void {
    const framing = this.#framing;
    for (let start = 0; start < this.#length; start += 1) {
      if (!framing.resembles(this.#buffer, start, this.#length, exchange)) continue;
      const size = framing.find(this.#buffer, start, this.#length, exchange);
      if (size === 0) {
        const isWhole = framing.isWhole(this.#buffer, start, this.#length, exchange);
        if (this.#seen !== 'mismatch') this.#seen = isWhole ? 'broken' : 'begun';
        this.#isSurely ||=
          start === 0 && this.#earlyBytes === 0 && framing.announces(this.#buffer, this.#length, exchange);
        continue;
      }
      if (this.#judge(exchange, start, size, atMs)) return;
      start = -1;
    }
    this.#scanForLate(atMs);
    this.#scanForForeign(exchange, atMs);
  }

  /** A right frame that answers nothing: somebody took the turn of the unit that was asked. */
  #scanForForeign(exchange: Exchange, atMs: number): void {
    const framing = this.#framing;
    for (;;) {
      const size = this.#length === 0 ? 0 : framing.find(this.#buffer, 0, this.#length, exchange);
      if (size === 0) break;
      const isRepeated = this.#isLate(atMs);
      this.#host.discarded(isRepeated ? 'late' : 'foreign', size, framing.unitId);
      if (!isRepeated) {
        this.#seen = 'mismatch';
        // Of the right length it is an answer by a device that does not know its name; it will not answer twice.
        this.#isSurely =
          this.#earlyBytes === 0 &&
          exchange.answerBytes > 0 &&
          size === framing.wireBytes(exchange.answerBytes);
      }
      this.#drop(size);
    }
    if (this.#length > 0 && this.#seen === 'nothing') this.#seen = 'foreign';
  }

  /** Whether the frame just found is the late answer to something, or one that was given already. */
  #isLate(atMs: number): boolean {
    const latecomers = this.#latecomers;
    return (
      latecomers.isSuspected(this.#framing) ||
      latecomers.isRepeated(this.#framing, atMs) ||
      latecomers.isBelated(this.#framing, atMs)
    );
  }

  /** A whole frame of the right unit and function. True when it settled the exchange; else it is out of the buffer. */
  #judge(exchange: Exchange, start: number, size: number, atMs: number): boolean {
    const framing = this.#framing;
    const verdict = exchange.check(framing.pdu, framing.pduStart, framing.pduEnd);
    const end = start + size;
    if (verdict === 'mismatch') {
      // It fits an earlier request, or it is a wrong answer to this one: the earlier one stays under suspicion.
      const isLate = this.#isLate(atMs);
      this.#host.discarded(isLate ? 'late' : 'foreign', end, framing.unitId);
      this.#seen = isLate ? 'nothing' : 'mismatch';
      this.#isSurely = !isLate && start === 0 && this.#earlyBytes === 0;
    } else if (this.#isTooEarly(exchange, start, atMs)) {
      this.#host.discarded('late', end, framing.unitId);
      this.#seen = 'early';
      this.#isSurely = false;
    } else if (verdict === 'answer' && this.#latecomers.heldUntilMs(exchange) > atMs) {
      // Another master asked for as much at the same time.
      this.#host.discarded('foreign', end, framing.unitId);
      this.#seen = 'foreign';
      this.#isSurely = false;
    } else if (verdict === 'answer' && this.#latecomers.isTwin(exchange, framing, atMs)) {
      // The right one follows, or it is asked for again in another shape.
      this.#host.discarded('late', end, framing.unitId);
      this.#seen = 'twin';
      this.#isSurely = false;
    } else if (verdict === 'exception' && this.#latecomers.isSuspected(framing)) {
      // Exceptions look alike whatever was asked: this one may belong to what was asked before, or not.
      this.#doubtful = framing.pdu[framing.pduStart + 1] ?? 0;
      this.#host.discarded('late', end, framing.unitId);
      this.#seen = 'nothing';
      this.#isSurely = false;
    } else {
      if (start > 0) this.#host.discarded('noise', start);
      if (this.#length > end) this.#host.discarded('noise', this.#length - end);
      this.#length = 0;
      this.#end();
      for (const suspect of this.#alleged) this.#latecomers.clear(suspect);
      this.#reserve(exchange, this.#latecomers.given(exchange, framing, atMs), atMs);
      // A line that echoes does so each time.
      if (start === 0 && this.#sent.length > 0 && exchange.echoBytes <= 1) this.#forgetEchoes();
      this.#promptness.answered(exchange.unitId, this.#firstByteMs - this.#sentEndMs);
      exchange.owner.answered(exchange, framing.pdu, framing.pduStart, framing.pduEnd, atMs);
      this.#pump();
      return true;
    }
    this.#drop(end);
    return false;
  }

  /** Keeps the line free for what may follow an answer though nobody asks for it. */
  #reserve({ unitId, deadlineMs }: Exchange, isDoubtful: boolean, atMs: number): void {
    // Its own answer may be on its way, and in any shape: nothing else is asked before that is not to be awaited.
    if (isDoubtful)
      this.#reservedUntilMs = Math.min(deadlineMs, this.#promptness.latestMs(unitId, this.#sentEndMs));
    if (!this.#latecomers.isRepeater(unitId, atMs)) return;
    // A second answer that has begun right behind the first is heard of when an adapter hands on its first bytes.
    const { silenceMs, characterMs } = this.#settings;
    const heardMs = this.#quietSinceMs + silenceMs + ADAPTER_BYTES * characterMs;
    this.#reservedUntilMs = Math.max(this.#reservedUntilMs, heardMs);
  }

  /**
   * A frame that began before the request had left the line is an answer repeated, if it can be that. Peers without
   * a real line between answer that fast too; they show it by answers that are no repetition.
   */
  #isTooEarly(exchange: Exchange, start: number, atMs: number): boolean {
    if (start >= this.#earlyBytes || this.#promptness.isInstant(exchange.unitId)) return false;
    if (this.#latecomers.isRepeated(this.#framing, atMs)) return true;
    this.#promptness.wasSooner(exchange.unitId, this.#firstByteMs - this.#sentEndMs);
    return false;
  }

  /** Late answers among what came: they clear their suspect and go. */
  #scanForLate(atMs: number): void {
    const framing = this.#framing;
    const latecomers = this.#latecomers;
    // The line was idle: what comes whole now is a repetition, or late.
    const idleSize = this.#current === null ? framing.find(this.#buffer, 0, this.#length, null) : 0;
    const isNews = idleSize > 0 && !latecomers.isRepeated(framing, atMs) && !latecomers.isSuspected(framing);
    if (isNews && latecomers.isBelated(framing, atMs)) {
      this.#host.discarded('late', idleSize, framing.unitId);
      this.#drop(idleSize);
    }
    for (let start = 0; start < this.#length; start += 1) {
      if (!latecomers.hasSuspects) return;
      const begins = (exchange: Exchange): boolean =>
        framing.resembles(this.#buffer, start, this.#length, exchange);
      if (!latecomers.someSuspect(begins)) continue;
      const size = framing.find(this.#buffer, start, this.#length, null);
      const suspect = size === 0 ? null : latecomers.lateFor(framing, atMs);
      if (suspect === null) continue;
      this.#host.discarded('late', start + size, framing.unitId);
      this.#drop(start + size);
      start = -1;
      // While somebody is asked it may be his answer under another's name.
      if (this.#current !== null) this.#alleged.push(suspect);
      else this.#passed(suspect);
    }
  }

  /** A late answer came on the idle line, and is out of the buffer: a line that needs no silence is asked at once. */
  #passed(suspect: Suspect): void {
    this.#latecomers.clear(suspect);
    if (suspect.exchange !== this.#overheard) return;
    this.#overheard = null;
    // Or it was the answer to an earlier one, and the one to this is to come.
    if (this.#latecomers.heldUntilMs(suspect.exchange) > 0) return;
    this.#reservedUntilMs = -Infinity;
    this.#cancelSend?.();
    this.#cancelSend = null;
    this.#pump();
  }

  #suspect(exchange: Exchange): void {
    if (exchange.isBroadcast) return;
    const latenessMs = this.#latecomers.latenessMs(exchange.unitId, this.#clock.monotonicMs());
    const lateMs = Math.max(this.#settings.lateMs, latenessMs);
    this.#latecomers.suspect(exchange, Math.max(this.#sentEndMs + lateMs, exchange.deadlineMs));
  }

  /** Sends what waits longest of what may go, as soon as the line has been silent for long enough. */
  #pump(): void {
    if (this.#current !== null || !this.#isConnected || this.#queue.length === 0) return;
    const nowMs = this.#clock.monotonicMs();
    this.#latecomers.expire(nowMs);
    let index = 0;
    let heldMs = Infinity;
    for (let each = 0; each < this.#queue.length && heldMs > nowMs; each += 1) {
      const exchange = this.#queue[each];
      const untilMs = exchange === undefined ? Infinity : this.#latecomers.heldUntilMs(exchange);
      if (untilMs < heldMs) [heldMs, index] = [untilMs, each];
    }
    const { silenceMs, paceMs } = this.#settings;
    const dueMs = Math.max(
      heldMs,
      this.#reservedUntilMs,
      this.#quietSinceMs + silenceMs,
      this.#endedAtMs + paceMs,
    );
    const exchange = this.#queue[index];
    if (exchange === undefined) return;
    if (dueMs <= nowMs) {
      this.#queue.splice(index, 1);
      this.#cancelSend?.();
      this.#cancelSend = null;
      if (exchange.sendByMs >= nowMs) return this.#send(exchange, nowMs);
      exchange.owner.failed(exchange, notSent(), nowMs);
      this.#pump();
    } else if (nowMs - Math.max(exchange.submittedAtMs, heldMs) > BUSY_MS + paceMs) {
      this.#queue.splice(index, 1);
      exchange.owner.failed(exchange, failure('timeout', 'the line is never silent'), nowMs);
      this.#pump();
    } else if (this.#cancelSend === null) {
      this.#cancelSend = at(this.#clock, dueMs, () => {
        this.#cancelSend = null;
        this.#pump();
      });
    }
  }

  #send(exchange: Exchange, nowMs: number): void {
    const framing = this.#framing;
    const bytes = framing.encode(exchange.unitId, exchange.pdu);
    if (this.#length > 0) this.#host.discarded('noise', this.#length);
    this.#length = 0;
    this.#earlyBytes = 0;
    this.#seen = 'nothing';
    this.#doubtful = 0;
    this.#isSurely = false;
    this.#alleged = [];
    this.#sent = bytes;
    this.#mayHaveEcho = !exchange.isBroadcast && exchange.echoBytes <= 1;
    this.#sentEndMs = nowMs + bytes.length * this.#settings.characterMs;
    this.#earliestMs = this.#promptness.soonestMs(exchange.unitId, this.#sentEndMs);
    this.#firstByteMs = this.#sentEndMs;
    this.#quietSinceMs = this.#sentEndMs;
    this.#current = exchange;
    exchange.sentAtMs = nowMs;
    exchange.deadlineMs =
      this.#sentEndMs + (exchange.isBroadcast ? this.#settings.turnaroundMs : exchange.timeoutMs);
    this.#host.frame?.('sent', bytes, nowMs);
    const echoBytes = this.#hasEcho ? bytes.length : 0;
    const answerBytes = exchange.answerBytes === 0 ? 0 : framing.wireBytes(exchange.answerBytes) + echoBytes;
    this.#host.write(bytes, answerBytes);
    this.#watch();
  }

  /** Until when to wait: an answer must have begun by the deadline, and once begun it may not pause. */
  #dueMs(exchange: Exchange): number {
    const { characterMs, silenceMs } = this.#settings;
    const { graceMs } = this.#framing;
    const isBegun = this.#seen === 'begun' || this.#seen === 'broken' || this.#seen === 'mismatch';
    if (!isBegun) return Math.min(exchange.deadlineMs, this.#surrenderMs(exchange));
    const longestMs = exchange.deadlineMs + this.#transferMs(exchange) + 4 * graceMs;
    const pauseMs = this.#seen === 'begun' ? graceMs : Math.min(graceMs, WRONG_GRACE_MS);
    const pausedMs = this.#quietSinceMs + silenceMs + pauseMs;
    // A network between lets an answer pause for as long as it may take to come.
    const isAnswer = this.#seen === 'begun' && this.#isSurely && characterMs === 0;
    return Math.min(isAnswer ? Math.max(pausedMs, exchange.deadlineMs) : pausedMs, longestMs);
  }

  /** The longest that what has begun may take to come, if it does not pause. */
  #transferMs({ answerBytes }: Exchange): number {
    const { characterMs } = this.#settings;
    return characterMs === 0
      ? this.#framing.wireBytes(answerBytes) * SLOWEST_CHARACTER_MS
      : BUFFER_BYTES * characterMs;
  }

  /** When there is no more to be expected, though it is not too late yet: what came was perhaps it, or has garbled it. */
  #surrenderMs({ unitId }: Exchange): number {
    if (this.#doubtful === 0 && this.#seen !== 'foreign' && this.#seen !== 'reflected') return Infinity;
    const latestMs = this.#promptness.latestMs(unitId, this.#sentEndMs);
    if (this.#doubtful !== 0) return latestMs;
    // Of one character nobody knows yet whether it begins the answer.
    const pauseMs = this.#length < FOREIGN_MIN ? this.#framing.graceMs : WRONG_GRACE_MS;
    return Math.max(latestMs, this.#quietSinceMs + this.#settings.silenceMs + pauseMs);
  }

  #watch(): void {
    const exchange = this.#current;
    if (exchange === null) return;
    const dueMs = this.#dueMs(exchange);
    // A deadline that moved away is found out when the old one is over; one that came nearer is not.
    if (this.#cancelDeadline !== null && dueMs >= this.#watchedMs) return;
    this.#cancelDeadline?.();
    this.#watchedMs = dueMs;
    this.#cancelDeadline = this.#clock.after(dueMs - this.#clock.monotonicMs(), () => {
      // After a stall of this thread timers come before the bytes that have long been there: let those come in first.
      const lastCallMs = exchange.isBroadcast ? 0 : LAST_CALL_MS;
      this.#cancelDeadline = this.#clock.after(lastCallMs, () => {
        this.#cancelDeadline = null;
        this.#expire();
      });
    });
  }

  #expire(): void {
    const exchange = this.#current;
    if (exchange === null) return;
    const nowMs = this.#clock.monotonicMs();
    if (this.#dueMs(exchange) > nowMs + 0.001) return this.#watch();
    this.#end();
    if (exchange.isBroadcast) {
      exchange.owner.answered(exchange, exchange.pdu, 0, 0, nowMs);
    } else {
      exchange.owner.failed(exchange, this.#whatHappened(exchange), nowMs);
    }
    this.#pump();
  }

  /** What there is to say about an exchange whose time is over; remembers it when its answer may still come. */
  #whatHappened(exchange: Exchange): ModbusError {
    if (this.#doubtful !== 0) {
      // Perhaps it was another's, and its own comes as late as it may.
      this.#latecomers.suspect(exchange, exchange.deadlineMs);
      return failure('exception', exceptionText(this.#doubtful), this.#doubtful);
    }
    if (this.#isSurely) this.#latecomers.spoiled(exchange, this.#clock.monotonicMs());
    else this.#suspect(exchange);
    switch (this.#seen) {
      case 'broken':
        return this.#lost('crc', 'crc', 'the answer was damaged');
      case 'begun':
        return this.#lost('noise', 'framing', 'the answer was cut off');
      case 'mismatch':
        return failure('mismatch', 'the answer is to something else');
      case 'reflected':
        return failure('mismatch', 'nothing but the request came back');
      case 'early':
        this.#promptness.strike(exchange.unitId);
        break;
      case 'twin':
        return failure('mismatch', 'the answer is the one that another request was given');
      case 'foreign':
      case 'nothing':
        break;
    }
    return noAnswer(exchange);
  }

  #lost(reason: DiscardReason, kind: ModbusError['kind'], text: string): ModbusError {
    this.#host.discarded(reason, this.#length);
    this.#length = 0;
    return failure(kind, text);
  }

  #end(): void {
    this.#current = null;
    this.#cancelDeadline?.();
    this.#cancelDeadline = null;
    this.#endedAtMs = this.#clock.monotonicMs();
  }
}

/** Of a frame that begins like the answer to a read: whether it is as long as it says. */
function saysItsLength({ pdu, pduStart, pduEnd }: Framing): boolean {
  const code = byteAt(pdu, pduStart);
  if (code < FUNCTION.readCoils || code > FUNCTION.readInputRegisters) return true;
  const count = byteAt(pdu, pduStart + 1);
  const isEven = code <= FUNCTION.readDiscreteInputs || count % 2 === 0;
  return isEven && count === pduEnd - pduStart - 2;
}

const NOBODY = { answered: () => {}, failed: () => {} };
