/**
 * Modbus/TCP: 16-bit transaction identifiers and a window of requests under way; also over TLS, and over UDP where each
 * datagram is one frame. A peer that answers in disorder is asked one thing at a time for a while, for then nothing can
 * be mixed up; one that hangs up on the first requests that are under way together, for good. A plain object given bytes
 * and times; it owns no socket.
 */
import type { Cancel, Clock } from '../clock.js';
import { byteAt, wordAt } from './bytes.js';
import { failure, noAnswer, notSent } from './exchange.js';
import type { Exchange, ModbusError } from './exchange.js';
import { frameSize, HEADER_BYTES, MbapStream } from './mbapstream.js';
import type { FrameListener } from './mbapstream.js';
import { isGatewayException } from './protocol.js';
import { Width } from './width.js';
import type { Transport, TransportHost } from './wire.js';

export interface MbapSettings {
  /** Requests under way at once. */
  readonly window: number;
  /** Pause between the end of one exchange and the start of the next. */
  readonly paceMs: number;
  /** Each received piece is one whole frame. */
  readonly isDatagram: boolean;
}

/** So many unanswered identifiers are known, those that were given up last: a silent unit adds more of them for ever. */
const UNANSWERED_MAX = 512;
/** For so long an answer to a request that was given up may still come. */
const LATE_MS = 10_000;
/** So many answered requests are remembered, because a peer may answer twice. */
const ANSWERED_COUNT = 8;
/** Away from identifiers that the peer's data may happen to hold. */
const IDENTIFIER_LEAP = 0x1357;
const LAST_CALL_MS = 1;
/** An answer that may have lost its end to a late one waits for so long for the rest of that. */
const HOLD_MS = 10;

/** A request whose answer may still come. */
interface GivenUp {
  /** Unit and function code, a byte each. */
  readonly asked: number;
  readonly atMs: number;
}

export class MbapTransport implements Transport, FrameListener {
  readonly owed = [];
  readonly isHolding = false;
  readonly #settings: MbapSettings;
  readonly #clock: Clock;
  readonly #host: TransportHost;
  readonly #window = new Map<number, Exchange>();
  readonly #queue: Exchange[] = [];
  /** By identifier, the oldest first: these are not used again on this connection. */
  readonly #unanswered = new Map<number, GivenUp>();
  #unansweredAtMs = -Infinity;
  /** Identifiers that were answered last, each with what it asked in its lower half. */
  readonly #answered = new Uint32Array(ANSWERED_COUNT);
  #answeredCount = 0;
  readonly #stream: MbapStream;
  #nowMs = 0;
  readonly #width: Width;
  /** Begins where few registers' values are, so that data is seldom taken for a header. */
  #identifier = 0x9c3f;
  #isConnected = false;
  #endedAtMs = -Infinity;
  #cancelDeadline: Cancel | null = null;
  #watchedMs = 0;
  #cancelPace: Cancel | null = null;
  #cancelHold: Cancel | null = null;

  constructor(settings: MbapSettings, clock: Clock, host: TransportHost) {
    this.#settings = settings;
    this.#clock = clock;
    this.#host = host;
    this.#stream = new MbapStream(this);
    this.#width = new Width(settings.window);
  }

  get pendingCount(): number {
    return this.#window.size + this.#queue.length;
  }

  heldUntilMs(): number {
    return 0;
  }

  submit(exchange: Exchange): void {
    exchange.submittedAtMs = this.#clock.monotonicMs();
    this.#queue.push(exchange);
    this.#pump();
  }

  /** Those who wait here have their own place in the window. */
  hurry(): void {}

  oneAtATime(): void {
    this.#width.one();
  }

  /** Transaction identifiers tell answers apart. */
  owe(): void {}

  connected(): void {
    this.#isConnected = true;
    this.#width.connected();
    this.#stream.reset();
    this.#unanswered.clear();
    this.#answered.fill(0);
    this.#unansweredAtMs = -Infinity;
    this.#pump();
  }

