/**
 * RTU framing: unit identifier, PDU, CRC. A frame's end is found by the length that its content announces, never by
 * a pause alone; only a frame whose checksum is right exists.
 */
import { crc16 } from './checksum.js';
import { byteAt } from './bytes.js';
import type { Exchange } from './exchange.js';
import { FUNCTION } from './protocol.js';
import type { Framing } from './line.js';
import { isRequest, rtuRequestLength } from './serverframes.js';

const CRC_BYTES = 2;
/** Unit identifier, function code, one byte and CRC: an exception. */
const FRAME_MIN = 5;
/** What a device may announce at most (Modbus over serial line 2.5.1). */
const FRAME_MAX = 256;
/** The rest of a frame decides. */
const UNKNOWN = -1;

export class RtuFraming implements Framing {
  /** Far more than the standard's 1.5 characters: adapters and busy machines pause too. */
  readonly graceMs = 100;
  unitId = 0;
  pdu: Uint8Array = new Uint8Array(0);
  pduStart = 0;
  pduEnd = 0;

  encode(unitId: number, pdu: Uint8Array): Uint8Array {
    const frame = new Uint8Array(1 + pdu.length + CRC_BYTES);
    frame[0] = unitId;
    frame.set(pdu, 1);
    const crc = crc16(frame, 0, 1 + pdu.length);
    frame[1 + pdu.length] = crc & 0xff;
    frame[2 + pdu.length] = crc >>> 8;
    return frame;
  }

  wireBytes(pduBytes: number): number {
    return 1 + pduBytes + CRC_BYTES;
  }

  resembles(bytes: Uint8Array, at: number, end: number, request: Exchange): boolean {
    return (
      end - at >= 2 && bytes[at] === request.unitId && (byteAt(bytes, at + 1) & 0x7f) === request.functionCode
    );
  }

  announces(bytes: Uint8Array, end: number, request: Exchange): boolean {
    if (end < 3 || !this.resembles(bytes, 0, end, request)) return false;
    if (byteAt(bytes, 1) >= 0x80) return true;
    return frameBytes(bytes, 0, end, request) === this.wireBytes(request.answerBytes);
  }

  isWhole(bytes: Uint8Array, at: number, end: number, request: Exchange): boolean {
    const length = frameBytes(bytes, at, end, request);
    return length > 0 && end - at >= length;
  }

  find(bytes: Uint8Array, at: number, end: number, request: Exchange | null): number {
    if (end - at < FRAME_MIN - 1) return 0;
    const length = frameBytes(bytes, at, end, request);
    return this.#take(bytes, at, end, length === UNKNOWN ? end - at : length);
  }

  findRequest(bytes: Uint8Array, at: number, end: number): number {
    const request = bytes.subarray(at, end);
    return isRequest(request) ? this.#take(bytes, at, end, rtuRequestLength(request)) : 0;
  }

  #take(bytes: Uint8Array, at: number, end: number, length: number): number {
    if (length === 0 || length > end - at || length > FRAME_MAX) return 0;
    const crc = crc16(bytes, at, at + length - CRC_BYTES);
    if (bytes[at + length - 2] !== (crc & 0xff) || bytes[at + length - 1] !== crc >>> 8) return 0;
    this.unitId = byteAt(bytes, at);
    this.pdu = bytes;
    this.pduStart = at + 1;
    this.pduEnd = at + length - CRC_BYTES;
    return length;
  }
}

/** Bytes of the answer that begins here, as far as it tells: 0 when more must come first, UNKNOWN when it never says. */
function frameBytes(bytes: Uint8Array, at: number, end: number, request: Exchange | null): number {
  const code = byteAt(bytes, at + 1);
  if (code >= 0x80) return FRAME_MIN;
  switch (code) {
    case FUNCTION.readCoils:
    case FUNCTION.readDiscreteInputs:
    case FUNCTION.readHoldingRegisters:
    case FUNCTION.readInputRegisters:
    case FUNCTION.reportServerId:
    case FUNCTION.readWriteRegisters:
      return end - at < 3 ? 0 : FRAME_MIN + byteAt(bytes, at + 2);
    case FUNCTION.writeCoil:
    case FUNCTION.writeRegister:
    case FUNCTION.writeCoils:
    case FUNCTION.writeRegisters:
      return 8;
    case FUNCTION.maskWriteRegister:
      return 10;
    case FUNCTION.diagnostics:
      return request?.functionCode === code ? 1 + request.answerBytes + CRC_BYTES : 8;
    case FUNCTION.encapsulatedInterface:
      return identificationBytes(bytes, at, end);
    default:
      return UNKNOWN;
  }
}

/** Function 43/14 ends where its last object ends (Modbus 6.21). */
function identificationBytes(bytes: Uint8Array, at: number, end: number): number {
  if (end - at < 3) return 0;
  if (byteAt(bytes, at + 2) !== 14) return UNKNOWN;
  if (end - at < 8) return 0;
  let next = at + 8;
  for (let object = byteAt(bytes, at + 7); object > 0; object -= 1) {
    if (next + 2 > end) return 0;
    next += 2 + byteAt(bytes, next + 1);
  }
  return next + CRC_BYTES - at;
}
