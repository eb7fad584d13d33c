/** init: a dialogue at a terminal with real devices behind it, and the template for those who ask nothing. */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { loadPlant } from '../../src/config/loadplant.js';
import { holdfast } from '../support/holdfast.js';
import { startLine, startTcp } from '../support/plant.js';
import { Typist } from '../support/verb.js';

const folder = mkdtempSync(join(tmpdir(), 'holdfast-init-'));
after(() => rmSync(folder, { recursive: true }));

/** Chooses what the list calls so. */
async function choose(typist: Typist, what: string): Promise<void> {
  await typist.sees(/How are the devices connected\?/);
  await typist.sees(/number \[1\]: /);
  const number = new RegExp(`(\\d+) {2}${what}`).exec(typist.shown)?.[1] ?? '';
  typist.write(`${number}\r`);
}

test('a device on the network: asked, read, written with a password, and the file is valid', async (t) => {
  const { port } = await startTcp(t, [{ unitId: 3, values: [{ table: 'holding-register', address: 10, quantity: 1, script: 'fixed', hex: '0226' }] }]);
  const typist = new Typist(t, ['init', 'plant.yaml'], { cwd: folder });
  await typist.answers(/name of this gateway \[.*\]: /, 'plant-7');
  await choose(typist, 'network: Modbus TCP');
  await typist.answers(/address, as in .*: /, `127.0.0.1:${port}`);
  await typist.answers(/Look for devices on it now\? \[y\/N\]: /, '');
  await typist.answers(/unit \[1\]: /, '3');
  await typist.answers(/name of unit 3 \[device3\]: /, 'press1');
  await typist.answers(/device map, .* \[none\]: /, 'eastron');
  await typist.answers(/device map, .* \[none\]: /, '');
  await typist.answers(/register, as in .*: /, 'holding:10');
  await typist.answers(/type .*: /, 'uint16');
  await typist.answers(/its name \[value\]: /, 'setpoint');
  await typist.sees(/setpoint +550/);
  await typist.answers(/password for user operator/, 'correct horse');
  await typist.answers(/again: /, 'correct horse');
  await typist.sees(/wrote plant\.yaml and users\.passwd/);
  await typist.sees(/0 errors|no problems/);
  assert.equal(await typist.ended, 0, typist.shown);
  assert.doesNotMatch(typist.shown, /correct horse/);
  const { plant, problems } = await loadPlant(join(folder, 'plant.yaml'));
  assert.deepEqual(problems.filter(({ severity }) => severity === 'error'), []);
  assert.deepEqual(plant?.tags.map(({ name, device, address }) => [device.name, device.unitId, name, address]), [['press1', 3, 'setpoint', 10]]);
  const again = await holdfast(['init', '--no-input', 'plant.yaml'], { cwd: folder });
  assert.equal(again.code, 1);
  assert.match(again.stderr, /--force/);
}); // prettier-ignore

test('a serial line is scanned, and a found unit gets a device map that is read at once', async (t) => {
  const { path } = await startLine(t, [{ unitId: 2, identity: ['Acme', 'M-1', '2.0'] }], { baud: 115_200 });
  const empty = mkdtempSync(join(folder, 'line-'));
  const typist = new Typist(t, ['init', 'line.yaml'], { cwd: empty });
  await typist.answers(/name of this gateway/, '');
  await choose(typist, 'another serial port');
  await typist.answers(/path: /, path);
  await typist.answers(/baud, .* \[9600\]: /, '115200');
  await typist.answers(/stop bits \[8N1\]: /, '');
  await typist.answers(/Look for devices on it now\? \[Y\/n\]: /, 'y');
  await typist.answers(/which units \[1-247\]: /, '1-3');
  await typist.sees(/found unit 2 Acme M-1 2\.0/);
  await typist.answers(/name of unit 2 \[device2\]: /, 'meter1');
  await typist.answers(/device map, .* \[none\]: /, 'xy-md02');
  await typist.sees(/temperature {2}/);
  await typist.sees(/password for user operator/);
  typist.write('\x03');
  assert.equal(await typist.ended, 130, typist.shown);
  assert.equal(existsSync(join(empty, 'line.yaml')), false);
});

