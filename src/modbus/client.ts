/**
 * One link's Modbus client: requests out, answers in. Every request settles within its deadline, whatever happens to
 * the link; what can be expected to happen is a value, not an exception. It brings modbus-serial in (codec.ts), which
 * adds methods to Buffer.prototype: only worker threads load this file, its types may be used anywhere.
 *
 * A worker makes a client for a Bus of the Plant, and for a serial one with a MessagePort whose other end the main
 * thread gives to serveSerial() of serial.ts:
 *
 *     const client = createClient(bus, listener, clock, () => port);
 *     client.open();
 *     const answer = await client.request({ kind: 'read', unitId, table, address, quantity }, timeoutMs);
 */
import type { MessagePort } from 'node:worker_threads';
import type { Cancel, Clock } from '../clock.js';
import { PduCodec } from './codec.js';
import { byteAt } from './bytes.js';
import { Exchange, failure } from './exchange.js';
import type { DiscardReason, ExchangeOwner, ModbusError } from './exchange.js';
import type { Owed } from './latecomers.js';
import { pair, transportOf } from './link.js';
import type { LinkSettings } from './link.js';
import { exceptionText } from './protocol.js';
import { problemOf } from './request.js';
import type { Request } from './request.js';
import type { OpenWire, Transport, TransportHost, Wire } from './wire.js';

export type { ModbusError } from './exchange.js';
export type { Owed } from './latecomers.js';
export type { Request } from './request.js';

export type Answer =
  /** data: registers as bytes, two each, most significant first; bits packed, lowest first; empty for writes. Times are monotonic ms. */
  | { readonly ok: true; readonly data: Uint8Array; readonly sentAtMs: number; readonly receivedAtMs: number }
  | {
      readonly ok: false;
      readonly error: ModbusError;
      /** 0: it never went out. */
      readonly sentAtMs: number;
      readonly receivedAtMs: number;
    };

/** A whole frame as it was on the wire. Times are monotonic ms. */
export type OnFrame = (direction: 'sent' | 'received', bytes: Uint8Array, atMs: number) => void;

/** What a transport tells of itself. */
export interface LinkListener {
  /** The link is up; requests may go. */
  up(): void;
  /** The link is gone, or one more attempt to make it has failed; every request under way has been answered before. */
  down(error: ModbusError): void;
  /** Every frame that passed, from the beginning; optional because it costs. */
  readonly frame?: OnFrame;
  /** Bytes that were no answer to anything: late, foreign, broken. */
  discarded?(reason: DiscardReason, bytes: number, unitId?: number): void;
  /** The peer hung up on requests that were under way together, and never stood that: from now on it gets one at a time. */
  oneAtATime?(): void;
  /** Asked right before each frame goes out; when it may not, the connection is given up. Absent: always. */
  maySend?(): boolean;
}

export interface Client {
  /** Starts connecting, and goes on with growing, jittered delay until close(). */
  open(): void;
  readonly isUp: boolean;
  /**
   * Never rejects. timeoutMs counts from the moment the request has left (on a line: its last character); an answer
   * that has begun by then is waited for. Unit 0 on a line is a broadcast: ok without an answer, after the turnaround.
   * Once hurry() is called on a line the answer is waited for no longer than yieldMs, if that is given. After sendByMs
   * (monotonic) it does not go out any more, if it still waits for its turn or for a connection.
   */
  request(request: Request, timeoutMs: number, yieldMs?: number, sendByMs?: number): Promise<Answer>;
  /** Somebody wants the line now. */
  hurry(): void;
  /**
   * Monotonic ms before which a request like this one stays in the queue, 0 when it may go at once. On a line, after
   * a request that nobody answered, one whose answer would look the same waits until the late answer came or cannot
   * come any more; other units, and other quantities of the same unit, are free meanwhile. Ask first, and let
   * something else have the line.
   */
  heldUntilMs(request: Request): number;
  /** From now on one request is under way at a time, whatever the settings allow. */
  oneAtATime(): void;
  /** Hands over every frame that passes from now on; null: none any more. */
  watch(onFrame: OnFrame | null): void;
  /** Drops the connection and makes a new one: for a link that is up and yet dead. */
  reset(reason: string): void;
  /** Settles everything under way with `closed`; resolves when the socket or port is released. */
  close(): Promise<void>;
}

