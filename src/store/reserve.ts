/**
 * A file that only takes up room, given back when the disk is full: deletions, the snapshot and compaction can then
 * still be written, and so make room. Until it could be made again the disk counts as full.
 */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { Files } from './files.js';

const NAME = 'reserve';
/** Of what is free at the start. */
const SHARE = 1 / 16;
const BYTES_MIN = 64 * 1024;
const BYTES_MAX = 4 << 20;
const STEP_BYTES = 64 * 1024;

export class Reserve {
  readonly #folder: string;
  readonly #files: Files;
  #bytes = BYTES_MIN;
  isHeld = false;

  constructor(folder: string, files: Files) {
    this.#folder = folder;
    this.#files = files;
  }

  /** Finds the one of an earlier run, or decides how large a new one is to be. */
  async open(): Promise<void> {
    if ((await this.#files.list(this.#folder)).includes(NAME)) {
      const file = await this.#files.open(join(this.#folder, NAME), 'read');
      const size = await file.size();
      await file.close();
      this.isHeld = size >= BYTES_MIN;
      if (this.isHeld) this.#bytes = size;
      else await this.give();
    }
    if (this.isHeld) return;
    const free = await this.#files.freeBytes(this.#folder);
    this.#bytes = Math.max(
      BYTES_MIN,
      Math.min(BYTES_MAX, Math.floor((free * SHARE) / STEP_BYTES) * STEP_BYTES),
    );
  }

  /** Takes the room again; rejects when there is not enough. Random bytes, since some flash file systems compress. */
  async take(): Promise<void> {
    if (this.isHeld) return;
    const path = join(this.#folder, NAME);
    const file = await this.#files.open(path, 'create');
    try {
      for (let at = 0; at < this.#bytes; at += STEP_BYTES) await file.write(randomBytes(STEP_BYTES), at);
      await file.sync();
      this.isHeld = true;
    } finally {
      await file.close();
      if (!this.isHeld) await this.give();
    }
  }

  async give(): Promise<void> {
    this.isHeld = false;
    try {
      await this.#files.remove(join(this.#folder, NAME));
    } catch {
      // It was not there, or the disk is worse than full: the next write will tell.
    }
  }
}
