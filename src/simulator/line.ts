/**
 * A serial line as a plain object, given bytes and a clock: characters take their time in both directions, a frame
 * ends with 3.5 characters of silence, units think before they answer, and what is sent at the same time is lost.
 * The same object serves pseudo-terminals in real time, converters on TCP, and masses of exchanges in virtual time.
 */
import type { Cancel, Clock } from '../clock.js';
import { readAscii, readRtu, type Frame } from '../modbus/framing.js';
import { rtuRequestLength } from '../modbus/serverframes.js';
import type { LineSpec } from './spec.js';
import type { Answer, Station } from './station.js';

/** Above this rate the silence is fixed (line guide 2.5.1.1). */
const FIXED_SILENCE_BAUD = 19200;
const FIXED_SILENCE_MS = 1.75;
/** Silence is measured at the byte's end with this much room for the measurement itself. */
const SILENCE_ROOM = 0.02;
/** Without a line, as behind a converter, a frame that has begun is given up after so long. */
const STALE_MS = 50;
const FRAME_MAX = 520;

export interface LineTimes {
  readonly characterMs: number;
  readonly silenceMs: number;
}

export function lineTimes({ baud, dataBits = 8, parity = 'none', stopBits = 1 }: LineSpec): LineTimes {
  const bits = 1 + dataBits + (parity === 'none' ? 0 : 1) + stopBits;
  const characterMs = (bits * 1000) / baud;
  return { characterMs, silenceMs: baud > FIXED_SILENCE_BAUD ? FIXED_SILENCE_MS : 3.5 * characterMs };
}

/** Where the line's bytes go. */
export interface LineListener {
  /** Characters that a master hears, handed over when the last of them has passed. */
  heard(bytes: Uint8Array): void;
  /** The fault of an answer ends the connection, where there is one. */
  ended(how: 'fin' | 'rst'): void;
}

interface Sending {
  readonly bytes: Uint8Array;
  at: number;
  readonly startMs: number;
  isGarbled: boolean;
  readonly done: (endMs: number) => void;
}

export class Line {
  readonly #station: Station;
  readonly #framing: 'rtu' | 'ascii';
  readonly #clock: Clock;
  readonly #listener: LineListener;
  readonly #times: LineTimes;
  readonly #isStrict: boolean;
  readonly #hasEcho: boolean;
  readonly #chunkBytes: number;
  readonly #isReal: boolean;
  /** What masters have sent since the last silence. */
  #frame: Buffer = Buffer.alloc(0);
  #isFrameLost = false;
  /** When the last character of a master has passed, and of anybody. */
  #masterEndMs = -Infinity;
  #quietSinceMs = -Infinity;
  #sending: Sending | null = null;
  #cancelFrameEnd: Cancel | null = null;
  readonly #cancels = new Set<Cancel>();
  /** Answers on their way: a further request meanwhile breaks the rule of one at a time. */
  #pendingCount = 0;
  connection = 0;

  constructor(
    station: Station,
    framing: 'rtu' | 'ascii',
    spec: LineSpec | null,
    clock: Clock,
    listener: LineListener,
  ) {
    this.#station = station;
    this.#framing = framing;
    this.#clock = clock;
    this.#listener = listener;
    this.#isReal = spec !== null;
    this.#times = spec === null ? { characterMs: 0, silenceMs: 0 } : lineTimes(spec);
    this.#isStrict = spec?.isStrict ?? true;
    this.#hasEcho = spec?.hasEcho ?? false;
    this.#chunkBytes = spec?.chunkBytes ?? 16;
  }

  /** A master has put these bytes into its sender now. */
  receive(bytes: Uint8Array): void {
    const nowMs = this.#clock.monotonicMs();
    const startMs = Math.max(nowMs, this.#masterEndMs);
    if (this.#frame.length === 0) this.#beginFrame(startMs);
    this.#masterEndMs = startMs + bytes.length * this.#times.characterMs;
    this.#quietSinceMs = Math.max(this.#quietSinceMs, this.#masterEndMs);
    this.#station.transcript.counts.busyMs += bytes.length * this.#times.characterMs;
    this.#frame = Buffer.concat([this.#frame, bytes]).subarray(-FRAME_MAX);
    if (this.#hasEcho) {
      const echo = Uint8Array.from(bytes);
      this.#at(this.#masterEndMs, () => this.#listener.heard(echo));
    }
    this.#awaitFrameEnd(nowMs);
  }

  /** Nothing more is sent or heard: the plug is out. */
  reset(): void {
    for (const cancel of this.#cancels) cancel();
    this.#cancels.clear();
    this.#cancelFrameEnd?.();
    this.#cancelFrameEnd = null;
    this.#sending = null;
    this.#pendingCount = 0;
    this.#frame = Buffer.alloc(0);
  }

  #beginFrame(startMs: number): void {
    this.#isFrameLost = false;
    const { counts } = this.#station.transcript;
    if (this.#sending !== null) {
      counts.collisions++;
      this.#sending.isGarbled = true;
      this.#isFrameLost = true;
      return;
    }
    if (this.#framing !== 'rtu' || !this.#isReal) return;
    if (startMs - this.#quietSinceMs >= this.#times.silenceMs - SILENCE_ROOM) return;
    counts.silenceViolations++;
    this.#isFrameLost = this.#isStrict;
  }

  #awaitFrameEnd(nowMs: number): void {
    this.#cancelFrameEnd?.();
    const isWhole = this.#framing === 'ascii' ? this.#frame.at(-1) === 0x0a : this.#isWholeWithoutLine();
    const silenceMs = isWhole
      ? 0
      : this.#isReal && this.#framing === 'rtu'
        ? this.#times.silenceMs
        : STALE_MS;
    const endMs = this.#masterEndMs + silenceMs;
    this.#cancelFrameEnd = this.#clock.after(endMs - nowMs, () => {
      this.#cancelFrameEnd = null;
      this.#endFrame(endMs);
    });
  }

  /** Behind a converter without a line silence says nothing, so the content must. */
  #isWholeWithoutLine(): boolean {
    return !this.#isReal && rtuRequestLength(this.#frame) === this.#frame.length;
  }

