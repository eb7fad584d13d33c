/**
 * Packet identifiers of one direction that are in use, with what each waits for. Identifiers are given out in order,
 * so a ring indexed by their low bits finds them without hashing; it grows with the window.
 */

export const FREE = 0;
/** QoS 1 was sent. */
export const AWAITS_PUBACK = 1;
/** QoS 2 was sent. */
export const AWAITS_PUBREC = 2;
/** PUBREC came; PUBREL is owed until this. */
export const AWAITS_PUBCOMP = 3;
export type State = 0 | 1 | 2 | 3;

const SIZE_MIN = 16;
const EMPTY16 = new Uint16Array(0);
const EMPTY8 = new Uint8Array(0);
const EMPTY64 = new Float64Array(0);

export interface InFlightEntry {
  packetIdentifier: number;
  state: State;
  position: number;
}

export class InFlight {
  #ids: Uint16Array = EMPTY16;
  #states: Uint8Array = EMPTY8;
  /** Position in the store, for sessions that are kept; 0 otherwise. */
  #positions: Float64Array = EMPTY64;
  #last = 0;
  #count = 0;

  get count(): number {
    return this.#count;
  }

  /** A free identifier, now in use; 0 when all 65,535 are. */
  take(state: State, position: number): number {
    if (this.#count >= 65535) return 0;
    if (this.#count * 2 >= this.#ids.length) this.#grow();
    const mask = this.#ids.length - 1;
    let id = this.#last;
    do id = id === 65535 ? 1 : id + 1;
    while (this.#states[id & mask] !== FREE);
    this.#last = id;
    this.#set(id & mask, id, state, position);
    return id;
  }

  /** Puts back what was in flight before a restart. */
  restore(id: number, state: State, position: number): void {
    if (this.#slot(id) >= 0) return;
    while (this.#ids.length === 0 || this.#states[id & (this.#ids.length - 1)] !== FREE) this.#grow();
    this.#set(id & (this.#ids.length - 1), id, state, position);
    this.#last = Math.max(this.#last, id);
  }

  stateOf(id: number): State {
    const slot = this.#slot(id);
    // The array holds only values of State.
    return slot < 0 ? FREE : ((this.#states[slot] ?? FREE) as State);
  }

  positionOf(id: number): number {
    const slot = this.#slot(id);
    return slot < 0 ? 0 : (this.#positions[slot] ?? 0);
  }

  change(id: number, state: State): void {
    const slot = this.#slot(id);
    if (slot >= 0) this.#states[slot] = state;
  }

  release(id: number): void {
    const slot = this.#slot(id);
    if (slot < 0) return;
    this.#states[slot] = FREE;
    this.#count--;
  }

  /** All of them, in the order of their positions, equal ones by identifier. */
  list(): InFlightEntry[] {
    const entries: InFlightEntry[] = [];
    for (let slot = 0; slot < this.#ids.length; slot++) {
      const state = (this.#states[slot] ?? FREE) as State;
      if (state === FREE) continue;
      entries.push({ packetIdentifier: this.#ids[slot] ?? 0, state, position: this.#positions[slot] ?? 0 });
    }
    return entries.sort((a, b) => a.position - b.position || a.packetIdentifier - b.packetIdentifier);
  }

  #slot(id: number): number {
    const slot = id & (this.#ids.length - 1);
    return this.#ids.length > 0 && this.#ids[slot] === id && this.#states[slot] !== FREE ? slot : -1;
  }

  #set(slot: number, id: number, state: State, position: number): void {
    this.#ids[slot] = id;
    this.#states[slot] = state;
    this.#positions[slot] = position;
    this.#count++;
  }

  /** Doubles the ring, again if two identifiers in use would share a slot. */
  #grow(): void {
    const entries = this.list();
    let size = Math.max(SIZE_MIN, this.#ids.length * 2);
    while (new Set(entries.map((entry) => entry.packetIdentifier & (size - 1))).size < entries.length)
      size *= 2;
    this.#ids = new Uint16Array(size);
    this.#states = new Uint8Array(size);
    this.#positions = new Float64Array(size);
    this.#count = 0;
    for (const { packetIdentifier, state, position } of entries) {
      this.#set(packetIdentifier & (size - 1), packetIdentifier, state, position);
    }
  }
}
