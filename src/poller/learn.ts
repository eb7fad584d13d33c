/**
 * How a refused request teaches: it is halved at its widest gap until the culprit is found. A refused single tag is
 * remembered and asked again rarely. Halves that are both accepted lead to two questions. Is the gap between them
 * refused? Then it is a hole. Is the whole still refused? Then it is too long, or, where as much is read elsewhere,
 * the device lets no read cross that place.
 */
import { isBitTable } from '../modbus/protocol.js';
import { costOf } from './linecost.js';
import type { TagState } from './report.js';
import type { Terrain } from './terrain.js';
import { Block, type Split, type Unit } from './unit.js';

/** Cuts a block with several tags in two, in the middle or at its widest gap. What no read fits is cut further, or left out. */
export function halve(block: Block, inTheMiddle: boolean, isSilent: boolean): Block[] {
  const { unit, table, states } = block;
  const terrain = unit.terrain(table);
  const cut = cutOf(block, inTheMiddle, isSilent);
  const left = readable(block, states.slice(0, cut.at), terrain);
  const right = readable(block, states.slice(cut.at), terrain);
  const isPair = left.length === 1 && right.length === 1;
  const parts = [...left, ...right];
  const halfQuantity = Math.max(0, ...parts.map(({ quantity }) => quantity));
  const gap = gapOf(block, cut);
  const split: Split = { whole: block, at: cut.at, ...gap, isPair, halfQuantity, isSilent, goodCount: 0 };
  for (const part of parts) part.split = split;
  return parts;
}

interface Cut {
  readonly at: number;
  readonly gapFrom: number;
  readonly gapTo: number;
}

/** The widest gap between tags, of equal ones that nearest the middle; where there is no gap, the middle. */
function cutOf(block: Block, inTheMiddle: boolean, isSilent: boolean): Cut {
  const middle = block.states.length >> 1;
  const cuts = cutsOf(block.states).sort((a, b) => Math.abs(a.at - middle) - Math.abs(b.at - middle));
  const widthMax = Math.max(...cuts.map(widthOf));
  const widest = inTheMiddle ? cuts : cuts.filter((cut) => widthOf(cut) === widthMax);
  const [nearest = { at: middle, gapFrom: 0, gapTo: 0 }] = widest;
  if (!isSilent) return nearest;
  // Where no transaction identifier tells answers apart, the silence of one part holds back all that are as long.
  return widest.slice(0, Math.ceil(widest.length / 2)).find(unlikeOthers(block)) ?? nearest;
}

/** The gap, if there is anything in it that no tag asks for. */
function gapOf({ unit, table }: Block, { gapFrom, gapTo }: Cut): Pick<Split, 'gapFrom' | 'gapTo'> {
  const gap = { table, address: gapFrom, quantity: gapTo - gapFrom };
  return unit.unasked(gap).length > 0 ? { gapFrom, gapTo } : { gapFrom: 0, gapTo: 0 };
}

function widthOf({ gapFrom, gapTo }: Cut): number {
  return gapTo - gapFrom;
}

/** Every place between two tags. */
function cutsOf(states: readonly TagState[]): Cut[] {
  const cuts: Cut[] = [];
  let end = 0;
  for (const [at, { tag }] of states.entries()) {
    const isGap = tag.address > end;
    if (at > 0) cuts.push({ at, gapFrom: isGap ? end : 0, gapTo: isGap ? tag.address : 0 });
    end = Math.max(end, tag.address + tag.quantity);
  }
  return cuts;
}

/** Whether a cut makes parts of lengths that no other read of the unit has. */
function unlikeOthers({ unit, table, states, address, end }: Block): (cut: Cut) => boolean {
  const lengthOf = (quantity: number): number => (isBitTable(table) ? Math.ceil(quantity / 8) : quantity);
  const others = unit.blocks.filter((other) => other.table === table);
  const taken = new Set(others.map(({ quantity }) => lengthOf(quantity)));
  return ({ at, gapFrom }) => {
    const from = states[at]?.tag.address ?? end;
    const left = lengthOf((gapFrom === 0 ? from : gapFrom) - address);
    const right = lengthOf(end - from);
    return left !== right && !taken.has(left) && !taken.has(right);
  };
}

