/**
 * Plain connections without Node's sockets: what a server accepts is taken as the handle below a socket, read into one
 * buffer that all share and written directly. Messages that travel alone, new connections and idle ones all cost less
 * (docs/performance.md). Nothing of this is documented: all that is used is checked first, and where anything is
 * missing listeners use sockets (transport.ts).
 */
import type { Server } from 'node:net';
import { held } from './held.js';
import { giveBack, type Piece, type Transport } from './outbox.js';
import { LINGER_MS } from './door.js';

/** What Node's own streams use. */
interface StreamWrap {
  readonly WriteWrap: new () => WriteRequest;
  readonly ShutdownWrap: new () => ShutdownRequest;
  readonly streamBaseState: { readonly [index: number]: number };
  readonly kLastWriteWasAsync: number;
  readonly kReadBytesOrError: number;
}

interface WriteRequest {
  handle: unknown;
  /** Keeps the bytes alive while the kernel has not taken them. */
  buffer: Uint8Array | null;
  /** The piece that they lie in and that is given back then; null: it is another's. */
  lent: Piece | null;
  /** What that keeps of memory. */
  heldBytes: number;
  transport: HandleTransport | null;
  oncomplete: ((this: WriteRequest, status: number) => void) | null;
}

interface ShutdownRequest {
  handle: unknown;
  oncomplete: ((status: number) => void) | null;
}

/** A connection as libuv has it: TCP, or a Unix socket, which has no name and no options. */
interface Handle {
  readStart(): number;
  readStop(): number;
  useUserBuffer(bytes: Uint8Array): void;
  writeBuffer(request: WriteRequest, bytes: Uint8Array): number;
  shutdown(request: ShutdownRequest): number;
  close(closed?: () => void): void;
  setNoDelay?(isOn: boolean): number;
  setKeepAlive?(isOn: boolean, seconds: number): number;
  getpeername?(into: { address?: string; port?: number }): number;
  /** What libuv could not write yet. */
  readonly writeQueueSize?: number;
  /** Called for what was read, and with an error or the end. */
  onread: (this: Handle) => void;
  [TRANSPORT]?: HandleTransport;
}

const METHODS = ['readStart', 'readStop', 'useUserBuffer', 'writeBuffer', 'shutdown', 'close'] as const;
type OnConnection = (status: number, handle: unknown) => void;

/** Where a handle knows its transport: so all share one listener, and an idle one costs less memory. */
const TRANSPORT = Symbol('transport');
/** libuv's word for the end of a stream. */
const END_OF_STREAM = -4095;
const KEEP_ALIVE_S = 60;
/** One read brings at most so many bytes: a read of many small packets is what one connection takes of a turn at least. */
const READ_BYTES = 32_768;

/** What all handles read into. */
const shared = Buffer.allocUnsafeSlow(READ_BYTES);

function findStreamWrap(): StreamWrap | null {
  try {
    // Typed nowhere; every field is checked.
    const binding = (process as unknown as { binding(name: string): Partial<StreamWrap> }).binding(
      'stream_wrap',
    );
    const isKnown =
      typeof binding.WriteWrap === 'function' &&
      typeof binding.ShutdownWrap === 'function' &&
      typeof binding.kLastWriteWasAsync === 'number' &&
      typeof binding.kReadBytesOrError === 'number' &&
      binding.streamBaseState?.[binding.kLastWriteWasAsync] !== undefined &&
      binding.streamBaseState[binding.kReadBytesOrError] !== undefined;
    if (!isKnown) return null;
    // In an object of our own: in Node's, every look is a search.
    const { WriteWrap, ShutdownWrap, streamBaseState, kLastWriteWasAsync, kReadBytesOrError } =
      binding as StreamWrap;
    return { WriteWrap, ShutdownWrap, streamBaseState, kLastWriteWasAsync, kReadBytesOrError };
  } catch {
    return null;
  }
}

const streamWrap = findStreamWrap();

/** Who is at the other end of a handle, as far as it has a name. */
export interface HandlePeer {
  readonly address: string | undefined;
  readonly port: number;
}

/**
 * From now on a listening server hands what it accepts to these two, and no socket is made of it. False: this Node does not
 * let that be done, and the server works as usual.
 */
export function takeHandles(
  server: Server,
  accept: (transport: HandleTransport, peer: HandlePeer) => void,
  failed: (status: number) => void,
): boolean {
  // Typed nowhere; what is used of it is checked.
  const own = (server as unknown as { _handle?: { onconnection?: OnConnection } | null })._handle;
  if (streamWrap === null || typeof own?.onconnection !== 'function') return false;
  const wrap = streamWrap;
  const usual = own.onconnection;
  own.onconnection = function (this: unknown, status, handle) {
    if (status === 0 && !isHandle(handle)) return usual.call(this, status, handle);
    if (status !== 0 || !isHandle(handle)) return failed(status);
    const peer: { address?: string; port?: number } = {};
    handle.getpeername?.(peer);
    accept(new HandleTransport(handle, wrap), { address: peer.address, port: peer.port ?? 0 });
  };
  return true;
}

