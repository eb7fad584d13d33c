/**
 * What must survive a crash, as the broker sees it: facts are appended, a commit makes all appended facts durable,
 * and after a restart open() hands back the state they add up to. Contents of queues stay in the store and are read
 * back in slices. A record is a fact in the past tense and may be applied twice.
 *
 * Sessions are numbered by the broker (a number is never used twice in a store); messages are numbered by their
 * position, which grows by one with every Published, so positions order all queues.
 */
import type { ClockReading } from '../clock.js';

export type SessionNumber = number;
export type Position = number;

/** What each subscription identifier of a queued message counts in its size. */
export const IDENTIFIER_BYTES = 4;

/** A message as it is kept: everything a later delivery needs. Its parts are where the offsets say. */
export interface StoredMessage {
  position: Position;
  topic: Uint8Array;
  topicStart: number;
  topicEnd: number;
  payload: Uint8Array;
  payloadStart: number;
  payloadEnd: number;
  /** QoS of delivery: the lesser of publication's and subscription's. */
  qos: 0 | 1 | 2;
  retain: boolean;
  /** MQTT 5 properties to forward, as bytes in their order, without length; empty: none. */
  properties: Uint8Array;
  propertiesStart: number;
  propertiesEnd: number;
  /** When it is worthless, by the clock that ClockRead is about; 0: never. */
  expiresAtMs: number;
  /** Subscription identifiers to deliver with it. */
  identifiers: readonly number[];
  /** The shared subscription by which it came; empty: none. */
  share: string;
}

/** A message in a queue, without what it says. */
export interface QueuedMessage {
  position: Position;
  /** Bytes of topic, payload, properties and subscription identifiers. */
  size: number;
}

/** One durable receiver of a published message. */
export interface Receiver {
  session: SessionNumber;
  qos: 0 | 1 | 2;
  retain: boolean;
  identifiers: readonly number[];
  /** Name and filter of the shared subscription by which it gets it. */
  share?: string | undefined;
}

export interface PublishedMessage {
  topic: Uint8Array;
  payload: Uint8Array;
  /** Where in `payload` it lies, when it is handed to the store as it was read; without these it is all of it. */
  payloadStart?: number;
  payloadEnd?: number;
  properties: Uint8Array;
  qos: 0 | 1 | 2;
  expiresAtMs: number;
  /** Client identifier of who published it, for No Local; empty: nobody who could subscribe. */
  publisher: string;
}

export type StoreRecord =
  | {
      type: 'SessionOpened';
      session: SessionNumber;
      clientId: string;
      /** User name that owns the session; empty: anonymous. */
      owner: string;
      expiryS: number;
      protocolVersion: 4 | 5;
    }
  /** disconnectedAtMs 0: connected. Expiry is counted from it. */
  | { type: 'SessionChanged'; session: SessionNumber; expiryS: number; disconnectedAtMs: number }
  | { type: 'SessionEnded'; session: SessionNumber }
  /** `options` as in SUBSCRIBE, and what the broker notes in bits that are none there. */
  | { type: 'Subscribed'; session: SessionNumber; filter: string; options: number; identifier: number }
  | { type: 'Unsubscribed'; session: SessionNumber; filter: string }
  /** One record names all durable receivers, each session once; with `from` it also keeps the publisher's QoS 2 identifier, atomically. */
  | {
      type: 'Published';
      position: Position;
      message: PublishedMessage;
      receivers: readonly Receiver[];
      retained: boolean;
      from?: { session: SessionNumber; packetIdentifier: number } | undefined;
    }
  /** The retained message of a topic is gone. */
  | { type: 'RetainedCleared'; topic: Uint8Array }
  /** PUBREL came: the publisher's QoS 2 identifier is free again. */
  | { type: 'Released'; session: SessionNumber; packetIdentifier: number }
  /** A queued message got a packet identifier towards its receiver. */
  | { type: 'Sent'; session: SessionNumber; position: Position; packetIdentifier: number }
  /** PUBREC came from the receiver: from now on only PUBREL is sent again. A log, which knows the position, reads 0. */
  | { type: 'Received'; session: SessionNumber; packetIdentifier: number; position: Position }
  /** PUBACK or PUBCOMP came, or the message was given up after it was sent. A log reads 0 here, too. */
  | { type: 'Completed'; session: SessionNumber; packetIdentifier: number; position: Position }
  /** A queued message left the queue unsent: overflow, expiry, access. */
  | { type: 'Dropped'; session: SessionNumber; position: Position }
  | {
      type: 'WillPending';
      session: SessionNumber;
      message: PublishedMessage;
      retain: boolean;
      delayS: number;
      /** 0: the client is connected. */
      dueAtMs: number;
    }
  | { type: 'WillCleared'; session: SessionNumber }
  /** What was appended before it was so no later than then: times in the store are those of a clock that goes on from here. */
  | ({ type: 'ClockRead' } & ClockReading);

