/** Buses, devices and tags in the shortest form that a test can say, with every default filled in. */
import type { Batch, Bus, Device, Plant, Tag, WriteSettings } from '../../src/config/plant.js';

export function busOf(index: number, changes: Partial<Bus> = {}): Bus {
  return {
    index,
    name: `bus${index}`,
    link: { kind: 'tcp', host: '127.0.0.1', port: 502, tls: null },
    timeoutMs: 500,
    inFlight: 1,
    paceMs: 0,
    afterConnectMs: 0,
    closeIdleMs: 0,
    silenceMs: null,
    turnaroundMs: 3,
    afterSwitchMs: 0,
    share: null,
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
    limits: {
      registers: 125,
      bits: 2000,
      registersMin: 1,
      align: 1,
      bitsFromZero: false,
      writeFunctions: [],
    },
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
    index,
    name,
    device,
    table: 'holding-register',
    address,
    quantity: 1,
    type: 'uint16',
    order: 'ABCD',
    select: null,
    scale: 1,
    offset: 0,
    scaleFrom: null,
    formula: null,
    bits: null,
    enum: null,
    flags: null,
    text: null,
    invalid: [],
    plausible: null,
    counter: null,
    unit: null,
    description: null,
    intervalMs: 1000,
    report: 'change',
    deadband: { kind: 'absolute', value: 0 },
    heartbeatMs: 60_000,
    payload: 'vqt',
    qos: 0,
    retain: true,
    stored: false,
    write: null,
    group: null,
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
