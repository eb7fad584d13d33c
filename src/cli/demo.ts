/**
 * `holdfast demo`: a simulated plant in a process of its own and the gateway on config/demo.yaml, on this machine only.
 * Says where everything is, shows the first values, and leaves nothing running.
 */
import { existsSync } from 'node:fs';
import { createServer } from 'node:net';
import { delimiter, join, relative } from 'node:path';
import { systemClock } from '../clock.js';
import { loadAside } from '../config/loadaside.js';
import type { Plant } from '../config/plant.js';
import { formatProblem } from '../config/problems.js';
import { ConfigError } from '../errors.js';
import { Gateway } from '../gateway/gateway.js';
import { createLog } from '../log.js';
import { Metrics } from '../metrics.js';
import { relinked, simulationOf } from '../simulator/fromplant.js';
import { PlantProcess } from '../simulator/plantprocess.js';
import { hasPty } from '../simulator/pty.js';
import { demoFile } from './demofile.js';
import { listen, type Message } from './listen.js';
import { describe } from './simulate.js';
import { EXIT, type Context, type Verb } from './verb.js';
import { productVersion } from './version.js';

const HOST = '127.0.0.1';
/** Faults that show what trouble looks like: when each begins, counted in seconds from the start. */
const SILENT_EVERY_MS = 180_000;
const SILENT_FOR_MS = 20_000;
/** On a terminal the values are shown anew so often; elsewhere each is a line, and only the first ones. */
const SHOW_EVERY_MS = 1000;
const LINES_MAX = 20;

export const verb: Verb = {
  name: 'demo',
  summary: 'see it work: a simulated plant, the gateway, live values',
  arguments: '',
  options: [{ flags: '--no-faults', description: 'no device goes silent now and then' }],
  examples: [{ command: 'demo', meaning: 'nothing else is needed; Ctrl-C ends it' }],
  run,
};

async function run(context: Context): Promise<number> {
  const startedAtMs = systemClock.monotonicMs();
  const { plant: written, problems } = await loadAside(demoFile());
  if (written === null) {
    throw new ConfigError(
      'CONFIG',
      {},
      `the demo's config is not valid\n${problems.map(formatProblem).join('\n')}`,
    );
  }
  const note = (text: string): void => void context.stderr.write(`  note: ${text}\n`);
  if (!hasPty())
    note('this installation has no pseudo-terminals; the serial line is reached as RTU over TCP');
  const simulated = await PlantProcess.start(simulationOf(written, { host: HOST, hasPty: hasPty() }));
  try {
    const addresses = await simulated.addresses();
    const plant = await onFreePorts(relinked(written, addresses), note);
    const gateway = gatewayOn(plant);
    try {
      await gateway.start();
      introduce(context, plant, describe(plant, addresses));
      const cancelFaults =
        context.options['faults'] === false ? () => {} : faultsNowAndThen(simulated, plant);
      await showValues(context, plant, startedAtMs);
      cancelFaults();
    } finally {
      await gateway.stop();
    }
  } finally {
    await simulated.stop();
  }
  return EXIT.ok;
}

function gatewayOn(plant: Plant): Gateway {
  return new Gateway({
    plant,
    load: () => loadAside(demoFile()),
    log: createLog('error'),
    clock: systemClock,
    metrics: new Metrics(),
    version: productVersion(),
    rehearses: true,
  });
}

/** The plant with every taken port replaced by a free one. */
async function onFreePorts(plant: Plant, note: (text: string) => void): Promise<Plant> {
  const freed = async <Door extends { readonly port: number }>(door: Door, name: string): Promise<Door> => {
    const port = await freePort(door.port);
    if (port !== door.port) note(`port ${door.port} is taken; ${name} is on ${port}`);
    return { ...door, port };
  };
  // One after the other: two doors must not be given one port.
  const listeners = [];
  for (const listener of plant.broker.listeners) listeners.push(await freed(listener, listener.protocol));
  const web = plant.web === null ? null : await freed(plant.web, 'the web page');
  return { ...plant, broker: { ...plant.broker, listeners }, web };
}

/** The port itself when nobody listens there, else one that the system picks. */
async function freePort(port: number): Promise<number> {
  for (const candidate of [port, 0]) {
    const server = createServer();
    const free = await new Promise<number>((resolve) => {
      server.once('error', () => resolve(0));
      server.listen(candidate, HOST, () => {
        const address = server.address();
        const found = address !== null && typeof address === 'object' ? address.port : 0;
        server.close(() => resolve(found));
      });
    });
    if (free !== 0) return free;
  }
  return port;
}

/** How this program is started here: by its name where a shell finds it, as in a clone otherwise. */
function programOf({ env }: Context): string {
  const isInstalled = (env['PATH'] ?? '')
    .split(delimiter)
    .some((folder) => existsSync(join(folder, 'holdfast')));
  return isInstalled ? 'holdfast' : `node ${relative('', process.argv[1] ?? '')}`;
}

