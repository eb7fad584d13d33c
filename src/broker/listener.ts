/**
 * TCP, TLS, WebSocket and Unix servers: an accepted socket becomes a Connection. All listeners work alike; what only
 * some need (TLS, HTTP, WebSocket) is loaded when one of them opens.
 */
import { existsSync, unlinkSync } from 'node:fs';
import type { Server as HttpServer } from 'node:http';
import { connect, createServer, isIP, type Server, type Socket } from 'node:net';
import type { TlsOptions } from 'node:tls';
import { dirname } from 'node:path';
import { getSystemErrorName } from 'node:util';
import { Connection, type Peer } from './connection.js';
import {
  certificateName,
  endsOf,
  type ListenerHost,
  type ListenerSettings,
  plainAddress,
  renewalOf,
  secureContext,
  type TlsSettings,
} from './door.js';
import { greetInTurns } from './greetings.js';
import { Handshakes } from './handshakes.js';
import { type HandlePeer, type HandleTransport, takeHandles } from './handle.js';
import type { Transport } from './outbox.js';
import { readInto, SocketTransport } from './transport.js';

/** For TLS and HTTP together. */
const HANDSHAKE_MS = 10_000;

export class Listener {
  readonly #host: ListenerHost;
  readonly #settings: ListenerSettings;
  #server: Server | HttpServer | null = null;
  /** The certificate changed on disk. */
  #renewal: (() => () => void) | null = null;
  readonly #handshakes: Handshakes;
  url = '';

  constructor(host: ListenerHost, settings: ListenerSettings) {
    this.#host = host;
    this.#settings = settings;
    this.#handshakes = new Handshakes(host.core.clock, host.log);
  }

  /** Resolves with the address once it accepts; rejects with the system's error. */
  async open(): Promise<string> {
    const { protocol, host, port, path } = this.#settings;
    const server = await this.#create();
    this.#server = server;
    if (protocol !== 'mqtt' && protocol !== 'unix')
      server.prependListener('connection', (socket: Socket) => this.#arrived(socket));
    if (protocol === 'unix') {
      // The system would say that this is not permitted.
      if (!existsSync(dirname(path)))
        throw new Error(
          `cannot listen at ${path}: there is no folder ${dirname(path)}; make it, or name another path`,
        );
      await removeStale(path);
    }
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.once('listening', () => {
        server.off('error', reject);
        server.on('error', (error: Error) => this.#notAccepted(error.message));
        if (protocol === 'mqtt' || protocol === 'unix') {
          takeHandles(
            server,
            (transport, peer) => this.#acceptHandle(transport, peer),
            (status) => this.#notAccepted(getSystemErrorName(status)),
          );
        }
        resolve();
      });
      if (protocol === 'unix') server.listen(path);
      else server.listen({ host, port, backlog: 4096 });
    });
    const address = server.address();
    const bound = typeof address === 'object' && address !== null ? address.port : port;
    const name = isIP(host) === 6 ? `[${host}]` : host;
    this.url =
      protocol === 'unix' ? `unix:${path}` : `${protocol}://${name}:${bound}${this.#isWeb ? path : ''}`;
    return this.url;
  }

  /** Accepts no more; connections stay. */
  async close(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    this.#handshakes.stop();
    if (server === null) return;
    if ('closeIdleConnections' in server) server.closeIdleConnections();
    server.close();
    await Promise.resolve();
  }

  /** Reads certificate and key again, and throws when they are not right; what it answers takes them over. */
  certificateRenewal(): () => void {
    return this.#renewal?.() ?? ((): void => {});
  }

  /** Who has not come as far as CONNECT has no more time than for that. */
  get #handshakeMs(): number {
    return Math.min(HANDSHAKE_MS, this.#host.core.limits.connectTimeoutMs);
  }

