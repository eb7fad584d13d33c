/** Files that are named on a command line. */
import { readFileSync } from 'node:fs';
import { messageOf } from '../errors.js';
import { errnoOf } from '../store/files.js';
import { UsageError } from './verb.js';

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EACCES: 'this user may not read it',
  EISDIR: 'it is a folder',
};

/** Its content, or a usage error that names it. */
export function inputFile(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (thrown) {
    throw new UsageError(`${file} cannot be read: ${REASONS[errnoOf(thrown)] ?? messageOf(thrown)}`);
  }
}
