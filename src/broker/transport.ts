/**
 * Sockets as transports. Plain sockets read into one buffer that all of them share, so that reading allocates nothing;
 * whether this Node lets an accepted socket do that is checked once at start, and `data` events do otherwise.
 */
import { Socket, type SocketConstructorOpts } from 'node:net';
import type { Connection } from './connection.js';
import { held } from './held.js';
import { giveBack, type Transport } from './outbox.js';

/** How long the other end has to take what is pending before a close is forced. */
const LINGER_MS = 2000;
/** One read brings at most so many bytes: a read of many small packets is what one connection takes of a turn at least. */
const READ_BYTES = 32_768;

/** What Node's own streams write with; not documented, so its shape is checked before it is used. */
interface StreamWrap {
  readonly WriteWrap: new () => WriteRequest;
  readonly streamBaseState: { readonly [index: number]: number };
  readonly kLastWriteWasAsync: number;
  readonly kReadBytesOrError: number;
}

interface WriteRequest {
  handle: unknown;
  /** Keeps the bytes alive while the kernel has not taken them. */
  buffer: Uint8Array | null;
  /** The buffer that they lie in and that is given back then; null: it is another's. */
  lent: Buffer | null;
  /** What that keeps of memory. */
  heldBytes: number;
  transport: SocketTransport | null;
  oncomplete: ((this: WriteRequest, status: number) => void) | null;
}

type OnRead = (this: Handle, bytes: unknown) => unknown;

interface Handle {
  writeBuffer?(request: WriteRequest, bytes: Uint8Array): number;
  useUserBuffer?(bytes: Uint8Array): void;
  /** Called for what was read, and with an error or the end. */
  onread?: OnRead;
  [CONNECTION]?: Connection;
}

function findStreamWrap(): StreamWrap | null {
  try {
    // Typed nowhere; every field is checked.
    const binding = (process as unknown as { binding(name: string): Partial<StreamWrap> }).binding(
      'stream_wrap',
    );
    const isKnown =
      typeof binding.WriteWrap === 'function' &&
      typeof binding.kLastWriteWasAsync === 'number' &&
      typeof binding.kReadBytesOrError === 'number' &&
      binding.streamBaseState?.[binding.kLastWriteWasAsync] !== undefined &&
      binding.streamBaseState[binding.kReadBytesOrError] !== undefined;
    return isKnown ? (binding as StreamWrap) : null;
  } catch {
    return null;
  }
}

const streamWrap = findStreamWrap();

/** Where a socket and its handle know their connection: so all share their listeners, and an idle one costs less memory. */
const CONNECTION = Symbol('connection');

let spare: WriteRequest | null = null;

function completed(this: WriteRequest, status: number): void {
  held.bytes -= this.heldBytes;
  if (this.lent !== null) giveBack(this.lent);
  this.transport?.written(this.buffer?.length ?? 0, status);
}

/**
 * Writes past the socket's stream, straight to its handle, where that is possible: a small message costs a third less.
 * All other sockets write as usual.
 */
export class SocketTransport implements Transport {
  readonly #socket: Socket;
  readonly #isDirect: boolean;
  #isEnding = false;
  #pendingBytes = 0;
  /** Told when the kernel has taken everything. */
  owner: { drained(): void } | null = null;

  constructor(socket: Socket, isPlain: boolean) {
    this.#socket = socket;
    this.#isDirect = isPlain && streamWrap !== null && typeof handleOf(socket)?.writeBuffer === 'function';
  }