function introduce(context: Context, plant: Plant, devices: readonly string[]): void {
  const mqtt = plant.broker.listeners.find(({ protocol }) => protocol === 'mqtt');
  const ws = plant.broker.listeners.find(({ protocol }) => protocol === 'ws');
  const { baseTopic, id } = plant.gateway;
  const port = mqtt?.port ?? 1883;
  const program = programOf(context);
  const lines = [
    '',
    `holdfast ${productVersion()} demo`,
    '',
    ...(plant.web === null ? [] : [`  web page  http://${HOST}:${plant.web.port}/`]),
    `  MQTT      mqtt://${HOST}:${port}   MQTT 3.1.1 and 5.0, no password on this machine`,
    ...(ws === undefined ? [] : [`            ws://${HOST}:${ws.port}${ws.path}`]),
    ...devices.map((device, index) => `  ${index === 0 ? 'devices ' : '        '}  ${device}`),
    '',
    'Try:   ' + `mosquitto_sub -h ${HOST} -p ${port} -t '${baseTopic}/${id}/data/#' -v`,
    '       ' + `mosquitto_pub -h ${HOST} -p ${port} -t '${baseTopic}/${id}/set/press1/setpoint' -m 55`,
    `       ${program} watch --url mqtt://${HOST}:${port}`,
    `Next:  ${program} init   make a gateway file for your own devices`,
    'Stop:  Ctrl-C',
    '',
  ];
  context.stdout.write(`${lines.join('\n')}\n`);
}

/** Shows values until Ctrl-C: a table that renews itself on a terminal, the first few lines elsewhere. */
async function showValues(context: Context, plant: Plant, startedAtMs: number): Promise<void> {
  const { stdout, interrupted, isTerminal } = context;
  const mqtt = plant.broker.listeners.find(({ protocol }) => protocol === 'mqtt');
  if (mqtt === undefined) return;
  const prefix = `${plant.gateway.baseTopic}/${plant.gateway.id}/data/`;
  const values = new Map<string, string>();
  let shownLines = 0;
  const socket = await listen(mqtt.host, mqtt.port, `${prefix}#`, ({ topic, payload }: Message) => {
    if (values.size === 0) {
      const seconds = ((systemClock.monotonicMs() - startedAtMs) / 1000).toFixed(1);
      stdout.write(`  first value after ${seconds} s\n\n`);
    }
    values.set(topic.slice(prefix.length), payload);
    if (!isTerminal && shownLines < LINES_MAX) {
      shownLines++;
      stdout.write(`${topic} ${payload}\n`);
    }
  });
  const table = new Table(stdout, plant);
  const timer = isTerminal ? setInterval(() => table.show(values), SHOW_EVERY_MS) : null;
  if (!interrupted.aborted) {
    await new Promise<void>((resolve) =>
      interrupted.addEventListener('abort', () => resolve(), { once: true }),
    );
  }
  if (timer !== null) clearInterval(timer);
  socket.destroy();
}

/** The tags that fit a screen, in the order of the config, written over the last state of themselves. */
class Table {
  readonly #out: NodeJS.WritableStream;
  readonly #tags: readonly { path: string; unit: string }[];
  #height = 0;

  constructor(out: NodeJS.WritableStream, plant: Plant) {
    this.#out = out;
    this.#tags = plant.tags
      .slice(0, 16)
      .map(({ device, name, unit }) => ({ path: `${device.name}/${name}`, unit: unit ?? '' }));
  }

  show(values: ReadonlyMap<string, string>): void {
    const lines = this.#tags.map(({ path, unit }) => {
      const payload = values.get(path);
      // Our own gateway wrote it.
      const sample =
        payload === undefined ? null : (JSON.parse(payload) as { v: unknown; q: string; e?: string });
      const text =
        sample === null
          ? '...'
          : sample.q === 'good'
            ? `${String(sample.v)} ${unit}`
            : `${sample.q} ${sample.e ?? ''}`;
      return `\x1b[2K  ${path.padEnd(28)} ${text}`;
    });
    const up = this.#height === 0 ? '' : `\x1b[${this.#height}A`;
    this.#out.write(`${up}${lines.join('\n')}\n`);
    this.#height = lines.length;
  }
}

/** The last device goes silent for a while every few minutes. Returns what ends it. */
function faultsNowAndThen(simulated: PlantProcess, plant: Plant): () => void {
  const device = plant.devices.at(-1);
  if (device === undefined) return () => {};
  const setFault = (names: readonly 'dead'[]): void => {
    // A plant that has ended has no faults to set.
    simulated
      .setFaults(
        device.bus.name,
        device.unitId,
        names.map((name) => ({ name })),
      )
      .catch(() => {});
  };
  let heal: NodeJS.Timeout | undefined;
  const timer = setInterval(() => {
    setFault(['dead']);
    heal = setTimeout(() => setFault([]), SILENT_FOR_MS);
  }, SILENT_EVERY_MS);
  return () => {
    clearInterval(timer);
    clearTimeout(heal);
  };
}
