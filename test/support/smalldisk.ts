/** A small disk of its own for a test, in memory. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';

/** With so many files, itself included; 0: as many as there are. Null where that cannot be had. */
export function smallDisk(context: TestContext, size: string, files = 0): string | null {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-disk-'));
  const options = `size=${size},nr_inodes=${files},mode=0700`;
  const isMounted = spawnSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', folder]).status === 0;
  context.after(() => {
    if (isMounted) spawnSync('umount', ['-l', folder]);
    rmSync(folder, { recursive: true, force: true });
  });
  return isMounted ? folder : null;
}
