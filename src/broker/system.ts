/** The broker's own numbers as retained topics under `$SYS/broker/`, with mosquitto's names where they exist. */
import type { Cancel, Clock } from '../clock.js';
import { processMemory } from '../metrics.js';
import type { BrokerCounters } from './counters.js';

/** What is read when it is time. */
export interface SystemSource {
  readonly counters: BrokerCounters;
  readonly version: string;
  readonly connectedCount: number;
  readonly sessionCount: number;
  readonly connectedMaximum: number;
  readonly subscriptionCount: number;
  readonly sharedSubscriptionCount: number;
  readonly retainedCount: number;
  readonly retainedBytes: number;
  readonly queuedCount: number;
  readonly queuedBytes: number;
  readonly inFlightCount: number;
}

/** Topic below `$SYS/broker/`, and the counter whose rate is shown below `load/`. */
type Loads = Record<string, keyof BrokerCounters>;

const LOADS: Loads = {
  'messages/received': 'packetsReceived',
  'messages/sent': 'packetsSent',
  'publish/received': 'publishReceived',
  'publish/sent': 'publishSent',
  'publish/dropped': 'dropped',
  'bytes/received': 'bytesReceived',
  'bytes/sent': 'bytesSent',
  connections: 'connections',
};
const WINDOWS = [
  ['1min', 60_000],
  ['5min', 300_000],
  ['15min', 900_000],
] as const;

export class SystemTopics {
  readonly #source: SystemSource;
  readonly #clock: Clock;
  readonly #intervalMs: number;
  readonly #publish: (topic: string, value: string) => void;
  readonly #startedMs: number;
  #cancel: Cancel | null = null;
  readonly #sent = new Map<string, string>();
  readonly #before = new Map<string, number>();
  readonly #rates = new Map<string, number>();
  #beforeMs = 0;

  constructor(
    source: SystemSource,
    clock: Clock,
    intervalMs: number,
    publish: (topic: string, value: string) => void,
  ) {
    this.#source = source;
    this.#clock = clock;
    this.#intervalMs = intervalMs;
    this.#publish = publish;
    this.#startedMs = clock.monotonicMs();
  }

  start(): void {
    if (this.#intervalMs <= 0) return;
    this.#set('version', `holdfast version ${this.#source.version}`);
    this.#tell();
    const again = (): void => {
      this.#tell();
      this.#cancel = this.#clock.after(this.#intervalMs, again);
    };
    this.#cancel = this.#clock.after(this.#intervalMs, again);
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = null;
  }

  #tell(): void {
    const source = this.#source;
    const { counters } = source;
    this.#set('uptime', `${Math.floor((this.#clock.monotonicMs() - this.#startedMs) / 1000)} seconds`);
    const numbers: Record<string, number> = {
      'clients/connected': source.connectedCount,
      'clients/active': source.connectedCount,
      'clients/disconnected': source.sessionCount - source.connectedCount,
      'clients/inactive': source.sessionCount - source.connectedCount,
      'clients/total': source.sessionCount,
      'clients/maximum': source.connectedMaximum,
      'messages/received': counters.packetsReceived.value,
      'messages/sent': counters.packetsSent.value + counters.publishSent.value,
      'messages/inflight': source.inFlightCount,
      'messages/stored': source.retainedCount + source.queuedCount,
      'store/messages/count': source.retainedCount + source.queuedCount,
      'store/messages/bytes': source.retainedBytes + source.queuedBytes,
      'publish/messages/received': counters.publishReceived.value,
      'publish/messages/sent': counters.publishSent.value,
      'publish/messages/dropped': counters.dropped.value,
      'publish/bytes/received': counters.publishBytesReceived.value,
      'publish/bytes/sent': counters.publishBytesSent.value,
      'bytes/received': counters.bytesReceived.value,
      'bytes/sent': counters.bytesSent.value,
      'retained messages/count': source.retainedCount,
      'subscriptions/count': source.subscriptionCount,
      'shared_subscriptions/count': source.sharedSubscriptionCount,
      'heap/current': processMemory().residentBytes,
    };
    for (const [name, value] of Object.entries(numbers)) this.#set(name, String(value));
    this.#tellLoads();
  }

  /** Rates a minute, as averages that forget exponentially. */
  #tellLoads(): void {
    const nowMs = this.#clock.monotonicMs();
    const passedMs = nowMs - this.#beforeMs;
    this.#beforeMs = nowMs;
    for (const [name, counter] of Object.entries(LOADS)) {
      const { value } = this.#source.counters[counter];
      const perMinute = passedMs > 0 ? ((value - (this.#before.get(name) ?? 0)) * 60_000) / passedMs : 0;
      this.#before.set(name, value);
      for (const [window, lengthMs] of WINDOWS) {
        const key = `load/${name}/${window}`;
        const weight = Math.exp(-passedMs / lengthMs);
        const rate = perMinute + weight * ((this.#rates.get(key) ?? 0) - perMinute);
        this.#rates.set(key, rate);
        this.#set(key, rate.toFixed(2));
      }
    }
  }

  /** Publishes what changed. */
  #set(name: string, value: string): void {
    if (this.#sent.get(name) === value) return;
    this.#sent.set(name, value);
    this.#publish(`$SYS/broker/${name}`, value);
  }
}
