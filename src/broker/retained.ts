/** The trie of topic names: topic filter in, retained messages out. It owns the retained messages and their limits. */

export interface Retained {
  readonly topic: string;
  readonly payload: Uint8Array;
  /** To forward, without message expiry. */
  readonly properties: Uint8Array;
  readonly qos: 0 | 1 | 2;
  /** Wall time in ms; 0: never. */
  readonly expiresAtMs: number;
  /** It is in the store, too. */
  readonly isStored: boolean;
  /** Client identifier of who published it; empty: the gateway itself. */
  readonly publisher: string;
}

class Level {
  children: Map<string, Level> | null = null;
  message: Retained | null = null;
}

export class RetainedMessages {
  readonly #root = new Level();
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
    let level: Level | undefined = this.#root;
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

  /** Keeps a message in place of the one before, which is the answer; hasRoom() was asked. */
  set(message: Retained): Retained | null {
    let level = this.#root;
    for (const name of message.topic.split('/')) {
      level.children ??= new Map();
      let child = level.children.get(name);
      if (child === undefined) {
        child = new Level();
        level.children.set(name, child);
      }
      level = child;
    }
    const old = level.message;
    if (old === null) this.#count++;
    else this.#bytes -= sizeOf(old);
    level.message = message;
    this.#bytes += sizeOf(message);
    return old;
  }

  /** Lets go of a topic's message; answers what it was. */
  delete(topic: string): Retained | null {
    const path: Level[] = [this.#root];
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
      const above = path[i - 1];
      above?.children?.delete(names[i - 1] ?? '');
      if (above !== undefined && above.children?.size === 0) above.children = null;
    }
    return message;
  }

  /** Every kept message whose topic matches the filter [MQTT-4.7.1-2] [MQTT-4.7.2-1]. */
  match(filter: string, found: (message: Retained) => void): void {
    const names = filter.split('/');
    let current: Level[] = [this.#root];
    for (let i = 0; i < names.length; i++) {
      const name = names[i] ?? '';
      if (name === '#') {
        for (const level of current) walk(level, i === 0, found);
        return;
      }
      const next: Level[] = [];
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
function walk(top: Level, isRoot: boolean, found: (message: Retained) => void): void {
  const stack: Level[] = [];
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
  return message.topic.length + message.payload.length + message.properties.length;
}
