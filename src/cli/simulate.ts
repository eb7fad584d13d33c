/**
 * `holdfast simulate`: the devices of a gateway file, played by this process. Addresses go to stdout; orders as JSON
 * lines come from stdin while it runs (simulator/control.ts), each answered by one line.
 */
import { createInterface } from 'node:readline';
import { loadAside } from '../config/loadaside.js';
import type { Plant } from '../config/plant.js';
import { formatProblem } from '../config/problems.js';
import { ConfigError } from '../errors.js';
import { obey } from '../simulator/control.js';
import type { Address } from '../simulator/endpoint.js';
import { simulationOf } from '../simulator/fromplant.js';
import { SimulatedPlant } from '../simulator/plant.js';
import { hasPty } from '../simulator/pty.js';
import { LINK_FAULTS, parseFault, type BusSpec, type FaultSpec, type PlantSpec } from '../simulator/spec.js';
import { demoFile } from './demofile.js';
import { EXIT, textOption, UsageError, type Context, type Verb } from './verb.js';

export const verb: Verb = {
  name: 'simulate',
  summary: 'play the devices of a gateway file, with faults by name',
  arguments: '[FAULT...]',
  argumentHelp: [
    {
      name: 'FAULT',
      description:
        'DEVICE/NAME[:ARGUMENT][=SHARE] or BUS/NAME..., as in meter1/late:1500ms=10% or plc/refuse; orders on stdin change them while it runs',
    },
  ],
  options: [
    { flags: '-c, --config FILE', description: "the gateway file; without one, the demo's" },
    {
      flags: '--host ADDRESS',
      description: 'where devices listen that are configured elsewhere',
      default: '127.0.0.1',
    },
    { flags: '--seed NUMBER', description: 'for values and faults that repeat exactly' },
  ],
  examples: [
    { command: 'simulate --config holdfast.yaml', meaning: 'then point the gateway at what it prints' },
    { command: 'simulate press1/slow:300ms=5% line1/bad-crc=1%', meaning: 'the demo plant, with faults' },
  ],
  run,
};

async function run({ args, options, stdin, stdout, stderr, interrupted }: Context): Promise<number> {
  const file = args.find((arg) => /\.ya?ml$/.test(arg));
  if (file !== undefined)
    throw new UsageError(`${file} is no fault; write holdfast simulate --config ${file}`);
  const { plant, problems } = await loadAside(textOption(options, 'config') ?? demoFile());
  if (plant === null) {
    throw new ConfigError('CONFIG', {}, `the config is not valid\n${problems.map(formatProblem).join('\n')}`);
  }
  if (plant.devices.length === 0) throw new UsageError(`${plant.file} has no devices to play`);
  const seed = textOption(options, 'seed');
  if (seed !== undefined && !/^\d+$/.test(seed)) throw new UsageError('--seed is a number');
  if (!hasPty()) stderr.write('no pseudo-terminals here: serial lines are reached as RTU over TCP\n');
  const spec = simulationOf(plant, {
    host: textOption(options, 'host') ?? '127.0.0.1',
    hasPty: hasPty(),
    ...(seed === undefined ? {} : { seed: Number(seed) }),
  });
  const simulated = await SimulatedPlant.start(withFaults(spec, args));
  for (const line of describe(plant, await simulated.addresses())) stdout.write(`${line}\n`);
  const lines = createInterface({ input: stdin });
  lines.on('line', (line) => void answer(simulated, line, stdout));
  await new Promise<void>((resolve) => interrupted.addEventListener('abort', () => resolve()));
  lines.close();
  await simulated.stop();
  return EXIT.ok;
}

/** One line a device, as a person would note it down. */
export function describe(plant: Plant, addresses: Readonly<Record<string, Address>>): string[] {
  return plant.devices.map(({ name, unitId, bus }) => {
    const address = addresses[bus.name];
    const where =
      address === undefined
        ? 'nowhere'
        : address.kind === 'socket'
          ? `${address.host}:${address.port}`
          : address.path;
    const { link } = bus;
    const line =
      link.kind === 'rtu' || link.kind === 'ascii'
        ? ` ${link.baud} ${link.dataBits}${link.parity.charAt(0).toUpperCase()}${link.stopBits}`
        : '';
    return `${name}  ${link.kind}${line}  ${where}  unit ${unitId}`;
  });
}

async function answer(plant: SimulatedPlant, line: string, stdout: NodeJS.WritableStream): Promise<void> {
  if (line.trim() === '') return;
  let order: unknown = null;
  try {
    order = JSON.parse(line);
  } catch {
    // What is no JSON is answered like any other order that makes no sense.
  }
  stdout.write(`${JSON.stringify(await obey(plant, order))}\n`);
}

/** The spec with the faults that the command line asks for. */
export function withFaults(spec: PlantSpec, texts: readonly string[]): PlantSpec {
  let buses = [...spec.buses];
  for (const text of texts) {
    const [target = '', fault = ''] = text.split('/', 2);
    const parsed = parseFault(fault);
    if (typeof parsed === 'string') throw new UsageError(`${text}: ${parsed}`);
    if (!buses.some((bus) => bus.name === target || bus.units.some(({ name }) => name === target))) {
      throw new UsageError(`${text}: the config has no bus or device "${target}"`);
    }
    buses = buses.map((bus) => withFault(bus, target, parsed));
  }
  return { ...spec, buses };
}

function withFault(bus: BusSpec, target: string, fault: FaultSpec): BusSpec {
  const ofDevice = bus.units.some(({ name }) => name === target);
  const isOfLink = LINK_FAULTS.some((name) => name === fault.name);
  if (bus.name === target || (ofDevice && isOfLink)) {
    return { ...bus, faults: [...(bus.faults ?? []), fault] };
  }
  const units = bus.units.map((unit) =>
    unit.name === target ? { ...unit, faults: [...(unit.faults ?? []), fault] } : unit,
  );
  return { ...bus, units };
}
