/**
 * What comes from the far side on one connection: through the rules, to the local broker, and acknowledged over there
 * once it is kept here. When the store refuses nothing more is taken: it stays over there, and is asked for on another
 * connection when there is room.
 */
import type { Message, MessageInflow, Sender } from '../broker/message.js';
import type { Cancel, Clock } from '../clock.js';
import type { Log } from '../log.js';
import type { Keeper, Remote, RemoteMessage } from './client.js';
import { encodeProperties, isSound, VIA, viaBytes } from './properties.js';
import type { Router } from './rule.js';
import type { Taken } from './taken.js';

/** What is needed of the local broker. */
export interface LocalInflow {
  readonly clock: Clock;
  /** Whether a publication with the RETAIN flag is kept for later subscribers. */
  keepsRetained(topic: string): boolean;
  inflow(acknowledge: (ticket: number) => void): MessageInflow;
}

export interface ArrivalsParts {
  readonly uplink: string;
  readonly node: string;
  readonly gatewayId: string;
  readonly router: Router;
  readonly local: LocalInflow;
  readonly clock: Clock;
  readonly log: Log;
  readonly isActive: () => boolean;
  readonly taken: Taken;
  /** Another connection is wanted. */
  readonly again: (reason: string) => void;
}

const LOOK_MS = 1000;

/** An uplink as the author of what it brings in. */
export class Author implements Sender {
  readonly clientId: string;
  readonly user = '';
  readonly address: string;

  constructor(uplink: string, node: string) {
    this.clientId = `uplink:${uplink}`;
    this.address = node;
  }
}

export class Arrivals implements Keeper {
  readonly #parts: ArrivalsParts;
  readonly #author: Author;
  readonly #inflow: MessageInflow;
  /** Says that a message came through us. */
  readonly #via: Uint8Array;
  #remote: Remote | null = null;
  #isOver = false;
  #cancelLook: Cancel | null = null;

  constructor(parts: ArrivalsParts) {
    this.#parts = parts;
    this.#author = new Author(parts.uplink, parts.node);
    this.#via = viaBytes(parts.gatewayId);
    this.#inflow = parts.local.inflow((ticket) => this.#acknowledge(ticket));
  }

  opened(remote: Remote, isSessionPresent: boolean): void {
    this.#remote = remote;
    const { taken, clock } = this.#parts;
    if (!isSessionPresent) taken.clear();
    taken.opened(clock.monotonicMs());
  }

  released(packetIdentifier: number): void {
    this.#parts.taken.release(packetIdentifier);
  }

  take(message: RemoteMessage, ticket: number): void {
    if (this.#isOver) return;
    const { taken, clock } = this.#parts;
    const packetIdentifier = ticket & 0xffff;
    const local = taken.has(message, packetIdentifier) ? null : this.#localOf(message);
    if (local === null) this.#inflow.pass(ticket);
    else if (!this.#inflow.publish(local, ticket)) return this.#refuse();
    taken.add(message, packetIdentifier, clock.monotonicMs());
  }

  #acknowledge(ticket: number): void {
    this.#remote?.acknowledge(ticket);
    // What is kept at once is acknowledged before it is noted as taken.
    queueMicrotask(() => this.#parts.taken.kept(ticket & 0xffff));
  }

  /** Takes nothing more; resolves when all that was taken is acknowledged. */
  finish(): Promise<void> {
    this.#isOver = true;
    this.#cancelLook?.();
    return this.#inflow.settled();
  }

  /** What comes later must not overtake what was refused. */
  #refuse(): void {
    const { uplink, log } = this.#parts;
    this.#isOver = true;
    log.warn('the store refuses what comes from the far side; it stays there until there is room', {
      uplink,
    });
    this.#look();
  }

  #look(): void {
    this.#cancelLook = this.#parts.clock.after(LOOK_MS, () => {
      if (this.#inflow.canKeep) this.#parts.again('the store has room again for what the far side holds');
      else this.#look();
    });
  }

  /** As it is published here; null: it is not. */
  #localOf({ topic, payload, qos, retain, properties }: RemoteMessage): Message | null {
    const { gatewayId, router, local, isActive } = this.#parts;
    if (!isActive() || !isSound(properties)) return null;
    if ([properties.userProperties?.[VIA] ?? []].flat().includes(gatewayId)) return null;
    const routed = router.route(topic, payload);
    if (routed === null || routed === 'waits') return null;
    const expiryS = properties.messageExpiryInterval;
    return {
      topic: routed.topic,
      payload: routed.payload,
      qos: Math.min(qos, routed.rule.qos) as 0 | 1 | 2,
      // Where it is never kept, the flag says that it is nobody's order of this moment.
      retain: retain && (routed.rule.retain === 'keep' || !local.keepsRetained(routed.topic)),
      sender: this.#author,
      // Ours too: a gateway that fetches it here brings it back to us otherwise.
      properties: Buffer.concat([encodeProperties(properties), this.#via]),
      ...(expiryS === undefined ? {} : { expiresAtMs: local.clock.nowMs() + expiryS * 1000 }),
    };
  }
}
