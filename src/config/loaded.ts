/** What loading a gateway file comes to, and how it is kept from being changed afterwards. */
import type { Plant } from './plant.js';
import type { Problem } from './problems.js';

export interface Loaded {
  /** null when any problem is an error. */
  readonly plant: Plant | null;
  /** Errors and warnings, by place. */
  readonly problems: readonly Problem[];
}

/** Freezes all of it; nothing in it is reached twice by a cycle. */
export function freeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  Object.freeze(value);
  for (const inner of Object.values(value)) freeze(inner);
  return value;
}
