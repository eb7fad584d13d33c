/** What all kinds of listeners have in common: their settings, what they ask of the broker, and who it is that comes. */
import { constants } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { isIP, type Socket } from 'node:net';
import { hostname } from 'node:os';
import type { Duplex } from 'node:stream';
import type { SecureContextOptions, TLSSocket } from 'node:tls';
import type { Log } from '../log.js';
import type { Connection, ConnectionHost } from './connection.js';

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
export interface CertificateFiles {
  readonly cert: string;
  readonly key: string;
}

export interface TlsSettings extends CertificateFiles {
  readonly clientCa: string | null;
  readonly requireClientCert: boolean;
}

/** What listeners need to know of the broker. */
export interface ListenerHost extends ConnectionHost {
  readonly log: Log;
  readonly maxPacketBytes: number;
  /** Whether one more connection is taken now from this host; one that arrived() has its place already. */
  hasRoom(host: string, ends: string): boolean;
  /** A socket that must speak TLS or HTTP before it can be a client; it takes a place from its first moment on. */
  arrived(socket: Socket, host: string, ends: string): void;
  opened(connection: Connection): void;
  /** Names that pages may have reached us by, beside addresses, localhost and the machine's own. */
  hostNames(): readonly string[];
  isAnonymousAllowed(settings: ListenerSettings, host: string): boolean;
}

/** How long the other end has to take what is pending before a close is forced. */
export const LINGER_MS = 2000;

/**
 * For a socket that was ended. A close with unread bytes would reset the connection and take the last of ours with it: it
 * is read on until the other end closes, or has had its time, whatever still comes from there.
 */
export function linger(socket: Duplex): void {
  socket.resume();
  const timer = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.once('close', () => clearTimeout(timer));
}

/** The answer to an upgrade that is not made. Nobody else has an eye on such a socket any more. */
export function refuseUpgrade(socket: Duplex, status: string): void {
  socket.on('error', () => {});
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
  linger(socket);
}

/**
 * What tells a connection from all others, below TLS as above it. Its far end alone does not: a client may use one port
 * for connections to two listeners.
 */
export function endsOf({ remoteAddress, remotePort, localAddress, localPort }: Socket): string {
  return `${remoteAddress}:${remotePort} ${localAddress}:${localPort}`;
}

/** IPv4 addresses of a socket that listens on both are written as such. */
export function plainAddress(address: string | undefined): string {
  return address === undefined ? 'unknown' : address.startsWith('::ffff:') ? address.slice(7) : address;
}

export function isLoopback(host: string): boolean {
  return host === 'unix' || host === '::1' || host === 'localhost' || /^127\./.test(host);
}

/** Whether a machine's name in lower case, or address, is one that we are reached by. */
export function isOwnName(name: string, hostNames: readonly string[]): boolean {
  return isIP(name) !== 0 || ['localhost', hostname().toLowerCase(), ...hostNames].includes(name);
}

/** The subject's common name of a certificate that an authority of ours signed. */
export function certificateName(socket: Socket): string | null {
  if (!isTls(socket) || !socket.authorized) return null;
  const { subject } = socket.getPeerCertificate();
  // Without a certificate the object is empty.
  const name = (subject as { CN?: string | string[] } | undefined)?.CN;
  return typeof name === 'string' && name !== '' ? name : null;
}

/** As Node tells it; its class would have to be loaded. */
function isTls(socket: Socket): socket is TLSSocket {
  return 'encrypted' in socket && socket.encrypted === true;
}

/** What a server needs to speak TLS; throws when a file cannot be read. */
export function secureContext(files: CertificateFiles & Partial<TlsSettings>): SecureContextOptions {
  const { cert, key, clientCa = null } = files;
  return {
    cert: readFileSync(cert),
    key: readFileSync(key),
    ...(clientCa === null ? undefined : { ca: readFileSync(clientCa) }),
    minVersion: 'TLSv1.2',
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
  };
}

/** What reads the files of a server again: it throws when they are not right, and what it answers takes them over. */
export async function renewalOf(
  server: { setSecureContext(options: SecureContextOptions): void },
  files: CertificateFiles & Partial<TlsSettings>,
): Promise<() => () => void> {
  const { createSecureContext } = await import('node:tls');
  return () => {
    const options = secureContext(files);
    createSecureContext(options);
    return () => server.setSecureContext(options);
  };
}