test('who knows neither baud, parity nor unit has them found, and a register list is made a map after what it leaves open was asked', async (t) => {
  const values = [{ table: 'holding-register', address: 10, quantity: 1, script: 'fixed', hex: '0226' }] as const;
  const { path } = await startLine(t, [{ unitId: 2, values }], { baud: 9600 });
  const own = mkdtempSync(join(folder, 'hunt-'));
  writeFileSync(join(own, 'press.csv'), 'Name;Address;Data Type\nsetpoint;11;Word\n');
  const typist = new Typist(t, ['init', 'hunt.yaml'], { cwd: own });
  await typist.answers(/name of this gateway/, 'gw');
  await choose(typist, 'another serial port');
  await typist.answers(/path: /, path);
  await typist.answers(/baud, or \? to find out \[9600\]: /, '?');
  await typist.answers(/which units \[1-247\]: /, '1-3');
  await typist.sees(/found 9600 8N1 {2}unit 2/);
  await typist.answers(/name of unit 2 \[device2\]: /, 'press1');
  await typist.answers(/device map, or a register list \(CSV\) \[none\]: /, 'press.csv');
  await typist.answers(/which table are they in .*: /, 'holding');
  await typist.answers(/the first register, 0 or 1: /, '1');
  await typist.sees(/setpoint 11 Word +-> +setpoint/);
  await typist.sees(/setpoint +550/);
  await typist.answers(/password for user operator/, '');
  await typist.sees(/wrote hunt\.yaml/);
  assert.equal(await typist.ended, 0, typist.shown);
  const { plant } = await loadPlant(join(own, 'hunt.yaml'));
  const [bus] = plant?.buses ?? [];
  assert.ok(bus !== undefined && 'baud' in bus.link);
  assert.deepEqual([bus.link.baud, bus.link.parity], [9600, 'none']);
  assert.deepEqual(plant?.tags.map(({ device, name, address }) => [device.map, device.unitId, name, address]), [['press', 2, 'setpoint', 10]]);
}); // prettier-ignore

test('a unit that a map fits gets it with Enter', async (t) => {
  const { port } = await startTcp(t, [{ unitId: 1, values: [
    { table: 'holding-register', address: 257, quantity: 2, script: 'fixed', hex: '00012580' },
    { table: 'input-register', address: 1, quantity: 2, script: 'fixed', hex: '00d701c2' },
  ] }]);
  const own = mkdtempSync(join(folder, 'fits-'));
  const typist = new Typist(t, ['init', 'fits.yaml'], { cwd: own });
  await typist.answers(/name of this gateway/, 'gw');
  await choose(typist, 'network: Modbus TCP');
  await typist.answers(/address, as in .*: /, `127.0.0.1:${port}`);
  await typist.answers(/Look for devices on it now\? \[y\/N\]: /, 'y');
  await typist.answers(/which units \[1-247\]: /, '1');
  await typist.answers(/name of unit 1 \[device1\]: /, '');
  await typist.sees(/its registers fit xy-md02/);
  await typist.answers(/device map, .* \[xy-md02\]: /, '');
  await typist.sees(/temperature +21\.5 °C/);
  await typist.answers(/password for user operator/, '');
  assert.equal(await typist.ended, 0, typist.shown);
  assert.match(readFileSync(join(own, 'fits.yaml'), 'utf8'), /map: "xy-md02"/);
}); // prettier-ignore

test('without a terminal the template is printed, which is a valid gateway file with comments', async () => {
  const { stdout, code } = await holdfast(['init'], { cwd: folder });
  assert.equal(code, 0);
  assert.match(stdout, /^# A gateway file to start from/);
  assert.equal((await holdfast(['init', '--no-input', 'template.yaml'], { cwd: folder })).code, 0);
  assert.equal(readFileSync(join(folder, 'template.yaml'), 'utf8'), stdout);
  assert.equal((await holdfast(['check', '-c', 'template.yaml'], { cwd: folder })).code, 0);
});
