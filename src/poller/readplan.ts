/**
 * Tags -> the cheapest read requests. For each device, table and period the minimum-cost partition of the asked
 * addresses is found by dynamic programming: filler registers are read where they cost less than another request.
 * Values are never torn across requests, consistent groups stay in one, limits and forbidden addresses always hold.
 * Pure: the pollers run by it, and `holdfast check` prints it.
 */
import { fastestOf, type Device, type Tag, type WriteStep } from '../config/plant.js';
import type { Table } from '../modbus/protocol.js';
import { costOf, type ReadCost } from './linecost.js';
import { NOTHING_LEARNED, Terrain, type Learned } from './terrain.js';

export interface ReadRequest {
  readonly device: Device;
  readonly table: Table;
  readonly address: number;
  readonly quantity: number;
  /** 0: once, when the device comes up. */
  readonly intervalMs: number;
  /** What has to be written first; null: nothing. */
  readonly select: WriteStep | null;
  /** In the order of their addresses. */
  readonly tags: readonly Tag[];
  readonly costMs: number;
}

export interface ReadPlan {
  readonly requests: readonly ReadRequest[];
  /** Tags that no request within the limits can read. */
  readonly unreadable: readonly Tag[];
  /** Groups too wide for one request: their tags are read apart. */
  readonly torn: readonly string[];
}

/** What must not be cut: one tag, or a consistent group. */
interface Atom {
  readonly from: number;
  readonly to: number;
  readonly intervalMs: number;
  readonly tags: readonly Tag[];
}

/** Plans one device's tags. */
export function planReads(
  device: Device,
  tags: readonly Tag[],
  cost: ReadCost,
  learned: Learned = NOTHING_LEARNED,
): ReadPlan {
  const requests: ReadRequest[] = [];
  const unreadable: Tag[] = [];
  const torn: string[] = [];
  const read = tags.filter(({ formula }) => formula === null);
  for (const ofPage of groupBy(read, placeOf).values()) {
    const [{ table, select }] = ofPage;
    const terrain = new Terrain(device, table, learned);
    const atoms = atomsOf(ofPage, terrain, unreadable, torn);
    // Turning to a page is a request of its own.
    const turnMs = select === null ? 0 : costOf(cost, table, select.values.length);
    for (const [intervalMs, ofClass] of groupBy(atoms, (atom) => atom.intervalMs)) {
      for (const part of partition(ofClass, terrain, (quantity) => turnMs + costOf(cost, table, quantity))) {
        requests.push({ device, table, intervalMs, select, ...part });
      }
    }
  }
  return { requests, unreadable, torn };
}

/** Tags of one table and page can share a request. */
function placeOf({ table, select }: Tag): string {
  return select === null ? table : `${table} ${pageOf(select)}`;
}

/** A page's name: equal for equal pages. */
export function pageOf({ table, address, values }: WriteStep): string {
  return `${table} ${address} ${values.join(' ')}`;
}

/** Tags and groups as spans, sorted by address; what fits no request is set aside. */
function atomsOf(tags: readonly Tag[], terrain: Terrain, unreadable: Tag[], torn: string[]): Atom[] {
  const atoms: Atom[] = [];
  const single = (tag: Tag, intervalMs = tag.intervalMs): void => {
    const to = tag.address + tag.quantity;
    if (terrain.fit(tag.address, to) === null) unreadable.push(tag);
    else atoms.push({ from: tag.address, to, intervalMs, tags: [tag] });
  };
  const byIndex = new Map(tags.map((tag) => [tag.index, tag]));
  const scaleTags = new Set(tags.flatMap((tag) => tag.scaleFrom?.tag ?? []));
  for (const [group, members] of groupBy(tags, (tag) => groupOf(tag, scaleTags, byIndex))) {
    if (group === null) {
      for (const tag of members) single(tag);
      continue;
    }
    const from = Math.min(...members.map((tag) => tag.address));
    const to = Math.max(...members.map((tag) => tag.address + tag.quantity));
    const intervalMs = fastestOf(members.map((tag) => tag.intervalMs));
    if (terrain.fit(from, to) === null) {
      torn.push(group);
      for (const tag of members) single(tag, intervalMs);
    } else {
      atoms.push({ from, to, intervalMs, tags: members });
    }
  }
  return atoms.sort((a, b) => a.from - b.from || a.to - b.to);
}