function readable(parent: Block, states: readonly TagState[], terrain: Terrain): Block[] {
  const block = blockOf(parent, states, terrain);
  if (block !== null) return [block];
  if (states.length < 2) return [];
  const middle = states.length >> 1;
  return [
    ...readable(parent, states.slice(0, middle), terrain),
    ...readable(parent, states.slice(middle), terrain),
  ];
}

function blockOf(parent: Block, states: readonly TagState[], terrain: Terrain): Block | null {
  const from = Math.min(...states.map(({ tag }) => tag.address));
  const to = Math.max(...states.map(({ tag }) => tag.address + tag.quantity));
  const span = terrain.fit(from, to);
  if (span === null) return null;
  const { unit, table, intervalMs, select } = parent;
  const costMs = costOf(unit.cost, table, span.quantity);
  const block = new Block(
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
  block.wasGood = parent.wasGood;
  return block;
}

/** A part on trial was accepted: what is to be asked next; null: nothing, or it is learned. */
export function questionAfter(block: Block, nowMs: number): Block | null {
  const { split, about } = block;
  block.split = null;
  if (split === null || about === 'whole') return null;
  // Where a part was refused that is why the whole was.
  if (about === 'gap') return split.goodCount < 2 ? null : ask(split, 'whole');
  split.goodCount += 1;
  if (!split.isPair || split.goodCount < 2) return null;
  // Each question to what is silent costs a timeout or more; once may be chance.
  if (split.isSilent && split.whole.silences > 1)
    learnFrom(split, split.gapTo > split.gapFrom ? 'gap' : 'whole', nowMs);
  else if (split.gapTo === split.gapFrom) return ask(split, 'whole');
  else {
    const question = ask(split, 'gap');
    // A read across a wide gap may be too long itself.
    if (question !== null && question.quantity <= split.halfQuantity) return question;
    learnFrom(split, 'gap', nowMs);
  }
  return null;
}

/** The read that tells whether a gap is refused though a part beside it was; null: there is none, or it says nothing. */
export function questionOfGap(split: Split): Block | null {
  const question = ask(split, 'gap');
  if (question === null || question.quantity > split.halfQuantity) return null;
  const { gapFrom, gapTo } = split;
  const isAcross = question.address < gapFrom && question.end > gapTo;
  return isAcross ? question : null;
}

/** A question was refused. */
export function learn(block: Block, nowMs: number): void {
  const { split, about } = block;
  block.split = null;
  if (split !== null && about !== 'half') learnFrom(split, about, nowMs);
}

/** The read that tells whether the gap, or the whole, is still refused; null when there is none any more. */
function ask(split: Split, about: 'gap' | 'whole'): Block | null {
  const { whole, gapFrom, gapTo } = split;
  const states =
    about === 'whole'
      ? whole.states
      : whole.states.filter(
          ({ tag }) =>
            (tag.address + tag.quantity === gapFrom || tag.address === gapTo) &&
            !whole.unit.knowledge.refusals.has(tag.name),
        );
  if (states.length === 0) return null;
  const question = blockOf(whole, states, whole.unit.terrain(whole.table));
  if (question === null) return null;
  question.split = split;
  question.about = about;
  return question;
}

function learnFrom(split: Split, about: 'gap' | 'whole', nowMs: number): void {
  const { whole, at, gapFrom, gapTo } = split;
  const { unit, table } = whole;
  const { knowledge } = unit;
  if (about === 'gap') {
    const gap = { table, address: gapFrom, quantity: gapTo - gapFrom };
    for (const hole of unit.unasked(gap)) knowledge.learnHole(hole, nowMs);
    return;
  }
  const isBits = isBitTable(table);
  const longest = longestRead(unit, isBits);
  const address = whole.states[at]?.tag.address ?? 0;
  const isCrossed = whole.states.slice(0, at).some(({ tag }) => tag.address + tag.quantity > address);
  if (split.isSilent || isCrossed || whole.quantity > longest)
    return knowledge.learnMaximum(isBits, Math.max(split.halfQuantity, longest), nowMs);
  knowledge.learnHole({ table, address, quantity: 0 }, nowMs);
}

/** The most that this unit has answered at once, of what is read from it now. */
function longestRead(unit: Unit, isBits: boolean): number {
  let longest = 0;
  for (const { table, quantity, wasGood, refusals, split } of unit.blocks) {
    const isAnswered = wasGood && refusals === 0 && split === null;
    if (isAnswered && isBitTable(table) === isBits) longest = Math.max(longest, quantity);
  }
  return longest;
}
