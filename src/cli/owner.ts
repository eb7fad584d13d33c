/** What root writes into a store belongs to whom the folder belongs to: the gateway has to write it, and is another user. */
import { lchownSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

export function giveToOwner(folder: string): void {
  if (process.getuid?.() !== 0) return;
  const { uid, gid } = statSync(folder);
  for (const name of readdirSync(folder)) lchownSync(join(folder, name), uid, gid);
}
