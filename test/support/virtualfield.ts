/**
 * The field in virtual time: the real poller, client and transports on simulated units, with a clock that jumps from
 * one event to the next. Hours of exchanges take seconds, and every value is checked against what its register says.
 */
import type { Cancel, Clock } from '../../src/clock.js';
import { loadHere } from '../../src/config/loadplant.js';
import type { Bus, Plant, Tag } from '../../src/config/plant.js';
import { createClientOn } from '../../src/modbus/client.js';
import { failure } from '../../src/modbus/exchange.js';
import { TcpRequestReader } from '../../src/modbus/serverframes.js';
import type { OpenWire, Wire, WireListener } from '../../src/modbus/wire.js';
import type { Sink } from '../../src/poller/outbox.js';
import { Poller, type PollerEvents } from '../../src/poller/poller.js';
import type { TagState } from '../../src/poller/report.js';
import { Line } from '../../src/simulator/line.js';
import { Outlet } from '../../src/simulator/outlet.js';
import { Random } from '../../src/simulator/random.js';
import type { BusSpec, LineSpec } from '../../src/simulator/spec.js';
import { stampAgeMs } from '../../src/simulator/stamp.js';
import { Station } from '../../src/simulator/station.js';
import { writeFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

interface Timer {
  readonly dueMs: number;
  readonly order: number;
  readonly callback: () => void;
  isCancelled: boolean;
}

/** Jumps to the next timer, and lets promises settle in between. */
export class VirtualClock implements Clock {
  readonly #startMs = Date.UTC(2026, 0, 1);
  readonly #heap: Timer[] = [];
  #elapsedMs = 0;
  #order = 0;

  nowMs(): number {
    return this.#startMs + this.#elapsedMs;
  }

  monotonicMs(): number {
    return this.#elapsedMs;
  }

  after(delayMs: number, callback: () => void): Cancel {
    const timer = {
      dueMs: this.#elapsedMs + Math.max(0, delayMs),
      order: this.#order++,
      callback,
      isCancelled: false,
    };
    this.#push(timer);
    return () => {
      timer.isCancelled = true;
    };
  }

  /** Runs until that monotonic time, or until there is enough. */
  run(untilMs: number, isEnough: () => boolean = () => false): Promise<void> {
    return new Promise((resolve, reject) => {
      const step = (): void => {
        try {
          // An immediate settles every chain of promises in the poller, and is no promise that the test runner follows.
          if (this.#next(untilMs, isEnough)) return void setImmediate(step);
        } catch (error) {
          return reject(error as Error);
        }
        if (!isEnough()) this.#elapsedMs = Math.max(this.#elapsedMs, untilMs);
        resolve();
      };
      step();
    });
  }

  /** Fires the next timer; false when none is due by then, or there is enough. */
  #next(untilMs: number, isEnough: () => boolean): boolean {
    for (;;) {
      const timer = this.#heap[0];
      if (timer === undefined || timer.dueMs > untilMs || isEnough()) return false;
      this.#pop();
      if (timer.isCancelled) continue;
      this.#elapsedMs = timer.dueMs;
      timer.callback();
      return true;
    }
  }

  #push(timer: Timer): void {
    const heap = this.#heap;
    let at = heap.push(timer) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isSooner(timer, heap[parent])) break;
      heap[at] = heap[parent] as Timer; // a parent exists below the length
      at = parent;
    }
    heap[at] = timer;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      const right = heap[child + 1];
      if (right !== undefined && isSooner(right, heap[child])) child++;
      if (!isSooner(heap[child] as Timer, last)) break; // within the length, as just asked
      heap[at] = heap[child] as Timer;
      at = child;
    }
    heap[at] = last;
  }
}

function isSooner(a: Timer, b: Timer | undefined): boolean {
  return b === undefined || a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.order < b.order);
}

export interface WrongValue {
  readonly tag: string;
  readonly value: unknown;
  readonly atMs: number;
  /** -1: another register's value, else how old. */
  readonly ageMs: number;
}

/** One bus of uint16 tags whose registers stamp their values, polled by a real poller in virtual time. */
export class VirtualField {
  readonly clock = new VirtualClock();
  readonly station: Station;
  readonly wrong: WrongValue[] = [];
  readonly bus: Bus;
  readonly tags: readonly Tag[];
  readonly poller: Poller;
  /** Good samples by tag index, and the monotonic time of each tag's newest. */
  readonly goodCounts: number[];
  readonly goodAtMs: number[];
  readonly results: { correlation: number; code: number; atMs: number }[] = [];
  readonly events: { kind: string; fields: Record<string, unknown> }[] = [];
  /** The oldest that a value may be when it is published. */
  readonly #ageMaxMs: number;

