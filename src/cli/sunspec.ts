/** `holdfast sunspec`: which SunSpec models a device has and where, and a device map with its own addresses. */
import { writeFileSync } from 'node:fs';
import { MessageChannel } from 'node:worker_threads';
import { systemClock } from '../clock.js';
import { loadAside } from '../config/loadaside.js';
import { formatProblem } from '../config/problems.js';
import { ConfigError } from '../errors.js';
import { createClient, type Answer, type Client, type ClientSettings } from '../modbus/client.js';
import { serveSerial } from '../modbus/serial.js';
import { type SunSpecModel, walkSunSpec } from '../modbus/sunspec.js';
import { hasPoints, mapText, modelName } from './sunspecmap.js';
import { type Context, EXIT, textOption, UsageError, type Verb } from './verb.js';

export const verb: Verb = {
  name: 'sunspec',
  summary: 'walk the SunSpec models of a device and write a map of it',
  arguments: 'DEVICE',
  argumentHelp: [
    {
      name: 'DEVICE',
      description: 'HOST or HOST:PORT of a Modbus TCP device, or with --config the name of a device',
    },
  ],
  options: [
    {
      flags: '-c, --config FILE',
      description: 'the gateway file that has the device; the gateway must not hold its line',
    },
    {
      flags: '-u, --unit ID',
      description: 'its unit identifier, when it is given by its host',
      default: '1',
    },
    { flags: '--map FILE', description: 'write a device map with what was found' },
    { flags: '--json', description: 'one JSON document' },
  ],
  examples: [
    { command: 'sunspec 192.0.2.10 --unit 126', meaning: 'what an inverter offers' },
    { command: 'sunspec 192.0.2.10 --map devices/my-inverter.yaml', meaning: 'a map to start from' },
    { command: 'sunspec --config holdfast.yaml inverter1', meaning: 'a device of a gateway file' },
  ],
  run,
};

interface Goal {
  readonly name: string;
  readonly settings: ClientSettings;
  readonly unitId: number;
}

/** How long a connection may take to come up. */
const CONNECT_MS = 5000;
/** A device that was just spoken to may be slow with its answer to the first request. */
const TIMEOUT_MIN_MS = 2000;

async function run(context: Context): Promise<number> {
  const { options, stdout, stderr, env } = context;
  const goal = await goalOf(context);
  const client = await connect(goal, context);
  if (client === null) {
    stderr.write(`holdfast: ${goal.name} cannot be reached\n`);
    return EXIT.deviceSilent;
  }
  try {
    const read = (address: number, quantity: number): Promise<Answer> =>
      client.request(
        { kind: 'read', unitId: goal.unitId, table: 'holding-register', address, quantity },
        Math.max(TIMEOUT_MIN_MS, goal.settings.timeoutMs),
      );
    const walk = await walkSunSpec(read);
    if (walk.kind === 'nothing') {
      const why = walk.error === null ? 'there is no SunSpec mark at 40000, 50000 or 0' : walk.error.text;
      stderr.write(`holdfast: ${goal.name}, unit ${goal.unitId}: ${why}\n`);
      if (walk.error === null) return EXIT.failed;
      return walk.error.kind === 'exception' ? EXIT.deviceException : EXIT.deviceSilent;
    }
    const title = await titleOf(walk.models, read);
    if (walk.broken !== null) stderr.write(`holdfast: ${walk.broken}; what comes after it is not known\n`);
    const file = textOption(options, 'map');
    if (file !== undefined) writeFileSync(file, mapText(title, walk.models, env));
    if (options['json'] === true) stdout.write(`${JSON.stringify({ title, ...walk }, null, 2)}\n`);
    else stdout.write(`${found(title, walk.base, walk.models, file).join('\n')}\n`);
    return EXIT.ok;
  } finally {
    await client.close();
  }
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

/** Maker and model, as the common model says. */
async function titleOf(
  models: readonly SunSpecModel[],
  read: (address: number, quantity: number) => Promise<Answer>,
): Promise<string> {
  const common = models.find(({ id }) => id === 1);
  const answer = common === undefined ? null : await read(common.address + 2, 32);
  if (answer === null || !answer.ok) return 'SunSpec device';
  const text = Buffer.from(answer.data).toString('latin1');
  const part = (from: number): string =>
    text
      .slice(from, from + 32)
      .replace(/[^\x20-\x7e]/g, '')
      .trim();
  return `${part(0)} ${part(32)}`.trim() || 'SunSpec device';
}

async function goalOf({ args, options }: Context): Promise<Goal> {
  const [name] = args;
  if (name === undefined)
    throw new UsageError('which device? holdfast sunspec HOST, or --config FILE DEVICE');
  const file = textOption(options, 'config');
  if (file === undefined) return goalOfHost(name, Number(textOption(options, 'unit')));
  const { plant, problems } = await loadAside(file);
  if (plant === null)
    throw new ConfigError('CONFIG', {}, `the config is not valid\n${problems.map(formatProblem).join('\n')}`);
  const device = plant.devices.find((one) => one.name === name);
  if (device === undefined)
    throw new UsageError(
      `there is no device ${name} in ${file}; there are ${plant.devices.map((one) => one.name).join(', ')}`,
    );
  return { name, settings: device.bus, unitId: device.unitId };
}

function goalOfHost(text: string, unitId: number): Goal {
  const match = /^(\[[\da-fA-F:]+\]|[^:]+)(?::(\d{1,5}))?$/.exec(text);
  if (match === null) throw new UsageError(`${text} is not HOST or HOST:PORT`);
  if (!Number.isInteger(unitId) || unitId < 0 || unitId > 255)
    throw new UsageError('--unit is a number from 0 to 255');
  const host = (match[1] ?? '').replace(/^\[|\]$/g, '');
  const settings: ClientSettings = {
    link: { kind: 'tcp', host, port: Number(match[2] ?? 502), tls: null },
    timeoutMs: TIMEOUT_MIN_MS,
    inFlight: 1,
    paceMs: 0,
    afterConnectMs: 0,
    closeIdleMs: 0,
    silenceMs: null,
    turnaroundMs: 0,
  };
  return { name: text, settings, unitId };
}

/** A client that is up; null when it does not come up in time. */
async function connect({ settings }: Goal, { interrupted }: Context): Promise<Client | null> {
  let end = (): void => {};
  const openSerial = () => {
    const { port1, port2 } = new MessageChannel();
    end = serveSerial(port1);
    return port2;
  };
  return new Promise((resolve) => {
    const give = async (): Promise<void> => {
      await client.close();
      end();
      resolve(null);
    };
    const cancel = systemClock.after(CONNECT_MS + settings.afterConnectMs, () => void give());
    interrupted.addEventListener('abort', () => void give());
    const client = createClient(
      settings,
      {
        up: () => {
          cancel();
          const close = client.close.bind(client);
          client.close = async () => {
            await close();
            end();
          };
          resolve(client);
        },
        down: () => {},
      },
      systemClock,
      openSerial,
    );
    client.open();
  });
}
