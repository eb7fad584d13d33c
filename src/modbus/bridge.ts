/**
 * The worker's side of a serial port whose bytes pass through the main thread, and the messages between the two.
 * serial.ts is the other side.
 */
import type { MessagePort } from 'node:worker_threads';
import { type Clock, sharedMs } from '../clock.js';
import { failure } from './exchange.js';
import type { Wire, WireListener } from './wire.js';

/** How a serial port is to be opened. */
export interface SerialSettings {
  readonly path: string;
  readonly baud: number;
  readonly dataBits: 7 | 8;
  readonly parity: 'none' | 'even' | 'odd';
  readonly stopBits: 1 | 2;
}

/** To the main thread. The number tells one opening from the next, so that nothing of the last one is mistaken. */
export type SerialOrder =
  | { readonly kind: 'open'; readonly opening: number; readonly settings: SerialSettings }
  | {
      readonly kind: 'write';
      readonly opening: number;
      readonly bytes: Uint8Array;
      readonly answerBytes: number;
    }
  | { readonly kind: 'close'; readonly opening: number };

/** From the main thread; times are of process.hrtime, which threads share, in ms. */
export type SerialReport =
  | { readonly kind: 'opened'; readonly opening: number }
  | {
      readonly kind: 'bytes';
      readonly opening: number;
      readonly bytes: Uint8Array;
      readonly firstAtMs: number;
      readonly lastAtMs: number;
    }
  | { readonly kind: 'closed'; readonly opening: number; readonly text: string };

/** One serial port as seen from the worker: each open() is one connection to it. */
export class SerialBridge {
  readonly #port: MessagePort;
  readonly #clock: Clock;
  #opening = 0;
  #listener: WireListener | null = null;
  #released: (() => void) | null = null;

  constructor(port: MessagePort, clock: Clock) {
    this.#port = port;
    this.#clock = clock;
    port.on('message', (report: SerialReport) => this.#report(report));
    port.on('close', () => this.#closed('the thread that owns the port is gone'));
    port.unref();
  }

  open(settings: SerialSettings, listener: WireListener): Wire {
    this.#opening += 1;
    const opening = this.#opening;
    this.#released?.();
    this.#released = null;
    this.#listener = listener;
    // As long as a port is open its worker has something to live for.
    this.#port.ref();
    this.#order({ kind: 'open', opening, settings });
    return {
      write: (bytes, answerBytes) => this.#order({ kind: 'write', opening, bytes, answerBytes }),
      destroy: () => this.#destroy(opening),
    };
  }

  #order(order: SerialOrder): void {
    this.#port.postMessage(order);
  }

  #destroy(opening: number): Promise<void> {
    if (this.#listener === null || opening !== this.#opening) return Promise.resolve();
    this.#listener = null;
    return new Promise((resolve) => {
      this.#released = resolve;
      this.#order({ kind: 'close', opening });
    });
  }

  #report(report: SerialReport): void {
    if (report.opening !== this.#opening) return;
    switch (report.kind) {
      case 'opened':
        this.#listener?.opened();
        break;
      case 'bytes': {
        const agoMs = sharedMs() - this.#clock.monotonicMs();
        this.#listener?.received(report.bytes, report.firstAtMs - agoMs, report.lastAtMs - agoMs);
        break;
      }
      case 'closed':
        this.#closed(report.text);
        break;
    }
  }

  #closed(text: string): void {
    const listener = this.#listener;
    this.#listener = null;
    this.#released?.();
    this.#released = null;
    this.#port.unref();
    listener?.closed(failure('closed', text));
  }
}
