/**
 * Models that a SunSpec device was found to have -> a device map with the addresses of that very device. What the
 * points of a model are comes from the shipped maps, which have them at one place of many.
 */
import { join } from 'node:path';
import { loadPlantOfMap } from '../config/loadplant.js';
import type { Tag } from '../config/plant.js';
import { packageFolder } from '../entry.js';
import type { SunSpecModel } from '../modbus/sunspec.js';

/** Where the shipped maps have the first point of a model. Single, split and three phases have the same points. */
const SHIPPED = [
  { ids: [1], map: 'sunspec-inverter-103', from: 40_004, to: 40_070 },
  { ids: [101, 102, 103], map: 'sunspec-inverter-103', from: 40_072, to: 40_122 },
  { ids: [201, 202, 203, 204], map: 'sunspec-meter-203', from: 40_072, to: 40_177 },
] as const;

const MODEL_NAMES: Readonly<Record<number, string>> = {
  1: 'common: maker, model, serial number',
  101: 'inverter, single phase',
  102: 'inverter, split phase',
  103: 'inverter, three phases',
  111: 'inverter, single phase, floats',
  112: 'inverter, split phase, floats',
  113: 'inverter, three phases, floats',
  120: 'nameplate ratings',
  121: 'basic settings',
  122: 'measurements and status',
  123: 'immediate controls',
  124: 'storage',
  160: 'multiple MPPT',
  201: 'meter, single phase',
  202: 'meter, split phase',
  203: 'meter, three phases, wye',
  204: 'meter, three phases, delta',
  211: 'meter, single phase, floats',
  212: 'meter, split phase, floats',
  213: 'meter, three phases, wye, floats',
  214: 'meter, three phases, delta, floats',
  802: 'battery',
};

export function modelName(id: number): string {
  return MODEL_NAMES[id] ?? (id >= 64_000 ? "the maker's own" : 'not known here');
}

/** Whether the points of this model are known. */
export function hasPoints(id: number): boolean {
  return shippedOf(id) !== undefined;
}

function shippedOf(id: number): (typeof SHIPPED)[number] | undefined {
  return SHIPPED.find(({ ids }) => (ids as readonly number[]).includes(id));
}

export function mapText(title: string, models: readonly SunSpecModel[], env: NodeJS.ProcessEnv): string {
  const names = new Set<string>();
  const lines = models.flatMap((model) => {
    const points = pointsOf(model, env);
    // A second model of a kind (two strings of meters) gets its number in the names.
    const isTwice = points.some(({ name }) => names.has(name));
    const suffix = isTwice ? `_${model.address}` : '';
    for (const { name } of points) names.add(name + suffix);
    const heading = `  # model ${model.id} (${modelName(model.id)}) at ${model.address}, ${model.length} registers`;
    return [heading, ...points.map((tag) => tagLine(tag, suffix))];
  });
  return [
    '# Found by `holdfast sunspec`; leave out what is not needed.',
    'version: 1',
    `title: ${JSON.stringify(title)}`,
    'sources: ["the models that the device itself lists", "github.com/sunspec/models"]',
    'verified: hardware',
    'tags:',
    ...lines,
    '',
  ].join('\n');
}

/** Tags of a model, at its place in this device. */
function pointsOf(model: SunSpecModel, env: NodeJS.ProcessEnv): (Tag & { scaleName: string | null })[] {
  const shipped = shippedOf(model.id);
  if (shipped === undefined) return [];
  const file = join(packageFolder(), 'devices', `${shipped.map}.yaml`);
  const tags = loadPlantOfMap(file, env).device?.tags ?? [];
  const shift = model.address + 2 - shipped.from;
  return tags
    .filter(({ address }) => address >= shipped.from && address < shipped.to)
    .filter(({ address, quantity }) => address + quantity - shipped.from <= model.length)
    .map((tag) => ({
      ...tag,
      address: tag.address + shift,
      scaleName: tag.scaleFrom === null ? null : (tags[tag.scaleFrom.tag]?.name ?? null),
    }));
}

function tagLine(tag: Tag & { readonly scaleName: string | null }, suffix: string): string {
  const { name, address, type, quantity, scaleName, unit, invalid, counter, intervalMs } = tag;
  const parts = [`holding: ${address}`, `type: ${type}`];
  if (type === 'string') parts.push(`count: ${quantity}`);
  if (scaleName !== null) parts.push(`scale: { pow10_of: ${scaleName}${suffix} }`);
  if (unit !== null) parts.push(`unit: ${JSON.stringify(unit)}`);
  if (invalid.length > 0) parts.push(`invalid: [${invalid.join(', ')}]`);
  if (counter !== null)
    parts.push(`counter: ${counter.modulo > 0 ? `{ modulo: ${counter.modulo} }` : 'true'}`);
  if (intervalMs === 0) parts.push('rate: once');
  return `  ${name}${suffix}: { ${parts.join(', ')} }`;
}