  /** Times are handed on from step to step as they ought to be, so that late callbacks do not add up. */
  #endFrame(endMs: number): void {
    const bytes = this.#frame;
    this.#frame = Buffer.alloc(0);
    const { counts } = this.#station.transcript;
    if (this.#isFrameLost) return;
    const frame: Frame | null = this.#framing === 'rtu' ? readRtu(bytes) : readAscii(bytes);
    if (frame === null) {
      counts.badFrames++;
      return;
    }
    if (this.#pendingCount > 0) counts.overlaps++;
    const answer = this.#station.take(frame, this.#framing, this.connection);
    if (answer === null) return;
    this.#pendingCount++;
    this.#at(endMs + answer.turnaroundMs + answer.delivery.delayMs, (atMs) => this.#send(answer, 0, atMs));
  }

  /** Sends the pieces of an answer one after the other. */
  #send(answer: Answer, index: number, startMs: number): void {
    const piece = answer.delivery.pieces[index];
    if (piece === undefined) {
      this.#pendingCount--;
      if (answer.delivery.end !== 'none') this.#listener.ended(answer.delivery.end);
      return;
    }
    const next = (endMs: number): void => {
      const isLast = index === answer.delivery.pieces.length - 1;
      if (isLast) this.#station.transcript.answered(answer.exchange, this.#station.atMs());
      const following = answer.delivery.pieces[index + 1];
      if (following === undefined || following.pauseMs === 0) this.#send(answer, index + 1, endMs);
      else this.#at(endMs + following.pauseMs, (atMs) => this.#send(answer, index + 1, atMs));
    };
    this.#transmit(piece.bytes, startMs, next);
  }

  #transmit(bytes: Uint8Array, startMs: number, done: (endMs: number) => void): void {
    let isGarbled = false;
    const { counts } = this.#station.transcript;
    if (this.#sending !== null || this.#masterEndMs > startMs) {
      // Two senders at once: neither is understood.
      counts.collisions++;
      isGarbled = true;
      if (this.#sending !== null) this.#sending.isGarbled = true;
      else this.#isFrameLost = true;
    }
    counts.busyMs += bytes.length * this.#times.characterMs;
    const sending: Sending = {
      bytes: Uint8Array.from(bytes),
      at: 0,
      startMs,
      isGarbled,
      done,
    };
    this.#sending = sending;
    this.#pass(sending);
  }

  /** Lets the next few characters pass, each in its time from the beginning of the piece. */
  #pass(sending: Sending): void {
    const end = Math.min(sending.bytes.length, sending.at + this.#chunkBytes);
    this.#at(sending.startMs + end * this.#times.characterMs, (atMs) => {
      const chunk = sending.bytes.subarray(sending.at, end);
      sending.at = end;
      if (sending.isGarbled) garble(chunk);
      const isLast = end === sending.bytes.length;
      if (isLast && this.#sending === sending) this.#sending = null;
      // Taken before the bytes are handed over: nobody can have waited from an earlier moment.
      this.#quietSinceMs = Math.max(this.#quietSinceMs, this.#clock.monotonicMs());
      this.#listener.heard(chunk);
      if (isLast) sending.done(atMs);
      else this.#pass(sending);
    });
  }

  /** Calls back at that time, or as soon after it as can be, with the time that was asked for. */
  #at(dueMs: number, callback: (dueMs: number) => void): void {
    const cancel = this.#clock.after(Math.max(0, dueMs - this.#clock.monotonicMs()), () => {
      this.#cancels.delete(cancel);
      callback(dueMs);
    });
    this.#cancels.add(cancel);
  }
}

function garble(bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; at++) bytes[at] = (bytes[at] ?? 0) ^ 0x5a;
}
