/**
 * What the gateway says of itself: online or offline, the state of each device, statistics of each bus, and events.
 * All of it is refilled by the next start, so none of it is stored.
 */
import type { BrokerApi } from '../broker/broker.js';
import type { Clock } from '../clock.js';
import type { Bus, Device, Plant } from '../config/plant.js';
import { processMemory } from '../metrics.js';
import type { DeviceState } from '../poller/pool.js';
import type { BusStatistics, DeviceStatistics } from '../poller/statistics.js';

const STATISTICS_TOPIC = '$SYS/gateway';
const PROCESS_MS = 10_000;

export interface StatusOptions {
  readonly broker: BrokerApi;
  readonly clock: Clock;
}

/** What is known of a bus and its devices, by name. */
export interface BusReport {
  readonly name: string;
  readonly isUp: boolean;
  readonly figures: BusStatistics;
  readonly devices: readonly { readonly name: string; readonly figures: DeviceStatistics }[];
}

interface DeviceEntry {
  readonly state: DeviceState;
  readonly sinceMs: number;
  readonly error: string;
}

export class Status {
  readonly #broker: BrokerApi;
  readonly #clock: Clock;
  readonly #startedMs: number;
  readonly #devices = new Map<number, DeviceEntry>();
  readonly #busesDown = new Map<number, string>();
  readonly #statistics = new Map<number, BusStatistics>();
  #plant: Plant;
  #deviceOf = new Map<number, Device>();
  #busOf = new Map<number, Bus>();
  #cancel = (): void => {};

  constructor(plant: Plant, { broker, clock }: StatusOptions) {
    this.#plant = plant;
    this.#broker = broker;
    this.#clock = clock;
    this.#startedMs = clock.monotonicMs();
    this.#index(plant);
  }

  start(): void {
    this.#retain(this.#plant.gateway.topics.status, 'online');
    this.#publishProcess();
  }

  stop(): void {
    this.#cancel();
    this.#retain(this.#plant.gateway.topics.status, 'offline');
  }

  /** Topics of what is gone are cleared, so that nobody reads an old state as today's. */
  take(plant: Plant): void {
    const topics = new Set(plant.devices.map(({ topic }) => topic));
    const buses = new Set(plant.buses.map(({ name }) => name));
    const old = this.#plant;
    this.#plant = plant;
    this.#index(plant);
    for (const { topic, name } of old.devices) {
      if (topics.has(topic)) continue;
      this.#retain(topic, '');
      this.#retain(deviceTopic(name), '');
    }
    for (const { name } of old.buses) if (!buses.has(name)) this.#retain(busTopic(name), '');
    const { status } = plant.gateway.topics;
    if (old.gateway.topics.status !== status) this.#retain(old.gateway.topics.status, '');
    this.#retain(status, 'online');
  }

