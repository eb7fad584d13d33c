/**
 * What an uplink is subscribed to over there: the fewest filters that bring all that its rules want, since a far side may
 * send a message once for each that it matches. A filter that is refused costs only what would come by it: that is told
 * when it begins and when it ends, and the filter is asked for again while the connection lasts. A far side that says no
 * by ending the connection is asked later, so that what goes out has its time.
 */
import { covers } from '../broker/topic.js';
import type { Cancel, Clock } from '../clock.js';
import type { UplinkRule } from '../config/plant.js';
import type { Log } from '../log.js';
import { type Remote, SubscriptionRefused } from './client.js';
import type { Subscribed } from './subscribed.js';

export interface SubscriptionsOptions {
  readonly uplink: string;
  readonly rules: readonly UplinkRule[];
  /** What the far side's session may hold from before. */
  readonly subscribed: Subscribed;
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
  readonly #filters: readonly string[];
  /** Why, by the filter; it outlives connections, so that it is news once. */
  readonly #refused = new Map<string, string>();
  /** On this connection. */
  readonly #granted = new Set<string>();
  /** Null between connections. */
  #remote: Remote | null = null;
  #cancel: Cancel | null = null;
  #isAsking = false;
  #endedCount = 0;
  /** Connections in a row that ended while it was asked to end subscriptions. */
  #leftInVain = 0;

  constructor(options: SubscriptionsOptions) {
    this.#options = options;
    this.#filters = [...new Set(options.rules.map(({ from }) => from))];
  }

  /** Resolves when each was answered; rejects when one was not. */
  async start(remote: Remote): Promise<void> {
    this.#remote = remote;
    this.#granted.clear();
    const filters = outermost(this.#filters);
    if (this.#endedCount < ENDED_MAX) return this.#askFor(remote, filters);
    this.#endedCount--;
    this.#options.changed(`the far side ends the connection when it is asked for ${filters.join(', ')}`);
    this.#askLater(remote, filters);
  }

  stop(): void {
    if (this.#isAsking) this.#endedCount++;
    this.#isAsking = false;
    this.#remote = null;
    this.#cancel?.();
  }

  async #askFor(remote: Remote, filters: readonly string[]): Promise<void> {
    this.#isAsking = filters.length > 0;
    const answers = await Promise.all(filters.map((filter) => answerOf(remote, filter, this.#qosOf(filter))));
    if (remote !== this.#remote) return;
    this.#isAsking = false;
    this.#endedCount = 0;
    for (const [index, filter] of filters.entries()) this.#take(filter, answers[index] ?? null);
    const wanted = outermost(this.#filters.filter((filter) => !this.#refused.has(filter)));
    // What a filter that is refused would have brought may come by narrower ones.
    const narrower = wanted.filter((filter) => !this.#granted.has(filter));
    if (narrower.length > 0) return this.#askFor(remote, narrower);
    this.#options.changed([...this.#refused.values()].join('; '));
    if (this.#refused.size > 0) this.#askLater(remote, [...this.#refused.keys()]);
    this.#leaveAllBut(wanted, remote).catch(() => {});
  }

  #askLater(remote: Remote, filters: readonly string[]): void {
    this.#cancel = this.#options.clock.after(AGAIN_MS, () => {
      this.#askFor(remote, filters).catch(this.#options.failed);
    });
  }

  /**
   * Ends what the session holds beside these: of rules that are no more, and what came by a narrower filter until a wider
   * one was granted.
   */
  async #leaveAllBut(wanted: readonly string[], remote: Remote): Promise<void> {
    const { subscribed } = this.#options;
    const held = [...wanted, ...this.#refused.keys()];
    const others = [...new Set([...subscribed.filters, ...this.#granted])].filter(
      (filter) => !held.includes(filter),
    );
    await subscribed.remember([...held, ...others]);
    if (others.length === 0 || this.#leftInVain >= ENDED_MAX) return;
    this.#leftInVain++;
    await Promise.all(others.map((filter) => remote.unsubscribe(filter)));
    this.#leftInVain = 0;
    for (const filter of others) this.#granted.delete(filter);
    await subscribed.remember(held);
  }

  /** The most that a rule wants of what comes by this filter. */
  #qosOf(filter: string): 0 | 1 | 2 {
    const rules = this.#options.rules.filter(({ from }) => covers(filter, from));
    return Math.max(...rules.map(({ qos }) => qos)) as 0 | 1 | 2; // the most of these is one of these
  }

  #take(filter: string, error: string | null): void {
    const { log, uplink } = this.#options;
    const isNews = this.#refused.has(filter) === (error === null);
    if (error === null) {
      this.#granted.add(filter);
      for (const other of [...this.#refused.keys()]) if (covers(filter, other)) this.#refused.delete(other);
    } else this.#refused.set(filter, error);
    if (!isNews) return;
    if (error === null) log.info('the far side grants the subscription now', { uplink, filter });
    else log.warn('what would come from there does not; asked for again every minute', { uplink, error });
  }
}

/** Those that no other of them covers. */
function outermost(filters: readonly string[]): string[] {
  return filters.filter((inner) => !filters.some((outer) => outer !== inner && covers(outer, inner)));
}

/** Why it was refused; null: it was not. */
async function answerOf(remote: Remote, filter: string, qos: 0 | 1 | 2): Promise<string | null> {
  try {
    await remote.subscribe(filter, qos);
    return null;
  } catch (thrown) {
    if (thrown instanceof SubscriptionRefused) return thrown.message;
    throw thrown;
  }
}
