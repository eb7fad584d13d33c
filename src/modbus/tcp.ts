/**
 * A TCP or TLS connection as a wire: our own listeners on a socket of our own, so that a refused connection, a reset,
 * a closed or a silent peer each end in exactly one closed().
 */
import { readFileSync } from 'node:fs';
import { connect, isIP } from 'node:net';
import type { Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { TLSSocket } from 'node:tls';
import type { Clock } from '../clock.js';
import { messageOf } from '../errors.js';
import { failure } from './exchange.js';
import { resolve } from './resolve.js';
import type { Wire, WireListener } from './wire.js';

export interface SocketSettings {
  readonly host: string;
  readonly port: number;
  /** Null: plain. */
  readonly tls: TlsMaterial | null;
  /** How long a connection may take, and then the handshake of TLS. */
  readonly connectTimeoutMs: number;
  readonly handshakeTimeoutMs: number;
}

/** Paths of PEM files, or PEM text. With ca only what it signed is trusted. */
export interface TlsMaterial {
  readonly ca: string | null;
  readonly cert: string | null;
  readonly key: string | null;
  readonly serverName: string | null;
}

const KEEP_ALIVE_MS = 10_000;
/** For all sockets of the thread: what is received is used before the next socket is read. */
const received = Buffer.allocUnsafeSlow(16 * 1024);
/** A peer that does not even take requests off our hands. */
const UNSENT_MAX = 256 * 1024;

export function openSocket(settings: SocketSettings, clock: Clock, listener: WireListener): Wire {
  return new SocketWire(settings, clock, listener);
}

class SocketWire implements Wire {
  readonly #settings: SocketSettings;
  readonly #listener: WireListener;
  readonly #clock: Clock;
  #cancelTimeout: () => void = () => {};
  #socket: Socket | null = null;
  #isEnded = false;
  #isOpen = false;
  /** The address is known. */
  #isFound: boolean;

  constructor(settings: SocketSettings, clock: Clock, listener: WireListener) {
    this.#settings = settings;
    this.#listener = listener;
    this.#clock = clock;
    this.#isFound = isIP(settings.host) !== 0;
    this.#giveUpAfter(settings.connectTimeoutMs);
    try {
      this.#socket = settings.tls === null ? this.#plain() : this.#encrypted(settings.tls);
      this.#watch(this.#socket);
    } catch (error) {
      // Certificates that cannot be read; told after the caller has its wire.
      queueMicrotask(() => this.#fail('refused', messageOf(error)));
    }
  }

  write(bytes: Uint8Array): void {
    const socket = this.#socket;
    if (socket === null || this.#isEnded) return;
    socket.write(bytes);
    if (socket.writableLength > UNSENT_MAX) this.#fail('closed', 'the peer takes no more bytes');
  }

  destroy(isAbrupt = false): Promise<void> {
    this.#isEnded = true;
    this.#cancelTimeout();
    const socket = this.#socket;
    if (socket === null || socket.closed) return Promise.resolve();
    return new Promise((resolve) => {
      socket.once('close', () => resolve());
      if (isAbrupt) socket.resetAndDestroy();
      else socket.destroy();
    });
  }

  #giveUpAfter(ms: number, what = ''): void {
    this.#cancelTimeout();
    this.#cancelTimeout = this.#clock.after(ms, () => {
      const { host } = this.#settings;
      const text = this.#isFound ? `no connection in ${ms} ms${what}` : `no address of ${host} in ${ms} ms`;
      this.#fail('refused', text);
    });
  }

  /** Received bytes come in a buffer that is used again: nothing is allocated for them. */
  #plain(): Socket {
    const { host, port } = this.#settings;
    return connect({
      host,
      port,
      lookup: resolve,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEP_ALIVE_MS,
      onread: {
        buffer: received,
        callback: (length) => {
          // No Buffer, whose slice() would be no copy.
          this.#received(new Uint8Array(received.buffer, 0, length));
          return true;
        },
      },
    }).once('connect', () => this.#opened());
  }

  #encrypted(tls: TlsMaterial): TLSSocket {
    const { host, port } = this.#settings;
    const name = tls.serverName ?? host;
    const socket = connectTls({
      host,
      port,
      lookup: resolve,
      minVersion: 'TLSv1.2',
      // A server name may not be an address (RFC 6066 3).
      ...(isIP(name) === 0 ? { servername: name } : {}),
      ...(tls.ca === null ? {} : { ca: pem(tls.ca) }),
      ...(tls.cert === null ? {} : { cert: pem(tls.cert) }),
      ...(tls.key === null ? {} : { key: pem(tls.key) }),
    });
    socket.once('connect', () => {
      if (!this.#isEnded)
        this.#giveUpAfter(this.#settings.handshakeTimeoutMs, ', the TLS handshake was not answered');
    });
    socket.setNoDelay(true);
    socket.setKeepAlive(true, KEEP_ALIVE_MS);
    socket.on('data', (bytes: Uint8Array) => this.#received(bytes));
    return socket.once('secureConnect', () => this.#opened());
  }

  #watch(socket: Socket): void {
    let cause = '';
    socket.once('lookup', () => (this.#isFound = true));
    socket.on('error', (error) => {
      cause = reasonOf(error);
    });
    // A peer that refuses our certificate says so and hangs up.
    socket.once('end', () => this.#fail('closed', cause || 'the peer closed the connection'));
    socket.once('close', () => {
      this.#fail(this.#isOpen ? 'closed' : 'refused', cause || 'the connection ended');
    });
  }

  #opened(): void {
    if (this.#isEnded) return;
    this.#isOpen = true;
    this.#cancelTimeout();
    this.#listener.opened();
  }

  #received(bytes: Uint8Array): void {
    if (this.#isEnded) return;
    const nowMs = this.#clock.monotonicMs();
    this.#listener.received(bytes, nowMs, nowMs);
  }

  #fail(kind: 'closed' | 'refused', text: string): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#cancelTimeout();
    this.#socket?.destroy();
    this.#listener.closed(failure(kind, text));
  }
}

/** What OpenSSL says in its own words stands among numbers of lines. */
function reasonOf(error: Error): string {
  const isOpenSsl = 'code' in error && String(error.code).startsWith('ERR_SSL');
  return isOpenSsl && 'reason' in error ? String(error.reason) : error.message;
}

function pem(pathOrText: string): string {
  return pathOrText.startsWith('-----BEGIN') ? pathOrText : readFileSync(pathOrText, 'utf8');
}
