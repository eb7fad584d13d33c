/**
 * One process a store: a Unix socket in its folder that the kernel closes with its owner, whatever ends it. A second
 * instance gets an answer from it and learns the process id; a socket nobody answers is left from a crash and replaced.
 */
import { chmodSync, closeSync, lstatSync, openSync, renameSync, statSync, unlinkSync } from 'node:fs';
import { createConnection, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { StoreError } from '../errors.js';
import type { Log } from '../log.js';
import { errnoOf } from './files.js';
import { isFullDisk } from './reserve.js';

const NAME = 'lock';
/** Longest path that fits into a socket address with room to spare; longer ones go through /proc. */
const PATH_MAX = 90;
const ANSWER_MS = 1_000;
/** Two that replace a stale lock at once: whoever came last has it, and looks again after this. */
const SETTLE_MS = 30;

export interface Lock {
  release(): void;
}

/** Keeps everybody else out: other users by the folder's mode, other processes by the lock. Rejects when one is in. */
export async function lockFolder(folder: string, log: Log): Promise<Lock> {
  const short = shortPath(folder);
  try {
    if ((statSync(folder).mode & 0o077) !== 0) {
      chmodSync(folder, 0o700);
      log.warn('the store folder was open to others and is not any more', { file: folder });
    }
    return await take(folder, short.path);
  } finally {
    short.close();
  }
}

async function take(folder: string, path: string): Promise<Lock> {
  const lock = join(path, NAME);
  const identity = `${process.pid} ${Math.random().toString(36).slice(2)}`;
  if (isThere(join(folder, NAME))) {
    const owner = await ask(lock);
    if (owner !== null) throw inUse(folder, owner);
    return replace(folder, path, identity);
  }
  const server = await listen(lock, identity).catch((thrown: unknown) => {
    if (errnoOf(thrown) === 'EADDRINUSE') return null;
    throw thrown;
  });
  if (server === null) throw inUse(folder, (await ask(lock)) ?? '');
  return lockOf(folder, server);
}

/** A stale socket: ours is made beside it, put in its place in one step, and must still be there a moment later. */
async function replace(folder: string, path: string, identity: string): Promise<Lock> {
  const own = `${NAME}.${process.pid}`;
  if (isThere(join(folder, own))) unlinkSync(join(folder, own));
  const server = await listen(join(path, own), identity).catch((thrown: unknown) => {
    // A full disk has no place beside it.
    if (!isFullDisk(thrown)) throw thrown;
    unlinkSync(join(folder, NAME));
    return null;
  });
  if (server === null) return settled(folder, path, identity, await listen(join(path, NAME), identity));
  renameSync(join(folder, own), join(folder, NAME));
  return settled(folder, path, identity, server);
}

/** Who has it, once all that came at once have put theirs in its place. */
async function settled(folder: string, path: string, identity: string, server: Server): Promise<Lock> {
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  const owner = await ask(join(path, NAME));
  if (owner === identity) return lockOf(folder, server);
  server.close();
  throw inUse(folder, owner ?? '');
}

function listen(path: string, identity: string): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => {
      socket.on('error', () => {});
      socket.end(identity);
    });
    server.on('error', reject);
    server.listen(path, () => {
      server.unref();
      resolve(server);
    });
  });
}

/** What the owner says of itself; empty when it is alive but silent, null when there is none. */
function ask(path: string): Promise<string | null> {
  return new Promise((resolve) => {
    let text = '';
    const socket = createConnection(path);
    socket.setTimeout(ANSWER_MS, () => socket.destroy());
    let isConnected = false;
    socket.on('connect', () => (isConnected = true));
    socket.on('data', (bytes) => (text += bytes.toString('latin1')));
    socket.on('error', () => {});
    socket.on('close', () => resolve(isConnected ? text : null));
  });
}

function lockOf(folder: string, server: Server): Lock {
  return {
    release(): void {
      try {
        unlinkSync(join(folder, NAME));
      } catch {
        // Somebody cleared the folder; the lock ends with the socket all the same.
      }
      server.close();
    },
  };
}

function inUse(folder: string, owner: string): StoreError {
  const pid = owner.split(' ')[0];
  const who = pid === undefined || pid === '' ? 'another process' : `process ${pid}`;
  return new StoreError(
    'STORE_LOCKED',
    { file: folder },
    `is in use by ${who}; stop that one first, or give this one a store path of its own`,
  );
}

/** A path to the folder that fits into a socket address. */
export function shortPath(folder: string): { path: string; close: () => void } {
  if (Buffer.byteLength(folder) <= PATH_MAX) return { path: folder, close: () => {} };
  const fd = openSync(folder, 'r');
  return { path: `/proc/self/fd/${fd}`, close: () => closeSync(fd) };
}

function isThere(path: string): boolean {
  try {
    lstatSync(path);
    return true;
  } catch {
    return false;
  }
}
