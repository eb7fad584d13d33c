/**
 * Work on a bus that somebody asks for while the gateway runs: a scan for units, during which its polls pause, and the
 * trace of its frames. Both end by themselves, whoever asked goes away.
 */
import { dirname } from 'node:path';
import type { BrokerApi } from '../broker/broker.js';
import type { Clock } from '../clock.js';
import { loadSignaturesAside } from '../config/loadaside.js';
import type { Bus, Plant } from '../config/plant.js';
import { parseDuration } from '../config/units.js';
import { HoldfastError } from '../errors.js';
import type { TracedFrame } from '../modbus/frames.js';
import type { PoolApi } from '../poller/pool.js';
import { type FoundUnit, type ScanNews, worstMs } from '../poller/scan.js';
import type { Request } from './requests.js';
import { scanOptionsOf, wrongMapText } from './scanoptions.js';
import type { Status } from './status.js';

const TRACE_MS = 60_000;
const TRACE_MAX_MS = 3_600_000;

export interface FieldworkOptions {
  readonly broker: BrokerApi;
  readonly pool: PoolApi;
  readonly status: Status;
  readonly clock: Clock;
}

export class Fieldwork {
  readonly #options: FieldworkOptions;
  /** What ends each scan, by the index of the bus. */
  readonly #scans = new Map<number, () => void>();
  readonly #traces = new Map<number, { readonly topic: string; readonly cancel: () => void }>();

  constructor(options: FieldworkOptions) {
    this.#options = options;
  }

  /** News go to event/scan; the answer has all that was found. */
  async scan(plant: Plant, { fields }: Request): Promise<{ found: readonly FoundUnit[] }> {
    const { pool, status, clock } = this.#options;
    const bus = busOf(plant, fields);
    if (this.#scans.has(bus.index))
      throw new HoldfastError('BUSY', { bus: bus.name }, 'it is being scanned already');
    const text = (name: string): string | undefined => {
      const value = fields.get(name);
      return value === undefined ? undefined : String(value);
    };
    const options = scanOptionsOf(bus, {
      units: text('units'),
      baud: text('baud'),
      format: text('format'),
      timeout: text('timeout'),
      stopAfter: typeof fields.get('stop_after') === 'number' ? Number(fields.get('stop_after')) : undefined,
      isThorough: fields.get('thorough') === true,
    });
    let isStopped = false;
    let stop = (): void => void (isStopped = true);
    this.#scans.set(bus.index, () => stop());
    const found: FoundUnit[] = [];
    const tell = (news: ScanNews): void => {
      if (news.kind === 'found') found.push(news.found);
      status.event('scan', { t: clock.nowMs(), bus: bus.name, ...news });
    };
    status.event('scan', {
      t: clock.nowMs(),
      bus: bus.name,
      kind: 'begin',
      worst_ms: Math.round(worstMs(bus, options)),
    });
    try {
      const { signatures, wrong } = await loadSignaturesAside(dirname(plant.file));
      for (const file of wrong) tell({ kind: 'note', text: wrongMapText(file) });
      if (isStopped) return { found };
      const running = pool.scan(bus.index, { ...options, maps: signatures }, tell);
      stop = () => running.stop();
      const error = await running.ended;
      if (error !== '') throw new HoldfastError('FAILED', { bus: bus.name }, error);
      return { found };
    } finally {
      this.#scans.delete(bus.index);
    }
  }

  /** What was found until now is the answer of the scan. */
  stopScan(plant: Plant, { fields }: Request): { stopped: boolean } {
    const stop = this.#scans.get(busOf(plant, fields).index);
    stop?.();
    return { stopped: stop !== undefined };
  }

  /** Frames go to trace/<bus> for so long; 0s ends it. */
  trace(plant: Plant, { fields }: Request): { topic: string; for_ms: number } {
    const { pool, clock } = this.#options;
    const bus = busOf(plant, fields);
    const asked = fields.get('for');
    const forMs = asked === undefined ? TRACE_MS : parseDuration(String(asked));
    if (forMs === null || forMs > TRACE_MAX_MS)
      throw new HoldfastError(
        'TYPE',
        { bus: bus.name },
        `for "${String(asked)}" is no duration up to 1h; write 10s`,
      );
    this.#endTrace(bus.index);
    const topic = plant.gateway.topics.tracePrefix + bus.name;
    if (forMs > 0) {
      const cancel = clock.after(forMs, () => this.#endTrace(bus.index));
      this.#traces.set(bus.index, { topic, cancel });
      pool.trace(bus.index, true);
    }
    return { topic, for_ms: forMs };
  }

  /** Of the pool. */
  frame(busIndex: number, { direction, bytes, timeMs }: TracedFrame): void {
    const trace = this.#traces.get(busIndex);
    if (trace === undefined) return;
    const hex = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex');
    this.#options.broker.publish({
      topic: trace.topic,
      payload: Buffer.from(`{"t":${timeMs.toFixed(3)},"d":"${direction}","x":"${hex}"}`),
      qos: 0,
      retain: false,
      sender: null,
    });
  }

  close(): void {
    for (const index of [...this.#traces.keys()]) this.#endTrace(index);
    for (const stop of this.#scans.values()) stop();
  }

  #endTrace(busIndex: number): void {
    const trace = this.#traces.get(busIndex);
    if (trace === undefined) return;
    trace.cancel();
    this.#traces.delete(busIndex);
    this.#options.pool.trace(busIndex, false);
  }
}

function busOf({ buses }: Plant, fields: ReadonlyMap<string, unknown>): Bus {
  const name = fields.get('bus');
  const bus = buses.find((one) => one.name === name);
  if (bus !== undefined) return bus;
  const names = buses.map((one) => one.name).join(', ');
  throw new HoldfastError(
    'TYPE',
    {},
    `there is no bus ${JSON.stringify(name ?? null)}; there are ${names || 'none'}`,
  );
}
