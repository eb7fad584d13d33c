/**
 * The segment files of a journal that exist: how long they are, how many live records each holds, and reading from
 * them. A segment without live records that no replay needs is removed; a damaged one is put aside instead.
 */
import { join } from 'node:path';
import { messageOf } from '../errors.js';
import type { Log } from '../log.js';
import type { Files, OpenFile } from './files.js';

/** File handles kept open for reading. */
const OPEN_MAX = 16;
/** Damaged files kept for whoever wants to look. */
const DAMAGED_MAX = 3;

export interface Segment {
  readonly number: number;
  /** How far it can be trusted; what is being written is not counted. */
  bytes: number;
  /** References from outside to records in it. */
  live: number;
  /** References it ever had and their bytes: what one is worth on average. */
  addedCount: number;
  addedBytes: number;
  isDamaged: boolean;
  /** Damage was met in it: it is put aside rather than removed. */
  isPutAside: boolean;
  /** False for one that is referred to but is not there. */
  isPresent: boolean;
  handle: Promise<OpenFile> | null;
  readers: number;
}

export class Segments {
  readonly #folder: string;
  readonly #files: Files;
  readonly #log: Log;
  readonly #all = new Map<number, Segment>();
  /** The one asked for last: every record asks for that it is written to. */
  #last: Segment | null = null;
  readonly #openForReading = new Set<Segment>();
  /** Segments from this one on are needed for replay. */
  #keepFrom = 0;
  #pins = 0;
  /** Without live records as far as memory knows, and as far as the write under way will have made durable. */
  readonly #done = new Set<Segment>();
  readonly #covered = new Set<Segment>();
  #totalBytes = 0;
  #removing: Promise<void> = Promise.resolve();

  constructor(folder: string, files: Files, log: Log) {
    this.#folder = folder;
    this.#files = files;
    this.#log = log;
  }

  /** Bytes of all segment files. */
  get totalBytes(): number {
    return this.#totalBytes;
  }

