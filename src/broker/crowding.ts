/**
 * What all queues together take of memory. Their messages are on the disk, but a few bytes of each are here, or all of it
 * where the store is in memory: many clients who are away could fill that, and then nobody was let in any more who would
 * fetch them. Beyond a share of the memory limit the longest queue loses its oldest messages, as one does that is beyond
 * limits of its own.
 */
import type { Cancel, Clock } from '../clock.js';
import type { Store } from '../store/store.js';

/** A session that may have messages in the store. */
export interface Queueing {
  readonly isKept: boolean;
  readonly queuedMessages: number;
  readonly queuedBytes: number;
  /** Lets go of so many of the oldest that wait. */
  shorten(count: number): void;
}

/** What is here of one message, wherever its content is. */
const MESSAGE_BYTES = 16;
/** Of the memory limit, for all of them: without their contents, and with these. */
const SHARE = 1 / 8;
const SHARE_WITH_CONTENTS = 1 / 4;
const LOOK_MS = 1000;
/** So many messages go in a turn at most. */
const SLICE = 1000;

export class Crowding {
  readonly #clock: Clock;
  readonly #store: Store;
  readonly #sessions: ReadonlyMap<string, Queueing>;
  readonly #maxBytes: number;
  readonly #afterTurn: (then: () => void) => void;
  #cancel: Cancel | null = null;

  constructor(
    clock: Clock,
    store: Store,
    sessions: ReadonlyMap<string, Queueing>,
    maxMemoryBytes: number,
    afterTurn: (then: () => void) => void,
  ) {
    this.#clock = clock;
    this.#store = store;
    this.#sessions = sessions;
    this.#maxBytes = maxMemoryBytes * (this.#hasContents ? SHARE_WITH_CONTENTS : SHARE);
    this.#afterTurn = afterTurn;
  }

  start(): void {
    if (this.#maxBytes < Infinity) this.#lookLater();
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = null;
  }

  #lookLater(): void {
    this.#cancel = this.#clock.after(LOOK_MS, () => this.#look());
  }

  #look(): void {
    let bytes = this.#store.contentBytes ?? 0;
    let longest: Queueing | null = null;
    let mostBytes = 0;
    for (const session of this.#sessions.values()) {
      if (!session.isKept || session.queuedMessages === 0) continue;
      bytes += session.queuedMessages * MESSAGE_BYTES;
      const ownBytes = this.#bytesOf(session);
      if (ownBytes <= mostBytes) continue;
      longest = session;
      mostBytes = ownBytes;
    }
    if (longest === null || bytes <= this.#maxBytes) return this.#lookLater();
    const messageBytes = mostBytes / longest.queuedMessages;
    // Half of it: a message may free more than it has bytes.
    const count = Math.ceil((bytes - this.#maxBytes) / messageBytes / 2);
    longest.shorten(Math.min(SLICE, count));
    this.#afterTurn(() => {
      if (this.#cancel !== null) this.#look();
    });
  }

  get #hasContents(): boolean {
    return this.#store.contentBytes !== undefined;
  }

  /** What would be free without it, unless others wait for the same messages. */
  #bytesOf({ queuedMessages, queuedBytes }: Queueing): number {
    return queuedMessages * MESSAGE_BYTES + (this.#hasContents ? queuedBytes : 0);
  }
}
