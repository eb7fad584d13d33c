/**
 * What all records so far add up to, without the contents of messages: those stay on the disk, and here is only where.
 * Applying a record is the same at run time and at recovery. Counts for each segment how many of its records are live.
 */
import type { ClockReading } from '../clock.js';
import { Queue } from './queue.js';
import { sizeOf, type OtherRecord, type PublishedRecord } from './records.js';
import { Retained } from './retained.js';
import type { Segments } from './segments.js';
import {
  IDENTIFIER_BYTES,
  type PublishedMessage,
  type StoreRecord,
  type StoredSession,
  type StoredWill,
} from './store.js';

/** Where a record lies. */
export interface Place {
  segment: number;
  offset: number;
  /** Length of its frame. */
  bytes: number;
}

export interface InFlight {
  position: number;
  qos: 0 | 1 | 2;
  /** PUBREC came. */
  isReceived: boolean;
}

export interface SessionState {
  readonly session: number;
  clientId: string;
  owner: string;
  expiryS: number;
  protocolVersion: 4 | 5;
  disconnectedAtMs: number;
  /** Records before this one are already in it (it came from a snapshot). */
  asOf: number;
  readonly subscriptions: Map<string, { options: number; identifier: number }>;
  readonly incoming: Set<number>;
  readonly inFlight: Map<number, InFlight>;
  readonly queue: Queue;
  will: StoredWill | null;
}

export class State {
  readonly sessions = new Map<number, SessionState>();
  readonly retained = new Retained();
  nextPosition = 1;
  nextSession = 1;
  clock: ClockReading | null = null;
  readonly #segments: Segments;

  constructor(segments: Segments) {
    this.#segments = segments;
  }

  /** Takes in a record that lies at a place. `qos` is that of a Sent. */
  apply(record: StoreRecord, place: Place, sequence: number, qos: 0 | 1 | 2): void {
    if (record.type === 'Published') this.published(record, place, sequence);
    else if (record.type === 'RetainedCleared') this.#clearRetained(record.topic);
    else if (record.type === 'SessionOpened') this.#opened(record, sequence);
    else if (record.type === 'ClockRead') this.clock = { nowMs: record.nowMs, wallMs: record.wallMs };
    else {
      const session = this.sessions.get(record.session);
      if (session !== undefined && sequence >= session.asOf) this.#changed(session, record, qos);
    }
  }

  /** A Published lies elsewhere now. */
  moved(record: PublishedRecord, place: Place): void {
    const share = place.bytes / Math.max(1, record.receivers.length);
    for (const { session } of record.receivers) {
      const old =
        this.sessions.get(session)?.queue.relocate(record.position, place.segment, place.offset) ?? -1;
      if (old >= 0) this.#rehold(old, place.segment, share);
    }
    if (!record.retained) return;
    const old = this.retained.relocate(
      keyOf(record.message.topic),
      record.position,
      place.segment,
      place.offset,
    );
    if (old >= 0) this.#rehold(old, place.segment, share);
  }

  /** Whether anything still refers to a Published at this very place. */
  isLive(record: PublishedRecord, segment: number, offset: number): boolean {
    const { position, message, receivers, retained } = record;
    if (retained) {
      const entry = this.retained.get(keyOf(message.topic));
      if (entry?.position === position && entry.segment === segment && entry.offset === offset) return true;
    }
    return receivers.some(({ session }) => {
      const entry = this.sessions.get(session)?.queue.get(position);
      return entry?.segment === segment && entry.offset === offset;
    });
  }

  /** The QoS a queued message is delivered with. */
  qosOf(session: number, position: number): 0 | 1 | 2 {
    return this.sessions.get(session)?.queue.get(position)?.qos ?? 0;
  }

  /** Puts an entry of a snapshot in. */
  restoreQueued(
    session: SessionState,
    entry: { position: number; segment: number; offset: number; size: number; qos: number },
  ): void {
    const { position, segment, offset, size, qos } = entry;
    if (session.queue.append(position, segment, offset, size, qos)) this.#segments.hold(segment, size);
  }

  restoreRetained(key: string, position: number, segment: number, offset: number): void {
    this.#setRetained(key, position, segment, offset, key.length);
  }

  drop(session: SessionState, position: number): void {
    const entry = session.queue.remove(position);
    if (entry !== null) this.#segments.release(entry.segment);
  }

  clearRetained(key: string): void {
    const entry = this.retained.delete(key);
    if (entry !== null) this.#segments.release(entry.segment);
  }

  endSession(session: SessionState): void {
    session.queue.visit(0, (_, segment) => {
      this.#segments.release(segment);
      return true;
    });
    this.sessions.delete(session.session);
  }

  published(
    { position, message, receivers, retained, from }: PublishedRecord,
    place: Place,
    sequence: number,
  ): void {
    this.nextPosition = Math.max(this.nextPosition, position + 1);
    if (from !== undefined) {
      const publisher = this.sessions.get(from.session);
      if (publisher !== undefined && sequence >= publisher.asOf)
        publisher.incoming.add(from.packetIdentifier);
    }
    const size = sizeOf(message);
    const share = place.bytes / Math.max(1, receivers.length + (retained ? 1 : 0));
    for (const { session: number, qos, identifiers } of receivers) {
      const session = this.sessions.get(number);
      if (session === undefined || sequence < session.asOf) continue;
      const weight = size + IDENTIFIER_BYTES * identifiers.length;
      if (session.queue.append(position, place.segment, place.offset, weight, qos)) {
        this.#segments.hold(place.segment, share);
      }
    }
    if (retained) this.#setRetained(keyOf(message.topic), position, place.segment, place.offset, share);
  }

