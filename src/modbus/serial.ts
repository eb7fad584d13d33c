/**
 * Main thread only: opens serial ports and moves their bytes to the worker that owns the line, and back. It knows no
 * protocol. serialport is loaded with the first port; read in a worker it would take the process down.
 */
import { access } from 'node:fs';
import type { MessagePort } from 'node:worker_threads';
import type { SerialPort as Port } from 'serialport';
import { sharedMs } from '../clock.js';
import { messageOf } from '../errors.js';
import type { SerialOrder, SerialReport, SerialSettings } from './bridge.js';

/** Fewer bytes than the worker awaits are handed over after this, so that a byte at a time costs no message each. */
const GATHER_MS = 4;

/** A port whose hang-up was not heard of is missed by its name, looked for this often. */
const PRESENCE_MS = 1000;

/** No opening has this number. */
const NONE = 0;

/** Linux only, and so not among the options that the types of all systems share. */
const LOW_LATENCY = { lowLatency: true } as Parameters<Port['set']>[0];

/**
 * Serves one line's orders for as long as its worker lives; the returned function ends it and releases the port.
 * maySend is asked right before bytes go out.
 */
export function serveSerial(port: MessagePort, maySend: () => boolean = () => true): () => void {
  const server = new SerialServer(port, maySend);
  return () => server.end();
}

class SerialServer {
  readonly #port: MessagePort;
  readonly #maySend: () => boolean;
  #opening = NONE;
  #device: Port | null = null;
  /** The port before this one, until it is released: the lock is only free then. */
  #released: Promise<void> = Promise.resolve();
  #gathered: Uint8Array[] = [];
  #gatheredBytes = 0;
  #awaitedBytes = 0;
  #firstAtMs = 0;
  #lastAtMs = 0;
  #timer: NodeJS.Timeout | null = null;
  #presence: NodeJS.Timeout | null = null;

  constructor(port: MessagePort, maySend: () => boolean) {
    this.#port = port;
    this.#maySend = maySend;
    port.on('message', (order: SerialOrder) => this.#order(order));
    port.on('close', () => this.#leave());
  }

  end(): void {
    this.#leave();
    this.#port.close();
  }

  #leave(): void {
    this.#opening = NONE;
    this.#release();
  }

  #order(order: SerialOrder): void {
    if (order.kind === 'open') {
      this.#opening = order.opening;
      void this.#open(order.opening, order.settings);
    } else if (order.opening === this.#opening) {
      if (order.kind === 'write') return this.#write(order.bytes, order.answerBytes);
      this.#close('closed');
      // An opening that still waits for its turn must not begin any more.
      this.#opening = NONE;
    }
  }

  async #open(opening: number, settings: SerialSettings): Promise<void> {
    this.#release();
    await this.#released;
    let device: Port;
    try {
      const { SerialPort } = await import('serialport');
      if (opening !== this.#opening) return;
      const { path, baud, dataBits, parity, stopBits } = settings;
      const options = { path, baudRate: baud, dataBits, parity, stopBits, lock: true, autoOpen: false };
      device = new SerialPort(options);
    } catch (error) {
      this.#report({ kind: 'closed', opening, text: messageOf(error) });
      return;
    }
    this.#watch(opening, device);
    device.open((error) => {
      if (error === null) this.#opened(opening, device);
      else if (this.#device === device) this.#close(error.message);
    });
  }

  /** Listeners are there before the port is: an unplugged port without a reader would spin for ever. */
  #watch(opening: number, device: Port): void {
    this.#device = device;
    device.on('data', (bytes: Uint8Array) => {
      if (this.#device === device) this.#received(opening, bytes);
    });
    device.on('error', (error) => {
      if (this.#device === device) this.#close(error.message);
    });
    device.on('close', (error: Error | null) => {
      if (this.#device === device) this.#close(error?.message ?? 'the port was closed');
    });
  }

  #opened(opening: number, device: Port): void {
    if (this.#device !== device) {
      device.close(() => {});
      return;
    }
    // Adapters that cannot (pseudo-terminals too) are as quick as they are.
    device.set(LOW_LATENCY, () => {});
    this.#presence = setInterval(() => this.#look(device), PRESENCE_MS).unref();
    device.flush(() => {
      if (this.#device === device) this.#report({ kind: 'opened', opening });
    });
  }

  /** An adapter that is pulled out takes its name along. */
  #look(device: Port): void {
    access(device.path, (error) => {
      if (error !== null && this.#device === device) this.#close(`${device.path} is gone`);
    });
  }

  #write(bytes: Uint8Array, answerBytes: number): void {
    this.#hand();
    this.#awaitedBytes = answerBytes;
    if (this.#maySend()) this.#device?.write(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length));
  }

  #received(opening: number, bytes: Uint8Array): void {
    this.#lastAtMs = sharedMs();
    if (this.#gatheredBytes === 0) this.#firstAtMs = this.#lastAtMs;
    this.#gathered.push(bytes);
    this.#gatheredBytes += bytes.length;
    if (this.#gatheredBytes >= this.#awaitedBytes) this.#hand();
    else this.#timer ??= setTimeout(() => this.#hand(), GATHER_MS);
    if (opening !== this.#opening) this.#gathered = [];
  }

  #hand(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    const [only] = this.#gathered;
    if (only === undefined) return;
    const bytes = this.#gathered.length === 1 ? only : Buffer.concat(this.#gathered);
    this.#awaitedBytes = Math.max(0, this.#awaitedBytes - this.#gatheredBytes);
    this.#gathered = [];
    this.#gatheredBytes = 0;
    const { firstAtMs, lastAtMs } = { firstAtMs: this.#firstAtMs, lastAtMs: this.#lastAtMs };
    this.#report({ kind: 'bytes', opening: this.#opening, bytes, firstAtMs, lastAtMs });
  }

  #report(report: SerialReport): void {
    this.#port.postMessage(report);
  }

  /** Ends the port that is open or being opened, and says so once it is released. */
  #close(text: string): void {
    const opening = this.#opening;
    this.#release();
    // The binding puts the word before what it says.
    const reason = text.replace(/^Error:? /, '');
    void this.#released.then(() => this.#report({ kind: 'closed', opening, text: reason }));
  }

  #release(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#presence !== null) clearInterval(this.#presence);
    this.#presence = null;
    this.#gathered = [];
    this.#gatheredBytes = 0;
    const device = this.#device;
    this.#device = null;
    if (device === null || !device.isOpen) return;
    this.#released = new Promise((resolve) => device.close(() => resolve()));
  }
}
