/**
 * Main-thread side of the field: shards buses over worker threads, restarts workers that die, moves parcels.
 */
import { cpus } from 'node:os';
import { type Cancel, type Clock, sharedMs } from '../clock.js';
import type { Log } from '../log.js';
import type { Counter, Metrics } from '../metrics.js';
import type { Bus, Plant, Tag } from '../config/plant.js';
import type { Fence } from './fence.js';
import type { Owed } from '../modbus/client.js';
import { KnowledgeFolder } from './knowledgefolder.js';
import { REPLACED } from './messages.js';
import type { PoolListener, Shard } from './messages.js';
import {
  COMMAND_CODE,
  ParcelReader,
  ParcelWriter,
  parcelBytes,
  RESULT_CODES,
  type ResultCode,
} from './parcel.js';
import { offlineParcels } from './payload.js';
import type { ScanNews, ScanOptions } from './scan.js';
import { type RunningScan, Seat } from './seat.js';

export type { PoolListener } from './messages.js';
export type { DeviceState } from './sample.js';

export interface PoolOptions {
  readonly plant: Plant;
  readonly listener: PoolListener;
  readonly log: Log;
  readonly clock: Clock;
  readonly metrics: Metrics;
  /** Folder for what devices taught (knowledge), null: forget. */
  readonly knowledgeFolder: string | null;
  /** Closes while another gateway is the active one; null: there is no other. */
  readonly fence?: Fence | null;
}

/** Implemented by the Pool class of this file. */
export interface PoolApi {
  /** Resolves once every bus has a poller; its device need not have answered. */
  start(): Promise<void>;
  /**
   * Queues one command, not to be sent after ttlMs; exactly one result with this correlation follows. payload is the
   * JSON text of the value.
   */
  write(tagIndex: number, correlation: number, ttlMs: number, payload: Uint8Array): void;
  /** Reads a tag now; a sample is published whether it changed or not, and one result follows. */
  read(tagIndex: number, correlation: number, ttlMs: number): void;
  /** Ends the thread that polls this bus, and with it its neighbours there; a new one takes over at once. */
  restart(busIndex: number): void;
  /** Looks for units on a bus while its polls pause. */
  scan(busIndex: number, options: ScanOptions, tell: (news: ScanNews) => void): RunningScan;
  /** Whether every frame of a bus is told to the listener. */
  trace(busIndex: number, isOn: boolean): void;
  /** Ends the pollers of these buses; waiting commands are answered with OFFLINE, other buses notice nothing. */
  remove(buses: readonly Bus[]): Promise<void>;
  /** Polls buses of a newer plant; their indexes are new. */
  add(plant: Plant, buses: readonly Bus[]): Promise<void>;
  /** Within 2 s; waiting commands are answered with OFFLINE. */
  stop(): Promise<void>;
}

const COMMAND_PARCEL_BYTES = 4096;
const NOTHING = new Uint8Array(0);

/** Commands on their way to one worker, posted at the end of the turn. */
interface Outgoing {
  readonly seat: Seat;
  writer: ParcelWriter | null;
  isDeferred: boolean;
}

export class Pool implements PoolApi {
  readonly #options: PoolOptions;
  readonly #outgoing: Outgoing[] = [];
  /** By the index of a tag or batch. */
  readonly #outgoingOfTag = new Map<number, Outgoing>();
  /** Tags and batches whose poller is gone, and whose next one is not there yet. */
  readonly #leaving = new Set<number>();
  readonly #knowledge: KnowledgeFolder;
  readonly #owed = new Map<string, readonly Owed[]>();
  readonly #restarts: Counter;
  #cancelWatch: Cancel | null = null;
  #isStopped = false;