/** A client whose link may go on to another one. */
export interface HeirClient extends Client {
  /** What was asked and may still be answered; also once it is closed. */
  readonly owed: readonly Owed[];
  /** Before open(): what the link's former owner asked and may still be answered. */
  owe(owed: readonly Owed[]): void;
}

/** A Bus of the Plant is one. */
export interface ClientSettings {
  readonly link: LinkSettings;
  readonly timeoutMs: number;
  readonly inFlight: number;
  readonly paceMs: number;
  readonly afterConnectMs: number;
  readonly closeIdleMs: number;
  readonly silenceMs: number | null;
  readonly turnaroundMs: number;
}

/** openSerial is called once, for a link on a serial port. */
export function createClient(
  settings: ClientSettings,
  listener: LinkListener,
  clock: Clock,
  openSerial?: () => MessagePort,
  random: () => number = Math.random,
): HeirClient {
  return new LinkClient(settings, listener, clock, random, (host) => pair(settings, clock, host, openSerial));
}

/** A client over wires of the caller's making: lines in virtual time, for one. */
export function createClientOn(
  openWire: OpenWire,
  settings: ClientSettings,
  listener: LinkListener,
  clock: Clock,
  random: () => number = Math.random,
): Client {
  return new LinkClient(settings, listener, clock, random, (host) => ({
    transport: transportOf(settings, clock, host),
    openWire,
  }));
}

const RETRY_MIN_MS = 50;
/** So that a device that is back is spoken to within three seconds, a connection attempt that hangs included. */
const RETRY_MAX_MS = 1000;
/** Requests that may wait; whoever sends more does not wait for answers. */
const PENDING_MAX = 1000;
/** So many unanswered requests in a row, over at least this long, and a TCP connection is taken to be half open. */
const DEAF_COUNT = 3;
const DEAF_MS = 2000;
/** Over at least this long when they were to several units: a gateway may be waiting for one that is silent. */
const DEAF_GATEWAY_MS = 5000;

type State = 'closed' | 'waiting' | 'connecting' | 'settling' | 'up' | 'idle';

class LinkClient implements HeirClient, TransportHost {
  frame: OnFrame | null;
  readonly #settings: ClientSettings;
  readonly #listener: LinkListener;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #codec = new PduCodec();
  readonly #transport: Transport;
  readonly #openWire: OpenWire;
  readonly #detectsDeafness: boolean;
  #wire: Wire | null = null;
  #state: State = 'closed';
  #isUp = false;
  #cancel: Cancel | null = null;
  #cancelIdle: Cancel | null = null;
  /** The next connection is the first since the link was somebody else's. */
  #hasPredecessor = true;
  /** Attempts since the last good answer: a device that accepts and hangs up is not connected to in a loop. */
  #attempts = 0;
  #unanswered = 0;
  /** The unit that these requests were to, while it was one and the same. */
  #unansweredUnitId: number | null = null;
  #heardAtMs = 0;
  #usedAtMs = 0;
  #released: Promise<void> = Promise.resolve();

  constructor(
    settings: ClientSettings,
    listener: LinkListener,
    clock: Clock,
    random: () => number,
    makePair: (host: TransportHost) => { transport: Transport; openWire: OpenWire },
  ) {
    this.#settings = settings;
    this.#listener = listener;
    this.#clock = clock;
    this.#random = random;
    this.frame = listener.frame ?? null;
    const { transport, openWire } = makePair(this);
    this.#transport = transport;
    this.#openWire = openWire;
    this.#detectsDeafness = settings.link.kind !== 'rtu' && settings.link.kind !== 'ascii';
  }

  get isUp(): boolean {
    return this.#isUp;
  }

  get owed(): readonly Owed[] {
    return this.#transport.owed;
  }

  owe(owed: readonly Owed[]): void {
    this.#transport.owe(owed);
  }

