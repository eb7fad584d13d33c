/** A tag of the plant -> the settings that make it, as a config file holds them; what is usual is left out. */
import type { Plant, Tag, WriteSettings, WriteStep } from '../config/plant.js';
import { durationText } from '../config/units.js';
import { isBitTable, type Table } from '../modbus/protocol.js';

/** As in a config; addresses count from 0. */
export type TagSettings = Record<string, unknown>;

export const KEY_OF: Readonly<Record<Table, string>> = {
  coil: 'coil',
  'discrete-input': 'discrete',
  'holding-register': 'holding',
  'input-register': 'input',
};
const SIXTEEN_BITS = 16;

export function settingsOf(tag: Tag, { tags }: Pick<Plant, 'tags'>): TagSettings {
  const source = tags.find(({ index }) => index === tag.scaleFrom?.tag)?.name;
  const all: TagSettings = {
    [KEY_OF[tag.table]]: tag.address,
    type: isBitTable(tag.table) ? undefined : tag.type,
    order: tag.order === 'ABCD' ? undefined : tag.order,
    ...textSettings(tag),
    select: tag.select === null ? undefined : stepOf(tag.select),
    scale:
      source === undefined
        ? tag.scale === 1
          ? undefined
          : tag.scale
        : { [tag.scaleFrom?.kind === 'value' ? 'value_of' : 'pow10_of']: source },
    offset: tag.offset === 0 ? undefined : tag.offset,
    ...bitSettings(tag),
    enum: tag.enum === null ? undefined : Object.fromEntries(tag.enum.map(({ raw, text }) => [raw, text])),
    flags: tag.flags === null ? undefined : Object.fromEntries(tag.flags.map(({ bit, text }) => [bit, text])),
    invalid: tag.invalid.length === 0 ? undefined : tag.invalid,
    plausible: tag.plausible === null ? undefined : finite({ min: tag.plausible.min, max: tag.plausible.max, max_per_second: tag.plausible.maxPerSecond }),
    counter: tag.counter === null ? undefined : tag.counter.modulo === 0 ? true : { modulo: tag.counter.modulo },
    unit: tag.unit ?? undefined,
    description: tag.description ?? undefined,
    rate: tag.intervalMs === 0 ? 'once' : tag.intervalMs === 10_000 ? undefined : durationText(tag.intervalMs),
    report: tag.report === 'change' ? undefined : tag.report,
    deadband: tag.deadband.value === 0 ? undefined : tag.deadband.kind === 'percent' ? `${tag.deadband.value}%` : tag.deadband.value,
    heartbeat: tag.heartbeatMs === 60_000 ? undefined : durationText(tag.heartbeatMs),
    payload: tag.payload === 'vqt' ? undefined : tag.payload,
    qos: tag.qos === 1 ? undefined : tag.qos,
    retain: tag.retain ? undefined : false,
    stored: tag.stored ? true : undefined,
    write: tag.write === null ? undefined : writeOf(tag, tag.write),
  };
  return without(all);
} // prettier-ignore

function textSettings({ text, type, quantity }: Tag): TagSettings {
  if (text === null) return {};
  return {
    count: type === 'string' ? quantity : undefined,
    bytes: text.bytes === 'both' ? undefined : text.bytes,
    encoding: text.encoding === 'ascii' ? undefined : text.encoding,
    pad: text.pad === 0 ? undefined : text.pad,
  };
}

function bitSettings({ bits, type }: Tag): TagSettings {
  if (bits === null) return {};
  return type === 'bool' ? { bit: bits.first % SIXTEEN_BITS } : { bits: `${bits.first}-${bits.last}` };
}

function writeOf(tag: Tag, write: WriteSettings): true | TagSettings {
  const isElsewhere = write.table !== tag.table || write.address !== tag.address;
  const before = tag.select === null ? write.before : write.before.slice(1);
  const isUnverified = !write.verify && write.pulse === null && !write.broadcast;
  const { pulse, refresh } = write;
  const settings = without({
    ...(isElsewhere ? { [KEY_OF[write.table]]: write.address } : {}),
    ...finite({ min: write.min, max: write.max }),
    step: write.step === 0 ? undefined : write.step,
    verify: isUnverified ? false : undefined,
    with: write.with === 'auto' ? undefined : write.with,
    functions: write.functions.length === 0 ? undefined : write.functions,
    newest_only: write.newestOnly ? true : undefined,
    before: before.length === 0 ? undefined : before.map(stepOf),
    after: write.after.length === 0 ? undefined : write.after.map(stepOf),
    ...(pulse === null ? {} : { pulse: durationText(pulse.ms), rest: JSON.parse(pulse.rest) as unknown }),
    refresh: refresh === null ? undefined : durationText(refresh.everyMs),
    hold: refresh === null || !Number.isFinite(refresh.holdMs) ? undefined : durationText(refresh.holdMs),
    fallback: refresh?.fallback === undefined || refresh.fallback === null ? undefined : (JSON.parse(refresh.fallback) as unknown),
    initial: refresh?.initial === undefined || refresh.initial === null ? undefined : (JSON.parse(refresh.initial) as unknown),
    broadcast: write.broadcast ? true : undefined,
    max_per_hour: Number.isFinite(write.perHourMax) ? write.perHourMax : undefined,
  });
  return Object.keys(settings).length === 0 ? true : settings;
} // prettier-ignore

function stepOf({ table, address, values }: WriteStep): TagSettings {
  const [only] = values;
  const value = table === 'coil' ? only === 1 : values.length === 1 ? only : values;
  return { [KEY_OF[table]]: address, value };
}

function finite(values: Readonly<Record<string, number>>): TagSettings {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => Number.isFinite(value)));
}

function without(settings: TagSettings): TagSettings {
  return Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined));
}

/** Flow YAML, on one line: as JSON, with bare keys where they are plain. */
export function flowText(value: unknown): string {
  if (typeof value === 'bigint') return value.toString();
  if (Array.isArray(value)) return `[${value.map(flowText).join(', ')}]`;
  if (typeof value === 'string' && /^[A-Za-z]\w*$/.test(value) && isPlainWord(value)) return value;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const members = Object.entries(value).map(([key, one]) => `${keyText(key)}: ${flowText(one)}`);
  return `{ ${members.join(', ')} }`;
}

/** Words that YAML reads as something else stand in quotes. */
export function keyText(key: string): string {
  return (/^[A-Za-z_][\w-]*$/.test(key) && isPlainWord(key)) || /^\d+$/.test(key) ? key : JSON.stringify(key);
}

/** Neither in YAML 1.2 nor in readers of 1.1 a truth or nothing. */
function isPlainWord(word: string): boolean {
  return !/^(true|false|null|yes|no|on|off|y|n)$/i.test(word);
}
