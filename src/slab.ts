/**
 * Blocks of bytes beside the garbage collector, for what is many, small and long-lived: kept messages and the names
 * they are found by. A block is a number; pages hold blocks of one size and go when their last block does.
 */

const UNIT_BYTES = 16;
const PAGE_UNITS = 1024;
/** With what glibc puts before it, it is whole pages of the machine's memory, which go back one by one. */
const PAGE_BYTES = (PAGE_UNITS - 1) * UNIT_BYTES;
/** Sizes of blocks, all of them multiples of a unit; what is larger has a page of its own. */
const SIZES = [
  16, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 496, 640, 768, 1008, 1360, 2032, 2720,
  4080,
] as const;
const SIZE_MAX = 4080;
/** Units -> index of the smallest size that holds them. */
const SIZE_OF_UNITS = Uint8Array.from({ length: SIZE_MAX / UNIT_BYTES + 1 }, (_, units) =>
  SIZES.findIndex((size) => size >= units * UNIT_BYTES),
);
const OWN_PAGE = SIZES.length;
const NONE = -1;

export class Page {
  readonly index: number;
  readonly sizeIndex: number;
  readonly blockBytes: number;
  readonly bytes: Buffer;
  /** The same bytes; every block begins at a whole number of them. */
  readonly words: Uint32Array;
  readonly doubles: Float64Array;
  used = 0;
  /** Unit of the first block that was let go, which names the next. */
  free = NONE;
  /** Where blocks begin that never were used. */
  fresh = 0;
  /** Place among the pages of this size that have room. */
  openIndex = NONE;

  constructor(index: number, sizeIndex: number, blockBytes: number) {
    this.index = index;
    this.sizeIndex = sizeIndex;
    this.blockBytes = blockBytes;
    this.bytes = Buffer.allocUnsafeSlow(sizeIndex === OWN_PAGE ? blockBytes : PAGE_BYTES);
    const { buffer } = this.bytes;
    this.words = new Uint32Array(buffer);
    this.doubles = new Float64Array(buffer);
  }

  get hasRoom(): boolean {
    return this.free !== NONE || this.fresh + this.blockBytes <= this.bytes.length;
  }
}

export class Slab {
  readonly #pages: (Page | undefined)[] = [];
  readonly #unused: number[] = [];
  readonly #open: Page[][] = SIZES.map(() => []);
  /** What all its blocks take. */
  bytes = 0;

  /** A block of at least so many bytes. */
  take(length: number): number {
    if (length > SIZE_MAX) return this.#takeOwn(length);
    const sizeIndex = SIZE_OF_UNITS[(length + UNIT_BYTES - 1) >>> 4] as number; // length is in the table
    const open = this.#open[sizeIndex] as Page[];
    const page = open.at(-1) ?? this.#newPage(sizeIndex, SIZES[sizeIndex] as number);
    let unit = page.free;
    if (unit !== NONE)
      page.free = (page.words[unit * (UNIT_BYTES / 4)] as number) | 0; // -1 was written as 2 ** 32 - 1
    else {
      unit = page.fresh / UNIT_BYTES;
      page.fresh += page.blockBytes;
    }
    page.used++;
    this.bytes += page.blockBytes;
    if (!page.hasRoom) this.#close(page);
    return page.index * PAGE_UNITS + unit;
  }

  /** Lets a block go. */
  giveBack(block: number): void {
    const page = this.pageOf(block);
    page.used--;
    this.bytes -= page.blockBytes;
    const isIdle = page.used === 0;
    if (page.sizeIndex === OWN_PAGE) return this.#drop(page);
    const open = this.#open[page.sizeIndex] as Page[];
    if (isIdle && (open.length > 1 || page.openIndex === NONE)) {
      if (page.openIndex !== NONE) this.#close(page);
      return this.#drop(page);
    }
    const unit = block % PAGE_UNITS;
    page.words[unit * (UNIT_BYTES / 4)] = page.free;
    page.free = unit;
    if (page.openIndex === NONE) page.openIndex = open.push(page) - 1;
  }

  pageOf(block: number): Page {
    return this.#pages[(block / PAGE_UNITS) | 0] as Page; // a block names a page that is there
  }

  /** Where in its page a block begins. */
  startOf(block: number): number {
    return (block % PAGE_UNITS) * UNIT_BYTES;
  }

  /** Whether so many bytes fit a block without wasting another size. */
  fits(block: number, length: number): boolean {
    const { sizeIndex } = this.pageOf(block);
    return length <= SIZE_MAX && SIZE_OF_UNITS[(length + UNIT_BYTES - 1) >>> 4] === sizeIndex;
  }

  #takeOwn(length: number): number {
    const page = this.#newPage(OWN_PAGE, Math.ceil(length / UNIT_BYTES) * UNIT_BYTES);
    page.used = 1;
    this.bytes += page.blockBytes;
    return page.index * PAGE_UNITS;
  }

  #newPage(sizeIndex: number, blockBytes: number): Page {
    const page = new Page(this.#unused.pop() ?? this.#pages.length, sizeIndex, blockBytes);
    this.#pages[page.index] = page;
    if (sizeIndex !== OWN_PAGE) page.openIndex = (this.#open[sizeIndex] as Page[]).push(page) - 1;
    return page;
  }

  /** It has no room any more. */
  #close(page: Page): void {
    const open = this.#open[page.sizeIndex] as Page[];
    const last = open.pop();
    if (last !== undefined && last !== page) {
      open[page.openIndex] = last;
      last.openIndex = page.openIndex;
    }
    page.openIndex = NONE;
  }

  #drop(page: Page): void {
    this.#pages[page.index] = undefined;
    this.#unused.push(page.index);
  }
}
