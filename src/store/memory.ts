/**
 * The store that promises nothing: the same contract in memory, so that sessions have one way of working. Queues of
 * kept sessions live here as lists of positions; a message is held as long as some queue names it.
 */
import type {
  Position,
  PublishedMessage,
  SessionNumber,
  Store,
  StoredMessage,
  StoredState,
  StoreRecord,
} from './store.js';

interface Queued {
  message: PublishedMessage;
  qos: 0 | 1 | 2;
  retain: boolean;
  identifiers: readonly number[];
}

interface Queue {
  /** In the order of their positions. */
  messages: Map<Position, Queued>;
  /** Packet identifier -> position, of what was sent. */
  sent: Map<number, Position>;
}

export class MemoryStore implements Store {
  readonly #queues = new Map<SessionNumber, Queue>();
  /** Something was appended since the last commit. */
  isDirty = false;
  readonly isHealthy = true;

  open(): Promise<StoredState> {
    return Promise.resolve({ sessions: [], retained: [], nextPosition: 1, nextSession: 1 });
  }

  append(record: StoreRecord): void {
    this.isDirty = true;
    switch (record.type) {
      case 'SessionOpened':
        this.#queues.set(record.session, { messages: new Map(), sent: new Map() });
        return;
      case 'SessionEnded':
        this.#queues.delete(record.session);
        return;
      case 'Published':
        this.#publish(record);
        return;
      case 'Sent':
        this.#queues.get(record.session)?.sent.set(record.packetIdentifier, record.position);
        return;
      case 'Received':
      case 'Completed':
        this.#done(record.session, record.packetIdentifier);
        return;
      case 'Dropped':
        this.#queues.get(record.session)?.messages.delete(record.position);
        return;
      case 'SessionChanged':
      case 'Subscribed':
      case 'Unsubscribed':
      case 'RetainedCleared':
      case 'Released':
      case 'WillPending':
      case 'WillCleared':
        // The broker itself holds these; nothing of them is asked for again before a restart, which forgets all.
        return;
    }
  }

  commit(): Promise<void> {
    this.isDirty = false;
    return Promise.resolve();
  }

  read(session: SessionNumber, after: Position, limit: number): Promise<StoredMessage[]> {
    const found: StoredMessage[] = [];
    for (const [position, queued] of this.#queues.get(session)?.messages ?? []) {
      if (position <= after) continue;
      found.push(storedOf(position, queued));
      if (found.length >= limit) break;
    }
    return Promise.resolve(found);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #publish({ message, receivers, position }: StoreRecord & { type: 'Published' }): void {
    if (receivers.length === 0) return;
    const copy = {
      ...message,
      topic: new Uint8Array(message.topic),
      payload: new Uint8Array(message.payload),
      properties: new Uint8Array(message.properties),
    };
    for (const { session, qos, retain, identifiers } of receivers) {
      this.#queues.get(session)?.messages.set(position, { message: copy, qos, retain, identifiers });
    }
  }

  #done(session: SessionNumber, packetIdentifier: number): void {
    const queue = this.#queues.get(session);
    const position = queue?.sent.get(packetIdentifier);
    if (queue === undefined || position === undefined) return;
    queue.sent.delete(packetIdentifier);
    queue.messages.delete(position);
  }
}

function storedOf(position: Position, { message, qos, retain, identifiers }: Queued): StoredMessage {
  return {
    position,
    topic: message.topic,
    payload: message.payload,
    properties: message.properties,
    expiresAtMs: message.expiresAtMs,
    qos,
    retain,
    identifiers,
  };
}
