/**
 * Will messages: what a client leaves behind, published when it is lost. When that is, connect.ts and lifecycle.ts decide.
 * A will is kept from CONNECT on, of clean sessions too: when the process dies, all its clients have lost it.
 */
import type { Clock } from '../clock.js';
import type { PublishedMessage, SessionNumber, Store, StoredSession } from '../store/store.js';

export interface Will {
  readonly topic: Uint8Array;
  readonly payload: Uint8Array;
  /** To forward, in their order, without will delay and message expiry. */
  readonly properties: Uint8Array;
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
  readonly delayS: number;
  /** Message expiry interval, counted from publication; -1: none. */
  readonly expiryS: number;
}

/** The session of who leaves it. */
export interface Leaver {
  readonly clientId: string;
  readonly number: SessionNumber;
  readonly isKept: boolean;
  readonly expiryS: number;
  will: Will | null;
  /** Number under which the store has the will; 0: it has none. */
  willNumber: SessionNumber;
}

/** What keeping wills takes of the core. */
export interface WillHost {
  readonly store: Store;
  readonly clock: Clock;
  schedule(): void;
}

/** The wills in the store. */
export class KeptWills {
  readonly #host: WillHost;

  constructor(host: WillHost) {
    this.#host = host;
  }

  /** The client is here now. A clean session is in the store for its will alone, under a number of its own. */
  arm(session: Leaver, will: Will, number: SessionNumber): void {
    session.willNumber = number;
    this.#append(session, will, 0);
  }

  /** The client is gone, and its delay runs. */
  wait(session: Leaver, will: Will, dueAtMs: number): void {
    if (!session.isKept) return;
    session.willNumber = session.number;
    this.#append(session, will, dueAtMs);
  }

  /** It was published, or must not be any more. */
  clear(session: Leaver): void {
    const number = session.willNumber;
    if (number === 0) return;
    session.willNumber = 0;
    this.#host.store.append({
      type: number === session.number ? 'WillCleared' : 'SessionEnded',
      session: number,
    });
    this.#host.schedule();
  }

  /** The will of a session that was kept over a restart; answers when it is due. */
  restore(session: Leaver, kept: NonNullable<StoredSession['will']>): number {
    const { message, retain, delayS, dueAtMs } = kept;
    session.will = {
      topic: message.topic,
      payload: message.payload,
      properties: message.properties,
      qos: message.qos,
      retain,
      delayS,
      expiryS:
        message.expiresAtMs === 0 ? -1 : Math.max(0, Math.round((message.expiresAtMs - dueAtMs) / 1000)),
    };
    session.willNumber = session.number;
    if (dueAtMs > 0) return dueAtMs;
    // It was connected when the process died. What is left of the delay must survive the next crash.
    const nowMs = this.#host.clock.nowMs();
    const dueMs = nowMs + Math.min(delayS, session.expiryS) * 1000;
    if (dueMs > nowMs) this.#append(session, session.will, dueMs);
    return dueMs;
  }

  /** Its expiry is written as if it were published when it is due. */
  #append(session: Leaver, will: Will, dueAtMs: number): void {
    const { topic, payload, properties, qos, retain, delayS, expiryS } = will;
    this.#host.store.append({
      type: 'WillPending',
      session: session.willNumber,
      message: {
        topic,
        payload,
        properties,
        qos,
        expiresAtMs: expiryS < 0 ? 0 : Math.max(1, dueAtMs + expiryS * 1000),
        publisher: session.clientId,
      } satisfies PublishedMessage,
      retain,
      delayS,
      dueAtMs,
    });
    this.#host.schedule();
  }
}
