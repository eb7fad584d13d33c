/**
 * How a refused request teaches: it is halved at its widest gap until the culprit is found. A refused single tag is
 * remembered and asked again rarely; a gap that may not be read over becomes a hole; halves that are both accepted
 * with no gap between them show that the device takes fewer registers at once.
 */
import { isBitTable } from '../modbus/protocol.js';
import { costOf } from './linecost.js';
import type { TagState } from './report.js';
import type { Terrain } from './terrain.js';
import { Block, type Split } from './unit.js';

/** Cuts a block with several tags in two, in the middle or at its widest gap; null when no cut leaves readable halves. */
export function halve(block: Block, inTheMiddle: boolean): [Block, Block] | null {
  const { unit, table, states } = block;
  const terrain = unit.terrain(table);
  const place = inTheMiddle ? { at: states.length >> 1, gapFrom: 0, gapTo: 0 } : bestCut(states);
  const halves = [states.slice(0, place.at), states.slice(place.at)].map((part) =>
    blockOf(block, part, terrain),
  );
  const [left, right] = halves;
  if (left === undefined || right === undefined || left === null || right === null) return null;
  const split: Split = {
    table,
    halfQuantity: Math.max(left.quantity, right.quantity),
    gapFrom: place.gapFrom,
    gapTo: place.gapTo,
    goodCount: 0,
  };
  left.split = split;
  right.split = split;
  return [left, right];
}

/** The widest gap between tags; where there is none, the middle. */
function bestCut(states: readonly TagState[]): { at: number; gapFrom: number; gapTo: number } {
  let end = 0;
  let best = { at: states.length >> 1, gapFrom: 0, gapTo: 0 };
  for (const [at, { tag }] of states.entries()) {
    if (at > 0 && tag.address - end > best.gapTo - best.gapFrom) {
      best = { at, gapFrom: end, gapTo: tag.address };
    }
    end = Math.max(end, tag.address + tag.quantity);
  }
  return best;
}

function blockOf(parent: Block, states: readonly TagState[], terrain: Terrain): Block | null {
  const from = Math.min(...states.map(({ tag }) => tag.address));
  const to = Math.max(...states.map(({ tag }) => tag.address + tag.quantity));
  const span = terrain.fit(from, to);
  if (span === null) return null;
  const { unit, table, intervalMs, select } = parent;
  const costMs = costOf(unit.cost, table, span.quantity);
  return new Block(
    unit,
    {
      device: unit.device,
      table,
      ...span,
      intervalMs,
      select,
      tags: states.map(({ tag }) => tag),
      costMs,
    },
    states,
  );
}

/** A half was accepted; true when both were, and knowledge grew. */
export function accepted(block: Block, nowMs: number): boolean {
  const { split, unit } = block;
  if (split === null) return false;
  block.split = null;
  split.goodCount += 1;
  if (split.goodCount < 2) return false;
  const { table, gapFrom, gapTo } = split;
  if (gapTo > gapFrom) {
    unit.knowledge.learnHole({ table, address: gapFrom, quantity: gapTo - gapFrom }, nowMs);
  } else {
    unit.knowledge.learnMaximum(isBitTable(table), split.halfQuantity, nowMs);
  }
  return true;
}
