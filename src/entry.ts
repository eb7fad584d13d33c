/**
 * Where the program's own files are, whether it runs bundled (dist/) or compiled for tests (build/src/): both keep
 * this file, or the chunk it was bundled into, at the root of the tree that holds the worker entries.
 */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The entry file of a worker thread or process, such as "poller/worker.js". */
export function entryUrl(path: string): URL {
  return new URL(`./${path}`, import.meta.url);
}

/** The folder that holds package.json, devices/ and config/. */
export function packageFolder(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json'))) {
    const parent = dirname(folder);
    if (parent === folder) throw new Error(`no package.json above ${fileURLToPath(import.meta.url)}`);
    folder = parent;
  }
  return folder;
}
