/**
 * What every transport stands on: something that carries bytes, whether a socket or a serial port in another thread,
 * and something that turns exchanges into bytes and back. Any wire goes with any transport.
 */
import type { DiscardReason, Exchange, ModbusError } from './exchange.js';
import type { Owed } from './latecomers.js';

/** One connection, from the attempt to open it to its end. A new one is made for every attempt. */
export interface Wire {
  /** answerBytes: how many bytes are awaited in return (0: not known), so that fewer need not be told at once. */
  write(bytes: Uint8Array, answerBytes: number): void;
  /**
   * Ends it; nothing is told any more. Resolves when the socket or port is released. Abruptly: what is on its way to
   * the peer is taken back as far as it can be.
   */
  destroy(isAbrupt?: boolean): Promise<void>;
}

export interface WireListener {
  opened(): void;
  /** The bytes are valid only during the call. When the first and the last of them came, in monotonic ms. */
  received(bytes: Uint8Array, firstAtMs: number, lastAtMs: number): void;
  /** Once, unless destroy() came first. */
  closed(error: ModbusError): void;
}

/** Makes one connection and begins to open it. */
export type OpenWire = (listener: WireListener) => Wire;

/** Exchanges over a wire: framing, matching, timing. Lives as long as its client, over many connections. */
export interface Transport {
  submit(exchange: Exchange): void;
  /**
   * The wire is open; exchanges may go from now on. hasPredecessor: others may have used it a moment ago, an earlier
   * life of this gateway among them, and what they asked may still be answered.
   */
  connected(hasPredecessor: boolean): void;
  received(bytes: Uint8Array, firstAtMs: number, lastAtMs: number): void;
  /** The wire is gone, by the peer's doing or by our own: everything under way and waiting fails with this. */
  disconnected(error: ModbusError, isByPeer: boolean): void;
  /** Somebody wants the line: what is waited for beyond its usual time is given up. */
  hurry(): void;
  /** From now on one exchange is under way at a time. */
  oneAtATime(): void;
  /** What may still be answered, and what may be of what others asked before. */
  readonly owed: readonly Owed[];
  owe(owed: readonly Owed[]): void;
  /** Exchanges under way or waiting. */
  readonly pendingCount: number;
  /** Whether there is anything at all that is held back. */
  readonly isHolding: boolean;
  /** Before this monotonic time an exchange like this one would be held back; see Client.heldUntilMs. */
  heldUntilMs(unitId: number, pdu: Uint8Array): number;
}

/** What a transport does to the world. */
export interface TransportHost {
  write(bytes: Uint8Array, answerBytes: number): void;
  /** The byte stream cannot be trusted any more: drop the connection and make a new one. */
  fault(error: ModbusError): void;
  /** unitId: whose it says it is; absent where that is not known. */
  discarded(reason: DiscardReason, bytes: number, unitId?: number): void;
  /** The peer does not stand more than one request under way. */
  isOneAtATime(): void;
  /** null: nobody listens. */
  readonly frame: ((direction: 'sent' | 'received', bytes: Uint8Array, atMs: number) => void) | null;
}
