/**
 * How requests and answers are framed on the answering side: MBAP on TCP and UDP, RTU by length (a line's silence is
 * the business of whoever has a clock), ASCII. Plain functions over bytes, and one bounded reader a stream.
 */
import { crc16, lrc } from './checksum.js';
import { FUNCTION } from './protocol.js';

/** The longest PDU (4.1) and what each framing makes of it. */
const PDU_MAX = 253;
const RTU_MAX = PDU_MAX + 3;
const ASCII_MAX = 1 + 2 * (PDU_MAX + 2) + 2;

export interface Frame {
  readonly transactionId: number;
  readonly protocolId: number;
  readonly unitId: number;
  readonly pdu: Uint8Array;
}

export function tcpFrame({ transactionId, protocolId, unitId, pdu }: Frame): Uint8Array {
  const frame = new Uint8Array(7 + pdu.length);
  const view = new DataView(frame.buffer);
  view.setUint16(0, transactionId);
  view.setUint16(2, protocolId);
  view.setUint16(4, pdu.length + 1);
  frame[6] = unitId;
  frame.set(pdu, 7);
  return frame;
}

export function rtuFrame(unitId: number, pdu: Uint8Array): Uint8Array {
  const frame = new Uint8Array(pdu.length + 3);
  frame[0] = unitId;
  frame.set(pdu, 1);
  const crc = crc16(frame, 0, pdu.length + 1);
  frame[pdu.length + 1] = crc & 0xff;
  frame[pdu.length + 2] = crc >> 8;
  return frame;
}

export function asciiFrame(unitId: number, pdu: Uint8Array): Uint8Array {
  const bytes = Uint8Array.of(unitId, ...pdu, 0);
  bytes[bytes.length - 1] = lrc(bytes, 0, bytes.length - 1);
  return Buffer.from(`:${Buffer.from(bytes).toString('hex').toUpperCase()}\r\n`, 'latin1');
}

/** The unit identifier and PDU of a whole RTU frame, or null when its length or CRC is wrong. */
export function readRtu(frame: Uint8Array): Frame | null {
  const end = frame.length - 2;
  if (frame.length < 4 || frame.length > RTU_MAX) return null;
  const crc = (frame[end] ?? 0) | ((frame[end + 1] ?? 0) << 8);
  if (crc !== crc16(frame, 0, end)) return null;
  return { transactionId: 0, protocolId: 0, unitId: frame[0] ?? 0, pdu: frame.slice(1, end) };
}

/** The same of an ASCII frame, from its colon to its line feed. */
export function readAscii(frame: Uint8Array): Frame | null {
  const text = Buffer.from(frame).toString('latin1');
  if (!/^:(?:[0-9A-F]{2}){3,}\r\n$/.test(text) || frame.length > ASCII_MAX) return null;
  const bytes = Buffer.from(text.slice(1, -2), 'hex');
  if (lrc(bytes, 0, bytes.length - 1) !== bytes[bytes.length - 1]) return null;
  return {
    transactionId: 0,
    protocolId: 0,
    unitId: bytes[0] ?? 0,
    pdu: Uint8Array.from(bytes.subarray(1, -1)),
  };
}

/** The length of the RTU request that these bytes begin; 0: not known yet; -1: no function whose length is known. */
export function rtuRequestLength(bytes: Uint8Array): number {
  const functionCode = bytes[1];
  switch (functionCode) {
    case undefined:
      return 0;
    case FUNCTION.readCoils:
    case FUNCTION.readDiscreteInputs:
    case FUNCTION.readHoldingRegisters:
    case FUNCTION.readInputRegisters:
    case FUNCTION.writeCoil:
    case FUNCTION.writeRegister:
    case FUNCTION.diagnostics:
      return 8;
    case FUNCTION.reportServerId:
      return 4;
    case FUNCTION.maskWriteRegister:
      return 10;
    case FUNCTION.encapsulatedInterface:
      return 7;
    case FUNCTION.writeCoils:
    case FUNCTION.writeRegisters:
      return bytes.length < 7 ? 0 : 9 + (bytes[6] ?? 0);
    case FUNCTION.readWriteRegisters:
      return bytes.length < 11 ? 0 : 13 + (bytes[10] ?? 0);
    default:
      return -1;
  }
}

/**
 * Cuts a TCP stream into MBAP frames. A header that no frame can have ends the stream: there is no way to find the
 * next one. A protocol identifier other than 0 is left to the caller, who discards that frame.
 */
export class TcpRequestReader {
  #bytes: Buffer = Buffer.alloc(0);
  isBroken = false;

  push(chunk: Uint8Array): Frame[] {
    const frames: Frame[] = [];
    if (this.isBroken) return frames;
    this.#bytes = this.#bytes.length === 0 ? Buffer.from(chunk) : Buffer.concat([this.#bytes, chunk]);
    while (this.#bytes.length >= 7) {
      const length = this.#bytes.readUInt16BE(4);
      if (length < 2 || length > PDU_MAX + 1) {
        this.isBroken = true;
        this.#bytes = Buffer.alloc(0);
        break;
      }
      if (this.#bytes.length < 6 + length) break;
      frames.push({
        transactionId: this.#bytes.readUInt16BE(0),
        protocolId: this.#bytes.readUInt16BE(2),
        unitId: this.#bytes[6] ?? 0,
        pdu: Uint8Array.from(this.#bytes.subarray(7, 6 + length)),
      });
      this.#bytes = this.#bytes.subarray(6 + length);
    }
    return frames;
  }
}
