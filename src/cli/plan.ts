/**
 * What a plant costs before anything runs: requests and line load of each bus at the asked rates, what would make an
 * overloaded one fit, topics, users. Figures only; check.ts and explain.ts print them.
 */
import { existsSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { matches } from '../broker/topic.js';
import {
  fastestOf,
  type Bus,
  type Device,
  type Plant,
  type SerialLink,
  type ShareSettings,
  type Tag,
  type UplinkSettings,
} from '../config/plant.js';
import { durationText } from '../config/units.js';
import { readCost } from '../poller/linecost.js';
import { type BusLoad, type ReadRequest, loadOf, planReads } from '../poller/readplan.js';

/** A line is planned to be busy for no more than this share of its time. */
export const COMFORTABLE = 0.7;
/** Round trips that are assumed until they were measured. */
const NETWORK_MS = 5;
const CONVERTER_MS = 30;
const BAUDS = [9_600, 19_200, 38_400, 57_600, 115_200];

export interface BusPlan {
  readonly name: string;
  readonly link: string;
  readonly devices: number;
  readonly tags: number;
  readonly requests: number;
  readonly cycleMs: number;
  readonly load: number;
  readonly fastestMs: number;
  /** Every interval would have to be so many times as long; 1 when it fits. */
  readonly stretch: number;
  /** The cheapest ways to make it fit; empty when it does. */
  readonly fixes: readonly string[];
  readonly isAssumed: boolean;
  readonly hint: string | null;
  /** Where other masters connect, and what they may; null: nowhere. */
  readonly share: string | null;
  /** Tags that no request within the limits can read. */
  readonly unreadable: readonly string[];
}

export interface PlantPlan {
  readonly buses: readonly BusPlan[];
  readonly topics: {
    readonly count: number;
    readonly longest: number;
    readonly levels: number;
    readonly example: string;
  };
  readonly users: {
    readonly count: number | null;
    readonly anonymous: boolean;
    readonly rules: number | null;
    readonly writable: number;
  };
  readonly listeners: readonly string[];
  readonly store: string;
  readonly uplinks: readonly UplinkPlan[];
}

export interface UplinkPlan {
  readonly name: string;
  readonly nodes: readonly string[];
  readonly topics: number;
  readonly rules: number;
  readonly queueBytes: number;
  /** How long the queue lasts while the far side is away, when every poll is a change; Infinity: nothing is sent. */
  readonly queueMs: number;
}

export function planOf(plant: Plant): PlantPlan {
  const topics = [...plant.tags, ...plant.batches].map(({ topic }) => topic);
  return {
    buses: plant.buses.map((bus) => planBus(plant, bus)),
    topics: {
      count: topics.length,
      longest: topics.reduce((most, topic) => Math.max(most, Buffer.byteLength(topic)), 0),
      levels: topics.reduce((most, topic) => Math.max(most, topic.split('/').length), 0),
      example: topics[0] ?? '',
    },
    users: {
      count: countUsers(plant.broker.usersFile),
      anonymous: plant.broker.anonymous,
      rules: plant.broker.access?.length ?? null,
      writable: plant.tags.filter(({ write }) => write !== null).length,
    },
    listeners: plant.broker.listeners.map(({ protocol, host, port, path }) =>
      protocol === 'unix'
        ? `unix:${path}`
        : `${protocol}://${host}:${port}${protocol.startsWith('ws') ? path : ''}`,
    ),
    store:
      plant.broker.store.kind === 'memory'
        ? 'memory'
        : `${plant.broker.store.path} (${plant.broker.store.sync})`,
    uplinks: plant.uplinks.map((uplink) => planUplink(plant, uplink)),
  };
}

/** Around the payload {"v":21.4,"q":"good","t":1795376237895} and the topic: header of the packet, record of the queue. */
const MESSAGE_BYTES = 90;

function planUplink(plant: Plant, { name, nodes, out, queue }: UplinkSettings): UplinkPlan {
  const all = [
    ...plant.tags
      .filter(({ payload }) => payload !== 'batch')
      .map((tag) => ({ topic: tag.topic, tags: [tag] })),
    ...plant.batches,
  ];
  const sent = all.filter(({ topic }) => out.some(({ from }) => matches(from, topic)));
  const bytesPerMs = sent.reduce((sum, { topic, tags }) => {
    const everyMs = Math.min(
      ...tags.map(({ intervalMs, heartbeatMs }) => (intervalMs > 0 ? intervalMs : heartbeatMs || Infinity)),
    );
    return sum + (Buffer.byteLength(topic) + MESSAGE_BYTES * tags.length) / everyMs;
  }, 0);
  const queueMs = bytesPerMs === 0 ? Infinity : queue.maxBytes / bytesPerMs;
  return { name, nodes, topics: sent.length, rules: out.length, queueBytes: queue.maxBytes, queueMs };
}

/** The requests of one device on its bus, as they are planned before anything was measured. */
export function requestsOf(
  plant: Plant,
  device: Device,
  bus: Bus = device.bus,
): { requests: readonly ReadRequest[]; unreadable: readonly Tag[] } {
  const tags = tagsByDevice(plant).get(device) ?? [];
  return planReads(device, tags, readCost(bus, assumedMs(bus)));
}

const grouped = new WeakMap<Plant, Map<Device, Tag[]>>();

function tagsByDevice(plant: Plant): ReadonlyMap<Device, Tag[]> {
  let groups = grouped.get(plant);
  if (groups !== undefined) return groups;
  groups = new Map(plant.devices.map((device) => [device, []]));
  for (const tag of plant.tags) groups.get(tag.device)?.push(tag);
  grouped.set(plant, groups);
  return groups;
}

function assumedMs(bus: Bus): number {
  if ('baud' in bus.link) return bus.turnaroundMs;
  const isConverter = bus.link.kind === 'rtu-over-tcp' || bus.link.kind === 'ascii-over-tcp';
  return Math.max(bus.turnaroundMs, isConverter ? CONVERTER_MS : NETWORK_MS);
}

function planBus(plant: Plant, bus: Bus): BusPlan {
  const devices = plant.devices.filter((device) => device.bus === bus);
  const planned = devices.map((device) => requestsOf(plant, device));
  const requests = planned.flatMap((one) => one.requests);
  const load = loadOf(requests);
  return {
    name: bus.name,
    link: linkText(bus),
    devices: devices.length,
    tags: devices.reduce((sum, device) => sum + (tagsByDevice(plant).get(device)?.length ?? 0), 0),
    requests: load.requestCount,
    cycleMs: load.cycleMs,
    load: load.utilisation / bus.inFlight,
    fastestMs: fastestOf(requests.map(({ intervalMs }) => intervalMs)),
    stretch: Math.max(1, load.utilisation / bus.inFlight / COMFORTABLE),
    fixes: load.utilisation / bus.inFlight <= COMFORTABLE ? [] : fixesOf(plant, bus, devices, requests, load),
    isAssumed: !('baud' in bus.link),
    hint: 'baud' in bus.link ? directionHint(bus.link.path) : null,
    share: bus.share === null ? null : shareText(bus.share),
    unreadable: planned.flatMap((one) => one.unreadable.map((tag) => `${tag.device.name}/${tag.name}`)),
  };
}

/** The cheapest first: a faster line, the one rate that weighs most, all rates, two lines. */
function fixesOf(
  plant: Plant,
  bus: Bus,
  devices: readonly Device[],
  requests: readonly ReadRequest[],
  load: BusLoad,
): string[] {
  const fixes: string[] = [];
  const { link } = bus;
  if ('baud' in link) {
    const fit = BAUDS.filter((baud) => baud > link.baud).find(
      (baud) => loadAt(plant, bus, link, devices, baud) <= COMFORTABLE,
    );
    if (fit !== undefined) fixes.push(`${fit} baud (${percent(loadAt(plant, bus, link, devices, fit))})`);
  }
  const heaviest = heaviestRate(requests);
  if (heaviest !== null) {
    const rest = load.utilisation / bus.inFlight - heaviest.load / bus.inFlight;
    const longer = (heaviest.load / bus.inFlight / (COMFORTABLE - rest)) * heaviest.intervalMs;
    if (rest < COMFORTABLE)
      fixes.push(
        `what is read every ${durationText(heaviest.intervalMs)} every ${durationText(roundUp(longer))} instead`,
      );
  }
  fixes.push(`all rates ${(load.utilisation / bus.inFlight / COMFORTABLE).toFixed(1)} times as long`);
  if (devices.length > 1 && load.utilisation / bus.inFlight / 2 <= COMFORTABLE) fixes.push('two lines');
  return fixes;
}

function loadAt(plant: Plant, bus: Bus, link: SerialLink, devices: readonly Device[], baud: number): number {
  const faster: Bus = { ...bus, link: { ...link, baud } };
  return loadOf(devices.flatMap((device) => requestsOf(plant, device, faster).requests)).utilisation;
}

function heaviestRate(requests: readonly ReadRequest[]): { intervalMs: number; load: number } | null {
  const loads = new Map<number, number>();
  for (const { intervalMs, costMs } of requests) {
    if (intervalMs > 0) loads.set(intervalMs, (loads.get(intervalMs) ?? 0) + costMs / intervalMs);
  }
  const [first] = [...loads].sort((a, b) => b[1] - a[1]);
  return first === undefined ? null : { intervalMs: first[0], load: first[1] };
}

/** To two digits, up. */
function roundUp(ms: number): number {
  const step = 10 ** Math.max(0, Math.floor(Math.log10(ms)) - 1);
  return Math.ceil(ms / step) * step;
}

export function percent(share: number): string {
  return `${share < 0.1 ? (share * 100).toFixed(1) : Math.round(share * 100)} %`;
}

export function linkText({ link }: Bus): string {
  if (!('baud' in link)) return `${link.kind} ${link.host}:${link.port}`;
  const parity = link.parity === 'none' ? 'N' : link.parity === 'even' ? 'E' : 'O';
  return `${link.kind === 'ascii' ? 'ascii ' : ''}${link.path} ${link.baud} ${link.dataBits}${parity}${link.stopBits}`;
}

function shareText({ host, port, allow, isWritable, writers, freshMs }: ShareSettings): string {
  const writing = !isWritable ? 'nobody writes' : `${(writers ?? ['all of them']).join(' ')} may write`;
  const fresh = freshMs === 0 ? '' : `; values of the last ${durationText(freshMs)} at once`;
  return `modbus tcp ${host}:${port} for ${allow.join(' ')}; ${writing}${fresh}`;
}

/** Who switches an RS-485 driver between sending and receiving; it must be the adapter or the kernel. */
function directionHint(path: string): string | null {
  if (!path.startsWith('/dev/')) return null;
  const name = basename(path);
  if (/^tty(USB|ACM)|^pts|by-id|by-path/.test(path.replace('/dev/', '')))
    return 'RS-485 direction: the adapter switches it';
  const node = `/sys/class/tty/${name}/device/of_node`;
  if (existsSync(`${node}/linux,rs485-enabled-at-boot-time`))
    return 'RS-485 direction: the kernel switches it';
  return `RS-485 direction: not known; on RS-485 the kernel must switch it, look for rs485 in ${node} or in the board's manual`;
}

/** Lines that name a user; null when there is no file. */
function countUsers(file: string | null): number | null {
  if (file === null) return null;
  try {
    return readFileSync(file, 'utf8')
      .split('\n')
      .filter((line) => /^[^#\s][^:]*:/.test(line)).length;
  } catch {
    return null;
  }
}
