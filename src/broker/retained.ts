/**
 * The retained messages and their limits: one block of bytes a topic, found by name or by filter. Nothing of them is an
 * object; what match() and get() hand out is one view that is filled anew for each message.
 */
import { Slab } from '../slab.js';
import { copyBytes, type Publication, viewOf } from './codec.js';
import { levelCount } from './topic.js';
import { TopicSearch, TopicTree } from './topictree.js';

/** What a publication says that is kept beside its bytes. */
export interface Retainable extends Publication {
  readonly qos: 0 | 1 | 2;
  /** Wall time in ms; 0: never. */
  readonly expiresAtMs: number;
}

/** A kept message; good until the next one is asked for or anything is kept. */
export interface Retained extends Publication {
  qos: 0 | 1 | 2;
  expiresAtMs: number;
  /** It is in the store, too. */
  isStored: boolean;
  /** Client identifier of who published it; empty: the gateway itself. */
  readonly publisher: string;
  /** In a queue; 0: in none. */
  position: number;
}

/** A topic's place; whoever publishes there again may come back to it, as long as isHere() says so. */
export interface Place {
  readonly node: number;
  readonly generation: number;
}

/** A block: lengths of payload, topic, properties and publisher, expiry, QoS and flag, then their bytes. */
const HEADER_BYTES = 32;
const STORED = 4;
/** What the tree keeps for a level of a topic, beside its name; a topic of many levels is mostly that. */
const LEVEL_BYTES = 48;
const DOLLAR = 0x24;
const EMPTY = new Uint8Array(0);
const encoder = new TextEncoder();
const NONE = -1;

class View implements Retained {
  topic: Uint8Array = EMPTY;
  topicStart = 0;
  topicEnd = 0;
  properties: Uint8Array = EMPTY;
  propertiesStart = 0;
  propertiesEnd = 0;
  payload: Uint8Array = EMPTY;
  payloadStart = 0;
  payloadEnd = 0;
  qos: 0 | 1 | 2 = 0;
  expiresAtMs = 0;
  isStored = false;
  position = 0;
  bytes: Buffer = Buffer.alloc(0);
  publisherEnd = 0;

  get publisher(): string {
    return this.bytes.toString('utf8', this.payloadEnd, this.publisherEnd);
  }
}

export class RetainedMessages {
  readonly #tree = new TopicTree();
  readonly #slab = new Slab();
  readonly #view = new View();
  readonly #countMax: number;
  readonly #bytesMax: number;
  /** Of clients and of the gateway, which the limits are for. */
  #count = 0;
  #bytes = 0;
  /** Topics under `$`, which nobody but the broker writes: they are few, and are not to go for want of room. */
  #systemCount = 0;
  /** No message expires before this; Infinity: none has an expiry. */
  #soonestMs = Infinity;
  /** How far the round through all places has come that sweep() makes, and what none it left behind expires before. */
  #sweptCount = 0;
  #leftMs = Infinity;
  #lastPublisher = '';
  #lastPublisherBytes: Uint8Array = EMPTY;

  constructor(countMax: number, bytesMax: number) {
    this.#countMax = countMax;
    this.#bytesMax = bytesMax;
  }