  constructor(options: PoolOptions) {
    this.#options = options;
    this.#knowledge = new KnowledgeFolder(options.knowledgeFolder, options.log);
    this.#restarts = options.metrics.counter(
      'worker_restarts_total',
      'Poller threads that were started again',
    );
  }

  async start(): Promise<void> {
    const { plant } = this.#options;
    await this.#knowledge.load(plant.devices);
    for (const shard of shardsOf(plant)) this.#seat(shard);
    this.#watch();
    await Promise.all(this.#outgoing.map(({ seat }) => seat.start()));
  }

  write(tagIndex: number, correlation: number, ttlMs: number, payload: Uint8Array): void {
    this.#command(tagIndex, COMMAND_CODE.write, correlation, ttlMs, payload);
  }

  read(tagIndex: number, correlation: number, ttlMs: number): void {
    this.#command(tagIndex, COMMAND_CODE.read, correlation, ttlMs, NOTHING);
  }

  restart(busIndex: number): void {
    for (const { seat } of this.#outgoing) if (seat.polls(busIndex)) seat.restart();
  }

  scan(busIndex: number, options: ScanOptions, tell: (news: ScanNews) => void): RunningScan {
    const seat = this.#outgoing.find(({ seat: one }) => one.polls(busIndex))?.seat;
    return (
      seat?.scan(busIndex, options, tell) ?? {
        ended: Promise.resolve('there is no such bus'),
        stop: () => {},
      }
    );
  }

  trace(busIndex: number, isOn: boolean): void {
    for (const { seat } of this.#outgoing) if (seat.polls(busIndex)) seat.trace(busIndex, isOn);
  }

  async remove(buses: readonly Bus[]): Promise<void> {
    await Promise.all(
      this.#outgoing.map(async ({ seat }) => {
        const own = buses.filter(({ index }) => seat.polls(index));
        if (own.length === 0) return;
        for (const { device, index } of [...seat.shard.tags, ...seat.shard.batches]) {
          if (!own.includes(device.bus)) continue;
          this.#outgoingOfTag.delete(index);
          this.#leaving.add(index);
        }
        await seat.remove(own);
      }),
    );
    // What they taught is read again under their new indexes.
    await this.#knowledge.flush();
  }

  async add(plant: Plant, buses: readonly Bus[]): Promise<void> {
    // From now on commands come with the indexes of the new plant.
    this.#leaving.clear();
    await this.#knowledge.load(plant.devices.filter(({ bus }) => buses.includes(bus)));
    for (const bus of buses) {
      const shard = shardOf(plant, [bus]);
      const idle = this.#outgoing.length < workerCount(plant) ? undefined : leastLoaded(this.#outgoing);
      if (idle === undefined) {
        await this.#seat(shard).seat.start();
        continue;
      }
      for (const { index } of [...shard.tags, ...shard.batches]) this.#outgoingOfTag.set(index, idle);
      idle.seat.add(shard);
    }
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#cancelWatch?.();
    await Promise.all(this.#outgoing.map(({ seat }) => seat.stop()));
    await this.#knowledge.flush();
  }

  #seat(shard: Shard): Outgoing {
    const { listener, log, clock, fence = null } = this.#options;
    const seat = new Seat({
      fence,
      shard,
      log,
      clock,
      knowledge: this.#knowledge,
      owed: this.#owed,
      listener,
      died: (unanswered) => this.#died(seat.shard, unanswered),
    });
    const outgoing: Outgoing = { seat, writer: null, isDeferred: false };
    this.#outgoing.push(outgoing);
    for (const { index } of [...shard.tags, ...shard.batches]) this.#outgoingOfTag.set(index, outgoing);
    return outgoing;
  }

  #command(tagIndex: number, code: number, correlation: number, ttlMs: number, payload: Uint8Array): void {
    const outgoing = this.#outgoingOfTag.get(tagIndex);
    if (outgoing === undefined) {
      if (this.#leaving.has(tagIndex)) return this.#refuse([[correlation, tagIndex]], 'OFFLINE', REPLACED);
      return this.#refuse([[correlation, tagIndex]], 'UNKNOWN_TAG', 'no such tag');
    }
    if (this.#isStopped || !outgoing.seat.isAlive) {
      return this.#refuse([[correlation, tagIndex]], 'OFFLINE', 'the poller of this bus is not running');
    }
    outgoing.seat.expect(correlation, tagIndex);
    // Wall time may jump before the worker looks.
    const nowMs = sharedMs();
    const expiresAtMs = nowMs + ttlMs;
    if (outgoing.writer?.append(tagIndex, code, expiresAtMs, correlation, payload) !== true) {
      this.#post(outgoing);
      const size = Math.max(COMMAND_PARCEL_BYTES, parcelBytes(payload.length));
      outgoing.writer = new ParcelWriter('commands', new ArrayBuffer(size), nowMs);
      outgoing.writer.append(tagIndex, code, expiresAtMs, correlation, payload);
    }
    if (outgoing.isDeferred) return;
    outgoing.isDeferred = true;
    queueMicrotask(() => {
      outgoing.isDeferred = false;
      this.#post(outgoing);
    });
  }

  #post(outgoing: Outgoing): void {
    const { writer } = outgoing;
    outgoing.writer = null;
    if (writer !== null) outgoing.seat.send(writer.finish());
  }

  /** Answers commands that no worker will answer. */
  #refuse(commands: Iterable<readonly [number, number]>, code: ResultCode, text: string): void {
    const { clock, listener } = this.#options;
    const payload = Buffer.from(text);
    const list = [...commands];
    if (list.length === 0) return;
    // Told after the caller has returned, as every other result is.
    queueMicrotask(() => {
      const size = 16 + list.length * parcelBytes(payload.length);
      const writer = new ParcelWriter('results', new ArrayBuffer(size), clock.nowMs());
      for (const [correlation, tagIndex] of list)
        writer.append(tagIndex, RESULT_CODES.indexOf(code), clock.nowMs(), correlation, payload);
      listener.results(new ParcelReader(writer.finish()));
    });
  }

  /** A worker is gone: what it polled is offline until its successor has read it. */
  #died(shard: Shard, unanswered: ReadonlyMap<number, number>): void {
    const { listener, clock } = this.#options;
    const text = 'the poller stopped; the command may have been carried out';
    this.#refuse(unanswered, 'OFFLINE', text);
    if (this.#isStopped) return;
    this.#restarts.value += 1;
    const nowMs = clock.nowMs();
    for (const bus of shard.buses) listener.busChanged(bus.index, false, 'the poller is being restarted');
    for (const device of shard.devices)
      listener.deviceChanged(device.index, 'offline', nowMs, 'the poller is being restarted');
    for (const buffer of offlineParcels(shard.tags, shard.batches, nowMs)) {
      listener.samples(new ParcelReader(buffer));
    }
  }

  /** Once a second: is every worker's loop still turning? */
  #watch(): void {
    this.#cancelWatch = this.#options.clock.after(1000, () => {
      for (const { seat } of this.#outgoing) seat.check();
      this.#watch();
    });
  }
}