  constructor(plant: Plant, spec: BusSpec, seed: number) {
    const [bus] = plant.buses;
    if (bus === undefined) throw new Error('the plant has no bus');
    this.bus = bus;
    this.tags = plant.tags;
    this.goodCounts = plant.tags.map(() => 0);
    this.goodAtMs = plant.tags.map(() => -Infinity);
    this.#ageMaxMs = bus.timeoutMs + 700;
    this.station = new Station(spec, seed, this.clock, 2);
    const random = new Random(seed ^ 0x5eed);
    const openWire: OpenWire = (listener) => wireOf(spec.link, this.station, this.clock, listener);
    const sink: Sink = {
      sample: (state) => this.#sample(state),
      batch: () => {},
      answered: () => {},
      result: (_tagIndex, code, correlation) =>
        this.results.push({ correlation, code, atMs: this.clock.monotonicMs() }),
    };
    const events: PollerEvents = {
      deviceChanged: () => {},
      busChanged: () => {},
      event: (kind, fields) => {
        this.events.push({ kind, fields });
        if (this.events.length > 1000) this.events.shift();
      },
      learned: () => {},
    };
    this.poller = new Poller({
      bus,
      devices: plant.devices,
      tags: plant.tags,
      batches: plant.batches,
      clock: this.clock,
      random: () => random.next(),
      sink,
      events,
      connect: (listener) => createClientOn(openWire, bus, listener, this.clock, () => random.next()),
      knowledgeOf: () => undefined,
    });
    this.poller.start();
  }

  get transactions(): number {
    return this.station.transcript.counts.requests;
  }

  #sample(state: TagState): void {
    const nowMs = this.clock.monotonicMs();
    if (state.code !== 0) return;
    const { tag, value } = state;
    this.goodCounts[tag.index] = (this.goodCounts[tag.index] ?? 0) + 1;
    this.goodAtMs[tag.index] = nowMs;
    if (tag.write !== null) return;
    const ageMs =
      typeof value === 'number' ? stampAgeMs(value, tag.device.unitId, tag.address, this.clock.nowMs()) : -1;
    if (ageMs >= 0 && ageMs <= this.#ageMaxMs) return;
    this.wrong.push({ tag: `${tag.device.name}/${tag.name}`, value, atMs: nowMs, ageMs });
  }
}

function wireOf(link: BusSpec['link'], station: Station, clock: Clock, listener: WireListener): Wire {
  const line = link.line ?? null;
  switch (link.kind) {
    case 'rtu':
    case 'ascii':
      return new LineWire(station, clock, listener, link.kind, line ?? { baud: 9600 }, false);
    case 'rtu-over-tcp':
      return new LineWire(station, clock, listener, 'rtu', line, true);
    case 'ascii-over-tcp':
      return new LineWire(station, clock, listener, 'ascii', line, true);
    case 'udp':
      return new DatagramWire(station, clock, listener);
    case 'tcp':
    case 'tls':
      return new TcpWire(station, clock, listener);
  }
}

/** A serial line in virtual time, as the client's wire; behind a converter faults may end its connection. */
class LineWire implements Wire {
  readonly #line: Line;
  #isOpen = true;

  constructor(
    station: Station,
    clock: Clock,
    listener: WireListener,
    framing: 'rtu' | 'ascii',
    spec: LineSpec | null,
    isConverter: boolean,
  ) {
    this.#line = new Line(station, framing, spec, clock, {
      heard: (bytes) => {
        if (this.#isOpen) listener.received(bytes, clock.monotonicMs(), clock.monotonicMs());
      },
      ended: (how) => {
        if (!isConverter || !this.#isOpen) return;
        this.#isOpen = false;
        listener.closed(failure('closed', how === 'fin' ? 'the peer closed' : 'ECONNRESET'));
      },
    });
    clock.after(0, () => this.#isOpen && listener.opened());
  }

  write(bytes: Uint8Array): void {
    this.#line.receive(bytes);
  }

  destroy(): Promise<void> {
    this.#isOpen = false;
    this.#line.reset();
    return Promise.resolve();
  }
}

/** A TCP connection to the units in virtual time: ordered, without delay of its own. */
class TcpWire implements Wire {
  readonly #station: Station;
  readonly #listener: WireListener;
  readonly #outlet: Outlet;
  readonly #reader = new TcpRequestReader();
  #isOpen = true;

