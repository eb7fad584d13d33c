/** The trie of topic names: topic filter in, retained messages out. It owns the retained messages and their limits. */
import { copyBytes } from './codec.js';

/** Only the message that is kept now is of use: what is not in the store is written over by its successor. */
export interface Retained {
  readonly topic: string;
  /** What stands behind payloadEnd is room for a longer one. */
  payload: Uint8Array;
  payloadEnd: number;
  /** To forward, without message expiry. */
  properties: Uint8Array;
  qos: 0 | 1 | 2;
  /** Wall time in ms; 0: never. */
  expiresAtMs: number;
  /** It is in the store, too. */
  readonly isStored: boolean;
  /** Client identifier of who published it; empty: the gateway itself. */
  publisher: string;
}

/** Where a topic's message is kept. Who publishes there again may come back to it, unless it was cut off. */
export class Place {
  children: Map<string, Place> | null = null;
  message: Retained | null = null;
  isCutOff = false;
}

const ROOM_BYTES = 16;
/** Room beyond this share of a payload is given up: what is kept is counted by its length. */
const ROOM_SHARE = 2;

export class RetainedMessages {
  readonly #root = new Place();
  readonly #countMax: number;
  readonly #bytesMax: number;
  #count = 0;
  #bytes = 0;

  constructor(countMax: number, bytesMax: number) {
    this.#countMax = countMax;
    this.#bytesMax = bytesMax;
  }

  get count(): number {
    return this.#count;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get(topic: string): Retained | null {
    let level: Place | undefined = this.#root;
    for (const name of topic.split('/')) {
      level = level.children?.get(name);
      if (level === undefined) return null;
    }
    return level.message;
  }

  /** Whether a message of this size may be kept for the topic. */
  hasRoom(topic: string, bytes: number): boolean {
    // Only near a limit it matters what goes away.
    if (this.#count < this.#countMax && this.#bytes + topic.length + bytes <= this.#bytesMax) return true;
    const old = this.get(topic);
    return (
      (old !== null || this.#count < this.#countMax) &&
      this.#bytes + topic.length + bytes - (old === null ? 0 : sizeOf(old)) <= this.#bytesMax
    );
  }

  /** The topic's place, made if there is none: a message must follow. */
  placeOf(topic: string): Place {
    let level = this.#root;
    for (const name of topic.split('/')) {
      level.children ??= new Map();
      let child = level.children.get(name);
      if (child === undefined) {
        child = new Place();
        level.children.set(name, child);
      }
      level = child;
    }
    return level;
  }

  /** Keeps a message in place of the one before, which is the answer; hasRoom() was asked. */
  set(message: Retained, place = this.placeOf(message.topic)): Retained | null {
    const old = place.message;
    if (old === null) this.#count++;
    else this.#bytes -= sizeOf(old);
    place.message = message;
    this.#bytes += sizeOf(message);
    return old;
  }

  /** Puts bytes[start..end) in place of a message's payload, whose room is used when they fit; and its properties. */
  overwrite(message: Retained, bytes: Uint8Array, start: number, end: number, properties: Uint8Array): void {
    const length = end - start;
    const room = message.payload.length;
    this.#bytes += length + properties.length - message.payloadEnd - message.properties.length;
    message.properties = properties;
    if (length > room || room > ROOM_BYTES + ROOM_SHARE * length)
      message.payload = new Uint8Array(Math.ceil(length / ROOM_BYTES) * ROOM_BYTES);
    message.payloadEnd = copyBytes(message.payload, 0, bytes, start, end);
  }

  /** Lets go of a topic's message; answers what it was. */
  delete(topic: string): Retained | null {
    const path: Place[] = [this.#root];
    const names = topic.split('/');
    for (const name of names) {
      const next = path.at(-1)?.children?.get(name);
      if (next === undefined) return null;
      path.push(next);
    }
    const last = path.at(-1);
    const message = last?.message ?? null;
    if (last === undefined || message === null) return null;
    last.message = null;
    this.#count--;
    this.#bytes -= sizeOf(message);
    for (let i = path.length - 1; i > 0; i--) {
      const level = path[i];
      if (level === undefined || level.message !== null || level.children !== null) break;
      level.isCutOff = true;
      const above = path[i - 1];
      above?.children?.delete(names[i - 1] ?? '');
      if (above !== undefined && above.children?.size === 0) above.children = null;
    }
    return message;
  }

  /** Every kept message whose topic matches the filter [MQTT-4.7.1-2] [MQTT-4.7.2-1]. */
  match(filter: string, found: (message: Retained) => void): void {
    const names = filter.split('/');
    let current: Place[] = [this.#root];
    for (let i = 0; i < names.length; i++) {
      const name = names[i] ?? '';
      if (name === '#') {
        for (const level of current) walk(level, i === 0, found);
        return;
      }
      const next: Place[] = [];
      for (const level of current) {
        if (name !== '+') {
          const child = level.children?.get(name);
          if (child !== undefined) next.push(child);
          continue;
        }
        for (const [childName, child] of level.children ?? []) {
          if (i > 0 || childName.charCodeAt(0) !== 0x24) next.push(child);
        }
      }
      current = next;
    }
    for (const { message } of current) if (message !== null) found(message);
  }
}

/** Everything at and below a level; at the root without what begins with `$`. Without recursion. */
function walk(top: Place, isRoot: boolean, found: (message: Retained) => void): void {
  const stack: Place[] = [];
  if (!isRoot) stack.push(top);
  else {
    for (const [name, child] of top.children ?? []) if (name.charCodeAt(0) !== 0x24) stack.push(child);
    stack.reverse();
  }
  for (let level = stack.pop(); level !== undefined; level = stack.pop()) {
    if (level.message !== null) found(level.message);
    if (level.children === null) continue;
    const children = [...level.children.values()];
    for (let i = children.length - 1; i >= 0; i--) {
      const child = children[i];
      if (child !== undefined) stack.push(child);
    }
  }
}

function sizeOf(message: Retained): number {
  return message.topic.length + message.payloadEnd + message.properties.length;
}
