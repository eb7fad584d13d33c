/**
 * How requests are found in what arrives on the answering side: RTU by length (a line's silence is the business of
 * whoever has a clock), MBAP by one bounded reader a stream.
 */
import type { Frame } from './framing.js';
import { FUNCTION, PDU_MAX, QUANTITY_MAX } from './protocol.js';

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

/** Whether a unit identifier and what follows can be a request that is answered by more, or less, than itself. */
export function isRequest(bytes: Uint8Array): boolean {
  const [, functionCode = 0, , , high = 0, low = 0] = bytes;
  const quantity = high * 256 + low;
  switch (functionCode) {
    case FUNCTION.readCoils:
    case FUNCTION.readDiscreteInputs:
      return quantity >= 1 && quantity <= QUANTITY_MAX.readBits;
    case FUNCTION.readHoldingRegisters:
    case FUNCTION.readInputRegisters:
      return quantity >= 1 && quantity <= QUANTITY_MAX.readRegisters;
    case FUNCTION.writeCoils:
    case FUNCTION.writeRegisters:
      return bytes.length > 6;
    default:
      return false;
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
