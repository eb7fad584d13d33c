/**
 * Files that keep what was not synced in this process's memory only: when it is killed, that is lost, as after a power
 * cut. Names that were not synced are lost as well. Reads see everything.
 */
import fs from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { systemFiles, type Files, type OpenFile } from '../../src/store/files.js';

interface Write {
  at: number;
  bytes: Buffer;
}

/** A file made by this process. */
interface Fresh {
  /** All of it, as this process sees it. */
  bytes: Buffer;
  size: number;
  unsynced: Write[];
  /** Synced, but waiting for the name. */
  staged: Buffer;
  /** Where it really is, once its name was synced. */
  path: string | null;
}

export class ForgetfulFiles implements Files {
  readonly #fresh = new Map<string, Fresh>();
  readonly #removed = new Set<string>();

  async open(path: string, mode: 'read' | 'create'): Promise<OpenFile> {
    const known = this.#fresh.get(path);
    if (mode === 'read') {
      if (known !== undefined) return this.#file(known);
      if (this.#removed.has(path)) throw Object.assign(new Error(`ENOENT: ${path}`), { code: 'ENOENT' });
      return systemFiles.open(path, 'read');
    }
    if (known !== undefined || (fs.existsSync(path) && !this.#removed.has(path))) {
      throw Object.assign(new Error(`EEXIST: ${path}`), { code: 'EEXIST' });
    }
    const fresh = { bytes: Buffer.alloc(4096), size: 0, unsynced: [], staged: Buffer.alloc(0), path: null };
    this.#fresh.set(path, fresh);
    return this.#file(fresh);
  }

  async list(folder: string): Promise<string[]> {
    const names = new Set(
      (await systemFiles.list(folder)).filter((name) => !this.#removed.has(join(folder, name))),
    );
    for (const path of this.#fresh.keys()) if (dirname(path) === folder) names.add(basename(path));
    return [...names].filter((name) => !name.startsWith('staging-'));
  }

  makeFolder(folder: string): Promise<void> {
    return systemFiles.makeFolder(folder);
  }

  async rename(from: string, to: string): Promise<void> {
    const fresh = this.#fresh.get(from);
    if (fresh === undefined) throw Object.assign(new Error(`ENOENT: ${from}`), { code: 'ENOENT' });
    this.#fresh.delete(from);
    this.#fresh.set(to, fresh);
    if (fresh.path !== null) this.#removed.add(from);
    this.#removed.delete(to);
  }

  async remove(path: string): Promise<void> {
    const wasFresh = this.#fresh.delete(path);
    if (!wasFresh && !fs.existsSync(path))
      throw Object.assign(new Error(`ENOENT: ${path}`), { code: 'ENOENT' });
    this.#removed.add(path);
  }

  /** Names become real, each in one step. */
  async syncFolder(folder: string): Promise<void> {
    for (const [path, fresh] of this.#fresh) {
      if (dirname(path) !== folder || fresh.path === path) continue;
      if (fresh.path === null) {
        const staging = join(folder, `staging-${basename(path)}`);
        fs.writeFileSync(staging, fresh.staged, { mode: 0o600 });
        fs.renameSync(staging, path);
      } else fs.renameSync(fresh.path, path);
      fresh.path = path;
    }
    for (const path of this.#removed) {
      if (dirname(path) === folder && !this.#fresh.has(path)) fs.rmSync(path, { force: true });
    }
    this.#removed.clear();
  }

  freeBytes(folder: string): Promise<number> {
    return systemFiles.freeBytes(folder);
  }

  #file(fresh: Fresh): OpenFile {
    return {
      write: async (bytes, position) => {
        const copy = Buffer.from(bytes);
        await new Promise((resolve) => setImmediate(resolve));
        if (position + copy.length > fresh.bytes.length) {
          const larger = Buffer.alloc((position + copy.length) * 2);
          fresh.bytes.copy(larger, 0, 0, fresh.size);
          fresh.bytes = larger;
        }
        copy.copy(fresh.bytes, position);
        fresh.size = Math.max(fresh.size, position + copy.length);
        fresh.unsynced.push({ at: position, bytes: copy });
      },
      read: async (into, position) =>
        position >= fresh.size
          ? 0
          : fresh.bytes.copy(into, 0, position, Math.min(fresh.size, position + into.length)),
      sync: async () => {
        await new Promise((resolve) => setImmediate(resolve));
        const { unsynced } = fresh;
        fresh.unsynced = [];
        if (fresh.path === null) fresh.staged = Buffer.from(fresh.bytes.subarray(0, fresh.size));
        else writeAll(fresh.path, unsynced);
      },
      size: async () => fresh.size,
      close: async () => {},
    };
  }
}

function writeAll(path: string, writes: Write[]): void {
  const fd = fs.openSync(path, 'r+');
  for (const { at, bytes } of writes) fs.writeSync(fd, bytes, 0, bytes.length, at);
  fs.closeSync(fd);
}
