/** One poller on a virtual line, and everything that it told, in virtual time. */
import type { Batch, Bus, Device, Tag } from '../../src/config/plant.js';
import type { KnowledgeRecord } from '../../src/poller/knowledge.js';
import type { Sink } from '../../src/poller/outbox.js';
import { qualityOf, RESULT_CODES } from '../../src/poller/parcel.js';
import { Poller } from '../../src/poller/poller.js';
import type { TagState } from '../../src/poller/report.js';
import type { DeviceState, Quality } from '../../src/poller/sample.js';
import { ManualClock } from './clock.js';
import { ScriptedLine } from './scriptedline.js';

export interface Told {
  readonly tag: Tag;
  readonly value: TagState['value'];
  readonly quality: Quality;
  /** When its answer came, as it is told. */
  readonly timeMs: number;
  readonly atMs: number;
}

export interface FieldOptions {
  readonly bus: Bus;
  readonly devices: readonly Device[];
  readonly tags: readonly Tag[];
  readonly batches?: readonly Batch[];
  readonly knowledge?: ReadonlyMap<number, unknown>;
  readonly seed?: number;
}

export class PollerField implements Sink {
  readonly clock = new ManualClock(1_800_000_000_000);
  readonly told: Told[] = [];
  readonly batches: { batch: Batch; values: TagState['value'][]; atMs: number }[] = [];
  readonly results: { correlation: number; code: string; text: string; atMs: number }[] = [];
  readonly states: { deviceIndex: number; state: DeviceState; atMs: number; error: string }[] = [];
  readonly events: { kind: string; fields: Record<string, unknown>; atMs: number }[] = [];
  readonly learned = new Map<number, KnowledgeRecord>();
  readonly poller: Poller;
  #line: ScriptedLine | null = null;
  #correlation = 0;

  constructor(options: FieldOptions) {
    const random = randomOf(options.seed ?? 1);
    this.poller = new Poller({
      ...options,
      batches: options.batches ?? [],
      clock: this.clock,
      random,
      sink: this,
      events: {
        deviceChanged: (deviceIndex, state, _since, error) =>
          this.states.push({ deviceIndex, state, atMs: this.clock.monotonicMs(), error }),
        busChanged: () => {},
        event: (kind, fields) => this.events.push({ kind, fields, atMs: this.clock.monotonicMs() }),
        learned: (device, record) => this.learned.set(device.index, record),
      },
      connect: (listener) => {
        this.#line = new ScriptedLine(options.bus, this.clock, listener);
        return this.#line;
      },
      knowledgeOf: (device) => options.knowledge?.get(device.index),
    });
  }

  get line(): ScriptedLine {
    if (this.#line === null) throw new Error('the poller made no client');
    return this.#line;
  }

  get nowMs(): number {
    return this.clock.monotonicMs();
  }

  sample(state: TagState): void {
    const { tag, value, code, timeMs } = state;
    this.told.push({ tag, value, quality: qualityOf(code), timeMs, atMs: this.nowMs });
  }

  batch(batch: Batch, states: readonly TagState[]): void {
    this.batches.push({ batch, values: states.map(({ value }) => value), atMs: this.nowMs });
  }

  answered(): void {}

  result(_tagIndex: number, code: number, correlation: number, payload: Uint8Array): void {
    const name = RESULT_CODES[code] ?? `EXC_${code - 128}`;
    this.results.push({ correlation, code: name, text: Buffer.from(payload).toString(), atMs: this.nowMs });
  }

  /** Queues a command and returns its correlation. */
  write(tag: Tag, value: unknown, ttlMs = 60_000): number {
    return this.#command('write', tag, JSON.stringify(value), ttlMs);
  }

  read(tag: Tag, ttlMs = 60_000): number {
    return this.#command('read', tag, '', ttlMs);
  }

  /** Samples of a device that were good, within a stretch of time. */
  goodCount(device: Device, fromMs: number, toMs: number): number {
    return this.told.filter(
      ({ tag, quality, atMs }) =>
        tag.device === device && quality === 'good' && atMs >= fromMs && atMs < toMs,
    ).length;
  }

  newest(tag: Tag): Told | undefined {
    return this.told.findLast((told) => told.tag === tag);
  }

  stateOf(device: Device): DeviceState | undefined {
    return this.states.findLast(({ deviceIndex }) => deviceIndex === device.index)?.state;
  }

  #command(kind: 'read' | 'write', tag: Tag, text: string, ttlMs: number): number {
    const correlation = this.#correlation++;
    const deadlineMs = this.nowMs + ttlMs;
    this.poller.command({ kind, correlation, deadlineMs, payload: Buffer.from(text) }, tag.index);
    return correlation;
  }
}

/** A small seeded generator (mulberry32): the same run for the same seed. */
export function randomOf(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}
