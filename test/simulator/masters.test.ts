/** Masters that are not ours, against the simulated plant: mbpoll (libmodbus) and pymodbus, on TCP and on a line. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mbpoll, pymodbus, PYMODBUS_SEES, PYMODBUS_UNIT } from '../support/masters.js';
import { startLine, startPlant, socketOf, startTcp } from '../support/plant.js';

test('mbpoll reads all four tables over TCP and sees what it wrote', async (t) => {
  const { host, port } = await startTcp(t, [PYMODBUS_UNIT]);
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
  const { plant, path } = await startLine(t, [PYMODBUS_UNIT]);
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
  const { host, port } = await startTcp(t, [PYMODBUS_UNIT]);
  assert.deepEqual(await pymodbus('pymodbus_master.py', 'tcp', host, String(port)), PYMODBUS_SEES);
});

test('pymodbus does the same on an RTU line', async (t) => {
  const { path } = await startLine(t, [PYMODBUS_UNIT], { baud: 115200 });
  assert.deepEqual(await pymodbus('pymodbus_master.py', 'rtu', path, '115200'), PYMODBUS_SEES);
});

test('pymodbus does the same on an ASCII line, and over UDP', async (t) => {
  const { path } = await startLine(t, [PYMODBUS_UNIT], { baud: 115200 }, 'ascii');
  assert.deepEqual(await pymodbus('pymodbus_master.py', 'ascii', path, '115200'), PYMODBUS_SEES);
  const plant = await startPlant(t, {
    buses: [{ name: 'udp', link: { kind: 'udp' }, units: [PYMODBUS_UNIT] }],
  });
  const { host, port } = await socketOf(plant, 'udp');
  assert.deepEqual(await pymodbus('pymodbus_master.py', 'udp', host, String(port)), PYMODBUS_SEES);
});

test('pymodbus reaches units behind a converter that speaks RTU over TCP', async (t) => {
  const plant = await startPlant(t, {
    buses: [{ name: 'converter', link: { kind: 'rtu-over-tcp' }, units: [PYMODBUS_UNIT] }],
  });
  const { host, port } = await socketOf(plant, 'converter');
  assert.deepEqual(await pymodbus('pymodbus_master.py', 'rtu-over-tcp', host, String(port)), PYMODBUS_SEES);
});