  disconnected(error: ModbusError, isByPeer: boolean): void {
    this.#isConnected = false;
    this.#unwatch();
    this.#cancelPace?.();
    this.#cancelPace = null;
    this.#cancelHold?.();
    this.#cancelHold = null;
    const atMs = this.#clock.monotonicMs();
    // Datagrams have no connection that could be hung up.
    this.#width.parted([...this.#window.values()].map(placeOf), isByPeer && !this.#settings.isDatagram, atMs);
    const pending = [...this.#window.values(), ...this.#queue];
    this.#window.clear();
    this.#queue.length = 0;
    for (const exchange of pending) exchange.owner.failed(exchange, error, atMs);
  }

  received(bytes: Uint8Array, _firstAtMs: number, lastAtMs: number): void {
    if (this.#settings.isDatagram) {
      this.#datagram(bytes, lastAtMs);
      return;
    }
    this.#nowMs = lastAtMs;
    if (this.#stream.take(bytes, lastAtMs)) this.#pump();
    else if (this.#isConnected) this.#broken(bytes.length);
    // A timer that is left to run wakes the thread for nothing, twice for each request of a fleet.
    if (this.#window.size === 0) this.#unwatch();
    this.#watchHold();
  }

  // What the stream asks and tells.

  get isCrowded(): boolean {
    return this.#window.size > 1 || this.#mayComeLate;
  }

  get isAwaiting(): boolean {
    return this.#window.size > 0 || this.#mayComeLate;
  }

  get #mayComeLate(): boolean {
    return this.#nowMs - this.#unansweredAtMs < LATE_MS;
  }

  asked(identifier: number): number {
    const exchange = this.#window.get(identifier);
    if (exchange !== undefined) return askedBy(exchange);
    const givenUp = this.#unanswered.get(identifier);
    if (givenUp !== undefined && this.#mayStillCome(givenUp)) return givenUp.asked;
    for (const answered of this.#answered) if (answered >>> 16 === identifier) return answered & 0xffff || -1;
    return -1;
  }

  mayBegin(highByte: number, own: number): boolean {
    for (const identifier of this.#window.keys())
      if (identifier >>> 8 === highByte && identifier !== own) return true;
    if (!this.#mayComeLate) return false;
    for (const [identifier, givenUp] of this.#unanswered)
      if (identifier >>> 8 === highByte && this.#mayStillCome(givenUp)) return true;
    return false;
  }

  #mayStillCome({ atMs }: GivenUp): boolean {
    return this.#nowMs - atMs < LATE_MS;
  }

  frame(bytes: Uint8Array, start: number, end: number, isJoined: boolean, atMs: number): boolean {
    const isBelieved = !isJoined || this.#window.size < 2 || !this.#width.isWary(atMs);
    this.#frame(bytes, start, end, atMs, isBelieved);
    return this.#isConnected;
  }

  dropped(byteCount: number): void {
    this.#host.discarded('noise', byteCount);
  }

  #datagram(bytes: Uint8Array, atMs: number): void {
    if (frameSize(bytes, 0, bytes.length) === bytes.length) this.#frame(bytes, 0, bytes.length, atMs, true);
    else this.#host.discarded('protocol', bytes.length);
    this.#pump();
  }

  #frame(bytes: Uint8Array, start: number, end: number, atMs: number, isBelieved: boolean): void {
    this.#host.frame?.('received', bytes.slice(start, end), atMs);
    const identifier = wordAt(bytes, start);
    const exchange = this.#window.get(identifier);
    if (exchange === undefined) {
      const wasAwaited = this.#unanswered.delete(identifier);
      // A network may double a datagram, without its peer's doing.
      const isDouble = this.#settings.isDatagram && this.asked(identifier) >= 0;
      if (!wasAwaited && !isDouble) this.#width.narrow(atMs);
      this.#host.discarded(wasAwaited ? 'late' : 'transaction', end - start, speakerOf(bytes, start));
      return;
    }
    this.#window.delete(identifier);
    this.#answered[this.#answeredCount++ % ANSWERED_COUNT] = identifier * 0x10000 + askedBy(exchange);
    if (this.#width.answered(identifier, placeOf(exchange))) this.#host.isOneAtATime();
    this.#endedAtMs = atMs;
    if (isBelieved) return this.#settle(exchange, bytes, start + HEADER_BYTES - 1, end, atMs);
    this.#mismatch(exchange, 'the answer came in pieces, and may be made of two', end - start, atMs);
  }

  #settle(exchange: Exchange, bytes: Uint8Array, unitAt: number, end: number, atMs: number): void {
    const verdict = exchange.check(bytes, unitAt + 1, end);
    const unitId = byteAt(bytes, unitAt);
    const bytesCount = end - unitAt;
    if (unitId !== exchange.unitId) {
      this.#mismatch(exchange, `unit ${unitId} answered instead of ${exchange.unitId}`, bytesCount, atMs);
    } else if (verdict === 'mismatch') {
      this.#mismatch(exchange, 'the answer is to something else', bytesCount, atMs);
    } else {
      exchange.owner.answered(exchange, bytes, unitAt + 1, end, atMs);
    }
  }

  #mismatch(exchange: Exchange, text: string, bytes: number, atMs: number): void {
    this.#width.narrow(atMs);
    this.#host.discarded('foreign', bytes);
    exchange.owner.failed(exchange, failure('mismatch', text), atMs);
  }

  /** The stream is out of step: whatever follows could be anything. */
  #broken(bytes: number): void {
    this.#host.discarded('protocol', bytes);
    this.#fault('what came is not a Modbus/TCP frame');
  }

  /** Those under way fail because of it; those that wait fail with the connection. */
  #fault(text: string): void {
    const error = failure('framing', text);
    const atMs = this.#clock.monotonicMs();
    this.#width.narrow(atMs);
    this.#identifier = (this.#identifier + IDENTIFIER_LEAP) & 0xffff;
    const pending = [...this.#window.values()];
    this.#window.clear();
    this.#isConnected = false;
    for (const exchange of pending) exchange.owner.failed(exchange, error, atMs);
    this.#host.fault(error);
  }

  #pump(): void {
    while (this.#isConnected && this.#queue.length > 0) {
      const nowMs = this.#clock.monotonicMs();
      // One whose answer is held back is under way no more.
      const underWayCount = this.#window.size - (this.#stream.isHolding ? 1 : 0);
      if (underWayCount >= this.#width.at(nowMs)) return;
      const readyAtMs = this.#endedAtMs + this.#settings.paceMs;
      if (this.#settings.paceMs > 0 && readyAtMs > nowMs) {
        this.#cancelPace ??= this.#clock.after(readyAtMs - nowMs, () => {
          this.#cancelPace = null;
          this.#pump();
        });
        return;
      }
      const exchange = this.#queue.shift();
      if (exchange === undefined) return;
      if (exchange.sendByMs < nowMs) exchange.owner.failed(exchange, notSent(), nowMs);
      else this.#send(exchange, nowMs);
    }
  }

  #send(exchange: Exchange, nowMs: number): void {
    const { pdu } = exchange;
    const identifier = this.#nextIdentifier();
    const frame = new Uint8Array(HEADER_BYTES + pdu.length);
    frame[0] = identifier >>> 8;
    frame[1] = identifier & 0xff;
    frame[4] = (pdu.length + 1) >>> 8;
    frame[5] = (pdu.length + 1) & 0xff;
    frame[6] = exchange.unitId;
    frame.set(pdu, HEADER_BYTES);
    exchange.sentAtMs = nowMs;
    exchange.deadlineMs = nowMs + exchange.timeoutMs;
    this.#width.sent(identifier, this.#window.size > 0, nowMs);
    this.#window.set(identifier, exchange);
    this.#watch(nowMs);
    this.#host.frame?.('sent', frame, nowMs);
    this.#host.write(frame, 0);
  }

  #nextIdentifier(): number {
    do this.#identifier = (this.#identifier + 1) & 0xffff;
    while (this.#window.has(this.#identifier) || this.#unanswered.has(this.#identifier));
    return this.#identifier;
  }

  /** One timer for the whole window; set again only when a deadline comes before the one it is set for. */
  #watch(nowMs: number): void {
    let earliestMs = Infinity;
    for (const exchange of this.#window.values()) earliestMs = Math.min(earliestMs, exchange.deadlineMs);
    if (earliestMs === Infinity || (this.#cancelDeadline !== null && earliestMs >= this.#watchedMs)) return;
    this.#cancelDeadline?.();
    this.#watchedMs = earliestMs;
    this.#cancelDeadline = this.#clock.after(earliestMs - nowMs, () => {
      // After a stall of this thread timers come before the bytes that have long been there: let those come in first.
      this.#cancelDeadline = this.#clock.after(LAST_CALL_MS, () => {
        this.#cancelDeadline = null;
        this.#expire();
      });
    });
  }

  #unwatch(): void {
    this.#cancelDeadline?.();
    this.#cancelDeadline = null;
  }

  /** Of what is under way alone nothing but a late answer can have taken the end. */
  #watchHold(): void {
    this.#cancelHold?.();
    this.#cancelHold = null;
    if (!this.#stream.isHolding || this.#window.size > 1) return;
    this.#cancelHold = this.#clock.after(HOLD_MS, () => {
      this.#cancelHold = null;
      this.#stream.settle();
      this.#pump();
    });
  }

  #giveUp(identifier: number, exchange: Exchange, nowMs: number): void {
    this.#unanswered.set(identifier, { asked: askedBy(exchange), atMs: nowMs });
    this.#unansweredAtMs = nowMs;
    if (this.#unanswered.size <= UNANSWERED_MAX) return;
    for (const oldest of this.#unanswered.keys()) {
      this.#unanswered.delete(oldest);
      break;
    }
  }

  #expire(): void {
    const nowMs = this.#clock.monotonicMs();
    if (this.#cancelHold !== null) this.#stream.settle();
    let hasExpired = false;
    for (const [identifier, exchange] of this.#window) {
      if (exchange.deadlineMs > nowMs) continue;
      hasExpired = true;
      this.#window.delete(identifier);
      this.#width.givenUp(identifier);
      this.#giveUp(identifier, exchange, nowMs);
      this.#endedAtMs = nowMs;
      exchange.owner.failed(exchange, noAnswer(exchange), nowMs);
    }
    if (!this.#isConnected) return;
    // A frame that was begun and not ended by now would swallow the beginning of the next.
    if (hasExpired && this.#stream.isCutOff(nowMs)) return this.#fault('a frame was cut off');
    this.#watch(nowMs);
    this.#pump();
  }
}

/** The unit whose words a frame holds; undefined: those of a gateway that has none of it. */
function speakerOf(bytes: Uint8Array, start: number): number | undefined {
  const pdu = start + HEADER_BYTES;
  const isOfGateway = byteAt(bytes, pdu) >= 0x80 && isGatewayException(byteAt(bytes, pdu + 1));
  return isOfGateway ? undefined : byteAt(bytes, pdu - 1);
}

/** Unit and function code, a byte each. */
function askedBy({ unitId, functionCode }: Exchange): number {
  return unitId * 0x100 + functionCode;
}

/** Where it asks, and what: the same for the same request when it is asked again. */
function placeOf(exchange: Exchange): number {
  return askedBy(exchange) * 0x10000 + wordAt(exchange.pdu, 1);
}
