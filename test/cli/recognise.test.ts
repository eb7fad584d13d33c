/** scan names the device map of what it finds, and does not name one for a device that only happens to answer. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { loadPlantOfMap } from '../../src/config/loadplant.js';
import type { Signature } from '../../src/config/signature.js';
import type { Tag } from '../../src/config/plant.js';
import { packageFolder } from '../../src/entry.js';
import { simulationOf } from '../../src/simulator/fromplant.js';
import { encoded } from '../../src/simulator/scripts.js';
import type { UnitSpec, ValueSpec } from '../../src/simulator/spec.js';
import { Daemon } from '../support/daemon.js';
import { holdfast } from '../support/holdfast.js';
import { startLine, startTcp } from '../support/plant.js';
import { busOf, plantOf } from '../support/tags.js';

const MAPS = readdirSync(join(packageFolder(), 'devices'))
  .filter((file) => file.endsWith('.yaml'))
  .map((file) => file.slice(0, -'.yaml'.length));

interface Found {
  readonly unit: number;
  readonly maps: readonly string[];
}

/** A device that has the registers of the map and no others, with what is usual in them. */
function deviceOfMap(name: string, unitId: number): UnitSpec {
  const { device, signature } = loadPlantOfMap(join(packageFolder(), 'devices', `${name}.yaml`), {});
  assert.ok(device, name);
  assert.ok(signature, `${name} says how its devices are recognised`);
  const bus = { ...busOf(0), name: 'bus' };
  const tags = device.tags.map((tag) => ({ ...tag, device: { ...device.device, bus, unitId } }));
  const own = { ...device.device, bus, unitId };
  const spec = simulationOf(plantOf([bus], [own], tags), { seed: 1, host: '127.0.0.1', hasPty: false }).buses[0]?.units[0];
  assert.ok(spec);
  const fixed = fixedBy(signature, unitId);
  const isFixed = ({ table, address }: ValueSpec): boolean => fixed.some((one) => one.table === table && one.address === address);
  const values = [...(spec.values ?? []).filter((value) => !isFixed(value)), ...fixed];
  return { ...spec, unitId, values, only: values, identity: ['Somebody', 'something', '1'] };
} // prettier-ignore

function fixedBy({ registers, values }: Signature, unitId: number): ValueSpec[] {
  const words = registers.map(({ table, address, words: raw }): ValueSpec => {
    const hex = raw.map((word) => word.toString(16).padStart(4, '0')).join('');
    return { table, address, quantity: raw.length, script: 'fixed', hex };
  });
  const named = values.map(({ tag, expected }) => {
    if (expected.kind === 'range') return fixedTag(tag, (expected.min + expected.max) / 2 / tag.scale);
    return fixedTag(tag, (expected.kind === 'unit' ? unitId : expected.values[0]) ?? 0);
  });
  return [...words, ...named];
}

function fixedTag({ table, address, quantity, type, order }: Tag, value: unknown): ValueSpec {
  const bytes =
    typeof value === 'string'
      ? Buffer.from(value.padEnd(2 * quantity, '\0'))
      : Buffer.from(encoded({ type, order, quantity }, Number(value)));
  return { table, address, quantity, script: 'fixed', hex: bytes.toString('hex') };
}

async function scanned(port: number, units: string, more: readonly string[] = []): Promise<Map<number, readonly string[]>> {
  const { stdout, stderr, code } = await holdfast(['scan', `tcp://127.0.0.1:${port}`, '--units', units, '--timeout', '200ms', '--json', ...more]);
  assert.equal(code, 0, stderr);
  return new Map((JSON.parse(stdout) as Found[]).map(({ unit, maps }) => [unit, maps]));
} // prettier-ignore

test('each shipped map is named for a device that has its registers', async (t) => {
  const unitOf = (index: number): number => 2 * index + 1;
  const { port } = await startTcp(t, MAPS.map((name, index) => deviceOfMap(name, unitOf(index)))); // prettier-ignore
  const found = await scanned(port, `1-${unitOf(MAPS.length - 1)}`);
  for (const [index, name] of MAPS.entries())
    assert.equal(
      found.get(unitOf(index))?.[0],
      name,
      `unit ${unitOf(index)}: ${JSON.stringify(found.get(unitOf(index)))}`,
    );
});

const ALL = (hex: string): ValueSpec[] =>
  (['holding-register', 'input-register'] as const).map((table) => ({
    table,
    address: 0,
    quantity: 65_536,
    script: 'fixed',
    hex: hex.repeat(65_536),
  }));

test('a device that answers everything with zeros, ones, one number or its addresses is none of them', async (t) => {
  const stamps = (['holding-register', 'input-register'] as const).map((table): ValueSpec => ({
    table,
    address: 0,
    quantity: 65_536,
    script: 'stamp',
  }));
  const { port } = await startTcp(t, [
    { unitId: 1 },
    { unitId: 2, values: ALL('ffff') },
    { unitId: 3, values: ALL('0001') },
    { unitId: 5, values: ALL('4248') },
    { unitId: 7, values: ALL('01f4') },
    { unitId: 9, values: stamps },
    { unitId: 0 },
  ]);
  const found = await scanned(port, '0-9');
  assert.deepEqual([...found.keys()].sort(), [0, 1, 2, 3, 5, 7, 9]);
  for (const [unit, maps] of found) assert.deepEqual(maps, [], `unit ${unit}`);
});

