/**
 * Which work of one bus is due next: earliest deadline first, where the deadline is the due time plus the work's
 * period, but never more than the time that everything takes once, and its handicap. So short periods go first, and yet
 * whatever falls due is served within twice the sum of all costs and its handicap. Overload serves late and never queues
 * up: work is due once, not once for each period missed.
 */

/** Something to do again and again. The schedule owns the fields that change. */
export interface Work {
  /** 0: once, each time it is asked for. */
  readonly intervalMs: number;
  readonly costMs: number;
  /** What it cost when it was put in. */
  countedMs: number;
  /** What it may keep others waiting for beyond its cost: its deadline is so much later. */
  readonly handicapMs: number;
  dueMs: number;
  deadlineMs: number;
  /** Position in its heap, or -1 when it is in none. */
  slot: number;
  isReady: boolean;
}

/** A binary heap that knows where each item stands, so that any of them can be taken out. */
class Heap<W extends Work> {
  readonly items: W[] = [];
  readonly #keyOf: (work: W) => number;

  constructor(keyOf: (work: W) => number) {
    this.#keyOf = keyOf;
  }

  get first(): W | undefined {
    return this.items[0];
  }

  add(work: W): void {
    this.items.push(work);
    this.#rise(work, this.items.length - 1);
  }

  remove(work: W): void {
    const at = work.slot;
    const last = this.items.pop();
    work.slot = -1;
    if (last === undefined || last === work) return;
    this.#rise(last, at);
    this.#sink(last, last.slot);
  }

  #rise(work: W, from: number): void {
    let at = from;
    while (at > 0) {
      const parent = this.items[(at - 1) >> 1];
      if (parent === undefined || this.#keyOf(parent) <= this.#keyOf(work)) break;
      this.#put(parent, at);
      at = (at - 1) >> 1;
    }
    this.#put(work, at);
  }

  #sink(work: W, from: number): void {
    let at = from;
    for (;;) {
      let child = this.items[2 * at + 1];
      if (child === undefined) break;
      const right = this.items[2 * at + 2];
      if (right !== undefined && this.#keyOf(right) < this.#keyOf(child)) child = right;
      if (this.#keyOf(work) <= this.#keyOf(child)) break;
      const next = child.slot;
      this.#put(child, at);
      at = next;
    }
    this.#put(work, at);
  }

  #put(work: W, at: number): void {
    this.items[at] = work;
    work.slot = at;
  }
}

export class Schedule<W extends Work> {
  readonly #waiting = new Heap<W>((work) => work.dueMs);
  readonly #ready = new Heap<W>((work) => work.deadlineMs);
  #sumOfCostsMs = 0;

  /** Work that is due but not yet served. */
  get readyCount(): number {
    return this.#ready.items.length;
  }

  /** All work that is in. */
  *[Symbol.iterator](): IterableIterator<W> {
    yield* this.#waiting.items;
    yield* this.#ready.items;
  }

  /** What serving everything once takes. */
  get sumOfCostsMs(): number {
    return this.#sumOfCostsMs;
  }

  /** Puts work in, due at its dueMs. */
  add(work: W): void {
    if (work.slot >= 0) return;
    work.countedMs = work.costMs;
    this.#sumOfCostsMs += work.countedMs;
    work.isReady = false;
    this.#waiting.add(work);
  }

  /** Takes work out; does nothing when it is not in. */
  remove(work: W): void {
    if (work.slot < 0) return;
    (work.isReady ? this.#ready : this.#waiting).remove(work);
    work.isReady = false;
    this.#sumOfCostsMs -= work.countedMs;
  }

  /** The work to serve now; it stays in until it is taken with remove(). */
  next(nowMs: number): W | undefined {
    for (let work = this.#waiting.first; work !== undefined && work.dueMs <= nowMs;) {
      this.#waiting.remove(work);
      work.isReady = true;
      work.deadlineMs = work.dueMs + Math.min(work.intervalMs, this.#sumOfCostsMs) + work.handicapMs;
      this.#ready.add(work);
      work = this.#waiting.first;
    }
    return this.#ready.first;
  }

  /** When the next work falls due; Infinity when there is none. */
  nextDueMs(nowMs: number): number {
    return this.#ready.first === undefined ? (this.#waiting.first?.dueMs ?? Infinity) : nowMs;
  }
}

/**
 * When work is due again whose service ended at endedMs: at the next point of its grid of periods, or at once when
 * that has passed. `missed` counts the points that were passed over. Never due before its end: so whatever waited
 * meanwhile comes first, and nothing starves.
 */
export function nextDue(
  work: Work,
  dueMs: number,
  endedMs: number,
): { readonly dueMs: number; readonly missed: number } {
  const next = dueMs + work.intervalMs;
  if (next >= endedMs) return { dueMs: next, missed: 0 };
  // Late by whole periods: due again from now on, so that lateness is never made up by a burst.
  return { dueMs: endedMs, missed: Math.floor((endedMs - next) / work.intervalMs) };
}

const GOLDEN_RATIO = 0.6180339887498949;

/** Where in its period the work of the nth device falls: any run of devices is spread evenly (a golden-ratio sequence). */
export function phaseOf(n: number, intervalMs: number): number {
  return ((n * GOLDEN_RATIO) % 1) * intervalMs;
}

/** Into so many moments of a period the reads of a fleet are gathered. */
const MOMENTS = 10;

/**
 * The next of the moments that all links of a thread share: devices that fall due together are asked in one turn of
 * the loop, at a fraction of what as many turns cost.
 */
export function momentAfter(atMs: number, intervalMs: number): number {
  const stepMs = intervalMs / MOMENTS;
  return Math.ceil(atMs / stepMs) * stepMs;
}
