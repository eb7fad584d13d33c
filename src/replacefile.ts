/**
 * Replaces a small file as a whole: a crash or a power cut leaves the old one or the new one, and nothing but the new one
 * once that was promised.
 */
import fs from 'node:fs/promises';
import { dirname } from 'node:path';

/** Durable when it resolves. Readable by its owner only. */
export async function replaceFile(path: string, text: string): Promise<void> {
  const fresh = `${path}.new`;
  try {
    const file = await fs.open(fresh, 'w', 0o600);
    try {
      await file.writeFile(text);
      // A name may reach the disk before what is in the file does.
      await file.sync();
    } finally {
      await file.close();
    }
    await fs.rename(fresh, path);
  } catch (error) {
    await fs.rm(fresh, { force: true }).catch(() => {});
    throw error;
  }
  await settleNames(dirname(path));
}

/** Makes renamed and created names durable, where a folder can be synced. */
async function settleNames(folder: string): Promise<void> {
  try {
    const handle = await fs.open(folder, 'r');
    await handle.sync().finally(() => handle.close());
  } catch {
    // There is nothing more to be had of such a file system.
  }
}
