/** The questions of `init` about the devices on a bus: found by a scan or named, described by a map or by a register. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { plantOfText } from '../config/loadplant.js';
import { loadSignaturesAside } from '../config/loadaside.js';
import type { Plant } from '../config/plant.js';
import { formatProblem } from '../config/problems.js';
import { spanText, parseNumbers } from '../config/units.js';
import { packageFolder } from '../entry.js';
import { scanOptionsOf } from '../gateway/scanoptions.js';
import { type FoundUnit, worstMs } from '../poller/scan.js';
import { ask, askUntil, askYesNo } from './ask.js';
import { Field } from './field.js';
import type { AskedBus } from './initbus.js';
import { askList, type OwnMap } from './initlist.js';
import { columns } from './paint.js';
import { Progress } from './progress.js';
import { nextStepOf } from './reach.js';
import { some } from './target.js';
import { flowText } from './taginput.js';
import { type Context, EXIT, VerbError } from './verb.js';

export interface AskedDevice {
  readonly name: string;
  readonly settings: Readonly<Record<string, unknown>>;
  /** A device map that a register list became, to be written to devices/; null: none. */
  readonly ownMap: OwnMap | null;
}

export interface Asked {
  /** As it was told, or as a scan found it set. */
  readonly bus: AskedBus;
  readonly devices: readonly AskedDevice[];
}

const TRY_MS = 5000;
const SHOWN_TAGS = 6;

export async function askDevices(told: AskedBus, context: Context): Promise<Asked> {
  const isUnknown = isHunted(told);
  const isScan = isUnknown || (await askYesNo('Look for devices on it now?', told.settings['protocol'] !== 'tcp', context));
  const found = isScan ? await scanOf(told, context) : [];
  const [first] = found;
  if (isUnknown && (first === undefined || first.setting === null))
    throw new VerbError(EXIT.deviceSilent, 'no unit answered under any usual setting; check A/B wiring, termination and power. Nothing was written');
  const bus = isUnknown ? { ...told, settings: { ...told.settings, ...first?.setting } } : told;
  const units: readonly Pick<FoundUnit, 'unit' | 'maps'>[] = found.length > 0 ? found : [{ unit: await askUnit(context), maps: [] }];
  const devices: AskedDevice[] = [];
  for (const unit of units) {
    const device = await askDevice(bus, unit, devices.map(({ name }) => name), context);
    if (device !== null) devices.push(device);
  }
  if (devices.length === 0) throw new VerbError(EXIT.failed, 'no device is left, and nothing was written');
  return { bus, devices };
} // prettier-ignore

/** A line of which nobody knows how it is set. */
function isHunted({ settings }: AskedBus): boolean {
  return settings['protocol'] === 'rtu' && settings['baud'] === undefined;
}

async function askUnit(context: Context): Promise<number> {
  const isUnit = (answer: string): boolean => /^\d{1,3}$/.test(answer) && Number(answer) <= 255;
  return Number(
    await askUntil('unit', '1', (answer) => (isUnit(answer) ? null : 'a number from 0 to 255'), context),
  );
}

/** The settings that were told, all units; Ctrl-C keeps what was found is not for a dialogue, so it ends it. */
async function scanOf(bus: AskedBus, context: Context): Promise<FoundUnit[]> {
  const { stderr, interrupted } = context;
  const plant = plantOf(bus, []);
  const [only] = plant.buses;
  if (only === undefined) return [];
  const { baud, format } = bus.settings;
  const unitsProblem = (answer: string): string | null =>
    parseNumbers(answer)?.every((unit) => unit <= 255) === true ? null : 'numbers up to 255, as in 1-32,40';
  const units = await askUntil('which units', '1-247', unitsProblem, context);
  const words = { units, ...(baud === undefined ? {} : { baud: String(baud), format: String(format) }) };
  const { signatures } = await loadSignaturesAside('.', context.env);
  const options = scanOptionsOf(only, words, signatures);
  stderr.write(`  at worst ${spanText(Math.ceil(worstMs(only, options) / 1000) * 1000)}, and some seconds for each that answers\n`);
  const field = await Field.open(plant);
  const progress = new Progress(stderr);
  const found: FoundUnit[] = [];
  try {
    const running = field.pool.scan(only.index, options, (news) => {
      if (news.kind === 'progress') progress.show(news.done, news.total, `${settingText(news.setting)}unit ${news.unit}`);
      if (news.kind !== 'found') return;
      found.push(news.found);
      progress.say(`  found ${settingText(isHunted(bus) ? news.found.setting : null)}unit ${news.found.unit} ${news.found.identity}`.trimEnd());
    });
    interrupted.addEventListener('abort', () => running.stop(), { once: true });
    const error = await running.ended;
    progress.end();
    if (error !== '') stderr.write(`  ${error}\n`);
    if (found.length === 0) stderr.write('  no unit answered; name one, and look at wiring, baud and parity\n');
    return found;
  } finally {
    await field.close();
  }
} // prettier-ignore

function settingText(setting: FoundUnit['setting']): string {
  return setting === null ? '' : `${setting.baud} ${setting.format}  `;
}