/** Buses by estimated work over as many workers as make sense: the heaviest first, each to the least loaded worker. */
export function shardsOf(plant: Plant): Shard[] {
  const count = Math.min(workerCount(plant), plant.buses.length);
  const loads = plant.buses.map((bus) => ({ bus, load: loadOf(plant.tags, bus) }));
  const bins = Array.from({ length: count }, () => ({ buses: [] as Bus[], load: 0 }));
  for (const { bus, load } of loads.sort((a, b) => b.load - a.load)) {
    const bin = bins.reduce((least, other) => (other.load < least.load ? other : least));
    bin.buses.push(bus);
    bin.load += load;
  }
  return bins.map(({ buses }) => shardOf(plant, buses));
}

function shardOf(plant: Plant, buses: readonly Bus[]): Shard {
  return {
    buses,
    devices: plant.devices.filter((device) => buses.includes(device.bus)),
    tags: plant.tags.filter((tag) => buses.includes(tag.device.bus)),
    batches: plant.batches.filter((batch) => buses.includes(batch.device.bus)),
  };
}

/** As many as are wanted, whether or not there are buses for them. */
function workerCount({ workers }: Plant): number {
  return workers > 0 ? workers : Math.max(1, cpus().length - 1);
}

function leastLoaded(all: readonly Outgoing[]): Outgoing | undefined {
  const loads = all.map((outgoing) => {
    const { buses, tags } = outgoing.seat.shard;
    return { outgoing, load: buses.reduce((sum, bus) => sum + loadOf(tags, bus), 0) };
  });
  return loads.sort((a, b) => a.load - b.load)[0]?.outgoing;
}

/** Tags a second, and a little for the bus itself. */
function loadOf(tags: readonly Tag[], bus: Bus): number {
  let load = 1;
  for (const tag of tags) if (tag.device.bus === bus && tag.intervalMs > 0) load += 1000 / tag.intervalMs;
  return load;
}
