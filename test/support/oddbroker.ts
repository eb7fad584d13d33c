/** A broker elsewhere that behaves as the test says: it takes every CONNECT and hands each PUBLISH to the test. */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import * as wire from './wire.js';

export interface OddOptions {
  /** Properties of the CONNACK. */
  readonly connack?: readonly wire.Property[];
  /** The reason code of its CONNACK to a CONNECT with these flags, and these bytes. */
  readonly admit?: (flags: number, bytes: Buffer) => number;
  /** It says CONNACK so late. */
  readonly connackDelayMs?: number;
  /** What becomes of a publication; a broker that does nothing never acknowledges. */
  readonly take: (packet: wire.Packet, socket: Socket, connection: number) => void;
  /** It does not answer subscriptions. */
  readonly isDeafToSubscriptions?: boolean;
  /** The reason code that a subscription with this filter and these options is answered with. */
  readonly grant?: (filter: string, options: number) => number;
  /** It says that it has the session of before. */
  readonly hasSession?: boolean;
  /** Each subscription is granted, and then told. */
  readonly subscribed?: (socket: Socket, connection: number) => void;
  /** A subscription is ended; without it that is not answered. */
  readonly unsubscribed?: (filter: string) => void;
  /** What the other end says of what the test has sent it. */
  readonly acknowledged?: (packet: wire.Packet, socket: Socket, connection: number) => void;
}

const ACKNOWLEDGEMENTS = new Set(['PUBACK', 'PUBREC', 'PUBREL', 'PUBCOMP']);

export class OddBroker {
  /** Connections so far. */
  connections = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #options: OddOptions;

  private constructor(options: OddOptions) {
    this.#options = options;
    this.#server = createServer((socket) => this.#serve(socket));
  }

  static async start(options: OddOptions, cleanups: (() => unknown)[]): Promise<OddBroker> {
    const broker = new OddBroker(options);
    broker.#server.listen(0, '127.0.0.1');
    await once(broker.#server, 'listening');
    cleanups.push(async () => {
      broker.hangUp();
      broker.#server.close();
      await once(broker.#server, 'close');
    });
    return broker;
  }

  get url(): string {
    return `mqtt://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Ends every connection, with what is under way on it. */
  hangUp(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  #serve(socket: Socket): void {
    const connection = ++this.connections;
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    socket.on('error', () => {});
    let rest: Buffer = Buffer.alloc(0);
    socket.on('data', (bytes: Buffer) => {
      rest = Buffer.concat([rest, bytes]);
      for (let length = wire.packetLength(rest); length !== undefined; length = wire.packetLength(rest)) {
        if (rest.length < length.total) return;
        const packet = rest.subarray(0, length.total);
        rest = rest.subarray(length.total);
        this.#answer(packet, length.header, socket, connection);
        if (socket.destroyed) return;
      }
    });
  }

  #answer(bytes: Buffer, header: number, socket: Socket, connection: number): void {
    const type = wire.TYPES[(bytes[0] ?? 0) >> 4];
    if (type === 'CONNECT') {
      const { connack, hasSession = false, connackDelayMs = 0 } = this.#options;
      // Behind the name and level of the protocol.
      const code = this.#options.admit?.(bytes[header + 7] ?? 0, bytes) ?? 0;
      const answer = wire.frame(0x20, wire.u8(hasSession ? 1 : 0, code), wire.encodeProperties(connack));
      if (connackDelayMs === 0) socket.write(answer);
      else setTimeout(() => socket.write(answer), connackDelayMs);
    } else if (type === 'PINGREQ') socket.write(wire.frame(0xd0));
    else if (type === 'PUBLISH') this.#options.take(wire.decode(5, bytes, header), socket, connection);
    else if (type === 'SUBSCRIBE') {
      const { isDeafToSubscriptions = false, grant = () => 2 } = this.#options;
      const { filter, options } = filterIn(bytes, header);
      if (!isDeafToSubscriptions) socket.write(answerTo(bytes, header, 0x90, grant(filter, options)));
      this.#options.subscribed?.(socket, connection);
    } else if (type === 'UNSUBSCRIBE' && this.#options.unsubscribed !== undefined) {
      this.#options.unsubscribed(filterIn(bytes, header).filter);
      socket.write(answerTo(bytes, header, 0xb0, 0));
    } else if (ACKNOWLEDGEMENTS.has(type ?? ''))
      this.#options.acknowledged?.(wire.decode(5, bytes, header), socket, connection);
  }
}

/** The one filter of a SUBSCRIBE or UNSUBSCRIBE without properties, and the byte behind it. */
function filterIn(bytes: Buffer, header: number): { filter: string; options: number } {
  const start = header + 5;
  const end = start + bytes.readUInt16BE(header + 3);
  return { filter: bytes.toString('utf8', start, end), options: bytes[end] ?? 0 };
}

/** SUBACK or UNSUBACK with one reason code. */
function answerTo(bytes: Buffer, header: number, first: number, code: number): Buffer {
  return wire.frame(first, bytes.subarray(header, header + 2), wire.encodeProperties([]), wire.u8(code));
}
