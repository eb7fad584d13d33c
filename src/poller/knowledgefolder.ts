/**
 * The folder where what devices taught is kept: one readable file a device, replaced as a whole. A file that cannot
 * be read or written costs its knowledge, nothing else.
 */
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Device } from '../config/plant.js';
import { messageOf } from '../errors.js';
import type { Log } from '../log.js';
import { replaceFile } from '../replacefile.js';
import type { KnowledgeRecord } from './knowledge.js';

/** Changes of one device are gathered for so long. */
const GATHER_MS = 2000;

export class KnowledgeFolder {
  readonly #folder: string | null;
  readonly #log: Log;
  readonly #records = new Map<number, unknown>();
  readonly #changed = new Map<number, KnowledgeRecord>();
  #timer: NodeJS.Timeout | null = null;
  #writing: Promise<void> = Promise.resolve();
  #hasFailed = false;

  constructor(folder: string | null, log: Log) {
    this.#folder = folder;
    this.#log = log;
  }

  async load(devices: readonly Device[]): Promise<void> {
    const folder = this.#folder;
    if (folder === null) return;
    await mkdir(folder, { recursive: true, mode: 0o700 }).catch((error: unknown) => this.#complain(error));
    for (const device of devices) {
      const text = await readFile(this.#pathOf(folder, device.name), 'utf8').catch(() => null);
      if (text === null) continue;
      try {
        const record: unknown = JSON.parse(text);
        this.#records.set(device.index, record);
      } catch (error) {
        this.#log.warn('what the device taught cannot be read', {
          device: device.name,
          error: messageOf(error),
        });
      }
    }
  }

  /** What is known of these devices, for a worker that starts. */
  of(devices: readonly Device[]): Map<number, unknown> {
    const known = new Map<number, unknown>();
    for (const { index } of devices) {
      const record = this.#records.get(index);
      if (record !== undefined) known.set(index, record);
    }
    return known;
  }

  /** Keeps a record; one that says nothing worth keeping makes no file. */
  keep(deviceIndex: number, record: KnowledgeRecord): void {
    const isWorthIt =
      record.limits !== undefined ||
      record.holes !== undefined ||
      record.refused !== undefined ||
      record.mask_write !== undefined;
    if (!isWorthIt && !this.#records.has(deviceIndex)) return;
    this.#records.set(deviceIndex, record);
    if (this.#folder === null) return;
    this.#changed.set(deviceIndex, record);
    this.#timer ??= setTimeout(() => void this.flush(), GATHER_MS);
  }

  /** Writes what has changed. */
  flush(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#writing = this.#writing.then(() => this.#write());
    return this.#writing;
  }

  async #write(): Promise<void> {
    const folder = this.#folder;
    if (folder === null) return;
    const records = [...this.#changed.values()];
    this.#changed.clear();
    for (const record of records) {
      const path = this.#pathOf(folder, record.device);
      try {
        await replaceFile(path, `${JSON.stringify(record, null, 2)}\n`);
        this.#hasFailed = false;
      } catch (error) {
        this.#complain(error);
      }
    }
  }

  #complain(error: unknown): void {
    if (!this.#hasFailed)
      this.#log.warn('what devices taught cannot be kept', {
        file: this.#folder ?? '',
        error: messageOf(error),
      });
    this.#hasFailed = true;
  }

  /** Device names are slugs; anything else is made harmless. */
  #pathOf(folder: string, device: string): string {
    return join(folder, `${encodeURIComponent(device).replaceAll('.', '%2E')}.json`);
  }
}
