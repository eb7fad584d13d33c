/**
 * Log lines about connections that were refused, or closed for what came of them. Anybody who reaches a listener can cause
 * as many as he likes, which would fill a disk: of one address, and of all, so many are told in a minute; the rest are counted.
 */
import type { Cancel, Clock } from '../clock.js';
import type { Fields, Log } from '../log.js';

const PERIOD_MS = 60_000;
/** Lines of a period about one address, and in all. */
const TOLD_MAX = 20;
const TOLD_IN_ALL_MAX = 200;

export class Farewells {
  readonly #clock: Clock;
  readonly #log: Log;
  /** Lines told of each address in this period. */
  readonly #told = new Map<string, number>();
  #toldInAll = 0;
  #untold = 0;
  #last: Fields = {};
  #cancel: Cancel | null = null;

  constructor(clock: Clock, log: Log) {
    this.#clock = clock;
    this.#log = log;
  }

  /** host: its address without the port. */
  tell(host: string, message: string, fields: Fields): void {
    this.#cancel ??= this.#clock.after(PERIOD_MS, () => this.stop());
    const told = this.#told.get(host) ?? 0;
    if (told < TOLD_MAX && this.#toldInAll < TOLD_IN_ALL_MAX) {
      this.#told.set(host, told + 1);
      this.#toldInAll += 1;
      this.#log.info(message, fields);
    } else {
      this.#untold += 1;
      this.#last = fields;
    }
  }

  /** Ends the period, and tells how many there were beside those that were told, with the last of them. */
  stop(): void {
    this.#cancel?.();
    this.#cancel = null;
    if (this.#untold > 0)
      this.#log.info('more connections were refused or closed', { ...this.#last, count: this.#untold });
    this.#told.clear();
    this.#toldInAll = 0;
    this.#untold = 0;
  }
}
