/** What the packet handlers see of a connection. */
import type { Authentication } from './authentication.js';
import type { Holder, Link } from './link.js';
import type { ConnectRequest } from './packets.js';
import type { Route } from './route.js';
import type { Session } from './session.js';

/** Something that may take longer than a turn of the loop has: goes on with it; false: the turn has had its time. */
export type Work = () => boolean;

export interface Client extends Link, Holder {
  readonly isOpen: boolean;
  /** Where it comes from: address and port. */
  readonly address: string;
  /** Its session; null before CONNECT was accepted. */
  readonly session: Session | null;
  /** The route it published to last, and whether it may write there. */
  lastRoute: Route | null;
  mayWriteLast: boolean;
  /** Topic aliases it set; null until the first. */
  aliases: (Route | undefined)[] | null;
  /**
   * Messages at QoS 1 and 2 that count against the Receive Maximum: begun on this connection, and the answer that ends
   * them was not sent. What a session has from earlier connections does not count (4.9).
   */
  unfinishedCount: number;
  /** Sends an acknowledgement, now or (isOwed, or when others wait) after the commit that covers it. */
  acknowledge(first: number, packetIdentifier: number, reason: number, isOwed: boolean): void;
  /** Goes on after the commit that covers what was appended so far; until then the client waits for the disk. */
  awaitCommit(then: (isKept: boolean) => void): void;
  /** Sends bytes of a whole packet. */
  send(packet: Uint8Array): void;
  /** Breaks the connection: DISCONNECT with the reason to a v5 client, then close; the will is published. */
  fail(reason: number, text: string): void;
}

/** How a listener treats who comes. */
export interface DoorPolicy {
  /** As it is now: a reload may change it. */
  isAnonymousAllowed(): boolean;
}

/** A connection before its CONNECT was accepted. */
export interface Newcomer extends Client {
  readonly policy: DoorPolicy;
  /** Address without port. */
  readonly host: string;
  /** Name in the client's certificate; null: none was verified. */
  readonly certificateName: string | null;
  /** How it proves who it is; null: in CONNECT alone. */
  authentication: Authentication | null;
  /** Sends AUTH, and reads the answer to it. */
  ask(packet: Uint8Array): void;
  /** The session is the client's from now on, though its CONNACK may have to wait. */
  hold(session: Session, request: ConnectRequest, keepAliveS: number): void;
  /** Sends CONNACK and begins. */
  open(connack: Uint8Array): void;
  /** Sends CONNACK (if there is one) and closes; nothing behind the CONNECT is read [MQTT-3.1.4-6]. */
  refuse(connack: Uint8Array | null, text: string, request?: ConnectRequest): void;
}
