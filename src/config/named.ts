/** Files that a config names, which may be pipes or devices by mistake, or something else than what is meant. */
import { readFileSync, statSync } from 'node:fs';

const SECRET_MAX_BYTES = 2 ** 20;

export const NOT_A_FILE = 'it is a pipe or a device, not a file';

/** Whether it is a pipe or a device: who reads one may wait for ever, or come to no end. */
export function isEndless(file: string): boolean {
  const about = statSync(file, { throwIfNoEntry: false });
  return about !== undefined && !about.isFile() && !about.isDirectory();
}

/** What a file holds, without the line end after it; throws why it cannot be read. */
export function secretIn(file: string): string {
  if (isEndless(file)) throw new Error(NOT_A_FILE);
  if (statSync(file).size > SECRET_MAX_BYTES) throw new Error('larger than 1 MiB');
  return readFileSync(file, 'utf8').replace(/\r?\n$/, '');
}
