/** A simulated plant in this process: its buses, each with its endpoint and station, and control over them. */
import { systemClock, type Clock } from '../clock.js';
import type { Table } from '../modbus/protocol.js';
import type { PlantControl } from './control.js';
import { DatagramEndpoint } from './datagram.js';
import type { Address, Endpoint } from './endpoint.js';
import { PreciseClock } from './preciseclock.js';
import { SerialEndpoint } from './serial.js';
import { SocketEndpoint } from './socket.js';
import type { BusSpec, FaultSpec, PlantSpec, SerialSpec, UnitSpec } from './spec.js';
import { Station } from './station.js';
import type { BusCounts, Exchange } from './transcript.js';
import type { Unit } from './unit.js';

/** How long a unit thinks unless it says otherwise: on a socket, on a line. */
const SOCKET_TURNAROUND_MS = 0;
const LINE_TURNAROUND_MS = 2;

export class SimulatedPlant implements PlantControl {
  readonly #endpoints = new Map<string, Endpoint>();

  private constructor(spec: PlantSpec) {
    let precise: Clock | null = null;
    for (const bus of spec.buses) {
      const { link } = bus;
      const isPrecise = isLine(link) || (!isSerial(link) && link.isPrecise === true);
      const clock: Clock = isPrecise ? (precise ??= new PreciseClock()) : systemClock;
      this.#endpoints.set(bus.name, endpointOf(bus, spec, clock));
    }
  }

  /** Listens on every bus, or throws and leaves nothing open. */
  static async start(spec: PlantSpec): Promise<SimulatedPlant> {
    const plant = new SimulatedPlant(spec);
    try {
      for (const endpoint of plant.#endpoints.values()) await endpoint.open();
    } catch (error) {
      await plant.stop();
      throw error;
    }
    return plant;
  }

  addresses(): Promise<Record<string, Address>> {
    return Promise.resolve(
      Object.fromEntries([...this.#endpoints].map(([name, { address }]) => [name, address])),
    );
  }

  async setFaults(bus: string, unitId: number | null, faults: readonly FaultSpec[]): Promise<void> {
    const endpoint = this.#endpoint(bus);
    if (unitId !== null) this.#unit(bus, unitId).faults = faults;
    else {
      endpoint.station.setFaults(faults);
      await endpoint.refresh();
    }
  }

  async clearFaults(): Promise<void> {
    for (const endpoint of this.#endpoints.values()) {
      endpoint.station.setFaults([]);
      for (const unit of endpoint.station.units.values()) unit.faults = [];
      await endpoint.refresh();
    }
  }

  setUnit(bus: string, unitId: number, change: Partial<Omit<UnitSpec, 'unitId' | 'values'>>): Promise<void> {
    const unit = this.#unit(bus, unitId);
    unit.spec = { ...unit.spec, ...change };
    return Promise.resolve();
  }

  async peek(bus: string, unitId: number, table: Table, address: number, quantity: number): Promise<string> {
    return Promise.resolve(
      Buffer.from(this.#unit(bus, unitId).peek(table, address, quantity)).toString('hex'),
    );
  }

  async poke(
    bus: string,
    unitId: number,
    table: Table,
    address: number,
    quantity: number,
    hex: string,
  ): Promise<void> {
    this.#unit(bus, unitId).poke(table, address, quantity, Buffer.from(hex, 'hex'));
    return Promise.resolve();
  }

  exchanges(bus: string, since = 0): Promise<Exchange[]> {
    return Promise.resolve(this.#endpoint(bus).station.transcript.since(since));
  }

  counts(bus: string): Promise<BusCounts> {
    return Promise.resolve({ ...this.#endpoint(bus).station.transcript.counts });
  }

  clear(): Promise<void> {
    for (const { station } of this.#endpoints.values()) station.transcript.clear();
    return Promise.resolve();
  }

  unplug(bus: string): Promise<void> {
    return this.#endpoint(bus).unplug();
  }

  plugIn(bus: string): Promise<void> {
    return this.#endpoint(bus).plugIn();
  }

  async stop(): Promise<void> {
    for (const endpoint of this.#endpoints.values()) await endpoint.close();
  }

  #endpoint(bus: string): Endpoint {
    const endpoint = this.#endpoints.get(bus);
    if (endpoint === undefined) {
      throw new Error(`no bus "${bus}" is simulated; there are ${[...this.#endpoints.keys()].join(', ')}`);
    }
    return endpoint;
  }

  #unit(bus: string, unitId: number): Unit {
    const unit = this.#endpoint(bus).station.units.get(unitId);
    if (unit === undefined) throw new Error(`bus ${bus} has no simulated unit ${unitId}`);
    return unit;
  }
}

function endpointOf(bus: BusSpec, { seed = 1, epochMs }: PlantSpec, clock: Clock): Endpoint {
  const { link } = bus;
  const turnaroundMs = isLine(link) ? LINE_TURNAROUND_MS : SOCKET_TURNAROUND_MS;
  const station = new Station(bus, seed, clock, turnaroundMs, epochMs);
  if (isSerial(link)) return new SerialEndpoint(link, station, clock);
  return link.kind === 'udp'
    ? new DatagramEndpoint(link, station, clock)
    : new SocketEndpoint(link, station, clock);
}

function isLine(link: BusSpec['link']): boolean {
  return isSerial(link) || link.line !== undefined;
}

function isSerial(link: BusSpec['link']): link is SerialSpec {
  return link.kind === 'rtu' || link.kind === 'ascii';
}
