/**
 * A store as one file and back: a tar archive of its format file, newest snapshot and segments, ending in a checksum
 * over all of it, so that any tool can look inside and a damaged archive is refused before anything is replaced.
 */
import { dirname, join } from 'node:path';
import { crc32 } from 'node:zlib';
import { messageOf, StoreError } from '../errors.js';
import type { Files, OpenFile } from './files.js';

export interface BackupEntry {
  name: string;
  bytes: number;
  read: (into: Buffer, position: number) => Promise<number>;
}

const BLOCK_BYTES = 512;
const PIECE_BYTES = 256 * 1024;
const CHECK_NAME = 'check';
/** What a store consists of; nothing else is written on restore, whatever an archive says. */
const NAMES = /^(format|snapshot-\d{10}|\d{10}\.log)$/;

/** Small files, read at once: they may be replaced while larger ones are copied. */
export async function readAll(folder: string, files: Files, names: string[]): Promise<BackupEntry[]> {
  const entries: BackupEntry[] = [];
  for (const name of names) {
    const file = await files.open(join(folder, name), 'read');
    const bytes = Buffer.alloc(await file.size());
    await file.read(bytes, 0).finally(() => file.close());
    entries.push({
      name,
      bytes: bytes.length,
      read: async (into, position) => bytes.copy(into, 0, position),
    });
  }
  return entries;
}

/** Where an archive goes, piece by piece from its beginning: a file, or whoever asked for it. */
export type Sink = Pick<OpenFile, 'write'>;

/** Resolves with the size of the archive. */
export async function writeArchive(sink: Sink, entries: BackupEntry[], nowMs: number): Promise<number> {
  const archive = new ArchiveWriter(sink, nowMs);
  for (const entry of entries) await archive.add(entry);
  await archive.end();
  return archive.position;
}

/** Has the archive written beside its place, and puts it there when it is whole. */
export async function writeBackup(
  target: string,
  files: Files,
  write: (sink: Sink) => Promise<number>,
): Promise<number> {
  const temporary = `${target}.new`;
  try {
    await files.remove(temporary).catch(() => {});
    const file = await files.open(temporary, 'create');
    try {
      const bytes = await write(file);
      await readEntries(file, target);
      await file.sync();
      await files.rename(temporary, target);
      await files.syncFolder(dirname(target));
      return bytes;
    } finally {
      await file.close();
    }
  } catch (thrown) {
    await files.remove(temporary).catch(() => {});
    throw new StoreError('STORE_BACKUP', { file: target }, `cannot be written: ${messageOf(thrown)}`, thrown);
  }
}

/** Puts a store into a folder that is empty or not there; refuses an archive that is not whole, and writes nothing. */
export async function restoreBackup(source: string, folder: string, files: Files): Promise<number> {
  const file = await files.open(source, 'read').catch((thrown: unknown) => {
    throw new StoreError('STORE_BACKUP', { file: source }, `cannot be read: ${messageOf(thrown)}`, thrown);
  });
  try {
    const entries = await readEntries(file, source);
    await files.makeFolder(folder);
    if ((await files.list(folder)).length > 0) {
      throw new StoreError(
        'STORE_BACKUP',
        { file: folder },
        'is not empty; move it away, or name another folder',
      );
    }
    for (const entry of entries) await extract(file, entry, join(folder, entry.name), files);
    await files.syncFolder(folder);
    return entries.length;
  } finally {
    await file.close();
  }
}

class ArchiveWriter {
  readonly #sink: Sink;
  readonly #nowMs: number;
  position = 0;
  #sum = 0;

  constructor(sink: Sink, nowMs: number) {
    this.#sink = sink;
    this.#nowMs = nowMs;
  }

  async add({ name, bytes, read }: BackupEntry): Promise<void> {
    await this.#write(headerOf(name, bytes, this.#nowMs));
    for (let done = 0; done < bytes;) {
      const piece = Buffer.alloc(Math.min(PIECE_BYTES, bytes - done));
      if ((await read(piece, done)) < piece.length) throw new Error(`${name} is shorter than it was`);
      await this.#write(piece);
      done += piece.length;
    }
    await this.#write(Buffer.alloc(paddingOf(bytes)));
  }

