/**
 * Messages on their way out, a lane for each topic: so many of a topic are under way at once and no more, so that they
 * stay in their order even when a cluster loses a node between them.
 */
import type { Entry } from './entry.js';

interface Lane {
  /** Those that go first, and the others; each in their order. */
  readonly urgent: Entry[];
  readonly waiting: Entry[];
  underWay: number;
  /** Nothing of it goes until then. */
  heldUntilMs: number;
}

export class Lanes {
  /** Entries that wait, and their bytes. */
  count = 0;
  bytes = 0;
  readonly #perTopic: number;
  readonly #lanes = new Map<string, Lane>();
  /** Topics of which one may go, in the order in which they came to it; those with an urgent one apart. */
  readonly #urgent = new Set<string>();
  readonly #ready = new Set<string>();
  /** Those of which nothing goes for a while. */
  readonly #held = new Set<string>();

  constructor(perTopic: number) {
    this.#perTopic = perTopic;
  }

  /** isUrgent: ahead of what is not. */
  add(entry: Entry, isUrgent: boolean): void {
    const lane = this.#lanes.get(entry.topic) ?? { urgent: [], waiting: [], underWay: 0, heldUntilMs: 0 };
    (isUrgent ? lane.urgent : lane.waiting).push(entry);
    this.#lanes.set(entry.topic, lane);
    this.count++;
    this.bytes += entry.payload.length;
    this.#look(entry.topic, lane);
  }

  /** The next that may go, which is under way from now on. */
  next(): Entry | undefined {
    const topic = first(this.#urgent) ?? first(this.#ready);
    const lane = topic === undefined ? undefined : this.#lanes.get(topic);
    const entry = lane?.urgent.shift() ?? lane?.waiting.shift();
    if (topic === undefined || lane === undefined || entry === undefined) return undefined;
    lane.underWay++;
    this.count--;
    this.bytes -= entry.payload.length;
    this.#urgent.delete(topic);
    this.#ready.delete(topic);
    this.#look(topic, lane);
    return entry;
  }

  /** One of this topic has arrived. */
  done(topic: string): void {
    const lane = this.#lanes.get(topic);
    if (lane === undefined) return;
    lane.underWay--;
    const isEmpty = lane.underWay === 0 && lane.urgent.length === 0 && lane.waiting.length === 0;
    if (isEmpty) this.#lanes.delete(topic);
    else this.#look(topic, lane);
  }

  /** One of this topic has not arrived, and is the next again, from this time on. */
  again(entry: Entry, fromMs: number): void {
    const { topic, sequence, payload } = entry;
    const lane = this.#lanes.get(topic);
    if (lane === undefined) return;
    lane.underWay--;
    const behind = lane.urgent.findIndex((other) => other.sequence > sequence);
    lane.urgent.splice(behind < 0 ? lane.urgent.length : behind, 0, entry);
    this.count++;
    this.bytes += payload.length;
    lane.heldUntilMs = fromMs;
    this.#held.add(topic);
    this.#urgent.delete(topic);
    this.#ready.delete(topic);
  }

  /** Topics that were held until now may go on. */
  release(nowMs: number): void {
    for (const topic of this.#held) {
      const lane = this.#lanes.get(topic);
      if (lane !== undefined && lane.heldUntilMs > nowMs) continue;
      this.#held.delete(topic);
      if (lane !== undefined) this.#look(topic, lane);
    }
  }

  clear(): void {
    this.#lanes.clear();
    this.#urgent.clear();
    this.#ready.clear();
    this.#held.clear();
    this.count = 0;
    this.bytes = 0;
  }

  #look(topic: string, { urgent, waiting, underWay }: Lane): void {
    if (underWay >= this.#perTopic || this.#held.has(topic)) return;
    if (urgent.length > 0) this.#urgent.add(topic);
    else if (waiting.length > 0) this.#ready.add(topic);
  }
}

const first = (topics: ReadonlySet<string>): string | undefined => topics.values().next().value;
