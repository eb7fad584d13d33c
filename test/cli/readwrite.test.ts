/** read and write: at a URL against pymodbus and the simulator, and by name through a running gateway or without one. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Daemon } from '../support/daemon.js';
import { holdfast } from '../support/holdfast.js';
import { mbpoll, ModbusServer } from '../support/modbusserver.js';
import { startLine, startTcp } from '../support/plant.js';
import { Typist } from '../support/verb.js';

const folder = mkdtempSync(join(tmpdir(), 'holdfast-read-'));
after(() => rmSync(folder, { recursive: true }));

/** 21.5 as float32 is 41AC0000; here its low word comes first. */
const FLOAT = [0x0000, 0x41ac];

test('registers, bits, types and every order of pymodbus are read; what is written is there', async (t) => {
  const server = await new ModbusServer('pymodbus', { kind: 'tcp' }, 1, {
    'holding-register': { 0: [1, 2, 3], 10: FLOAT },
    coil: { 3: [1] },
  }).start();
  t.after(() => server.kill());
  const url = `tcp://127.0.0.1:${server.port}/1`;
  const read = await holdfast(['read', url, 'holding:0-2', 'coil:3', '40011:float32:CDAB']);
  assert.equal(read.code, 0, read.stderr);
  assert.equal(read.stdout, 'holding:0  1\nholding:1  2\nholding:2  3\ncoil:3     true\n40011      21.5\n');
  const orders = await holdfast(['read', url, 'holding:10:float32', '--order', 'all', '--json']);
  const rows = JSON.parse(orders.stdout) as { name: string; v: number; plausible: boolean }[];
  assert.deepEqual(rows.filter(({ plausible }) => plausible).map(({ name, v }) => [name, v]), [['holding:10 CDAB', 21.5]]);
  assert.equal(rows.length, 4);
  const write = await holdfast(['write', url, 'holding:1', '777']);
  assert.equal(write.code, 0, write.stderr);
  assert.deepEqual(mbpoll(server.port, 1, 'holding-register', 0, 3), [1, 777, 3]);
}); // prettier-ignore

test('exit codes: 4 nobody answers, 5 the device says no, 7 cannot be written, 2 not understood', async (t) => {
  const { port } = await startTcp(t, [{ unitId: 1, only: [{ table: 'holding-register', address: 0, quantity: 10 }] }]);
  const url = `tcp://127.0.0.1:${port}/1`;
  const silent = await holdfast(['read', 'tcp://127.0.0.1:1/1', 'holding:0']);
  assert.equal(silent.code, 4);
  assert.match(silent.stderr, /ECONNREFUSED.*is the port right/s);
  const refused = await holdfast(['read', url, 'holding:99']);
  assert.equal(refused.code, 5, refused.stderr);
  assert.match(refused.stderr, /illegal data address.*one lower or higher/s);
  assert.equal((await holdfast(['write', url, 'input:0', '1'])).code, 7);
  for (const args of [['read'], ['read', url], ['read', url, 'hold:0'], ['read', url, 'holding:0:flaot'], ['write', url, 'holding:0'], ['read', 'x']])
    assert.equal((await holdfast(args)).code, 2, args.join(' '));
}); // prettier-ignore

test('a device on a serial line is read', async (t) => {
  const { path } = await startLine(t, [{ unitId: 7, values: [{ table: 'input-register', address: 0, quantity: 1, script: 'fixed', hex: '1267' }] }]);
  const { stdout, stderr, code } = await holdfast(['read', `rtu://${path}?baud=9600&unit=7`, 'input:0']);
  assert.deepEqual([code, stdout], [0, 'input:0  4711\n'], stderr);
}); // prettier-ignore

test('by name: without a gateway, then through it while it holds the bus; limits, rights and the question hold', async (t) => {
  const { plant, port } = await startTcp(t, [{ unitId: 1 }]);
  const config = (mqtt: number): string => `
version: 1
gateway: { id: gw }
broker: { listeners: [{ protocol: mqtt, host: 127.0.0.1, port: ${mqtt} }, { unix: ./mqtt.sock }], anonymous: true, store: memory }
buses: { plc: { protocol: tcp, host: 127.0.0.1, port: ${port} } }
devices:
  press1:
    bus: plc
    unit_id: 1
    tags:
      setpoint: { holding: 10, type: uint16, scale: 0.1, unit: "°C", write: { min: 0, max: 90 } }
      speed: { holding: 11, type: uint16 }
`;
  const file = join(folder, 'gateway.yaml');
  writeFileSync(file, config(0));
  assert.deepEqual((await holdfast(['write', '-c', file, 'press1', 'setpoint', '55.5'])).stdout, 'setpoint 55.5\n');
  assert.equal((await holdfast(['read', '-c', file, 'press1'])).stdout, 'setpoint  55.5 °C\nspeed     0\n');
  const typo = await holdfast(['read', '-c', file, 'pres1']);
  assert.equal(typo.code, 2);
  assert.match(typo.stderr, /did you mean press1/);
  const joined = await holdfast(['read', '-c', file, 'press1/speed']);
  assert.match(joined.stderr, /no device press1\/speed.*a tag stands apart: press1 speed/);

  const daemon = new Daemon(config(0));
  t.after(() => daemon.remove());
  await daemon.start();
  const at = ['-c', daemon.configFile, 'press1'];
  assert.equal((await holdfast(['write', ...at, 'setpoint', '60'])).stdout, 'setpoint 60\n');
  assert.equal((await holdfast(['read', ...at, 'setpoint', '--json'])).stdout, '[\n  {"name":"setpoint","ok":true,"v":60,"unit":"°C"}\n]\n');
  assert.equal((await holdfast(['write', ...at, 'setpoint', '91'])).code, 2);
  const refused = await holdfast(['write', ...at, 'setpoint', '91', '--json']);
  const { error, ...answer } = JSON.parse(refused.stdout) as Record<string, unknown>;
  assert.deepEqual([refused.code, answer, typeof error], [2, { name: 'setpoint', ok: false, code: 'RANGE' }, 'string']);
  assert.equal((await holdfast(['write', ...at, 'speed', '1'])).code, 7);
  const typist = new Typist(t, ['write', ...at, 'setpoint', '70']);
  await typist.answers(/setpoint is 60; write 70\? \[y\/N\]: /, 'n');
  assert.equal(await typist.ended, 1, typist.shown);
  const agreed = new Typist(t, ['write', ...at, 'setpoint', '70']);
  await agreed.answers(/write 70\? \[y\/N\]: /, 'y');
  assert.equal(await agreed.ended, 0, agreed.shown);
  assert.equal((await holdfast(['read', ...at, 'setpoint'])).stdout, 'setpoint  70 °C\n');
  void plant;
}); // prettier-ignore
