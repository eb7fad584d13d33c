/**
 * A small MQTT 5 client over WebSocket, built on the broker's own framer, codec and property walk; it writes its few
 * control packets itself. One connection a client: when it is closed, a new one is made by its owner.
 */
import {
  PUBACK,
  PUBREC,
  PUBREL,
  PUBCOMP,
  PublishWriter,
  writeAcknowledgement,
  writeVarint,
  wholePublication,
} from '../../broker/codec.js';
import { Framer, SERVER_PACKETS } from '../../broker/framer.js';
import { IN, PROPERTY, PropertyWalk } from '../../broker/properties.js';

export { matches } from '../../broker/topic.js';

export interface Received {
  readonly topic: string;
  /** The message's own bytes; they may be kept. */
  readonly payload: Uint8Array;
  readonly correlation: Uint8Array;
}

export interface Events {
  readonly opened: () => void;
  readonly received: (message: Received) => void;
  /** Reason code of CONNACK or DISCONNECT; 0 when the socket just closed. */
  readonly closed: (reason: number) => void;
}

const KEEP_ALIVE_S = 30;
/** What tells a plant of tens of thousands of tags is some 300 bytes a tag. */
const PACKET_BYTES_MAX = 64 * 1024 * 1024;
/** Reason code: Packet too large. */
export const TOO_LARGE = 0x95;
const NO_BYTES = new Uint8Array(0);

export class MqttClient {
  readonly #socket: WebSocket;
  readonly #events: Events;
  readonly #framer: Framer;
  readonly #walk = new PropertyWalk();
  readonly #writer = new PublishWriter();
  readonly #decoder = new TextDecoder();
  readonly #encoder = new TextEncoder();
  readonly #published = new Map<number, (reason: number) => void>();
  #packetIdentifier = 0;
  /** What the server takes at most. */
  #packetBytesMax = Number.POSITIVE_INFINITY;
  #reason = 0;
  #isClosed = false;
  #pings = 0;
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(
    url: string,
    clientId: string,
    credentials: { user: string; password: string } | null,
    events: Events,
  ) {
    this.#events = events;
    this.#framer = new Framer(
      { frame: (bytes, start, body, end) => this.#frame(bytes, start, body, end) },
      SERVER_PACKETS,
      PACKET_BYTES_MAX,
    );
    this.#socket = new WebSocket(url, 'mqtt');
    this.#socket.binaryType = 'arraybuffer';
    this.#socket.onopen = () => this.#socket.send(connectPacket(clientId, credentials));
    this.#socket.onmessage = ({ data }: MessageEvent<ArrayBuffer>) => {
      const bytes = new Uint8Array(data);
      if (this.#framer.push(bytes, 0, bytes.length) !== 0) this.#socket.close();
    };
    this.#socket.onclose = () => this.#close();
  }

  subscribe(filter: string): void {
    const text = this.#encoder.encode(filter);
    // QoS 1, retained messages each time.
    this.#send(0x82, [...two(this.#nextIdentifier()), 0, ...two(text.length), ...text, 1]);
  }

  unsubscribe(filter: string): void {
    const text = this.#encoder.encode(filter);
    this.#send(0xa2, [...two(this.#nextIdentifier()), 0, ...two(text.length), ...text]);
  }

  get packetBytesMax(): number {
    return this.#packetBytesMax;
  }

