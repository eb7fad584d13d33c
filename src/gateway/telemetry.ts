/**
 * Samples on their way from the field to the broker: a parcel's records, each to the topic its index names. One array
 * look-up a sample and no object; what is made once per topic is made when the plant is taken.
 */
import type { BrokerApi, TopicHandle } from '../broker/broker.js';
import type { Plant } from '../config/plant.js';
import type { Counter, Metrics } from '../metrics.js';
import type { ParcelReader } from '../poller/parcel.js';

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

  constructor(broker: BrokerApi, metrics: Metrics) {
    this.#broker = broker;
    this.#published = metrics.counter('holdfast_samples_published_total', 'Samples published');
    this.#unknown = metrics.counter(
      'holdfast_samples_dropped_total',
      'Samples of tags that a reload has taken away',
    );
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
