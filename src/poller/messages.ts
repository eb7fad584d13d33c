/** The messages between pool and workers: parcels, and a few small typed ones; and what the pool makes of them. */
import type { MessagePort } from 'node:worker_threads';
import type { PackedTags } from '../config/leantag.js';
import type { Batch, Bus, Device, Tag } from '../config/plant.js';
import type { Owed } from '../modbus/client.js';
import type { TracedFrame } from '../modbus/frames.js';
import type { KnowledgeRecord } from './knowledge.js';
import type { ParcelReader } from './parcel.js';
import type { RingMemory } from './ring.js';
import type { ScanNews, ScanOptions } from './scan.js';
import type { DeviceState } from './sample.js';
import type { BusStatistics } from './statistics.js';

/** Why a command is answered OFFLINE while its bus changes hands: a new config, or another gateway, takes it over. */
export const REPLACED = 'the bus is being taken over by a new poller; the command may be sent again';

/** The part of a plant that one worker polls. */
export interface Shard {
  readonly buses: readonly Bus[];
  readonly devices: readonly Device[];
  readonly tags: readonly Tag[];
  readonly batches: readonly Batch[];
}

/** Buses for a worker, with what it needs to poll them. */
export interface Work extends Pick<Shard, 'buses' | 'devices'> {
  /** With their batches, without their topics. */
  readonly tags: PackedTags;
  /** What devices taught in an earlier life, by device index; not checked yet. */
  readonly knowledge: ReadonlyMap<number, unknown>;
  /** What those who had the links before asked and may still be answered, by bus index; times are shared ones. */
  readonly owed: ReadonlyMap<number, readonly Owed[]>;
  /** The worker's ends of serial lines, by bus index. */
  readonly serialPorts: ReadonlyMap<number, MessagePort>;
}

export interface WorkerData extends Work {
  /** For its parcels of samples. */
  readonly ring: RingMemory;
  /** Memory of the fence; null: this gateway is always the active one. */
  readonly fence: SharedArrayBuffer | null;
}

export type ToWorker =
  | { readonly kind: 'commands'; readonly buffer: ArrayBuffer }
  /** There was no buffer left in the ring, and now there is: samples have been published. */
  | { readonly kind: 'released' }
  | { readonly kind: 'add'; readonly work: Work }
  | { readonly kind: 'remove'; readonly busIndexes: readonly number[] }
  /** News of a scan carry its number; it ends with `scanned`. */
  | {
      readonly kind: 'scan';
      readonly number: number;
      readonly busIndex: number;
      readonly options: ScanOptions;
    }
  | { readonly kind: 'scan-stop'; readonly number: number }
  | { readonly kind: 'trace'; readonly busIndex: number; readonly isOn: boolean }
  | { readonly kind: 'ping' }
  | { readonly kind: 'stop' };

export type FromWorker =
  | { readonly kind: 'ready' }
  /** Results, or samples that no buffer of the ring could hold. */
  | { readonly kind: 'parcel'; readonly buffer: ArrayBuffer }
  | {
      readonly kind: 'device';
      readonly deviceIndex: number;
      readonly state: DeviceState;
      readonly sinceMs: number;
      readonly error: string;
    }
  | { readonly kind: 'bus'; readonly busIndex: number; readonly isUp: boolean; readonly error: string }
  | { readonly kind: 'statistics'; readonly statistics: BusStatistics }
  | { readonly kind: 'event'; readonly event: string; readonly fields: Record<string, unknown> }
  | { readonly kind: 'learned'; readonly deviceIndex: number; readonly record: KnowledgeRecord }
  /** The pollers of a 'remove' have ended, and all they had to say was said before. owed: as in Work. */
  | { readonly kind: 'removed'; readonly owed: ReadonlyMap<number, readonly Owed[]> }
  /** A scan needs the serial port under other settings: the other end of this one speaks for it. */
  | { readonly kind: 'serial'; readonly port: MessagePort }
  | { readonly kind: 'scan-news'; readonly number: number; readonly news: ScanNews }
  /** error is empty when it went well. */
  | { readonly kind: 'scanned'; readonly number: number; readonly error: string }
  | { readonly kind: 'frame'; readonly busIndex: number; readonly frame: TracedFrame }
  | { readonly kind: 'pong' }
  | { readonly kind: 'stopped' };

/** What the pool tells the gateway. Calls come on the main thread; parcels are valid only during the call. */
export interface PoolListener {
  /** Payloads are ready to publish on the topic that the record's index names. */
  samples(parcel: ParcelReader): void;
  /** How commands went, by correlation; the payload is the JSON value written or read, or the error's text. */
  results(parcel: ParcelReader): void;
  /** error is empty when online. */
  deviceChanged(deviceIndex: number, state: DeviceState, sinceMs: number, error: string): void;
  busChanged(busIndex: number, isUp: boolean, error: string): void;
  /** Statistics of one bus, every 10 s: a BusStatistics of statistics.ts. */
  statistics(busIndex: number, statistics: BusStatistics): void;
  /** A frame of a bus that is traced. */
  frame?(busIndex: number, frame: TracedFrame): void;
  /** A readable line about something the field did (desync, breaker, learned hole), for the log and event topics. */
  event(kind: string, fields: Record<string, unknown>): void;
}
