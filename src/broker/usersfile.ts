/** Writing the users file: one user at a time, every other line left as it is. Reading it is users.ts's. */
import { chmodSync, renameSync, writeFileSync } from 'node:fs';

/** A password that is shorter is soon guessed. */
export const PASSWORD_SHORT = 8;

export function isUserName(user: string): boolean {
  return user !== '' && !/[:\p{Cc}]/u.test(user) && !user.startsWith('#');
}

/** Puts a user's line in, or takes it out when there is none. The new file is whole before it takes the old one's name. */
export function replaceUser(file: string, text: string, user: string, line: string | null): void {
  const lines = text.split(/\r?\n/).filter((other) => other !== '' && !other.startsWith(`${user}:`));
  if (line !== null) lines.push(line);
  const fresh = `${file}.new`;
  writeFileSync(fresh, lines.map((other) => `${other}\n`).join(''), { mode: 0o600 });
  chmodSync(fresh, 0o600);
  renameSync(fresh, file);
}
