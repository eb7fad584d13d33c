/**
 * A simulated bus behind a socket: Modbus TCP (plain or TLS), or a serial line behind a converter (RTU and ASCII over
 * TCP). Each connection is served on its own; the units are shared.
 */
import { createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import type { Clock } from '../clock.js';
import { exceptionPdu } from '../modbus/server.js';
import { tcpFrame, type Frame } from '../modbus/framing.js';
import { TcpRequestReader } from '../modbus/serverframes.js';
import type { Address, Endpoint } from './endpoint.js';
import { Line } from './line.js';
import { Outlet } from './outlet.js';
import type { SocketSpec } from './spec.js';
import type { Station } from './station.js';

const TARGET_FAILED = 11;
const IDLE_MS = 10_000;

interface Connection {
  readonly number: number;
  readonly socket: Socket;
  readonly reader: TcpRequestReader;
  readonly outlet: Outlet;
  inFlight: number;
}

export class SocketEndpoint implements Endpoint {
  readonly station: Station;
  readonly #spec: SocketSpec;
  readonly #clock: Clock;
  readonly #line: Line | null;
  readonly #connections = new Set<Connection>();
  #server: Server | null = null;
  #host: string;
  #port: number;
  #connectionCount = 0;
  #isUnplugged = false;
  /** From then on masters know the port. */
  #hasListened = false;

  constructor(spec: SocketSpec, station: Station, clock: Clock) {
    this.#spec = spec;
    this.station = station;
    this.#clock = clock;
    this.#host = spec.host ?? '127.0.0.1';
    this.#port = spec.port ?? 0;
    const framing = spec.kind === 'rtu-over-tcp' ? 'rtu' : spec.kind === 'ascii-over-tcp' ? 'ascii' : null;
    this.#line =
      framing === null
        ? null
        : new Line(station, framing, spec.line ?? null, clock, {
            heard: (bytes) => this.#broadcast(bytes),
            ended: (how) => this.#endAll(how),
          });
  }

  get address(): Address {
    return { kind: 'socket', host: this.#host, port: this.#port };
  }

  async open(): Promise<void> {
    const { tls } = this.#spec;
    const accept = (socket: Socket): void => this.#accept(socket);
    const server =
      this.#spec.kind === 'tls' && tls !== undefined
        ? createTlsServer(
            {
              cert: tls.cert,
              key: tls.key,
              ...(tls.clientCa === undefined
                ? {}
                : { ca: tls.clientCa, requestCert: true, rejectUnauthorized: true }),
            },
            accept,
          )
        : createServer({ noDelay: true }, accept);
    try {
      await listening(server, this.#port, this.#host);
    } catch (error) {
      const isTaken = error instanceof Error && 'code' in error && error.code === 'EADDRINUSE';
      if (!isTaken || this.#spec.mayMove !== true || this.#hasListened) throw error;
      await listening(server, 0, this.#host);
    }
    this.#hasListened = true;
    server.on('error', () => {});
    server.on('tlsClientError', () => {});
    const address = server.address();
    if (address !== null && typeof address === 'object') this.#port = address.port;
    this.#server = server;
    await this.refresh();
  }

  async refresh(): Promise<void> {
    const shallListen = !this.#isUnplugged && this.station.linkFault('refuse') === null;
    if (!shallListen && this.#server !== null) {
      const server = this.#server;
      this.#server = null;
      const closed = new Promise<void>((resolve) => void server.close(() => resolve()));
      for (const { socket } of this.#connections) socket.resetAndDestroy();
      await closed;
    } else if (shallListen && this.#server === null) await this.open();
  }

  async unplug(): Promise<void> {
    this.#isUnplugged = true;
    await this.refresh();
  }

  async plugIn(): Promise<void> {
    this.#isUnplugged = false;
    await this.refresh();
  }

  async close(): Promise<void> {
    await this.unplug();
    this.#line?.reset();
  }

  #accept(socket: Socket): void {
    socket.on('error', () => {});
    const { counts } = this.station.transcript;
    counts.connections++;
    if (this.station.linkFault('one-client') !== null && this.#connections.size > 0) {
      counts.resets++;
      socket.resetAndDestroy();
      return;
    }
    const connection: Connection = {
      number: ++this.#connectionCount,
      socket,
      reader: new TcpRequestReader(),
      outlet: new Outlet(this.station, this.#clock, {
        write: (bytes) => socket.writable && socket.write(bytes),
        end: (how) => this.#end(socket, how),
        done: () => connection.inFlight--,
      }),
      inFlight: 0,
    };
    this.#connections.add(connection);
    const idle = this.station.linkFault('idle-close');
    if (idle !== null) socket.setTimeout(idle.ms ?? IDLE_MS, () => void socket.end());
    socket.on('data', (bytes) => this.#received(connection, bytes));
    socket.on('end', () => socket.end());
    socket.on('close', () => this.#connections.delete(connection));
  }

  #received(connection: Connection, bytes: Buffer): void {
    if (this.station.linkFault('black-hole') !== null) {
      this.station.transcript.counts.swallowed += bytes.length;
      return;
    }
    if (this.#line !== null) {
      this.#line.connection = connection.number;
      this.#line.receive(bytes);
      return;
    }
    for (const frame of connection.reader.push(bytes)) {
      // What stands behind the request that it was reset for is heard by nobody.
      if (connection.socket.destroyed) return;
      this.#request(connection, frame);
    }
    if (connection.reader.isBroken) {
      this.station.transcript.counts.badFrames++;
      connection.socket.destroy();
    }
  }

  #request(connection: Connection, frame: Frame): void {
    const { counts } = this.station.transcript;
    if (frame.protocolId !== 0) {
      counts.badFrames++;
      return;
    }
    if (connection.inFlight > 0) {
      counts.overlaps++;
      if (this.station.linkFault('reset-second') !== null) {
        counts.resets++;
        connection.socket.resetAndDestroy();
        return;
      }
    }
    const answer = this.station.take(frame, 'tcp', connection.number);
    if (answer === null) {
      // The answer of a gateway whose line has no such unit.
      connection.socket.write(tcpFrame({ ...frame, pdu: exceptionPdu(frame.pdu[0] ?? 0, TARGET_FAILED) }));
      return;
    }
    connection.inFlight++;
    connection.outlet.send(answer);
  }

  #end(socket: Socket, how: 'fin' | 'rst'): void {
    if (how === 'fin') socket.end();
    else {
      this.station.transcript.counts.resets++;
      socket.resetAndDestroy();
    }
  }

  #broadcast(bytes: Uint8Array): void {
    for (const { socket } of this.#connections) if (socket.writable) socket.write(bytes);
  }

  #endAll(how: 'fin' | 'rst'): void {
    for (const { socket } of this.#connections) this.#end(socket, how);
  }
}

function listening(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve();
    });
  });
}
