/**
 * What comes from a broker elsewhere on one connection: published here, and acknowledged there, in its order, once it is
 * kept. What cannot be kept now is left to the other side.
 */
import type { Debtor, Owed } from './commits.js';
import type { Core } from './core.js';
import type { Insiders } from './insiders.js';
import type { Message, MessageInflow } from './message.js';

export class Inflow implements MessageInflow, Debtor {
  readonly #core: Core;
  readonly #insiders: Insiders;
  readonly #acknowledge: (ticket: number) => void;
  #owedCount = 0;
  #settled = (): void => {};

  constructor(core: Core, insiders: Insiders, acknowledge: (ticket: number) => void) {
    this.#core = core;
    this.#insiders = insiders;
    this.#acknowledge = acknowledge;
  }

  get canKeep(): boolean {
    return this.#core.store.isHealthy;
  }

  publish(message: Message, ticket: number): boolean {
    const outcome = this.#insiders.publish(message, ticket !== 0);
    if (outcome === 'refused') return false;
    this.#answer(ticket, outcome === 'owed');
    return true;
  }

  pass(ticket: number): void {
    this.#answer(ticket, true);
  }

  settled(): Promise<void> {
    return this.#owedCount === 0 ? Promise.resolve() : new Promise((resolve) => (this.#settled = resolve));
  }

  /** Acknowledgements leave in the order of what they acknowledge [MQTT-4.6.0-2]. */
  #answer(ticket: number, isOwed: boolean): void {
    if (ticket === 0) return;
    if (!isOwed && this.#owedCount === 0) return this.#acknowledge(ticket);
    this.#owedCount++;
    this.#core.turns.owe(this, ticket);
  }

  /** What was taken is not given up: it is acknowledged once the disk takes it again. */
  settle(owed: Owed, isKept: boolean): boolean {
    if (!isKept) return true;
    this.#owedCount--;
    if (typeof owed === 'number') this.#acknowledge(owed);
    if (this.#owedCount === 0) this.#settled();
    return false;
  }
}
