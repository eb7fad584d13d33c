/** What a session sees of its client's connection; client.ts says what the packet handlers see. */
import type { Publication } from './codec.js';
import type { Debtor } from './commits.js';
import type { Outbox } from './outbox.js';

/** Who holds a session: a connection, from its CONNECT on. */
export interface Holder {
  /** Another connection takes the session over, or it is taken away. */
  giveUp(reason: number): void;
}

/** What a session sends through while its client is there. */
export interface Link extends Debtor {
  readonly version: 4 | 5;
  readonly outbox: Outbox;
  /** Too much waits for the kernel: QoS 0 is dropped, the rest stays in the queue. */
  readonly isFull: boolean;
  /** The client's limits. */
  readonly maxPacketBytes: number;
  readonly receiveMaximum: number;
  /** The alias to send instead of a topic; 0: none. Negative: new, to be sent with the topic and then noted. */
  aliasOf(publication: Publication): number;
  /** The alias that aliasOf() proposed last is on its way. */
  noteAlias(): void;
}
