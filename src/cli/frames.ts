/** Frames as people read them: unit, function, addresses, values, exception, and whether the checksum is right. */
import { crc16 } from '../modbus/checksum.js';
import { exceptionText } from '../modbus/protocol.js';
import { readAscii, readRtu } from '../modbus/serverframes.js';

export type Framing = 'mbap' | 'rtu' | 'ascii';

export interface ReadFrame {
  /** MBAP's; 0 on a line. */
  readonly transactionId: number;
  readonly unitId: number;
  readonly pdu: Uint8Array;
}

const MBAP_BYTES = 7;
const NAMES: Readonly<Record<number, string>> = {
  1: 'read coils',
  2: 'read discrete inputs',
  3: 'read holding registers',
  4: 'read input registers',
  5: 'write coil',
  6: 'write register',
  8: 'diagnostics',
  15: 'write coils',
  16: 'write registers',
  17: 'report server id',
  22: 'mask write register',
  23: 'read and write registers',
  43: 'read device identification',
};
const VALUES_SHOWN = 8;

export function framingOf(linkKind: string): Framing {
  if (linkKind.startsWith('ascii')) return 'ascii';
  return linkKind.startsWith('rtu') ? 'rtu' : 'mbap';
}

/** null: broken. */
export function readFrame(framing: Framing, bytes: Uint8Array): ReadFrame | null {
  if (framing !== 'mbap') {
    const frame = framing === 'rtu' ? readRtu(bytes) : readAscii(bytes);
    return frame === null ? null : { transactionId: 0, unitId: frame.unitId, pdu: frame.pdu };
  }
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (buffer.length <= MBAP_BYTES || buffer.readUInt16BE(4) !== buffer.length - 6) return null;
  return {
    transactionId: buffer.readUInt16BE(0),
    unitId: buffer.readUInt8(6),
    pdu: buffer.subarray(MBAP_BYTES),
  };
}

/** What a frame says, in a few words. */
export function frameText(framing: Framing, direction: 'sent' | 'received', bytes: Uint8Array): string {
  const frame = readFrame(framing, bytes);
  if (frame === null) return brokenText(framing, bytes);
  const pdu = Buffer.from(frame.pdu);
  const code = pdu[0] ?? 0;
  const head = `unit ${frame.unitId}  ${NAMES[code & 0x7f] ?? `function ${code & 0x7f}`}`;
  if (code >= 0x80) return `${head}: exception ${pdu[1] ?? 0} ${exceptionText(pdu[1] ?? 0)}`;
  const body = direction === 'sent' ? requestText(code, pdu) : answerText(code, pdu);
  return body === '' ? head : `${head}  ${body}`;
}

function brokenText(framing: Framing, bytes: Uint8Array): string {
  if (framing !== 'rtu' || bytes.length < 4) return 'no whole frame';
  const crc = crc16(bytes, 0, bytes.length - 2);
  const hex = [crc & 0xff, crc >> 8].map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
  return `wrong checksum, right would be ${hex}`;
}

function requestText(code: number, pdu: Buffer): string {
  if (pdu.length < 5) return '';
  const [address, second] = [pdu.readUInt16BE(1), pdu.readUInt16BE(3)];
  if (code >= 1 && code <= 4) return span(address, second);
  if (code === 5) return `${address} = ${second === 0xff00}`;
  if (code === 6) return `${address} = ${second}`;
  if (code === 15) return `${span(address, second)} = ${pdu.subarray(6).toString('hex')}`;
  return code === 16 ? `${span(address, second)} = ${words(pdu.subarray(6))}` : '';
}

function answerText(code: number, pdu: Buffer): string {
  if (code === 1 || code === 2) return pdu.subarray(2).toString('hex');
  if (code === 3 || code === 4 || code === 23) return words(pdu.subarray(2));
  if (pdu.length < 5) return '';
  if (code === 5) return `${pdu.readUInt16BE(1)} = ${pdu.readUInt16BE(3) === 0xff00}`;
  if (code === 6) return `${pdu.readUInt16BE(1)} = ${pdu.readUInt16BE(3)}`;
  return code === 15 || code === 16 ? span(pdu.readUInt16BE(1), pdu.readUInt16BE(3)) : '';
}

function span(address: number, quantity: number): string {
  return quantity === 1 ? String(address) : `${address}-${address + quantity - 1}`;
}

function words(bytes: Buffer): string {
  const all = Array.from({ length: bytes.length >> 1 }, (_, at) => bytes.readUInt16BE(2 * at));
  const shown = all.slice(0, VALUES_SHOWN).join(' ');
  return all.length > VALUES_SHOWN ? `${shown} ... (${all.length})` : shown;
}

export interface Frame {
  readonly direction: 'sent' | 'received';
  readonly bytes: Uint8Array;
  readonly timeMs: number;
}

/** Joins what came in pieces: a line hands over bytes as they come, and only their checksum shows a frame's end. */
export class FrameJoiner {
  readonly #framing: Framing;
  #pieces: Uint8Array[] = [];
  #timeMs = 0;

  constructor(framing: Framing) {
    this.#framing = framing;
  }

  /** The frames that are whole now, and before a request what was none. */
  push(piece: Frame): Frame[] {
    if (this.#framing === 'mbap') return [piece];
    if (piece.direction === 'sent') return [...this.end(), piece];
    this.#pieces.push(piece.bytes);
    this.#timeMs = piece.timeMs;
    return readFrame(this.#framing, Buffer.concat(this.#pieces)) === null ? [] : this.end();
  }

  end(): Frame[] {
    const bytes = Buffer.concat(this.#pieces);
    this.#pieces = [];
    return bytes.length === 0 ? [] : [{ direction: 'received', bytes, timeMs: this.#timeMs }];
  }
}
