/** Frames as people read them: unit, function, addresses, values, exception, and whether the checksum is right. */
import { crc16 } from './checksum.js';
import { hexOf, readAscii, readRtu, readTcp, type Frame } from './framing.js';
import { exceptionText } from './protocol.js';

export type Framing = 'mbap' | 'rtu' | 'ascii';
export type Direction = 'sent' | 'received';

/** As it was on the wire, or a piece of it; time in ms since 1970, with fractions. */
export interface TracedFrame {
  readonly direction: Direction;
  readonly bytes: Uint8Array;
  readonly timeMs: number;
}

/** What a whole frame says. */
export interface FrameParts {
  readonly unitId: number;
  /** Without the bit that says exception. */
  readonly functionCode: number;
  /** null: none. */
  readonly exceptionCode: number | null;
  /** Addresses and values, in no language; may be empty. */
  readonly data: string;
}

export const FUNCTION_NAMES: Readonly<Record<number, string>> = {
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
const READERS = { mbap: readTcp, rtu: readRtu, ascii: readAscii };
const VALUES_SHOWN = 8;

export function framingOf(linkKind: string): Framing {
  if (linkKind.startsWith('ascii')) return 'ascii';
  return linkKind.startsWith('rtu') ? 'rtu' : 'mbap';
}

/** null: broken. */
export function readFrame(framing: Framing, bytes: Uint8Array): Frame | null {
  return READERS[framing](bytes);
}

/** null: broken. */
export function partsOf(framing: Framing, direction: Direction, bytes: Uint8Array): FrameParts | null {
  const frame = readFrame(framing, bytes);
  if (frame === null) return null;
  const { unitId, pdu } = frame;
  const code = pdu[0] ?? 0;
  const functionCode = code & 0x7f;
  if (code >= 0x80) return { unitId, functionCode, exceptionCode: pdu[1] ?? 0, data: '' };
  const data = direction === 'sent' ? requestText(code, pdu) : answerText(code, pdu);
  return { unitId, functionCode, exceptionCode: null, data };
}

/** What a frame says, in a few words. */
export function frameText(framing: Framing, direction: Direction, bytes: Uint8Array): string {
  const parts = partsOf(framing, direction, bytes);
  if (parts === null) return brokenText(framing, bytes);
  const { unitId, functionCode, exceptionCode, data } = parts;
  const head = `unit ${unitId}  ${FUNCTION_NAMES[functionCode] ?? `function ${functionCode}`}`;
  if (exceptionCode !== null) return `${head}: exception ${exceptionCode} ${exceptionText(exceptionCode)}`;
  return data === '' ? head : `${head}  ${data}`;
}

function brokenText(framing: Framing, bytes: Uint8Array): string {
  if (framing !== 'rtu' || bytes.length < 4) return 'no whole frame';
  const crc = crc16(bytes, 0, bytes.length - 2);
  const hex = [crc & 0xff, crc >> 8].map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
  return `wrong checksum, right would be ${hex}`;
}

function requestText(code: number, pdu: Uint8Array): string {
  if (pdu.length < 5) return '';
  const [address, second] = [wordAt(pdu, 1), wordAt(pdu, 3)];
  if (code >= 1 && code <= 4) return span(address, second);
  if (code === 5) return `${address} = ${second === 0xff00}`;
  if (code === 6) return `${address} = ${second}`;
  if (code === 15) return `${span(address, second)} = ${hexOf(pdu.subarray(6))}`;
  return code === 16 ? `${span(address, second)} = ${words(pdu.subarray(6))}` : '';
}

function answerText(code: number, pdu: Uint8Array): string {
  if (code === 1 || code === 2) return hexOf(pdu.subarray(2));
  if (code === 3 || code === 4 || code === 23) return words(pdu.subarray(2));
  if (pdu.length < 5) return '';
  const [address, second] = [wordAt(pdu, 1), wordAt(pdu, 3)];
  if (code === 5) return `${address} = ${second === 0xff00}`;
  if (code === 6) return `${address} = ${second}`;
  return code === 15 || code === 16 ? span(address, second) : '';
}

function wordAt(bytes: Uint8Array, at: number): number {
  return (bytes[at] ?? 0) * 256 + (bytes[at + 1] ?? 0);
}

function span(address: number, quantity: number): string {
  return quantity === 1 ? String(address) : `${address}-${address + quantity - 1}`;
}

function words(bytes: Uint8Array): string {
  const all = Array.from({ length: bytes.length >> 1 }, (_none, at) => wordAt(bytes, 2 * at));
  const shown = all.slice(0, VALUES_SHOWN).join(' ');
  return all.length > VALUES_SHOWN ? `${shown} ... (${all.length})` : shown;
}

/**
 * Joins what came in pieces: a line hands over bytes as they come, and only their checksum shows a frame's end. It
 * begins with a request: an answer to one from before says nothing.
 */
export class FrameJoiner {
  readonly #framing: Framing;
  #pieces: Uint8Array[] = [];
  #timeMs = 0;
  #hasBegun = false;

  constructor(framing: Framing) {
    this.#framing = framing;
  }

  /** The frames that are whole now, and before a request what was none. */
  push(piece: TracedFrame): TracedFrame[] {
    this.#hasBegun ||= piece.direction === 'sent';
    if (!this.#hasBegun) return [];
    if (this.#framing === 'mbap') return [piece];
    if (piece.direction === 'sent') return [...this.#end(), piece];
    this.#pieces.push(piece.bytes);
    this.#timeMs = piece.timeMs;
    return readFrame(this.#framing, joined(this.#pieces)) === null ? [] : this.#end();
  }

  #end(): TracedFrame[] {
    const bytes = joined(this.#pieces);
    this.#pieces = [];
    return bytes.length === 0 ? [] : [{ direction: 'received', bytes, timeMs: this.#timeMs }];
  }
}

function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}
