/**
 * Topics whose retained message the store did not take, because the disk refused or did not keep up and nobody waits for
 * an answer. Subscribers get it as ever; it is stored once the store takes messages again, or a start would bring back the
 * one before it.
 */
import type { Cancel, Clock } from '../clock.js';
import type { Store } from '../store/store.js';
import type { Turns } from './turns.js';

/** How often it is looked whether the store takes messages again. */
const LOOK_MS = 1000;
const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

export class Unstored {
  readonly #clock: Clock;
  readonly #store: Store;
  readonly #turns: Turns;
  /** Stores what a topic retains now, if anything. */
  readonly #keep: (topic: Uint8Array) => void;
  readonly #topics = new Set<string>();
  #cancelLook: Cancel | null = null;

  constructor(clock: Clock, store: Store, turns: Turns, keep: (topic: Uint8Array) => void) {
    this.#clock = clock;
    this.#store = store;
    this.#turns = turns;
    this.#keep = keep;
  }

  add(topic: Uint8Array): void {
    this.#topics.add(decoder.decode(topic));
    this.#lookLater();
  }

  /** It retains nothing any more. */
  forget(topic: Uint8Array): void {
    if (this.#topics.size > 0) this.#topics.delete(decoder.decode(topic));
  }

  #lookLater(): void {
    this.#cancelLook ??= this.#clock.after(LOOK_MS, () => {
      this.#cancelLook = null;
      this.#look();
      if (this.#topics.size > 0) this.#lookLater();
    });
  }

  #look(): void {
    for (const topic of this.#topics) {
      if (!this.#store.isHealthy || this.#turns.isBacklogged) return;
      this.#topics.delete(topic);
      this.#keep(encoder.encode(topic));
    }
  }

  stop(): void {
    this.#look();
    this.#cancelLook?.();
    this.#cancelLook = null;
  }
}
