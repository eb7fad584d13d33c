/**
 * The users file: lines of our own and those that mosquitto_passwd writes. It is read whole or not at all, and written one
 * user at a time, with every other line left as it is. What is done with it is users.ts's.
 */
import {
  closeSync,
  existsSync,
  fchownSync,
  fsyncSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { ConfigError } from '../errors.js';

/** What is known of one. */
export interface User {
  readonly scheme: Scheme;
  readonly groups: readonly string[];
}

export type Scheme =
  | {
      readonly kind: 'scrypt';
      readonly cost: number;
      readonly block: number;
      readonly lanes: number;
      readonly salt: Buffer;
      readonly hash: Buffer;
    }
  | { readonly kind: 'pbkdf2'; readonly rounds: number; readonly salt: Buffer; readonly hash: Buffer }
  | { readonly kind: 'sha512'; readonly salt: Buffer; readonly hash: Buffer };

/** A password that is shorter is soon guessed. */
export const PASSWORD_SHORT = 8;

export function isUserName(user: string): boolean {
  return user !== '' && !/[:\p{Cc}]/u.test(user) && !user.startsWith('#');
}

/** The users of a file. Any line that is not right refuses the whole file. */
export function parseUsers(text: string, file: string): Map<string, User> {
  const users = new Map<string, User>();
  text.split(/\r?\n/).forEach((line, index) => {
    if (line.trim() === '' || line.startsWith('#')) return;
    const [user = '', hash = '', groups = '', ...rest] = line.split(':');
    const scheme = parseScheme(hash);
    if (user === '' || scheme === null || rest.length > 0) {
      throw new ConfigError(
        'USERS_LINE',
        { file, line: index + 1 },
        'is not `user:hash` or `user:hash:groups`; make lines with `holdfast passwd`',
      );
    }
    users.set(user, { scheme, groups: groups === '' ? [] : groups.split(',').map((group) => group.trim()) });
  });
  return users;
}

function parseScheme(text: string): Scheme | null {
  const parts = text.split('$');
  if (parts[0] !== '') return null;
  const salt = Buffer.from(parts.at(-2) ?? '', 'base64');
  const hash = Buffer.from(parts.at(-1) ?? '', 'base64');
  if (salt.length === 0) return null;
  if (parts[1] === '6' && parts.length === 4 && hash.length === 64) return { kind: 'sha512', salt, hash };
  if (parts[1] === '7' && parts.length === 5 && hash.length === 64) {
    const rounds = Number(parts[2]);
    return Number.isInteger(rounds) && rounds > 0 && rounds <= 10_000_000
      ? { kind: 'pbkdf2', rounds, salt, hash }
      : null;
  }
  if (parts[1] === 'scrypt' && parts.length === 5 && hash.length === 32) {
    const [cost = 0, block = 0, lanes = 0] = (parts[2] ?? '').split(',').map(Number);
    const isRight =
      cost >= 2 &&
      cost <= 1_048_576 &&
      Math.log2(cost) % 1 === 0 &&
      block >= 1 &&
      block <= 32 &&
      lanes >= 1 &&
      lanes <= 16;
    return isRight ? { kind: 'scrypt', cost, block, lanes, salt, hash } : null;
  }
  return null;
}

/**
 * Puts a user's line in, or takes it out when there is none. The new file is whole, on the disk too, before it takes the
 * old one's name.
 */
export function replaceUser(file: string, text: string, user: string, line: string | null): void {
  const lines = text.split(/\r?\n/).filter((other) => other !== '' && !other.startsWith(`${user}:`));
  if (line !== null) lines.push(line);
  const fresh = `${file}.new`;
  rmSync(fresh, { force: true });
  const fd = openSync(fresh, 'wx', 0o600);
  try {
    writeFileSync(fd, lines.map((other) => `${other}\n`).join(''));
    giveToOwner(fd, existsSync(file) ? file : dirname(file));
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(fresh, file);
  settleNames(dirname(file));
}

/** The new file has its name on the disk, too, where a folder can be synced. */
function settleNames(folder: string): void {
  try {
    const fd = openSync(folder, 'r');
    try {
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  } catch {
    // There is nothing more to be had of such a file system.
  }
}

/** What root writes belongs to whose file or folder it was: the gateway has to read it, and is another user. */
function giveToOwner(fd: number, before: string): void {
  if (process.getuid?.() !== 0) return;
  const { uid, gid } = statSync(before);
  fchownSync(fd, uid, gid);
}
