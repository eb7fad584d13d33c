/** The message as everything outside the hot path sees it: sessions that queue, retained, wills, in-process subscribers. */

export type QoS = 0 | 1 | 2;

/** Who published: for No Local, access checks and the audit. */
export interface Sender {
  readonly clientId: string;
  /** Empty: anonymous, or the gateway itself. */
  readonly user: string;
  /** Address and port, or "gateway". */
  readonly address: string;
}

export interface Message {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: QoS;
  /** The RETAIN flag of the publication. */
  readonly retain: boolean;
  /** MQTT 5 properties to forward, as bytes in their order, without length. */
  readonly properties?: Uint8Array;
  /** Null: the gateway itself. */
  readonly sender: Sender | null;
  /** Wall time in ms; undefined: never. */
  readonly expiresAtMs?: number;
  /** Keep the retained copy across a restart (default true). */
  readonly stored?: boolean;
}

/** What comes from a broker elsewhere on one connection. A ticket stands for an acknowledgement; 0: none is wanted. */
export interface MessageInflow {
  /** False: it cannot be kept now, and nothing of it was done; else its ticket is told once it is kept. */
  publish(message: Message, ticket: number): boolean;
  /** Nothing is published; the ticket is told in its turn, once all published so far is kept. */
  pass(ticket: number): void;
  /** The store takes messages. */
  readonly canKeep: boolean;
  /** Resolves when every ticket was told. */
  settled(): Promise<void>;
}

export interface Subscription {
  readonly filter: string;
  readonly qos: QoS;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  readonly identifier?: number;
}

/** Whoever gets messages. A Session is one kind, the gateway's command path another. */
export interface Subscriber {
  /** Keeps what it is handed: publishers are acknowledged after that, see Broker.acknowledgeAfter(). */
  readonly isKeeping?: boolean;
  deliver(message: Message, subscription: Subscription): void;
}

/** Told of a retained message. */
export type FoundRetained = (
  topic: string,
  payload: Uint8Array,
  qos: QoS,
  /** MQTT 5 properties, as bytes in their order, without length. */
  properties: Uint8Array,
  /** Client identifier of who published it; empty: the gateway itself, or a broker elsewhere. */
  publisher: string,
) => void;