  deviceChanged(index: number, state: DeviceState, sinceMs: number, error: string): void {
    const device = this.#deviceOf.get(index);
    if (device === undefined) return;
    this.#devices.set(index, { state, sinceMs, error });
    const text = { state, since: sinceMs, ...(error === '' ? {} : { error }) };
    this.#retain(device.topic, JSON.stringify(text));
    this.event('device', { t: this.#clock.nowMs(), device: device.name, bus: device.bus.name, ...text });
  }

  busChanged(index: number, isUp: boolean, error: string): void {
    const bus = this.#busOf.get(index);
    if (bus === undefined) return;
    if (isUp) this.#busesDown.delete(index);
    else this.#busesDown.set(index, error);
    const state = isUp ? 'up' : 'down';
    this.event('bus', { t: this.#clock.nowMs(), bus: bus.name, state, ...(isUp ? {} : { error }) });
  }

  statistics(index: number, statistics: BusStatistics): void {
    const bus = this.#busOf.get(index);
    if (bus === undefined) return;
    this.#statistics.set(index, statistics);
    const { busIndex: _index, devices, ...figures } = statistics;
    this.#retain(busTopic(bus.name), JSON.stringify(figures));
    for (const { deviceIndex, ...own } of devices) {
      const device = this.#deviceOf.get(deviceIndex);
      if (device !== undefined) this.#retain(deviceTopic(device.name), JSON.stringify(own));
    }
  }

  /** What is known of a bus: why it is down (null: it is up), and its latest statistics. */
  busFigures({ index }: Bus): {
    readonly error: string | null;
    readonly statistics: BusStatistics | undefined;
  } {
    return { error: this.#busesDown.get(index) ?? null, statistics: this.#statistics.get(index) };
  }

  /** Latest statistics by name; what has none yet is left out. */
  *figures(): Generator<BusReport> {
    for (const { name, index } of this.#plant.buses) {
      const statistics = this.#statistics.get(index);
      if (statistics === undefined) continue;
      const devices = statistics.devices.flatMap((figures) => {
        const device = this.#deviceOf.get(figures.deviceIndex);
        return device === undefined ? [] : [{ name: device.name, figures }];
      });
      yield { name, isUp: !this.#busesDown.has(index), figures: statistics, devices };
    }
  }

  /** One line of news on event/<kind>; not retained. */
  event(kind: string, fields: Readonly<Record<string, unknown>>): void {
    this.eventText(kind, JSON.stringify(fields));
  }

  /** The same for who has JSON text already, so that a number keeps every digit. */
  eventText(kind: string, json: string): void {
    this.#broker.publish({
      topic: this.#plant.gateway.topics.eventPrefix + kind,
      payload: Buffer.from(json),
      qos: 0,
      retain: false,
      sender: null,
    });
  }

  /** The gateway in one object, for req/status and health checks. */
  summary(): Record<string, unknown> {
    const plant = this.#plant;
    const { residentBytes: rss, heapBytes: heap, externalBytes: external } = processMemory();
    return {
      gateway: plant.gateway.id,
      uptime: Math.round((this.#clock.monotonicMs() - this.#startedMs) / 1000),
      memory: { rss, heap, external },
      buses: plant.buses.map(({ name, index }) => {
        const error = this.#busesDown.get(index);
        return {
          name,
          state: error === undefined ? 'up' : 'down',
          ...(error === undefined ? {} : { error }),
        };
      }),
      devices: plant.devices.map(({ name, index }) => {
        const { state, sinceMs, error } = this.#devices.get(index) ?? {
          state: 'unknown',
          sinceMs: 0,
          error: '',
        };
        return { name, state, since: sinceMs, ...(error === '' ? {} : { error }) };
      }),
      tags: plant.tags.length,
    };
  }

  /** A reload gives what it changed new indexes; what is known of old ones is of no more use. */
  #index({ devices, buses }: Plant): void {
    this.#deviceOf = new Map(devices.map((device) => [device.index, device]));
    this.#busOf = new Map(buses.map((bus) => [bus.index, bus]));
    for (const index of this.#devices.keys()) if (!this.#deviceOf.has(index)) this.#devices.delete(index);
    for (const index of this.#busesDown.keys()) if (!this.#busOf.has(index)) this.#busesDown.delete(index);
    for (const index of this.#statistics.keys()) if (!this.#busOf.has(index)) this.#statistics.delete(index);
  }

  #publishProcess(): void {
    const { uptime, memory } = this.summary();
    this.#retain(`${STATISTICS_TOPIC}/process`, JSON.stringify({ uptime, memory }));
    this.#cancel = this.#clock.after(PROCESS_MS, () => this.#publishProcess());
  }

  #retain(topic: string, text: string): void {
    this.#broker.publish({
      topic,
      payload: Buffer.from(text),
      qos: 1,
      retain: true,
      sender: null,
      stored: false,
    });
  }
}

function busTopic(name: string): string {
  return `${STATISTICS_TOPIC}/bus/${name}`;
}

function deviceTopic(name: string): string {
  return `${STATISTICS_TOPIC}/device/${name}`;
}
