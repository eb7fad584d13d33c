/**
 * A simulated serial line on a pseudo-terminal. Masters open a link with a stable path, as udev gives one by adapter:
 * unplugging takes the terminal away, plugging in makes a new one behind the same link.
 */
import { lstatSync, mkdirSync, mkdtempSync, readlinkSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Clock } from '../clock.js';
import type { Address, Endpoint } from './endpoint.js';
import { Line } from './line.js';
import { openPty, type Pty } from './pty.js';
import type { SerialSpec } from './spec.js';
import type { Station } from './station.js';

const DEFAULT_LINE = { baud: 9600 };

export class SerialEndpoint implements Endpoint {
  readonly station: Station;
  readonly #line: Line;
  readonly #path: string;
  /** A folder made for this line alone; null: the path was given. */
  readonly #folder: string | null;
  #pty: Pty | null = null;

  constructor(spec: SerialSpec, station: Station, clock: Clock) {
    this.station = station;
    this.#folder = spec.path === undefined ? mkdtempSync(join(tmpdir(), 'holdfast-line-')) : null;
    this.#path = spec.path ?? join(this.#folder ?? tmpdir(), station.name);
    this.#line = new Line(station, spec.kind, spec.line ?? DEFAULT_LINE, clock, {
      heard: (bytes) => this.#pty?.write(bytes),
      ended: () => {},
    });
  }

  get address(): Address {
    return { kind: 'serial', path: this.#path };
  }

  open(): Promise<void> {
    return this.plugIn();
  }

  plugIn(): Promise<void> {
    if (this.#pty === null) {
      const pty = openPty();
      pty.onData((bytes) => {
        if (this.station.linkFault('black-hole') === null) this.#line.receive(bytes);
        else this.station.transcript.counts.swallowed += bytes.length;
      });
      mkdirSync(dirname(this.#path), { recursive: true });
      removeLink(this.#path);
      symlinkSync(pty.path, this.#path);
      this.#pty = pty;
    }
    return Promise.resolve();
  }

  unplug(): Promise<void> {
    this.#pty?.close();
    this.#pty = null;
    this.#line.reset();
    removeLink(this.#path);
    return Promise.resolve();
  }

  refresh(): Promise<void> {
    return Promise.resolve();
  }

  async close(): Promise<void> {
    await this.unplug();
    if (this.#folder !== null) rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** Takes away a link to a pseudo-terminal, ours or one that a plant before us left; anything else is not ours to touch. */
function removeLink(path: string): void {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSymbolicLink() || !readlinkSync(path).startsWith('/dev/pts/')) {
    throw new Error(`${path} is there already and is no simulated line; choose another path`);
  }
  rmSync(path);
}
