/**
 * A command for a group: {"number":3,"volume":2.5} -> the registers of all of them, one after the other, for one
 * request. All is checked before anything is written, so that a device never gets half a recipe.
 */
import type { Tag } from '../config/plant.js';
import { QUANTITY_MAX } from '../modbus/protocol.js';
import { encodeCommand, refused, type Encoded } from './encode.js';
import type { TagState } from './report.js';

/** Registers from the write address of the first tag on. */
export type EncodedRecipe =
  (Encoded & { kind: 'registers' } & { readonly first: Tag }) | (Encoded & { kind: 'refused' });

interface Part {
  readonly tag: Tag;
  readonly address: number;
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
  const members = membersOf(payload);
  if (members === null) return refused('TYPE', 'expected {"v":{"TAG":VALUE, ...}} with tags of the group');
  const parts: Part[] = [];
  for (const [name, value] of members) {
    const state = states.find(({ tag }) => tag.name === name || tag.name.endsWith(`/${name}`));
    if (state === undefined) {
      const names = states.flatMap(({ tag }) => (tag.write === null ? [] : [tag.name]));
      return refused('TYPE', `the group has no tag ${name}; it has ${names.join(', ')}`);
    }
    const part = partOf(state, value);
    if ('kind' in part) return refused(part.code, `${name}: ${part.text}`);
    parts.push(part);
  }
  return joined(parts, members);
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

function partOf({ tag, factor }: TagState, value: unknown): Part | (Encoded & { kind: 'refused' }) {
  if (typeof value === 'number' && Number.isInteger(value) && !Number.isSafeInteger(value))
    return refused('TYPE', 'is too long for a recipe to keep its digits; write the tag by itself');
  const encoded = encodeCommand(tag, Buffer.from(JSON.stringify(value)), factor);
  if (encoded.kind === 'refused') return encoded;
  if (encoded.kind !== 'registers' || tag.write === null)
    return refused('TYPE', 'is a part of a register, which cannot be in a recipe');
  return { tag, address: tag.write.address, registers: encoded.registers };
}

/** One run of registers without gaps. */
function joined(parts: readonly Part[], members: readonly [string, unknown][]): EncodedRecipe {
  const sorted = [...parts].sort((a, b) => a.address - b.address);
  const [first] = sorted;
  if (first === undefined) return refused('TYPE', 'has no values');
  let end = first.address;
  for (const { tag, address, registers } of sorted) {
    if (address !== end) {
      const what =
        address < end
          ? 'overlaps what is before it'
          : `does not follow on what is before it (register ${end})`;
      return refused('TYPE', `${tag.name} ${what}; give all values of the group`);
    }
    end += registers.length / 2;
  }
  if (end - first.address > QUANTITY_MAX.writeRegisters)
    return refused(
      'RANGE',
      `takes ${end - first.address} registers, one request writes ${QUANTITY_MAX.writeRegisters}`,
    );
  const registers = Buffer.concat(sorted.map((part) => part.registers));
  return {
    kind: 'registers',
    first: first.tag,
    registers,
    json: JSON.stringify(Object.fromEntries(members)),
  };
}
