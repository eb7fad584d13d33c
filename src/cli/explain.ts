/** `holdfast explain`: how a device is read, and where each effective setting of a tag comes from. */
import { addressText } from '../config/address.js';
import type { Built, Origin } from '../config/build.js';
import { loadExplained } from '../config/loadplant.js';
import type { Device, Plant, Tag } from '../config/plant.js';
import { formatProblem, suggestion } from '../config/problems.js';
import { durationText } from '../config/units.js';
import type { Table } from '../modbus/protocol.js';
import type { ReadRequest } from '../poller/readplan.js';
import { linkText, requestsOf } from './plan.js';
import { type Context, EXIT, UsageError, type Verb, textOption } from './verb.js';

export const verb: Verb = {
  name: 'explain',
  summary: 'show how a device is read and where each setting comes from',
  arguments: 'NAME',
  argumentHelp: [{ name: 'NAME', description: 'DEVICE, or DEVICE/TAG' }],
  options: [
    { flags: '-c, --config FILE', description: 'the gateway file' },
    { flags: '--json', description: 'one JSON document' },
  ],
  examples: [
    { command: 'explain meter1 -c holdfast.yaml', meaning: 'the requests that read it' },
    {
      command: 'explain meter1/power -c holdfast.yaml',
      meaning: 'its settings, where they stand, and what reads it',
    },
  ],
  run: explain,
};

function explain(context: Context): Promise<number> {
  const { options, args, env, stdout, stderr } = context;
  const file = textOption(options, 'config');
  const what = args[0];
  if (file === undefined || what === undefined)
    throw new UsageError('write holdfast explain DEVICE[/TAG] --config FILE');
  const { built, problems } = loadExplained(file, env);
  const errors = problems.filter(({ severity }) => severity === 'error');
  if (built === null || errors.length > 0) {
    stderr.write(`${errors.map(formatProblem).join('\n')}\n`);
    return Promise.resolve(EXIT.configNotValid);
  }
  const found = find(built.plant, what);
  const answer = 'tag' in found ? tagAnswer(built, found.tag) : deviceAnswer(built.plant, found.device);
  stdout.write(
    options['json'] === true ? `${JSON.stringify(answer.json, null, 2)}\n` : `${answer.lines.join('\n')}\n`,
  );
  return Promise.resolve(EXIT.ok);
}

interface Answer {
  readonly lines: readonly string[];
  readonly json: unknown;
}

function find(plant: Plant, what: string): { readonly device: Device } | { readonly tag: Tag } {
  const [name = '', ...rest] = what.split('/');
  const device = plant.devices.find((one) => one.name === name);
  if (device === undefined)
    throw new UsageError(
      `there is no device ${name}${suggestion(
        name,
        plant.devices.map((one) => one.name),
      )}`,
    );
  if (rest.length === 0) return { device };
  const tags = plant.tags.filter((tag) => tag.device === device);
  const tag = tags.find((one) => one.name === rest.join('/'));
  if (tag === undefined)
    throw new UsageError(
      `${name} has no tag ${rest.join('/')}${suggestion(
        rest.join('/'),
        tags.map((one) => one.name),
      )}`,
    );
  return { tag };
}

function deviceAnswer(plant: Plant, device: Device): Answer {
  const { requests, unreadable } = requestsOf(plant, device);
  const rows = requests.map(rowOf);
  const { limits } = device;
  return {
    json: {
      device: device.name,
      bus: device.bus.name,
      unitId: device.unitId,
      map: device.map,
      limits,
      requests: rows,
      unreadable: unreadable.map(({ name }) => name),
    },
    lines: [
      `Device ${device.name}: unit ${device.unitId} of bus ${device.bus.name} (${linkText(device.bus)})${device.map === null ? '' : `, map ${device.map}`}`,
      `At most ${limits.registers} registers or ${limits.bits} bits a read${limits.align > 1 ? `, aligned to ${limits.align}` : ''}; state on ${device.topic}`,
      `${rows.length} request${rows.length === 1 ? '' : 's'}:`,
      ...rows.map((row) => `  ${row.every.padEnd(6)} ${rowText(row)}`),
      ...unreadable.map((tag) => `  not readable within the limits: ${tag.name}`),
    ],
  };
}

interface Row {
  readonly table: Table;
  readonly address: number;
  readonly quantity: number;
  readonly every: string;
  /** What it costs on the line. */
  readonly ms: number;
  readonly filler: number;
  readonly tags: readonly string[];
}

function rowOf({ table, address, quantity, intervalMs, costMs, tags }: ReadRequest): Row {
  const used = new Set(
    tags.flatMap((tag) => Array.from({ length: tag.quantity }, (_, index) => tag.address + index)),
  ).size;
  return {
    table,
    address,
    quantity,
    every: everyText(intervalMs),
    ms: Number(costMs.toFixed(1)),
    filler: quantity - used,
    tags: tags.map(({ name }) => name),
  };
}

function rowText({ table, address, quantity, ms, filler, tags }: Row): string {
  return `${addressText(table, address)} x ${quantity}, ${ms} ms${filler > 0 ? `, ${filler} read over` : ''}: ${tags.join(' ')}`;
}

