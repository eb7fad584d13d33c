/**
 * From a gateway's Plant to a simulated one: the same buses and units, and for every tag a value that moves as its
 * kind does, so that any map simulates without a word more. What a master writes stays as written.
 */
import { existsSync, lstatSync } from 'node:fs';
import { leanTags, tagWith } from '../config/leantag.js';
import type { Bus, Device, Plant, SerialLink, Tag } from '../config/plant.js';
import { isBitTable } from '../modbus/protocol.js';
import type { Address } from './endpoint.js';
import { hashOf } from './random.js';
import { encoded } from './scripts.js';
import type { BusSpec, LineSpec, PlantSpec, SerialSpec, SocketSpec, UnitSpec, ValueSpec } from './spec.js';

export interface SimulationOptions {
  readonly seed?: number;
  /** Where sockets listen whose configured host is elsewhere. */
  readonly host: string;
  readonly hasPty: boolean;
}

/** How long a simulated TCP device thinks. */
const SOCKET_TURNAROUND_MS = 2;

/** What values with such a unit usually are. */
const USUAL: Readonly<Record<string, readonly [number, number]>> = {
  V: [228, 232],
  kV: [19.8, 20.2],
  A: [2, 8],
  Hz: [49.95, 50.05],
  W: [400, 1800],
  kW: [4, 18],
  VA: [500, 1900],
  var: [50, 300],
  '°C': [18, 65],
  '%': [35, 65],
  bar: [4, 7],
  '°': [-30, 30],
  'l/min': [10, 30],
  rpm: [1440, 1460],
};
const COUNTERS = /^(k|M)?(Wh|varh|VAh)$|^m³$|^h$/;

export function simulationOf(plant: Plant, options: SimulationOptions): PlantSpec {
  return {
    seed: options.seed ?? hashOf(plant.gateway.id),
    buses: plant.buses.map((bus) => busOf(plant, bus, options)),
  };
}

/** The plant as a gateway finds it once the simulation runs: the same, with the simulation's addresses. */
export function relinked(plant: Plant, addresses: Readonly<Record<string, Address>>): Plant {
  const busOf = new Map(
    plant.buses.map((bus) => {
      const address = addresses[bus.name];
      return [bus, address === undefined ? bus : { ...bus, link: linkTo(bus, address) }];
    }),
  );
  const deviceOf = new Map(
    plant.devices.map((device) => [device, { ...device, bus: busOf.get(device.bus) ?? device.bus }]),
  );
  const tagOf = new Map(
    plant.tags.map((tag) => [tag, tagWith(tag, { device: deviceOf.get(tag.device) ?? tag.device })]),
  );
  const batches = plant.batches.map((batch) => ({
    ...batch,
    device: deviceOf.get(batch.device) ?? batch.device,
    tags: batch.tags.map((tag) => tagOf.get(tag) ?? tag),
  }));
  return {
    ...plant,
    buses: [...busOf.values()],
    devices: [...deviceOf.values()],
    ...leanTags({ tags: [...tagOf.values()], batches }, plant.gateway.topics.tags),
  };
}

function linkTo({ link }: Bus, address: Address): Bus['link'] {
  if (address.kind === 'serial') return isSerial(link) ? { ...link, path: address.path } : link;
  const { host, port } = address;
  if (!isSerial(link)) return { ...link, host, port };
  return { kind: link.kind === 'rtu' ? 'rtu-over-tcp' : 'ascii-over-tcp', host, port, tls: null };
}

function busOf(plant: Plant, bus: Bus, options: SimulationOptions): BusSpec {
  const units = plant.devices
    .filter((device) => device.bus.index === bus.index)
    .map((device) => unitOf(plant, device));
  return { name: bus.name, link: linkOf(bus, options), units };
}

function linkOf({ link }: Bus, { host, hasPty }: SimulationOptions): SocketSpec | SerialSpec {
  if (!isSerial(link)) {
    // Plain TCP stands in for TLS: a simulation has no certificates that a gateway would trust.
    const kind = link.kind === 'tls' ? 'tcp' : link.kind;
    const isHere = link.host === '127.0.0.1' || link.host === 'localhost' || link.host === '::1';
    return isHere ? { kind, host: link.host, port: link.port, mayMove: true } : { kind, host };
  }
  const line = lineOf(link);
  if (!hasPty) return { kind: link.kind === 'rtu' ? 'rtu-over-tcp' : 'ascii-over-tcp', host, line };
  return mayBeMade(link.path) ? { kind: link.kind, path: link.path, line } : { kind: link.kind, line };
}