  get #requests(): { requestTimeout: number; headersTimeout: number; connectionsCheckingInterval: number } {
    const timeoutMs = this.#handshakeMs;
    return {
      requestTimeout: timeoutMs,
      headersTimeout: timeoutMs,
      connectionsCheckingInterval: Math.max(100, timeoutMs / 4),
    };
  }

  get #isWeb(): boolean {
    return this.#settings.protocol === 'ws' || this.#settings.protocol === 'wss';
  }

  async #create(): Promise<Server | HttpServer> {
    const { protocol, tls } = this.#settings;
    if (protocol === 'mqtt' || protocol === 'unix') {
      return createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: 60_000 }, (socket) =>
        this.#accept(socket),
      );
    }
    if (protocol === 'ws') {
      const { createServer: createHttpServer } = await import('node:http');
      return this.#web(createHttpServer(this.#requests));
    }
    if (tls === null) throw new Error(`a ${protocol} listener needs a certificate`);
    return protocol === 'wss' ? this.#createHttps(tls) : this.#createTls(tls);
  }

  #tlsOptions(tls: TlsSettings): TlsOptions {
    return {
      ...secureContext(tls),
      requestCert: tls.clientCa !== null,
      rejectUnauthorized: tls.requireClientCert,
      handshakeTimeout: this.#handshakeMs,
    };
  }

  async #createHttps(tls: TlsSettings): Promise<HttpServer> {
    const { createServer: createHttpsServer } = await import('node:https');
    const server = createHttpsServer({ ...this.#tlsOptions(tls), ...this.#requests });
    greetInTurns(server, this.#handshakeMs);
    server.prependListener('tlsClientError', (error, socket) =>
      this.#handshakes.failed(this.url, error, socket),
    );
    this.#renewal = await renewalOf(server, tls);
    return this.#web(server);
  }

  async #createTls(tls: TlsSettings): Promise<Server> {
    const { createServer: createTlsServer } = await import('node:tls');
    const server = createTlsServer({ ...this.#tlsOptions(tls), noDelay: true }, (socket) =>
      this.#accept(socket),
    );
    greetInTurns(server, this.#handshakeMs);
    server.on('tlsClientError', (error, socket) => {
      this.#handshakes.failed(this.url, error, socket);
      // Nobody else ends one that took too long.
      socket.destroy();
    });
    this.#renewal = await renewalOf(server, tls);
    return server;
  }

  async #web(server: HttpServer): Promise<HttpServer> {
    const { serveUpgrades, webSocketUpgrade } = await import('./websocket.js');
    const upgrade = webSocketUpgrade(
      this.#host,
      () => this.url,
      (host) => this.#host.isAnonymousAllowed(this.#settings, host),
    );
    serveUpgrades(server, this.#settings.path, upgrade);
    return server;
  }

  #notAccepted(error: string): void {
    const { unrest } = this.#host.core;
    unrest.tell('error', 'connection could not be accepted', { listener: this.url, error }, this.url);
  }

  #peer({ address, port }: HandlePeer, ends: string, name: string | null): Peer {
    const isUnix = this.#settings.protocol === 'unix';
    const host = isUnix ? 'unix' : plainAddress(address);
    return {
      host,
      address: isUnix ? 'unix' : `${host}:${port}`,
      ends,
      certificateName: name,
      policy: { isAnonymousAllowed: () => this.#host.isAnonymousAllowed(this.#settings, host) },
      listener: this.url,
    };
  }

  #arrived(socket: Socket): void {
    const host = plainAddress(socket.remoteAddress);
    const ends = endsOf(socket);
    // Who has no address any more is gone again.
    const isThere = socket.remoteAddress !== undefined;
    if (isThere && this.#host.hasRoom(host, ends)) this.#host.arrived(socket, host, ends);
    else socket.on('error', () => {}).destroy();
  }

  #accept(socket: Socket): void {
    const { remoteAddress: address, remotePort: port = 0 } = socket;
    const transport = new SocketTransport(socket);
    const connection = this.#admit(
      transport,
      this.#peer({ address, port }, endsOf(socket), certificateName(socket)),
    );
    if (connection === null) {
      socket.on('error', () => {});
      return;
    }
    transport.owner = connection;
    readInto(socket, connection);
  }

  #acceptHandle(transport: HandleTransport, peer: HandlePeer): void {
    const connection = this.#admit(transport, this.#peer(peer, '', null));
    if (connection !== null) transport.start(connection);
  }

  /** Null: there is no room, and the transport is gone. */
  #admit(transport: Transport, peer: Peer): Connection | null {
    if (!this.#host.hasRoom(peer.host, peer.ends)) {
      transport.destroy();
      return null;
    }
    const connection = new Connection(this.#host, transport, peer);
    this.#host.opened(connection);
    return connection;
  }
}

/** A socket file that nobody listens on any more is left from a crash. */
function removeStale(path: string): Promise<void> {
  return new Promise((resolve) => {
    const probe = connect(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve();
    });
    probe.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED') unlinkSync(path);
      resolve();
    });
  });
}
