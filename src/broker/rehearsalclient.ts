/**
 * A client that plays a part in a rehearsal: it sends what it is given, acknowledges what it gets and counts it. It is
 * as small as that needs, so that the time is the broker's, and shares no code with it, which would get to know calls
 * that never come in earnest.
 */
import { connect, type Socket } from 'node:net';

const PUBLISH = 3;
const PUBREC = 5;
const PUBREL = 6;
/** Bytes of an acknowledgement, and how many fit what is sent at once. */
const ANSWER_BYTES = 4;
const ANSWERS_MAX = 4096;

/** Where the clients go, and what they use one after the other. */
export class House {
  readonly port: number;
  /** What is read. */
  readonly buffer = Buffer.allocUnsafeSlow(65_536);
  readonly answers = Buffer.allocUnsafeSlow(ANSWERS_MAX);

  constructor(port: number) {
    this.port = port;
  }
}

export class RehearsalClient {
  readonly #socket: Socket;
  readonly #answers: Buffer;
  /** Of a packet that has not come whole. */
  #rest: Buffer | null = null;
  /** Packets that came and were not waited for yet; below 0: so many are waited for. */
  #count = 0;
  #hasClosed = false;
  #waiting: { resolve: () => void; reject: (error: Error) => void } | null = null;

  constructor({ port, buffer, answers }: House) {
    this.#answers = answers;
    this.#socket = connect({
      host: '127.0.0.1',
      port,
      noDelay: true,
      onread: {
        buffer,
        callback: (count) => {
          this.#read(buffer, count);
          return true;
        },
      },
    });
    this.#socket.on('error', () => {}).on('close', () => this.#closed());
  }

  send(bytes: Uint8Array): void {
    this.#socket.write(bytes);
  }

  /** So many packets came that end something: all but PUBREC and PUBREL. Rejects when the connection ends before. */
  async got(count: number): Promise<void> {
    this.#count -= count;
    if (this.#count >= 0) return;
    await new Promise<void>((resolve, reject) => {
      this.#waiting = { resolve, reject };
      if (this.#hasClosed) this.#closed();
    });
  }

  end(): void {
    this.#socket.destroy();
  }

  #closed(): void {
    this.#hasClosed = true;
    this.#waiting?.reject(new Error('the connection has ended'));
    this.#waiting = null;
  }

  #read(fresh: Buffer, count: number): void {
    const bytes = this.#rest === null ? fresh : Buffer.concat([this.#rest, fresh.subarray(0, count)]);
    const end = this.#rest === null ? count : bytes.length;
    let start = 0;
    while (start < end) {
      const at = this.#packets(bytes, start, end);
      if (at === start) break;
      start = at;
    }
    this.#rest = start < end ? Buffer.from(bytes.subarray(start, end)) : null;
    if (this.#count < 0) return;
    this.#waiting?.resolve();
    this.#waiting = null;
  }

  /** Takes packets as long as their answers have room; answers where it stopped. All are shorter than 16 KiB. */
  #packets(bytes: Buffer, start: number, end: number): number {
    const answers = this.#answers;
    let at = start;
    let to = 0;
    while (at + 1 < end && to < ANSWERS_MAX) {
      const first = bytes[at] ?? 0;
      let body = at + 2;
      let length = bytes[at + 1] ?? 0;
      if (length > 127) length = (length & 127) | ((bytes[body++] ?? 0) << 7);
      if (body + length > end) break;
      at = body + length;
      const type = first >> 4;
      const qos = (first >> 1) & 3;
      let answer = 0;
      if (type === PUBREC) answer = 0x62;
      else if (type === PUBREL) answer = 0x70;
      else {
        this.#count++;
        if (type !== PUBLISH || qos === 0) continue;
        answer = qos === 1 ? 0x40 : 0x50;
        body += 2 + (((bytes[body] ?? 0) << 8) | (bytes[body + 1] ?? 0));
      }
      answers[to] = answer;
      answers[to + 1] = 2;
      answers[to + 2] = bytes[body] ?? 0;
      answers[to + 3] = bytes[body + 1] ?? 0;
      to += ANSWER_BYTES;
    }
    if (to > 0) this.#socket.write(Buffer.from(answers.subarray(0, to)));
    return at;
  }
}

// ---------------------------------------------------------------- what it sends

export type Version = 4 | 5;

export const PINGREQ = Uint8Array.of(0xc0, 0);
export const DISCONNECT = Uint8Array.of(0xe0, 0);

function packet(first: number, ...parts: readonly (readonly number[] | Uint8Array)[]): Buffer {
  const body = Buffer.concat(parts.map((part) => Uint8Array.from(part)));
  const { length } = body;
  const header = length < 128 ? [first, length] : [first, (length & 127) | 128, length >> 7];
  return Buffer.concat([Uint8Array.from(header), body]);
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([Uint8Array.of(bytes.length >> 8, bytes.length & 255), bytes]);
}

/** The session of one that `returns` is kept while it is away. */
export function connectPacket(version: Version, clientId: string, returns = false): Buffer {
  const properties = version === 4 ? [] : returns ? [5, 0x11, 0, 0, 1, 0] : [0];
  return packet(0x10, text('MQTT'), [version, returns ? 0 : 2, 0, 60], properties, text(clientId));
}

export function subscribePacket(version: Version, filter: string, qos: number): Buffer {
  return packet(0x82, [0, 1], version === 5 ? [0] : [], text(filter), [qos]);
}

export function unsubscribePacket(version: Version, filter: string): Buffer {
  return packet(0xa2, [0, 2], version === 5 ? [0] : [], text(filter));
}

export interface Burst {
  readonly version: Version;
  readonly count: number;
  /** The last two figures of a topic are its place in the burst, counted up to `topics`. */
  readonly topic: string;
  readonly topics?: number;
  readonly payloadBytes: number;
  readonly qos?: 0 | 1 | 2;
  readonly retain?: boolean;
}

/** PUBLISH packets one behind the other, as a client in a hurry sends them. */
export function burstOf({
  version,
  count,
  topic,
  topics = 1,
  payloadBytes,
  qos = 0,
  retain = false,
}: Burst): Buffer {
  const first = 0x30 | (qos << 1) | (retain ? 1 : 0);
  const head = packet(first, text(`${topic}00`), qos > 0 ? [0, 1] : [], version === 5 ? [0] : [], Buffer.alloc(payloadBytes, 0x2e)); // prettier-ignore
  const bytes = Buffer.alloc(head.length * count, head);
  const topicEnd = head.length - payloadBytes - (version === 5 ? 1 : 0) - (qos > 0 ? 2 : 0);
  for (let index = 0, at = topicEnd; index < count; index++, at += head.length) {
    const place = index % topics;
    bytes[at - 2] = 0x30 + Math.floor(place / 10);
    bytes[at - 1] = 0x30 + (place % 10);
    if (qos > 0) bytes[at + 1] = index + 1;
  }
  return bytes;
}
