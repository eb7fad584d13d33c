/** What clients are denied, for who looks after the rules: MQTT 3.1.1 has no way to tell a publisher. */
import type { Clock } from '../clock.js';
import type { Log } from '../log.js';
import { Allowance } from './allowance.js';
import type { Session } from './session.js';

/** Of each client it is told once a minute, and of so many clients. */
const TOLD = { each: 1, inAll: 100 } as const;

export type Denied = 'publication' | 'subscription';

export class Denials {
  readonly #log: Log;
  readonly #told: Readonly<Record<Denied, Allowance>>;

  constructor(clock: Clock, log: Log) {
    this.#log = log;
    this.#told = { publication: new Allowance(clock, TOLD), subscription: new Allowance(clock, TOLD) };
  }

  tell(session: Session, what: Denied, topic: string): void {
    if (!this.#told[what].takes(session)) return;
    const { user, clientId: client } = session.identity;
    const error = `no access rule lets ${user === '' ? 'a client without a user' : user} ${what === 'publication' ? 'publish' : 'subscribe'} there`;
    this.#log.info(`${what} denied`, { client, user, topic, error });
  }

  stop(): void {
    this.#told.publication.stop();
    this.#told.subscription.stop();
  }
}
