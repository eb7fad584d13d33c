/**
 * A disk in memory below the store: it can fill up, fail on demand, and lose power. After a power cut there is what was
 * synced, and of what was not any part of it, by sectors; names that were not synced may be there or not. A sync that
 * fails drops what it should have written, as Linux does.
 */
import { basename, dirname } from 'node:path';
import type { Files, OpenFile } from '../../src/store/files.js';

const SECTOR_BYTES = 512;

interface Inode {
  bytes: Buffer;
  /** What is synced, or another disk, has the same bytes: they are copied before they change. */
  isShared: boolean;
  size: number;
  synced: Buffer;
  /** Written since the last sync, in order. */
  unsynced: { at: number; bytes: Buffer }[];
}

/** Numbers in [0, 1), the same for the same seed. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export class MemoryDisk implements Files {
  names = new Map<string, Inode>();
  #durable = new Map<string, Inode>();
  capacity = Infinity;
  /** Errno that all writes, or all syncs, fail with. */
  failWrites: string | null = null;
  failSyncs: string | null = null;
  failReads: string | null = null;
  failOpens: string | null = null;
  /** Bytes of a file that cannot be read. */
  badPlace: { path: string; from: number; to: number } | null = null;
  syncCount = 0;
  writtenBytes = 0;

  async open(path: string, mode: 'read' | 'create'): Promise<OpenFile> {
    await tick();
    this.#check(this.failOpens, 'open');
    let inode = this.names.get(path);
    if (mode === 'create') {
      this.#check(this.failWrites, 'open');
      if (inode !== undefined) throw errno('EEXIST', 'open');
      inode = { ...inodeOf(Buffer.alloc(1024)), size: 0, synced: Buffer.alloc(0) };
      this.names.set(path, inode);
    }
    if (inode === undefined) throw errno('ENOENT', 'open');
    return this.#file(inode, path);
  }

  async list(folder: string): Promise<string[]> {
    await tick();
    return [...this.names.keys()].filter((path) => dirname(path) === folder).map((path) => basename(path));
  }

  async makeFolder(): Promise<void> {}

  async rename(from: string, to: string): Promise<void> {
    await tick();
    this.#check(this.failWrites, 'rename');
    const inode = this.names.get(from);
    if (inode === undefined) throw errno('ENOENT', 'rename');
    this.names.delete(from);
    this.names.set(to, inode);
  }

  async remove(path: string): Promise<void> {
    await tick();
    if (this.failWrites !== null && this.failWrites !== 'ENOSPC') throw errno(this.failWrites, 'unlink');
    if (!this.names.delete(path)) throw errno('ENOENT', 'unlink');
  }

  async syncFolder(): Promise<void> {
    await tick();
    this.#check(this.failSyncs, 'fsync');
    this.#durable = new Map(this.names);
  }

  async freeBytes(): Promise<number> {
    return Math.max(0, Math.min(1 << 30, this.capacity - this.usedBytes));
  }

  get usedBytes(): number {
    let sum = 0;
    for (const { size } of this.names.values()) sum += size;
    return sum;
  }

  /** What a start after a power cut finds. */
  afterPowerCut(random: () => number): MemoryDisk {
    const disk = new MemoryDisk();
    disk.capacity = this.capacity;
    for (const path of new Set([...this.names.keys(), ...this.#durable.keys()])) {
      const isKept = random() < 0.5;
      const inode = isKept ? this.names.get(path) : this.#durable.get(path);
      if (inode !== undefined) disk.put(path, contentsAfterCut(inode, random));
    }
    return disk;
  }

  /** What a start after the process was killed finds: all that was written. */
  afterKill(): MemoryDisk {
    const disk = new MemoryDisk();
    disk.capacity = this.capacity;
    for (const [path, inode] of this.names) {
      inode.isShared = true;
      disk.#put(path, inodeOf(inode.bytes.subarray(0, inode.size)));
    }
    return disk;
  }

  /** A file as it lies on the disk, synced. */
  put(path: string, bytes: Buffer): void {
    this.#put(path, inodeOf(Buffer.from(bytes)));
  }

  #put(path: string, inode: Inode): void {
    this.names.set(path, inode);
    this.#durable.set(path, inode);
  }

  /** The bytes themselves: whoever changes them changes the file. */
  contents(path: string): Buffer {
    const inode = this.names.get(path);
    if (inode === undefined) throw errno('ENOENT', 'read');
    unshare(inode);
    return inode.bytes.subarray(0, inode.size);
  }

  #file(inode: Inode, path: string): OpenFile {
    return {
      write: async (bytes, position) => {
        const copy = Buffer.from(bytes);
        await tick();
        this.#check(this.failWrites, 'write');
        const room = this.capacity - this.usedBytes;
        const grows = Math.max(0, position + copy.length - inode.size);
        if (grows > room) {
          this.#apply(inode, position, copy.subarray(0, Math.max(0, copy.length - grows + room)));
          throw errno('ENOSPC', 'write');
        }
        this.#apply(inode, position, copy);
      },
      read: async (into, position) => {
        await tick();
        this.#check(this.failReads, 'read');
        if (position >= inode.size) return 0;
        const { badPlace } = this;
        if (badPlace?.path === path && position < badPlace.to && position + into.length > badPlace.from)
          throw errno('EIO', 'read');
        return inode.bytes.copy(into, 0, position, Math.min(inode.size, position + into.length));
      },
      sync: async () => {
        await tick();
        this.syncCount++;
        if (this.failSyncs !== null) {
          inode.unsynced = [];
          throw errno(this.failSyncs, 'fdatasync');
        }
        inode.synced = Buffer.from(inode.bytes.subarray(0, inode.size));
        inode.unsynced = [];
      },
      size: async () => inode.size,
      close: async () => {},
    };
  }

  #apply(inode: Inode, at: number, bytes: Buffer): void {
    unshare(inode);
    if (at + bytes.length > inode.bytes.length) {
      const larger = Buffer.alloc((at + bytes.length) * 2);
      inode.bytes.copy(larger, 0, 0, inode.size);
      inode.bytes = larger;
    }
    bytes.copy(inode.bytes, at);
    inode.size = Math.max(inode.size, at + bytes.length);
    inode.unsynced.push({ at, bytes });
    this.writtenBytes += bytes.length;
  }

  #check(failure: string | null, call: string): void {
    if (failure !== null) throw errno(failure, call);
  }
}

function inodeOf(bytes: Buffer): Inode {
  return { bytes, isShared: true, size: bytes.length, synced: bytes, unsynced: [] };
}

function unshare(inode: Inode): void {
  if (!inode.isShared) return;
  inode.bytes = Buffer.from(inode.bytes);
  inode.isShared = false;
}

/** Synced bytes, and of later writes none, all, or some sectors. */
function contentsAfterCut(inode: Inode, random: () => number): Buffer {
  const bytes = Buffer.alloc(inode.size);
  inode.synced.copy(bytes);
  let size = inode.synced.length;
  const share = random() < 0.3 ? 0 : random() < 0.3 ? 1 : random();
  for (const write of inode.unsynced) {
    for (let from = 0; from < write.bytes.length;) {
      const to = Math.min(write.bytes.length, from + SECTOR_BYTES - ((write.at + from) % SECTOR_BYTES));
      if (random() < share) {
        write.bytes.copy(bytes, write.at + from, from, to);
        size = Math.max(size, write.at + to);
      }
      from = to;
    }
  }
  return bytes.subarray(0, size);
}

function errno(code: string, call: string): Error {
  return Object.assign(new Error(`${code}: ${call}`), { code });
}

function tick(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