export type StoredWill = Omit<Extract<StoreRecord, { type: 'WillPending' }>, 'type' | 'session'>;

/** A session as it was at the last commit before the restart. */
export interface StoredSession {
  session: SessionNumber;
  clientId: string;
  owner: string;
  expiryS: number;
  protocolVersion: 4 | 5;
  /** 0: it was connected when the process died. */
  disconnectedAtMs: number;
  subscriptions: { filter: string; options: number; identifier: number }[];
  /** Publisher side QoS 2 identifiers not yet released. */
  incoming: number[];
  /** Receiver side, in the order they were sent. position 0: PUBREC came, only PUBREL is owed. */
  inFlight: { packetIdentifier: number; position: Position; qos: 1 | 2 }[];
  /** What waits in the queue, not counting what is in flight. */
  queuedMessages: number;
  queuedBytes: number;
  will: StoredWill | null;
}

export interface StoredState {
  sessions: StoredSession[];
  retained: { message: PublishedMessage; position: Position; storedAtMs: number }[];
  /** Higher than any ever used. */
  nextPosition: Position;
  nextSession: SessionNumber;
  /** The last that was noted; null: never. */
  clock: ClockReading | null;
}

export interface Store {
  /** Recovers; rejects with a StoreError that names the file and what to do. Called once, before anything else. */
  open(): Promise<StoredState>;
  /** Takes a fact into the next commit. Never blocks, never throws; nothing of the record is needed afterwards. */
  append(record: StoreRecord): void;
  /**
   * Resolves when everything appended before the call is durable (at once where the mode promises nothing); rejects
   * with a StoreError when it could not be kept. Callers that wait at the same time share one sync; under load syncs
   * are spaced so that many share one, a lone caller does not wait.
   *
   * What a rejected commit covered is not forgotten: it is written when the disk takes it again. Whoever refuses a
   * message because its commit was rejected must withdraw it: Dropped for each receiver, Released for its identifier.
   * Only a Published appended while isHealthy is false is not taken at all; the commit after it rejects.
   */
  commit(): Promise<void>;
  /** False: it promises nothing, and what it holds ends with the process. */
  readonly isLasting: boolean;
  /** Bytes appended that no finished commit covers; above a few MiB publishers should not be read from. */
  readonly backlogBytes?: number;
  /** True while something was appended that no finished commit covers. */
  readonly isDirty: boolean;
  /** Something was appended since the last ClockRead, or since it was opened. */
  readonly isClockDue?: boolean;
  /** False while the disk refuses: nothing appended now can be promised. Turns true again by itself. */
  readonly isHealthy: boolean;
  /**
   * Messages of a session's queue after a position, oldest first, those in flight included until PUBACK or PUBREC. One
   * that turned out damaged on the disk is left out and leaves the queue, so positions may be missing.
   */
  read(session: SessionNumber, after: Position, limit: number): Promise<StoredMessage[]>;
  /** The first message of a session's queue after a position, as read() would find it, but not what it says. */
  oldest(session: SessionNumber, after: Position): QueuedMessage | null;
  /** What the contents of queues take of memory, where they are kept there. */
  readonly contentBytes?: number;
  /** Commits, and leaves a state that opens fast. */
  close(): Promise<void>;
}
