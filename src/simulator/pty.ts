/**
 * Pseudo-terminals from the optional prebuilt package: the bare pair, with no program on the other side. Raw, so that
 * no byte is changed, before any master opens it.
 */
import { spawnSync } from 'node:child_process';
import { closeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { ReadStream } from 'node:tty';

export interface Pty {
  /** The path that a master opens as its serial port. */
  readonly path: string;
  write(bytes: Uint8Array): void;
  /** What the master sent; and that the terminal is gone. */
  onData(listener: (bytes: Uint8Array) => void): void;
  /** The master's side hangs up, as when an adapter is pulled out. */
  close(): void;
}

interface NativePty {
  open(columns: number, rows: number): { master: number; slave: number; pty: string };
}

let native: NativePty | null | undefined;

/** Whether this installation has pseudo-terminals. */
export function hasPty(): boolean {
  return loadNative() !== null;
}

export function openPty(): Pty {
  const binding = loadNative();
  if (binding === null) throw new Error('this installation has no pseudo-terminals (@lydell/node-pty)');
  const { master, slave, pty } = binding.open(80, 24);
  // On the terminal's own descriptor: opening it by path could make it the controlling terminal.
  spawnSync('stty', ['raw', '-echo'], { stdio: [slave, 'ignore', 'ignore'] });
  const stream = new ReadStream(master);
  stream.on('error', () => {});
  let isOpen = true;
  return {
    path: pty,
    write: (bytes) => {
      if (isOpen) stream.write(bytes);
    },
    onData: (listener) => void stream.on('data', listener),
    close: () => {
      if (!isOpen) return;
      isOpen = false;
      stream.destroy();
      closeSync(slave);
    },
  };
}

function loadNative(): NativePty | null {
  if (native !== undefined) return native;
  native = null;
  try {
    const require = createRequire(import.meta.url);
    // The package's own way to its prebuilt file; its public open() leaves a descriptor behind.
    const binary: unknown = require('@lydell/node-pty/requireBinary.js');
    if (typeof binary === 'object' && binary !== null && 'requireBinary' in binary) {
      const load = binary.requireBinary;
      // The function's only form; the result is the native module, whose open() is used here alone.
      if (typeof load === 'function') native = load('pty.node') as NativePty;
    }
  } catch {
    native = null;
  }
  return native;
}
