/** Masters that are not ours: mbpoll (libmodbus) and pymodbus, and the unit that pymodbus_master.py expects to meet. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { packageFolder } from '../../src/entry.js';
import type { UnitSpec } from '../../src/simulator/spec.js';

const run = promisify(execFile);

export const PYMODBUS_UNIT: UnitSpec = {
  unitId: 7,
  values: [
    { table: 'holding-register', address: 0, quantity: 4, script: 'fixed', hex: '000100021234ffff' },
    { table: 'input-register', address: 10, quantity: 2, script: 'fixed', hex: '42280000' },
    { table: 'coil', address: 3, quantity: 3, script: 'fixed', hex: '05' },
    { table: 'discrete-input', address: 0, quantity: 8, script: 'fixed', hex: 'a5' },
  ],
  holes: [{ table: 'holding-register', address: 500, quantity: 2 }],
  identity: ['Acme', 'M7', '2.1', 'https://acme.example'],
};

/** What pymodbus_master.py tells of it. */
export const PYMODBUS_SEES = {
  holding: [1, 2, 0x1234, 0xffff],
  input: [0x4228, 0],
  coils: [true, false, true],
  discrete: [true, false, true, false, false, true, false, true],
  afterWrite: [77],
  afterWrites: [5, 6, 7],
  afterCoils: [true, true, false, true, true],
  afterMask: [(77 & 0x00f2) | (0x2500 & ~0x00f2)],
  readWrite: [9, 8],
  vendor: 'Acme',
  illegal: 2,
  tooMany: 3,
};

/** Once, with addresses from 0. */
export async function mbpoll(...args: string[]): Promise<string> {
  const { stdout } = await run('mbpoll', ['-0', '-1', '-q', ...args], { timeout: 20_000 });
  return stdout.replaceAll('\t', ' ');
}

/** Runs a script of test/support/peers; its output is one JSON line. */
export async function pymodbus<T = Record<string, unknown>>(script: string, ...args: string[]): Promise<T> {
  const path = join(packageFolder(), 'test/support/peers', script);
  const { stdout } = await run('/usr/bin/python3', [path, ...args], { timeout: 60_000 });
  return JSON.parse(stdout) as T;
}
