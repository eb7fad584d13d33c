/**
 * From the topic of a command to its tag, without keeping the topics: they are two for each tag, and made of its name.
 * A table of hashes; what it points at is asked for its topic.
 */
import type { Tag } from '../config/plant.js';

export type CommandKind = 'write' | 'read';

export class CommandTopics {
  readonly #tags: readonly Tag[];
  /** Position of a tag and whether it is read, by the hash of the topic or the next place that was free; 0: free. */
  readonly #slots: Uint32Array;

  constructor(tags: readonly Tag[]) {
    this.#tags = tags;
    this.#slots = new Uint32Array(2 ** Math.ceil(Math.log2(4 * tags.length + 2)));
    for (const [position, tag] of tags.entries()) {
      this.#put(tag.setTopic, 2 * position + 1);
      this.#put(tag.getTopic, 2 * position + 2);
    }
  }

  find(topic: string): { readonly tag: Tag; readonly kind: CommandKind } | null {
    for (let at = this.#placeOf(topic); ; at = this.#after(at)) {
      const entry = this.#slots[at] ?? 0;
      const tag = this.#tags[(entry - 1) >>> 1];
      if (entry === 0 || tag === undefined) return null;
      const kind = entry % 2 === 1 ? 'write' : 'read';
      if ((kind === 'write' ? tag.setTopic : tag.getTopic) === topic) return { tag, kind };
    }
  }

  #put(topic: string, entry: number): void {
    let at = this.#placeOf(topic);
    while (this.#slots[at] !== 0) at = this.#after(at);
    this.#slots[at] = entry;
  }

  #placeOf(topic: string): number {
    let hash = 0x811c9dc5;
    for (let at = 0; at < topic.length; at++) hash = Math.imul(hash ^ topic.charCodeAt(at), 0x01000193);
    return (hash ^ (hash >>> 15)) & (this.#slots.length - 1);
  }

  #after(at: number): number {
    return (at + 1) & (this.#slots.length - 1);
  }
}
