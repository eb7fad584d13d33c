/** Will messages: what a client leaves behind, published when it is lost. When that is, connect.ts and core.ts decide. */
import type { PublishedMessage } from '../store/store.js';

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

/** As it is kept while its delay runs. Its expiry is written as if it were published when it is due. */
export function keptWill(will: Will, publisher: string, dueAtMs: number): PublishedMessage {
  return {
    topic: will.topic,
    payload: will.payload,
    properties: will.properties,
    qos: will.qos,
    expiresAtMs: will.expiryS < 0 ? 0 : dueAtMs + will.expiryS * 1000,
    publisher,
  };
}

/** The will of a session that was kept over a restart. */
export function restoredWill(message: PublishedMessage, retain: boolean, dueAtMs: number): Will {
  return {
    topic: message.topic,
    payload: message.payload,
    properties: message.properties,
    qos: message.qos,
    retain,
    delayS: 0,
    expiryS: message.expiresAtMs === 0 ? -1 : Math.max(0, Math.round((message.expiresAtMs - dueAtMs) / 1000)),
  };
}
