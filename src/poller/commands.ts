/** Commands that wait for one unit, in the order they came. */
import type { TagState } from './report.js';

/** The correlation of what the poller orders itself: nobody waits for the answer. */
export const NOBODY = -1;

export interface Command {
  readonly kind: 'write' | 'read';
  /** The tag; of a recipe the first. */
  readonly state: TagState;
  /** The tags of a recipe, which are written in one request; null: one tag is. */
  readonly recipe: readonly TagState[] | null;
  readonly correlation: number;
  /** Monotonic time after which it must not be sent. */
  readonly deadlineMs: number;
  readonly payload: Uint8Array;
  /** Of a read of what is calculated, once it has begun: monotonic time since which all must have been read. */
  readonly sinceMs?: number;
  /** Order of arrival on the bus. */
  readonly sequence: number;
}

/** It is for all units of the line, and waits for no answer of its own. */
export function isBroadcast({ kind, state }: Pick<Command, 'kind' | 'state'>): boolean {
  return kind === 'write' && state.tag.write?.broadcast === true;
}

/** First in, first out; taking from the front costs the same however many wait. */
export class CommandQueue {
  #items: (Command | undefined)[] = [];
  #head = 0;

  get length(): number {
    return this.#items.length - this.#head;
  }

  get first(): Command | undefined {
    return this.#items[this.#head];
  }

  push(command: Command): void {
    this.#items.push(command);
  }

  shift(): Command | undefined {
    const command = this.#items[this.#head];
    if (command === undefined) return undefined;
    this.#items[this.#head] = undefined;
    this.#head += 1;
    if (this.#head > 64 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return command;
  }

  /** Takes out every command that the test picks. */
  takeWhere(test: (command: Command) => boolean): Command[] {
    const taken: Command[] = [];
    const kept: Command[] = [];
    for (let at = this.#head; at < this.#items.length; at += 1) {
      const command = this.#items[at];
      if (command !== undefined) (test(command) ? taken : kept).push(command);
    }
    if (taken.length > 0) {
      this.#items = kept;
      this.#head = 0;
    }
    return taken;
  }
}
