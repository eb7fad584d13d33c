/**
 * Main-thread side of the field: shards buses over worker threads, restarts workers that die, moves parcels.
 */
import type { Clock } from '../clock.js';
import type { Log } from '../log.js';
import type { Metrics } from '../metrics.js';
import type { Plant } from '../config/plant.js';
import type { ParcelReader } from './parcel.js';

export type DeviceState = 'online' | 'degraded' | 'offline';

/** What the pool tells the gateway. Calls come on the main thread; parcels are valid only during the call. */
export interface PoolListener {
  /** Payloads are ready to publish on the topic that the record's index names. */
  samples(parcel: ParcelReader): void;
  /** How commands went, by correlation; the payload is the JSON value written, or the error's text. */
  results(parcel: ParcelReader): void;
  /** error is empty when online. */
  deviceChanged(deviceIndex: number, state: DeviceState, sinceMs: number, error: string): void;
  busChanged(busIndex: number, isUp: boolean, error: string): void;
  /** Statistics of one bus, every 10 s; the shape is the poller room's (statistics.ts). */
  statistics(busIndex: number, statistics: unknown): void;
  /** A readable line about something the field did (desync, breaker, learned hole), for the log and event topics. */
  event(kind: string, fields: Record<string, unknown>): void;
}

export interface PoolOptions {
  readonly plant: Plant;
  readonly listener: PoolListener;
  readonly log: Log;
  readonly clock: Clock;
  readonly metrics: Metrics;
  /** Folder for what devices taught (knowledge), null: forget. */
  readonly knowledgeFolder: string | null;
}

/** Implemented by the Pool class of this file. */
export interface PoolApi {
  /** Resolves once every bus has a poller; its device need not have answered. */
  start(): Promise<void>;
  /** Queues one command; exactly one result with this correlation follows. payload is the JSON text of the value. */
  write(tagIndex: number, correlation: number, expiresAtMs: number, payload: Uint8Array): void;
  /** Reads a tag now; a sample is published whether it changed or not, and one result follows. */
  read(tagIndex: number, correlation: number, expiresAtMs: number): void;
  /** Within 2 s; waiting commands are answered with OFFLINE. */
  stop(): Promise<void>;
}
