/** Files that are named on a command line. */
import { readFileSync } from 'node:fs';
import { buffer } from 'node:stream/consumers';
import { messageOf } from '../errors.js';
import { errnoOf } from '../store/files.js';
import { type Context, UsageError } from './verb.js';

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

/** The same, or what comes on stdin where the name is -. */
export async function inputOf(file: string, { stdin }: Pick<Context, 'stdin'>): Promise<Buffer> {
  return file === '-' ? buffer(stdin) : inputFile(file);
}

/** A password without the end of its line. */
export async function passwordIn(file: string, context: Pick<Context, 'stdin'>): Promise<string> {
  return (await inputOf(file, context)).toString().replace(/\r?\n$/, '');
}
