/**
 * A file that only takes up room, given back when the disk is full: deletions, the snapshot and compaction can then
 * still be written, and so make room. Until it could be made again the disk counts as full.
 */
import { randomFillSync } from 'node:crypto';
import { join } from 'node:path';
import type { Cancel, Clock } from '../clock.js';
import { messageOf, StoreError } from '../errors.js';
import type { Log } from '../log.js';
import { errnoOf, type Files } from './files.js';

const NAME = 'reserve';
/** Of what is free at the start. */
const SHARE = 1 / 16;
const BYTES_MIN = 64 * 1024;
const BYTES_MAX = 4 << 20;
const STEP_BYTES = 64 * 1024;
const RETRY_MS = 1_000;

export interface ReserveOptions {
  folder: string;
  files: Files;
  clock: Clock;
  log: Log;
  /** Removes what is not needed. */
  makeRoom: () => Promise<void>;
  /** What a full disk means for those who read the log. */
  meanwhile?: string;
}

export class Reserve {
  readonly #options: ReserveOptions;
  readonly #path: string;
  #bytes = BYTES_MIN;
  /** There is such a file. */
  #isHeld = false;
  #isMissing = false;
  #isClosed = false;
  #cancel: Cancel | null = null;

  constructor(options: ReserveOptions) {
    this.#options = options;
    this.#path = join(options.folder, NAME);
  }

  /** It was given back and could not be made again yet. */
  get isMissing(): boolean {
    return this.#isMissing;
  }

  /** Takes the one of an earlier run, or makes one; a full disk is no error. */
  async open(): Promise<void> {
    const { files, folder } = this.#options;
    if ((await files.list(folder)).includes(NAME)) {
      const file = await files.open(this.#path, 'read');
      const size = await file.size().finally(() => file.close());
      this.#isHeld = size >= BYTES_MIN;
      if (this.#isHeld) this.#bytes = size;
      else await this.#remove();
    }
    if (this.#isHeld) return;
    const steps = Math.floor(((await files.freeBytes(folder)) * SHARE) / STEP_BYTES);
    this.#bytes = Math.max(BYTES_MIN, Math.min(BYTES_MAX, steps * STEP_BYTES));
    try {
      await this.#take();
    } catch (thrown) {
      if (!isFullDisk(thrown)) throw thrown;
      this.give(thrown);
    }
  }

  /** The disk is full: gives the room back, and tries to have it again later. */
  give(cause: unknown): void {
    if (this.#isMissing) return;
    this.#isMissing = true;
    const { folder, log, meanwhile = 'messages are not acknowledged until there is room' } = this.#options;
    log.error(`the disk is full; ${meanwhile}`, { file: folder, error: messageOf(cause) });
    void this.#remove();
    this.#arm();
  }

  error(cause?: unknown): StoreError {
    const text = 'the disk is full; make room, and the store goes on by itself';
    return new StoreError('STORE_FULL', { file: this.#options.folder }, text, cause);
  }

  close(): void {
    this.#isClosed = true;
    this.#cancel?.();
  }

  #arm(): void {
    if (!this.#isClosed) this.#cancel = this.#options.clock.after(RETRY_MS, () => void this.#regain());
  }

  /** Never rejects. */
  async #regain(): Promise<void> {
    try {
      const isGiven = !this.#isHeld;
      if (!isGiven) await this.#remove(); // the disk did not let go of it before
      await this.#options.makeRoom();
      if (!isGiven) return this.#arm();
      await this.#take();
      this.#isMissing = false;
      this.#options.log.info('there is room for the store again', { file: this.#options.folder });
    } catch {
      this.#arm();
    }
  }

  /** Rejects when there is not enough room. Random bytes, since some flash file systems compress. */
  async #take(): Promise<void> {
    const file = await this.#options.files.open(this.#path, 'create');
    this.#isHeld = true;
    try {
      // One buffer for all steps: what a start allocates stays with the process.
      const bytes = Buffer.allocUnsafeSlow(Math.min(this.#bytes, STEP_BYTES));
      for (let at = 0; at < this.#bytes; at += STEP_BYTES) await file.write(randomFillSync(bytes), at);
      await file.sync();
    } catch (thrown) {
      await this.#remove();
      throw thrown;
    } finally {
      await file.close();
    }
  }

  /** It may stay: flash file systems want room to remove a file, too. */
  async #remove(): Promise<void> {
    try {
      await this.#options.files.remove(this.#path);
      this.#isHeld = false;
    } catch (thrown) {
      if (errnoOf(thrown) === 'ENOENT') this.#isHeld = false;
    }
  }
}

export function isFullDisk(thrown: unknown): boolean {
  return ['ENOSPC', 'EDQUOT'].includes(errnoOf(thrown));
}