  constructor(station: Station, clock: Clock, listener: WireListener) {
    this.#station = station;
    this.#listener = listener;
    this.#outlet = new Outlet(station, clock, {
      write: (bytes) => {
        const nowMs = clock.monotonicMs();
        if (this.#isOpen) listener.received(Uint8Array.from(bytes), nowMs, nowMs);
      },
      end: (how) => this.#isOpen && this.#end(how),
      done: () => {},
    });
    clock.after(0.2, () => this.#isOpen && listener.opened());
  }

  write(bytes: Uint8Array): void {
    for (const frame of this.#reader.push(bytes)) {
      const answer = this.#station.take(frame, 'tcp', 1);
      if (answer !== null) this.#outlet.send(answer);
    }
  }

  destroy(): Promise<void> {
    this.#isOpen = false;
    return Promise.resolve();
  }

  #end(how: 'fin' | 'rst'): void {
    this.#isOpen = false;
    this.#listener.closed(failure('closed', how === 'fin' ? 'the peer closed' : 'ECONNRESET'));
  }
}

/** Datagrams to the units in virtual time. */
class DatagramWire implements Wire {
  readonly #station: Station;
  readonly #clock: Clock;
  readonly #listener: WireListener;
  #isOpen = true;

  constructor(station: Station, clock: Clock, listener: WireListener) {
    this.#station = station;
    this.#clock = clock;
    this.#listener = listener;
    clock.after(0, () => this.#isOpen && listener.opened());
  }

  write(bytes: Uint8Array): void {
    for (const frame of new TcpRequestReader().push(bytes)) {
      const answer = this.#station.take(frame, 'tcp', 1);
      if (answer === null) continue;
      let delayMs = answer.turnaroundMs + answer.delivery.delayMs;
      for (const piece of answer.delivery.pieces) {
        delayMs += piece.pauseMs;
        this.#clock.after(delayMs, () => {
          const nowMs = this.#clock.monotonicMs();
          if (this.#isOpen) this.#listener.received(Uint8Array.from(piece.bytes), nowMs, nowMs);
        });
      }
    }
  }

  destroy(): Promise<void> {
    this.#isOpen = false;
    return Promise.resolve();
  }
}

/** A gateway file as text, loaded: its problems are the test's mistake. */
export function plantOf(yaml: string): Plant {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-plant-'));
  try {
    const file = join(folder, 'gateway.yaml');
    writeFileSync(file, yaml);
    const { plant, problems } = loadHere(file, {});
    if (plant === null) throw new Error(problems.map(({ path, text }) => `${path}: ${text}`).join('\n'));
    return plant;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

export interface FieldShape {
  readonly kind: 'rtu' | 'ascii' | 'rtu-over-tcp' | 'ascii-over-tcp' | 'tcp' | 'udp';
  readonly units: readonly number[];
  /** Zero-based holding registers, on every unit. */
  readonly addresses: readonly number[];
  readonly rate: string;
  readonly timeout: string;
  /** Behind a converter: none unless given, bytes take no time. */
  readonly line?: LineSpec;
  readonly turnaroundMs: number;
  readonly inFlight?: number;
  /** One more register of each unit, for commands. */
  readonly writable?: number;
}

/** A plant and its simulation of one shape: every unit the same, every register stamped. */
export function fieldOf(shape: FieldShape, seed: number): VirtualField {
  const { kind } = shape;
  const isSerial = kind === 'rtu' || kind === 'ascii';
  const line = shape.line ?? (isSerial ? { baud: 9600 } : undefined);
  const place = isSerial
    ? `path: /dev/ttyS9, baud: ${line?.baud ?? 9600}, format: 8N1`
    : `host: 127.0.0.1, port: 502, in_flight: ${shape.inFlight ?? 1}`;
  const tags = shape.addresses.map((address) => `      r${address}: { holding: ${address} }`).join('\n');
  const w =
    shape.writable === undefined ? '' : `\n      w: { holding: ${shape.writable}, rate: once, write: true }`;
  const devices = shape.units.map(
    (unitId) => `  u${unitId}:\n    bus: bus\n    unit_id: ${unitId}\n    tags:\n${tags}${w}`,
  );
  const plant = plantOf(
    `version: 1\nbroker: { anonymous: true, store: memory }\n` +
      `defaults: { rate: ${shape.rate}, report: always }\n` +
      `buses:\n  bus: { protocol: ${kind}, ${place}, timeout: ${shape.timeout} }\n` +
      `devices:\n${devices.join('\n')}\n`,
  );
  const units = shape.units.map((unitId) => ({
    unitId,
    turnaroundMs: shape.turnaroundMs,
    values: [{ table: 'holding-register', address: 0, quantity: 1000, script: 'stamp' } as const],
  }));
  const link = { kind, ...(line === undefined ? {} : { line }) };
  return new VirtualField(plant, { name: 'bus', link, units }, seed);
}
