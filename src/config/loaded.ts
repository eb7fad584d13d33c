/** What loading a gateway file comes to, and how it is kept from being changed afterwards. */
import type { Plant } from './plant.js';
import type { Problem } from './problems.js';
import type { Signature } from './signature.js';

export interface Loaded {
  /** null when any problem is an error. */
  readonly plant: Plant | null;
  /** Errors and warnings, by place. */
  readonly problems: readonly Problem[];
}

/** What a thread of its own is to load: a gateway file, or the signatures of the maps beside a folder. */
export interface Errand {
  readonly kind: 'plant' | 'signatures';
  readonly place: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** Maps that say how their devices are recognised. */
export interface Signatures {
  readonly signatures: readonly Signature[];
  /** Files that are wrong and were therefore not tried. */
  readonly wrong: readonly string[];
}

/** Freezes all of it; nothing in it is reached twice by a cycle. */
export function freeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  Object.freeze(value);
  for (const inner of Object.values(value)) freeze(inner);
  return value;
}
