/** Modbus over UDP as a wire: a socket that hears its device and nobody else; each datagram is one frame. */
import { createSocket } from 'node:dgram';
import type { Socket } from 'node:dgram';
import { lookup } from 'node:dns';
import type { Clock } from '../clock.js';
import { failure } from './exchange.js';
import type { Wire, WireListener } from './wire.js';

export interface DatagramSettings {
  readonly host: string;
  readonly port: number;
}

export function openDatagrams(settings: DatagramSettings, clock: Clock, listener: WireListener): Wire {
  return new DatagramWire(settings, clock, listener);
}

class DatagramWire implements Wire {
  readonly #listener: WireListener;
  #socket: Socket | null = null;
  #isEnded = false;
  #isOpen = false;

  constructor(settings: DatagramSettings, clock: Clock, listener: WireListener) {
    this.#listener = listener;
    lookup(settings.host, (error, address, family) => {
      if (this.#isEnded) return;
      if (error !== null) return this.#fail('refused', error.message);
      this.#open(address, family, settings.port, clock);
    });
  }

  write(bytes: Uint8Array): void {
    // A datagram that cannot go is a lost one; a peer that is not there is told of by an error event.
    if (this.#isOpen && !this.#isEnded) this.#socket?.send(bytes, () => {});
  }

  destroy(): Promise<void> {
    this.#isEnded = true;
    const socket = this.#socket;
    if (socket === null) return Promise.resolve();
    this.#socket = null;
    return new Promise((resolve) => socket.close(() => resolve()));
  }

  #open(address: string, family: number, port: number, clock: Clock): void {
    const socket = createSocket(family === 6 ? 'udp6' : 'udp4');
    this.#socket = socket;
    socket.on('error', (error) => this.#fail(this.#isOpen ? 'closed' : 'refused', error.message));
    socket.on('message', (bytes) => {
      if (this.#isEnded) return;
      const nowMs = clock.monotonicMs();
      this.#listener.received(bytes, nowMs, nowMs);
    });
    // Connected, the kernel drops datagrams of strangers and reports a port that is closed.
    socket.connect(port, address, () => {
      if (this.#isEnded) return;
      this.#isOpen = true;
      this.#listener.opened();
    });
  }

  #fail(kind: 'closed' | 'refused', text: string): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#socket?.close();
    this.#socket = null;
    this.#listener.closed(failure(kind, text));
  }
}
