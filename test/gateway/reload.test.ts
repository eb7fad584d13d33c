import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { loadPlant } from '../../src/config/loadplant.js';
import type { Plant } from '../../src/config/plant.js';
import { compare, Indexes, isSameServer } from '../../src/gateway/reload.js';

const folder = mkdtempSync(join(tmpdir(), 'holdfast-reload-'));
after(() => rmSync(folder, { recursive: true }));

async function plantOf(yaml: string): Promise<Plant> {
  const file = join(folder, 'gateway.yaml');
  writeFileSync(file, yaml);
  const { plant, problems } = await loadPlant(file);
  assert.ok(plant, JSON.stringify(problems));
  return plant;
}

const BASE = `
version: 1
gateway: { id: gw }
broker: { anonymous: true, store: memory }
buses:
  a: { protocol: tcp, host: 127.0.0.1, port: 5001 }
  b: { protocol: tcp, host: 127.0.0.1, port: 5002 }
devices:
  one: { bus: a, unit_id: 1, tags: { x: { holding: 0 }, y: { holding: 1, scale: { pow10_of: x } } } }
  two: { bus: b, unit_id: 1, tags: { x: { holding: 0, invalid: [65535] }, z: { holding: 5 } } }
`;

const indexesOf = (plant: Plant): number[] => [...plant.tags, ...plant.batches].map(({ index }) => index);
const names = (buses: readonly { name: string }[]): string[] => buses.map(({ name }) => name);

test('the same file again changes nothing', async () => {
  const old = await plantOf(BASE);
  const change = compare(old, await plantOf(BASE), new Indexes(old));
  assert.deepEqual([change.removed, change.added], [[], []]);
  change.plant.tags.forEach((tag, at) => assert.equal(tag, old.tags[at]));
});

test('a changed tag concerns its own bus; the others keep their objects and indexes', async () => {
  const old = await plantOf(BASE);
  const change = compare(old, await plantOf(BASE.replace('holding: 5', 'holding: 6')), new Indexes(old));
  assert.deepEqual(names(change.removed), ['b']);
  assert.deepEqual(names(change.added), ['b']);
  const tag = (plant: Plant, device: string, name: string) =>
    plant.tags.find((one) => one.device.name === device && one.name === name);
  assert.equal(tag(change.plant, 'one', 'y'), tag(old, 'one', 'y'));
  assert.equal(tag(change.plant, 'two', 'z')?.address, 6);
  assert.ok((tag(change.plant, 'two', 'z')?.index ?? 0) >= old.tags.length);
});

test('what refers to each other still does under new indexes, and no index is ever used twice', async () => {
  let plant = await plantOf(BASE);
  const indexes = new Indexes(plant);
  const used = new Set(indexesOf(plant));
  for (const port of [6001, 6002, 6003]) {
    const { plant: next, added } = compare(
      plant,
      await plantOf(BASE.replace('port: 5001', `port: ${port}`)),
      indexes,
    );
    assert.deepEqual(names(added), ['a']);
    const x = next.tags.find((tag) => tag.device.name === 'one' && tag.name === 'x');
    const y = next.tags.find((tag) => tag.device.name === 'one' && tag.name === 'y');
    assert.equal(y?.scaleFrom?.tag, x?.index);
    assert.equal(y?.device, x?.device);
    assert.ok(y !== undefined && next.devices.includes(y.device) && next.buses.includes(y.device.bus));
    for (const tag of [x, y]) {
      assert.ok(tag && !used.has(tag.index));
      used.add(tag.index);
    }
    plant = next;
  }
});

test('buses that come and go are told; a moved device concerns both', async () => {
  const old = await plantOf(BASE);
  const more = compare(
    old,
    await plantOf(BASE.replace('devices:', '  c: { protocol: tcp, host: 127.0.0.1, port: 5003 }\ndevices:')),
    new Indexes(old),
  );
  assert.deepEqual([names(more.removed), names(more.added)], [[], ['c']]);
  const less = compare(more.plant, old, new Indexes(more.plant));
  assert.deepEqual([names(less.removed), names(less.added)], [['c'], []]);
  const moved = compare(
    old,
    await plantOf(BASE.replace('bus: b, unit_id: 1', 'bus: a, unit_id: 2')),
    new Indexes(old),
  );
  assert.deepEqual(
    [names(moved.removed), names(moved.added)],
    [
      ['a', 'b'],
      ['a', 'b'],
    ],
  );
});

test('a change of listeners, store or limits is seen; other changes are none of its business', async () => {
  const old = await plantOf(BASE);
  assert.ok(isSameServer(old, await plantOf(BASE.replace('holding: 5', 'holding: 6'))));
  assert.ok(isSameServer(old, await plantOf(BASE.replace('store: memory', 'store: memory, access: []'))));
  assert.ok(
    !isSameServer(
      old,
      await plantOf(BASE.replace('store: memory', 'store: memory, limits: { max_inflight: 5 }')),
    ),
  );
});
