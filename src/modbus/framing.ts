/** How a PDU is framed and read back: MBAP on TCP and UDP, RTU, ASCII. Plain functions over bytes that browsers run too. */
import { crc16, lrc } from './checksum.js';
import { PDU_MAX } from './protocol.js';

const MBAP_BYTES = 7;
const RTU_MAX = PDU_MAX + 3;
const ASCII_MAX = 1 + 2 * (PDU_MAX + 2) + 2;

export interface Frame {
  readonly transactionId: number;
  readonly protocolId: number;
  readonly unitId: number;
  readonly pdu: Uint8Array;
}

export function tcpFrame({ transactionId, protocolId, unitId, pdu }: Frame): Uint8Array {
  const frame = new Uint8Array(MBAP_BYTES + pdu.length);
  const view = new DataView(frame.buffer);
  view.setUint16(0, transactionId);
  view.setUint16(2, protocolId);
  view.setUint16(4, pdu.length + 1);
  frame[6] = unitId;
  frame.set(pdu, MBAP_BYTES);
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
  return new TextEncoder().encode(`:${hexOf(bytes).toUpperCase()}\r\n`);
}

/** A whole MBAP frame, or null when its length is not what it says. */
export function readTcp(frame: Uint8Array): Frame | null {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  if (frame.length <= MBAP_BYTES || view.getUint16(4) !== frame.length - 6) return null;
  return {
    transactionId: view.getUint16(0),
    protocolId: view.getUint16(2),
    unitId: view.getUint8(6),
    pdu: frame.slice(MBAP_BYTES),
  };
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
  if (frame.length > ASCII_MAX) return null;
  const text = String.fromCharCode(...frame);
  if (!/^:(?:[0-9A-F]{2}){3,}\r\n$/.test(text)) return null;
  const bytes = bytesOf(text.slice(1, -2));
  if (lrc(bytes, 0, bytes.length - 1) !== bytes[bytes.length - 1]) return null;
  return {
    transactionId: 0,
    protocolId: 0,
    unitId: bytes[0] ?? 0,
    pdu: bytes.slice(1, -1),
  };
}

export function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Of digits in pairs. */
export function bytesOf(hex: string): Uint8Array {
  return Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}