  open(): void {
    if (this.#state !== 'closed') return;
    this.#hasPredecessor = true;
    this.#connect();
  }

  request(request: Request, timeoutMs: number, yieldMs = timeoutMs, sendByMs = Infinity): Promise<Answer> {
    const problem = problemOf(request) ?? this.#broadcastProblem(request);
    if (problem !== null) return this.#refusal(failure('invalid-request', problem));
    if (!this.isUp) return this.#refusal(failure('closed', 'there is no connection'));
    if (this.#transport.pendingCount >= PENDING_MAX) {
      return this.#refusal(failure('invalid-request', `${PENDING_MAX} requests are waiting already`));
    }
    if (this.#state === 'idle') this.#connect();
    return new Promise((resolve) => {
      const { pdu, slot } = this.#codec.encode(request);
      const owner = new Asked(this, request, slot, resolve);
      const isBroadcast = request.unitId === 0 && this.#isLine;
      const exchange = new Exchange(owner, request.unitId, pdu, timeoutMs, isBroadcast, yieldMs);
      exchange.sendByMs = sendByMs;
      this.#transport.submit(exchange);
    });
  }

  hurry(): void {
    this.#transport.hurry();
  }

  heldUntilMs(request: Request): number {
    if (!this.#transport.isHolding || problemOf(request) !== null) return 0;
    const { pdu, slot } = this.#codec.encode(request);
    this.#codec.release(slot);
    return this.#transport.heldUntilMs(request.unitId, pdu);
  }

  oneAtATime(): void {
    this.#transport.oneAtATime();
  }

  watch(onFrame: OnFrame | null): void {
    this.frame = onFrame;
  }

  reset(reason: string): void {
    if (this.#wire !== null) this.#lost(failure('closed', `reset: ${reason}`));
  }

  close(): Promise<void> {
    const wasUp = this.#isUp;
    this.#isUp = false;
    this.#state = 'closed';
    this.#cancelAll();
    this.#drop();
    const error = failure('closed', 'the client was closed');
    this.#transport.disconnected(error, false);
    if (wasUp) this.#listener.down(error);
    return this.#released;
  }

  // What the transport does to the world.

  write(bytes: Uint8Array, answerBytes: number): void {
    this.#usedAtMs = this.#clock.monotonicMs();
    if (this.#maySend()) this.#wire?.write(bytes, answerBytes);
    // Not at once: the transport is in the middle of sending.
    else queueMicrotask(() => this.#lost(failure('closed', 'this gateway is not the active one')));
  }

  fault(error: ModbusError): void {
    this.#lost(error);
  }

  discarded(reason: DiscardReason, bytes: number, unitId?: number): void {
    this.#listener.discarded?.(reason, bytes, unitId);
  }

  isOneAtATime(): void {
    this.#listener.oneAtATime?.();
  }

  // What becomes of a request.

  finish(asked: Asked, exchange: Exchange, data: Uint8Array | ModbusError, atMs: number): void {
    this.#codec.release(asked.slot);
    const { sentAtMs } = exchange;
    if (!(data instanceof Uint8Array)) {
      asked.resolve({ ok: false, error: data, sentAtMs, receivedAtMs: atMs });
      this.#countFailure(data, asked.request.unitId, atMs);
      return;
    }
    this.#attempts = 0;
    this.#unanswered = 0;
    asked.resolve({ ok: true, data, sentAtMs, receivedAtMs: atMs });
  }

  decode(asked: Asked, bytes: Uint8Array, start: number, end: number): Uint8Array | ModbusError {
    if (start === end) return NOTHING;
    if (byteAt(bytes, start) >= 0x80) {
      const code = byteAt(bytes, start + 1);
      return failure('exception', exceptionText(code), code);
    }
    return this.#codec.decode(asked.request, asked.slot, bytes, start, end);
  }

  get #isLine(): boolean {
    const { kind } = this.#settings.link;
    return kind !== 'tcp' && kind !== 'tls' && kind !== 'udp';
  }

  #broadcastProblem(request: Request): string | null {
    if (request.unitId !== 0 || !this.#isLine) return null;
    const isRead = request.kind === 'read' || request.kind === 'read-write';
    return isRead ? 'unit 0 is everybody, and nobody answers' : null;
  }

  #refusal(error: ModbusError): Promise<Answer> {
    const nowMs = this.#clock.monotonicMs();
    return Promise.resolve({ ok: false, error, sentAtMs: 0, receivedAtMs: nowMs });
  }

  /** Half-open connections say nothing: who has not been heard for so long is dialled again. */
  #countFailure(error: ModbusError, unitId: number, atMs: number): void {
    if (error.kind === 'exception') this.#attempts = 0;
    if (error.kind !== 'timeout') {
      this.#unanswered = 0;
      return;
    }
    this.#unansweredUnitId = this.#unanswered === 0 || this.#unansweredUnitId === unitId ? unitId : null;
    this.#unanswered += 1;
    if (!this.#detectsDeafness || this.#state !== 'up' || this.#unanswered < DEAF_COUNT) return;
    const deafMs = this.#unansweredUnitId === null ? DEAF_GATEWAY_MS : DEAF_MS;
    if (atMs - this.#heardAtMs > deafMs) this.#lost(failure('closed', 'the peer is silent'));
  }

  // The connection.

  #connect(): void {
    this.#state = 'connecting';
    this.#attempts += 1;
    const wire = this.#openWire({
      opened: () => this.#wire === wire && this.#opened(),
      received: (bytes, firstAtMs, lastAtMs) => {
        if (this.#wire !== wire) return;
        this.#heardAtMs = lastAtMs;
        this.#transport.received(bytes, firstAtMs, lastAtMs);
      },
      closed: (error) => {
        if (this.#wire !== wire) return;
        this.#wire = null;
        this.#lost(error, true);
      },
    });
    this.#wire = wire;
  }

  #opened(): void {
    this.#state = 'settling';
    const { afterConnectMs } = this.#settings;
    if (afterConnectMs === 0) this.#ready();
    else this.#cancel = this.#clock.after(afterConnectMs, () => this.#ready());
  }

  #ready(): void {
    this.#cancel = null;
    this.#state = 'up';
    this.#unanswered = 0;
    this.#heardAtMs = this.#clock.monotonicMs();
    this.#usedAtMs = this.#heardAtMs;
    if (this.#settings.closeIdleMs > 0) this.#watchIdle();
    const wasUp = this.#isUp;
    this.#isUp = true;
    this.#transport.connected(this.#hasPredecessor);
    this.#hasPredecessor = false;
    if (!wasUp) this.#listener.up();
  }

  #watchIdle(): void {
    const { closeIdleMs } = this.#settings;
    const leftMs = this.#usedAtMs + closeIdleMs - this.#clock.monotonicMs();
    this.#cancelIdle = this.#clock.after(Math.max(1, leftMs), () => {
      this.#cancelIdle = null;
      if (this.#state !== 'up') return;
      const idleMs = this.#clock.monotonicMs() - this.#usedAtMs;
      if (this.#transport.pendingCount > 0 || idleMs < closeIdleMs) return this.#watchIdle();
      // Still up as far as anybody needs to know: the next request dials again.
      this.#state = 'idle';
      this.#drop();
      this.#transport.disconnected(failure('closed', 'the link was idle'), false);
    });
  }

  /** The connection is gone or was never there; the next attempt follows, each a little later than the last. */
  #lost(error: ModbusError, isByPeer = false): void {
    if (this.#state === 'closed') return;
    this.#state = 'waiting';
    this.#isUp = false;
    this.#cancelAll();
    this.#drop();
    const ceilingMs = Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** Math.min(this.#attempts, 10));
    const delayMs = this.#attempts <= 1 ? RETRY_MIN_MS : ceilingMs * (0.5 + this.#random() / 2);
    this.#cancel = this.#clock.after(delayMs, () => {
      this.#cancel = null;
      void this.#released.then(() => this.#state === 'waiting' && this.#connect());
    });
    this.#transport.disconnected(error.kind === 'framing' ? { ...error, kind: 'closed' } : error, isByPeer);
    this.#listener.down(error);
  }

  #drop(): void {
    const wire = this.#wire;
    this.#wire = null;
    if (wire !== null) this.#released = wire.destroy(!this.#maySend());
  }

  #maySend(): boolean {
    return this.#listener.maySend?.() ?? true;
  }

  #cancelAll(): void {
    this.#cancel?.();
    this.#cancel = null;
    this.#cancelIdle?.();
    this.#cancelIdle = null;
  }
}

const NOTHING = new Uint8Array(0);

/** One request of a client's user, until it is settled. */
class Asked implements ExchangeOwner {
  readonly #client: LinkClient;
  readonly request: Request;
  readonly slot: number;
  readonly resolve: (answer: Answer) => void;

  constructor(client: LinkClient, request: Request, slot: number, resolve: (answer: Answer) => void) {
    this.#client = client;
    this.request = request;
    this.slot = slot;
    this.resolve = resolve;
  }

  answered(exchange: Exchange, bytes: Uint8Array, start: number, end: number, atMs: number): void {
    this.#client.finish(this, exchange, this.#client.decode(this, bytes, start, end), atMs);
  }

  failed(exchange: Exchange, error: ModbusError, atMs: number): void {
    this.#client.finish(this, exchange, error, atMs);
  }
}
