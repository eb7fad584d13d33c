/**
 * What an uplink is subscribed to over there. A filter that is refused costs only what would come by it: that is told
 * when it begins and when it ends, and the filter is asked for again while the connection lasts. A far side that says no
 * by ending the connection is asked later, so that what goes out has its time.
 */
import type { Cancel, Clock } from '../clock.js';
import type { UplinkRule } from '../config/plant.js';
import type { Log } from '../log.js';
import { type Remote, SubscriptionRefused } from './client.js';

export interface SubscriptionsOptions {
  readonly uplink: string;
  readonly rules: readonly UplinkRule[];
  readonly clock: Clock;
  readonly log: Log;
  /** Refused now, or not any more: why, and empty when nothing is. */
  readonly changed: (why: string) => void;
  /** The connection is no good. */
  readonly failed: (error: unknown) => void;
}

const AGAIN_MS = 60_000;
/** So many connections in a row that ended while it was asked for, and the next one begins without. */
const ENDED_MAX = 3;

export class Subscriptions {
  readonly #options: SubscriptionsOptions;
  /** Why, by the filter; it outlives connections, so that it is news once. */
  readonly #refused = new Map<string, string>();
  /** Null between connections. */
  #remote: Remote | null = null;
  #cancel: Cancel | null = null;
  #isAsking = false;
  #endedCount = 0;

  constructor(options: SubscriptionsOptions) {
    this.#options = options;
  }

  /** Resolves when each was answered; rejects when one was not. */
  async start(remote: Remote): Promise<void> {
    const { rules, changed } = this.#options;
    this.#remote = remote;
    if (this.#endedCount < ENDED_MAX) return this.#askFor(remote, rules);
    this.#endedCount--;
    changed(
      `the far side ends the connection when it is asked for ${rules.map(({ from }) => from).join(', ')}`,
    );
    this.#askLater(remote, rules);
  }

  stop(): void {
    if (this.#isAsking) this.#endedCount++;
    this.#isAsking = false;
    this.#remote = null;
    this.#cancel?.();
  }

  async #askFor(remote: Remote, rules: readonly UplinkRule[]): Promise<void> {
    this.#isAsking = rules.length > 0;
    const answers = await Promise.all(rules.map((rule) => answerOf(remote, rule)));
    if (remote !== this.#remote) return;
    this.#isAsking = false;
    this.#endedCount = 0;
    for (const [index, { from }] of rules.entries()) this.#take(from, answers[index] ?? null);
    this.#options.changed([...this.#refused.values()].join('; '));
    const refused = rules.filter(({ from }) => this.#refused.has(from));
    if (refused.length > 0) this.#askLater(remote, refused);
  }

  #askLater(remote: Remote, rules: readonly UplinkRule[]): void {
    this.#cancel = this.#options.clock.after(AGAIN_MS, () => {
      this.#askFor(remote, rules).catch(this.#options.failed);
    });
  }

  #take(filter: string, error: string | null): void {
    const { log, uplink } = this.#options;
    const isNews = this.#refused.has(filter) === (error === null);
    if (error === null) this.#refused.delete(filter);
    else this.#refused.set(filter, error);
    if (!isNews) return;
    if (error === null) log.info('the far side grants the subscription now', { uplink, filter });
    else log.warn('what would come from there does not; asked for again every minute', { uplink, error });
  }
}

/** Why it was refused; null: it was not. */
async function answerOf(remote: Remote, { from, qos }: UplinkRule): Promise<string | null> {
  try {
    await remote.subscribe(from, qos);
    return null;
  } catch (thrown) {
    if (thrown instanceof SubscriptionRefused) return thrown.message;
    throw thrown;
  }
}
