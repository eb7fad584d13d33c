/**
 * Watches what the process takes. While memory is short, load is shed in a stated order: nothing new is taken in
 * (connections, subscriptions, retained topics), slow readers lose QoS 0 earlier, and who holds memory by packets that
 * do not end is cut; if that is not enough, the slowest reader is cut, one a second. What a storm left behind is given back once it is over.
 */
import type { Cancel, Clock } from '../clock.js';
import { collectGarbage } from '../entry.js';
import type { Log } from '../log.js';
import { processMemory } from '../metrics.js';

export interface MemoryUse {
  /** Of JavaScript: objects and buffers, garbage among them. */
  readonly usedBytes: number;
  /** Of the whole process, as the system counts. */
  readonly residentBytes: number;
  /** Share of the time since the last look that the loop was busy. */
  readonly busyShare: number;
  /** Connections that have ended so far: what hung on them is garbage. */
  readonly endedCount: number;
}

/** What is watched and done; the process's own unless a test says otherwise. */
export interface MemoryHost {
  measure(): MemoryUse;
  collect(): void;
  /** Memory became short, or is not any more. */
  setShort(isShort: boolean): void;
  /** Those who together hold much by packets that do not end. */
  cutUnended(): void;
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
/** A collection that brings less than this was made too early, or for nothing: the next one waits longer. */
const GAIN_BYTES = 1024 * 1024;
const COLLECT_SELDOM_MS = 40_000;
const CALM = 0.5;

export class MemoryWatch {
  readonly #host: MemoryHost;
  readonly #maxBytes: number;
  readonly #clock: Clock;
  readonly #log: Log;
  #isShort = false;
  #collectedAtMs = -Infinity;
  #waitMs = COLLECT_CALM_MS;
  /** Resident bytes after the last collection, and the least there ever were. */
  #cleanBytes = Infinity;
  #leastBytes = Infinity;
  /** Connections that had ended at the last collection. */
  #endedCount = 0;
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
    const use = this.#host.measure();
    this.#cleanBytes = Math.min(this.#cleanBytes, use.residentBytes);
    this.#leastBytes = Math.min(this.#leastBytes, use.residentBytes);
    // Only what is not garbage counts.
    this.#shed(this.#isDue(use) ? this.#collect(use) : use);
  }

  /** What a storm left is collected when nobody waits. */
  #isDue(use: MemoryUse): boolean {
    const sinceMs = this.#clock.monotonicMs() - this.#collectedAtMs;
    if (this.#shareOf(use) > SHORT) return sinceMs >= COLLECT_SHORT_MS;
    return use.busyShare < CALM && sinceMs >= this.#waitMs && this.#isWorth(use);
  }

  /** Memory grew since the last collection, or that was made while those held on to it who have left by now. */
  #isWorth({ residentBytes, endedCount }: MemoryUse): boolean {
    const hasGrown = residentBytes - this.#cleanBytes > WORTH_BYTES;
    return hasGrown || (endedCount !== this.#endedCount && residentBytes - this.#leastBytes > WORTH_BYTES);
  }

  #collect(before: MemoryUse): MemoryUse {
    this.#host.collect();
    const use = this.#host.measure();
    const hasGained = before.residentBytes - use.residentBytes >= GAIN_BYTES;
    this.#collectedAtMs = this.#clock.monotonicMs();
    this.#waitMs = hasGained ? COLLECT_CALM_MS : COLLECT_SELDOM_MS;
    this.#cleanBytes = use.residentBytes;
    this.#endedCount = use.endedCount;
    return use;
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
    if (this.#isShort) this.#host.cutUnended();
    if (share > VERY_SHORT) this.#host.cutSlowest();
  }
}

/** The process's own memory. */
export function ownMemory(endedCount: () => number): Pick<MemoryHost, 'measure' | 'collect'> {
  let last = performance.eventLoopUtilization();
  return {
    measure: () => {
      const { heapBytes, externalBytes, residentBytes } = processMemory();
      const now = performance.eventLoopUtilization();
      const { utilization } = performance.eventLoopUtilization(now, last);
      last = now;
      return {
        usedBytes: heapBytes + externalBytes,
        residentBytes,
        busyShare: utilization,
        endedCount: endedCount(),
      };
    },
    collect: collectGarbage,
  };
}
