/**
 * Watches what the process takes. While memory is short, load is shed in a stated order: nothing new is taken in
 * (connections, subscriptions, retained topics) and slow readers lose QoS 0 earlier; if that is not enough, the slowest
 * reader is cut, one a second. What a storm left behind is given back once it is over.
 */
import type { Cancel, Clock } from '../clock.js';
import { collectGarbage } from '../entry.js';
import type { Log } from '../log.js';

export interface MemoryUse {
  /** Of JavaScript: objects and buffers, garbage among them. */
  readonly usedBytes: number;
  /** Of the whole process, as the system counts. */
  readonly residentBytes: number;
  /** Share of the time since the last look that the loop was busy. */
  readonly busyShare: number;
}

/** What is watched and done; the process's own unless a test says otherwise. */
export interface MemoryHost {
  measure(): MemoryUse;
  collect(): void;
  /** Memory became short, or is not any more. */
  setShort(isShort: boolean): void;
  cutSlowest(): void;
}

/** Shares of the limit from which load is shed, and readers are cut; how often that is looked at. */
const SHORT = 0.75;
const VERY_SHORT = 0.9;
const LOOK_MS = 1000;
/** A collection stops the loop for some milliseconds, so it is worth this much, and not made more often than this. */
const WORTH_BYTES = 10 * 1024 * 1024;
const COLLECT_SHORT_MS = 3000;
const COLLECT_CALM_MS = 20_000;
const CALM = 0.5;

export class MemoryWatch {
  readonly #host: MemoryHost;
  readonly #maxBytes: number;
  readonly #clock: Clock;
  readonly #log: Log;
  #isShort = false;
  #collectedAtMs = -Infinity;
  /** Resident bytes when there was no garbage. */
  #cleanBytes = Infinity;
  #cancel: Cancel | null = null;

  constructor(host: MemoryHost, maxBytes: number, clock: Clock, log: Log) {
    this.#host = host;
    this.#maxBytes = maxBytes;
    this.#clock = clock;
    this.#log = log;
  }

  start(): void {
    this.#cancel = this.#clock.after(LOOK_MS, () => {
      this.#look();
      this.start();
    });
  }

  stop(): void {
    this.#cancel?.();
  }

  #look(): void {
    let use = this.#host.measure();
    this.#cleanBytes = Math.min(this.#cleanBytes, use.residentBytes);
    const sinceMs = this.#clock.monotonicMs() - this.#collectedAtMs;
    const isWorth = use.residentBytes - this.#cleanBytes > WORTH_BYTES;
    // Only what is not garbage counts, and what a storm left is collected when nobody waits.
    if (
      (this.#shareOf(use) > SHORT && sinceMs >= COLLECT_SHORT_MS) ||
      (isWorth && use.busyShare < CALM && sinceMs >= COLLECT_CALM_MS)
    ) {
      this.#host.collect();
      this.#collectedAtMs = this.#clock.monotonicMs();
      use = this.#host.measure();
      this.#cleanBytes = use.residentBytes;
    }
    this.#shed(use);
  }

  #shareOf({ usedBytes }: MemoryUse): number {
    return usedBytes / this.#maxBytes;
  }

  #shed(use: MemoryUse): void {
    const share = this.#shareOf(use);
    if (this.#isShort !== share > SHORT) {
      this.#isShort = share > SHORT;
      this.#host.setShort(this.#isShort);
      this.#log.warn(this.#isShort ? 'memory is short: load is shed' : 'memory is enough again', {
        usedBytes: use.usedBytes,
        maxBytes: this.#maxBytes,
      });
    }
    if (share > VERY_SHORT) this.#host.cutSlowest();
  }
}

/** The process's own memory. */
export function processMemory(): Pick<MemoryHost, 'measure' | 'collect'> {
  let last = performance.eventLoopUtilization();
  return {
    measure: () => {
      const { heapUsed, external, rss } = process.memoryUsage();
      const now = performance.eventLoopUtilization();
      const { utilization } = performance.eventLoopUtilization(now, last);
      last = now;
      return { usedBytes: heapUsed + external, residentBytes: rss, busyShare: utilization };
    },
    collect: collectGarbage,
  };
}
