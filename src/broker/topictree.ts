/**
 * The trie of topic names with a number at each: names in, numbers out, by name or by filter. It lies in a few arrays
 * of numbers and a slab of bytes, because a hundred thousand names as objects would keep the garbage collector busy.
 */
import { randomInt } from 'node:crypto';
import { Slab } from '../slab.js';
import { copyOf } from './codec.js';

/** What a node is made of; PARENT is -1 for one that was let go. The first sibling's PREVIOUS is the last one. */
const PARENT = 0;
const FIRST = 1;
const NEXT = 2;
const PREVIOUS = 3;
const CHAIN = 4;
const HASH = 5;
const NAME = 6;
const VALUE = 7;
const GENERATION = 8;
const STRIDE = 9;
const ROOT = 0;
const NONE = -1;

const SLASH = 0x2f;
const PLUS = 0x2b;
const POUND = 0x23;
const DOLLAR = 0x24;
/** Of a node that was let go. */
const GONE = 0;
/** Where a name begins in its block, behind its length. */
const NAME_AT = 2;

/** A search by filter under way, which may rest while the tree changes. */
export class TopicSearch {
  readonly filter: Uint8Array;
  /** Nodes made later, and all below them, are not found: what comes meanwhile does not keep it going. */
  readonly newestGeneration: number;
  /** Where it stands, and where the level of the filter begins that is for those below. */
  node = ROOT;
  at = 0;
  /** Everything below this one matches, which `#` stands for; -1: it is not below such a one. */
  top = NONE;
  isResting = false;
  isDone = false;

  constructor(filter: Uint8Array, newestGeneration: number) {
    this.filter = filter;
    this.newestGeneration = newestGeneration;
  }
}

export class TopicTree {
  #nodes = new Int32Array(STRIDE * 16).fill(NONE);
  #nodesUsed = 1;
  #nodesLive = 1;
  #freeNode = NONE;
  #buckets = new Int32Array(16).fill(NONE);
  readonly #names = new Slab();
  /** Nodes are numbered as they are made, over and over again; the numbers of siblings grow. */
  #newestGeneration = GONE;
  /** Nodes where searches rest, and how many: they stay. */
  readonly #pins = new Map<number, number>();
  /** Nobody outside can choose names that all fall into one bucket. */
  readonly #seed = randomInt(0x7fffffff);
  /** The levels above the topic that was made last, with their slashes, and the node they lead to. */
  #lastLevels: Uint8Array = new Uint8Array(0);
  #lastParent = ROOT;
  #lastGeneration = NONE;

  /** The node of a topic, made if there is none: setValue() must follow. */
  make(topic: Uint8Array, start: number, end: number): number {
    const isBeside = this.#isBesideLast(topic, start, end);
    let parent = isBeside ? this.#lastParent : ROOT;
    let at = isBeside ? start + this.#lastLevels.length : start;
    for (;;) {
      const nameEnd = endOfLevel(topic, at, end);
      const hash = this.#hash(parent, topic, at, nameEnd);
      const child = this.#child(parent, topic, at, nameEnd, hash);
      const node = child === NONE ? this.#add(parent, topic, at, nameEnd, hash) : child;
      if (nameEnd === end) {
        if (!isBeside || parent !== this.#lastParent) this.#noteLast(copyOf(topic, start, at), parent);
        return node;
      }
      parent = node;
      at = nameEnd + 1;
    }
  }

  /** Whether it has the same levels above as the topic before, as thousands in a row have. */
  #isBesideLast(topic: Uint8Array, start: number, end: number): boolean {
    const levels = this.#lastLevels;
    if (end - start < levels.length || this.#get(this.#lastParent, GENERATION) !== this.#lastGeneration)
      return false;
    for (let i = levels.length - 1; i >= 0; i--) if (topic[start + i] !== levels[i]) return false;
    return true;
  }

  #noteLast(levels: Uint8Array, parent: number): void {
    this.#lastLevels = levels;
    this.#lastParent = parent;
    this.#lastGeneration = this.#get(parent, GENERATION);
  }

  /** The node of a topic; -1: there is none. */
  find(topic: Uint8Array): number {
    let node = ROOT;
    for (let at = 0; at <= topic.length; at++) {
      const nameEnd = endOfLevel(topic, at, topic.length);
      node = this.#child(node, topic, at, nameEnd, this.#hash(node, topic, at, nameEnd));
      if (node === NONE) return NONE;
      at = nameEnd;
    }
    return node;
  }

  /** Nodes are below this, those among them that were let go. */
  get size(): number {
    return this.#nodesUsed;
  }

  /** The number at a node; -1: none. */
  valueOf(node: number): number {
    return this.#get(node, VALUE);
  }

  setValue(node: number, value: number): void {
    this.#set(node, VALUE, value);
  }

  /** Differs once a node was let go: whoever remembers a node remembers this with it. */
  generationOf(node: number): number {
    return node < this.#nodesUsed ? this.#get(node, GENERATION) : NONE;
  }

  /** Takes a node's number away, and the node itself and those above it as far as nothing needs them. */
  clear(node: number): void {
    this.#set(node, VALUE, NONE);
    this.#prune(node);
  }

