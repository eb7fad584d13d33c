/**
 * What tells devices of one map from all others, as plain data for the scan: `identify:` of the map, and the tags whose
 * values must be plausible. Loading them is loadsignatures.ts.
 */
import type { Table } from '../modbus/protocol.js';
import type { DeviceLimits, Tag } from './plant.js';

export interface Signature {
  /** As `map:` of a device names it. */
  readonly map: string;
  readonly title: string;
  /** In capitals; one of them must be in what the device says that it is. Empty: whatever it says. */
  readonly texts: readonly string[];
  readonly registers: readonly RegisterCheck[];
  readonly values: readonly ValueCheck[];
  /** Tags with a plausible range. */
  readonly plausible: readonly Tag[];
  readonly limits: DeviceLimits;
}

/** Raw words from an address on. */
export interface RegisterCheck {
  readonly table: Table;
  readonly address: number;
  readonly words: readonly number[];
}

export interface ValueCheck {
  readonly tag: Tag;
  readonly expected: Expected;
}

export type Expected =
  | { readonly kind: 'range'; readonly min: number; readonly max: number }
  /** One of them, as the tag publishes it; a text need only be in it. */
  | { readonly kind: 'among'; readonly values: readonly (number | bigint | string | boolean)[] }
  /** The unit that it answers as. */
  | { readonly kind: 'unit' };

/** Whether a value as it is published is what was expected. */
export function isExpected(expected: Expected, value: unknown, unitId: number): boolean {
  switch (expected.kind) {
    case 'range':
      return Number(value) >= expected.min && Number(value) <= expected.max && typeof value !== 'string';
    case 'unit':
      return Number(value) === unitId;
    case 'among':
      return expected.values.some((one) =>
        typeof one === 'string' ? contains(String(value), one) : String(one) === String(value),
      );
  }
}

function contains(text: string, part: string): boolean {
  return text.toUpperCase().includes(part.toUpperCase());
}
