/**
 * What the verbs read and write say on the command line -> a plant of one bus and its tags: names of a gateway file, or
 * the URL of a device with registers.
 */
import { tagWith } from '../config/leantag.js';
import { plantOfText } from '../config/loadplant.js';
import type { Plant, Tag } from '../config/plant.js';
import { formatProblem, nearest as nearestWord } from '../config/problems.js';
import { VALUE_TYPES } from '../modbus/values.js';
import { UsageError } from './verb.js';

/** Protocols as URLs name them -> as the config does. */
const PROTOCOLS: Readonly<Record<string, string>> = {
  tcp: 'tcp',
  modbus: 'tcp',
  tls: 'tls',
  udp: 'udp',
  rtu: 'rtu',
  ascii: 'ascii',
  'rtu+tcp': 'rtu-over-tcp',
  'ascii+tcp': 'ascii-over-tcp',
};
const TABLES: Readonly<Record<string, 'coil' | 'discrete' | 'input' | 'holding'>> = {
  coil: 'coil', c: 'coil', co: 'coil', '0x': 'coil',
  discrete: 'discrete', di: 'discrete', d: 'discrete', '1x': 'discrete',
  input: 'input', ir: 'input', i: 'input', '3x': 'input',
  holding: 'holding', hr: 'holding', h: 'holding', '4x': 'holding',
}; // prettier-ignore
/** Of one command line. */
const VALUES_MAX = 2000;

/** A value to read, and what it is called to people. */
export interface Wanted {
  readonly label: string;
  readonly tag: Tag;
}

export interface Target {
  readonly plant: Plant;
  readonly wanted: readonly Wanted[];
}

export function isUrl(text: string): boolean {
  return /^[a-z][a-z+]*:\/\//.test(text);
}

/** The bus and unit of tcp://10.0.0.5:502/1 or rtu:///dev/ttyUSB0?baud=9600&unit=7; unit is null where it has none. */
export function busOfUrl(text: string): { bus: Record<string, unknown>; unit: number | null } {
  if (!URL.canParse(text)) throw new UsageError(`${text} is no URL; write tcp://10.0.0.5:502/1`);
  const url = new URL(text);
  const protocol = PROTOCOLS[url.protocol.slice(0, -1)];
  if (protocol === undefined)
    throw new UsageError(`${url.protocol}// is not known; there are ${Object.keys(PROTOCOLS).join(', ')}`);
  const query = Object.fromEntries(url.searchParams);
  const { unit: inQuery, ...settings } = query;
  const isSerial = protocol === 'rtu' || protocol === 'ascii';
  const path = decodeURIComponent(url.pathname);
  const inPath = isSerial ? '' : path.slice(1);
  const unitText = inQuery ?? (inPath === '' ? undefined : inPath);
  if (unitText !== undefined && (!/^\d{1,3}$/.test(unitText) || Number(unitText) > 255))
    throw new UsageError(`${unitText} is no unit; write a number from 0 to 255`);
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const place = isSerial ? { path } : { host, ...(url.port === '' ? {} : { port: Number(url.port) }) };
  const typed = Object.entries(settings).map(([key, value]) => [
    key,
    /^\d+$/.test(value) ? Number(value) : value,
  ]);
  return {
    bus: { protocol, ...place, ...Object.fromEntries(typed) },
    unit: unitText === undefined ? null : Number(unitText),
  };
}

/** A plant of that one device, with a tag for each value of each register text. */
export function targetOfUrl(text: string, registers: readonly string[], options: TagOptions): Target {
  const { bus, unit } = busOfUrl(text);
  if (registers.length === 0)
    throw new UsageError('which registers? as in holding:0, input:10-19, 40001:float32');
  const inputs = registers.flatMap((one) => tagInputsOf(one, options));
  if (inputs.length > VALUES_MAX)
    throw new UsageError(`${inputs.length} values are more than ${VALUES_MAX}; ask for fewer`);
  const tags = Object.fromEntries(inputs.map(({ input }, at) => [`v${at}`, input]));
  const device = { bus: 'bus', unit_id: unit ?? 1, rate: 'once', report: 'always', tags };
  const plant = plantOf(text, { buses: { bus: withTimeout(bus, options) }, devices: { device } });
  const wanted = inputs.flatMap(({ label }, at) => {
    const tag = plant.tags.find(({ name }) => name === `v${at}`);
    return tag === undefined ? [] : [{ label, tag }];
  });
  return { plant, wanted };
}

/** A plant that has this one bus and no device. */
export function busPlantOf(text: string): { plant: Plant; unit: number | null } {
  const { bus, unit } = busOfUrl(text);
  return { plant: plantOf(text, { buses: { bus } }), unit };
}

export interface TagOptions {
  readonly order?: string;
  readonly timeout?: string;
  readonly scale?: string;
  readonly write?: boolean;
}

function withTimeout(bus: Record<string, unknown>, { timeout }: TagOptions): Record<string, unknown> {
  return timeout === undefined ? bus : { ...bus, timeout };
}

function plantOf(name: string, input: object): Plant {
  const whole = {
    version: 1,
    gateway: { id: 'cli' },
    broker: { anonymous: true, store: 'memory' },
    ...input,
  };
  const { plant, problems } = plantOfText(name, JSON.stringify(whole), {});
  if (plant === null)
    throw new UsageError(
      problems.map((problem) => formatProblem({ ...problem, line: 0, column: 0 })).join('\n'),
    );
  return plant;
}

