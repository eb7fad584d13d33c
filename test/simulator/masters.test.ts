/** Masters that are not ours, against the simulated plant: mbpoll (libmodbus) and pymodbus, on TCP and on a line. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { packageFolder } from '../../src/entry.js';
import type { UnitSpec } from '../../src/simulator/spec.js';
import { startLine, startPlant, socketOf, startTcp } from '../support/plant.js';

const run = promisify(execFile);

const UNIT: UnitSpec = {
  unitId: 7,
  values: [
    { table: 'holding-register', address: 0, quantity: 4, script: 'fixed', hex: '000100021234ffff' },
    { table: 'input-register', address: 10, quantity: 2, script: 'fixed', hex: '42280000' },
    { table: 'coil', address: 3, quantity: 3, script: 'fixed', hex: '05' },
    { table: 'discrete-input', address: 0, quantity: 8, script: 'fixed', hex: 'a5' },
  ],
  identity: ['Acme', 'M7', '2.1', 'https://acme.example'],
};

async function mbpoll(...args: string[]): Promise<string> {
  const { stdout } = await run('mbpoll', ['-0', '-1', '-q', ...args], { timeout: 20_000 });
  return stdout.replaceAll('\t', ' ');
}

/** Runs the checks of pymodbus_master.py; its output is one JSON line. */
async function pymodbus(...args: string[]): Promise<Record<string, unknown>> {
  const script = join(packageFolder(), 'test/support/peers/pymodbus_master.py');
  const { stdout } = await run('/usr/bin/python3', [script, ...args], { timeout: 30_000 });
  return JSON.parse(stdout) as Record<string, unknown>;
}

const PYMODBUS_SEES = {
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

test('mbpoll reads all four tables over TCP and sees what it wrote', async (t) => {
  const { host, port } = await startTcp(t, [UNIT]);
  const tcp = ['-m', 'tcp', '-p', String(port), '-a', '7'];
  assert.match(
    await mbpoll(...tcp, '-t', '4:hex', '-r', '0', '-c', '4', host),
    /0x0001[^]*0x0002[^]*0x1234[^]*0xFFFF/,
  );
  assert.match(await mbpoll(...tcp, '-t', '3:float', '-B', '-r', '10', '-c', '1', host), /\[10\]: +42/);
  assert.match(
    await mbpoll(...tcp, '-t', '0', '-r', '3', '-c', '3', host),
    /\[3\]: +1[^]*\[4\]: +0[^]*\[5\]: +1/,
  );
  await mbpoll(...tcp, '-t', '4', '-r', '20', host, '11', '12', '13');
  assert.match(await mbpoll(...tcp, '-t', '4', '-r', '20', '-c', '3', host), /11[^]*12[^]*13/);
});

test('mbpoll reads and writes a line at 9600 baud', async (t) => {
  const { plant, path } = await startLine(t, [UNIT]);
  const rtu = ['-m', 'rtu', '-b', '9600', '-P', 'none', '-a', '7'];
  assert.match(await mbpoll(...rtu, '-t', '4:hex', '-r', '0', '-c', '4', path), /0x0001[^]*0xFFFF/);
  await mbpoll(...rtu, '-t', '4', '-r', '20', path, '11', '12', '13');
  assert.match(await mbpoll(...rtu, '-t', '4', '-r', '20', '-c', '3', path), /11[^]*12[^]*13/);
  assert.deepEqual(
    (await plant.exchanges('line')).map(({ functionCode, address, quantity }) => [
      functionCode,
      address,
      quantity,
    ]),
    [[3, 0, 4], [16, 20, 3], [3, 20, 3]], // prettier-ignore
  );
});

test('pymodbus reads, writes and is refused as the specification says, over TCP', async (t) => {
  const { host, port } = await startTcp(t, [
    { ...UNIT, holes: [{ table: 'holding-register', address: 500, quantity: 1 }] },
  ]);
  assert.deepEqual(await pymodbus('tcp', host, String(port)), PYMODBUS_SEES);
});

test('pymodbus does the same on an RTU line', async (t) => {
  const { path } = await startLine(
    t,
    [{ ...UNIT, holes: [{ table: 'holding-register', address: 500, quantity: 1 }] }],
    { baud: 115200 },
  );
  assert.deepEqual(await pymodbus('rtu', path, '115200'), PYMODBUS_SEES);
});

test('pymodbus does the same on an ASCII line, and over UDP', async (t) => {
  const unit = { ...UNIT, holes: [{ table: 'holding-register', address: 500, quantity: 1 } as const] };
  const { path } = await startLine(t, [unit], { baud: 115200 }, 'ascii');
  assert.deepEqual(await pymodbus('ascii', path, '115200'), PYMODBUS_SEES);
  const plant = await startPlant(t, { buses: [{ name: 'udp', link: { kind: 'udp' }, units: [unit] }] });
  const { host, port } = await socketOf(plant, 'udp');
  assert.deepEqual(await pymodbus('udp', host, String(port)), PYMODBUS_SEES);
});

test('pymodbus reaches units behind a converter that speaks RTU over TCP', async (t) => {
  const unit = { ...UNIT, holes: [{ table: 'holding-register', address: 500, quantity: 1 } as const] };
  const plant = await startPlant(t, {
    buses: [{ name: 'converter', link: { kind: 'rtu-over-tcp' }, units: [unit] }],
  });
  const { host, port } = await socketOf(plant, 'converter');
  assert.deepEqual(await pymodbus('rtu-over-tcp', host, String(port)), PYMODBUS_SEES);
});