  async end(): Promise<void> {
    const text = Buffer.from(`${this.#sum.toString(16).padStart(8, '0')}\n`);
    await this.#write(headerOf(CHECK_NAME, text.length, this.#nowMs));
    await this.#write(Buffer.concat([text, Buffer.alloc(paddingOf(text.length))]));
    await this.#write(Buffer.alloc(2 * BLOCK_BYTES));
  }

  async #write(bytes: Buffer): Promise<void> {
    if (bytes.length === 0) return;
    this.#sum = crc32(bytes, this.#sum);
    await this.#sink.write(bytes, this.position);
    this.position += bytes.length;
  }
}

interface Entry {
  name: string;
  at: number;
  bytes: number;
}

async function readEntries(file: OpenFile, source: string): Promise<Entry[]> {
  const entries: Entry[] = [];
  const header = Buffer.alloc(BLOCK_BYTES);
  let sum = 0;
  for (let at = 0; ;) {
    const isRead = (await file.read(header, at)) === BLOCK_BYTES;
    const name = header.toString('latin1', 0, 100).replace(/\0.*$/s, '');
    const bytes = parseInt(header.toString('latin1', 124, 135), 8);
    if (!isRead || !headerOf(name, bytes, 0).subarray(0, 136).equals(header.subarray(0, 136)))
      throw notWhole(source);
    if (name === CHECK_NAME) {
      const text = Buffer.alloc(9);
      await file.read(text, at + BLOCK_BYTES);
      if (text.toString('latin1') !== `${sum.toString(16).padStart(8, '0')}\n`) throw notWhole(source);
      return entries;
    }
    if (!NAMES.test(name)) throw notWhole(source);
    entries.push({ name, at: at + BLOCK_BYTES, bytes });
    const end = at + BLOCK_BYTES + bytes + paddingOf(bytes);
    for (; at < end; at += PIECE_BYTES) {
      const piece = Buffer.alloc(Math.min(PIECE_BYTES, end - at));
      if ((await file.read(piece, at)) < piece.length) throw notWhole(source);
      sum = crc32(piece, sum);
    }
    at = end;
  }
}

async function extract(file: OpenFile, { at, bytes }: Entry, path: string, files: Files): Promise<void> {
  const target = await files.open(path, 'create');
  try {
    for (let done = 0; done < bytes; done += PIECE_BYTES) {
      const piece = Buffer.alloc(Math.min(PIECE_BYTES, bytes - done));
      await file.read(piece, at + done);
      await target.write(piece, done);
    }
    await target.sync();
  } finally {
    await target.close();
  }
}

/** A ustar header; its fields up to the time depend on name and size alone. */
function headerOf(name: string, bytes: number, nowMs: number): Buffer {
  const header = Buffer.alloc(BLOCK_BYTES);
  header.write(name, 0, 'latin1');
  header.write('0000600\0' + '0000000\0' + '0000000\0', 100, 'latin1');
  header.write(
    `${Math.max(0, bytes || 0)
      .toString(8)
      .padStart(11, '0')}\0`,
    124,
    'latin1',
  );
  header.write(
    `${Math.floor(nowMs / 1000)
      .toString(8)
      .padStart(11, '0')}\0`,
    136,
    'latin1',
  );
  header.write('        0', 148, 'latin1');
  header.write('ustar\x0000', 257, 'latin1');
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return header;
}

function paddingOf(bytes: number): number {
  return (BLOCK_BYTES - (bytes % BLOCK_BYTES)) % BLOCK_BYTES;
}

function notWhole(source: string): StoreError {
  return new StoreError(
    'STORE_BACKUP',
    { file: source },
    'is not a whole backup of a store; nothing was restored',
  );
}
