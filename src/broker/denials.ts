/** What clients are denied, for who looks after the rules: MQTT 3.1.1 has no way to tell a publisher. */
import type { Cancel, Clock } from '../clock.js';
import type { Log } from '../log.js';
import type { Session } from './session.js';

/** So long a client is not told of again, and of so many clients it is told meanwhile. */
const QUIET_MS = 60_000;
const TOLD_MAX = 100;

export type Denied = 'publication' | 'subscription';

export class Denials {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #told = { publication: new Set<Session>(), subscription: new Set<Session>() };
  #cancel: Cancel | null = null;

  constructor(clock: Clock, log: Log) {
    this.#clock = clock;
    this.#log = log;
  }

  tell(session: Session, what: Denied, topic: string): void {
    const told = this.#told[what];
    if (told.has(session) || told.size >= TOLD_MAX) return;
    told.add(session);
    this.#cancel ??= this.#clock.after(QUIET_MS, () => {
      this.stop();
    });
    const { user, clientId: client } = session.identity;
    const error = `no access rule lets ${user === '' ? 'a client without a user' : user} ${what === 'publication' ? 'publish' : 'subscribe'} there`;
    this.#log.info(`${what} denied`, { client, user, topic, error });
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = null;
    this.#told.publication.clear();
    this.#told.subscription.clear();
  }
}
