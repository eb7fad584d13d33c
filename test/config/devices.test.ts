/**
 * The shipped device maps: each is valid, agrees with an independent register list, and reads from register images
 * that another encoder (pymodbus, scripts/encode-images.py) made from that list exactly what the encoder put in.
 */
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadPlantOfMap } from '../../src/config/loadplant.js';
import type { Tag } from '../../src/config/plant.js';
import { packageFolder } from '../../src/entry.js';
import { compileDecode } from '../../src/poller/decode.js';

const root = packageFolder();
const names = readdirSync(join(root, 'devices'))
  .filter((file) => file.endsWith('.yaml'))
  .map((file) => file.slice(0, -5));

interface Image {
  readonly registers: readonly {
    readonly table: string;
    readonly address: number;
    readonly registers: readonly number[];
  }[];
  readonly expected: Readonly<Record<string, number | string | null>>;
}

function tagsOf(name: string): readonly Tag[] {
  const { device, problems } = loadPlantOfMap(join(root, 'devices', `${name}.yaml`), {});
  assert.deepEqual(problems, []);
  assert.ok(device);
  return device.tags;
}

/** What the map makes of the image. */
function decodeAll(tags: readonly Tag[], image: Image): Map<string, unknown> {
  const words = new Map<string, number>();
  for (const { table, address, registers } of image.registers) {
    registers.forEach((word, index) => words.set(`${table}-register ${address + index}`, word));
  }
  const bytesOf = (tag: Tag): Uint8Array => {
    const bytes = Buffer.alloc(tag.quantity * 2);
    for (let index = 0; index < tag.quantity; index += 1) {
      const word = words.get(`${tag.table} ${tag.address + index}`);
      assert.notEqual(
        word,
        undefined,
        `${tag.name} reads ${tag.table} ${tag.address + index}, which the device has not`,
      );
      bytes.writeUInt16BE(word ?? 0, index * 2);
    }
    return bytes;
  };
  const plain = (tag: Tag): unknown => compileDecode({ ...tag, scaleFrom: null })(bytesOf(tag), 0, 1);
  return new Map(
    tags.map((tag) => {
      if (tag.scaleFrom === null) return [tag.name, plain(tag)];
      const held = tags[tag.scaleFrom.tag];
      assert.ok(held);
      const power = plain(held);
      if (power === undefined) return [tag.name, undefined];
      return [tag.name, compileDecode(tag)(bytesOf(tag), 0, 10 ** Number(power))];
    }),
  );
}

test('at least twelve devices are shipped, each with a list and an image', () => {
  assert.ok(names.length >= 12, names.join(' '));
  assert.deepEqual(
    readdirSync(join(root, 'test/devices/lists'))
      .map((file) => file.slice(0, -4))
      .sort(),
    [...names].sort(),
  );
});

// Those of one house are not asked: they have no transformers for voltages.
for (const name of [
  'abb-b23',
  'carlo-gavazzi-em24',
  'janitza-umg',
  'schneider-iem3155',
  'schneider-pm5110',
  'siemens-pac',
])
  test(`a ${name} behind voltage transformers of 110 kV and 100 MW is believed`, () => {
    for (const { name: tag, unit, plausible } of tagsOf(name)) {
      if (plausible === null) continue;
      if (unit === 'V') assert.ok((plausible.max ?? Infinity) >= 110_000, tag);
      if (unit === 'W') assert.ok((plausible.max ?? Infinity) >= 100e6, tag);
      if (unit === 'kW') assert.ok((plausible.max ?? Infinity) >= 100e3, tag);
    }
  });

for (const name of names) {
  test(`the map of ${name} agrees with its register list`, () => {
    const lines = readFileSync(join(root, 'test/devices/lists', `${name}.tsv`), 'utf8').split('\n');
    const rows = lines
      .filter((line) => line !== '' && !line.startsWith('#'))
      .slice(1)
      .map((line) => line.split('\t'));
    const tags = tagsOf(name);
    const said = tags.map((tag) => {
      const order = tag.quantity === 1 || tag.type === 'string' ? 'ABCD' : tag.order;
      const scale = tag.scaleFrom === null ? tag.scale : `pow10:${tags[tag.scaleFrom.tag]?.name ?? ''}`;
      return [
        tag.name,
        tag.table.replace('-register', ''),
        tag.address,
        tag.quantity,
        tag.type,
        order,
        scale,
      ].join(' ');
    });
    const listed = rows.map(([tag, table, address, count, type, order, scale = '1']) =>
      [tag, table, address, count, type, order, scale.startsWith('pow10') ? scale : Number(scale)].join(' '),
    );
    assert.deepEqual(said.sort(), listed.sort());
  });

  const images = JSON.parse(
    readFileSync(join(root, 'test/devices/images', `${name}.json`), 'utf8'),
  ) as Record<string, Image>;
  for (const [kind, image] of Object.entries(images)) {
    test(`the map of ${name} reads what the encoder wrote (${kind})`, () => {
      const decoded = decodeAll(tagsOf(name), image);
      assert.deepEqual([...decoded.keys()].sort(), Object.keys(image.expected).sort());
      // Of a float32 its shortest decimal form is published; that is within half of its last bit.
      const single = new Set(
        tagsOf(name)
          .filter(({ type }) => type === 'float32' || type === 'pf4q')
          .map((tag) => tag.name),
      );
      for (const [tag, expected] of Object.entries(image.expected)) {
        const value = decoded.get(tag) ?? null;
        if (typeof expected !== 'number') assert.equal(value, expected, tag);
        else
          assert.ok(
            Math.abs(Number(value) - expected) <= Math.abs(expected) * (single.has(tag) ? 6e-8 : 1e-12),
            `${tag}: ${String(value)} is not ${expected}`,
          );
      }
    });
  }
}