/** null: it did not answer, and was not wanted then. */
async function askDevice(bus: AskedBus, { unit, maps: fitting }: Pick<FoundUnit, 'unit' | 'maps'>, taken: readonly string[], context: Context): Promise<AskedDevice | null> {
  const nameProblem = (answer: string): string | null =>
    !/^[A-Za-z0-9_-]{1,64}$/.test(answer) ? 'A-Z a-z 0-9 _ -, please' : taken.includes(answer) ? 'there is one of that name' : null;
  const name = await askUntil(`name of unit ${unit}`, `device${unit}`, nameProblem, context);
  const { map, list, tags } = await askMeaning(fitting, context);
  const place = { bus: bus.name, unit_id: unit };
  const settings = map === null ? { ...place, tags: tags ?? {} } : { ...place, map };
  // The map of a list is not written yet.
  const tried = { name, settings: list === null ? settings : { ...place, tags: list.tags }, ownMap: null };
  const device = { name, settings, ownMap: list };
  return (await answers(bus, tried, context)) || (await askYesNo('Keep it all the same?', true, context)) ? device : null;
} // prettier-ignore

interface Meaning {
  /** Its map, shipped or to be written. */
  readonly map: string | null;
  readonly list: OwnMap | null;
  /** Without a map. */
  readonly tags: Readonly<Record<string, unknown>> | null;
}

/** What its registers mean: a map, a register list, or one register to begin with. */
async function askMeaning(fitting: readonly string[], context: Context): Promise<Meaning> {
  const maps = mapNames();
  context.stderr.write(`  device maps: ${maps.join(', ')}\n`);
  if (fitting.length > 0) context.stderr.write(`  its registers fit ${fitting.join(' or ')}\n`);
  const problem = (answer: string): string | null => answer === 'none' || maps.includes(answer) || fitting.includes(answer) || existsSync(answer) ? null : `one of them, the file of a register list (CSV), or none; there are ${some(maps)}`;
  for (;;) {
    const answer = await askUntil('device map, or a register list (CSV)', fitting[0] ?? 'none', problem, context);
    if (answer === 'none') return { map: null, list: null, tags: await askTag(context) };
    if (maps.includes(answer) || fitting.includes(answer)) return { map: answer, list: null, tags: null };
    const list = await askList(answer, context);
    if (list !== null) return { map: list.name, list, tags: null };
  }
} // prettier-ignore

async function askTag(context: Context): Promise<Record<string, unknown>> {
  context.stderr.write('  One register to begin with; more are written into the file, or come by holdfast import.\n');
  const place = await askUntil('register, as in holding:0 or input:10', 'holding:0', (answer) => /^(holding|input|coil|discrete):\d{1,5}$/.test(answer) ? null : 'TABLE:ADDRESS, counted from 0', context);
  const [table = '', address = '0'] = place.split(':');
  const isBit = table === 'coil' || table === 'discrete';
  const type = isBit ? '' : await ask('type (uint16, int16, uint32, int32, float32)', 'uint16', context);
  const name = await askUntil('its name', 'value', (answer) => /^[A-Za-z0-9_-]{1,64}$/.test(answer) ? null : 'A-Z a-z 0-9 _ -, please', context);
  return { [name]: { [table]: Number(address), ...(isBit ? {} : { type }) } };
} // prettier-ignore

/** Reads it, and shows what it says. */
async function answers(bus: AskedBus, device: AskedDevice, context: Context): Promise<boolean> {
  const { stderr } = context;
  const plant = plantOf(bus, [device]);
  const field = await Field.open(plant);
  try {
    const rows: string[][] = [];
    for (const tag of plant.tags.slice(0, SHOWN_TAGS)) {
      const { code, text } = await field.read(tag, TRY_MS);
      if (code !== 'OK' && rows.length === 0) {
        stderr.write(`  ${tag.name}: ${text}; ${nextStepOf({ code, text }, tag)}\n`);
        return false;
      }
      rows.push(['  ', tag.name, code === 'OK' ? `${text} ${tag.unit ?? ''}` : text]);
    }
    stderr.write(`${columns(rows).join('\n')}\n`);
    return true;
  } finally {
    await field.close();
  }
}

function plantOf(bus: AskedBus, devices: readonly AskedDevice[]): Plant {
  const input = {
    version: 1,
    broker: { anonymous: true, store: 'memory' },
    buses: { [bus.name]: bus.settings },
    devices: Object.fromEntries(devices.map(({ name, settings }) => [name, settings])),
  };
  const { plant, problems } = plantOfText('what was asked for', flowText(input), {});
  if (plant !== null) return { ...plant, workers: 1 };
  throw new VerbError(
    EXIT.usage,
    problems.map((problem) => formatProblem({ ...problem, line: 0, column: 0 })).join('\n'),
  );
}

function mapNames(): string[] {
  const files = readdirSync(join(packageFolder(), 'devices')).filter((file) => file.endsWith('.yaml'));
  return files.map((file) => file.slice(0, -'.yaml'.length)).toSorted();
}