  get count(): number {
    return this.#count + this.#systemCount;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** When it is worth while to sweep. */
  get soonestExpiryMs(): number {
    return this.#soonestMs;
  }

  get(topic: Uint8Array): Retained | null {
    const node = this.#tree.find(topic);
    return node === NONE ? null : this.#at(node);
  }

  /** Whether a message may be kept. */
  hasRoom(message: Publication): boolean {
    const { topic, topicStart, topicEnd } = message;
    const bytes = messageBytes(message);
    const most = bytes + (topicEnd - topicStart + 1) * LEVEL_BYTES;
    // Only near a limit it matters what there will be, and what goes away.
    if (this.#count < this.#countMax && this.#bytes + most <= this.#bytesMax) return true;
    if (topic[topicStart] === DOLLAR) return true;
    const old = this.get(viewOf(topic, topicStart, topicEnd));
    const change = bytes + (old === null ? placeBytes(topic, topicStart, topicEnd) : -sizeOf(old));
    return (old !== null || this.#count < this.#countMax) && this.#bytes + change <= this.#bytesMax;
  }

  /** The node of a topic, made if there is none: set() must follow. */
  nodeOf(topic: Uint8Array, start: number, end: number): number {
    return this.#tree.make(topic, start, end);
  }

  placeAt(node: number): Place {
    return { node, generation: this.#tree.generationOf(node) };
  }

  isHere(place: Place): boolean {
    return this.#tree.generationOf(place.node) === place.generation;
  }

  /** Keeps a message in place of the one before; hasRoom() was asked. Answers whether that one is in the store. */
  set(node: number, message: Retainable, publisher: string, isStored: boolean): boolean {
    const topicLength = message.topicEnd - message.topicStart;
    const propertiesLength = message.propertiesEnd - message.propertiesStart;
    const payloadLength = message.payloadEnd - message.payloadStart;
    const publisherBytes = this.#publisherBytesOf(publisher);
    const publisherLength = publisherBytes.length;
    const size = messageBytes(message);
    if (message.expiresAtMs > 0) this.#noteExpiry(message.expiresAtMs);
    let block = this.#tree.valueOf(node);
    const isPlain = publisherLength === 0 && propertiesLength === 0 && !isStored;
    if (block !== NONE && isPlain && this.#renew(block, message)) return false;
    let wasStored = false;
    const isSystem = message.topic[message.topicStart] === DOLLAR;
    if (block === NONE) this.#counted(message.topic, message.topicStart, message.topicEnd, 1);
    else {
      const old = this.#fill(block);
      wasStored = old.isStored;
      if (!isSystem) this.#bytes -= sizeOf(old);
      if (!this.#slab.fits(block, HEADER_BYTES + size + publisherLength)) {
        this.#slab.giveBack(block);
        block = NONE;
      }
    }
    if (!isSystem) this.#bytes += size;
    if (block === NONE) {
      block = this.#slab.take(HEADER_BYTES + size + publisherLength);
      this.#tree.setValue(node, block);
    }
    const { bytes, words, doubles } = this.#slab.pageOf(block);
    const start = this.#slab.startOf(block);
    doubles[start >>> 3] = message.expiresAtMs;
    words[(start >>> 2) + 2] = payloadLength;
    words[(start >>> 2) + 3] = propertiesLength;
    words[(start >>> 2) + 4] = topicLength;
    words[(start >>> 2) + 5] = publisherLength;
    bytes[start + 24] = message.qos | (isStored ? STORED : 0);
    let at = copyBytes(bytes, start + HEADER_BYTES, message.topic, message.topicStart, message.topicEnd);
    at = copyBytes(bytes, at, message.properties, message.propertiesStart, message.propertiesEnd);
    at = copyBytes(bytes, at, message.payload, message.payloadStart, message.payloadEnd);
    copyBytes(bytes, at, publisherBytes, 0, publisherLength);
    return wasStored;
  }

  /**
   * Writes over a sample of the gateway's own with the next one: their topic is there. False, and nothing done, when
   * more than payload, expiry and QoS differ.
   */
  #renew(block: number, message: Retainable): boolean {
    const { bytes, words, doubles } = this.#slab.pageOf(block);
    const start = this.#slab.startOf(block);
    const word = start >>> 2;
    if (words[word + 3] !== 0 || words[word + 5] !== 0 || ((bytes[start + 24] ?? 0) & STORED) !== 0)
      return false;
    const topicLength = words[word + 4] ?? 0;
    const payloadLength = message.payloadEnd - message.payloadStart;
    if (!this.#slab.fits(block, HEADER_BYTES + topicLength + payloadLength)) return false;
    const payloadStart = start + HEADER_BYTES + topicLength;
    if (bytes[start + HEADER_BYTES] !== DOLLAR) this.#bytes += payloadLength - (words[word + 2] ?? 0);
    words[word + 2] = payloadLength;
    doubles[start >>> 3] = message.expiresAtMs;
    bytes[start + 24] = message.qos;
    copyBytes(bytes, payloadStart, message.payload, message.payloadStart, message.payloadEnd);
    return true;
  }

  /** Publishers come in runs: the one before is encoded already. */
  #publisherBytesOf(publisher: string): Uint8Array {
    if (publisher !== this.#lastPublisher) {
      this.#lastPublisher = publisher;
      this.#lastPublisherBytes = encoder.encode(publisher);
    }
    return this.#lastPublisherBytes;
  }

  /** Lets go of a topic's message; answers what it was. */
  delete(topic: Uint8Array): Retained | null {
    const node = this.#tree.find(topic);
    if (node === NONE) return null;
    const block = this.#tree.valueOf(node);
    return block === NONE ? null : this.#deleteAt(node, block);
  }

  #deleteAt(node: number, block: number): Retained {
    const old = this.#fill(block);
    const { topic, topicStart, topicEnd } = old;
    this.#counted(topic, topicStart, topicEnd, -1);
    if (topic[topicStart] !== DOLLAR) this.#bytes -= sizeOf(old);
    this.#slab.giveBack(block);
    this.#tree.clear(node);
    return old;
  }

  /**
   * Goes on by so many places with the round that looks for what has expired, which begins again at its end, and lets
   * go of that; `gone` is told of each.
   */
  sweep(nowMs: number, places: number, gone: (message: Retained) => void): void {
    if (this.#sweptCount === 0) this.#leftMs = Infinity;
    const end = Math.min(this.#sweptCount + places, this.#tree.size);
    for (let node = this.#sweptCount; node < end; node++) {
      const block = this.#tree.valueOf(node);
      const expiresAtMs = block === NONE ? 0 : this.#expiryOf(block);
      if (expiresAtMs === 0) continue;
      if (expiresAtMs <= nowMs) gone(this.#deleteAt(node, block));
      else if (expiresAtMs < this.#leftMs) this.#leftMs = expiresAtMs;
    }
    this.#sweptCount = end;
    if (end < this.#tree.size) return;
    this.#sweptCount = 0;
    this.#soonestMs = this.#leftMs;
  }

  #expiryOf(block: number): number {
    return this.#slab.pageOf(block).doubles[this.#slab.startOf(block) >>> 3] as number; // inside the block
  }

  #noteExpiry(expiresAtMs: number): void {
    if (expiresAtMs < this.#soonestMs) this.#soonestMs = expiresAtMs;
    if (expiresAtMs < this.#leftMs) this.#leftMs = expiresAtMs;
  }

  /** Every kept message whose topic matches the filter [MQTT-4.7.1-2] [MQTT-4.7.2-1]. */
  match(filter: string, found: (message: Retained) => void): void {
    const search = this.search(filter, this.newestPlace);
    for (let message = this.next(search, Infinity); message !== null; message = this.next(search, Infinity))
      found(message);
  }

  /** False: nothing matches the filter now, as far as that shows without a search. */
  mayHave(filter: string): boolean {
    if (this.count === 0) return false;
    return filter.includes('+') || filter.includes('#') || this.get(encoder.encode(filter)) !== null;
  }

  /** Which place was made last: where a search is to end that begins later. */
  get newestPlace(): number {
    return this.#tree.newestGeneration;
  }

  /** A search for what matches the filter, without places made later than that one. */
  search(filter: string, newestPlace: number): TopicSearch {
    return new TopicSearch(encoder.encode(filter), newestPlace);
  }

  /** The next message found; null: it goes on with the next so many places, or is done. */
  next(search: TopicSearch, places: number): Retained | null {
    const node = this.#tree.next(search, places);
    return node === NONE ? null : this.#at(node);
  }

  /** What is kept may change until it goes on. */
  rest(search: TopicSearch): void {
    this.#tree.rest(search);
  }

  giveUp(search: TopicSearch): void {
    this.#tree.giveUp(search);
  }

  /** A topic's place comes or goes. */
  #counted(topic: Uint8Array, start: number, end: number, change: 1 | -1): void {
    if (topic[start] === DOLLAR) this.#systemCount += change;
    else {
      this.#count += change;
      this.#bytes += change * placeBytes(topic, start, end);
    }
  }

  #at(node: number): Retained | null {
    const block = this.#tree.valueOf(node);
    return block === NONE ? null : this.#fill(block);
  }

  #fill(block: number): Retained {
    const { bytes, words, doubles } = this.#slab.pageOf(block);
    const start = this.#slab.startOf(block);
    const view = this.#view;
    const word = start >>> 2;
    view.bytes = view.topic = view.properties = view.payload = bytes;
    view.expiresAtMs = doubles[start >>> 3] as number; // as below: inside the block
    view.topicStart = start + HEADER_BYTES;
    view.topicEnd = view.propertiesStart = view.topicStart + (words[word + 4] as number);
    view.propertiesEnd = view.payloadStart = view.propertiesStart + (words[word + 3] as number);
    view.payloadEnd = view.payloadStart + (words[word + 2] as number);
    view.publisherEnd = view.payloadEnd + (words[word + 5] as number);
    const flags = bytes[start + 24] as number;
    view.qos = (flags & 3) as 0 | 1 | 2; // set() wrote one
    view.isStored = (flags & STORED) !== 0;
    view.position = 0;
    return view;
  }
}

function placeBytes(topic: Uint8Array, start: number, end: number): number {
  return levelCount(topic, start, end) * LEVEL_BYTES;
}

function messageBytes(message: Publication): number {
  const { topicStart, topicEnd, propertiesStart, propertiesEnd, payloadStart, payloadEnd } = message;
  return topicEnd - topicStart + propertiesEnd - propertiesStart + payloadEnd - payloadStart;
}

function sizeOf({ topicStart, payloadEnd }: Retained): number {
  return payloadEnd - topicStart;
}
