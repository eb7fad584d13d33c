/** Queues that overflow: told at once when it begins, then summed up, so that a flood of messages is none of news. */
import type { Cancel, Clock } from '../clock.js';
import type { Log } from '../log.js';

/** How often a session's overflow is told. */
const OVERFLOW_MS = 10_000;

export class Overflow {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #told: (clientId: string, count: number) => void;
  readonly #counts = new Map<string, number>();
  #cancel: Cancel | null = null;

  constructor(clock: Clock, log: Log, told: (clientId: string, count: number) => void) {
    this.#clock = clock;
    this.#log = log;
    this.#told = told;
  }

  /** So many messages left a queue because it was full. */
  count(clientId: string, count: number): void {
    this.#counts.set(clientId, (this.#counts.get(clientId) ?? 0) + count);
    this.#cancel ??= this.#clock.after(0, this.#tell);
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = null;
  }

  readonly #tell = (): void => {
    const counts = [...this.#counts];
    this.#counts.clear();
    this.#cancel = counts.length === 0 ? null : this.#clock.after(OVERFLOW_MS, this.#tell);
    for (const [clientId, dropped] of counts) {
      this.#log.warn('queue is full: the oldest messages were dropped', { client: clientId, dropped });
      this.#told(clientId, dropped);
    }
  };
}
