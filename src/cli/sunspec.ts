/** `holdfast sunspec`: which SunSpec models a device has and where, and a device map with its own addresses. */
import { writeFileSync } from 'node:fs';
import type { Bus, Plant } from '../config/plant.js';
import { scanOptionsOf, type ScanWords } from '../gateway/scanoptions.js';
import type { SunSpecModel } from '../modbus/sunspec.js';
import { type FoundUnit, worstMs } from '../poller/scan.js';
import { BROKER_OPTIONS, plantOf } from './brokerlink.js';
import { carryOut } from './scanning.js';
import { hasPoints, mapText, modelName } from './sunspecmap.js';
import { busPlantOf, isUrl, nearest, some } from './target.js';
import { type Context, EXIT, numberOption, textOption, UsageError, type Verb, VerbError } from './verb.js';

export const verb: Verb = {
  name: 'sunspec',
  summary: 'walk the SunSpec models of a device and write a map of it',
  arguments: 'DEVICE',
  argumentHelp: [
    {
      name: 'DEVICE',
      description:
        'HOST or HOST:PORT of a Modbus TCP device, a URL such as rtu:///dev/ttyUSB0?baud=9600, or with --config the name of a device',
    },
  ],
  options: [
    ...BROKER_OPTIONS,
    {
      flags: '--unit ID',
      description: 'its unit identifier, when it is given by its address; 1 unless given',
    },
    { flags: '--map FILE', description: 'write a device map with what was found' },
    { flags: '--json', description: 'one JSON document' },
  ],
  examples: [
    { command: 'sunspec 192.0.2.10 --unit 126', meaning: 'what an inverter offers' },
    { command: 'sunspec 192.0.2.10 --map devices/my-inverter.yaml', meaning: 'a map to start from' },
    {
      command: 'sunspec --config holdfast.yaml inverter1',
      meaning: 'a device of a gateway file; when the gateway runs, it does the walk',
    },
  ],
  run,
};

interface Goal {
  readonly name: string;
  /** null: it came from an address, and no gateway is asked. */
  readonly plant: Plant | null;
  readonly bus: Bus;
  readonly unitId: number;
}

/** A device that was just spoken to may be slow with its answer to the first request. */
const TIMEOUT = '2s';

async function run(context: Context): Promise<number> {
  const { options, stdout, stderr, env } = context;
  const { name, unitId, ...goal } = await goalOf(context);
  const { sunSpec: walk } = await unitOf(name, unitId, goal, context);
  if (walk.kind === 'nothing') {
    const why = walk.error === null ? 'there is no SunSpec mark at 40000, 50000 or 0' : walk.error.text;
    const silent = walk.error?.kind === 'exception' ? EXIT.deviceException : EXIT.deviceSilent;
    throw new VerbError(walk.error === null ? EXIT.failed : silent, `${name}, unit ${unitId}: ${why}`);
  }
  const title = walk.title === '' ? 'SunSpec device' : walk.title;
  if (walk.broken !== null) stderr.write(`holdfast: ${walk.broken}; what comes after it is not known\n`);
  const file = textOption(options, 'map');
  if (file !== undefined) writeFileSync(file, mapText(title, walk.models, env));
  if (options['json'] === true) stdout.write(`${JSON.stringify({ ...walk, title }, null, 2)}\n`);
  else stdout.write(`${found(title, walk.base, walk.models, file).join('\n')}\n`);
  return EXIT.ok;
} // prettier-ignore

/** The walk is part of what a scan asks a unit; here it is a scan of one unit, under the settings that its line has. */
async function unitOf(name: string, unitId: number, { plant, bus }: Pick<Goal, 'plant' | 'bus'>, context: Context): Promise<FoundUnit> {
  const words: ScanWords = { units: String(unitId), timeout: TIMEOUT, ...settingOf(bus) };
  const units: FoundUnit[] = [];
  const error = await carryOut({
    context,
    plant,
    bus,
    words,
    worst: worstMs(bus, scanOptionsOf(bus, words)),
    tell: (news) => {
      if (news.kind === 'found') units.push(news.found);
    },
  });
  context.interrupted.throwIfAborted();
  const [unit] = units;
  if (unit !== undefined) return unit;
  throw new VerbError(EXIT.deviceSilent, error === '' ? `${name}: unit ${unitId} does not answer; holdfast scan finds who does` : `${name} cannot be reached: ${error}`);
} // prettier-ignore

function settingOf({ link }: Bus): Pick<ScanWords, 'baud' | 'format'> {
  if (!('path' in link)) return {};
  const { baud, dataBits, parity, stopBits } = link;
  return { baud: String(baud), format: `${dataBits}${parity.charAt(0).toUpperCase()}${stopBits}` };
}

function found(
  title: string,
  base: number,
  models: readonly SunSpecModel[],
  file: string | undefined,
): string[] {
  const rows = models.map(
    ({ id, address, length }) =>
      `  ${String(address).padStart(5)}  model ${String(id).padEnd(5)} ${String(length).padStart(4)} registers  ${modelName(id)}${hasPoints(id) ? '' : ' (no points known, not in the map)'}`,
  );
  const next =
    file === undefined
      ? 'With --map FILE a device map is written.'
      : `${file} is written; look it over with: holdfast check --map ${file}`;
  return [`${title}: SunSpec at ${base}, ${models.length} models`, ...rows, next];
}

async function goalOf(context: Context): Promise<Goal> {
  const { args, options } = context;
  const [name] = args;
  if (name === undefined)
    throw new UsageError('which device? holdfast sunspec HOST, or --config FILE DEVICE');
  const unit = numberOption(options, 'unit', 0, 255);
  const isHost = textOption(options, 'config') === undefined;
  if (isUrl(name) || isHost) {
    const { plant, unit: inUrl } = busPlantOf(isUrl(name) ? name : urlOfHost(name));
    const [bus] = plant.buses;
    if (bus === undefined) throw new UsageError(`${name} names no bus`);
    return { name, plant: null, bus, unitId: unit ?? inUrl ?? 1 };
  }
  const plant = await plantOf(context);
  const device = plant?.devices.find((one) => one.name === name);
  if (plant !== null && device !== undefined)
    return { name, plant, bus: device.bus, unitId: unit ?? device.unitId };
  const names = plant?.devices.map((one) => one.name) ?? [];
  throw new UsageError(`there is no device ${name}${nearest(name, names)}; there are ${some(names)}`);
}

function urlOfHost(text: string): string {
  if (!/^(\[[\da-fA-F:]+\]|[^:/]+)(:\d{1,5})?$/.test(text))
    throw new UsageError(`${text} is not HOST or HOST:PORT`);
  return `tcp://${text}`;
}
