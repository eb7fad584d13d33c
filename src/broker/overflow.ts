/**
 * Queues that overflow: told at once when it begins, then summed up, so that a flood of messages is none of news. A client
 * may be away for weeks: the log has a line of it each hour.
 */
import type { Cancel, Clock } from '../clock.js';
import type { Log } from '../log.js';

/** How often a session's overflow is told, and how often it is logged. */
const OVERFLOW_MS = 10_000;
const LOGGED_MS = 3_600_000;
/** Of so many sessions there is a line each; the others have one together. */
const LOGGED_MAX = 100;

export class Overflow {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #told: (clientId: string, count: number) => void;
  readonly #counts = new Map<string, number>();
  /** What was told and is not logged yet. */
  #unlogged = new Map<string, number>();
  #cancel: Cancel | null = null;
  #cancelLogging: Cancel | null = null;

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
    this.#cancelLogging?.();
    this.#cancelLogging = null;
  }

  readonly #tell = (): void => {
    const counts = [...this.#counts];
    this.#counts.clear();
    this.#cancel = counts.length === 0 ? null : this.#clock.after(OVERFLOW_MS, this.#tell);
    for (const [clientId, dropped] of counts) {
      this.#note(clientId, dropped);
      this.#told(clientId, dropped);
    }
  };

  /** Logs it when nothing was for an hour, or waits with it for the end of that. */
  #note(clientId: string, dropped: number): void {
    const unlogged = this.#unlogged.get(clientId);
    const isLogged = unlogged === undefined && this.#unlogged.size < LOGGED_MAX;
    this.#unlogged.set(clientId, isLogged ? 0 : (unlogged ?? 0) + dropped);
    this.#cancelLogging ??= this.#clock.after(LOGGED_MS, this.#sumUp);
    if (isLogged)
      this.#log.warn('queue is full: the oldest messages were dropped', { client: clientId, dropped });
  }

  readonly #sumUp = (): void => {
    const unlogged = [...this.#unlogged].filter(([, dropped]) => dropped > 0);
    this.#unlogged = new Map();
    this.#cancelLogging = null;
    for (const [clientId, dropped] of unlogged.slice(0, LOGGED_MAX)) this.#note(clientId, dropped);
    const others = unlogged.slice(LOGGED_MAX);
    if (others.length === 0) return;
    const dropped = others.reduce((sum, [, count]) => sum + count, 0);
    this.#log.warn('more queues are full: their oldest messages were dropped', {
      clients: others.length,
      dropped,
    });
  };
}
