/**
 * The hot path of an uplink: PUBLISH packets of QoS 0 and 1 written with the broker's codec straight to the stream of the
 * connection, those of one turn in one write, and their PUBACKs; and what acknowledges publications of the far side. Everything else is left to the client library.
 */
import {
  acknowledgementLength,
  PublishWriter,
  wholePublication,
  writeAcknowledgement,
} from '../broker/codec.js';

/** How a publication ended: 0 kept by the far side, a reason code from 0x80 refused, -1 unknown (still queued). */
export type PublishOutcome = number;
export const UNKNOWN = -1;

/** A message for the far side. */
export interface Outgoing {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
  /** As the broker keeps them, without the expiry; left out with MQTT 3.1.1. */
  readonly properties: Uint8Array;
  /** Seconds until nobody wants it any more; -1: none. Left out with MQTT 3.1.1. */
  readonly expiryS: number;
}

/** A message without properties. */
export function plain(
  topic: string,
  payload: Uint8Array | string,
  qos: 0 | 1 | 2,
  retain: boolean,
): Outgoing {
  return { topic, payload: Buffer.from(payload), qos, retain, properties: NO_BYTES, expiryS: -1 };
}

type Done = (outcome: PublishOutcome) => void;
type Write = (bytes: Uint8Array, written?: (error?: Error | null) => void) => void;

/** Packet identifiers up to here are the library's, those above are ours. */
const LAST_FOREIGN = 1023;
const LAST = 65_535;
/** Room for the packets of one turn; one that is larger has a write for itself. */
const BATCH_BYTES = 16 << 10;
const ACKNOWLEDGEMENT_BYTES = acknowledgementLength(5, 0);
/** A matching subscriber is no condition: the far side has it. */
const NO_MATCHING_SUBSCRIBERS = 0x10;

/**
 * Hands out the library's packet identifiers, which keep clear of ours. It outlives connections: what was sent at QoS 2
 * and not completed still has its identifier in the far side's session, where another message under it would pass for
 * the same one.
 */
export class ForeignIdentifiers {
  #next = 1;
  readonly #open: Set<number>;

  /** With false the session may be one of an earlier life, of which nobody knows what it has left: any of them. */
  constructor(isNew = true) {
    const count = isNew ? 0 : LAST_FOREIGN;
    this.#open = new Set(Array.from({ length: count }, (_none, index) => index + 1));
  }

  allocate(): number {
    const identifier = this.#next;
    this.#next = (identifier % LAST_FOREIGN) + 1;
    this.#open.add(identifier);
    return identifier;
  }

  getLastAllocated(): number {
    return this.#next === 1 ? LAST_FOREIGN : this.#next - 1;
  }

  register(): boolean {
    return true;
  }

  deallocate(identifier: number): void {
    this.#open.delete(identifier);
  }

  clear(): void {}

  /** Those that connections before have left; they are nobody's any more. */
  takeOpen(): number[] {
    const open = [...this.#open];
    this.#open.clear();
    return open;
  }
}

export class Publications {
  readonly #write: Write;
  readonly #writer = new PublishWriter();
  readonly #version: 4 | 5;
  readonly #pending = new Map<number, Done>();
  #identifier = LAST_FOREIGN;
  #batch = NO_BYTES;
  #used = 0;
  /** Of QoS 0 in this batch: told when it is written. */
  #unanswered: Done[] = [];
  #isFlushDue = false;
  #settled = (): void => {};
  #isOver = false;

  constructor(version: 4 | 5, write: Write) {
    this.#version = version;
    this.#write = write;
  }

  /** done is called exactly once, and never before this returns. False: larger than `maximumBytes`, and not sent. */
  publish(message: Outgoing & { readonly qos: 0 | 1 }, maximumBytes: number, done: Done): boolean {
    const publication = wholePublication(Buffer.from(message.topic), message.properties, message.payload);
    const writer = this.#writer;
    writer.reset(this.#version, message.qos, message.retain);
    if (this.#version === 5) writer.expiryS = message.expiryS;
    const length = writer.length(publication);
    if (length > maximumBytes) return false;
    if (this.#isOver) {
      queueMicrotask(() => done(UNKNOWN));
      return true;
    }
    this.#makeRoom(length);
    if (message.qos === 1) this.#pending.set((writer.packetIdentifier = this.#free()), done);
    else this.#unanswered.push(done);
    this.#used = writer.write(this.#batch, this.#used, publication);
    return true;
  }

  /** The far side is told that we have what it sent, PUBACK or PUBREC; or what it need not keep apart any more: PUBREL. */
  acknowledge(first: number, packetIdentifier: number): void {
    if (this.#isOver) return;
    this.#makeRoom(ACKNOWLEDGEMENT_BYTES);
    this.#used = writeAcknowledgement(this.#batch, this.#used, first, packetIdentifier, this.#version, 0);
  }

  /** For so many bytes that go with this turn's. */
  #makeRoom(length: number): void {
    if (this.#used + length > this.#batch.length) {
      this.#flush();
      this.#batch = Buffer.allocUnsafe(Math.max(BATCH_BYTES, length));
    }
    if (!this.#isFlushDue) queueMicrotask(() => this.#flush());
    this.#isFlushDue = true;
  }

  /** Resolves when nothing is under way any more. */
  settled(): Promise<void> {
    this.#flush();
    return this.#pending.size === 0 ? Promise.resolve() : new Promise((resolve) => (this.#settled = resolve));
  }

  /** The next packet identifier that nothing under way has. */
  #free(): number {
    do this.#identifier = this.#identifier === LAST ? LAST_FOREIGN + 1 : this.#identifier + 1;
    while (this.#pending.has(this.#identifier));
    return this.#identifier;
  }

  #flush(): void {
    this.#isFlushDue = false;
    if (this.#used === 0) return;
    const unanswered = this.#unanswered;
    const written =
      unanswered.length === 0
        ? undefined
        : (error?: Error | null): void => unanswered.forEach((done) => done(error ? UNKNOWN : 0));
    this.#write(this.#batch.subarray(0, this.#used), written);
    this.#batch = NO_BYTES;
    this.#used = 0;
    this.#unanswered = [];
  }

  /** A PUBACK has come. */
  acknowledged(identifier: number, reason: number): void {
    const done = this.#pending.get(identifier);
    if (done === undefined) return;
    this.#pending.delete(identifier);
    done(reason === NO_MATCHING_SUBSCRIBERS ? 0 : reason);
    if (this.#pending.size === 0) this.#settled();
  }

  /** The connection is gone: nobody knows what became of those under way. */
  end(): void {
    this.#isOver = true;
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const done of pending) done(UNKNOWN);
    this.#settled();
  }
}

const NO_BYTES = Buffer.alloc(0);
