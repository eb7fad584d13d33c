/** `holdfast export`: the tags of a device or a device map as a list for a spreadsheet. */
import { loadPlantOfMap } from '../config/loadplant.js';
import type { Plant, Tag } from '../config/plant.js';
import { formatProblem } from '../config/problems.js';
import { ConfigError } from '../errors.js';
import { plantOf } from './brokerlink.js';
import { targetOfNames } from './target.js';
import { KEY_OF, settingsOf } from './taginput.js';
import { EXIT, textOption, UsageError, type Context, type Verb } from './verb.js';

export const verb: Verb = {
  name: 'export',
  summary: 'write the tags of a device as CSV, for a spreadsheet',
  arguments: 'DEVICE',
  argumentHelp: [
    { name: 'DEVICE', description: 'its name in the gateway file, or the file of a device map' },
  ],
  options: [
    { flags: '-c, --config FILE', description: 'the gateway file' },
    { flags: '--separator CHARACTER', description: 'comma, semicolon or tab', default: 'comma' },
  ],
  examples: [
    { command: 'export -c holdfast.yaml press1 > press1.csv', meaning: 'a device' },
    { command: 'export devices/eastron-sdm120.yaml > sdm120.csv', meaning: 'a device map' },
    { command: 'import press1.csv > press1.yaml', meaning: 'and back, the same' },
  ],
  run,
};

/** What has a column of its own; the rest stands in the last one. */
export const COLUMNS = ['name', 'address', 'type', 'order', 'bit', 'scale', 'offset', 'unit', 'access', 'rate', 'description', 'settings'] as const; // prettier-ignore
const SEPARATORS: Readonly<Record<string, string>> = {
  comma: ',',
  semicolon: ';',
  tab: '\t',
  ',': ',',
  ';': ';',
};

async function run(context: Context): Promise<number> {
  const { args, options, stdout } = context;
  const [device, ...rest] = args;
  if (device === undefined || rest.length > 0) throw new UsageError("which device? 'holdfast export -c holdfast.yaml press1'");
  const separator = SEPARATORS[textOption(options, 'separator') ?? 'comma'];
  if (separator === undefined) throw new UsageError(`--separator is one of ${Object.keys(SEPARATORS).slice(0, 3).join(', ')}`);
  const plant = await plantOf(context);
  const tags = plant === null ? tagsOfMap(device, context) : targetOfNames(plant, device, []).wanted.map(({ tag }) => tag);
  stdout.write(csvOf(tags, plant ?? { tags }, separator));
  return EXIT.ok;
} // prettier-ignore

function tagsOfMap(file: string, { env }: Context): readonly Tag[] {
  const { device, problems } = loadPlantOfMap(file, env);
  if (device === null || problems.some(({ severity }) => severity === 'error'))
    throw new ConfigError(
      'CONFIG',
      {},
      `the device map is not valid\n${problems.map(formatProblem).join('\n')}`,
    );
  return device.tags;
}

export function csvOf(tags: readonly Tag[], plant: Pick<Plant, 'tags'>, separator: string): string {
  const rows = tags.map((tag) => rowOf(tag, plant));
  const lines = [[...COLUMNS], ...rows].map((row) =>
    row.map((cell) => quoted(cell, separator)).join(separator),
  );
  // CRLF, as RFC 4180 and spreadsheets have it.
  return lines.map((line) => `${line}\r\n`).join('');
}

function rowOf(tag: Tag, plant: Pick<Plant, 'tags'>): string[] {
  const settings = settingsOf(tag, plant);
  const take = (key: string): string => {
    const value = settings[key];
    const isPlain = typeof value === 'string' || typeof value === 'number';
    if (isPlain) delete settings[key];
    return isPlain ? String(value) : '';
  };
  const key = KEY_OF[tag.table];
  delete settings[key];
  const isWritable = settings['write'] === true;
  if (isWritable) delete settings['write'];
  const bit = take('bit') || take('bits');
  const cells = {
    type: take('type') || 'bool',
    order: take('order'),
    scale: take('scale'),
    offset: take('offset'),
  };
  const texts = { unit: take('unit'), rate: take('rate'), description: take('description') };
  const more = Object.keys(settings).length === 0 ? '' : jsonOf(settings);
  return [tag.name, `${key}:${tag.address}`, cells.type, cells.order, bit, cells.scale, cells.offset, texts.unit,
    tag.write === null ? 'R' : 'RW', texts.rate, texts.description, more]; // prettier-ignore
}

/** Whole numbers beyond 2^53 keep every digit. */
function jsonOf(value: unknown): string {
  if (typeof value === 'bigint') return value.toString();
  if (Array.isArray(value)) return `[${value.map(jsonOf).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  return `{${Object.entries(value)
    .map(([key, one]) => `${JSON.stringify(key)}:${jsonOf(one)}`)
    .join(',')}}`;
}

function quoted(cell: string, separator: string): string {
  return /["\r\n]/.test(cell) || cell.includes(separator) || cell !== cell.trim()
    ? `"${cell.replaceAll('"', '""')}"`
    : cell;
}
