/**
 * Levels of settings: defaults, bus, device map, device, group, tag. The nearest one to the tag that says something
 * counts; which one it was is kept, for messages and for `holdfast explain`.
 */
import type { Source } from './load.js';
import type { Path } from './problems.js';
import type { TagInput } from './schema/tag.js';

export type Numbering = 'pdu' | 'one-based' | 'modicon';

export interface Layer {
  readonly name: 'defaults' | 'bus' | 'map' | 'device' | 'group' | 'tag';
  readonly source: Source;
  readonly path: Path;
  readonly values: TagInput;
  /** Numbering of the file's addresses at this place. */
  readonly numbering: Numbering;
  /** Variables of `repeat`. */
  readonly variables: Readonly<Record<string, number>>;
}

/** A setting, and the layer that says it. */
export interface Picked<T> {
  readonly value: T;
  readonly layer: Layer;
  readonly key: keyof TagInput;
}

/** Layers of one tag, the nearest to the tag last. */
export class Layers {
  readonly all: readonly Layer[];
  /** What was picked, by key; null when nobody asks. */
  readonly picked: Map<string, Picked<unknown>> | null;

  constructor(all: readonly Layer[], isRemembered: boolean) {
    this.all = all;
    this.picked = isRemembered ? new Map() : null;
  }

  pick<K extends keyof TagInput>(key: K): Picked<NonNullable<TagInput[K]>> | null {
    for (let index = this.all.length - 1; index >= 0; index -= 1) {
      const layer = this.all[index];
      const value = layer?.values[key];
      if (layer === undefined || value === undefined || value === null) continue;
      const picked = { value, layer, key };
      this.picked?.set(key, picked);
      return picked;
    }
    return null;
  }

  /** Of keys that exclude each other, those of the nearest layer that has any. */
  pickOne(keys: readonly (keyof TagInput)[]): Picked<unknown>[] {
    for (let index = this.all.length - 1; index >= 0; index -= 1) {
      const layer = this.all[index];
      if (layer === undefined) continue;
      const found = keys.filter((key) => layer.values[key] !== undefined);
      if (found.length === 0) continue;
      const picked = found.map((key) => ({ value: layer.values[key], layer, key }));
      for (const one of picked) this.picked?.set(one.key, one);
      return picked;
    }
    return [];
  }

  value<K extends keyof TagInput>(key: K, otherwise: NonNullable<TagInput[K]>): NonNullable<TagInput[K]> {
    return this.pick(key)?.value ?? otherwise;
  }

  /** The layer nearest to the tag. */
  get nearest(): Layer {
    const layer = this.all[this.all.length - 1];
    if (layer === undefined) throw new Error('a tag has at least the layer that names it');
    return layer;
  }
}

/** A problem at the place of a setting, or at something inside it. */
export function say(
  picked: { readonly layer: Layer; readonly key: string },
  severity: 'error' | 'warning',
  code: string,
  text: string,
  inner: Path = [],
): void {
  picked.layer.source.add(severity, code, [...picked.layer.path, picked.key, ...inner], text);
}
