/** Random facts as a broker would append them: sessions come and go, messages are queued, sent and acknowledged. */
import type { StoreRecord } from '../../src/store/store.js';

interface LoadSession {
  number: number;
  queue: number[];
  /** Packet identifier -> position; 0 when PUBREC came. */
  inFlight: Map<number, number>;
  incoming: Set<number>;
  filters: string[];
  nextIdentifier: number;
}

export class StoreLoad {
  readonly #random: () => number;
  readonly #payloadMax: number;
  readonly sessions: LoadSession[] = [];
  #topics = 0;
  nextSession = 1;
  nextPosition = 1;

  constructor(random: () => number, payloadMax = 4_000) {
    this.#random = random;
    this.#payloadMax = payloadMax;
  }

  /** The next fact. */
  next(): StoreRecord {
    const session = this.#pick(this.sessions);
    const dice = this.#below(100);
    if (session === undefined || (dice < 3 && this.sessions.length < 8)) return this.#open();
    if (dice < 45) return this.#publish();
    if (dice < 65) return this.#send(session) ?? this.#publish();
    if (dice < 85) return this.#acknowledge(session) ?? this.#publish();
    if (dice < 88) return this.#drop(session) ?? this.#publish();
    if (dice < 91) return this.#subscribe(session);
    if (dice < 93) return this.#release(session);
    if (dice < 94) return { type: 'RetainedCleared', topic: Buffer.from(`r/${this.#below(20)}`) };
    if (dice < 96) {
      return {
        type: 'SessionChanged',
        session: session.number,
        expiryS: this.#below(9999),
        disconnectedAtMs: this.#below(2) * 1e12,
      };
    }
    if (dice < 98) return this.#will(session);
    return this.#below(3) === 0 ? this.#end(session) : this.#publish();
  }

  #open(): StoreRecord {
    const number = this.nextSession++;
    this.sessions.push({
      number,
      queue: [],
      inFlight: new Map(),
      incoming: new Set(),
      filters: [],
      nextIdentifier: 1,
    });
    return {
      type: 'SessionOpened',
      session: number,
      clientId: `client ${number} é`,
      owner: number % 2 ? 'me' : '',
      expiryS: 0xffffffff,
      protocolVersion: 5,
    };
  }

  #publish(): StoreRecord {
    const position = this.nextPosition++;
    const receivers = this.sessions
      .filter(() => this.#below(2) === 0)
      .map((session) => {
        session.queue.push(position);
        const qos: 1 | 2 = this.#below(2) === 0 ? 1 : 2;
        return {
          session: session.number,
          qos,
          retain: this.#below(4) === 0,
          identifiers: this.#below(3) === 0 ? [1, 300] : [],
          share: this.#below(4) === 0 ? `g${this.#below(300)}/t/#` : undefined,
        };
      });
    const publisher = this.#pick(this.sessions);
    const packetIdentifier = this.#below(65535) + 1;
    const isFrom = publisher !== undefined && this.#below(3) === 0;
    if (isFrom) publisher.incoming.add(packetIdentifier);
    const retained = this.#below(5) === 0;
    return {
      type: 'Published',
      position,
      message: {
        topic: Buffer.from(retained ? `r/${this.#below(20)}` : `t/${this.#topics++}`),
        payload: Buffer.alloc(this.#below(this.#payloadMax), position),
        properties: Buffer.from(this.#below(2) === 0 ? 'props' : ''),
        qos: 2,
        expiresAtMs: this.#below(2) === 0 ? 0 : 1_900_000_000_000,
        publisher: this.#below(2) === 0 ? '' : 'someone',
      },
      receivers,
      retained,
      ...(isFrom ? { from: { session: publisher.number, packetIdentifier } } : {}),
    };
  }

  #send(session: LoadSession): StoreRecord | null {
    const inFlight = new Set(session.inFlight.values());
    const position = session.queue.find((waiting) => !inFlight.has(waiting));
    if (position === undefined || session.inFlight.size >= 20) return null;
    while (session.inFlight.has(session.nextIdentifier)) session.nextIdentifier++;
    const packetIdentifier = session.nextIdentifier;
    session.nextIdentifier = (packetIdentifier % 40) + 1;
    session.inFlight.set(packetIdentifier, position);
    return { type: 'Sent', session: session.number, position, packetIdentifier };
  }

  #acknowledge(session: LoadSession): StoreRecord | null {
    const exchange = this.#pick([...session.inFlight]);
    if (exchange === undefined) return null;
    const [packetIdentifier, position] = exchange;
    session.queue = session.queue.filter((waiting) => waiting !== position);
    if (position !== 0 && this.#below(3) === 0) {
      session.inFlight.set(packetIdentifier, 0);
      return { type: 'Received', session: session.number, packetIdentifier, position: 0 };
    }
    session.inFlight.delete(packetIdentifier);
    return { type: 'Completed', session: session.number, packetIdentifier, position: 0 };
  }

  #drop(session: LoadSession): StoreRecord | null {
    const inFlight = new Set(session.inFlight.values());
    const position = this.#pick(session.queue.filter((waiting) => !inFlight.has(waiting)));
    if (position === undefined) return null;
    session.queue = session.queue.filter((waiting) => waiting !== position);
    return { type: 'Dropped', session: session.number, position };
  }

  #subscribe(session: LoadSession): StoreRecord {
    const filter = this.#below(3) === 0 ? this.#pick(session.filters) : undefined;
    if (filter !== undefined) return { type: 'Unsubscribed', session: session.number, filter };
    const fresh = `a/+/${this.#below(10)}/#`;
    session.filters.push(fresh);
    return {
      type: 'Subscribed',
      session: session.number,
      filter: fresh,
      options: this.#below(64),
      identifier: this.#below(1000),
    };
  }

  #release(session: LoadSession): StoreRecord {
    const packetIdentifier = this.#pick([...session.incoming]) ?? 1;
    session.incoming.delete(packetIdentifier);
    return { type: 'Released', session: session.number, packetIdentifier };
  }

  #will(session: LoadSession): StoreRecord {
    if (this.#below(2) === 0) return { type: 'WillCleared', session: session.number };
    const message = {
      topic: Buffer.from('w'),
      payload: Buffer.from(`gone ${this.#below(99)}`),
      properties: Buffer.alloc(0),
      qos: 1 as const,
      expiresAtMs: 0,
      publisher: '',
    };
    return {
      type: 'WillPending',
      session: session.number,
      message,
      retain: this.#below(2) === 0,
      delayS: this.#below(2) * 0xffffffff,
      dueAtMs: 1_800_000_000_000,
    };
  }

  #end(session: LoadSession): StoreRecord {
    this.sessions.splice(this.sessions.indexOf(session), 1);
    return { type: 'SessionEnded', session: session.number };
  }

  #below(limit: number): number {
    return Math.floor(this.#random() * limit);
  }

  #pick<T>(list: readonly T[]): T | undefined {
    return list[this.#below(list.length)];
  }
}
