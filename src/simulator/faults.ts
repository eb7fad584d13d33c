/**
 * What a fault makes of an answer: pieces with pauses before them, and how the connection fares afterwards. Where a
 * fault sends what must be rejected, its registers are spoiled, so that a master that takes it shows a wrong value.
 */
import { asciiFrame, rtuFrame, tcpFrame, type Frame } from '../modbus/framing.js';
import type { Random } from './random.js';
import { ANSWER_FAULTS, type AnswerFault, type FaultSpec } from './spec.js';

export type FramingName = 'tcp' | 'rtu' | 'ascii';

export interface Delivery {
  /** Before the first piece, beyond the unit's own turnaround. */
  delayMs: number;
  pieces: { pauseMs: number; bytes: Uint8Array }[];
  end: 'none' | 'fin' | 'rst';
}

/** How late an answer is when nothing else is said: beyond the usual timeouts of a second. */
const LATE_MS = 1500;
const SLOW_MS = 100;
const SPLIT_MS = 5;

/** The fault that strikes this answer, drawn once for each that is set; the first that hits. */
export function strike(faults: readonly FaultSpec[], random: Random): FaultSpec | null {
  for (const fault of faults) {
    if (!ANSWER_FAULTS.some((name) => name === fault.name)) continue;
    if (random.next() < (fault.probability ?? 1)) return fault;
  }
  return null;
}

/** Faults under which the request is not carried out. */
export function preventsExecution(name: AnswerFault): boolean {
  return name === 'dead' || name === 'busy' || name === 'exception';
}

export function encode(framing: FramingName, frame: Frame): Uint8Array {
  if (framing === 'tcp') return tcpFrame(frame);
  return framing === 'rtu' ? rtuFrame(frame.unitId, frame.pdu) : asciiFrame(frame.unitId, frame.pdu);
}

export function plainDelivery(bytes: Uint8Array): Delivery {
  return { delayMs: 0, pieces: [{ pauseMs: 0, bytes }], end: 'none' };
}

/** The answer as the fault sends it. */
export function deliver(fault: FaultSpec, framing: FramingName, frame: Frame, random: Random): Delivery {
  const bytes = encode(framing, frame);
  const one = (wrong: Frame): Delivery => plainDelivery(encode(framing, wrong));
  const spoiled = (change: Partial<Frame>): Delivery => one({ ...frame, pdu: spoil(frame.pdu), ...change });
  const cut = bytes.subarray(0, 1 + random.below(bytes.length - 1));
  switch (fault.name) {
    case 'slow':
      return { ...plainDelivery(bytes), delayMs: fault.ms ?? SLOW_MS };
    case 'late':
      return { ...plainDelivery(bytes), delayMs: fault.ms ?? LATE_MS };
    case 'silent':
    case 'dead':
      return { delayMs: 0, pieces: [], end: 'none' };
    case 'bad-crc':
      return plainDelivery(damaged(framing, frame));
    case 'truncated':
      return plainDelivery(cut);
    case 'over-long':
      return plainDelivery(Buffer.concat([bytes, noise(random, 1 + random.below(8))]));
    case 'garbage-prefix':
      return plainDelivery(Buffer.concat([noise(random, 1 + random.below(8)), bytes]));
    case 'split':
      return { delayMs: 0, pieces: split(bytes, fault.ms ?? SPLIT_MS, random), end: 'none' };
    case 'duplicate':
      return { ...plainDelivery(bytes), pieces: [0, fault.ms ?? 0].map((pauseMs) => ({ pauseMs, bytes })) };
    case 'wrong-unit':
      return spoiled({ unitId: (frame.unitId % 247) + 1 });
    case 'wrong-function':
      return one({ ...frame, pdu: withFunction(spoil(frame.pdu)) });
    case 'wrong-tid':
      if (framing !== 'tcp') return plainDelivery(bytes);
      return spoiled({ transactionId: (frame.transactionId + 1 + random.below(65534)) & 0xffff });
    case 'wrong-protocol-id':
      if (framing !== 'tcp') return plainDelivery(bytes);
      return spoiled({ protocolId: 1 + random.below(65535) });
    case 'wrong-count':
      return one({ ...frame, pdu: withCount(frame.pdu, random) });
    case 'cut':
      return { ...plainDelivery(cut), end: 'fin' };
    case 'close':
      return { ...plainDelivery(bytes), end: 'fin' };
    case 'rst':
      return { delayMs: 0, pieces: [], end: 'rst' };
    default:
      return plainDelivery(bytes);
  }
}

/** Registers and bits inverted; an answer without any stays as it is. */
function spoil(pdu: Uint8Array): Uint8Array {
  const spoiled = Uint8Array.from(pdu);
  for (let at = 2; at < spoiled.length; at++) spoiled[at] = (spoiled[at] ?? 0) ^ 0xa5;
  return spoiled;
}

function withFunction(pdu: Uint8Array): Uint8Array {
  const changed = Uint8Array.from(pdu);
  changed[0] = pdu[0] === 3 ? 4 : 3;
  return changed;
}

/** Another number of registers than asked for, in a frame that is right in itself; writes tell another quantity. */
function withCount(pdu: Uint8Array, random: Random): Uint8Array {
  const byteCount = pdu[1] ?? 0;
  if ((pdu[0] ?? 0) > 4 || byteCount !== pdu.length - 2) {
    const changed = spoil(pdu);
    return changed.length === 2 ? Uint8Array.of(changed[0] ?? 0, changed[1] ?? 0, 0) : changed;
  }
  const wrong = byteCount > 2 && random.below(2) === 0 ? byteCount - 2 : Math.min(250, byteCount + 2);
  const changed = new Uint8Array(2 + wrong);
  changed.set(spoil(pdu).subarray(0, 2 + wrong));
  changed[1] = wrong;
  return changed;
}

/** One byte changed after the checksum was made; TCP has none, so there a byte of the header changes. */
function damaged(framing: FramingName, frame: Frame): Uint8Array {
  const bytes = Uint8Array.from(encode(framing, frame));
  if (framing === 'tcp') bytes[2] = 0xff;
  else if (framing === 'rtu') bytes[bytes.length - 3] = (bytes[bytes.length - 3] ?? 0) ^ 0x55;
  else bytes[bytes.length - 5] = (bytes[bytes.length - 5] ?? 0) === 0x30 ? 0x31 : 0x30;
  return bytes;
}

function noise(random: Random, length: number): Uint8Array {
  return Uint8Array.from({ length }, () => random.below(256));
}

function split(bytes: Uint8Array, pauseMs: number, random: Random): Delivery['pieces'] {
  const pieces: Delivery['pieces'] = [];
  for (let at = 0; at < bytes.length;) {
    const end = Math.min(bytes.length, at + 1 + random.below(Math.max(1, Math.ceil(bytes.length / 3))));
    pieces.push({ pauseMs: at === 0 ? 0 : pauseMs, bytes: bytes.subarray(at, end) });
    at = end;
  }
  return pieces;
}