  /** Publishes at QoS 1; done gets the reason code of the acknowledgement, TOO_LARGE for what would end the connection. */
  publish(
    topic: string,
    payload: Uint8Array,
    answer: { responseTopic: string; correlation: Uint8Array },
    done: (reason: number) => void,
  ): void {
    const topicBytes = this.#encoder.encode(topic);
    const response = this.#encoder.encode(answer.responseTopic);
    const properties = new Uint8Array([
      PROPERTY.responseTopic,
      ...two(response.length),
      ...response,
      PROPERTY.correlationData,
      ...two(answer.correlation.length),
      ...answer.correlation,
    ]);
    const publication = wholePublication(topicBytes, properties, payload);
    this.#writer.reset(5, 1, false);
    const length = this.#writer.length(publication);
    if (length > this.#packetBytesMax) return done(TOO_LARGE);
    this.#writer.packetIdentifier = this.#nextIdentifier();
    this.#published.set(this.#writer.packetIdentifier, done);
    const packet = new Uint8Array(length);
    this.#writer.write(packet, 0, publication);
    this.#socket.send(packet);
  }

  close(): void {
    this.#isClosed = true;
    clearInterval(this.#timer);
    if (this.#socket.readyState === WebSocket.OPEN) this.#send(0xe0, []);
    this.#socket.close();
  }

  #close(): void {
    clearInterval(this.#timer);
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#events.closed(this.#reason);
  }

  #frame(bytes: Uint8Array, start: number, body: number, end: number): boolean {
    const first = bytes[start] ?? 0;
    switch (first >> 4) {
      case 2:
        this.#connected(bytes, body, end);
        break;
      case 3:
        this.#publication(first, bytes, body, end);
        break;
      case 4:
        this.#acknowledged(bytes, body, end);
        break;
      case 6:
        this.#acknowledge(PUBCOMP, ((bytes[body] ?? 0) << 8) | (bytes[body + 1] ?? 0));
        break;
      case 13:
        this.#pings = 0;
        break;
      case 14:
        this.#reason = end > body ? (bytes[body] ?? 0) : 0;
        break;
    }
    return true;
  }

  #connected(bytes: Uint8Array, body: number, end: number): void {
    this.#reason = bytes[body + 1] ?? 0;
    if (this.#reason !== 0 || this.#walk.walk(bytes, body + 2, end, IN.connack) !== 0)
      return this.#socket.close();
    this.#packetBytesMax = this.#walk.numberOf(PROPERTY.maximumPacketSize, Number.POSITIVE_INFINITY);
    this.#timer = setInterval(() => this.#ping(), (KEEP_ALIVE_S * 1000) / 2);
    this.#events.opened();
  }

  /** A server that leaves two pings unanswered is gone, whatever the socket says. */
  #ping(): void {
    if (this.#pings++ > 1) this.#socket.close();
    else this.#send(0xc0, []);
  }

  #publication(first: number, bytes: Uint8Array, body: number, end: number): void {
    const topicEnd = body + 2 + (((bytes[body] ?? 0) << 8) | (bytes[body + 1] ?? 0));
    const qos = (first >> 1) & 3;
    let at = topicEnd;
    const packetIdentifier = ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
    if (qos > 0) at += 2;
    if (this.#walk.walk(bytes, at, end, IN.publish) !== 0) return this.#socket.close();
    const { starts, ends } = this.#walk;
    const id = PROPERTY.correlationData;
    const correlation = this.#walk.has(id) ? bytes.slice(starts[id], ends[id]) : NO_BYTES;
    const topic = this.#decoder.decode(bytes.subarray(body + 2, topicEnd));
    this.#events.received({ topic, payload: bytes.slice(this.#walk.next, end), correlation });
    if (qos > 0) this.#acknowledge(qos === 1 ? PUBACK : PUBREC, packetIdentifier);
  }

  #acknowledged(bytes: Uint8Array, body: number, end: number): void {
    const packetIdentifier = ((bytes[body] ?? 0) << 8) | (bytes[body + 1] ?? 0);
    const done = this.#published.get(packetIdentifier);
    this.#published.delete(packetIdentifier);
    done?.(end > body + 2 ? (bytes[body + 2] ?? 0) : 0);
  }

  #acknowledge(
    first: typeof PUBACK | typeof PUBREC | typeof PUBREL | typeof PUBCOMP,
    packetIdentifier: number,
  ): void {
    const packet = new Uint8Array(4);
    writeAcknowledgement(packet, 0, first, packetIdentifier, 5, 0);
    this.#socket.send(packet);
  }

  #nextIdentifier(): number {
    this.#packetIdentifier = (this.#packetIdentifier % 65535) + 1;
    return this.#packetIdentifier;
  }

  #send(first: number, body: readonly number[]): void {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(packetOf(first, body));
  }
}

function connectPacket(
  clientId: string,
  credentials: { user: string; password: string } | null,
): Uint8Array<ArrayBuffer> {
  const text = (value: string): number[] => {
    const bytes = new TextEncoder().encode(value);
    return [...two(bytes.length), ...bytes];
  };
  const flags = 0x02 | (credentials === null ? 0 : 0xc0);
  return packetOf(0x10, [
    ...text('MQTT'),
    5,
    flags,
    ...two(KEEP_ALIVE_S),
    0,
    ...text(clientId),
    ...(credentials === null ? [] : [...text(credentials.user), ...text(credentials.password)]),
  ]);
}

function packetOf(first: number, body: readonly number[]): Uint8Array<ArrayBuffer> {
  const packet = new Uint8Array(5 + body.length);
  packet[0] = first;
  const at = writeVarint(packet, 1, body.length);
  packet.set(body, at);
  return packet.slice(0, at + body.length);
}

function two(value: number): [number, number] {
  return [value >> 8, value & 255];
}
