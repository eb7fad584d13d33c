/**
 * One worker thread's place in the pool: starts it, notices when it dies or stops turning, and starts its successor
 * with growing delay. Owns the worker's serial ports and the list of commands it has not answered yet.
 */
import { MessageChannel, type MessagePort, type Worker } from 'node:worker_threads';
import type { Cancel, Clock } from '../clock.js';
import { packTags } from '../config/leantag.js';
import type { Bus } from '../config/plant.js';
import { entryUrl, startThread } from '../entry.js';
import { messageOf } from '../errors.js';
import type { Log } from '../log.js';
import { serveSerial } from '../modbus/serial.js';
import type { KnowledgeFolder } from './knowledgefolder.js';
import type { Fence } from './fence.js';
import type { Owed } from '../modbus/client.js';
import type { FromWorker, PoolListener, Shard, ToWorker, Work, WorkerData } from './messages.js';
import { ParcelReader } from './parcel.js';
import { Ring, ringMemory } from './ring.js';
import type { ScanNews, ScanOptions } from './scan.js';

export interface SeatOptions {
  readonly shard: Shard;
  readonly log: Log;
  readonly clock: Clock;
  readonly knowledge: KnowledgeFolder;
  readonly listener: PoolListener;
  /** What may still be answered of what was asked on links that were let go of, by their places. */
  readonly owed: Map<string, readonly Owed[]>;
  readonly fence?: Fence | null;
  /** The worker's entry file. */
  readonly entry?: URL;
  /** The worker is gone; the commands that it never answered, correlation to tag index. */
  died(unanswered: ReadonlyMap<number, number>): void;
}

export interface RunningScan {
  /** What went wrong, or an empty text. */
  readonly ended: Promise<string>;
  /** What was found until then was told. */
  stop(): void;
}

const RESTART_MIN_MS = 100;
const RESTART_MAX_MS = 10_000;
/** A worker that ran for so long did not die of its start. */
const HEALTHY_MS = 60_000;
/** No answer to a ping for so long: the worker's loop does not turn. */
const HUNG_MS = 3500;
const STOP_MS = 1500;
const BUFFER_BYTES = 65_536;

export class Seat {
  readonly #options: SeatOptions;
  #worker: Worker | null = null;
  #ring: Ring | null = null;
  /** By index of a buffer of the ring. */
  #readers: (ParcelReader | undefined)[] = [];
  #shard: Shard;
  /** What ends a serial line in this thread, by bus index. */
  readonly #endSerial = new Map<number, () => void>();
  #unanswered = new Map<number, number>();
  /** Scans that go on, by number. */
  readonly #scans = new Map<number, { tell: (news: ScanNews) => void; resolve: (error: string) => void }>();
  #scanCount = 0;
  #isStopping = false;
  #restartMs = RESTART_MIN_MS;
  #startedAtMs = 0;
  #cancelRestart: Cancel | null = null;
  #heardAtMs = 0;
  #checkedAtMs = 0;
  #ready: () => void = () => {};
  #gone: () => void = () => {};
  #removed: () => void = () => {};
  #leaving: readonly Bus[] = [];

  constructor(options: SeatOptions) {
    this.#options = options;
    this.#shard = options.shard;
  }

  get isAlive(): boolean {
    return this.#worker !== null;
  }

  /** Resolves when the first worker has its pollers. */
  start(): Promise<void> {
    return new Promise((resolve) => {
      this.#ready = resolve;
      this.#launch();
    });
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#cancelRestart?.();
    const worker = this.#worker;
    if (worker === null) return;
    const gone = new Promise<void>((resolve) => {
      this.#gone = resolve;
    });
    this.#tell({ kind: 'stop' });
    const timer = setTimeout(() => void worker.terminate(), STOP_MS);
    await gone;
    clearTimeout(timer);
  }

  polls(busIndex: number): boolean {
    return this.#shard.buses.some(({ index }) => index === busIndex);
  }

  get shard(): Shard {
    return this.#shard;
  }

