/** Writing the users file: one user at a time, every other line left as it is. Reading it is users.ts's. */
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

/** A password that is shorter is soon guessed. */
export const PASSWORD_SHORT = 8;

export function isUserName(user: string): boolean {
  return user !== '' && !/[:\p{Cc}]/u.test(user) && !user.startsWith('#');
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
}

/** What root writes belongs to whose file or folder it was: the gateway has to read it, and is another user. */
function giveToOwner(fd: number, before: string): void {
  if (process.getuid?.() !== 0) return;
  const { uid, gid } = statSync(before);
  fchownSync(fd, uid, gid);
}
