/** SunSpec devices with their models at unusual places, as the simulator plays them. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { loadPlantOfMap } from '../../src/config/loadplant.js';
import { packageFolder } from '../../src/entry.js';
import type { UnitSpec, ValueSpec } from '../../src/simulator/spec.js';
import { Daemon } from '../support/daemon.js';
import { holdfast } from '../support/holdfast.js';
import { pathOf, startLine, startPlantProcess, startTcp } from '../support/plant.js';

interface Model {
  readonly id: number;
  readonly length: number;
  /** Points as hex; zeros follow. */
  readonly points?: string;
}

function sunSpecUnit(unitId: number, base: number, models: readonly Model[], end = 'ffff0000'): UnitSpec {
  const hex = (word: number): string => word.toString(16).padStart(4, '0');
  const body = models.map(
    ({ id, length, points = '' }) => hex(id) + hex(length) + points.padEnd(4 * length, '0'),
  );
  const text = `53756e53${body.join('')}${end}`;
  const value: ValueSpec = {
    table: 'holding-register',
    address: base,
    quantity: text.length / 4,
    script: 'fixed',
    hex: text,
  };
  return { unitId, values: [value], only: [value] };
}

const text = (word: string): string => Buffer.from(word.padEnd(32, '\0'), 'latin1').toString('hex');
const COMMON = { id: 1, length: 65, points: text('Acme') + text('Sun 10') };

function folderOf(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-sunspec-'));
  t.after(() => rmSync(folder, { recursive: true }));
  return folder;
}

test('the models are walked wherever they begin, and the map has the addresses of that device', async (t) => {
  const models = [
    COMMON,
    { id: 160, length: 48 },
    { id: 103, length: 50 },
    { id: 203, length: 105 },
    { id: 64_001, length: 7 },
  ];
  const { host, port } = await startTcp(t, [sunSpecUnit(126, 50_000, models)]);
  const map = join(folderOf(t), 'acme.yaml');
  const run = await holdfast(['sunspec', `${host}:${port}`, '--unit', '126', '--map', map]);
  assert.equal(run.code, 0, run.stderr);
  assert.match(run.stdout, /^Acme Sun 10: SunSpec at 50000, 5 models$/m);
  assert.match(run.stdout, /50002 {2}model 1 +65 registers/);
  assert.match(run.stdout, /50069 {2}model 160 +48 registers .*not in the map/);
  assert.match(run.stdout, /50119 {2}model 103 +50 registers/);
  assert.match(run.stdout, /50171 {2}model 203 +105 registers/);

  const checked = await holdfast(['check', '--map', map]);
  assert.equal(checked.code, 0, checked.stdout);
  const own = loadPlantOfMap(map, {}).device?.tags ?? [];
  const shipped =
    loadPlantOfMap(join(packageFolder(), 'devices/sunspec-inverter-103.yaml'), {}).device?.tags ?? [];
  const meter =
    loadPlantOfMap(join(packageFolder(), 'devices/sunspec-meter-203.yaml'), {}).device?.tags ?? [];
  const of = (name: string): (typeof own)[number] =>
    own.find((tag) => tag.name === name) ?? assert.fail(name);
  for (const tag of shipped) {
    const shift = tag.address < 40_070 ? 10_000 : 50_121 - 40_072;
    const { address, type, quantity, unit, invalid, counter } = of(tag.name);
    assert.deepEqual([address, type, quantity, unit, invalid, counter], [tag.address + shift, tag.type, tag.quantity, tag.unit, tag.invalid, tag.counter], tag.name); // prettier-ignore
    const scale = (tags: typeof own, from: typeof tag.scaleFrom): string =>
      from === null ? '' : (tags[from.tag]?.name ?? '');
    assert.equal(scale(own, of(tag.name).scaleFrom), scale(shipped, tag.scaleFrom));
  }
  // What the meter names like the inverter carries the address of its model.
  for (const tag of meter.filter(({ address }) => address >= 40_072))
    assert.equal(of(`${tag.name}_50171`).address, tag.address + 50_173 - 40_072);
});

