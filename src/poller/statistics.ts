/**
 * What happens on a bus, counted: per bus, device and request. A snapshot is plain data that crosses threads; rates
 * are the reader's to compute from the totals.
 */
import type { ModbusError } from '../modbus/client.js';
import { Histogram } from './latency.js';
import type { ErrorKind } from './tally.js';
import type { Block, Unit } from './unit.js';

export interface Times {
  readonly count: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly p99Ms: number;
}

export interface RequestStatistics {
  readonly table: string;
  readonly address: number;
  readonly quantity: number;
  readonly intervalMs: number;
  readonly tagCount: number;
  /** Registers or bits of each read that no tag asked for. */
  readonly wasted: number;
  readonly reads: number;
  readonly errors: Readonly<Partial<Record<ErrorKind, number>>>;
  readonly response: Times;
  readonly lateness: Times;
}

export interface DeviceStatistics {
  readonly deviceIndex: number;
  readonly state: string;
  /** Share of the last period in which a request to it was under way. */
  readonly utilisation: number;
  readonly reads: number;
  readonly errors: Readonly<Partial<Record<ErrorKind, number>>>;
  readonly exceptions: Readonly<Record<number, number>>;
  readonly response: Times;
  readonly lateness: Times;
  readonly refusedTags: number;
  readonly waitingCommands: number;
  readonly requests: readonly RequestStatistics[];
}

/** Totals since the start, times of the last period. */
export interface BusStatistics {
  readonly busIndex: number;
  readonly isUp: boolean;
  /** Share of the last period in which a request was under way. */
  readonly utilisation: number;
  /** Share of time that the plan asks for; above 1 the line cannot keep up. */
  readonly demand: number;
  readonly transactions: number;
  readonly reads: number;
  readonly writes: number;
  /** Requests of other masters that went on the line. */
  readonly visits: number;
  readonly samples: number;
  readonly errors: Readonly<Partial<Record<ErrorKind, number>>>;
  readonly discarded: Readonly<Record<string, number>>;
  /** Due times passed over because the line was busy. */
  readonly missed: number;
  readonly lateness: Times;
  readonly response: Times;
  readonly resets: number;
  readonly waitingCommands: number;
  readonly devices: readonly DeviceStatistics[];
}

export class Statistics {
  transactions = 0;
  reads = 0;
  writes = 0;
  visits = 0;
  samples = 0;
  missed = 0;
  resets = 0;
  readonly errors: Partial<Record<ErrorKind, number>> = {};
  readonly discarded: Record<string, number> = {};
  readonly lateness = new Histogram();
  readonly response = new Histogram();
  #busyMs = 0;
  #sinceMs: number;

  constructor(nowMs: number) {
    this.#sinceMs = nowMs;
  }

  /** One request was under way for so long. */
  took(ms: number): void {
    this.transactions += 1;
    this.#busyMs += ms;
  }

  /** A read went on the line so long after it fell due. */
  late({ unit, tally }: Block, ms: number): void {
    this.lateness.add(ms);
    unit.statistics.lateness.add(ms);
    tally.lateness.add(ms);
  }

  failed(error: ModbusError): void {
    this.errors[error.kind] = (this.errors[error.kind] ?? 0) + 1;
  }

  discard(reason: string): void {
    this.discarded[reason] = (this.discarded[reason] ?? 0) + 1;
  }

  /** The figures as plain data; the times of the period start anew. */
  snapshot(busIndex: number, isUp: boolean, units: Iterable<Unit>, nowMs: number): BusStatistics {
    const periodMs = Math.max(1, nowMs - this.#sinceMs);
    const list = [...units];
    const snapshot: BusStatistics = {
      busIndex,
      isUp,
      utilisation: Math.min(1, this.#busyMs / periodMs),
      demand: demandOf(list),
      transactions: this.transactions,
      reads: this.reads,
      writes: this.writes,
      visits: this.visits,
      samples: this.samples,
      errors: { ...this.errors },
      discarded: { ...this.discarded },
      missed: this.missed,
      lateness: timesOf(this.lateness),
      response: timesOf(this.response),
      resets: this.resets,
      waitingCommands: list.reduce((sum, unit) => sum + unit.commands.length, 0),
      devices: list.map((unit) => deviceSnapshot(unit, periodMs)),
    };
    this.#busyMs = 0;
    this.#sinceMs = nowMs;
    this.lateness.clear();
    this.response.clear();
    return snapshot;
  }
}

function deviceSnapshot(unit: Unit, periodMs: number): DeviceStatistics {
  const { statistics } = unit;
  const snapshot: DeviceStatistics = {
    deviceIndex: unit.device.index,
    state: unit.state,
    utilisation: Math.min(1, statistics.busyMs / periodMs),
    reads: statistics.reads,
    errors: { ...statistics.errors },
    exceptions: { ...statistics.exceptions },
    response: timesOf(statistics.response),
    lateness: timesOf(statistics.lateness),
    refusedTags: unit.knowledge.refusals.size,
    waitingCommands: unit.commands.length,
    requests: unit.blocks.map(requestSnapshot),
  };
  statistics.clear();
  return snapshot;
}

function requestSnapshot(block: Block): RequestStatistics {
  const { table, address, quantity, intervalMs, states, wasted, tally } = block;
  const snapshot: RequestStatistics = {
    table,
    address,
    quantity,
    intervalMs,
    tagCount: states.length,
    wasted,
    reads: tally.reads,
    errors: { ...tally.errors },
    response: timesOf(tally.response),
    lateness: timesOf(tally.lateness),
  };
  tally.clear();
  return snapshot;
}

function demandOf(units: readonly Unit[]): number {
  let demand = 0;
  for (const unit of units)
    for (const block of unit.blocks) if (block.intervalMs > 0) demand += block.costMs / block.intervalMs;
  return demand;
}

function timesOf(histogram: Histogram): Times {
  return {
    count: histogram.count,
    p50Ms: histogram.quantileMs(0.5),
    p95Ms: histogram.quantileMs(0.95),
    p99Ms: histogram.quantileMs(0.99),
  };
}
