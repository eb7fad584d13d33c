/** The smallest plants that gateway tests need, and a field that does what the test says. */
import type { Bus, Device, Plant, Tag } from '../../src/config/plant.js';
import { ParcelReader, ParcelWriter, RESULT_CODES, type ResultCode } from '../../src/poller/parcel.js';

const BUS: Bus = {
  index: 0,
  name: 'plc',
  link: { kind: 'tcp', host: '127.0.0.1', port: 502, tls: null },
  timeoutMs: 1000,
  inFlight: 1,
  paceMs: 0,
  afterConnectMs: 0,
  closeIdleMs: 0,
  silenceMs: null,
  turnaroundMs: 10,
  afterSwitchMs: 0,
  share: null,
};

const DEVICE: Device = {
  index: 0,
  name: 'press1',
  bus: BUS,
  unitId: 1,
  map: null,
  limits: { registers: 125, bits: 2000, registersMin: 1, align: 1, bitsFromZero: false, writeFunctions: [] },
  forbidden: [],
  readable: [],
  offline: { afterFailures: 3, retryMinMs: 1000, retryMaxMs: 60_000 },
  topic: 'holdfast/gw/device/press1',
};

/** A tag of press1; writable unless said otherwise. */
export function tagOf(index: number, name: string, changes: Partial<Tag> = {}): Tag {
  return {
    index,
    name,
    device: DEVICE,
    table: 'holding-register',
    address: index,
    quantity: 1,
    type: 'uint16',
    order: 'ABCD',
    select: null,
    scale: 1,
    scaleFrom: null,
    formula: null,
    offset: 0,
    bits: null,
    enum: null,
    flags: null,
    text: null,
    invalid: [],
    plausible: null,
    counter: null,
    description: null,
    unit: null,
    intervalMs: 1000,
    report: 'change',
    deadband: { kind: 'absolute', value: 0 },
    heartbeatMs: 60_000,
    payload: 'vqt',
    qos: 1,
    retain: true,
    stored: false,
    write: {
      table: 'holding-register',
      address: index,
      min: -Infinity,
      max: Infinity,
      step: 0,
      verify: true,
      with: 'auto',
      functions: [],
      newestOnly: false,
      before: [],
      after: [],
      pulse: null,
      refresh: null,
      broadcast: false,
      perHourMax: Infinity,
    },
    group: null,
    topic: `holdfast/gw/data/press1/${name}`,
    setTopic: `holdfast/gw/set/press1/${name}`,
    getTopic: `holdfast/gw/get/press1/${name}`,
    ackTopic: `holdfast/gw/ack/press1/${name}`,
    ...changes,
  };
}

/** A plant with these tags, which has no broker or web settings: for tests of what reads tags and topics only. */
export function plantOf(tags: readonly Tag[]): Plant {
  const plant: Pick<Plant, 'file' | 'gateway' | 'buses' | 'devices' | 'tags' | 'batches'> = {
    file: 'test.yaml',
    gateway: {
      id: 'gw',
      baseTopic: 'holdfast',
      topics: {
        status: 'holdfast/gw/status',
        eventPrefix: 'holdfast/gw/event/',
        requestPrefix: 'holdfast/gw/req/',
        responsePrefix: 'holdfast/gw/res/',
        tracePrefix: 'holdfast/gw/trace/',
        commandFilters: ['holdfast/gw/set/+/+', 'holdfast/gw/get/+/+'],
        dataFilter: 'holdfast/gw/data/#',
        valueFilters: ['holdfast/gw/data/+/+', 'holdfast/gw/device/+'],
        tags: {
          set: 'holdfast/gw/set/{device}/{tag}',
          get: 'holdfast/gw/get/{device}/{tag}',
          ack: 'holdfast/gw/ack/{device}/{tag}',
        },
      },
    },
    buses: [BUS],
    devices: [DEVICE],
    tags,
    batches: [],
  };
  // What is left out is not read by what is tested with it.
  return plant as Plant;
}

export interface Order {
  readonly kind: 'read' | 'write';
  readonly tag: number;
  readonly correlation: number;
  readonly ttlMs: number;
  readonly value: string;
}

/** Keeps what it is asked, until the test says how it went. */
export class ScriptedPool {
  readonly orders: Order[] = [];

  write(tag: number, correlation: number, ttlMs: number, payload: Uint8Array): void {
    this.orders.push({
      kind: 'write',
      tag,
      correlation,
      ttlMs,
      value: Buffer.from(payload).toString(),
    });
  }

  read(tag: number, correlation: number, ttlMs: number): void {
    this.orders.push({ kind: 'read', tag, correlation, ttlMs, value: '' });
  }
}

/** One result as the pool hands it over; a number is a Modbus exception. */
export function resultOf(correlation: number, code: ResultCode | number, text: string): ParcelReader {
  const writer = new ParcelWriter('results', new ArrayBuffer(4096), 0);
  const byte = typeof code === 'number' ? 128 + code : RESULT_CODES.indexOf(code);
  writer.append(0, byte, 0, correlation, Buffer.from(text));
  return new ParcelReader(writer.finish());
}
