/**
 * Modbus/TCP framing: the MBAP header, 16-bit transaction identifiers, and a window of requests under way. Also over
 * TLS, and over UDP where each datagram is one frame. A plain object given bytes and times; it owns no socket.
 */
import type { Cancel, Clock } from '../clock.js';
import { byteAt, wordAt } from './bytes.js';
import { failure, noAnswer } from './exchange.js';
import type { Exchange, ModbusError } from './exchange.js';
import type { Transport, TransportHost } from './wire.js';

export interface MbapSettings {
  /** Requests under way at once. */
  readonly window: number;
  /** Pause between the end of one exchange and the start of the next. */
  readonly paceMs: number;
  /** Each received piece is one whole frame. */
  readonly isDatagram: boolean;
}

const HEADER_BYTES = 7;
/** Unit identifier and PDU, as the header's length field counts them (Modbus/TCP 3.1.3). */
const LENGTH_MIN = 2;
const LENGTH_MAX = 254;
const FRAME_MAX = HEADER_BYTES - 1 + LENGTH_MAX;
/** More unanswered identifiers than this on one connection, and the connection is worth nothing. */
const UNANSWERED_MAX = 4096;
/** A frame may pause for so long on its way. */
const PARTIAL_MS = 50;
const LAST_CALL_MS = 1;

export class MbapTransport implements Transport {
  readonly isHolding = false;
  readonly #settings: MbapSettings;
  readonly #clock: Clock;
  readonly #host: TransportHost;
  readonly #window = new Map<number, Exchange>();
  readonly #queue: Exchange[] = [];
  /** Identifiers whose answer may still come: they are not used again on this connection. */
  readonly #unanswered = new Set<number>();
  /** The beginning of a frame whose end has not come yet. */
  readonly #partial = new Uint8Array(FRAME_MAX);
  #partialBytes = 0;
  #partialAtMs = 0;
  /** Begins where few registers' values are, so that data is seldom taken for a header. */
  #identifier = 0x9c3f;
  #isConnected = false;
  #endedAtMs = -Infinity;
  #cancelDeadline: Cancel | null = null;
  #watchedMs = 0;
  #cancelPace: Cancel | null = null;

