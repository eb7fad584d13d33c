/**
 * A disk that is none: files live as long as the one who holds them, and nothing is ever synced. On it the store works as
 * it does on a real one, for a rehearsal that must not wear out flash.
 */
import { basename } from 'node:path';
import type { Files, OpenFile } from './files.js';

/** The least a store wants to have. */
const FREE_BYTES = 64 << 20;

export class VolatileFiles implements Files {
  readonly #files = new Map<string, VolatileFile>();

  open(path: string, mode: 'read' | 'create'): Promise<OpenFile> {
    const name = basename(path);
    const known = this.#files.get(name);
    if ((known === undefined) === (mode === 'read'))
      return Promise.reject(Object.assign(new Error(name), { code: mode === 'read' ? 'ENOENT' : 'EEXIST' }));
    const file = known ?? new VolatileFile();
    this.#files.set(name, file);
    return Promise.resolve(file);
  }

  list(): Promise<string[]> {
    return Promise.resolve([...this.#files.keys()]);
  }

  makeFolder(): Promise<void> {
    return Promise.resolve();
  }

  rename(from: string, to: string): Promise<void> {
    const file = this.#files.get(basename(from));
    this.#files.delete(basename(from));
    if (file !== undefined) this.#files.set(basename(to), file);
    return Promise.resolve();
  }

  remove(path: string): Promise<void> {
    this.#files.delete(basename(path));
    return Promise.resolve();
  }

  syncFolder(): Promise<void> {
    return Promise.resolve();
  }

  freeBytes(): Promise<number> {
    return Promise.resolve(FREE_BYTES);
  }
}

class VolatileFile implements OpenFile {
  #bytes = Buffer.alloc(0);
  #size = 0;

  write(bytes: Uint8Array, position: number): Promise<void> {
    const end = position + bytes.length;
    if (end > this.#bytes.length) {
      const grown = Buffer.alloc(Math.max(end, this.#bytes.length * 2));
      this.#bytes.copy(grown, 0, 0, this.#size);
      this.#bytes = grown;
    }
    this.#bytes.set(bytes, position);
    this.#size = Math.max(this.#size, end);
    return Promise.resolve();
  }

  read(into: Uint8Array, position: number): Promise<number> {
    const found = this.#bytes.subarray(position, Math.min(this.#size, position + into.length));
    into.set(found);
    return Promise.resolve(found.length);
  }

  sync(): Promise<void> {
    return Promise.resolve();
  }

  size(): Promise<number> {
    return Promise.resolve(this.#size);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
