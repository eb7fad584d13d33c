/**
 * What all queues together take of memory: their messages are in the store, but a few bytes of each are here, so that many
 * clients who are away could fill it, and then nobody was let in any more who would fetch them. Beyond a share of the memory
 * limit the longest queue loses its oldest messages, as one does that is beyond limits of its own.
 */
import type { Cancel, Clock } from '../clock.js';

/** A session that may have messages in the store. */
export interface Queueing {
  readonly isKept: boolean;
  readonly queuedMessages: number;
  /** Lets go of so many of the oldest that wait. */
  shorten(count: number): void;
}

/** What one message takes, and the share of the memory limit that all may take. */
const MESSAGE_BYTES = 16;
const SHARE = 1 / 8;
const LOOK_MS = 1000;
/** So many go in a turn. */
const SLICE = 1000;

export class Crowding {
  readonly #clock: Clock;
  readonly #sessions: ReadonlyMap<string, Queueing>;
  readonly #maxMessages: number;
  readonly #afterTurn: (then: () => void) => void;
  #cancel: Cancel | null = null;

  constructor(
    clock: Clock,
    sessions: ReadonlyMap<string, Queueing>,
    maxMemoryBytes: number,
    afterTurn: (then: () => void) => void,
  ) {
    this.#clock = clock;
    this.#sessions = sessions;
    this.#maxMessages = Math.floor((maxMemoryBytes * SHARE) / MESSAGE_BYTES);
    this.#afterTurn = afterTurn;
  }

  start(): void {
    if (this.#maxMessages < Infinity) this.#lookLater();
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = null;
  }

  #lookLater(): void {
    this.#cancel = this.#clock.after(LOOK_MS, () => this.#look());
  }

  #look(): void {
    let count = 0;
    let longest: Queueing | null = null;
    for (const session of this.#sessions.values()) {
      if (!session.isKept) continue;
      const { queuedMessages } = session;
      count += queuedMessages;
      if (queuedMessages > (longest?.queuedMessages ?? 0)) longest = session;
    }
    if (longest === null || count <= this.#maxMessages) return this.#lookLater();
    longest.shorten(Math.min(SLICE, count - this.#maxMessages));
    this.#afterTurn(() => {
      if (this.#cancel !== null) this.#look();
    });
  }
}
