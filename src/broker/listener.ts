/** TCP, TLS, WebSocket and Unix servers: an accepted socket becomes a Connection. All listeners work alike. */
import { connect, createServer, isIP, type Server, type Socket } from 'node:net';
import { constants } from 'node:crypto';
import { readFileSync, unlinkSync } from 'node:fs';
import { createServer as createHttpServer, type IncomingMessage, type Server as HttpServer } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { hostname } from 'node:os';
import type { Duplex } from 'node:stream';
import { createServer as createTlsServer, type SecureContextOptions, TLSSocket } from 'node:tls';
import { type RawData, type WebSocket, WebSocketServer } from 'ws';
import type { Log } from '../log.js';
import { held } from './held.js';
import { Connection, type ConnectionHost, type Peer } from './connection.js';
import type { Transport } from './outbox.js';
import { readInto, SocketTransport } from './transport.js';

export interface ListenerSettings {
  readonly protocol: 'mqtt' | 'mqtts' | 'ws' | 'wss' | 'unix';
  readonly host: string;
  readonly port: number;
  /** URL path of ws and wss, file path of unix. */
  readonly path: string;
  readonly tls: TlsSettings | null;
  /** null: as the broker's settings say. */
  readonly anonymous: boolean | null;
}

/** Paths of PEM files. */
export interface TlsSettings {
  readonly cert: string;
  readonly key: string;
  readonly clientCa: string | null;
  readonly requireClientCert: boolean;
}

/** What listeners need to know of the broker. */
export interface ListenerHost extends ConnectionHost {
  readonly log: Log;
  readonly maxPacketBytes: number;
  /** Whether one more connection is taken now from this host; one that arrived() has its place already. */
  hasRoom(host: string, address: string): boolean;
  /** A socket that must speak TLS or HTTP before it can be a client; it takes a place from its first moment on. */
  arrived(socket: Socket, host: string, address: string): void;
  opened(connection: Connection): void;
  /** Names that pages may have reached us by, beside addresses, localhost and the machine's own. */
  hostNames(): readonly string[];
  isAnonymousAllowed(settings: ListenerSettings, host: string): boolean;
}

const HANDSHAKE_MS = 10_000;
/** What one WebSocket message may hold: several packets. In how many frames and reads: each costs memory of its own. */
const MESSAGE_BYTES = 1024 * 1024;
const FRAGMENTS_MAX = 1024;
const CHUNKS_MAX = 4096;
const LINGER_MS = 2000;

export class Listener {
  readonly #host: ListenerHost;
  readonly #settings: ListenerSettings;
  #server: Server | HttpServer | null = null;
  #sockets: WebSocketServer | null = null;
  /** The certificate changed on disk. */
  #setContext: ((options: SecureContextOptions) => void) | null = null;
  url = '';

  constructor(host: ListenerHost, settings: ListenerSettings) {
    this.#host = host;
    this.#settings = settings;
  }

