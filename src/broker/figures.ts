/** The broker in numbers: for `$SYS`, for the metrics, and one client at a time for management. */
import type { Metrics } from '../metrics.js';
import type { Connection } from './connection.js';
import type { Connections } from './connections.js';
import type { Core } from './core.js';
import type { BrokerCounters } from './counters.js';
import type { Session } from './session.js';
import type { SystemSource } from './system.js';

/** One client, as management sees it. */
export interface ClientInfo {
  readonly clientId: string;
  readonly user: string;
  /** Empty: not connected. */
  readonly address: string;
  readonly listener: string;
  readonly isConnected: boolean;
  readonly version: 4 | 5;
  readonly keepAliveS: number;
  /** 0 while it is away. */
  readonly connectedAtMs: number;
  readonly sessionExpiryS: number;
  readonly subscriptions: readonly string[];
  readonly inFlight: number;
  readonly queuedMessages: number;
  readonly queuedBytes: number;
  readonly dropped: number;
}

export class Figures implements SystemSource {
  readonly version: string;
  readonly #core: Core;
  readonly #connections: Connections;

  constructor(version: string, core: Core, connections: Connections) {
    this.version = version;
    this.#core = core;
    this.#connections = connections;
  }

  get counters(): BrokerCounters {
    return this.#core.counters;
  }

  get connectedCount(): number {
    return this.#connections.count;
  }

  get connectedMaximum(): number {
    return this.#connections.maximum;
  }

  get sessionCount(): number {
    return this.#core.lifecycle.sessions.size;
  }

  get subscriptionCount(): number {
    return this.#core.subscriptions.count;
  }

  get sharedSubscriptionCount(): number {
    return this.#sum((session) => {
      let count = 0;
      for (const entry of session.subscriptions?.values() ?? []) if (entry.share !== '') count++;
      return count;
    });
  }

  get retainedCount(): number {
    return this.#core.retained.count;
  }

  get retainedBytes(): number {
    return this.#core.retained.bytes;
  }

  get queuedCount(): number {
    return this.#sum((session) => session.queuedMessages);
  }

  get queuedBytes(): number {
    return this.#sum((session) => session.queuedBytes);
  }

  get inFlightCount(): number {
    return this.#sum((session) => session.inFlight.count);
  }

  #sum(of: (session: Session) => number): number {
    let sum = 0;
    for (const session of this.#core.lifecycle.sessions.values()) sum += of(session);
    return sum;
  }

  tell(metrics: Metrics): void {
    metrics.gauge('mqtt_clients_connected', 'Connections open now.', () => this.connectedCount);
    metrics.gauge('mqtt_sessions', 'Sessions, connected or kept.', () => this.sessionCount);
    metrics.gauge('mqtt_subscriptions', 'Subscriptions of all sessions.', () => this.subscriptionCount);
    metrics.gauge('mqtt_retained_messages', 'Retained messages.', () => this.retainedCount);
    metrics.gauge('mqtt_retained_bytes', 'Bytes of retained messages.', () => this.retainedBytes);
    metrics.gauge('mqtt_queued_messages', 'Messages that wait for their session.', () => this.queuedCount);
    metrics.gauge(
      'mqtt_queued_bytes',
      'Bytes of messages that wait for their session.',
      () => this.queuedBytes,
    );
  }

  /** Every session, connected or not. */
  *clients(): IterableIterator<ClientInfo> {
    for (const session of this.#core.lifecycle.sessions.values()) yield infoOf(session);
  }
}

function infoOf(session: Session): ClientInfo {
  // A holder is a connection of ours.
  const connection = session.holder as Connection | null;
  return {
    clientId: session.clientId,
    user: session.identity.user,
    address: connection?.address ?? '',
    listener: connection?.listener ?? '',
    isConnected: session.link !== null,
    version: session.version,
    keepAliveS: connection?.keepAliveS ?? 0,
    connectedAtMs: connection?.connectedAtMs ?? 0,
    sessionExpiryS: session.expiryS,
    subscriptions: [...(session.subscriptions?.keys() ?? [])],
    inFlight: session.inFlight.count,
    queuedMessages: session.queuedMessages,
    queuedBytes: session.queuedBytes,
    dropped: session.droppedCount,
  };
}
