/**
 * What one device taught: how much it answers at once, which addresses it refuses, whether it knows mask writes, how
 * fast it is. Kept as a readable file a device, in the words of device maps, so that it can be copied into one; what
 * was refused is asked again, but rarely.
 */
import type { Device, Range } from '../config/plant.js';
import type { Table } from '../modbus/protocol.js';
import type { Learned } from './terrain.js';

/** Asked again after so long: soon once, then ever more rarely. */
const RETEST_MS = [15_000, 60_000, 600_000, 3_600_000] as const;
/** What fails rather than being illegal is asked again no later than this. */
const FAULT_RETEST_MS = 60_000;
/** What was readable before is only kept in mind as refused when that lasts, and asked again soon until then. */
const LASTING_MS = 30_000;
const SOON_MS = 1000;
const SOON_SHARE = 1 / 4;
/** A restart asks again, but not at once: an illegal tag must not cost an exception at each start. */
const AFTER_START_MS = 30_000;
/** Limits and holes found by joined reads are forgotten after so long, and found again if they are still there. */
const FORGET_MS = 3_600_000;

export interface Refusal {
  readonly tag: string;
  /** 0: not for long yet, so that it is not kept. */
  count: number;
  /** Wall times. */
  readonly sinceMs: number;
  retestAtMs: number;
  text: string;
}

interface Hole extends Range {
  readonly foundAtMs: number;
}

/** What a knowledge file holds. */
export interface KnowledgeRecord {
  readonly device: string;
  readonly bus: string;
  readonly unit_id: number;
  readonly map: string | null;
  readonly learned_at: string;
  readonly limits?: {
    readonly registers?: number;
    readonly bits?: number;
    readonly found_at?: number;
    /** 1: its link hung up when requests were under way together. */
    readonly in_flight?: 1;
  };
  /** In the form of a device map's `forbidden`, each with the time it was found. */
  readonly holes?: Readonly<Record<string, number>>;
  readonly refused?: Readonly<Record<string, { readonly count: number; readonly error: string }>>;
  readonly mask_write?: boolean;
  readonly response_ms?: { readonly p50: number; readonly p99: number };
}

const TABLE_WORDS: Readonly<Record<Table, string>> = {
  coil: 'coil',
  'discrete-input': 'discrete',
  'holding-register': 'holding',
  'input-register': 'input',
};

export class Knowledge implements Learned {
  registersMax = Infinity;
  bitsMax = Infinity;
  /** The link was hung up on when several requests were under way. Kept for good: to try again costs a connection. */
  isOneAtATime = false;
  /** null: not tried. */
  maskWrite: boolean | null = null;
  responseMs: { p50: number; p99: number } | null = null;
  /** Counts whatever changes where reads may go. */
  version = 0;
  readonly #refusals = new Map<string, Refusal>();
  /** How often those were refused that are asked again with all others. */
  readonly #pardoned = new Map<string, number>();
  #limitsAtMs = 0;
  #holes: Hole[] = [];

  get holes(): readonly Range[] {
    return this.#holes;
  }

  get refusals(): ReadonlyMap<string, Refusal> {
    return this.#refusals;
  }

  /** Nothing between two readable places may be read over; where there is nothing, no read may cross. */
  learnHole(range: Range, nowMs: number): void {
    this.#holes.push({ ...range, foundAtMs: nowMs });
    this.version += 1;
  }

  learnMaximum(isBits: boolean, quantity: number, nowMs: number): void {
    if (isBits) this.bitsMax = Math.min(this.bitsMax, quantity);
    else this.registersMax = Math.min(this.registersMax, quantity);
    this.#limitsAtMs = nowMs;
    this.version += 1;
  }

  /** The device refuses this tag; returns when it is to be asked again. isFault: it failed to answer, which may be over any minute. */
  refuse(tag: string, text: string, nowMs: number, isFault = false): Refusal {
    const count = this.#countOf(tag);
    const waitMs = RETEST_MS[Math.min(count, RETEST_MS.length - 1)] ?? FORGET_MS;
    return this.#refuse(tag, count + 1, text, nowMs, isFault ? Math.min(FAULT_RETEST_MS, waitMs) : waitMs);
  }

  /** The same for a tag that was readable before: that it is refused may be over soon. */
  refuseForNow(tag: string, text: string, nowMs: number, isFault = false): Refusal {
    const sinceMs = this.refusals.get(tag)?.sinceMs ?? nowMs;
    if (this.#countOf(tag) > 0 || nowMs - sinceMs >= LASTING_MS)
      return this.refuse(tag, text, nowMs, isFault);
    return this.#refuse(tag, 0, text, nowMs, Math.max(SOON_MS, (nowMs - sinceMs) * SOON_SHARE));
  }

  #countOf(tag: string): number {
    return this.refusals.get(tag)?.count ?? this.#pardoned.get(tag) ?? 0;
  }

