/**
 * A capture file that Wireshark reads as Modbus/TCP without being told (pcap 2.4, raw IPv4). Frames of a serial line
 * are given the header of Modbus/TCP instead of their checksum; broken ones have no place in it.
 */
import { type Framing, readFrame } from './frames.js';

const MAGIC = 0xa1b2c3d4;
const LINKTYPE_RAW = 101;
const SNAPLEN = 65_535;
const PORT = 502;
const CLIENT_PORT = 50_000;
const CLIENT = [10, 0, 0, 1];
const SERVER = [10, 0, 0, 2];
const IP_BYTES = 20;
const TCP_BYTES = 20;
const PROTOCOL_TCP = 6;
const PSH_ACK = 0x18;

export class PcapWriter {
  readonly #write: (bytes: Buffer) => void;
  readonly #framing: Framing;
  /** Bytes that either side has sent. */
  readonly #sequence = { sent: 1, received: 1 };
  /** An answer on a line belongs to the last request. */
  #transactionId = 0;

  constructor(framing: Framing, write: (bytes: Buffer) => void) {
    this.#framing = framing;
    this.#write = write;
    const header = Buffer.alloc(24);
    header.writeUInt32LE(MAGIC, 0);
    header.writeUInt16LE(2, 4);
    header.writeUInt16LE(4, 6);
    header.writeUInt32LE(SNAPLEN, 16);
    header.writeUInt32LE(LINKTYPE_RAW, 20);
    write(header);
  }

  /** False: the frame is broken and was left out. */
  add(direction: 'sent' | 'received', bytes: Uint8Array, timeMs: number): boolean {
    const frame = readFrame(this.#framing, bytes);
    if (frame === null) return false;
    if (this.#framing !== 'mbap' && direction === 'sent')
      this.#transactionId = (this.#transactionId + 1) & 0xffff;
    const id = this.#framing === 'mbap' ? frame.transactionId : this.#transactionId;
    const packet = this.#packet(direction, adu(id, frame.unitId, frame.pdu));
    const header = Buffer.alloc(16);
    header.writeUInt32LE(Math.floor(timeMs / 1000), 0);
    header.writeUInt32LE(Math.floor((timeMs % 1000) * 1000), 4);
    header.writeUInt32LE(packet.length, 8);
    header.writeUInt32LE(packet.length, 12);
    this.#write(Buffer.concat([header, packet]));
    return true;
  }

  #packet(direction: 'sent' | 'received', body: Buffer): Buffer {
    const isRequest = direction === 'sent';
    const packet = Buffer.alloc(IP_BYTES + TCP_BYTES + body.length);
    packet.writeUInt8(0x45, 0);
    packet.writeUInt16BE(packet.length, 2);
    packet.writeUInt8(64, 8);
    packet.writeUInt8(PROTOCOL_TCP, 9);
    packet.set(isRequest ? CLIENT : SERVER, 12);
    packet.set(isRequest ? SERVER : CLIENT, 16);
    packet.writeUInt16BE(checksum(packet.subarray(0, IP_BYTES)), 10);
    packet.writeUInt16BE(isRequest ? CLIENT_PORT : PORT, 20);
    packet.writeUInt16BE(isRequest ? PORT : CLIENT_PORT, 22);
    packet.writeUInt32BE(this.#sequence[direction], 24);
    packet.writeUInt32BE(this.#sequence[isRequest ? 'received' : 'sent'], 28);
    packet.writeUInt8((TCP_BYTES / 4) << 4, 32);
    packet.writeUInt8(PSH_ACK, 33);
    packet.writeUInt16BE(8192, 34);
    packet.set(body, IP_BYTES + TCP_BYTES);
    packet.writeUInt16BE(tcpChecksum(packet), 36);
    this.#sequence[direction] = (this.#sequence[direction] + body.length) >>> 0;
    return packet;
  }
}

function adu(transactionId: number, unitId: number, pdu: Uint8Array): Buffer {
  const header = Buffer.alloc(7);
  header.writeUInt16BE(transactionId, 0);
  header.writeUInt16BE(pdu.length + 1, 4);
  header.writeUInt8(unitId, 6);
  return Buffer.concat([header, pdu]);
}

/** Over a pseudo header of addresses, protocol and length (RFC 793, 3.1). */
function tcpChecksum(packet: Buffer): number {
  const pseudo = Buffer.alloc(12);
  packet.copy(pseudo, 0, 12, 20);
  pseudo.writeUInt8(PROTOCOL_TCP, 9);
  pseudo.writeUInt16BE(packet.length - IP_BYTES, 10);
  return checksum(Buffer.concat([pseudo, packet.subarray(IP_BYTES)]));
}

/** The ones' complement of the ones' complement sum of 16-bit words (RFC 1071). */
function checksum(bytes: Buffer): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += (bytes[at] ?? 0) * 256 + (bytes[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
