/**
 * MQTT over WebSocket: upgrade requests become connections, whatever HTTP server they came to. Loaded only where a
 * listener or the web page wants it, and so the only file that knows HTTP and the `ws` package.
 */
import type { IncomingMessage, Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type RawData, type WebSocket, WebSocketServer } from 'ws';
import { Connection } from './connection.js';
import {
  certificateName,
  endsOf,
  isOwnName,
  linger,
  type ListenerHost,
  plainAddress,
  refuseUpgrade,
} from './door.js';
import { held } from './held.js';
import type { Piece, Transport } from './outbox.js';
import { PROTOCOL_ERROR } from './properties.js';

/** What one WebSocket message may hold: several packets. In how many frames and reads: each costs memory of its own. */
const MESSAGE_BYTES = 1024 * 1024;
const FRAGMENTS_MAX = 1024;
const CHUNKS_MAX = 4096;

/** Takes over one upgrade request. */
export type Upgrade = (request: IncomingMessage, socket: Duplex, head: Buffer) => void;

/** An HTTP server becomes a listener: nothing but upgrades on one path. */
export function serveUpgrades(server: Server, path: string, upgrade: Upgrade): void {
  server.maxHeadersCount = 100;
  server.on('request', (_request, response) => {
    response.writeHead(426, { 'content-type': 'text/plain', connection: 'close' });
    response.end('This is an MQTT listener: connect with a WebSocket and the subprotocol mqtt.\n');
  });
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    if (pathOf(request.url) === path) upgrade(request, socket, head);
    else refuseUpgrade(socket, '404 Not Found');
  });
}

/** Takes over upgrade requests, whatever server they came to; the path was checked. */
export function webSocketUpgrade(
  host: ListenerHost,
  listenerName: () => string,
  isAnonymousAllowed: (host: string) => boolean,
): Upgrade {
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
    const ends = endsOf(request.socket);
    if (!host.hasRoom(from, ends)) return refuseUpgrade(socket, '503 Service Unavailable');
    server.handleUpgrade(request, socket, head, (webSocket) => {
      request.socket.setNoDelay(true);
      const transport = new WebSocketTransport(webSocket, request.socket);
      const connection = new Connection(host, transport, {
        host: from,
        address,
        ends,
        certificateName: certificateName(request.socket),
        policy: { isAnonymousAllowed: () => isAnonymousAllowed(from) },
        listener: listenerName(),
      });
      transport.owner = connection;
      host.opened(connection);
      webSocket.on('message', (data: RawData, isBinary: boolean) => {
        // Text frames end the connection [MQTT-6.0.0-1].
        if (!isBinary) {
          webSocket.close(1003);
          connection.fail(PROTOCOL_ERROR, 'a text frame, but MQTT comes in binary ones');
        } else if (Buffer.isBuffer(data)) {
          transport.received();
          connection.receive(data, 0, data.length);
        }
      });
      // A message is told when it has ended; what comes of one that does not is counted, too.
      request.socket.on('data', () => connection.tellUndecided());
      // Its frames are not right, or too many or too large; it has said so with its close.
      webSocket.on('error', (error) => connection.fail(PROTOCOL_ERROR, `WebSocket: ${error.message}`));
      webSocket.on('close', () => connection.lost());
      // Both sides said that they close: it is over, though the other end may keep its socket open for a while.
      request.socket.on('finish', () => connection.lost());
      request.socket.on('close', () => connection.gone());
    });
  };
}

class WebSocketTransport implements Transport {
  readonly #webSocket: WebSocket;
  readonly #socket: Socket;
  #isEnding = false;
  /** Bytes that the socket had read when the last message was complete. */
  #completeBytes = 0;
  /** Told when the kernel has taken everything. */
  owner: { drained(): void } | null = null;

  constructor(webSocket: WebSocket, socket: Socket) {
    this.#webSocket = webSocket;
    this.#socket = socket;
  }

  write(bytes: Uint8Array, lent: Piece | null): boolean {
    if (this.#webSocket.readyState !== this.#webSocket.OPEN) return true;
    const heldBytes = lent?.size ?? bytes.length;
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

  /** A message is complete. */
  received(): void {
    this.#completeBytes = this.#socket.bytesRead;
  }

  get partBytes(): number {
    return this.#socket.bytesRead - this.#completeBytes;
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
    linger(this.#socket);
  }

  destroy(): void {
    this.#webSocket.terminate();
  }
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

function pathOf(url: string | undefined): string {
  const text = url ?? '/';
  const query = text.indexOf('?');
  return query < 0 ? text : text.slice(0, query);
}
