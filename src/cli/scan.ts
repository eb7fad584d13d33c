/** `holdfast scan`: which units are on a bus, and how the line is set. */
import type { Bus, Plant } from '../config/plant.js';
import { spanText } from '../config/units.js';
import { messageOf } from '../errors.js';
import { scanOptionsOf, type ScanWords } from '../gateway/scanoptions.js';
import { adviceOn } from '../poller/advice.js';
import { isLine } from '../poller/linecost.js';
import { type FoundUnit, type ScanNews, worstMs } from '../poller/scan.js';
import { BROKER_OPTIONS, plantOf } from './brokerlink.js';
import { Progress } from './progress.js';
import { carryOut } from './scanning.js';
import { busPlantOf, isUrl, nearest, some } from './target.js';
import { EXIT, numberOption, textOption, UsageError, type Context, type Verb, VerbError } from './verb.js';

export const verb: Verb = {
  name: 'scan',
  summary: 'find the units of a bus, and how its line is set',
  arguments: 'BUS',
  argumentHelp: [{ name: 'BUS', description: 'its name in the gateway file, or a URL such as rtu:///dev/ttyUSB0 or tcp://10.0.0.5' }],
  options: [
    ...BROKER_OPTIONS,
    { flags: '--units LIST', description: 'which units, as in 1-32,40', default: '1-247' },
    { flags: '--baud LIST', description: 'only these rates, as in 9600,19200; else the likely ones in turn' },
    { flags: '--format LIST', description: 'only these, as in 8N1,8E1' },
    { flags: '--timeout DURATION', description: 'wait for each unit; 100ms on a line, 500ms on a network unless given' },
    { flags: '--stop-after NUMBER', description: 'end when so many were found' },
    { flags: '--thorough', description: 'try further settings though one has found units' },
    { flags: '--json', description: 'one JSON document at the end' },
    { flags: '--jsonl', description: 'one JSON object for each unit, as it is found' },
  ],
  examples: [
    { command: 'scan rtu:///dev/ttyUSB0', meaning: 'likely settings first, all units' },
    { command: 'scan -c holdfast.yaml line1', meaning: 'a running gateway does it, and its polls pause meanwhile' },
    { command: 'scan rtu:///dev/ttyUSB0 --units 1-32 --baud 9600', meaning: 'quicker' },
    { command: 'scan tcp://10.0.0.5', meaning: 'the units behind a converter' },
  ],
  run,
}; // prettier-ignore

/** Where to look when nobody answers. */
const OF_A_LINE = 'check A/B wiring, termination and power, then try --timeout 500ms or another --baud';
const OF_A_NETWORK = 'check host and port, what is wired behind it, and power, then try --timeout 2s';

async function run(context: Context): Promise<number> {
  const { args, options, stdout, stderr } = context;
  const [name, ...rest] = args;
  if (name === undefined || rest.length > 0) throw new UsageError("which bus? 'holdfast scan rtu:///dev/ttyUSB0'");
  const { plant, bus } = await busOf(context, name);
  const words = wordsOf(context);
  const asked = readWords(() => scanOptionsOf(bus, words));
  const worst = worstMs(bus, asked);
  const settings = asked.settings.length === 0 ? '' : ` under ${asked.settings.length} settings`;
  stderr.write(`${name}: ${asked.units.length} units${settings}; at worst ${spanText(Math.ceil(worst / 1000) * 1000)}, and some seconds for each that answers; Ctrl-C keeps what was found\n`);
  const progress = new Progress(stderr);
  const found: FoundUnit[] = [];
  const tell = (news: ScanNews): void => {
    if (news.kind === 'note') return progress.say(news.text);
    if (news.kind === 'progress') {
      const line = news.setting === null ? '' : `${news.setting.baud} ${news.setting.format}  `;
      return progress.show(news.done, news.total, `${name}  ${line}unit ${news.unit}`);
    }
    found.push(news.found);
    if (options['jsonl'] === true) stdout.write(`${JSON.stringify(news.found)}\n`);
    else if (options['json'] !== true) progress.print(stdout, foundText(news.found));
  };
  const error = await carryOut({ context, plant, bus, words, worst, tell });
  progress.end();
  if (options['json'] === true) stdout.write(`${JSON.stringify(found, null, 2)}\n`);
  if (error !== '') throw new VerbError(EXIT.failed, `${name}: ${error}; ${adviceOn(error, bus)}`);
  if (found.some(({ maps }) => maps.length > 0) && options['json'] !== true) stderr.write(snippet(isUrl(name) ? 'BUS' : name, found));
  if (found.length > 0 || context.interrupted.aborted) return EXIT.ok;
  throw new VerbError(EXIT.deviceSilent, `${name}: no unit answered; ${isLine(bus) ? OF_A_LINE : OF_A_NETWORK}`);
} // prettier-ignore

/** The name of the option is what people know; what is wrong with it ends as every usage error. */
function readWords<T>(read: () => T): T {
  try {
    return read();
  } catch (thrown) {
    throw new UsageError(`--${messageOf(thrown)}`);
  }
}

async function busOf(context: Context, name: string): Promise<{ plant: Plant | null; bus: Bus }> {
  if (isUrl(name)) {
    const [bus] = busPlantOf(name).plant.buses;
    if (bus === undefined) throw new UsageError(`${name} names no bus`);
    return { plant: null, bus };
  }
  const plant = await plantOf(context);
  if (plant === null)
    throw new UsageError(
      `where is ${name}? name its gateway file with --config, or write rtu:///dev/ttyUSB0`,
    );
  const bus = plant.buses.find((one) => one.name === name);
  if (bus !== undefined) return { plant, bus };
  const names = plant.buses.map((one) => one.name);
  throw new UsageError(`${plant.file} has no bus ${name}${nearest(name, names)}; there are ${some(names)}`);
}

function wordsOf({ options }: Context): ScanWords {
  return {
    units: textOption(options, 'units'),
    baud: textOption(options, 'baud'),
    format: textOption(options, 'format'),
    timeout: textOption(options, 'timeout'),
    stopAfter: numberOption(options, 'stopAfter', 1, 256),
    isThorough: options['thorough'] === true,
  };
}

function foundText({ unit, setting, tables, identity, maps }: FoundUnit): string {
  const line = setting === null ? '' : `  ${setting.baud} ${setting.format}`;
  const answers = tables.map(({ table, answer }) => `${table.replace(/-.*/, '')} ${answer}`).join(', ');
  const said = identity === '' ? '' : `${identity}  `;
  const fits = maps.length === 0 ? '' : `fits ${maps.join(' or ')}  `;
  return `unit ${unit}${line}  ${said}${fits}(${answers})`;
}

/** What to write into the gateway file for the units that fit a map. */
function snippet(bus: string, found: readonly FoundUnit[]): string {
  const lines = found.flatMap(({ unit, maps: [map] }) =>
    map === undefined ? [] : [`  device${unit}: { bus: ${bus}, unit_id: ${unit}, map: ${map} }`],
  );
  return `\nFor the gateway file:\n\ndevices:\n${lines.join('\n')}\n`;
}
