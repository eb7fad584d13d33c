/** The block files of a queue: written once, read through one kept in memory, removed when the far side has all of one. */
import { join } from 'node:path';
import type { Clock } from '../clock.js';
import type { Log } from '../log.js';
import { type Files, isOfPlace, readHead } from '../store/files.js';
import { Unread } from '../store/unread.js';
import { BLOCK_ABOUT_BYTES, openBlock, type OpenBlock, packBlock, readBlockAbout } from './block.js';
import type { Chunk } from './chunk.js';

export interface Block {
  readonly first: number;
  readonly last: number;
  readonly bytes: number;
  readonly newestMs: number;
}

export class Blocks {
  /** What all of them take on the disk. */
  bytes = 0;
  /** In their order. */
  readonly #all: Block[] = [];
  readonly #folder: string;
  readonly #files: Files;
  readonly #log: Log;
  readonly #clock: Clock;
  #open: OpenBlock | null = null;
  /** The block that cannot be read at the moment. */
  #unread: { first: number; tries: Unread } | null = null;

  constructor(folder: string, files: Files, log: Log, clock: Clock) {
    this.#folder = folder;
    this.#files = files;
    this.#log = log;
    this.#clock = clock;
  }

  get oldest(): Block | undefined {
    return this.#all[0];
  }

  /** The last entry that lies in a block; 0: none. */
  get last(): number {
    return this.#all.at(-1)?.last ?? 0;
  }

  get all(): readonly Block[] {
    return [...this.#all];
  }

  async open(): Promise<void> {
    for (const name of (await this.#files.list(this.#folder)).sort()) {
      const path = join(this.#folder, name);
      // What a crash left half written.
      if (/\.block\.new$/.test(name)) await this.#files.remove(path).catch(() => {});
      if (!/^\d{16}\.block$/.test(name)) continue;
      const file = await this.#files.open(path, 'read');
      try {
        const head = Buffer.alloc(BLOCK_ABOUT_BYTES);
        await readHead(file, head);
        const bytes = await file.size();
        const about = readBlockAbout(head, bytes);
        if (about === null)
          this.#log.error('a block of the uplink queue is damaged and left out', { file: path, bytes });
        else
          this.#add({
            first: about.first,
            last: about.first + about.count - 1,
            bytes,
            newestMs: about.newestMs,
          });
      } finally {
        await file.close();
      }
    }
  }

  /** Durable when it resolves. */
  async write(chunk: Chunk): Promise<void> {
    const { first, last, newestMs } = chunk;
    const bytes = await packBlock(chunk);
    const temporary = `${this.#pathOf(first)}.new`;
    await this.#files.remove(temporary).catch(() => {});
    const file = await this.#files.open(temporary, 'create');
    try {
      await file.write(bytes, 0);
      await file.sync();
    } finally {
      await file.close();
    }
    await this.#files.rename(temporary, this.#pathOf(first));
    await this.#files.syncFolder(this.#folder);
    this.#add({ first, last, bytes: bytes.length, newestMs });
  }

  /** The first block that ends at this entry or behind it. */
  from(sequence: number): Block | undefined {
    return this.#all.find(({ last }) => last >= sequence);
  }

  /** Null when it is damaged, or could not be read for long; rejects until then. */
  async read(block: Block): Promise<OpenBlock | null> {
    if (this.#open?.first === block.first) return this.#open;
    const path = this.#pathOf(block.first);
    const bytes = await this.#contentsOf(path, block);
    const open = bytes === null ? null : await openBlock(bytes);
    const messages = block.last - block.first + 1;
    if (open === null)
      this.#log.error('a block of the uplink queue is damaged; its messages are lost', {
        file: path,
        messages,
      });
    else this.#open = open;
    return open;
  }

  /** Null: it is lost, or nothing behind it would ever be sent. */
  async #contentsOf(path: string, { first, bytes }: Block): Promise<Buffer | null> {
    try {
      const file = await this.#files.open(path, 'read');
      const contents = Buffer.allocUnsafe(bytes);
      const got = await file.read(contents, 0).finally(() => file.close());
      this.#unread = null;
      return contents.subarray(0, got);
    } catch (thrown) {
      if (!isOfPlace(thrown)) throw thrown;
      if (this.#unread?.first !== first) this.#unread = { first, tries: new Unread() };
      const { tries } = this.#unread;
      const nowMs = this.#clock.monotonicMs();
      if (tries.isLost(nowMs)) return null;
      tries.failed(nowMs);
      throw thrown;
    }
  }

  remove(block: Block): void {
    const index = this.#all.indexOf(block);
    if (index < 0) return;
    this.#all.splice(index, 1);
    this.bytes -= block.bytes;
    if (this.#open?.first === block.first) this.#open = null;
    this.#files.remove(this.#pathOf(block.first)).catch(() => {});
  }

  #add(block: Block): void {
    this.#all.push(block);
    this.bytes += block.bytes;
  }

  #pathOf(first: number): string {
    return join(this.#folder, `${String(first).padStart(16, '0')}.block`);
  }
}