function lineOf({ baud, dataBits, parity, stopBits, echo }: SerialLink): LineSpec {
  return { baud, dataBits, parity, stopBits, hasEcho: echo };
}

function isSerial(link: Bus['link']): link is SerialLink {
  return link.kind === 'rtu' || link.kind === 'ascii';
}

/** The configured path is used when it is nobody's device: a link of an earlier simulation, or nothing. */
function mayBeMade(path: string): boolean {
  if (path.startsWith('/dev/')) return false;
  return !existsSync(path) || lstatSync(path).isSymbolicLink();
}

function unitOf(plant: Plant, device: Device): UnitSpec {
  const tags = plant.tags.filter((tag) => tag.device.index === device.index && tag.formula === null);
  const scaleTags = new Map(
    tags.flatMap(({ scaleFrom }) => (scaleFrom === null ? [] : [[scaleFrom.tag, scaleFrom.kind] as const])),
  );
  const { limits, bus } = device;
  const isSocket = bus.link.kind === 'tcp' || bus.link.kind === 'tls' || bus.link.kind === 'udp';
  return {
    unitId: device.unitId,
    name: device.name,
    turnaroundMs: isSocket ? SOCKET_TURNAROUND_MS : bus.turnaroundMs,
    registersMax: limits.registers,
    registersMin: limits.registersMin,
    bitsMax: limits.bits,
    holes: device.forbidden,
    ...(device.readable.length === 0 ? {} : { only: device.readable }),
    values: tags.map((tag) => valueOf(tag, scaleTags.get(tag.index) ?? null)),
    identity: ['holdfast', device.name, '1.0'],
  };
}

function valueOf(tag: Tag, scales: 'pow10' | 'value' | null): ValueSpec {
  const { table, address, quantity, type, order } = tag;
  const place = { table, address, quantity };
  const phase = (hashOf(`${tag.device.name}/${tag.name}`) % 1000) / 1000;
  const fixed = (raw: number): ValueSpec => ({
    ...place,
    script: 'fixed',
    hex: Buffer.from(encoded({ type, order, quantity }, raw)).toString('hex'),
  });
  if (isBitTable(table)) {
    if (tag.write !== null) return { ...place, script: 'fixed', hex: '00'.repeat(Math.ceil(quantity / 8)) };
    return { ...place, script: 'ramp', type, order, min: 0, max: 1, periodMs: 7000 + phase * 20_000, phase };
  }
  if (scales !== null) return fixed(scales === 'pow10' ? 0 : 1);
  if (type === 'string') return fixed(hashOf(tag.name) % 10_000);
  // Several tags may share one register: what is not moved by a script they can share.
  if (tag.bits !== null || tag.enum !== null || tag.flags !== null) return fixed(0);
  const [min, max] = rawRange(tag);
  if (tag.write !== null) return fixed(Math.round((min + max) / 2));
  const isCounter = tag.counter !== null || COUNTERS.test(tag.unit ?? '');
  if (isCounter) {
    return { ...place, script: 'counter', type, order, min, max: min + 86_400, periodMs: 86_400_000, phase };
  }
  const script = hashOf(tag.name) % 3 === 0 ? 'walk' : 'sine';
  return { ...place, script, type, order, min, max, periodMs: 20_000 + phase * 100_000, phase };
}

/** Between which raw values it moves: what is usual for its unit, within what is allowed and what its type holds. */
function rawRange(tag: Tag): readonly [number, number] {
  const usual = USUAL[tag.unit ?? ''] ?? [0, 100];
  const limits = tag.write !== null ? tag.write : (tag.plausible ?? { min: -Infinity, max: Infinity });
  const isInside = usual[0] >= limits.min && usual[1] <= limits.max;
  const hasLimits = Number.isFinite(limits.min) && Number.isFinite(limits.max);
  const [low, high] = isInside || !hasLimits ? usual : [limits.min, limits.max];
  const raw = [low, high].map((value) => (value - tag.offset) / (tag.scale === 0 ? 1 : tag.scale));
  const [typeMin, typeMax] = typeRange(tag);
  const within = (value: number): number => Math.min(typeMax, Math.max(typeMin, value));
  return [within(Math.min(...raw)), within(Math.max(...raw))];
}

function typeRange({ type, quantity }: Tag): readonly [number, number] {
  if (type.startsWith('float')) return [-1e9, 1e9];
  const bits = Math.min(53, quantity * 16);
  return type.startsWith('int') ? [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] : [0, 2 ** bits - 1];
}