function everyText(intervalMs: number): string {
  return intervalMs === 0 ? 'once' : durationText(intervalMs);
}

/** Settings of the Tag, by the key that sets them. */
const SHOWN: readonly (readonly [string, (tag: Tag, plant: Plant) => unknown])[] = [
  [
    'address',
    (tag) => (tag.formula === null ? addressText(tag.table, tag.address) : `calculated: ${tag.formula.text}`),
  ],
  ['type', (tag) => `${tag.type}, ${tag.quantity} register${tag.quantity === 1 ? '' : 's'}`],
  ['order', (tag) => tag.order],
  ['bits', (tag) => (tag.bits === null ? null : `${tag.bits.first}-${tag.bits.last}`)],
  ['scale', (tag, { tags }) => scaleText(tag, tags)],
  ['offset', (tag) => tag.offset],
  ['unit', (tag) => tag.unit],
  ['enum', (tag) => tag.enum?.map(({ raw, text }) => `${raw}=${text}`).join(' ') ?? null],
  ['flags', (tag) => tag.flags?.map(({ bit, text }) => `${bit}=${text}`).join(' ') ?? null],
  ['invalid', (tag) => (tag.invalid.length === 0 ? null : tag.invalid.join(' '))],
  ['plausible', (tag) => (tag.plausible === null ? null : `${tag.plausible.min} to ${tag.plausible.max}`)],
  [
    'counter',
    (tag) =>
      tag.counter === null ? null : tag.counter.modulo === 0 ? 'yes' : `modulo ${tag.counter.modulo}`,
  ],
  ['rate', (tag) => everyText(tag.intervalMs)],
  ['report', (tag) => tag.report],
  ['deadband', (tag) => (tag.deadband.kind === 'percent' ? `${tag.deadband.value} %` : tag.deadband.value)],
  ['heartbeat', (tag) => (tag.heartbeatMs === 0 ? 'never' : durationText(tag.heartbeatMs))],
  ['payload', (tag) => tag.payload],
  ['qos', (tag) => tag.qos],
  ['retain', (tag) => tag.retain],
  ['stored', (tag) => tag.stored],
  [
    'write',
    (tag) =>
      tag.write === null
        ? 'no'
        : `${addressText(tag.write.table, tag.write.address)}, ${tag.write.min} to ${tag.write.max}`,
  ],
  ['group', (tag) => tag.group],
  ['topic', (tag) => tag.topic],
];

/** A factor, or the tag that holds it, as the file names them. */
function scaleText({ scale, scaleFrom }: Tag, tags: readonly Tag[]): number | string {
  const name = tags.find(({ index }) => index === scaleFrom?.tag)?.name;
  if (scaleFrom === null || name === undefined) return scale;
  return `${scaleFrom.kind === 'pow10' ? 'pow10_of' : 'value_of'} ${name}`;
}

const ADDRESS_KEYS = new Set(['coil', 'discrete', 'input', 'holding', 'at', 'value']);
/** Settings that mean nothing where there are no registers. */
const OF_REGISTERS = new Set(['type', 'order', 'scale', 'offset', 'write']);

/** Which request brings the tag; a calculated one comes with what it is calculated from. */
function readText(row: Row | null, tag: Tag): string {
  if (row !== null) return `Read ${row.every === 'once' ? 'once' : `every ${row.every}`}: ${rowText(row)}`;
  return tag.formula === null
    ? 'Not readable within the limits of the device'
    : 'Calculated whenever one of its inputs is read';
}

function tagAnswer({ plant, origins }: Built, tag: Tag): Answer {
  const request = requestsOf(plant, tag.device).requests.find(({ tags }) => tags.includes(tag));
  const row = request === undefined ? null : rowOf(request);
  const byKey = new Map((origins[tag.index] ?? []).map((origin) => [settingOf(origin.key), origin]));
  const rows = SHOWN.flatMap(([key, value]) => {
    if (tag.formula !== null && OF_REGISTERS.has(key)) return [];
    const shown = value(tag, plant);
    return shown === null ? [] : [{ key, value: shown, from: originText(byKey.get(key)) }];
  });
  const width = Math.max(...rows.map(({ value }) => String(value).length));
  return {
    json: { device: tag.device.name, tag: tag.name, request: row, settings: rows },
    lines: [
      `Tag ${tag.device.name}/${tag.name}:`,
      ...rows.map(
        ({ key, value, from }) => `  ${key.padEnd(10)} ${String(value).padEnd(Math.min(width, 44))}  ${from}`,
      ),
      readText(row, tag),
    ],
  };
}

function settingOf(key: string): string {
  return ADDRESS_KEYS.has(key) ? 'address' : key === 'bit' ? 'bits' : key;
}

function originText(origin: Origin | undefined): string {
  if (origin === undefined) return 'default';
  const { source, path, name } = origin.layer;
  const { line } = source.place([...path, origin.key], 'key');
  return `${name}, ${source.file}:${line}`;
}