  pathOf(number: number): string {
    return join(this.#folder, nameOf(number));
  }

  /** Numbers of the segment files in the folder, ascending. */
  async find(): Promise<number[]> {
    const numbers: number[] = [];
    for (const name of await this.#files.list(this.#folder)) {
      const match = /^(\d{10})\.log$/.exec(name);
      if (match) numbers.push(Number(match[1]));
    }
    return numbers.sort((a, b) => a - b);
  }

  add(number: number, bytes: number): Segment {
    const segment = this.get(number);
    this.#totalBytes += bytes - segment.bytes;
    segment.bytes = bytes;
    segment.isPresent = true;
    return segment;
  }

  /** A segment, made up when something refers to one that is not known (yet). */
  get(number: number): Segment {
    if (this.#last?.number === number) return this.#last;
    let segment = this.#all.get(number);
    if (segment === undefined) {
      segment = {
        number,
        bytes: 0,
        live: 0,
        addedCount: 0,
        addedBytes: 0,
        isDamaged: false,
        isPutAside: false,
        isPresent: false,
        handle: null,
        readers: 0,
      };
      this.#all.set(number, segment);
    }
    this.#last = segment;
    return segment;
  }

  list(): Segment[] {
    return [...this.#all.values()].filter((segment) => segment.isPresent);
  }

  /** The highest number there is, or that anything refers to. */
  highest(): number {
    return Math.max(0, ...this.#all.keys());
  }

  /** Numbers of segments that are referred to and are not there. */
  missing(): Set<number> {
    const missing = new Set<number>();
    for (const { number, isPresent, live } of this.#all.values())
      if (!isPresent && live > 0) missing.add(number);
    return missing;
  }

  /** Something refers to a record of this many bytes in a segment. */
  hold(number: number, bytes: number): void {
    const segment = this.get(number);
    segment.live++;
    segment.addedCount++;
    segment.addedBytes += bytes;
  }

  release(number: number): void {
    const segment = this.get(number);
    segment.live--;
    if (segment.live === 0) this.#done.add(segment);
  }

  /** Replay will never begin before this segment again. */
  keepFrom(number: number): void {
    this.#keepFrom = number;
    this.sweep();
  }

  /** Looks for all that nothing needs. What nobody ever referred to can go at once. */
  sweep(): void {
    for (const segment of [...this.#all.values()]) {
      if (segment.addedCount === 0) this.#removeIfDone(segment);
      else if (segment.live === 0) this.#done.add(segment);
    }
  }

  /** A write begins that covers all facts so far, those that let go of segments among them. */
  cover(): void {
    for (const segment of this.#done) this.#covered.add(segment);
    this.#done.clear();
  }

  /** The write is durable: what was let go by it may go. Sooner, a crash would bring the references back without it. */
  removeCovered(): void {
    for (const segment of this.#covered) this.#removeIfDone(segment);
    this.#covered.clear();
  }

  isReplayed(segment: Segment): boolean {
    return segment.number >= this.#keepFrom;
  }

  /** While pinned nothing is removed, so that all files can be copied. */
  pin(): void {
    this.#pins++;
  }

  unpin(): void {
    this.#pins--;
    if (this.#pins === 0) this.sweep();
  }

  /** Keeps the file of a segment from being removed until it is given back as often. */
  lend(number: number): void {
    this.get(number).readers++;
  }

  giveBack(number: number): void {
    const segment = this.get(number);
    segment.readers--;
    if (segment.readers === 0 && segment.live === 0) this.#done.add(segment);
  }

  /** Reads from the file of a segment; fewer bytes than asked for where it ends. */
  async read(number: number, into: Buffer, offset: number): Promise<number> {
    this.lend(number);
    try {
      const file = await this.#opened(this.get(number));
      return await file.read(into, offset);
    } finally {
      this.giveBack(number);
    }
  }

  /** Forgets a file that is being given up, without removing it. */
  forget(number: number): void {
    const segment = this.#all.get(number);
    if (segment === undefined) return;
    this.#close(segment);
    this.#totalBytes -= segment.bytes;
    this.#all.delete(number);
    if (this.#last === segment) this.#last = null;
  }

  async close(): Promise<void> {
    await this.#removing;
    for (const segment of [...this.#openForReading]) this.#close(segment);
  }

  #opened(segment: Segment): Promise<OpenFile> {
    this.#openForReading.delete(segment);
    this.#openForReading.add(segment);
    for (const oldest of this.#openForReading) {
      if (this.#openForReading.size <= OPEN_MAX) break;
      if (oldest.readers === 0) this.#close(oldest);
    }
    if (segment.handle === null) {
      const handle = this.#files.open(this.pathOf(segment.number), 'read');
      segment.handle = handle;
      handle.catch(() => {
        if (segment.handle === handle) segment.handle = null;
      });
    }
    return segment.handle;
  }

  #close(segment: Segment): void {
    const { handle } = segment;
    segment.handle = null;
    this.#openForReading.delete(segment);
    if (handle === null) return;
    handle.then((file) => file.close()).catch(() => {});
  }

  /** Damage was met in it when it was read; false: that is known already. */
  putAside(number: number): boolean {
    const segment = this.get(number);
    if (segment.isPutAside) return false;
    segment.isPutAside = true;
    return !segment.isDamaged;
  }

  #removeIfDone(segment: Segment): void {
    if (segment.live > 0 || !segment.isPresent || this.#pins > 0 || this.isReplayed(segment)) return;
    // It may be gone already: what let go of it is told of in more than one place.
    if (segment.readers > 0 || this.#all.get(segment.number) !== segment) return;
    this.forget(segment.number);
    this.#removing = this.#removing.then(() => this.#remove(segment));
  }

  /** Removal may be undone by a power cut; then the next start removes it again, so its folder is not synced. */
  async #remove(segment: Segment): Promise<void> {
    const path = this.pathOf(segment.number);
    try {
      if (segment.isDamaged || segment.isPutAside) {
        await this.#files.rename(path, `${path}.damaged`);
        await this.#removeOldDamaged();
      } else await this.#files.remove(path);
    } catch (thrown) {
      this.#log.warn('a segment without live records could not be removed', {
        file: path,
        error: messageOf(thrown),
      });
    }
  }

  async #removeOldDamaged(): Promise<void> {
    const names = (await this.#files.list(this.#folder)).filter((name) => name.endsWith('.damaged')).sort();
    for (const name of names.slice(0, -DAMAGED_MAX)) await this.#files.remove(join(this.#folder, name));
  }
}

export function nameOf(number: number): string {
  return `${String(number).padStart(10, '0')}.log`;
}

/** Bytes of a segment that are still referred to, estimated from what an average reference is worth. */
export function liveBytesOf(segment: Segment): number {
  if (segment.live === 0 || segment.addedCount === 0) return 0;
  return Math.min(segment.bytes, (segment.live * segment.addedBytes) / segment.addedCount);
}
