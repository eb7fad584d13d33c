/**
 * A capture file that Wireshark reads as Modbus/TCP without being told (pcap 2.4, raw IPv4). Frames of a serial line
 * are given the header of Modbus/TCP instead of their checksum; broken ones are kept as they are, as datagrams to
 * port 9 (discard, RFC 863).
 */
import { type Framing, readFrame, type TracedFrame } from './frames.js';
import { tcpFrame } from './framing.js';

const MAGIC = 0xa1b2c3d4;
const LINKTYPE_RAW = 101;
const SNAPLEN = 65_535;
const FILE_BYTES = 24;
const RECORD_BYTES = 16;
const MODBUS_PORT = 502;
const DISCARD_PORT = 9;
const CLIENT_PORT = 50_000;
const CLIENT = [10, 0, 0, 1];
const SERVER = [10, 0, 0, 2];
const IP_BYTES = 20;
const TCP = { protocol: 6, bytes: 20, checksumAt: 16 };
const UDP = { protocol: 17, bytes: 8, checksumAt: 6 };
const PSH_ACK = 0x18;
const WINDOW = 8192;

export class PcapWriter {
  readonly #write: (bytes: Uint8Array<ArrayBuffer>) => void;
  readonly #framing: Framing;
  /** Bytes that either side has sent. */
  readonly #sequence = { sent: 1, received: 1 };
  /** An answer on a line belongs to the last request. */
  #transactionId = 0;

  constructor(framing: Framing, write: (bytes: Uint8Array<ArrayBuffer>) => void) {
    this.#framing = framing;
    this.#write = write;
    const header = new DataView(new ArrayBuffer(FILE_BYTES));
    header.setUint32(0, MAGIC, true);
    header.setUint16(4, 2, true);
    header.setUint16(6, 4, true);
    header.setUint32(16, SNAPLEN, true);
    header.setUint32(20, LINKTYPE_RAW, true);
    write(new Uint8Array(header.buffer));
  }

  add({ direction, bytes, timeMs }: TracedFrame): void {
    const frame = readFrame(this.#framing, bytes);
    if (this.#framing !== 'mbap' && direction === 'sent')
      this.#transactionId = (this.#transactionId + 1) & 0xffff;
    const transactionId = this.#framing === 'mbap' ? (frame?.transactionId ?? 0) : this.#transactionId;
    const packet =
      frame === null
        ? datagram(direction, bytes)
        : this.#segment(direction, tcpFrame({ ...frame, transactionId }));
    const record = new DataView(new ArrayBuffer(RECORD_BYTES));
    record.setUint32(0, Math.floor(timeMs / 1000), true);
    record.setUint32(4, Math.floor((timeMs % 1000) * 1000), true);
    record.setUint32(8, packet.length, true);
    record.setUint32(12, packet.length, true);
    this.#write(new Uint8Array(record.buffer));
    this.#write(packet);
  }

  #segment(direction: TracedFrame['direction'], body: Uint8Array): Uint8Array<ArrayBuffer> {
    const { packet, view } = packetOf(direction, TCP, MODBUS_PORT, body);
    view.setUint32(4, this.#sequence[direction]);
    view.setUint32(8, this.#sequence[direction === 'sent' ? 'received' : 'sent']);
    view.setUint8(12, (TCP.bytes / 4) << 4);
    view.setUint8(13, PSH_ACK);
    view.setUint16(14, WINDOW);
    seal(packet, view, TCP);
    this.#sequence[direction] = (this.#sequence[direction] + body.length) >>> 0;
    return packet;
  }
}

function datagram(direction: TracedFrame['direction'], body: Uint8Array): Uint8Array<ArrayBuffer> {
  const { packet, view } = packetOf(direction, UDP, DISCARD_PORT, body);
  view.setUint16(4, UDP.bytes + body.length);
  seal(packet, view, UDP);
  return packet;
}

/** An IPv4 packet with addresses, ports and body; the view is of what follows the IP header. */
function packetOf(
  direction: TracedFrame['direction'],
  { protocol, bytes }: { protocol: number; bytes: number },
  port: number,
  body: Uint8Array,
): { packet: Uint8Array<ArrayBuffer>; view: DataView } {
  const isRequest = direction === 'sent';
  const packet = new Uint8Array(IP_BYTES + bytes + body.length);
  const ip = new DataView(packet.buffer);
  ip.setUint8(0, 0x45);
  ip.setUint16(2, packet.length);
  ip.setUint8(8, 64);
  ip.setUint8(9, protocol);
  packet.set(isRequest ? CLIENT : SERVER, 12);
  packet.set(isRequest ? SERVER : CLIENT, 16);
  ip.setUint16(10, checksum(packet.subarray(0, IP_BYTES)));
  packet.set(body, IP_BYTES + bytes);
  const view = new DataView(packet.buffer, IP_BYTES);
  view.setUint16(0, isRequest ? CLIENT_PORT : port);
  view.setUint16(2, isRequest ? port : CLIENT_PORT);
  return { packet, view };
}

/** The checksum goes over a pseudo header of addresses, protocol and length too (RFC 9293, 3.1; RFC 768). */
function seal(packet: Uint8Array, view: DataView, { protocol, checksumAt }: typeof TCP): void {
  const length = packet.length - IP_BYTES;
  const pseudo = new Uint8Array(12 + length);
  pseudo.set(packet.subarray(12, 20));
  pseudo.set([protocol, length >> 8, length & 0xff], 9);
  pseudo.set(packet.subarray(IP_BYTES), 12);
  view.setUint16(checksumAt, checksum(pseudo));
}

/** The ones' complement of the ones' complement sum of 16-bit words (RFC 1071). */
function checksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += (bytes[at] ?? 0) * 256 + (bytes[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