const ALL_ORDERS = ['ABCD', 'CDAB', 'BADC', 'DCBA'] as const;

/** holding:0, hr:10-19, input:100:float32, holding:0:uint32:CDAB, 40001:float32, holding:50-57:string. */
function tagInputsOf(text: string, options: TagOptions): { label: string; input: Record<string, unknown> }[] {
  const words = text.split(':');
  const table = TABLES[(words[0] ?? '').toLowerCase()];
  const [place = '', type, order] = table === undefined ? words : words.slice(1);
  const range = /^(\d+)(?:-(\d+))?$/.exec(place);
  if (range === null || (table === undefined && !/^[0134]\d{4,5}$/.test(range[1] ?? '')))
    throw new UsageError(
      `${text} is no register; write holding:0, input:10-19, coil:3, or a reference such as 40001`,
    );
  const first = Number(range[1]);
  const last = Number(range[2] ?? range[1]);
  const isBit = table === 'coil' || table === 'discrete' || /^[01]/.test(table === undefined ? place : 'x');
  const kind = type ?? (isBit ? 'bool' : 'uint16');
  const size = isBit ? 1 : sizeOf(kind, text);
  const addressOf = (at: number): Record<string, unknown> =>
    table === undefined ? { at: String(at).padStart((range[1] ?? '').length, '0') } : { [table]: at };
  const common = {
    ...(isBit ? {} : { type: kind }),
    ...(options.scale === undefined ? {} : { scale: Number(options.scale) }),
    ...(options.write === true && (table === 'coil' || table === 'holding' || /^[04]/.test(words[0] ?? ''))
      ? { write: true }
      : {}),
  };
  if (kind === 'string')
    return [{ label: text, input: { ...addressOf(first), ...common, count: last - first + 1 } }];
  const asked = order ?? options.order;
  const orders: readonly (string | undefined)[] =
    asked?.toLowerCase() === 'all' && size > 1 ? ALL_ORDERS : [asked];
  const starts = Array.from(
    { length: Math.max(1, Math.floor((last - first + 1) / size)) },
    (_, n) => first + n * size,
  );
  return starts.flatMap((at) =>
    orders.map((one) => ({
      label: `${table ?? ''}${table === undefined ? '' : ':'}${at}${orders.length > 1 ? ` ${one ?? ''}` : ''}`,
      input: {
        ...addressOf(at),
        ...common,
        ...(one === undefined || isBit || one.toLowerCase() === 'all' ? {} : { order: one }),
      },
    })),
  );
}

function sizeOf(type: string, text: string): number {
  if (!(type in VALUE_TYPES))
    throw new UsageError(`${text}: ${type} is no type; there are ${Object.keys(VALUE_TYPES).join(', ')}`);
  return Math.max(1, VALUE_TYPES[type as keyof typeof VALUE_TYPES].registers); // it is one of the keys
}

/** The tags that names of a gateway file mean: a device's tags, or all of them. */
export function targetOfNames(plant: Plant, device: string, tags: readonly string[]): Target {
  const known = plant.devices.find(({ name }) => name === device);
  if (known === undefined) {
    const names = plant.devices.map(({ name }) => name);
    // As topics and explain write it.
    const [owner = '', tag] = device.split('/');
    const next =
      tag !== undefined && names.includes(owner)
        ? `a tag stands apart: ${owner} ${tag}`
        : `there are ${some(names)}`;
    throw new UsageError(`${plant.file} has no device ${device}${nearest(device, names)}; ${next}`);
  }
  const own = plant.tags.filter((tag) => tag.device === known);
  const wanted = tags.length === 0 ? own : tags.map((name) => tagOf(own, device, name));
  return { plant, wanted: wanted.map((tag) => ({ label: tag.name, tag })) };
}

function tagOf(own: readonly Tag[], device: string, name: string): Tag {
  const tag = own.find((one) => one.name === name);
  if (tag !== undefined) return tag;
  const names = own.map((one) => one.name);
  throw new UsageError(
    `device ${device} has no tag ${name}${nearest(name, names)}; there are ${some(names)}`,
  );
}

export function some(names: readonly string[]): string {
  return names.length === 0 ? 'none' : names.slice(0, 8).join(', ') + (names.length > 8 ? ' ...' : '');
}

/** " (did you mean X?)" when a known name is near, else "". */
export function nearest(word: string, names: readonly string[]): string {
  const near = nearestWord(word, names);
  return near === null ? '' : ` (did you mean ${near}?)`;
}

/** The part of a plant that one bus's verbs need: only these tags are polled, with what scales them. */
export function partOf({ plant, wanted }: Target): Plant {
  const tags = new Set(wanted.map(({ tag }) => tag));
  for (const { scaleFrom } of [...tags]) {
    const source = plant.tags.find(({ index }) => index === scaleFrom?.tag);
    if (source !== undefined) tags.add(source);
  }
  const first = wanted[0]?.tag.device.bus ?? plant.buses[0];
  if (first === undefined) throw new UsageError(`${plant.file} has no bus`);
  // Nobody else is served meanwhile.
  const bus = { ...first, share: null };
  const devices = new Map([...tags].map(({ device }) => [device, { ...device, bus }] as const));
  const own = [...tags].flatMap((tag) => {
    const device = devices.get(tag.device);
    return device === undefined ? [] : [tagWith(tag, { device })];
  });
  return { ...plant, workers: 1, buses: [bus], devices: [...devices.values()], tags: own, batches: [] };
}
