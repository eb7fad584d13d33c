/**
 * Samples on their way from the field to the broker: a parcel's records, each to the topic its index names. One array
 * look-up a sample and no object; what is made once per topic is made when the plant is taken.
 */
import type { BrokerApi } from '../broker/broker.js';
import type { TopicHandle } from '../broker/insiders.js';
import type { Plant, Tag } from '../config/plant.js';
import type { Counter, Metrics } from '../metrics.js';
import type { ParcelReader } from '../poller/parcel.js';
import type { History } from './history.js';

/** How an index is published, in the bits of one number: QoS, and these. */
const QOS = 3;
const RETAIN = 4;
const STORED = 8;

export class Telemetry {
  readonly #broker: BrokerApi;
  /** By the index of a tag or batch: its topic, and how it is published. */
  readonly #handles: (TopicHandle | undefined)[] = [];
  readonly #manners: number[] = [];
  /** By the index of a batch: the tags that only it tells. */
  readonly #members = new Map<number, readonly Tag[]>();
  readonly #published: Counter;
  readonly #unknown: Counter;
  #history: History | null = null;

  constructor(broker: BrokerApi, metrics: Metrics) {
    this.#broker = broker;
    this.#published = metrics.counter('samples_published_total', 'Samples published');
    this.#unknown = metrics.counter('samples_dropped_total', 'Samples of tags that a reload has taken away');
  }

  /**
   * Tags that are gone lose their slot; indexes are never used twice, so what is under way finds nothing. Their retained
   * values go too, also those that an earlier life has stored, so that nobody takes an old value for today's.
   */
  take(plant: Plant): void {
    const isFirst = this.#handles.length === 0;
    const before = new Set(isFirst ? this.#stored(plant) : this.#topics(RETAIN));
    this.#handles.length = 0;
    this.#manners.length = 0;
    for (const tag of plant.tags) {
      if (tag.payload !== 'batch') this.#set(tag.index, tag.topic, tag);
    }
    this.#members.clear();
    for (const batch of plant.batches) {
      this.#set(batch.index, batch.topic, { ...batch, stored: false });
      const members = batch.tags.filter(({ payload }) => payload === 'batch');
      this.#members.set(batch.index, members);
    }
    for (const topic of this.#topics(isFirst ? RETAIN | STORED : RETAIN)) before.delete(topic);
    for (const topic of before) {
      this.#broker.publish({ topic, payload: new Uint8Array(0), qos: 0, retain: true, sender: null });
    }
  }

  /** From now on numbers are kept for the trend view. */
  remember(history: History | null): void {
    this.#history = history;
  }

  /** The parcel's bytes are copied by the broker before this returns. */
  publish(parcel: ParcelReader): void {
    const { bytes } = parcel;
    let count = 0;
    while (parcel.next()) {
      const { index } = parcel;
      const handle = this.#handles[index];
      if (handle === undefined) {
        this.#unknown.value += 1;
        continue;
      }
      count += 1;
      if (this.#history !== null) this.#note(this.#history, parcel);
      const manner = this.#mannerOf(index);
      this.#broker.publishSample(
        handle,
        bytes,
        parcel.payloadStart,
        parcel.payloadEnd,
        // The bits were made of one of these.
        (manner & QOS) as 0 | 1 | 2,
        (manner & RETAIN) !== 0,
        (manner & STORED) !== 0,
      );
    }
    this.#published.value += count;
    this.#broker.sendNow();
  }

  #note(history: History, { bytes, index, timeMs, payloadStart, payloadEnd }: ParcelReader): void {
    const members = this.#members.get(index);
    if (members === undefined) return history.take(index, timeMs, numberIn(bytes, payloadStart, payloadEnd));
    const values = valuesIn(bytes.subarray(payloadStart, payloadEnd));
    for (const tag of members) {
      const value = values[tag.name];
      if (typeof value === 'number') history.take(tag.index, timeMs, value);
    }
  }

  /** Of what is published in this manner. */
  #topics(manner: number): string[] {
    return this.#handles.flatMap((handle, index) =>
      handle !== undefined && (this.#mannerOf(index) & manner) === manner ? [handle.topic] : [],
    );
  }

  /** Values that this gateway told before it was started; what clients published is theirs. */
  #stored({ gateway }: Plant): string[] {
    const topics: string[] = [];
    const { dataFilter } = gateway.topics;
    if (dataFilter === null) return topics;
    this.#broker.retained(dataFilter, (topic, _payload, _qos, _properties, publisher) => {
      if (publisher === '') topics.push(topic);
    });
    return topics;
  }

  #mannerOf(index: number): number {
    return this.#manners[index] ?? 0;
  }

  #set(index: number, topic: string, { qos, retain, stored }: Pick<Tag, 'qos' | 'retain' | 'stored'>): void {
    this.#handles[index] = this.#broker.handleOf(topic);
    this.#manners[index] = qos | (retain ? RETAIN : 0) | (stored ? STORED : 0);
  }
}

/** Of a batch, as our own poller writes it (poller/payload.ts). */
function valuesIn(payload: Uint8Array): Readonly<Record<string, unknown>> {
  const text = Buffer.from(payload.buffer, payload.byteOffset, payload.length).toString();
  return (JSON.parse(text) as { v: Record<string, unknown> }).v;
}

const VALUE = Buffer.from('{"v":');
const NUMBER_MAX_BYTES = 40;

/** The number that a payload says: of {"v":21.4,...} or bare; NaN where it says none. */
function numberIn(bytes: Uint8Array, start: number, end: number): number {
  const isObject = bytes[start] === VALUE[0];
  const from = isObject ? start + VALUE.length : start;
  let to = from;
  while (to < end && to - from < NUMBER_MAX_BYTES && isDigit(bytes[to] ?? 0)) to++;
  if (to === from) return NaN;
  let text = '';
  for (let at = from; at < to; at++) text += String.fromCharCode(bytes[at] ?? 0);
  return Number(text);
}

/** Whatever may stand in a JSON number. */
function isDigit(byte: number): boolean {
  return (
    (byte >= 0x30 && byte <= 0x39) ||
    byte === 0x2d ||
    byte === 0x2e ||
    byte === 0x2b ||
    byte === 0x45 ||
    byte === 0x65
  );
}
