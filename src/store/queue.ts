/**
 * Where on the disk the messages of one session lie, in their order: 16 bytes a message, in chunks. Entries are removed
 * anywhere (acknowledgements come in any order); a chunk goes when its last entry does.
 */

export interface QueueEntry {
  position: number;
  segment: number;
  offset: number;
  /** Topic, payload and properties. */
  size: number;
  qos: 0 | 1 | 2;
}

/** Is told of an entry without an object for it: a snapshot visits all of them. False: enough. */
export type EntryVisitor = (
  position: number,
  segment: number,
  offset: number,
  size: number,
  qos: 0 | 1 | 2,
) => boolean;

interface Chunk {
  /** Position that the entries count from. */
  base: number;
  /** Per entry: position - base, segment, offset, size * 4 + qos (or DEAD). */
  words: Uint32Array;
  used: number;
  live: number;
}

const STRIDE = 4;
const DEAD = 0xffffffff;
const CHUNK_MIN = 4;
const CHUNK_MAX = 1024;

export class Queue {
  #chunks: Chunk[] = [];
  count = 0;
  bytes = 0;
  lastPosition = 0;

  /** Positions only grow; one that was there already is ignored. */
  append(position: number, segment: number, offset: number, size: number, qos: number): boolean {
    if (position <= this.lastPosition) return false;
    const chunk = this.#chunkFor(position);
    const at = chunk.used * STRIDE;
    const { words } = chunk;
    words[at] = position - chunk.base;
    words[at + 1] = segment;
    words[at + 2] = offset;
    words[at + 3] = size * 4 + qos;
    chunk.used++;
    chunk.live++;
    this.count++;
    this.bytes += size;
    this.lastPosition = position;
    return true;
  }

  get(position: number): QueueEntry | null {
    const chunk = this.#chunkOf(position);
    const at = chunk === null ? -1 : indexOf(chunk, position);
    return chunk === null || at < 0 ? null : entryAt(chunk, at);
  }

  /** What was removed, or null. */
  remove(position: number): QueueEntry | null {
    const chunk = this.#chunkOf(position);
    const at = chunk === null ? -1 : indexOf(chunk, position);
    if (chunk === null || at < 0) return null;
    const entry = entryAt(chunk, at);
    chunk.words[at + 3] = DEAD;
    chunk.live--;
    this.count--;
    this.bytes -= entry.size;
    if (chunk.live === 0) this.#removeChunk(chunk);
    return entry;
  }

  /** The message lies elsewhere now; returns the segment it lay in, or -1 when it is not here. */
  relocate(position: number, segment: number, offset: number): number {
    const chunk = this.#chunkOf(position);
    const at = chunk === null ? -1 : indexOf(chunk, position);
    if (chunk === null || at < 0) return -1;
    const old = chunk.words[at + 1] as number; // at is an entry
    chunk.words[at + 1] = segment;
    chunk.words[at + 2] = offset;
    return old;
  }

  /** The first entry after a position, or null. */
  next(after: number): QueueEntry | null {
    let next: QueueEntry | null = null;
    this.visit(after, (position, segment, offset, size, qos) => {
      next = { position, segment, offset, size, qos };
      return false;
    });
    return next;
  }

  /** Entries after a position, oldest first, until the visitor returns false. */
  visit(after: number, visitor: EntryVisitor): void {
    for (let index = this.#chunkIndex(after); index < this.#chunks.length; index++) {
      const chunk = this.#chunks[index] as Chunk; // index is in range
      const { base, words } = chunk;
      for (let at = firstAfter(chunk, after) * STRIDE; at < chunk.used * STRIDE; at += STRIDE) {
        const weight = words[at + 3] as number; // words inside an entry are always there
        if (weight === DEAD) continue;
        const position = base + (words[at] as number);
        const segment = words[at + 1] as number;
        const offset = words[at + 2] as number;
        if (!visitor(position, segment, offset, weight >>> 2, qosOf(weight))) return;
      }
    }
  }

  #chunkFor(position: number): Chunk {
    const last = this.#chunks.at(-1);
    if (last !== undefined && last.live === 0) {
      last.base = position;
      last.used = 0;
      return last;
    }
    if (last !== undefined && last.used < CHUNK_MAX && position - last.base < DEAD) {
      if (last.used * STRIDE === last.words.length) {
        const words = new Uint32Array(Math.min(CHUNK_MAX, last.used * 4) * STRIDE);
        words.set(last.words);
        last.words = words;
      }
      return last;
    }
    const entries = last === undefined ? CHUNK_MIN : CHUNK_MAX;
    const chunk = { base: position, words: new Uint32Array(entries * STRIDE), used: 0, live: 0 };
    this.#chunks.push(chunk);
    return chunk;
  }

  /** The last chunk stays for what comes next, unless it is large. */
  #removeChunk(chunk: Chunk): void {
    const isSmall = chunk.words.length <= CHUNK_MIN * 4 * STRIDE;
    if (chunk === this.#chunks.at(-1) && this.#chunks.length === 1 && isSmall) return;
    this.#chunks.splice(this.#chunks.indexOf(chunk), 1);
  }

  /** Index of the last chunk that begins at or before a position, or 0. */
  #chunkIndex(position: number): number {
    let low = 0;
    for (let high = this.#chunks.length - 1; low < high;) {
      const middle = (low + high + 1) >>> 1;
      if ((this.#chunks[middle] as Chunk).base <= position) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  #chunkOf(position: number): Chunk | null {
    return this.#chunks[this.#chunkIndex(position)] ?? null;
  }
}

/** Index of the first entry behind a position. */
function firstAfter(chunk: Chunk, position: number): number {
  let low = 0;
  for (let high = chunk.used; low < high;) {
    const middle = (low + high) >>> 1;
    if (chunk.base + (chunk.words[middle * STRIDE] as number) <= position) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Where in words the live entry of a position begins, or -1. */
function indexOf(chunk: Chunk, position: number): number {
  const at = (firstAfter(chunk, position) - 1) * STRIDE;
  if (at < 0 || chunk.base + (chunk.words[at] as number) !== position) return -1;
  return chunk.words[at + 3] === DEAD ? -1 : at;
}

/** Words inside an entry are always there. */
function entryAt({ base, words }: Chunk, at: number): QueueEntry {
  const weight = words[at + 3] as number;
  return {
    position: base + (words[at] as number),
    segment: words[at + 1] as number,
    offset: words[at + 2] as number,
    size: weight >>> 2,
    qos: qosOf(weight),
  };
}

function qosOf(weight: number): 0 | 1 | 2 {
  const qos = weight & 3;
  return qos === 2 ? 2 : qos === 1 ? 1 : 0;
}