  /** Resolves with the address once it accepts; rejects with the system's error. */
  async open(): Promise<string> {
    const { protocol, host, port, path } = this.#settings;
    const server = this.#create();
    this.#server = server;
    if (protocol !== 'mqtt' && protocol !== 'unix')
      server.prependListener('connection', (socket: Socket) => this.#arrived(socket));
    if (protocol === 'unix') await removeStale(path);
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.once('listening', () => {
        server.off('error', reject);
        server.on('error', (error: Error) =>
          this.#host.log.error('connection could not be accepted', {
            listener: this.url,
            error: error.message,
          }),
        );
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
    if (server === null) return;
    if ('closeIdleConnections' in server) server.closeIdleConnections();
    server.close();
    this.#sockets?.close();
    await Promise.resolve();
  }

  /** Reads certificate and key again. */
  renew(): void {
    const { tls } = this.#settings;
    if (tls !== null) this.#setContext?.(secureContext(tls));
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

  #create(): Server | HttpServer {
    const { protocol, tls } = this.#settings;
    if (protocol === 'mqtt' || protocol === 'unix') {
      return createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: 60_000 }, (socket) =>
        this.#accept(socket, true),
      );
    }
    if (protocol === 'ws') return this.#web(createHttpServer(this.#requests));
    if (tls === null) throw new Error(`a ${protocol} listener needs a certificate`);
    const options = {
      ...secureContext(tls),
      requestCert: tls.clientCa !== null,
      rejectUnauthorized: tls.requireClientCert,
      handshakeTimeout: this.#handshakeMs,
    };
    if (protocol === 'wss') {
      const server = createHttpsServer({ ...options, ...this.#requests });
      this.#setContext = (context) => server.setSecureContext(context);
      return this.#web(server);
    }
    const server = createTlsServer({ ...options, noDelay: true }, (socket) => this.#accept(socket, false));
    server.on('tlsClientError', (error, socket) => {
      this.#host.log.debug('TLS handshake failed', { listener: this.url, error: error.message });
      // Nobody else ends one that took too long.
      socket.destroy();
    });
    this.#setContext = (context) => server.setSecureContext(context);
    return server;
  }

  #peer(socket: Socket): Peer {
    const host = this.#settings.protocol === 'unix' ? 'unix' : plainAddress(socket.remoteAddress);
    return {
      host,
      address: this.#settings.protocol === 'unix' ? 'unix' : `${host}:${socket.remotePort ?? 0}`,
      certificateName: certificateName(socket),
      policy: { isAnonymousAllowed: this.#host.isAnonymousAllowed(this.#settings, host) },
      listener: this.url,
    };
  }

  #arrived(socket: Socket): void {
    const host = plainAddress(socket.remoteAddress);
    const address = `${host}:${socket.remotePort ?? 0}`;
    if (this.#host.hasRoom(host, address)) this.#host.arrived(socket, host, address);
    else socket.on('error', () => {}).destroy();
  }

  #accept(socket: Socket, isPlain: boolean): void {
    const peer = this.#peer(socket);
    if (!this.#host.hasRoom(peer.host, peer.address)) {
      socket.on('error', () => {});
      socket.destroy();
      return;
    }
    const transport = new SocketTransport(socket, isPlain);
    const connection = new Connection(this.#host, transport, peer);
    transport.owner = connection;
    this.#host.opened(connection);
    readInto(socket, connection, isPlain);
  }

  // ---------------------------------------------------------------- WebSocket

  #web(server: HttpServer): HttpServer {
    const upgrade = webSocketUpgrade(
      this.#host,
      () => this.url,
      (host) => this.#host.isAnonymousAllowed(this.#settings, host),
    );
    server.maxHeadersCount = 100;
    server.on('request', (_request, response) => {
      response.writeHead(426, { 'content-type': 'text/plain', connection: 'close' });
      response.end('This is an MQTT listener: connect with a WebSocket and the subprotocol mqtt.\n');
    });
    server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      if (pathOf(request.url) === this.#settings.path) upgrade(request, socket, head);
      else refuseUpgrade(socket, '404 Not Found');
    });
    return server;
  }
}

/** Takes over upgrade requests, whatever server they came to; the path was checked. */
export function webSocketUpgrade(
  host: ListenerHost,
  listenerName: () => string,
  isAnonymousAllowed: (host: string) => boolean,
): (request: IncomingMessage, socket: Duplex, head: Buffer) => void {
  const server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxFragments: FRAGMENTS_MAX,
    maxBufferedChunks: CHUNKS_MAX,
    maxPayload: Math.max(MESSAGE_BYTES, host.maxPacketBytes * 2),
    handleProtocols: () => 'mqtt',
  });
  return (request, socket, head) => {
    const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim());
    if (!offered.includes('mqtt')) return refuseUpgrade(socket, '400 Bad Request');
    if (!isSameSite(request, host.hostNames())) return refuseUpgrade(socket, '403 Forbidden');
    const from = plainAddress(request.socket.remoteAddress);
    const address = `${from}:${request.socket.remotePort ?? 0}`;
    if (!host.hasRoom(from, address)) return refuseUpgrade(socket, '503 Service Unavailable');
    server.handleUpgrade(request, socket, head, (webSocket) => {
      request.socket.setNoDelay(true);
      const transport = new WebSocketTransport(webSocket, request.socket);
      const connection = new Connection(host, transport, {
        host: from,
        address,
        certificateName: certificateName(request.socket),
        policy: { isAnonymousAllowed: isAnonymousAllowed(from) },
        listener: listenerName(),
      });
      transport.owner = connection;
      host.opened(connection);
      webSocket.on('message', (data: RawData, isBinary: boolean) => {
        // Text frames end the connection [MQTT-6.0.0-1].
        if (!isBinary) {
          webSocket.close(1003);
          connection.lost();
        } else if (Buffer.isBuffer(data)) connection.receive(data, 0, data.length);
      });
      webSocket.on('error', () => {});
      webSocket.on('close', () => connection.lost());
      // Both sides said that they close: it is over, though the other end may keep its socket open for a while.
      request.socket.on('finish', () => connection.lost());
    });
  };
}