  write(bytes: Uint8Array, lent: Buffer | null): boolean {
    if (this.#isDirect && streamWrap !== null) return this.#writeDirectly(streamWrap, bytes, lent);
    const socket = this.#socket;
    if (socket.destroyed) return true;
    const heldBytes = lent?.length ?? bytes.length;
    held.bytes += heldBytes;
    socket.write(bytes, () => {
      held.bytes -= heldBytes;
      if (socket.writableLength === 0) this.owner?.drained();
    });
    return socket.writableLength === 0;
  }

  #writeDirectly(wrap: StreamWrap, bytes: Uint8Array, lent: Buffer | null): boolean {
    // A socket that was destroyed has none.
    const handle = handleOf(this.#socket);
    if (handle?.writeBuffer === undefined) return true;
    // A request is used up only by a write that has to wait.
    const request = spare ?? new wrap.WriteWrap();
    spare = request;
    request.handle = handle;
    request.buffer = bytes;
    request.transport = this;
    request.oncomplete = completed;
    if (handle.writeBuffer(request, bytes) !== 0) {
      this.#socket.destroy();
      return true;
    }
    if (wrap.streamBaseState[wrap.kLastWriteWasAsync] === 0) return true;
    spare = null;
    this.#pendingBytes += bytes.length;
    request.lent = lent;
    request.heldBytes = lent?.length ?? bytes.length;
    held.bytes += request.heldBytes;
    return false;
  }

  /** The kernel took a write that had to wait, or will never take it. */
  written(bytes: number, status: number): void {
    this.#pendingBytes -= bytes;
    if (status < 0) this.#socket.destroy();
    else if (this.#pendingBytes === 0) this.owner?.drained();
  }

  get pendingBytes(): number {
    return this.#isDirect ? this.#pendingBytes : this.#socket.writableLength;
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

/** The handle below a socket; null when it is closed. */
function handleOf(socket: Socket): Handle | null {
  // Not typed; whoever uses it checks what it needs.
  return (socket as unknown as { _handle?: Handle | null })._handle ?? null;
}

/** What all plain sockets read into. */
const shared = Buffer.allocUnsafeSlow(READ_BYTES);

interface UserBuffer {
  /** Makes this socket read into the shared buffer and hand that to its connection. */
  use(socket: Known, connection: Connection): boolean;
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
    use(socket, connection) {
      // What Node keeps here is not typed; its presence is checked.
      const inside = socket as unknown as Record<symbol, unknown>;
      const handle = handleOf(socket);
      if (typeof handle?.useUserBuffer !== 'function') return false;
      if (!(buffer in inside) || !(callback in inside)) return false;
      handle.useUserBuffer(shared);
      inside[buffer] = shared;
      inside[callback] = readDirectly(handle, connection)
        ? discard
        : (count: number): boolean => {
            received(connection, count);
            return true;
          };
      return true;
    },
  };
}

const userBuffer = findUserBuffer();

function received(connection: Connection, count: number): void {
  connection.receive(shared, 0, count);
}

/** Nobody reads what comes after the end. */
function discard(): boolean {
  return true;
}

/** What Node does with what a handle reads; the same for all of them. */
let usualOnRead: OnRead | null = null;

/** Takes what a handle reads past the socket's stream, too, where that is possible: that costs as much as our own part. */
function readDirectly(handle: Handle, connection: Connection): boolean {
  if (streamWrap === null || typeof handle.onread !== 'function') return false;
  usualOnRead ??= handle.onread;
  if (handle.onread !== usualOnRead) return false;
  handle[CONNECTION] = connection;
  handle.onread = onRead;
  return true;
}

function onRead(this: Handle, bytes: unknown): unknown {
  const count = streamWrap?.streamBaseState[streamWrap.kReadBytesOrError] ?? 0;
  const connection = this[CONNECTION];
  // The end and errors are the stream's business.
  if (count <= 0 || connection === undefined) return usualOnRead?.call(this, bytes);
  return received(connection, count);
}

interface Known extends Socket {
  [CONNECTION]?: Connection;
}

function lost(this: Known): void {
  this[CONNECTION]?.lost();
}

/** The reason is in `close`, which always follows. */
function ignore(): void {}

/** Hands what a socket reads to its connection, without allocating where that is possible. */
export function readInto(socket: Known, connection: Connection, isPlain: boolean): void {
  socket[CONNECTION] = connection;
  const isShared = isPlain && userBuffer !== null && userBuffer.use(socket, connection);
  if (!isShared) socket.on('data', (chunk: Buffer) => connection.receive(chunk, 0, chunk.length));
  socket.on('error', ignore);
  socket.on('end', lost);
  socket.on('close', lost);
  socket.resume();
}