const OWN_MAP = `version: 1
title: Acme M-1
sources: [its manual]
verified: hardware
identify: { text: acme m-1, registers: [{ holding: 11, equals: [71, 72] }], values: { level: { max: 100 } } }
tags: { level: { holding: 20, type: uint16, plausible: { min: 0, max: 100 } } }
`;

function folderWith(t: TestContext, files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-recognise-'));
  t.after(() => rmSync(folder, { recursive: true }));
  mkdirSync(join(folder, 'devices'));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  return folder;
}

const ACME: UnitSpec = {
  unitId: 7,
  identity: ['Acme', 'M-1', '2.0'],
  values: [
    { table: 'holding-register', address: 11, quantity: 2, script: 'fixed', hex: '00470048' },
    { table: 'holding-register', address: 20, quantity: 1, script: 'fixed', hex: '0005' },
  ],
};

test('maps of one\'s own are tried by what the device says and by its registers; a wrong one is told and left out', async (t) => {
  const cwd = folderWith(t, { 'devices/acme.yaml': OWN_MAP, 'devices/broken.yaml': `${OWN_MAP}nonsense: 1\n` });
  const { port } = await startTcp(t, [ACME, { ...ACME, unitId: 9, identity: ['Other', 'M-2', '1'] }]);
  const { stdout, stderr, code } = await holdfast(['scan', `tcp://127.0.0.1:${port}`, '--units', '7-9', '--timeout', '100ms'], { cwd });
  assert.equal(code, 0, stderr);
  assert.match(stdout, /unit 7 {2}Acme M-1 2\.0 {2}fits acme {2}\(/);
  assert.match(stdout, /unit 9 {2}Other M-2 1 {2}\(/);
  assert.match(stderr, /broken\.yaml is wrong and was not tried; holdfast check --map/);
  assert.match(stderr, /device7: \{ bus: BUS, unit_id: 7, map: acme \}/);
  assert.doesNotMatch(stderr, /device9:/);
}); // prettier-ignore

test('a gateway that scans the line it holds names the maps beside its file', async (t) => {
  const { path } = await startLine(t, [ACME]);
  const daemon = new Daemon(`
version: 1
gateway: { id: gw }
broker: { listeners: [{ unix: ./mqtt.sock }], anonymous: true, store: memory }
buses: { line1: { protocol: rtu, path: "${path}", baud: 9600 } }
devices: { meter1: { bus: line1, unit_id: 7, rate: 1s, tags: { power: { input: 0 } } } }
`);
  t.after(() => daemon.remove());
  mkdirSync(join(daemon.folder, 'devices'));
  writeFileSync(join(daemon.folder, 'devices/acme.yaml'), OWN_MAP);
  await daemon.start();
  const { stdout, stderr, code } = await holdfast(['scan', '-c', daemon.configFile, 'line1', '--units', '7']);
  assert.equal(code, 0, stderr);
  assert.match(stdout, /fits acme/);
  assert.match(stderr, /device7: \{ bus: line1, unit_id: 7, map: acme \}/);
});

const THREE_PHASES = `version: 1
title: Acme M-3
sources: [its manual]
verified: hardware
identify: { registers: [{ holding: 11, equals: [71, 72] }] }
tags:
${[1, 2, 3, 4, 5, 6].map((n) => `  phase_${n}: { holding: ${20 + 2 * n}, type: uint32, plausible: { min: 0, max: 100 } }`).join('\n')}
`;

test('a meter on a line of which only some phases are connected is known, zeros that look alike or not', async (t) => {
  const cwd = folderWith(t, { 'devices/acme.yaml': THREE_PHASES });
  const holding = { table: 'holding-register', script: 'fixed' } as const;
  const values: ValueSpec[] = [
    { ...holding, address: 11, quantity: 2, hex: '00470048' },
    { ...holding, address: 22, quantity: 4, hex: '0000000500000006' },
  ];
  const { path } = await startLine(t, [{ ...ACME, values }]);
  const { stdout, stderr, code } = await holdfast(['scan', `rtu://${path}`, '--units', '7', '--baud', '9600', '--format', '8N1'], { cwd });
  assert.equal(code, 0, stderr);
  assert.match(stdout, /fits acme/);
}); // prettier-ignore

test('an identify that a silent device would fit, or that names what is not there, is an error of the map', async (t) => {
  const cwd = folderWith(t, {});
  const file = join(cwd, 'map.yaml');
  const problems = async (identify: string): Promise<string> => {
    writeFileSync(file, OWN_MAP.replace(/identify: .*/, `identify: ${identify}`));
    const { stdout, code } = await holdfast(['check', '--map', file]);
    assert.equal(code, 3, `${identify}\n${stdout}`);
    return stdout;
  };
  assert.match(await problems('{ values: { level: { min: 0, max: 100 } } }'), /map\.yaml:5:\d+ {2}HF1320 .* zeros/);
  assert.match(await problems('{ registers: [{ holding: 11, equals: 0 }] }'), /HF1320/);
  assert.match(await problems('{ registers: [{ equals: 3 }] }'), /HF1320 .*write holding: or input:/);
  assert.match(await problems('{ registers: [{ holding: 70000, equals: 3 }] }'), /HF1303/);
  assert.match(await problems('{ values: { leve: 3 } }'), /HF1206 .*did you mean level/i);
  assert.match(await problems('{ values: { level: { between: 3 } } }'), /HF11/);
  assert.match(await problems('{ txt: acme }'), /HF1101 .*text/);
}); // prettier-ignore
