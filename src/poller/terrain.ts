/**
 * What one table of one device lets be read in one request: limits of length and alignment, and which addresses are
 * out of bounds, whether the map says so or the device taught it.
 */
import type { Device, Range } from '../config/plant.js';
import { isBitTable, QUANTITY_MAX, type Table } from '../modbus/protocol.js';

const ADDRESS_END = 65536;

/** What a device taught beyond its map. */
export interface Learned {
  /** The most registers and bits of one read that it accepts. */
  readonly registersMax: number;
  readonly bitsMax: number;
  /** Addresses that must not be part of any joined read; an empty range is a wall that no read may cross. */
  readonly holes: readonly Range[];
}

export const NOTHING_LEARNED: Learned = { registersMax: Infinity, bitsMax: Infinity, holes: [] };

export interface Span {
  readonly address: number;
  readonly quantity: number;
}

export class Terrain {
  readonly max: number;
  readonly #min: number;
  readonly #align: number;
  readonly #fromZero: boolean;
  /** Sorted and disjoint: [from, to) pairs that no request may touch. */
  readonly #blocked: [number, number][];

  constructor(device: Device, table: Table, learned: Learned = NOTHING_LEARNED) {
    const { limits } = device;
    const bits = isBitTable(table);
    this.max = bits
      ? Math.min(QUANTITY_MAX.readBits, limits.bits, learned.bitsMax)
      : Math.min(QUANTITY_MAX.readRegisters, limits.registers, learned.registersMax);
    this.#min = bits ? 1 : Math.max(1, limits.registersMin);
    this.#align = bits ? 1 : Math.max(1, limits.align);
    this.#fromZero = bits && limits.bitsFromZero;
    const readable = device.readable.filter((range) => range.table === table);
    this.#blocked = merge([
      ...[...device.forbidden, ...learned.holes].filter((range) => range.table === table).map(ends),
      ...(device.readable.length === 0 ? [] : outside(readable.map(ends))),
    ]);
  }

  /** The request that covers [from, to): aligned, long enough, touching nothing out of bounds; null when there is none. */
  fit(from: number, to: number): Span | null {
    const align = this.#align;
    let start = this.#fromZero ? 0 : from - (from % align);
    let end = Math.ceil(to / align) * align;
    const missing = Math.ceil(Math.max(0, this.#min - (end - start)) / align) * align;
    if (missing > 0) {
      // A short read is lengthened forwards; backwards where something is in the way.
      if (this.#allows(start, end + missing)) end += missing;
      else start -= missing;
    }
    if (end - start > this.max || !this.#allows(start, end)) return null;
    return { address: start, quantity: end - start };
  }

  #allows(from: number, to: number): boolean {
    if (from < 0 || to > ADDRESS_END) return false;
    const blocked = this.#blocked;
    let low = 0;
    let high = blocked.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((blocked[middle]?.[1] ?? Infinity) > from) high = middle;
      else low = middle + 1;
    }
    return (blocked[low]?.[0] ?? Infinity) >= to;
  }
}

function ends(range: Range): [number, number] {
  return [range.address, range.address + range.quantity];
}

function merge(pairs: [number, number][]): [number, number][] {
  const merged: [number, number][] = [];
  for (const [from, to] of pairs.filter(([a, b]) => b >= a).sort((a, b) => a[0] - b[0])) {
    const last = merged.at(-1);
    if (last !== undefined && from <= last[1]) last[1] = Math.max(last[1], to);
    else merged.push([from, to]);
  }
  return merged;
}

function outside(pairs: [number, number][]): [number, number][] {
  const gaps: [number, number][] = [];
  let from = 0;
  for (const [start, end] of merge(pairs)) {
    gaps.push([from, start]);
    from = end;
  }
  gaps.push([from, ADDRESS_END]);
  return gaps;
}
