/**
 * How another process of the same user gets a backup of a store that is in use: a Unix socket in the store's folder,
 * which sends the archive to whoever connects, one at a time. The file is written by who asked, with his rights.
 */
import { rmSync } from 'node:fs';
import { createConnection, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { messageOf, StoreError } from '../errors.js';
import type { Log } from '../log.js';
import { writeBackup, type Sink } from './backup.js';
import { errnoOf, systemFiles } from './files.js';
import { shortPath } from './lock.js';

const NAME = 'backup';
/** Who takes nothing for so long has gone away. */
const PATIENCE_MS = 30_000;

/** Offers backups until the returned function is called. The folder is locked, so an older socket is a dead one. */
export function offerBackups(folder: string, archive: (sink: Sink) => Promise<number>, log: Log): () => void {
  const short = shortPath(folder);
  const takers = new Set<Socket>();
  const server = createServer((socket) => {
    socket.on('error', () => {});
    if (takers.size > 0) {
      socket.destroy();
      return;
    }
    takers.add(socket);
    socket.on('close', () => takers.delete(socket));
    socket.setTimeout(PATIENCE_MS, () => socket.destroy());
    socket.resume();
    archive(sinkTo(socket)).then(
      (bytes) => {
        socket.end();
        log.info('a backup was taken', { file: folder, bytes });
      },
      (thrown: unknown) => {
        socket.destroy();
        log.warn('a backup was not finished', { file: folder, error: messageOf(thrown) });
      },
    );
  });
  server.on('error', (error) =>
    log.warn('backups cannot be offered', { file: folder, error: error.message }),
  );
  rmSync(join(folder, NAME), { force: true });
  server.listen(join(short.path, NAME), () => short.close());
  server.unref();
  return () => {
    for (const socket of takers) socket.destroy();
    server.close();
  };
}

/** A backup from the process that has the store; null when none has. Resolves with its size. */
export async function fetchBackup(folder: string, target: string): Promise<number | null> {
  const socket = await connect(folder);
  if (socket === null) return null;
  try {
    return await writeBackup(target, systemFiles, async (sink) => {
      let position = 0;
      for await (const piece of socket as AsyncIterable<Buffer>) {
        await sink.write(piece, position);
        position += piece.length;
      }
      if (position > 0) return position;
      throw new StoreError(
        'STORE_BACKUP',
        { file: folder },
        'gives no backup now; is another one under way?',
      );
    });
  } finally {
    socket.destroy();
  }
}

function connect(folder: string): Promise<Socket | null> {
  const short = shortPath(folder);
  return new Promise<Socket | null>((resolve, reject) => {
    const socket = createConnection(join(short.path, NAME));
    socket.on('connect', () => resolve(socket));
    socket.on('error', (error) => {
      if (['ENOENT', 'ECONNREFUSED'].includes(errnoOf(error))) resolve(null);
      else
        reject(
          new StoreError('STORE_BACKUP', { file: folder }, `cannot be reached: ${error.message}`, error),
        );
    });
  }).finally(() => short.close());
}

function sinkTo(socket: Socket): Sink {
  return {
    write: (bytes) =>
      new Promise((resolve, reject) => {
        if (socket.destroyed) {
          reject(new Error('whoever asked for it went away'));
          return;
        }
        socket.write(bytes, (error) => (error ? reject(error) : resolve()));
      }),
  };
}
