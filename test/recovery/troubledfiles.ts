/** Files of a disk that a file beside the store commands: `hold` keeps syncs waiting, `slow` delays them, EROFS refuses. */
import fs from 'node:fs';
import { errnoOf, systemFiles, type Files, type OpenFile } from '../../src/store/files.js';

const SLOW_MS = 40;
const LOOK_MS = 5;

export type Trouble = 'hold' | 'slow' | 'EROFS' | 'none';

/** Where the trouble is said. */
export function troubleFileOf(storeFolder: string): string {
  return `${storeFolder}.trouble`;
}

export function troubledFiles(storeFolder: string): Files {
  const file = troubleFileOf(storeFolder);
  const refuse = (): void => {
    if (troubleIn(file) === 'EROFS')
      throw Object.assign(new Error('EROFS: read-only file system'), { code: 'EROFS' });
  };
  const linger = async (): Promise<void> => {
    if (troubleIn(file) === 'slow') await pause(SLOW_MS);
    while (troubleIn(file) === 'hold') await pause(LOOK_MS);
  };
  return {
    ...systemFiles,
    async open(path, mode) {
      if (mode === 'create') refuse();
      return troubled(await systemFiles.open(path, mode), refuse, linger);
    },
    async rename(from, to) {
      refuse();
      await systemFiles.rename(from, to);
    },
    async remove(path) {
      refuse();
      await systemFiles.remove(path);
    },
    async syncFolder(folder) {
      await linger();
      refuse();
      await systemFiles.syncFolder(folder);
    },
  };
}

function troubled(file: OpenFile, refuse: () => void, linger: () => Promise<void>): OpenFile {
  return {
    async write(bytes, position) {
      refuse();
      await file.write(bytes, position);
    },
    read: (into, position) => file.read(into, position),
    async sync() {
      await linger();
      refuse();
      await file.sync();
    },
    size: () => file.size(),
    close: () => file.close(),
  };
}

function troubleIn(file: string): string {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch (thrown) {
    if (errnoOf(thrown) === 'ENOENT') return 'none';
    throw thrown;
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
