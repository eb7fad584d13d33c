/**
 * One request under way and what its answer must look like. A transport carries exchanges and settles each exactly
 * once; what the answer means is its owner's business.
 */
import { byteAt, wordAt } from './bytes.js';
import { FUNCTION } from './protocol.js';

/** What went wrong with one request; see architecture: transient, refused, silent and lost are decided by the poller. */
export interface ModbusError {
  readonly kind:
    'timeout' | 'exception' | 'crc' | 'framing' | 'mismatch' | 'closed' | 'refused' | 'invalid-request';
  /** Exception code when kind is exception, else 0. */
  readonly exception: number;
  readonly text: string;
}

/** Bytes that were no answer to anything. */
export type DiscardReason = 'late' | 'foreign' | 'crc' | 'noise' | 'transaction' | 'protocol';

export function failure(kind: ModbusError['kind'], text: string, exception = 0): ModbusError {
  return { kind, text, exception };
}

export function noAnswer(exchange: Exchange): ModbusError {
  return failure('timeout', `no answer in ${Math.round(exchange.timeoutMs)} ms`);
}

/** It waited for its turn, or for a connection, beyond the time that it had. */
export function notSent(): ModbusError {
  return failure('closed', 'it could not be sent in time');
}

/** Who asked. Exactly one of the two is called, once, for each exchange. */
export interface ExchangeOwner {
  /** The answer's PDU from start to end, checked for function, length and echo; valid only during the call. */
  answered(exchange: Exchange, bytes: Uint8Array, start: number, end: number, atMs: number): void;
  failed(exchange: Exchange, error: ModbusError, atMs: number): void;
}

export type Verdict = 'answer' | 'exception' | 'mismatch';

export class Exchange {
  readonly owner: ExchangeOwner;
  readonly unitId: number;
  /** Function code and data. */
  readonly pdu: Uint8Array;
  readonly timeoutMs: number;
  /** When somebody else wants the line it is waited for no longer than this. */
  readonly yieldMs: number;
  /** Nobody answers it. */
  readonly isBroadcast: boolean;
  /** How long the answer's PDU is; 0: only its content tells. */
  readonly answerBytes: number;
  /** How many of the request's first bytes the answer repeats. */
  readonly echoBytes: number;
  /** Later than this it does not go on the wire any more. */
  sendByMs = Infinity;
  /** When it was handed to the transport, when it went on the wire, and until when it may be answered. Monotonic ms. */
  submittedAtMs = 0;
  sentAtMs = 0;
  deadlineMs = 0;

  constructor(
    owner: ExchangeOwner,
    unitId: number,
    pdu: Uint8Array,
    timeoutMs: number,
    isBroadcast: boolean,
    yieldMs = timeoutMs,
  ) {
    this.owner = owner;
    this.unitId = unitId;
    this.pdu = pdu;
    this.timeoutMs = timeoutMs;
    this.yieldMs = yieldMs;
    this.isBroadcast = isBroadcast;
    this.answerBytes = answerBytesOf(pdu);
    this.echoBytes = echoBytesOf(pdu);
  }

  get functionCode(): number {
    return byteAt(this.pdu, 0);
  }

  /** Whether a PDU answers this request, refuses it, or is about something else. */
  check(bytes: Uint8Array, start: number, end: number): Verdict {
    const code = byteAt(bytes, start);
    const length = end - start;
    if (code === (this.functionCode | 0x80)) return length === 2 ? 'exception' : 'mismatch';
    if (code !== this.functionCode || length < 1) return 'mismatch';
    if (this.answerBytes !== 0 && length !== this.answerBytes) return 'mismatch';
    if (hasByteCount(code) && byteAt(bytes, start + 1) !== length - 2) return 'mismatch';
    for (let at = 1; at < this.echoBytes; at += 1) {
      if (bytes[start + at] !== this.pdu[at]) return 'mismatch';
    }
    return 'answer';
  }

  /** Whether an answer to one could be taken for an answer to the other where no transaction identifier tells. */
  isLike(other: Exchange): boolean {
    if (this.unitId !== other.unitId || this.functionCode !== other.functionCode) return false;
    if (this.answerBytes !== other.answerBytes || this.echoBytes !== other.echoBytes) return false;
    for (let at = 1; at < this.echoBytes; at += 1) if (this.pdu[at] !== other.pdu[at]) return false;
    return true;
  }
}

/** Length of the PDU that answers this one, 0 when only the answer itself tells (Modbus 6). */
function answerBytesOf(pdu: Uint8Array): number {
  switch (pdu[0]) {
    case FUNCTION.readCoils:
    case FUNCTION.readDiscreteInputs:
      return 2 + ((wordAt(pdu, 3) + 7) >>> 3);
    case FUNCTION.readHoldingRegisters:
    case FUNCTION.readInputRegisters:
    case FUNCTION.readWriteRegisters:
      return 2 + 2 * wordAt(pdu, 3);
    case FUNCTION.writeCoil:
    case FUNCTION.writeRegister:
    case FUNCTION.writeCoils:
    case FUNCTION.writeRegisters:
      return 5;
    case FUNCTION.maskWriteRegister:
      return 7;
    case FUNCTION.diagnostics:
      return pdu.length;
    default:
      return 0;
  }
}

function echoBytesOf(pdu: Uint8Array): number {
  switch (pdu[0]) {
    case FUNCTION.writeCoil:
    case FUNCTION.writeRegister:
    case FUNCTION.writeCoils:
    case FUNCTION.writeRegisters:
      return 5;
    case FUNCTION.maskWriteRegister:
      return 7;
    case FUNCTION.diagnostics:
      // Sub-function 0 returns the data too; the others only the sub-function.
      return wordAt(pdu, 1) === 0 ? pdu.length : 3;
    case FUNCTION.encapsulatedInterface:
      return 2;
    default:
      return 1;
  }
}

function hasByteCount(functionCode: number): boolean {
  return (
    (functionCode >= FUNCTION.readCoils && functionCode <= FUNCTION.readInputRegisters) ||
    functionCode === FUNCTION.reportServerId ||
    functionCode === FUNCTION.readWriteRegisters
  );
}