/** Tags that belong into one request: a consistent group, or a scale register with the values it scales. */
function groupOf(tag: Tag, scaleTags: ReadonlySet<number>, byIndex: ReadonlyMap<number, Tag>): string | null {
  if (tag.group !== null) return tag.group;
  if (tag.scaleFrom === null) return scaleTags.has(tag.index) ? `scale ${tag.index}` : null;
  // A scale may have one of its own: those of one chain belong together.
  let scale = tag;
  for (let next: Tag | undefined = tag; next !== undefined; next = scaleOf(scale, byIndex)) scale = next;
  return `scale ${scale.scaleFrom?.tag ?? scale.index}`;
}

function scaleOf({ scaleFrom }: Tag, byIndex: ReadonlyMap<number, Tag>): Tag | undefined {
  return scaleFrom === null ? undefined : byIndex.get(scaleFrom.tag);
}

type Part = Pick<ReadRequest, 'address' | 'quantity' | 'tags' | 'costMs'>;

/**
 * best[j] is the least cost of reading the first j atoms, cut[j] where its last request begins. Spans only grow while
 * looking back, so the search ends at the longest request: O(n x longest).
 */
function partition(atoms: readonly Atom[], terrain: Terrain, costFor: (quantity: number) => number): Part[] {
  const best = new Float64Array(atoms.length + 1).fill(Infinity);
  const cut = new Int32Array(atoms.length + 1);
  best[0] = 0;
  for (let j = 1; j <= atoms.length; j += 1) {
    let to = 0;
    for (let i = j - 1; i >= 0; i -= 1) {
      const atom = at(atoms, i);
      to = Math.max(to, atom.to);
      if (to - atom.from > terrain.max) break;
      const span = terrain.fit(atom.from, to);
      if (span === null) continue;
      const cost = at(best, i) + costFor(span.quantity);
      if (cost >= at(best, j)) continue;
      best[j] = cost;
      cut[j] = i;
    }
  }
  const parts: Part[] = [];
  for (let j = atoms.length; j > 0;) {
    const i = at(cut, j);
    parts.push(partOf(atoms.slice(i, j), terrain, costFor));
    j = i;
  }
  return parts.reverse();
}

function partOf(atoms: readonly Atom[], terrain: Terrain, costFor: (quantity: number) => number): Part {
  const span = terrain.fit(at(atoms, 0).from, Math.max(...atoms.map((atom) => atom.to)));
  if (span === null) throw new Error('a chosen request must fit');
  const tags = atoms.flatMap((atom) => atom.tags).sort((a, b) => a.address - b.address);
  return { ...span, tags, costMs: costFor(span.quantity) };
}

/** What a bus has to carry. */
export interface BusLoad {
  readonly requestCount: number;
  /** Every request once. */
  readonly cycleMs: number;
  /** Share of time that is asked for: above 1 the line cannot keep up. */
  readonly utilisation: number;
}

export function loadOf(requests: readonly ReadRequest[]): BusLoad {
  let cycleMs = 0;
  let utilisation = 0;
  for (const { costMs, intervalMs } of requests) {
    cycleMs += costMs;
    if (intervalMs > 0) utilisation += costMs / intervalMs;
  }
  return { requestCount: requests.length, cycleMs, utilisation };
}

function groupBy<T, K>(items: readonly T[], keyOf: (item: T) => K): Map<K, [T, ...T[]]> {
  const groups = new Map<K, [T, ...T[]]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return groups;
}

function at<T>(items: ArrayLike<T>, index: number): T {
  const item = items[index];
  if (item === undefined) throw new RangeError(`no item ${index}`);
  return item;
}