  #prune(node: number): void {
    let left = node;
    while (left !== ROOT && this.#isIdle(left)) {
      const above = this.#get(left, PARENT);
      this.#remove(left);
      left = above;
    }
  }

  #isIdle(node: number): boolean {
    return this.#get(node, VALUE) === NONE && this.#get(node, FIRST) === NONE && !this.#pins.has(node);
  }

  // ---------------------------------------------------------------- searches

  /** The newest node's: a search that begins now finds what is there now. */
  get newestGeneration(): number {
    return this.#newestGeneration;
  }

  /**
   * Goes on with a search through so many nodes. Answers the next node with a number whose topic matches, in the order
   * of a walk from the root down [MQTT-4.7.1-2] [MQTT-4.7.2-1]; -1: none among these, or (isDone) none is left.
   */
  next(search: TopicSearch, nodes: number): number {
    const before = search.isResting ? search.node : NONE;
    let found = NONE;
    for (let left = nodes; left > 0 && found === NONE; left--) {
      if (!this.#enterBelow(search) && !this.#enterBeside(search)) {
        search.isDone = true;
        break;
      }
      if (isWhole(search) && this.#get(search.node, VALUE) !== NONE) found = search.node;
    }
    search.isResting = false;
    if (before !== NONE) this.#unpin(before);
    return found;
  }

  /** Nodes may come and go until it goes on: the one where it stands stays. */
  rest(search: TopicSearch): void {
    if (search.isResting || search.node === ROOT) return;
    search.isResting = true;
    this.#pins.set(search.node, (this.#pins.get(search.node) ?? 0) + 1);
  }

  /** It does not go on. */
  giveUp(search: TopicSearch): void {
    if (search.isResting) this.#unpin(search.node);
    search.isResting = false;
    search.isDone = true;
    search.node = ROOT;
  }

  #unpin(node: number): void {
    const count = this.#pins.get(node) ?? 0;
    if (count > 1) this.#pins.set(node, count - 1);
    else {
      this.#pins.delete(node);
      this.#prune(node);
    }
  }

  /** From where a search stands to the first node below that matches as far as its levels go. */
  #enterBelow(search: TopicSearch): boolean {
    const { filter, node, at } = search;
    if (search.top !== NONE) return this.#enter(search, this.#get(node, FIRST), at);
    if (at > filter.length) return false;
    const end = endOfLevel(filter, at, filter.length);
    const only = end === at + 1 ? filter[at] : 0;
    if (only === POUND) {
      search.top = node;
      return this.#enter(search, this.#get(node, FIRST), at);
    }
    if (only === PLUS) return this.#enter(search, this.#get(node, FIRST), end + 1);
    const child = this.#child(node, filter, at, end, this.#hash(node, filter, at, end));
    if (child === NONE || this.#isNewer(child, search)) return false;
    search.node = child;
    search.at = end + 1;
    return true;
  }

  /** To the next one beside it, or beside one above it, where a wildcard leads. */
  #enterBeside(search: TopicSearch): boolean {
    const { filter } = search;
    while (search.node !== ROOT) {
      const { node } = search;
      if (search.top === node) search.top = NONE;
      const isWild = search.top !== NONE || filter[search.at - 2] === PLUS;
      if (isWild && this.#enter(search, this.#get(node, NEXT), search.at)) return true;
      if (search.top === NONE) search.at = startOfLevel(filter, search.at - 1);
      search.node = this.#get(node, PARENT);
    }
    return false;
  }

  /** To a node that a wildcard leads to, or the first behind it that it does lead to; those are in order of age. */
  #enter(search: TopicSearch, first: number, at: number): boolean {
    let node = first;
    while (node !== NONE && this.#get(node, PARENT) === ROOT && this.#isSystem(node))
      node = this.#get(node, NEXT);
    if (node === NONE || this.#isNewer(node, search)) return false;
    search.node = node;
    search.at = at;
    return true;
  }

  #isNewer(node: number, search: TopicSearch): boolean {
    return ((this.#get(node, GENERATION) - search.newestGeneration) | 0) > 0;
  }

  #isSystem(node: number): boolean {
    const name = this.#get(node, NAME);
    const { bytes } = this.#names.pageOf(name);
    const at = this.#names.startOf(name);
    return (bytes[at] as number) + (bytes[at + 1] as number) > 0 && bytes[at + NAME_AT] === DOLLAR;
  }

  #child(parent: number, bytes: Uint8Array, start: number, end: number, hash: number): number {
    let node = this.#buckets[hash & (this.#buckets.length - 1)] as number;
    while (node !== NONE) {
      if (this.#get(node, HASH) === hash && this.#get(node, PARENT) === parent) {
        if (this.#isNamed(node, bytes, start, end)) return node;
      }
      node = this.#get(node, CHAIN);
    }
    return NONE;
  }

  #isNamed(node: number, bytes: Uint8Array, start: number, end: number): boolean {
    const name = this.#get(node, NAME);
    const page = this.#names.pageOf(name).bytes;
    const at = this.#names.startOf(name);
    const length = end - start;
    if ((page[at] as number) + (page[at + 1] as number) * 256 !== length) return false;
    for (let i = 0; i < length; i++) if (page[at + NAME_AT + i] !== bytes[start + i]) return false;
    return true;
  }

  #add(parent: number, bytes: Uint8Array, start: number, end: number, hash: number): number {
    const name = this.#names.take(NAME_AT + end - start);
    const page = this.#names.pageOf(name).bytes;
    const at = this.#names.startOf(name);
    page[at] = (end - start) & 255;
    page[at + 1] = (end - start) >> 8;
    for (let i = start; i < end; i++) page[at + NAME_AT + i - start] = bytes[i] as number;
    const node = this.#takeNode();
    this.#set(node, PARENT, parent);
    this.#set(node, FIRST, NONE);
    this.#set(node, HASH, hash);
    this.#set(node, NAME, name);
    this.#set(node, VALUE, NONE);
    this.#newestGeneration = (this.#newestGeneration + 1) | 0;
    this.#set(node, GENERATION, this.#newestGeneration);
    this.#append(parent, node);
    if (++this.#nodesLive > this.#buckets.length) this.#rehash();
    else this.#chain(node);
    return node;
  }

  #takeNode(): number {
    const node = this.#freeNode;
    if (node !== NONE) {
      this.#freeNode = this.#get(node, NEXT);
      return node;
    }
    if ((this.#nodesUsed + 1) * STRIDE > this.#nodes.length) {
      const nodes = new Int32Array(Math.ceil((this.#nodesUsed * 3) / 2) * STRIDE).fill(NONE);
      nodes.set(this.#nodes);
      this.#nodes = nodes;
    }
    return this.#nodesUsed++;
  }

  #append(parent: number, node: number): void {
    const first = this.#get(parent, FIRST);
    this.#set(node, NEXT, NONE);
    if (first === NONE) {
      this.#set(parent, FIRST, node);
      this.#set(node, PREVIOUS, node);
      return;
    }
    const last = this.#get(first, PREVIOUS);
    this.#set(last, NEXT, node);
    this.#set(node, PREVIOUS, last);
    this.#set(first, PREVIOUS, node);
  }

  #remove(node: number): void {
    const parent = this.#get(node, PARENT);
    const first = this.#get(parent, FIRST);
    const next = this.#get(node, NEXT);
    const previous = this.#get(node, PREVIOUS);
    if (node === first) this.#set(parent, FIRST, next);
    else this.#set(previous, NEXT, next);
    if (next !== NONE) this.#set(next, PREVIOUS, previous);
    else if (node !== first) this.#set(first, PREVIOUS, previous);
    this.#unchain(node);
    this.#names.giveBack(this.#get(node, NAME));
    this.#set(node, GENERATION, GONE);
    this.#set(node, PARENT, NONE);
    this.#set(node, NEXT, this.#freeNode);
    this.#freeNode = node;
    this.#nodesLive--;
  }

  #chain(node: number): void {
    const bucket = this.#get(node, HASH) & (this.#buckets.length - 1);
    this.#set(node, CHAIN, this.#buckets[bucket] as number);
    this.#buckets[bucket] = node;
  }

  #unchain(node: number): void {
    const bucket = this.#get(node, HASH) & (this.#buckets.length - 1);
    let at = this.#buckets[bucket] as number;
    if (at === node) {
      this.#buckets[bucket] = this.#get(node, CHAIN);
      return;
    }
    while (this.#get(at, CHAIN) !== node) at = this.#get(at, CHAIN);
    this.#set(at, CHAIN, this.#get(node, CHAIN));
  }

  #rehash(): void {
    this.#buckets = new Int32Array(this.#buckets.length * 2).fill(NONE);
    for (let node = 1; node < this.#nodesUsed; node++)
      if (this.#get(node, PARENT) !== NONE) this.#chain(node);
  }

  #hash(parent: number, bytes: Uint8Array, start: number, end: number): number {
    let hash = this.#seed ^ Math.imul(parent + 1, 0x9e3779b1);
    for (let at = start; at < end; at++) hash = Math.imul(hash ^ (bytes[at] as number), 0x01000193);
    return (hash ^ (hash >>> 15)) & 0x7fffffff;
  }

  // Fields of nodes that are there always are.
  #get(node: number, field: number): number {
    return this.#nodes[node * STRIDE + field] as number;
  }

  #set(node: number, field: number, value: number): void {
    this.#nodes[node * STRIDE + field] = value;
  }
}

function endOfLevel(bytes: Uint8Array, start: number, end: number): number {
  let at = start;
  while (at < end && bytes[at] !== SLASH) at++;
  return at;
}

/** Where the level begins that ends at `end`. */
function startOfLevel(bytes: Uint8Array, end: number): number {
  let at = end;
  while (at > 0 && bytes[at - 1] !== SLASH) at--;
  return at;
}

/** Whether a search stands at a whole topic, not only the first levels of one. */
function isWhole({ filter, at, top }: TopicSearch): boolean {
  return top !== NONE || at > filter.length || (filter[at] === POUND && at === filter.length - 1);
}
