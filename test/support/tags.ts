/** Buses, devices and tags in the shortest form that a test can say, with every default filled in. */
import { NO_BUS, limitsOf } from '../../src/config/device.js';
import type { Batch, Bus, Device, Plant, Tag, WriteSettings } from '../../src/config/plant.js';
import { PLAIN_TAG } from '../../src/config/tag.js';

export function busOf(index: number, changes: Partial<Bus> = {}): Bus {
  return {
    ...NO_BUS,
    index,
    name: `bus${index}`,
    link: { kind: 'tcp', host: '127.0.0.1', port: 502, tls: null },
    timeoutMs: 500,
    turnaroundMs: 3,
    ...changes,
  };
}

export function rtuBusOf(index: number, baud: number, changes: Partial<Bus> = {}): Bus {
  const link = {
    kind: 'rtu',
    path: `/dev/line${index}`,
    baud,
    dataBits: 8,
    parity: 'none',
    stopBits: 1,
    echo: false,
  } as const;
  return busOf(index, { link, ...changes });
}

export function deviceOf(index: number, bus: Bus, changes: Partial<Device> = {}): Device {
  return {
    index,
    name: `device${index}`,
    bus,
    unitId: index + 1,
    limits: limitsOf(undefined, undefined),
    forbidden: [],
    readable: [],
    offline: { afterFailures: 3, retryMinMs: 1000, retryMaxMs: 60_000 },
    map: null,
    topic: `t/device/device${index}`,
    ...changes,
  };
}

/** A holding register of type uint16 read every second, unless said otherwise. */
export function tagOf(index: number, device: Device, address: number, changes: Partial<Tag> = {}): Tag {
  const name = changes.name ?? `tag${index}`;
  return {
    ...PLAIN_TAG,
    index,
    name,
    device,
    address,
    intervalMs: 1000,
    qos: 0,
    topic: `t/data/${device.name}/${name}`,
    setTopic: `t/set/${device.name}/${name}`,
    getTopic: `t/get/${device.name}/${name}`,
    ackTopic: `t/ack/${device.name}/${name}`,
    ...changes,
  };
}

export function writeOf(
  tag: Pick<Tag, 'table' | 'address'>,
  changes: Partial<WriteSettings> = {},
): WriteSettings {
  return {
    table: tag.table,
    address: tag.address,
    functions: [],
    min: -Infinity,
    max: Infinity,
    step: 0,
    verify: false,
    with: 'auto',
    newestOnly: false,
    before: [],
    after: [],
    pulse: null,
    refresh: null,
    broadcast: false,
    perHourMax: Infinity,
    ...changes,
  };
}

/** A plant with what pollers need; the rest is never looked at by them. */
export function plantOf(
  buses: readonly Bus[],
  devices: readonly Device[],
  tags: readonly Tag[],
  batches: readonly Batch[] = [],
  workers = 1,
): Plant {
  const part: Pick<Plant, 'buses' | 'devices' | 'tags' | 'batches' | 'workers'> = {
    buses,
    devices,
    tags,
    batches,
    workers,
  };
  // The pool reads these fields and no others.
  return part as Plant;
}
