/**
 * Log lines about connections that were refused, or closed for what came of them: of one address, and of all, so many are
 * told in a minute; the rest are counted.
 */
import type { Clock } from '../clock.js';
import type { Fields, Log } from '../log.js';
import { Allowance } from './allowance.js';

export class Farewells {
  readonly #log: Log;
  readonly #told: Allowance;
  #untold = 0;
  #last: Fields = {};

  constructor(clock: Clock, log: Log) {
    this.#log = log;
    this.#told = new Allowance(clock, { each: 20, inAll: 200, over: () => this.#sumUp() });
  }

  /** host: its address without the port. */
  tell(host: string, message: string, fields: Fields): void {
    if (this.#told.takes(host)) return this.#log.info(message, fields);
    this.#untold += 1;
    this.#last = fields;
  }

  stop(): void {
    this.#told.stop();
  }

  /** How many there were beside those that were told, with the last of them. */
  #sumUp(): void {
    if (this.#untold > 0)
      this.#log.info('more connections were refused or closed', { ...this.#last, count: this.#untold });
    this.#untold = 0;
  }
}
