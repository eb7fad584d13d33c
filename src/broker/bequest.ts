/**
 * What a session that ends leaves to the other members of its shared subscriptions (MQTT 5, 4.8.2): the messages that
 * wait for it or were not acknowledged. Which of those that were kept came by a share the session's subscriptions tell, so
 * nothing of it is kept with the messages. QoS 2 that was begun goes to nobody else [MQTT-4.8.2-5].
 */
import type { Clock } from '../clock.js';
import type { Store, StoredMessage } from '../store/store.js';
import { AWAITS_PUBREC } from './inflight.js';
import type { Outgoing } from './outgoing.js';
import type { Left, Session } from './session.js';
import type { Entry } from './subscriptions.js';
import { matches } from './topic.js';

const SLICE = 100;
/** When a disk that refuses is asked again. */
const RETRY_MS = 1000;
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

/** Who passes the messages on. */
export interface Executor {
  readonly store: Store;
  readonly clock: Clock;
  /** The gateway ends: what is not passed on yet is by the next start. */
  readonly isStopped: boolean;
  redistribute(session: Session, entry: Entry<unknown>, message: Outgoing, qos: 1 | 2): void;
  /** Goes on when this turn's output is written. */
  afterTurn(then: () => void): void;
}

/** Passes on what a session had in memory, some of it each turn: that may be hundreds of thousands. */
export function handOn(executor: Executor, session: Session, left: Iterator<Left | null>): void {
  for (let count = 0; count < SLICE; count++) {
    const next = left.next();
    if (next.done === true) return;
    if (next.value !== null && !executor.isStopped) {
      const { entry, message, qos } = next.value;
      executor.redistribute(session, entry, message, qos);
    }
  }
  executor.afterTurn(() => handOn(executor, session, left));
}

/** The subscriptions of a session at its end; null when it has nothing to leave. */
export function heritageOf(session: Session): readonly Entry<Session>[] | null {
  const entries = [...(session.subscriptions?.values() ?? [])];
  if (!session.isKept || !entries.some(({ share }) => share !== '')) return null;
  return session.queuedMessages + session.inFlight.count > 0 ? entries : null;
}

/** Resolves with whether the session may go from the store. Never rejects. */
export async function bequeath(
  executor: Executor,
  session: Session,
  entries: readonly Entry<Session>[],
): Promise<boolean> {
  const { store, clock } = executor;
  const { number } = session;
  const begun = new Set<number>();
  let before: Origin | null = null;
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
      const share: Entry<Session> | null = shareOf(message, entries, before);
      before = { message, share };
      if (begun.has(after) || share === null || message.qos === 0) continue;
      executor.redistribute(session, share, { ...message, position: 0 }, message.qos);
      store.append({ type: 'Dropped', session: number, position: after });
    }
    // Not faster than the disk takes it. What it refuses now it takes later.
    await store.commit().catch(() => {});
  }
  return false;
}

/** A message, and the share by which it came; null: it may have come to the session itself. */
interface Origin {
  readonly message: StoredMessage;
  readonly share: Entry<Session> | null;
}

/** Of a session in several shares that match, each gets one of the copies, which stand one behind the other. */
function shareOf(
  message: StoredMessage,
  entries: readonly Entry<Session>[],
  before: Origin | null,
): Entry<Session> | null {
  const name = decoder.decode(topicOf(message));
  const matching = entries.filter(({ filter }) => matches(filter, name));
  if (matching.some(({ share }) => share === '')) return null;
  const last = matching.findIndex((entry) => before?.share === entry && isCopy(message, before.message));
  return matching[(last + 1) % matching.length] ?? null;
}

function isCopy(message: StoredMessage, before: StoredMessage): boolean {
  return (
    message.position === before.position + 1 &&
    topicOf(message).equals(topicOf(before)) &&
    payloadOf(message).equals(payloadOf(before))
  );
}

function topicOf({ topic, topicStart, topicEnd }: StoredMessage): Buffer {
  return Buffer.from(topic.buffer, topic.byteOffset + topicStart, topicEnd - topicStart);
}

function payloadOf({ payload, payloadStart, payloadEnd }: StoredMessage): Buffer {
  return Buffer.from(payload.buffer, payload.byteOffset + payloadStart, payloadEnd - payloadStart);
}
