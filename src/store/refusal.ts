/** Why a store's folder cannot be used, and what whoever starts the gateway can do about it. */
import { accessSync, constants, existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { messageOf, StoreError } from '../errors.js';
import { errnoOf } from './files.js';

const ELSEWHERE = "name another folder as 'path' of the store, or have 'store: memory'";

/** What to do, by what the system says. */
const NEXT_STEPS = new Map([
  ['EROFS', `is on a read-only file system: mount it writable, ${ELSEWHERE}`],
  ['EACCES', `may not be written by this user: give it to the one that runs the gateway, ${ELSEWHERE}`],
  ['EPERM', `may not be written by this user: give it to the one that runs the gateway, ${ELSEWHERE}`],
  ['ENOTDIR', `is no folder, or lies in something that is none: ${ELSEWHERE}`],
  ['EEXIST', `is no folder: ${ELSEWHERE}`],
]);

export function refusalOf(folder: string, thrown: unknown): StoreError {
  if (thrown instanceof StoreError) return thrown;
  const step = NEXT_STEPS.get(causeOf(folder, thrown));
  const text =
    step === undefined ? `cannot be opened: ${messageOf(thrown)}` : `${step} (${messageOf(thrown)})`;
  return new StoreError('STORE_OPEN', { file: folder }, text, thrown);
}

/** One of its files gives nothing. A start without it would go on as if what it holds had never been. */
export function unreadable(path: string, thrown: unknown): StoreError {
  const text = `cannot be read: ${messageOf(thrown)}; check the disk, or move the file away to start without what it holds`;
  return new StoreError('STORE_IO', { file: path }, text, thrown);
}

/** Node says ENOENT of a folder that cannot be made, whatever the reason: its nearest ancestor tells. */
function causeOf(folder: string, thrown: unknown): string {
  const code = errnoOf(thrown);
  if (code !== 'ENOENT') return code;
  let nearest = dirname(folder);
  while (!existsSync(nearest) && nearest !== dirname(nearest)) nearest = dirname(nearest);
  try {
    accessSync(nearest, constants.W_OK);
    return code;
  } catch (refused) {
    return errnoOf(refused);
  }
}
