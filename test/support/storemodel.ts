/**
 * What a Store has to give back, in the plainest words: records are applied to maps and arrays. canonical() of the
 * model and of a reopened store must be the same text.
 */
import type { Store, StoredState, StoreRecord } from '../../src/store/store.js';
import { partsOf } from './stores.js';

interface ModelSession {
  fields: {
    clientId: string;
    owner: string;
    expiryS: number;
    protocolVersion: number;
    disconnectedAtMs: number;
  };
  subscriptions: Map<string, string>;
  incoming: Set<number>;
  inFlight: Map<number, { position: number; qos: number }>;
  queue: Map<number, string>;
  qos: Map<number, number>;
  will: string;
}

export class StoreModel {
  readonly sessions = new Map<number, ModelSession>();
  readonly retained = new Map<string, string>();

  apply(record: StoreRecord): void {
    if (record.type === 'Published') return this.#published(record);
    if (record.type === 'ClockRead') return;
    if (record.type === 'RetainedCleared') return void this.retained.delete(text(record.topic));
    if (record.type === 'SessionOpened') {
      const { clientId, owner, expiryS, protocolVersion } = record;
      this.sessions.set(record.session, {
        fields: { clientId, owner, expiryS, protocolVersion, disconnectedAtMs: 0 },
        subscriptions: new Map(),
        incoming: new Set(),
        inFlight: new Map(),
        queue: new Map(),
        qos: new Map(),
        will: '',
      });
      return;
    }
    const session = this.sessions.get(record.session);
    if (session !== undefined) this.#changed(session, record);
  }

  canonical(): string {
    const sessions = [...this.sessions]
      .sort(([a], [b]) => a - b)
      .map(([number, session]) => ({
        number,
        ...session.fields,
        subscriptions: [...session.subscriptions].sort().map(([filter, rest]) => `${filter} ${rest}`),
        incoming: [...session.incoming].sort((a, b) => a - b),
        inFlight: [...session.inFlight].map(
          ([id, { position, qos }]) => `${id} ${position} ${position === 0 ? 2 : qos}`,
        ),
        queue: [...session.queue.values()],
        will: session.will,
      }));
    return JSON.stringify({ sessions, retained: [...this.retained].sort() });
  }

  #published({
    position,
    message,
    receivers,
    retained,
    from,
  }: Extract<StoreRecord, { type: 'Published' }>): void {
    if (from !== undefined) this.sessions.get(from.session)?.incoming.add(from.packetIdentifier);
    for (const { session, qos, retain, identifiers, share = '' } of receivers) {
      const receiver = this.sessions.get(session);
      receiver?.qos.set(position, qos);
      receiver?.queue.set(
        position,
        `${position} ${text(message.topic)} ${text(message.payload)} ${text(message.properties)} ${qos} ${String(retain)} ${message.expiresAtMs} ${identifiers.join()} ${share}`,
      );
    }
    if (!retained) return;
    this.retained.set(
      text(message.topic),
      `${position} ${text(message.payload)} ${message.publisher} ${message.qos}`,
    );
  }

  #changed(
    session: ModelSession,
    record: Exclude<StoreRecord, { type: 'Published' | 'RetainedCleared' | 'SessionOpened' | 'ClockRead' }>,
  ): void {
    switch (record.type) {
      case 'SessionChanged':
        session.fields.expiryS = record.expiryS;
        session.fields.disconnectedAtMs = record.disconnectedAtMs;
        return;
      case 'SessionEnded':
        this.sessions.delete(record.session);
        return;
      case 'Subscribed':
        session.subscriptions.set(record.filter, `${record.options} ${record.identifier}`);
        return;
      case 'Unsubscribed':
        session.subscriptions.delete(record.filter);
        return;
      case 'Released':
        session.incoming.delete(record.packetIdentifier);
        return;
      case 'Sent':
        session.inFlight.set(record.packetIdentifier, {
          position: record.position,
          qos: session.qos.get(record.position) ?? 0,
        });
        return;
      case 'Received':
      case 'Completed': {
        const exchange = session.inFlight.get(record.packetIdentifier);
        if (exchange === undefined) return;
        session.queue.delete(exchange.position);
        if (record.type === 'Completed') session.inFlight.delete(record.packetIdentifier);
        else exchange.position = 0;
        return;
      }
      case 'Dropped':
        session.queue.delete(record.position);
        return;
      case 'WillPending':
        session.will = `${text(record.message.payload)} ${String(record.retain)} ${record.delayS} ${record.dueAtMs}`;
        return;
      case 'WillCleared':
        session.will = '';
        return;
    }
  }
}

/** The same text from what open() gave and read() gives. */
export async function canonicalOf(store: Store, state: StoredState): Promise<string> {
  const sessions = [];
  for (const session of [...state.sessions].sort((a, b) => a.session - b.session)) {
    const { clientId, owner, expiryS, protocolVersion, disconnectedAtMs } = session;
    const queue: string[] = [];
    for (let after = 0; ;) {
      const messages = await store.read(session.session, after, 7);
      if (messages.length === 0) break;
      for (const message of messages) {
        const { position, qos, retain, expiresAtMs, identifiers, share } = message;
        const { topic, payload, properties } = partsOf(message);
        queue.push(
          `${position} ${text(topic)} ${text(payload)} ${text(properties)} ${qos} ${String(retain)} ${expiresAtMs} ${identifiers.join()} ${share}`,
        );
        after = position;
      }
    }
    sessions.push({
      number: session.session,
      clientId,
      owner,
      expiryS,
      protocolVersion,
      disconnectedAtMs,
      subscriptions: session.subscriptions
        .map(({ filter, options, identifier }): [string, string] => [filter, `${options} ${identifier}`])
        .sort()
        .map(([filter, rest]) => `${filter} ${rest}`),
      incoming: [...session.incoming].sort((a, b) => a - b),
      inFlight: session.inFlight.map(
        ({ packetIdentifier, position, qos }) => `${packetIdentifier} ${position} ${qos}`,
      ),
      queue,
      will:
        session.will === null
          ? ''
          : `${text(session.will.message.payload)} ${String(session.will.retain)} ${session.will.delayS} ${session.will.dueAtMs}`,
    });
  }
  const retained = state.retained.map(({ message, position }): [string, string] => [
    text(message.topic),
    `${position} ${text(message.payload)} ${message.publisher} ${message.qos}`,
  ]);
  return JSON.stringify({ sessions, retained: retained.sort() });
}

function text(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('latin1');
}
