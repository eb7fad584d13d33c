/**
 * The few things the store asks of a file system, as an interface, so that a test can put a disk below it that fills
 * up, fails or forgets what was not synced. The real one works on libuv's thread pool and never blocks the loop.
 */
import fs from 'node:fs';
import { dirname, resolve } from 'node:path';

export interface OpenFile {
  /** Writes all of it, or rejects. */
  write(bytes: Uint8Array, position: number): Promise<void>;
  /** Fills `into` from a position; resolves with how much there was before the end of the file. */
  read(into: Uint8Array, position: number): Promise<number>;
  /** fdatasync: contents and length are on the disk when it resolves. */
  sync(): Promise<void>;
  size(): Promise<number>;
  close(): Promise<void>;
}

export interface Files {
  /** `create` refuses a name that exists; new files are readable by their owner only. */
  open(path: string, mode: 'read' | 'create'): Promise<OpenFile>;
  list(folder: string): Promise<string[]>;
  /** Also makes parents, and their names durable; an existing folder is no error. */
  makeFolder(folder: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  remove(path: string): Promise<void>;
  /** Makes created, renamed and removed names durable. */
  syncFolder(folder: string): Promise<void>;
  /** Bytes that can still be written. */
  freeBytes(folder: string): Promise<number>;
}

/** Linux answers these for folders on file systems that cannot sync them; there is nothing more to be had. */
const FOLDER_SYNC_UNSUPPORTED = new Set(['EINVAL', 'ENOTSUP', 'EISDIR', 'EPERM']);

export const systemFiles: Files = {
  async open(path, mode) {
    const flags = mode === 'read' ? 'r' : 'wx+';
    return new SystemFile(await call<number>((done) => fs.open(path, flags, 0o600, done)));
  },
  list: (folder) => call((done) => fs.readdir(folder, done)),
  async makeFolder(folder) {
    const path = resolve(folder);
    const options = { recursive: true, mode: 0o700 } as const;
    const first = await call<string | undefined>((done) => fs.mkdir(path, options, done));
    await syncNames(path, first ?? path);
  },
  rename: (from, to) => call((done) => fs.rename(from, to, done)),
  remove: (path) => call((done) => fs.unlink(path, done)),
  async syncFolder(folder) {
    const fd = await call<number>((done) => fs.open(folder, 'r', done));
    try {
      await call<void>((done) => fs.fsync(fd, done));
    } catch (thrown) {
      if (!FOLDER_SYNC_UNSUPPORTED.has(errnoOf(thrown))) throw thrown;
    } finally {
      await call<void>((done) => fs.close(fd, done));
    }
  },
  async freeBytes(folder) {
    const { bavail, bsize } = await call<fs.StatsFs>((done) => fs.statfs(folder, done));
    return bavail * bsize;
  },
};

/** Of a folder and those above it up to `first`: what is synced in one whose own name is not may be gone with it. */
async function syncNames(folder: string, first: string): Promise<void> {
  for (let at = folder; at.length >= first.length && at !== dirname(at); at = dirname(at)) {
    // The one above may belong to somebody else, and be closed to us.
    await systemFiles.syncFolder(dirname(at)).catch(() => {});
  }
}

class SystemFile implements OpenFile {
  readonly #fd: number;

  constructor(fd: number) {
    this.#fd = fd;
  }

  async write(bytes: Uint8Array, position: number): Promise<void> {
    for (let done = 0; done < bytes.length;) {
      const written = await call<number>((end) =>
        fs.write(this.#fd, bytes, done, bytes.length - done, position + done, end),
      );
      if (written === 0) throw Object.assign(new Error('nothing could be written'), { code: 'ENOSPC' });
      done += written;
    }
  }

  async read(into: Uint8Array, position: number): Promise<number> {
    let done = 0;
    while (done < into.length) {
      const count = await call<number>((end) =>
        fs.read(this.#fd, into, done, into.length - done, position + done, end),
      );
      if (count === 0) break;
      done += count;
    }
    return done;
  }

  sync(): Promise<void> {
    return call((done) => fs.fdatasync(this.#fd, done));
  }

  async size(): Promise<number> {
    return (await call<fs.Stats>((done) => fs.fstat(this.#fd, done))).size;
  }

  close(): Promise<void> {
    return call((done) => fs.close(this.#fd, done));
  }
}

/** What the system says of a place that cannot be read; all else, such as too many open files, says nothing of it. */
const ERRNOS_OF_PLACES = new Set(['EIO', 'ENODATA', 'EILSEQ', 'EBADMSG', 'EUCLEAN', 'ENOENT']);

export function isOfPlace(thrown: unknown): boolean {
  return ERRNOS_OF_PLACES.has(errnoOf(thrown));
}

/** The beginning of a file; nothing where it cannot be read, as if it were damaged. */
export async function readHead(file: OpenFile, into: Buffer): Promise<number> {
  return file.read(into, 0).catch((thrown: unknown) => {
    if (isOfPlace(thrown)) return 0;
    throw thrown;
  });
}

/** So much is lost with each place that cannot be read. */
const PIECE_BYTES = 4096;

/**
 * Fills `into` from the beginning of a file, with zeros where a place of it cannot be read; answers how much there was,
 * and how much of it is zeros. Rejects where nothing can be read: that may be the whole disk, and for a while.
 */
export async function readAround(
  file: OpenFile,
  into: Buffer,
): Promise<{ got: number; unreadBytes: number }> {
  try {
    return { got: await file.read(into, 0), unreadBytes: 0 };
  } catch (thrown) {
    if (!isOfPlace(thrown)) throw thrown;
    const got = Math.min(into.length, await file.size());
    let unreadBytes = 0;
    for (let at = 0; at < got; at += PIECE_BYTES) {
      const piece = into.subarray(at, Math.min(got, at + PIECE_BYTES));
      try {
        await file.read(piece, at);
      } catch {
        piece.fill(0);
        unreadBytes += piece.length;
      }
    }
    if (unreadBytes === got) throw thrown;
    return { got, unreadBytes };
  }
}

/** The errno name of a failed call, such as ENOSPC; empty when it has none. */
export function errnoOf(thrown: unknown): string {
  return thrown instanceof Error && 'code' in thrown ? String(thrown.code) : '';
}

function call<T>(start: (done: (error: Error | null, value?: T) => void) => void): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    // Callbacks without a result resolve with undefined, which is what their callers ask for (T is void there).
    start((error, value) => (error === null ? resolve(value as T) : reject(error)));
  });
}