test('a device of a gateway file is walked on its own line', async (t) => {
  const plant = await startPlantProcess(t, {
    seed: 1,
    buses: [
      {
        name: 'line',
        link: { kind: 'rtu', line: { baud: 115_200 } },
        units: [sunSpecUnit(3, 40_000, [COMMON, { id: 101, length: 50 }])],
      },
    ],
  });
  const folder = folderOf(t);
  const file = join(folder, 'gateway.yaml');
  writeFileSync(
    file,
    `version: 1\nbroker: { anonymous: true, store: memory }\nbuses: { line: { protocol: rtu, path: ${await pathOf(plant, 'line')}, baud: 115200, format: 8N1 } }\ndevices: { pv: { bus: line, unit_id: 3 } }\n`,
  );
  const run = await holdfast(['sunspec', '--config', file, 'pv', '--json']);
  assert.equal(run.code, 0, run.stderr);
  const { title, base, models } = JSON.parse(run.stdout) as {
    title: string;
    base: number;
    models: unknown[];
  };
  assert.deepEqual([title, base, models.length], ['Acme Sun 10', 40_000, 2]);
});

test('a running gateway walks a device on the line that it holds', async (t) => {
  const { path } = await startLine(t, [sunSpecUnit(3, 40_000, [COMMON, { id: 103, length: 50 }])], { baud: 115_200 });
  const daemon = new Daemon(`
version: 1
gateway: { id: gw }
broker: { listeners: [{ unix: ./mqtt.sock }], anonymous: true, store: memory }
buses: { line: { protocol: rtu, path: "${path}", baud: 115200, format: 8N1 } }
devices: { pv: { bus: line, unit_id: 3, tags: { mark: { holding: 40000, rate: 1s } } } }
`);
  t.after(() => daemon.remove());
  await daemon.start();
  const { stdout, stderr, code } = await holdfast(['sunspec', '-c', daemon.configFile, 'pv']);
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^Acme Sun 10: SunSpec at 40000, 2 models$/m);
  const onWire = await holdfast(['sunspec', `rtu://${path}?baud=115200`, '--unit', '999']);
  assert.equal(onWire.code, 2, onWire.stderr);
}); // prettier-ignore

test('on a line a device whose registers are all alike has no mark, which is what is told', async (t) => {
  const { path } = await startLine(t, [{ unitId: 7 }]);
  const { stderr, code } = await holdfast(['sunspec', `rtu://${path}?baud=9600&format=8N1`, '--unit', '7']);
  assert.match(stderr, /there is no SunSpec mark at 40000, 50000 or 0/);
  assert.equal(code, 1);
});

test('what is no SunSpec device, is silent or breaks off is told as such', async (t) => {
  const plain: UnitSpec = { unitId: 1, values: [] };
  const refusing: UnitSpec = { unitId: 2, only: [{ table: 'holding-register', address: 7, quantity: 1 }] };
  const broken = sunSpecUnit(3, 0, [COMMON], '00000000');
  const dead: UnitSpec = { unitId: 4, faults: [{ name: 'dead' }] };
  const { host, port } = await startTcp(t, [plain, refusing, broken, dead]);
  const run = (unit: number) => holdfast(['sunspec', `${host}:${port}`, '--unit', String(unit)]);
  const [none, refused, brokenOff, silent] = await Promise.all([run(1), run(2), run(3), run(4)]);
  assert.deepEqual([none.code, refused.code, brokenOff.code, silent.code], [1, 5, 0, 4]);
  assert.match(none.stderr, /no SunSpec mark/);
  assert.match(refused.stderr, /illegal data address/);
  assert.match(brokenOff.stderr, /there is no model at 69, and no end mark/);
  const nobody = await holdfast(['sunspec', '127.0.0.1:1']);
  assert.equal(nobody.code, 4);
  assert.match(nobody.stderr, /cannot be reached/);
});
