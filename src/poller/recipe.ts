/**
 * A command for a group: {"number":3,"volume":2.5} -> the registers of all of them, one after the other, for one
 * request. All is checked before anything is written, so that a device never gets half a recipe.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Tag, WriteSettings } from '../config/plant.js';
import { QUANTITY_MAX } from '../modbus/protocol.js';
import { encodeCommand, refused, type Encoded } from './encode.js';
import type { TagState } from './report.js';

/** Registers from the write address of the first tag on. */
export type EncodedRecipe =
  | (Encoded & { kind: 'registers' } & { readonly first: Tag; readonly states: readonly TagState[] })
  | (Encoded & { kind: 'refused' });

/** What a recipe orders of one tag. */
export interface Ingredient {
  readonly name: string;
  readonly state: TagState;
  readonly value: unknown;
}

interface Part {
  readonly tag: Tag;
  readonly write: WriteSettings;
  readonly registers: Uint8Array;
}

const FUNCTION_MANY = 16;

export function encodeRecipe(
  states: readonly TagState[],
  payload: Uint8Array,
  writeFunctions: readonly number[],
): EncodedRecipe {
  if (writeFunctions.length > 0 && !writeFunctions.includes(FUNCTION_MANY))
    return refused('TYPE', 'the device does not take several registers in one request (function 16)');
  const ingredients = ingredientsOf(states, payload);
  if ('kind' in ingredients) return ingredients;
  const parts: Part[] = [];
  for (const ingredient of ingredients) {
    const part = partOf(ingredient);
    if ('kind' in part) return refused(part.code, `${ingredient.name}: ${part.text}`);
    parts.push(part);
  }
  return joined(parts, ingredients);
}

/** The tags that a recipe names, and what it orders of each. */
export function ingredientsOf(
  states: readonly TagState[],
  payload: Uint8Array,
): readonly Ingredient[] | (Encoded & { kind: 'refused' }) {
  const members = membersOf(payload);
  if (members === null) return refused('TYPE', 'expected {"v":{"TAG":VALUE, ...}} with tags of the group');
  const ingredients: Ingredient[] = [];
  for (const [name, value] of members) {
    const state = states.find(({ tag }) => tag.name === name || tag.name.endsWith(`/${name}`));
    if (state === undefined) {
      const names = states.flatMap(({ tag }) => (tag.write === null ? [] : [tag.name]));
      return refused('TYPE', `the group has no tag ${name}; it has ${names.join(', ')}`);
    }
    ingredients.push({ name, state, value });
  }
  return ingredients;
}

function membersOf(payload: Uint8Array): [string, unknown][] | null {
  try {
    const value: unknown = JSON.parse(Buffer.from(payload).toString('utf8'));
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return null;
    const members = Object.entries(value);
    return members.length === 0 ? null : members;
  } catch {
    return null;
  }
}

function partOf({ state: { tag, factor }, value }: Ingredient): Part | (Encoded & { kind: 'refused' }) {
  if (typeof value === 'number' && Number.isInteger(value) && !Number.isSafeInteger(value))
    return refused('TYPE', 'is too long for a recipe to keep its digits; write the tag by itself');
  const encoded = encodeCommand(tag, Buffer.from(JSON.stringify(value)), factor);
  if (encoded.kind === 'refused') return encoded;
  if (encoded.kind !== 'registers' || tag.write === null)
    return refused('TYPE', 'is a part of a register, which cannot be in a recipe');
  // One request cannot do what only this tag wants to be done.
  if (tag.write.pulse !== null) return refused('TYPE', 'is written as a pulse; write the tag by itself');
  if (tag.write.broadcast) return refused('TYPE', 'is written to all units; write the tag by itself');
  return { tag, write: tag.write, registers: encoded.registers };
}

/** One run of registers without gaps. */
function joined(parts: readonly Part[], ingredients: readonly Ingredient[]): EncodedRecipe {
  const sorted = [...parts].sort((a, b) => a.write.address - b.write.address);
  const [first] = sorted;
  if (first === undefined) return refused('TYPE', 'has no values');
  const from = first.write.address;
  let end = from;
  for (const { tag, write, registers } of sorted) {
    const { address, functions } = write;
    if (!isDeepStrictEqual(stepsOf(write), stepsOf(first.write)))
      return refused(
        'TYPE',
        `${tag.name} has other steps around it than ${first.tag.name}; write it by itself`,
      );
    if (parts.length > 1 && functions.length > 0 && !functions.includes(FUNCTION_MANY))
      return refused('TYPE', `${tag.name} is not written by function 16; write it by itself`);
    if (address !== end) {
      const what =
        address < end
          ? 'overlaps what is before it'
          : `does not follow on what is before it (register ${end})`;
      return refused('TYPE', `${tag.name} ${what}; give all values of the group`);
    }
    end += registers.length / 2;
  }
  if (end - from > QUANTITY_MAX.writeRegisters)
    return refused(
      'RANGE',
      `takes ${end - from} registers, one request writes ${QUANTITY_MAX.writeRegisters}`,
    );
  const registers = Buffer.concat(sorted.map((part) => part.registers));
  return {
    kind: 'registers',
    first: first.tag,
    states: ingredients.map(({ state }) => state),
    registers,
    json: JSON.stringify(Object.fromEntries(ingredients.map(({ name, value }) => [name, value]))),
  };
}

/** What is written before and after it, an unlock code for one. */
function stepsOf({ before, after }: WriteSettings): unknown {
  return { before, after };
}