function isHandle(handle: unknown): handle is Handle {
  // Only whether they are there can be asked.
  const methods = handle as Partial<Record<string, unknown>> | undefined;
  return METHODS.every((method) => typeof methods?.[method] === 'function');
}

let spare: WriteRequest | null = null;

function completed(this: WriteRequest, status: number): void {
  held.bytes -= this.heldBytes;
  if (this.lent !== null) giveBack(this.lent);
  this.transport?.written(this.buffer?.length ?? 0, status);
}

function onRead(this: Handle): void {
  this[TRANSPORT]?.read(streamWrap?.streamBaseState[streamWrap.kReadBytesOrError] ?? 0);
}

/** Who reads what comes and is told what becomes of it. */
export interface HandleOwner {
  /** Bytes are read before this returns, and not kept. */
  receive(bytes: Uint8Array, start: number, end: number): void;
  /** The kernel took everything that was pending. */
  drained(): void;
  /** The other end closed. */
  lost(): void;
  /** The handle is closed. */
  gone(): void;
}

export class HandleTransport implements Transport {
  readonly #wrap: StreamWrap;
  /** Null: it is closed. */
  #handle: Handle | null;
  #owner: HandleOwner | null = null;
  #pendingBytes = 0;
  #isEnding = false;
  /** All was sent and the end of it, too. */
  #isShut = false;
  /** The other end sends no more. */
  #isPeerDone = false;
  #linger: NodeJS.Timeout | null = null;

  constructor(handle: Handle, wrap: StreamWrap) {
    this.#handle = handle;
    this.#wrap = wrap;
  }

  /** Begins to read. */
  start(owner: HandleOwner): void {
    const handle = this.#handle;
    if (handle === null) return;
    this.#owner = owner;
    handle.setNoDelay?.(true);
    handle.setKeepAlive?.(true, KEEP_ALIVE_S);
    handle[TRANSPORT] = this;
    handle.onread = onRead;
    handle.useUserBuffer(shared);
    handle.readStart();
  }

  read(count: number): void {
    if (count > 0) {
      if (!this.#isEnding) this.#owner?.receive(shared, 0, count);
    } else if (count === END_OF_STREAM) {
      this.#isPeerDone = true;
      this.#handle?.readStop();
      if (this.#isShut) this.destroy();
      else this.#owner?.lost();
    } else if (count < 0) this.destroy();
  }

  write(bytes: Uint8Array, lent: Piece | null): boolean {
    const wrap = this.#wrap;
    const handle = this.#handle;
    if (handle === null) return true;
    // A request is used up only by a write that has to wait: it is filled in when it is.
    const request = (spare ??= new wrap.WriteWrap());
    if (handle.writeBuffer(request, bytes) !== 0) {
      this.destroy();
      return true;
    }
    if (wrap.streamBaseState[wrap.kLastWriteWasAsync] === 0) return true;
    spare = null;
    this.#wait(request, handle, bytes, lent);
    return false;
  }

  #wait(request: WriteRequest, handle: Handle, bytes: Uint8Array, lent: Piece | null): void {
    this.#pendingBytes += bytes.length;
    request.handle = handle;
    request.buffer = bytes;
    request.transport = this;
    request.oncomplete = completed;
    request.lent = lent;
    request.heldBytes = lent?.size ?? bytes.length;
    held.bytes += request.heldBytes;
  }

  /** The kernel took a write that had to wait, or will never take it. */
  written(bytes: number, status: number): void {
    this.#pendingBytes -= bytes;
    if (status < 0) this.destroy();
    else if (this.#pendingBytes === 0) this.#owner?.drained();
  }

  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  get untakenBytes(): number {
    return this.#handle?.writeQueueSize ?? this.#pendingBytes;
  }

  pause(): void {
    if (!this.#isEnding) this.#handle?.readStop();
  }

  resume(): void {
    if (!this.#isPeerDone) this.#handle?.readStart();
  }

  end(): void {
    const handle = this.#handle;
    if (this.#isEnding || handle === null) return;
    this.#isEnding = true;
    const request = new this.#wrap.ShutdownWrap();
    request.handle = handle;
    request.oncomplete = (): void => {
      this.#isShut = true;
      if (this.#isPeerDone) this.destroy();
    };
    if (handle.shutdown(request) < 0) return this.destroy();
    // A close with unread bytes would reset the connection and take the last packet with it: read on until the end.
    this.resume();
    this.#linger = setTimeout(() => this.destroy(), LINGER_MS);
  }

  destroy(): void {
    const handle = this.#handle;
    if (handle === null) return;
    this.#handle = null;
    if (this.#linger !== null) clearTimeout(this.#linger);
    handle.close(() => this.#owner?.gone());
  }
}
