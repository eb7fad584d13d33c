/**
 * Counters and gauges of this process, by name and labels. Rooms count here; $SYS topics and /metrics read from here.
 * A counter is a plain object with a number, so that counting on a hot path costs one addition.
 */
import { getHeapStatistics } from 'node:v8';

export interface Metric {
  readonly name: string;
  readonly help: string;
  readonly kind: 'counter' | 'gauge';
  readonly labels: Readonly<Record<string, string>>;
  /** The value now. */
  read(): number;
}

export class Counter implements Metric {
  readonly kind = 'counter';
  readonly name: string;
  readonly help: string;
  readonly labels: Readonly<Record<string, string>>;
  value = 0;

  constructor(name: string, help: string, labels: Readonly<Record<string, string>>) {
    this.name = name;
    this.help = help;
    this.labels = labels;
  }

  read(): number {
    return this.value;
  }
}

export class Metrics {
  readonly #metrics = new Map<string, Metric>();
  readonly #families: (() => Iterable<Metric>)[] = [];

  /** A counter by name and labels; asking twice gives the same one. Names are snake_case and end in the unit or _total. */
  counter(name: string, help: string, labels: Readonly<Record<string, string>> = {}): Counter {
    const key = keyOf(name, labels);
    const known = this.#metrics.get(key);
    if (known instanceof Counter) return known;
    const counter = new Counter(name, help, labels);
    this.#metrics.set(key, counter);
    return counter;
  }

  /** A gauge is read when somebody looks, never pushed. */
  gauge(name: string, help: string, read: () => number, labels: Readonly<Record<string, string>> = {}): void {
    this.#metrics.set(keyOf(name, labels), { name, help, kind: 'gauge', labels, read });
  }

  /** Forgets one metric, for things that come and go (buses, uplinks). */
  remove(name: string, labels: Readonly<Record<string, string>> = {}): void {
    this.#metrics.delete(keyOf(name, labels));
  }

  /** Metrics of what comes and goes (buses, devices), made when somebody looks. */
  family(read: () => Iterable<Metric>): void {
    this.#families.push(read);
  }

  *list(): IterableIterator<Metric> {
    yield* this.#metrics.values();
    for (const read of this.#families) yield* read();
  }
}

function keyOf(name: string, labels: Readonly<Record<string, string>>): string {
  return name + JSON.stringify(labels);
}

export interface ProcessMemory {
  /** Of the whole process, as the system counts. */
  readonly residentBytes: number;
  readonly heapBytes: number;
  /** Of buffers, outside the heap. */
  readonly externalBytes: number;
}

let lastResidentBytes = 0;

/** What this process takes now. Resident is the last known where no descriptor is left: the system tells it in a file. */
export function processMemory(): ProcessMemory {
  try {
    lastResidentBytes = process.memoryUsage.rss();
  } catch {
    // As good as a look of a moment ago.
  }
  const { used_heap_size: heapBytes, external_memory: externalBytes } = getHeapStatistics();
  return { residentBytes: lastResidentBytes, heapBytes, externalBytes };
}
