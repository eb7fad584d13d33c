/** Node's sockets as transports: for TLS, and for plain connections where their handles cannot be used (handle.ts). */
import type { Socket } from 'node:net';
import type { Connection } from './connection.js';
import { linger } from './door.js';
import { held } from './held.js';
import type { Piece, Transport } from './outbox.js';

export class SocketTransport implements Transport {
  readonly #socket: Socket;
  #isEnding = false;
  /** Told when the kernel has taken everything. */
  owner: { drained(): void } | null = null;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  write(bytes: Uint8Array, lent: Piece | null): boolean {
    const socket = this.#socket;
    if (socket.destroyed) return true;
    const heldBytes = lent?.size ?? bytes.length;
    held.bytes += heldBytes;
    socket.write(bytes, () => {
      held.bytes -= heldBytes;
      if (socket.writableLength === 0) this.owner?.drained();
    });
    return socket.writableLength === 0;
  }

  get pendingBytes(): number {
    return this.#socket.writableLength;
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  end(): void {
    if (this.#isEnding) return;
    this.#isEnding = true;
    const socket = this.#socket;
    if (socket.destroyed) return;
    socket.end();
    linger(socket);
  }

  destroy(): void {
    this.#socket.destroy();
  }
}

/** Hands what a socket reads to its connection. */
export function readInto(socket: Socket, connection: Connection): void {
  const lost = (): void => connection.lost();
  socket.on('data', (chunk: Buffer) => connection.receive(chunk, 0, chunk.length));
  // The reason is in `close`, which always follows.
  socket.on('error', () => {});
  socket.on('end', lost);
  socket.on('close', () => connection.gone());
  socket.resume();
}
