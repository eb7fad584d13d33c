/** A TCP peer that does exactly what a test tells it, byte for byte; and what a Modbus client of ours needs in tests. */
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type TlsOptions } from 'node:tls';
import { systemClock } from '../../src/clock.js';
import { createClient } from '../../src/modbus/client.js';
import type { Answer, Client, ClientSettings, ModbusError } from '../../src/modbus/client.js';
import { freePort } from './ports.js';
import { until } from './wait.js';

export class RawSlave {
  /** What to do with each whole piece of bytes that arrives. */
  onBytes: (bytes: Buffer, socket: Socket) => void = () => {};
  onConnection: (socket: Socket) => void = () => {};
  readonly sockets = new Set<Socket>();
  connectionCount = 0;
  #server: Server | null = null;
  #port = 0;

  get port(): number {
    return this.#port;
  }

  async start(tls: TlsOptions | null = null): Promise<this> {
    const serve = (socket: Socket): void => this.#serve(socket);
    const server = tls === null ? createServer({ noDelay: true }, serve) : createTlsServer(tls, serve);
    server.on('tlsClientError', () => {});
    this.#port ||= await freePort();
    await once(server.listen(this.#port, '127.0.0.1'), 'listening');
    this.#server = server;
    return this;
  }

  async stop(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    const server = this.#server;
    this.#server = null;
    if (server !== null) await new Promise((resolve) => server.close(resolve));
  }

  #serve(socket: Socket): void {
    this.connectionCount += 1;
    this.sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => this.sockets.delete(socket));
    socket.on('data', (bytes) => this.onBytes(bytes, socket));
    this.onConnection(socket);
  }
}

/** The right Modbus/TCP answer to a read of registers: register n holds address + n. */
export function rightAnswer(request: Buffer): Buffer {
  const address = request.readUInt16BE(8);
  const quantity = request.readUInt16BE(10);
  const answer = Buffer.alloc(9 + 2 * quantity);
  request.copy(answer, 0, 0, 8);
  answer.writeUInt16BE(3 + 2 * quantity, 4);
  answer[8] = 2 * quantity;
  for (let index = 0; index < quantity; index += 1)
    answer.writeUInt16BE((address + index) & 0xffff, 9 + 2 * index);
  return answer;
}

/** Longer than a busy machine takes: a test that wants a timeout says how soon. */
const TIMEOUT_MS = 2000;

export const SETTINGS: Omit<ClientSettings, 'link'> = {
  timeoutMs: TIMEOUT_MS,
  inFlight: 1,
  paceMs: 0,
  afterConnectMs: 0,
  closeIdleMs: 0,
  silenceMs: null,
  turnaroundMs: 5,
};

/** A client on the system's clock, and what it told of its link. */
export class Master {
  readonly client: Client;
  readonly downs: ModbusError[] = [];
  readonly discards: string[] = [];
  upCount = 0;

  constructor(
    link: ClientSettings['link'],
    settings: Partial<ClientSettings> = {},
    openSerial?: Parameters<typeof createClient>[3],
  ) {
    const listener = {
      up: () => void (this.upCount += 1),
      down: (error: ModbusError) => void this.downs.push(error),
      discarded: (reason: string) => void this.discards.push(reason),
    };
    this.client = createClient({ ...SETTINGS, ...settings, link }, listener, systemClock, openSerial);
  }

  static tcp(port: number, settings: Partial<ClientSettings> = {}): Master {
    return new Master({ kind: 'tcp', host: '127.0.0.1', port, tls: null }, settings);
  }

  async up(deadlineMs = 5000): Promise<this> {
    this.client.open();
    await until('the link to be up', () => this.client.isUp, deadlineMs);
    return this;
  }

  read(address: number, quantity = 2, timeoutMs = TIMEOUT_MS, unitId = 1): Promise<Answer> {
    return this.client.request(
      { kind: 'read', unitId, table: 'holding-register', address, quantity },
      timeoutMs,
    );
  }

  /** The registers read, or the kind of what went wrong. */
  async values(
    address: number,
    quantity = 2,
    timeoutMs = TIMEOUT_MS,
    unitId = 1,
  ): Promise<number[] | string> {
    const answer = await this.read(address, quantity, timeoutMs, unitId);
    if (!answer.ok) return answer.error.kind;
    const { data } = answer;
    const view = new DataView(data.buffer, data.byteOffset, data.length);
    return Array.from({ length: data.length / 2 }, (_, index) => view.getUint16(2 * index));
  }
}
