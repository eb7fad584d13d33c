/** ASCII framing: a colon, two hexadecimal digits a byte, LRC, carriage return, which some devices leave out, and line feed. */
import { lrc } from './checksum.js';
import { byteAt } from './bytes.js';
import type { Exchange } from './exchange.js';
import type { Framing } from './line.js';
import { isRequest, rtuRequestLength } from './serverframes.js';

/** What RTU has for a checksum. */
const CRC_BYTES = 2;
const COLON = 0x3a;
const CR = 0x0d;
const LF = 0x0a;
const DIGITS = '0123456789ABCDEF';

export class AsciiFraming implements Framing {
  /** Characters of one frame may be far apart (up to a second by the standard; devices keep far below). */
  readonly graceMs = 300;
  unitId = 0;
  readonly pdu = new Uint8Array(256);
  pduStart = 1;
  pduEnd = 1;

  encode(unitId: number, pdu: Uint8Array): Uint8Array {
    const plain = new Uint8Array(2 + pdu.length);
    plain[0] = unitId;
    plain.set(pdu, 1);
    plain[1 + pdu.length] = lrc(plain, 0, 1 + pdu.length);
    const frame = new Uint8Array(this.wireBytes(pdu.length));
    frame[0] = COLON;
    plain.forEach((byte, index) => {
      frame[1 + 2 * index] = DIGITS.charCodeAt(byte >>> 4);
      frame[2 + 2 * index] = DIGITS.charCodeAt(byte & 0xf);
    });
    frame[frame.length - 2] = CR;
    frame[frame.length - 1] = LF;
    return frame;
  }

  wireBytes(pduBytes: number): number {
    return 5 + 2 * (pduBytes + 1);
  }

  resembles(bytes: Uint8Array, at: number, end: number, request: Exchange): boolean {
    return (
      end - at >= 5 &&
      bytes[at] === COLON &&
      hexByte(bytes, at + 1) === request.unitId &&
      (hexByte(bytes, at + 3) & 0x7f) === request.functionCode
    );
  }

  announces(bytes: Uint8Array, end: number, request: Exchange): boolean {
    return this.resembles(bytes, 0, end, request);
  }

  isWhole(bytes: Uint8Array, at: number, end: number): boolean {
    return bytes.subarray(at, end).includes(LF);
  }

  find(bytes: Uint8Array, at: number, end: number): number {
    if (bytes[at] !== COLON) return 0;
    let next = at + 1;
    let count = 0;
    while (next + 1 < end && bytes[next] !== CR && bytes[next] !== LF) {
      const byte = hexByte(bytes, next);
      if (byte < 0 || count === this.pdu.length) return 0;
      this.pdu[count] = byte;
      count += 1;
      next += 2;
    }
    if (bytes[next] === CR) next += 1;
    if (next >= end || bytes[next] !== LF || count < 3) return 0;
    if (lrc(this.pdu, 0, count) !== 0) return 0;
    this.unitId = byteAt(this.pdu, 0);
    this.pduEnd = count - 1;
    return next + 1 - at;
  }

  findRequest(bytes: Uint8Array, at: number, end: number): number {
    const size = this.find(bytes, at, end);
    if (size === 0) return 0;
    const request = this.pdu.subarray(0, this.pduEnd);
    return isRequest(request) && rtuRequestLength(request) - CRC_BYTES === request.length ? size : 0;
  }
}

/** Two digits; -1 when they are none. */
function hexByte(bytes: Uint8Array, at: number): number {
  const high = hexDigit(byteAt(bytes, at));
  const low = hexDigit(byteAt(bytes, at + 1));
  return high < 0 || low < 0 ? -1 : (high << 4) | low;
}

function hexDigit(character: number): number {
  if (character >= 0x30 && character <= 0x39) return character - 0x30;
  const letter = character | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
}
