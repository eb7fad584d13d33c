/**
 * Samples on their way from the field to the broker: a parcel's records, each to the topic its index names. One array
 * look-up a sample and no object; what is made once per topic is made when the plant is taken.
 */
import type { BrokerApi, TopicHandle } from '../broker/broker.js';
import type { Plant } from '../config/plant.js';
import type { Counter, Metrics } from '../metrics.js';
import type { ParcelReader } from '../poller/parcel.js';
import type { History } from './history.js';

/** What an index means: a tag or a batch, as its topic is published. */
interface Slot {
  readonly handle: TopicHandle;
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
  readonly stored: boolean;
}

export class Telemetry {
  readonly #broker: BrokerApi;
  readonly #slots: (Slot | undefined)[] = [];
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
   * values go too, so that nobody takes an old value for today's.
   */
  take(plant: Plant): void {
    const before = new Set(this.#slots.flatMap((slot) => (slot?.retain === true ? [slot.handle.topic] : [])));
    this.#slots.length = 0;
    for (const tag of plant.tags) {
      if (tag.payload !== 'batch') this.#set(tag.index, tag.topic, tag);
    }
    for (const batch of plant.batches) this.#set(batch.index, batch.topic, { ...batch, stored: false });
    for (const slot of this.#slots) if (slot !== undefined) before.delete(slot.handle.topic);
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
      const slot = this.#slots[parcel.index];
      if (slot === undefined) {
        this.#unknown.value += 1;
        continue;
      }
      count += 1;
      if (this.#history !== null) {
        const value = numberIn(bytes, parcel.payloadStart, parcel.payloadEnd);
        this.#history.take(parcel.index, parcel.timeMs, value);
      }
      this.#broker.publishSample(
        slot.handle,
        bytes,
        parcel.payloadStart,
        parcel.payloadEnd,
        slot.qos,
        slot.retain,
        slot.stored,
      );
    }
    this.#published.value += count;
  }

  #set(index: number, topic: string, { qos, retain, stored }: Omit<Slot, 'handle'>): void {
    this.#slots[index] = { handle: this.#broker.handleOf(topic), qos, retain, stored };
  }
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