  #refuse(tag: string, count: number, text: string, nowMs: number, waitMs: number): Refusal {
    const sinceMs = this.refusals.get(tag)?.sinceMs ?? nowMs;
    const refusal = { tag, count, sinceMs, retestAtMs: nowMs + waitMs, text };
    this.#refusals.set(tag, refusal);
    this.version += 1;
    return refusal;
  }

  /** A refused tag was answered; false when it was not refused. */
  pardon(tag: string): boolean {
    this.#pardoned.delete(tag);
    const wasRefused = this.#refusals.delete(tag);
    if (wasRefused) this.version += 1;
    return wasRefused;
  }

  /** All are asked again together; those that are still refused then are asked as rarely as before. */
  pardonAll(): void {
    for (const { tag, count } of this.refusals.values()) this.#pardoned.set(tag, count);
    this.#refusals.clear();
    this.version += 1;
  }

  /** Drops what was learned long ago by joined reads; true when something was dropped. */
  forgetOld(nowMs: number): boolean {
    const holeCount = this.#holes.length;
    this.#holes = this.#holes.filter((hole) => nowMs - hole.foundAtMs < FORGET_MS);
    const hasLimit = this.registersMax !== Infinity || this.bitsMax !== Infinity;
    const isLimitOld = hasLimit && nowMs - this.#limitsAtMs >= FORGET_MS;
    if (isLimitOld) {
      this.registersMax = Infinity;
      this.bitsMax = Infinity;
    }
    const isForgotten = isLimitOld || this.#holes.length < holeCount;
    if (isForgotten) this.version += 1;
    return isForgotten;
  }

  toRecord(device: Device, nowMs: number): KnowledgeRecord {
    // A map knows no walls.
    const holes = this.#holes.filter(({ quantity }) => quantity > 0);
    const refusals = [...this.refusals.values()].filter(({ count }) => count > 0);
    return {
      device: device.name,
      bus: device.bus.name,
      unit_id: device.unitId,
      map: device.map,
      learned_at: new Date(nowMs).toISOString(),
      ...this.#limitsRecord(),
      ...(holes.length === 0
        ? {}
        : { holes: Object.fromEntries(holes.map((hole) => [rangeText(hole), hole.foundAtMs])) }),
      ...(refusals.length === 0
        ? {}
        : {
            refused: Object.fromEntries(
              refusals.map(({ tag, count, text }) => [tag, { count, error: text }]),
            ),
          }),
      ...(this.maskWrite === null ? {} : { mask_write: this.maskWrite }),
      ...(this.responseMs === null ? {} : { response_ms: this.responseMs }),
    };
  }

  /** Takes up what a file says, if it speaks of this very device; anything odd in it is left out. */
  static fromRecord(record: unknown, device: Device, nowMs: number): Knowledge {
    const knowledge = new Knowledge();
    if (!isObject(record) || record['unit_id'] !== device.unitId || record['map'] !== device.map)
      return knowledge;
    if (record['bus'] !== device.bus.name) return knowledge;
    knowledge.#takeLimits(record['limits']);
    for (const [text, foundAtMs] of entriesOf(record['holes'])) {
      const range = parseRange(text);
      if (range !== null && typeof foundAtMs === 'number') knowledge.#holes.push({ ...range, foundAtMs });
    }
    for (const [tag, refusal] of entriesOf(record['refused'])) {
      if (!isObject(refusal) || typeof refusal['count'] !== 'number') continue;
      const count = Math.max(1, refusal['count']);
      knowledge.#refusals.set(tag, {
        tag,
        count,
        sinceMs: nowMs,
        retestAtMs: nowMs + AFTER_START_MS,
        text: String(refusal['error'] ?? ''),
      });
    }
    if (typeof record['mask_write'] === 'boolean') knowledge.maskWrite = record['mask_write'];
    const times = record['response_ms'];
    if (isObject(times) && isPositive(times['p50']) && isPositive(times['p99'])) {
      knowledge.responseMs = { p50: times['p50'], p99: times['p99'] };
    }
    return knowledge;
  }

  #limitsRecord(): Pick<KnowledgeRecord, 'limits'> {
    const { registersMax, bitsMax, isOneAtATime } = this;
    const hasMaximum = registersMax !== Infinity || bitsMax !== Infinity;
    if (!hasMaximum && !isOneAtATime) return {};
    return {
      limits: {
        ...(registersMax === Infinity ? {} : { registers: registersMax }),
        ...(bitsMax === Infinity ? {} : { bits: bitsMax }),
        ...(hasMaximum ? { found_at: this.#limitsAtMs } : {}),
        ...(isOneAtATime ? { in_flight: 1 } : {}),
      },
    };
  }

  #takeLimits(limits: unknown): void {
    if (!isObject(limits)) return;
    this.isOneAtATime = limits['in_flight'] === 1;
    if (isPositive(limits['registers'])) this.registersMax = limits['registers'];
    if (isPositive(limits['bits'])) this.bitsMax = limits['bits'];
    if (isPositive(limits['found_at'])) this.#limitsAtMs = limits['found_at'];
  }
}

function rangeText({ table, address, quantity }: Range): string {
  return `${TABLE_WORDS[table]}:${address}${quantity > 1 ? `-${address + quantity - 1}` : ''}`;
}

function parseRange(text: string): Range | null {
  const match = /^(\w+):(\d{1,5})(?:-(\d{1,5}))?$/.exec(text);
  const table = Object.entries(TABLE_WORDS).find(([, word]) => word === match?.[1])?.[0];
  if (match === null || table === undefined) return null;
  const first = Number(match[2]);
  const last = match[3] === undefined ? first : Number(match[3]);
  // The key of TABLE_WORDS that was found is a Table.
  return last < first ? null : { table: table as Table, address: first, quantity: last - first + 1 };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

function entriesOf(value: unknown): [string, unknown][] {
  return isObject(value) ? Object.entries(value) : [];
}

function isPositive(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value > 0;
}