  /** Gives the worker more buses; one that is not there now gets them when it starts. */
  add(shard: Shard): void {
    this.#shard = joined(this.#shard, shard);
    if (this.#worker === null) return;
    const work = this.#workOf(shard);
    this.#tell({ kind: 'add', work }, [...work.serialPorts.values()]);
  }

  /** Takes buses away; resolves when their pollers have ended and answered what waited. */
  async remove(buses: readonly Bus[]): Promise<void> {
    const busIndexes = buses.map(({ index }) => index);
    this.#shard = without(this.#shard, new Set(busIndexes));
    if (this.#worker === null) return;
    const removed = new Promise<void>((resolve) => {
      this.#removed = resolve;
    });
    this.#leaving = buses;
    this.#tell({ kind: 'remove', busIndexes });
    const timer = setTimeout(this.#removed, STOP_MS);
    await removed;
    clearTimeout(timer);
    for (const index of busIndexes) {
      this.#endSerial.get(index)?.();
      this.#endSerial.delete(index);
    }
  }

  /** Ends the worker; its successor starts at once. */
  restart(): void {
    void this.#worker?.terminate();
  }

  expect(correlation: number, tagIndex: number): void {
    this.#unanswered.set(correlation, tagIndex);
  }

  /** Posts a parcel of commands. */
  send(buffer: ArrayBuffer): void {
    this.#tell({ kind: 'commands', buffer }, [buffer]);
  }

  /** Resolves when the scan has ended, with what went wrong or an empty text. */
  scan(busIndex: number, options: ScanOptions, tell: (news: ScanNews) => void): RunningScan {
    this.#scanCount += 1;
    const number = this.#scanCount;
    if (this.#worker === null)
      return { ended: Promise.resolve('the poller of this bus is not running'), stop: () => {} };
    const ended = new Promise<string>((resolve) => this.#scans.set(number, { tell, resolve }));
    this.#tell({ kind: 'scan', number, busIndex, options });
    return { ended, stop: () => this.#tell({ kind: 'scan-stop', number }) };
  }

  trace(busIndex: number, isOn: boolean): void {
    this.#tell({ kind: 'trace', busIndex, isOn });
  }

  /** Called every second. */
  check(): void {
    const nowMs = this.#options.clock.monotonicMs();
    // If this thread was the one that stood still, the worker's answers are still waiting to be heard.
    const wasLate = nowMs - this.#checkedAtMs > 2000;
    this.#checkedAtMs = nowMs;
    const worker = this.#worker;
    if (worker === null) return;
    if (!wasLate && nowMs - this.#heardAtMs > HUNG_MS) {
      this.#options.log.error('poller thread does not answer and is replaced', { error: 'hung' });
      void worker.terminate();
      return;
    }
    this.#tell({ kind: 'ping' });
  }

  #launch(): void {
    const { clock, fence } = this.#options;
    const shard = this.#shard;
    const work = this.#workOf(shard);
    const workerData: WorkerData = {
      ...work,
      fence: fence?.buffer ?? null,
      ring: ringMemory(Math.min(32, 4 + Math.ceil(shard.tags.length / 2000)), BUFFER_BYTES),
    };
    const ring = new Ring(workerData.ring);
    this.#ring = ring;
    this.#readers = [];
    ring.onPosted(() => this.#receiveSamples());
    const worker = startThread(this.#options.entry ?? entryUrl('poller/worker.js'), {
      workerData,
      transferList: [...work.serialPorts.values()],
      resourceLimits: {
        maxOldGenerationSizeMb: 96 + Math.ceil(shard.tags.length / 500),
        maxYoungGenerationSizeMb: 3,
      },
    });
    this.#worker = worker;
    this.#startedAtMs = clock.monotonicMs();
    this.#heardAtMs = this.#startedAtMs;
    this.#checkedAtMs = this.#startedAtMs;
    let error = '';
    worker.on('message', (message: FromWorker) => {
      if (this.#worker === worker) this.#receive(message);
    });
    worker.on('error', (thrown) => {
      error = messageOf(thrown);
    });
    worker.once('exit', (exitCode) => this.#exited(worker, error || `exit code ${exitCode}`));
  }

  #workOf(shard: Shard): Work {
    const knowledge = this.#options.knowledge.of(shard.devices);
    const { buses, devices } = shard;
    const owed = new Map(buses.map((bus) => [bus.index, this.#options.owed.get(placeOf(bus)) ?? []]));
    return {
      owed,
      buses,
      devices,
      tags: packTags(shard, null),
      knowledge,
      serialPorts: this.#openSerial(buses),
    };
  }

  /** serial.ts reads the ports in this thread; their bytes go straight to the worker. */
  #openSerial(buses: readonly Bus[]): Map<number, MessagePort> {
    const { fence } = this.#options;
    const ports = new Map<number, MessagePort>();
    for (const bus of buses) {
      if (bus.link.kind !== 'rtu' && bus.link.kind !== 'ascii') continue;
      const { port1, port2 } = new MessageChannel();
      this.#endSerial.set(
        bus.index,
        serveSerial(port1, () => fence?.isOpen ?? true),
      );
      ports.set(bus.index, port2);
    }
    return ports;
  }

  #receive(message: FromWorker): void {
    const { listener, knowledge, owed } = this.#options;
    this.#heardAtMs = this.#options.clock.monotonicMs();
    // What was posted before this message was said is heard before it, too.
    this.#receiveSamples();
    switch (message.kind) {
      case 'parcel':
        return this.#receiveParcel(message.buffer);
      case 'ready':
        return this.#ready();
      case 'device':
        return listener.deviceChanged(message.deviceIndex, message.state, message.sinceMs, message.error);
      case 'bus':
        return listener.busChanged(message.busIndex, message.isUp, message.error);
      case 'statistics':
        return listener.statistics(message.statistics.busIndex, message.statistics);
      case 'event':
        return listener.event(message.event, message.fields);
      case 'learned':
        return knowledge.keep(message.deviceIndex, message.record);
      case 'removed':
        for (const bus of this.#leaving) owed.set(placeOf(bus), message.owed.get(bus.index) ?? []);
        return this.#removed();
      case 'serial':
        serveSerial(message.port, () => this.#options.fence?.isOpen ?? true);
        return;
      case 'scan-news':
        return this.#scans.get(message.number)?.tell(message.news);
      case 'scanned':
        return this.#scanned(message.number, message.error);
      case 'frame':
        return listener.frame?.(message.busIndex, message.frame);
      case 'pong':
      case 'stopped':
        return;
    }
  }

  #scanned(number: number, error: string): void {
    this.#scans.get(number)?.resolve(error);
    this.#scans.delete(number);
  }

  #receiveSamples(): void {
    const ring = this.#ring;
    if (ring === null) return;
    for (let index = ring.read(); index >= 0; index = ring.read()) {
      this.#options.listener.samples(this.#readerOf(ring, index));
      // The worker may fill it again.
      if (ring.give(index)) this.#tell({ kind: 'released' });
    }
  }

  /** The readers of a ring's buffers are made once, as views of shared memory cost more than what is read. */
  #readerOf(ring: Ring, index: number): ParcelReader {
    const known = this.#readers[index];
    known?.restart();
    return known ?? (this.#readers[index] = new ParcelReader(ring.bufferAt(index)));
  }

  #receiveParcel(buffer: ArrayBuffer): void {
    const { listener } = this.#options;
    const parcel = new ParcelReader(buffer);
    if (parcel.kind === 'samples') return listener.samples(parcel);
    const reader = new ParcelReader(buffer);
    while (reader.next()) this.#unanswered.delete(reader.correlation);
    listener.results(parcel);
  }

  #tell(message: ToWorker, transfer: (ArrayBuffer | MessagePort)[] = []): void {
    this.#worker?.postMessage(message, transfer);
  }

  #exited(worker: Worker, error: string): void {
    if (this.#worker !== worker) return;
    const { log, clock, died } = this.#options;
    this.#worker = null;
    this.#receiveSamples();
    this.#ring?.close();
    for (const end of this.#endSerial.values()) end();
    this.#endSerial.clear();
    this.#removed();
    for (const number of this.#scans.keys()) this.#scanned(number, 'the poller stopped');
    const unanswered = this.#unanswered;
    this.#unanswered = new Map();
    died(unanswered);
    this.#gone();
    if (this.#isStopping) return;
    if (clock.monotonicMs() - this.#startedAtMs > HEALTHY_MS) this.#restartMs = RESTART_MIN_MS;
    log.error('poller thread died and is started again', { error, restart_ms: this.#restartMs });
    this.#cancelRestart = clock.after(this.#restartMs * (0.75 + Math.random() / 2), () => this.#launch());
    this.#restartMs = Math.min(RESTART_MAX_MS, this.#restartMs * 2);
  }
}

function joined(a: Shard, b: Shard): Shard {
  return {
    buses: [...a.buses, ...b.buses],
    devices: [...a.devices, ...b.devices],
    tags: [...a.tags, ...b.tags],
    batches: [...a.batches, ...b.batches],
  };
}

function without({ buses, devices, tags, batches }: Shard, gone: ReadonlySet<number>): Shard {
  return {
    buses: buses.filter(({ index }) => !gone.has(index)),
    devices: devices.filter(({ bus }) => !gone.has(bus.index)),
    tags: tags.filter(({ device }) => !gone.has(device.bus.index)),
    batches: batches.filter(({ device }) => !gone.has(device.bus.index)),
  };
}

/** Where a bus's link leads, whatever the bus is called. */
function placeOf({ link }: Bus): string {
  return 'path' in link ? link.path : `${link.host}:${link.port}`;
}