class WebSocketTransport implements Transport {
  readonly #webSocket: WebSocket;
  readonly #socket: Socket;
  #isEnding = false;
  /** Told when the kernel has taken everything. */
  owner: { drained(): void } | null = null;

  constructor(webSocket: WebSocket, socket: Socket) {
    this.#webSocket = webSocket;
    this.#socket = socket;
  }

  write(bytes: Uint8Array, heldBytes: number): boolean {
    if (this.#webSocket.readyState !== this.#webSocket.OPEN) return true;
    held.bytes += heldBytes;
    this.#webSocket.send(bytes, { binary: true, compress: false }, () => {
      held.bytes -= heldBytes;
      if (this.#webSocket.bufferedAmount === 0) this.owner?.drained();
    });
    return this.#webSocket.bufferedAmount === 0;
  }

  get pendingBytes(): number {
    return this.#webSocket.bufferedAmount;
  }

  pause(): void {
    this.#webSocket.pause();
  }

  resume(): void {
    this.#webSocket.resume();
  }

  end(): void {
    if (this.#isEnding) return;
    this.#isEnding = true;
    this.#webSocket.resume();
    this.#webSocket.close(1000);
    this.#socket.setTimeout(LINGER_MS, () => this.#webSocket.terminate());
  }

  destroy(): void {
    this.#webSocket.terminate();
  }
}

function refuseUpgrade(socket: Duplex, status: string): void {
  socket.on('error', () => {});
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
}

/**
 * A browser says which site a page came from; only pages of this host may speak to the broker in its user's name, and the
 * name must be ours: anybody can make a name of his point here.
 */
function isSameSite(request: IncomingMessage, hostNames: readonly string[]): boolean {
  const { origin, host } = request.headers;
  if (origin === undefined) return true;
  try {
    const name = new URL(`http://${host ?? ''}`).hostname;
    return new URL(origin).hostname === name && isOwnName(name.replace(/^\[|\]$/g, ''), hostNames);
  } catch {
    return false;
  }
}

/** Whether a machine's name in lower case, or address, is one that we are reached by. */
export function isOwnName(name: string, hostNames: readonly string[]): boolean {
  return isIP(name) !== 0 || ['localhost', hostname().toLowerCase(), ...hostNames].includes(name);
}

function pathOf(url: string | undefined): string {
  const text = url ?? '/';
  const query = text.indexOf('?');
  return query < 0 ? text : text.slice(0, query);
}

/** IPv4 addresses of a socket that listens on both are written as such. */
function plainAddress(address: string | undefined): string {
  return address === undefined ? 'unknown' : address.startsWith('::ffff:') ? address.slice(7) : address;
}

export function isLoopback(host: string): boolean {
  return host === 'unix' || host === '::1' || host === 'localhost' || /^127\./.test(host);
}

/** The subject's common name of a certificate that an authority of ours signed. */
function certificateName(socket: Socket): string | null {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return null;
  const { subject } = socket.getPeerCertificate();
  // Without a certificate the object is empty.
  const name = (subject as { CN?: string | string[] } | undefined)?.CN;
  return typeof name === 'string' && name !== '' ? name : null;
}

function secureContext(tls: TlsSettings): SecureContextOptions {
  return {
    cert: readFileSync(tls.cert),
    key: readFileSync(tls.key),
    ...(tls.clientCa === null ? undefined : { ca: readFileSync(tls.clientCa) }),
    minVersion: 'TLSv1.2',
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
  };
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