  #setRetained(key: string, position: number, segment: number, offset: number, share: number): void {
    this.#segments.hold(segment, share);
    const old = this.retained.set(key, position, segment, offset);
    if (old >= 0) this.#segments.release(old);
  }

  #clearRetained(topic: Uint8Array): void {
    this.clearRetained(keyOf(topic));
  }

  #opened(record: Extract<StoreRecord, { type: 'SessionOpened' }>, sequence: number): void {
    this.nextSession = Math.max(this.nextSession, record.session + 1);
    const { clientId, owner, expiryS, protocolVersion } = record;
    const known = this.sessions.get(record.session);
    if (known === undefined) this.sessions.set(record.session, newSession(record, sequence));
    else if (sequence >= known.asOf) Object.assign(known, { clientId, owner, expiryS, protocolVersion });
  }

  #changed(
    session: SessionState,
    record: Exclude<OtherRecord, { type: 'RetainedCleared' | 'SessionOpened' | 'ClockRead' }>,
    qos: 0 | 1 | 2,
  ): void {
    switch (record.type) {
      case 'SessionChanged':
        session.expiryS = record.expiryS;
        session.disconnectedAtMs = record.disconnectedAtMs;
        return;
      case 'SessionEnded':
        return this.endSession(session);
      case 'Subscribed':
        session.subscriptions.set(record.filter, { options: record.options, identifier: record.identifier });
        return;
      case 'Unsubscribed':
        session.subscriptions.delete(record.filter);
        return;
      case 'Released':
        session.incoming.delete(record.packetIdentifier);
        return;
      case 'Sent':
        session.inFlight.set(record.packetIdentifier, { position: record.position, qos, isReceived: false });
        return;
      case 'Received':
        return this.#received(session, record.packetIdentifier);
      case 'Completed':
        return this.#completed(session, record.packetIdentifier);
      case 'Dropped':
        return this.drop(session, record.position);
      case 'WillPending':
        session.will = {
          message: copyOf(record.message),
          retain: record.retain,
          delayS: record.delayS,
          dueAtMs: record.dueAtMs,
        };
        return;
      case 'WillCleared':
        session.will = null;
        return;
    }
  }

  #received(session: SessionState, packetIdentifier: number): void {
    const exchange = session.inFlight.get(packetIdentifier);
    if (exchange === undefined || exchange.isReceived) return;
    exchange.isReceived = true;
    this.drop(session, exchange.position);
  }

  #completed(session: SessionState, packetIdentifier: number): void {
    const exchange = session.inFlight.get(packetIdentifier);
    if (exchange === undefined) return;
    session.inFlight.delete(packetIdentifier);
    if (!exchange.isReceived) this.drop(session, exchange.position);
  }

  #rehold(oldSegment: number, segment: number, bytes: number): void {
    this.#segments.hold(segment, bytes);
    this.#segments.release(oldSegment);
  }
}

export function newSession(
  fields: Pick<SessionState, 'session' | 'clientId' | 'owner' | 'expiryS' | 'protocolVersion'>,
  asOf: number,
): SessionState {
  const { session, clientId, owner, expiryS, protocolVersion } = fields;
  return {
    session,
    clientId,
    owner,
    expiryS,
    protocolVersion,
    disconnectedAtMs: 0,
    asOf,
    subscriptions: new Map(),
    incoming: new Set(),
    inFlight: new Map(),
    queue: new Queue(),
    will: null,
  };
}

/** A session as the broker gets it back. Exchanges whose message is gone are left out. */
export function storedSession(state: SessionState): StoredSession {
  const { session, clientId, owner, expiryS, protocolVersion, disconnectedAtMs, queue, will } = state;
  let queuedMessages = queue.count;
  let queuedBytes = queue.bytes;
  const inFlight: StoredSession['inFlight'] = [];
  for (const [packetIdentifier, exchange] of state.inFlight) {
    const qos = exchange.qos === 2 ? 2 : 1;
    if (exchange.isReceived) {
      inFlight.push({ packetIdentifier, position: 0, qos: 2 });
      continue;
    }
    const entry = queue.get(exchange.position);
    if (entry === null) continue;
    queuedMessages--;
    queuedBytes -= entry.size;
    inFlight.push({ packetIdentifier, position: exchange.position, qos });
  }
  const subscriptions = [...state.subscriptions].map(([filter, options]) => ({ filter, ...options }));
  return {
    session,
    clientId,
    owner,
    expiryS,
    protocolVersion,
    disconnectedAtMs,
    subscriptions,
    incoming: [...state.incoming],
    inFlight,
    queuedMessages,
    queuedBytes,
    will,
  };
}

/** A topic as a map key: one unit a byte. */
export function keyOf(topic: Uint8Array): string {
  return Buffer.from(topic.buffer, topic.byteOffset, topic.byteLength).toString('latin1');
}

/** Wills are kept in memory, and what they came in is used again. */
function copyOf(message: PublishedMessage): PublishedMessage {
  const { topic, payload, payloadStart, payloadEnd, properties, qos, expiresAtMs, publisher } = message;
  return {
    topic: topic.slice(),
    payload: payload.slice(payloadStart, payloadEnd),
    properties: properties.slice(),
    qos,
    expiresAtMs,
    publisher,
  };
}