  constructor(settings: MbapSettings, clock: Clock, host: TransportHost) {
    this.#settings = settings;
    this.#clock = clock;
    this.#host = host;
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

  connected(): void {
    this.#isConnected = true;
    this.#partialBytes = 0;
    this.#unanswered.clear();
    this.#pump();
  }

  disconnected(error: ModbusError): void {
    this.#isConnected = false;
    this.#cancelDeadline?.();
    this.#cancelDeadline = null;
    this.#cancelPace?.();
    this.#cancelPace = null;
    const atMs = this.#clock.monotonicMs();
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
    let at = 0;
    if (this.#partialBytes > 0) {
      // What comes so much later may be another answer, whose beginning would pass for the rest of this one.
      const mayBeAnother = this.#window.size > 1 || this.#unanswered.size > 0;
      if (mayBeAnother && lastAtMs - this.#partialAtMs > PARTIAL_MS) return this.#broken(bytes.length);
      this.#partialAtMs = lastAtMs;
      at = this.#complete(bytes, lastAtMs);
      if (at < 0) return;
    }
    while (at < bytes.length && this.#isConnected) {
      const size = frameSize(bytes, at, bytes.length);
      if (size < 0) return this.#broken(bytes.length - at);
      if (size === 0 || at + size > bytes.length) {
        this.#partial.set(bytes.subarray(at), 0);
        this.#partialBytes = bytes.length - at;
        this.#partialAtMs = lastAtMs;
        break;
      }
      if (this.#window.size > 1 && this.#isDoubtful(bytes, at, at + size)) {
        return this.#broken(bytes.length - at);
      }
      this.#frame(bytes, at, at + size, lastAtMs);
      at += size;
    }
    // Nothing can be meant by a beginning when nothing is awaited: it would only swallow what comes next.
    const isAwaited = this.#window.size > 0 || this.#unanswered.size > 0;
    if (this.#partialBytes > 0 && !isAwaited) return this.#broken(this.#partialBytes);
    this.#pump();
  }

  /** Adds to the frame that was begun; where the rest of the bytes begins, or -1 when all were used or all is lost. */
  #complete(bytes: Uint8Array, atMs: number): number {
    const partial = this.#partial;
    let taken = Math.min(bytes.length, Math.max(0, HEADER_BYTES - this.#partialBytes));
    partial.set(bytes.subarray(0, taken), this.#partialBytes);
    this.#partialBytes += taken;
    const size = frameSize(partial, 0, this.#partialBytes);
    if (size < 0) {
      this.#broken(bytes.length);
      return -1;
    }
    if (size === 0) return -1;
    const rest = Math.min(bytes.length - taken, size - this.#partialBytes);
    partial.set(bytes.subarray(taken, taken + rest), this.#partialBytes);
    this.#partialBytes += rest;
    taken += rest;
    if (this.#partialBytes < size) return -1;
    // Something may have been missing, and was taken from the frame that follows.
    const isAlone = this.#window.size < 2 && this.#unanswered.size === 0;
    const isFilled =
      !isAlone &&
      (this.#isPending(bytes, 0, bytes.length, wordAt(partial, 0)) || this.#holdsAnother(partial, 0, size));
    if (isFilled || frameSize(bytes, taken, bytes.length) < 0) {
      this.#broken(bytes.length);
      return -1;
    }
    this.#partialBytes = 0;
    this.#frame(partial, 0, size, atMs);
    return taken;
  }

  /** Whether another answer begins within this frame, or none behind it, because its own end was lost on the way. */
  #isDoubtful(bytes: Uint8Array, start: number, end: number): boolean {
    return frameSize(bytes, end, bytes.length) < 0 || this.#holdsAnother(bytes, start, end);
  }

  #holdsAnother(bytes: Uint8Array, start: number, end: number): boolean {
    const own = wordAt(bytes, start);
    for (let at = start + HEADER_BYTES; at + 1 < end; at += 1) {
      if (this.#isPending(bytes, at, end, own)) return true;
    }
    return false;
  }

  /** Whether these bytes, as far as they go, begin an answer to another request that is under way. */
  #isPending(bytes: Uint8Array, at: number, end: number, own: number): boolean {
    const have = end - at;
    if (have === 1) {
      for (const identifier of this.#window.keys())
        if (identifier !== own && identifier >>> 8 === bytes[at]) return true;
      return false;
    }
    const identifier = wordAt(bytes, at);
    if (identifier === own) return false;
    if (!this.#window.has(identifier) && !this.#unanswered.has(identifier)) return false;
    for (let next = 2; next < Math.min(5, have); next += 1) if (bytes[at + next] !== 0) return false;
    return true;
  }

  #datagram(bytes: Uint8Array, atMs: number): void {
    if (frameSize(bytes, 0, bytes.length) === bytes.length) this.#frame(bytes, 0, bytes.length, atMs);
    else this.#host.discarded('protocol', bytes.length);
    this.#pump();
  }

  #frame(bytes: Uint8Array, start: number, end: number, atMs: number): void {
    this.#host.frame?.('received', bytes.slice(start, end), atMs);
    const identifier = wordAt(bytes, start);
    const exchange = this.#window.get(identifier);
    if (exchange === undefined) {
      const wasAwaited = this.#unanswered.delete(identifier);
      this.#host.discarded(wasAwaited ? 'late' : 'transaction', end - start);
      return;
    }
    this.#window.delete(identifier);
    this.#endedAtMs = atMs;
    this.#settle(exchange, bytes, start + HEADER_BYTES - 1, end, atMs);
  }

  #settle(exchange: Exchange, bytes: Uint8Array, unitAt: number, end: number, atMs: number): void {
    const verdict = exchange.check(bytes, unitAt + 1, end);
    if (byteAt(bytes, unitAt) !== exchange.unitId) {
      const text = `unit ${byteAt(bytes, unitAt)} answered instead of ${exchange.unitId}`;
      this.#host.discarded('foreign', end - unitAt);
      exchange.owner.failed(exchange, failure('mismatch', text), atMs);
    } else if (verdict === 'mismatch') {
      this.#host.discarded('foreign', end - unitAt);
      exchange.owner.failed(exchange, failure('mismatch', 'the answer is to something else'), atMs);
    } else {
      exchange.owner.answered(exchange, bytes, unitAt + 1, end, atMs);
    }
  }

  /** The stream is out of step: whatever follows could be anything. */
  #broken(bytes: number): void {
    this.#partialBytes = 0;
    this.#host.discarded('protocol', bytes);
    this.#fault('what came is not a Modbus/TCP frame');
  }

  /** Those under way fail because of it; those that wait fail with the connection. */
  #fault(text: string): void {
    const error = failure('framing', text);
    const atMs = this.#clock.monotonicMs();
    const pending = [...this.#window.values()];
    this.#window.clear();
    this.#isConnected = false;
    for (const exchange of pending) exchange.owner.failed(exchange, error, atMs);
    this.#host.fault(error);
  }

  #pump(): void {
    while (this.#isConnected && this.#queue.length > 0 && this.#window.size < this.#settings.window) {
      const nowMs = this.#clock.monotonicMs();
      const readyAtMs = this.#endedAtMs + this.#settings.paceMs;
      if (this.#settings.paceMs > 0 && readyAtMs > nowMs) {
        this.#cancelPace ??= this.#clock.after(readyAtMs - nowMs, () => {
          this.#cancelPace = null;
          this.#pump();
        });
        return;
      }
      const exchange = this.#queue.shift();
      if (exchange !== undefined) this.#send(exchange, nowMs);
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

  #expire(): void {
    const nowMs = this.#clock.monotonicMs();
    let hasExpired = false;
    for (const [identifier, exchange] of this.#window) {
      if (exchange.deadlineMs > nowMs) continue;
      hasExpired = true;
      this.#window.delete(identifier);
      this.#unanswered.add(identifier);
      this.#endedAtMs = nowMs;
      exchange.owner.failed(exchange, noAnswer(exchange), nowMs);
    }
    if (!this.#isConnected) return;
    // A frame that was begun and not ended by now would swallow the beginning of the next.
    const isCutOff = this.#partialBytes > 0 && nowMs - this.#partialAtMs > PARTIAL_MS;
    if (hasExpired && isCutOff) return this.#fault('a frame was cut off');
    if (this.#unanswered.size > UNANSWERED_MAX) return this.#fault('nothing is answered any more');
    this.#watch(nowMs);
    this.#pump();
  }
}

/** Bytes of the frame that begins here; 0 when its header is not complete, -1 when it is no frame at all. */
function frameSize(bytes: Uint8Array, start: number, end: number): number {
  const have = end - start;
  if (have >= 4 && wordAt(bytes, start + 2) !== 0) return -1;
  if (have < 6) return 0;
  const length = wordAt(bytes, start + 4);
  if (length < LENGTH_MIN || length > LENGTH_MAX) return -1;
  return have < HEADER_BYTES ? 0 : HEADER_BYTES - 1 + length;
}
