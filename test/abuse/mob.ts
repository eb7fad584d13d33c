/** Many sockets that mean no good: opened, written to as fast as they take it or a byte now and then, and left. */
import { connect as connectSocket, type Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import * as wire from '../support/wire.js';

/** A user of the broker who may do what he likes under abuse/, and give commands. */
export const MALLORY = { username: 'mallory', password: 'moonlight' } as const;

/** Period of the device that is polled beside it all. */
export const POLL_MS = 50;

/** Where the register lies that is polled, and the one that commands are for. */
export const POLLED = 0;
export const ORDERED = 1000;

/** Resolves at the first of these events, and listens for none of them afterwards; who is gone is not waited for. */
export function first(socket: Socket, ...events: ('connect' | 'data' | 'drain' | 'close')[]): Promise<void> {
  if (socket.closed) return Promise.resolve();
  return new Promise((resolve) => {
    const heard = (): void => {
      for (const event of events) socket.off(event, heard);
      resolve();
    };
    for (const event of events) socket.on(event, heard);
  });
}

export class Mob {
  readonly endMs: number;
  readonly #sockets = new Set<Socket>();

  constructor(seconds: number) {
    this.endMs = performance.now() + seconds * 1000;
  }

  get isOver(): boolean {
    return performance.now() >= this.endMs;
  }

  get size(): number {
    return this.#sockets.size;
  }

  /** Resolves when it is connected, or not: a broker that defends itself is no fault. */
  open(port: number): Promise<Socket> {
    const socket = connectSocket(port, '127.0.0.1');
    this.#sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => this.#sockets.delete(socket));
    return first(socket, 'connect', 'close').then(() => socket);
  }

  /** A client that was let in; it reads what comes unless it is paused. */
  async client(port: number, clientId: string, options: wire.ConnectOptions = {}): Promise<Socket> {
    const socket = await this.open(port);
    socket.write(wire.connect({ version: 4, clientId, keepAliveS: 600, ...MALLORY, ...options }));
    await first(socket, 'data', 'close');
    socket.resume();
    return socket;
  }

  /** Writes what `next` makes for as long as the other end takes it, until the time is over. */
  async pump(socket: Socket, next: () => Buffer): Promise<void> {
    while (!this.isOver && !socket.destroyed) {
      if (socket.write(next())) await new Promise((resolve) => setImmediate(resolve));
      else await this.drained(socket);
    }
  }

  /** Or the time is over. */
  async drained(socket: Socket): Promise<void> {
    const over = new AbortController();
    await Promise.race([first(socket, 'drain', 'close'), this.rest(over.signal)]);
    over.abort();
  }

  /** Until the time is over. */
  async rest(signal?: AbortSignal): Promise<void> {
    const leftMs = Math.max(0, this.endMs - performance.now());
    await pause(leftMs, undefined, signal === undefined ? {} : { signal }).catch(() => {});
  }

  /** The same by many at once, again and again. */
  async crowd(count: number, one: (index: number) => Promise<void>): Promise<void> {
    await Promise.all(
      Array.from({ length: count }, async (_, index) => {
        while (!this.isOver) await one(index);
      }),
    );
  }

  leave(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
    this.#sockets.clear();
  }
}
