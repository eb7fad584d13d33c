/**
 * What a session that ends leaves to the other members of its shared subscriptions (MQTT 5, 4.8.2): the messages that
 * wait for it or were not acknowledged. QoS 2 that was begun goes to nobody else [MQTT-4.8.2-5].
 */
import type { Clock } from '../clock.js';
import type { Store } from '../store/store.js';
import { AWAITS_PUBREC } from './inflight.js';
import type { Outgoing } from './outgoing.js';
import { groupKey } from './route.js';
import type { Left, Session } from './session.js';

const SLICE = 100;
/** When a disk that refuses is asked again. */
const RETRY_MS = 1000;

/** Who passes the messages on. */
export interface Executor {
  readonly store: Store;
  readonly clock: Clock;
  /** The gateway ends: what is not passed on yet is by the next start. */
  readonly isStopped: boolean;
  redistribute(session: Session, share: string, message: Outgoing, qos: 1 | 2): void;
  /** Goes on when this turn's output is written. */
  afterTurn(then: () => void): void;
}

/** Passes on what a session had in memory, some of it each turn: that may be hundreds of thousands. */
export function handOn(executor: Executor, session: Session, left: Iterator<Left | null>): void {
  for (let count = 0; count < SLICE; count++) {
    const next = left.next();
    if (next.done === true) return;
    if (next.value !== null && !executor.isStopped && !hasExpired(next.value.message, executor.clock)) {
      const { entry, message, qos } = next.value;
      executor.redistribute(session, groupKey(entry), message, qos);
    }
  }
  executor.afterTurn(() => handOn(executor, session, left));
}

function hasExpired({ expiresAtMs }: Outgoing, clock: Clock): boolean {
  return expiresAtMs > 0 && expiresAtMs <= clock.nowMs();
}

/** Whether a session has something in the store at its end that may have come by a share. */
export function hasHeritage(session: Session): boolean {
  return session.isKept && session.wasMember && session.queuedMessages + session.inFlight.count > 0;
}

/** Resolves with whether the session may go from the store. Never rejects. */
export async function bequeath(executor: Executor, session: Session): Promise<boolean> {
  const { store, clock } = executor;
  const { number } = session;
  const begun = new Set<number>();
  for (const { state, position } of session.inFlight.list()) if (state === AWAITS_PUBREC) begun.add(position);
  // Should the process die meanwhile, the next start goes on here.
  store.append({ type: 'SessionChanged', session: number, expiryS: 0, disconnectedAtMs: clock.nowMs() });
  for (let after = 0; !executor.isStopped;) {
    const messages = store.isHealthy ? await store.read(number, after, SLICE).catch(() => null) : null;
    if (messages === null) {
      await new Promise<void>((resolve) => clock.after(RETRY_MS, resolve));
      continue;
    }
    if (messages.length === 0) return true;
    for (const message of messages) {
      after = message.position;
      const { share } = message;
      if (begun.has(after) || share === '' || message.qos === 0 || hasExpired(message, clock)) continue;
      executor.redistribute(session, share, { ...message, position: 0 }, message.qos);
      store.append({ type: 'Dropped', session: number, position: after });
    }
    // Not faster than the disk takes it. What it refuses now it takes later.
    await store.commit().catch(() => {});
  }
  return false;
}
