/** Where on the disk each topic's retained message lies: one map entry and 16 bytes a topic. */

export interface RetainedEntry {
  position: number;
  segment: number;
  offset: number;
}

const SLOTS_MIN = 64;

export class Retained {
  readonly #slots = new Map<string, number>();
  readonly #free: number[] = [];
  #positions = new Float64Array(SLOTS_MIN);
  #places = new Uint32Array(SLOTS_MIN * 2);
  #used = 0;

  get size(): number {
    return this.#slots.size;
  }

  get(key: string): RetainedEntry | null {
    const slot = this.#slots.get(key);
    return slot === undefined ? null : this.#entry(slot);
  }

  /** Returns the segment of the one replaced, or -1. */
  set(key: string, position: number, segment: number, offset: number): number {
    const known = this.#slots.get(key);
    const slot = known ?? this.#newSlot();
    const old = known === undefined ? -1 : this.#entry(slot).segment;
    if (known === undefined) this.#slots.set(key, slot);
    this.#positions[slot] = position;
    this.#places[slot * 2] = segment;
    this.#places[slot * 2 + 1] = offset;
    return old;
  }

  delete(key: string): RetainedEntry | null {
    const slot = this.#slots.get(key);
    if (slot === undefined) return null;
    this.#slots.delete(key);
    this.#free.push(slot);
    return this.#entry(slot);
  }

  /** The message of a position lies elsewhere now; returns the segment it lay in, or -1. */
  relocate(key: string, position: number, segment: number, offset: number): number {
    const slot = this.#slots.get(key);
    if (slot === undefined || this.#positions[slot] !== position) return -1;
    const old = this.#entry(slot).segment;
    this.#places[slot * 2] = segment;
    this.#places[slot * 2 + 1] = offset;
    return old;
  }

  /** May be changed while it is iterated; what is set anew then comes last. */
  *entries(): IterableIterator<[string, RetainedEntry]> {
    for (const [key, slot] of this.#slots) yield [key, this.#entry(slot)];
  }

  #entry(slot: number): RetainedEntry {
    return {
      position: this.#positions[slot] as number, // slots in use are inside all arrays
      segment: this.#places[slot * 2] as number,
      offset: this.#places[slot * 2 + 1] as number,
    };
  }

  #newSlot(): number {
    const free = this.#free.pop();
    if (free !== undefined) return free;
    if (this.#used === this.#positions.length) {
      const positions = new Float64Array(this.#used * 2);
      positions.set(this.#positions);
      this.#positions = positions;
      const places = new Uint32Array(this.#used * 4);
      places.set(this.#places);
      this.#places = places;
    }
    return this.#used++;
  }
}
