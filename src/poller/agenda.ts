/**
 * Blocks in and out of a bus's schedule: when a block is due again after it was read or failed, what is read once,
 * and which neighbours ride along in one request.
 */
import type { Table } from '../modbus/protocol.js';
import { costOf } from './linecost.js';
import type { TagState } from './report.js';
import { momentAfter, nextDue, phaseOf, Schedule } from './schedule.js';
import type { Statistics } from './statistics.js';
import type { Span } from './terrain.js';
import type { Block, Unit } from './unit.js';

/** Neighbours ride along when they fall due within this share of their period. */
const RIDE_SHARE = 0.25;
/** What is read once is tried again after so long when it failed. */
const ONCE_RETRY_MS = 5000;
/** And what is read more rarely than this: its value must not be missing, or old, for an hour because of a moment. */
const RARE_RETRY_MS = 60_000;

export class Agenda {
  readonly schedule = new Schedule<Block>();
  readonly #statistics: Statistics;
  /** Several devices may be asked at once, so that moments are shared with other links. */
  readonly #isShared: boolean;

  constructor(statistics: Statistics, isShared: boolean) {
    this.#statistics = statistics;
    this.#isShared = isShared;
  }

  /** Puts a block in for its next turn. */
  again(block: Block, nowMs: number, isRead: boolean): void {
    const { unit } = block;
    if (unit.breaker.isOpen || !unit.blocks.includes(block)) return;
    if (block.intervalMs === 0) {
      if (!isRead) this.at(block, nowMs + ONCE_RETRY_MS);
      return;
    }
    if (!isRead && block.intervalMs > RARE_RETRY_MS) return this.at(block, nowMs + RARE_RETRY_MS);
    if (block.isUnplaced) {
      // The first read, or the first after a pause, came at once; from now on each device keeps its own place in the period.
      block.isUnplaced = false;
      const atMs = nowMs + phaseOf(unit.device.index + 1, block.intervalMs);
      block.gridMs = this.#isShared ? momentAfter(atMs, block.intervalMs) : atMs;
    } else {
      const next = nextDue(block, block.gridMs, nowMs);
      block.gridMs = next.dueMs;
      this.#statistics.missed += next.missed;
    }
    block.dueMs = block.gridMs;
    this.schedule.add(block);
  }

  /** Puts a block in for that time, off its grid. */
  at(block: Block, atMs: number): void {
    if (block.unit.breaker.isOpen) return;
    block.dueMs = atMs;
    this.schedule.add(block);
  }

  /** A block that was never in is due now. */
  enter(block: Block, nowMs: number): void {
    block.dueMs = nowMs;
    block.gridMs = nowMs;
    this.schedule.add(block);
  }

  /** Everything of a unit is due now, and has its own place in the period again afterwards. */
  allDue(unit: Unit, nowMs: number): void {
    // On a line that cannot keep up it would else wait for everything that is due already.
    const sinceMs = nowMs - this.schedule.sumOfCostsMs;
    for (const block of unit.blocks) {
      if (block.isUnderWay) continue;
      // What is read rarely had its next turn already: its value is gone now, and not in an hour.
      this.schedule.remove(block);
      block.dueMs = sinceMs;
      block.gridMs = nowMs;
      block.isUnplaced = true;
      this.schedule.add(block);
    }
  }

  /** What could not be read for a period or more takes its own place in the period anew: many devices may be back at once. */
  spread(unit: Unit, nowMs: number): void {
    for (const block of unit.blocks)
      if (block.intervalMs > 0 && block.gridMs + block.intervalMs < nowMs) block.isUnplaced = true;
  }

  /** Nothing of a unit is due any more. */
  noneDue(unit: Unit): void {
    for (const block of unit.blocks) this.schedule.remove(block);
  }

  /** Reads some tags of a unit once, now. */
  readOnce(unit: Unit, states: readonly TagState[], nowMs: number): void {
    for (const block of unit.planOnce(states, 0)) this.enter(block, nowMs);
  }

  /** What was read by itself, and was not to be had, is read in its own request before long, however rarely that is due. */
  soon(unit: Unit, states: readonly TagState[], nowMs: number): void {
    const atMs = nowMs + ONCE_RETRY_MS;
    const missing = states.filter(({ value, isOutdated }) => value === null || isOutdated);
    for (const block of unit.blocks) {
      const isWaiting = block.intervalMs === 0 ? !block.isUnderWay : block.slot >= 0;
      if (!isWaiting || (block.slot >= 0 && block.dueMs <= atMs)) continue;
      if (!block.states.some((state) => missing.includes(state))) continue;
      this.schedule.remove(block);
      // The turn that it had is still its own.
      if (block.gridMs > atMs) block.gridMs -= block.intervalMs;
      this.at(block, atMs);
    }
  }

  /** Takes out the blocks beside this one that are nearly due and cheaper to read along than later by themselves. */
  takeRiders(block: Block, nowMs: number): Block[] {
    const { unit, table } = block;
    // While parts are on trial nobody knows what lies between them.
    const isAlone = unit.blocks.length < 2 || block.isTransient || unit.openSplits > 0;
    if (
      isAlone ||
      block.isDoubtful ||
      block.detour !== null ||
      block.select !== null ||
      unit.awaited !== null ||
      nowMs < unit.noRidesUntilMs
    )
      return [];
    const riders: Block[] = [];
    const terrain = unit.terrain(table);
    let span = { address: block.address, quantity: block.quantity };
    for (const other of unit.blocks) {
      if (other === block || other.table !== table || other.slot < 0 || other.split !== null) continue;
      if (other.select !== null) continue;
      if (other.isDoubtful || other.dueMs - nowMs > RIDE_SHARE * other.intervalMs) continue;
      const end = Math.max(span.address + span.quantity, other.end);
      const union = terrain.fit(Math.min(span.address, other.address), end);
      if (union === null || crossesDoubt(unit, table, union)) continue;
      const { cost } = unit;
      if (costOf(cost, table, union.quantity) - costOf(cost, table, span.quantity) >= other.costMs) continue;
      span = union;
      riders.push(other);
    }
    for (const rider of riders) this.schedule.remove(rider);
    return riders;
  }
}

/** Whether a request would hold addresses that may be the reason why nothing is answered. */
function crossesDoubt(unit: Unit, table: Table, { address, quantity }: Span): boolean {
  for (const other of unit.blocks) {
    if (
      other.isDoubtful &&
      other.table === table &&
      other.address < address + quantity &&
      other.end > address
    )
      return true;
  }
  return false;
}
