/**
 * The last answers of a bus's units as bytes, for other masters that may have what was read a moment ago. A question
 * is answered from one answer or not at all, so that no value is put together from two readings. Bounded: each unit
 * keeps as many answers as reads of it are usual.
 */
import { partOf } from '../modbus/bytes.js';
import { isBitTable, type Table } from '../modbus/protocol.js';

interface Reading {
  readonly table: Table;
  readonly address: number;
  readonly end: number;
  readonly data: Uint8Array;
  readonly sentAtMs: number;
}

/** Of one unit; the oldest gives way. */
const READINGS_MAX = 64;

export class Image {
  /** By unit identifier, then by what was asked. */
  readonly #readings = new Map<number, Map<string, Reading>>();
  /** When a write of the unit was last under way: what was asked before may be older than that write. */
  readonly #changedAtMs = new Map<number, number>();

  /** Keeps an answer; sentAtMs is when it was asked for, so that its age is never taken for less. */
  keep(
    unitId: number,
    table: Table,
    address: number,
    quantity: number,
    data: Uint8Array,
    sentAtMs: number,
  ): void {
    if (sentAtMs <= (this.#changedAtMs.get(unitId) ?? -Infinity)) return;
    let readings = this.#readings.get(unitId);
    if (readings === undefined) this.#readings.set(unitId, (readings = new Map()));
    const key = `${table} ${address} ${quantity}`;
    readings.delete(key);
    readings.set(key, { table, address, end: address + quantity, data: data.slice(), sentAtMs });
    if (readings.size <= READINGS_MAX) return;
    const [oldest] = readings.keys();
    if (oldest !== undefined) readings.delete(oldest);
  }

  /** Something was written: any register of the unit may have changed. */
  forget(unitId: number, nowMs: number): void {
    this.#readings.delete(unitId);
    this.#changedAtMs.set(unitId, nowMs);
  }

  /** What a read would have been answered with not before sinceMs; null: not known. */
  read(unitId: number, table: Table, address: number, quantity: number, sinceMs: number): Uint8Array | null {
    let newest: Reading | null = null;
    for (const reading of this.#readings.get(unitId)?.values() ?? []) {
      if (reading.table !== table || reading.address > address || reading.end < address + quantity) continue;
      if (reading.sentAtMs >= (newest?.sentAtMs ?? sinceMs)) newest = reading;
    }
    return newest === null
      ? null
      : partOf(newest.data, isBitTable(table), address - newest.address, quantity);
  }
}
