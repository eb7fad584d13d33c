/**
 * How many log lines a minute may be about each of something (an address, a client), and in all: anybody who reaches a
 * listener can cause as many as he likes, which would fill a disk.
 */
import type { Cancel, Clock } from '../clock.js';

const PERIOD_MS = 60_000;

export interface AllowanceOptions {
  readonly each: number;
  readonly inAll: number;
  /** Called when a period ends. */
  readonly over?: () => void;
}

export class Allowance {
  readonly #clock: Clock;
  readonly #options: AllowanceOptions;
  /** Lines told in this period. */
  readonly #told = new Map<unknown, number>();
  #toldInAll = 0;
  #cancel: Cancel | null = null;

  constructor(clock: Clock, options: AllowanceOptions) {
    this.#clock = clock;
    this.#options = options;
  }

  /** Whether one more may be told of it. */
  takes(subject: unknown): boolean {
    const { each, inAll } = this.#options;
    this.#cancel ??= this.#clock.after(PERIOD_MS, () => this.stop());
    const told = this.#told.get(subject) ?? 0;
    if (told >= each || this.#toldInAll >= inAll) return false;
    this.#told.set(subject, told + 1);
    this.#toldInAll += 1;
    return true;
  }

  /** Ends the period. */
  stop(): void {
    this.#cancel?.();
    this.#cancel = null;
    this.#told.clear();
    this.#toldInAll = 0;
    this.#options.over?.();
  }
}
