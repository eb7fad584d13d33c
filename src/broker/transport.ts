/**
 * Sockets as transports. Plain sockets read into one buffer that all of them share, so that reading allocates nothing;
 * whether this Node lets an accepted socket do that is checked once at start, and `data` events do otherwise.
 */
import { Socket, type SocketConstructorOpts } from 'node:net';
import type { Connection } from './connection.js';
import type { Transport } from './outbox.js';

/** How long the other end has to take what is pending before a close is forced. */
const LINGER_MS = 2000;
/** One read brings at most so many bytes. */
const READ_BYTES = 131072;

export class SocketTransport implements Transport {
  readonly #socket: Socket;
  #isEnding = false;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  write(bytes: Uint8Array): boolean {
    if (this.#socket.destroyed) return true;
    this.#socket.write(bytes);
    return this.#socket.writableLength === 0;
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
    // A close with unread bytes would reset the connection and take the last packet with it: read on until the end.
    socket.resume();
    socket.setTimeout(LINGER_MS, () => socket.destroy());
  }

  destroy(): void {
    this.#socket.destroy();
  }
}

const shared = Buffer.allocUnsafeSlow(READ_BYTES);

interface UserBuffer {
  /** Makes this socket read into the shared buffer; `received` gets the number of bytes at its start. */
  use(socket: Socket, received: (count: number) => void): boolean;
}

/**
 * Node takes a read buffer of one's own (`onread`) for sockets that connect, not for those that a server accepted,
 * though both are the same inside. The fields that the option sets are found by comparing a socket that has it.
 */
function findUserBuffer(): UserBuffer | null {
  // The option is documented for connect(), which passes it on to this constructor.
  const probe = new Socket({ onread: { buffer: shared, callback: () => true } } as SocketConstructorOpts);
  const fields = probe as unknown as Record<symbol, unknown>;
  const symbols = Object.getOwnPropertySymbols(probe);
  const buffer = symbols.find((symbol) => symbol.description === 'kBuffer' && fields[symbol] === shared);
  const callback = symbols.find(
    (symbol) => symbol.description === 'kBufferCb' && typeof fields[symbol] === 'function',
  );
  probe.destroy();
  if (buffer === undefined || callback === undefined) return null;
  return {
    use(socket, received) {
      // What Node keeps here is not typed; its presence is checked.
      const inside = socket as unknown as Record<symbol, unknown> & {
        _handle?: { useUserBuffer?: unknown } | null;
      };
      const handle = inside._handle;
      if (handle === null || handle === undefined || typeof handle.useUserBuffer !== 'function') return false;
      if (!(buffer in inside) || !(callback in inside)) return false;
      (handle.useUserBuffer as (bytes: Buffer) => void).call(handle, shared);
      inside[buffer] = shared;
      inside[callback] = (count: number): boolean => {
        received(count);
        return true;
      };
      return true;
    },
  };
}

const userBuffer = findUserBuffer();

/** Where a socket knows its connection: so all share their listeners, and an idle connection costs less memory. */
const CONNECTION = Symbol('connection');

interface Known extends Socket {
  [CONNECTION]?: Connection;
}

function drained(this: Known): void {
  this[CONNECTION]?.drained();
}

function lost(this: Known): void {
  this[CONNECTION]?.lost();
}

/** The reason is in `close`, which always follows. */
function ignore(): void {}

/** Hands what a socket reads to its connection, without allocating where that is possible. */
export function readInto(socket: Known, connection: Connection, isPlain: boolean): void {
  socket[CONNECTION] = connection;
  const isShared =
    isPlain && userBuffer !== null && userBuffer.use(socket, (count) => connection.receive(shared, 0, count));
  if (!isShared) socket.on('data', (chunk: Buffer) => connection.receive(chunk, 0, chunk.length));
  socket.on('drain', drained);
  socket.on('error', ignore);
  socket.on('end', lost);
  socket.on('close', lost);
  socket.resume();
}
