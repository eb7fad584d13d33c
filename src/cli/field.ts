/** Devices as verbs reach them without a gateway: the same pollers, for one bus and one moment. */
import { systemClock } from '../clock.js';
import type { Plant, Tag } from '../config/plant.js';
import { createLog } from '../log.js';
import { Metrics } from '../metrics.js';
import { RESULT_CODES, RESULT_EXCEPTION_BASE, type ParcelReader } from '../poller/parcel.js';
import { Pool } from '../poller/pool.js';

/** How a command went: OK with the JSON value, else a code of the contract with a text. */
export interface Outcome {
  readonly code: string;
  readonly text: string;
}

/** Reading and writing, wherever that happens. */
export interface Reach {
  read(tag: Tag, timeoutMs: number): Promise<Outcome>;
  write(tag: Tag, json: string, timeoutMs: number): Promise<Outcome>;
  close(): Promise<void>;
}

export class Field implements Reach {
  readonly pool: Pool;
  readonly #waiting = new Map<number, (outcome: Outcome) => void>();
  /** Tags that the device refuses, as the poller found out by itself. */
  readonly #refused = new Set<string>();
  #count = 0;

  private constructor(plant: Plant) {
    this.pool = new Pool({
      plant,
      clock: systemClock,
      log: createLog('error'),
      metrics: new Metrics(),
      knowledgeFolder: null,
      listener: {
        samples: () => {},
        results: (parcel) => this.#settle(parcel),
        deviceChanged: () => {},
        busChanged: () => {},
        statistics: () => {},
        event: (kind, { tag }) => {
          if (kind === 'tag-refused' && typeof tag === 'string') this.#refused.add(tag);
        },
      },
    });
  }

  static async open(plant: Plant): Promise<Field> {
    const field = new Field(plant);
    await field.pool.start();
    return field;
  }

  async read(tag: Tag, timeoutMs: number): Promise<Outcome> {
    const outcome = await this.#command((correlation) => this.pool.read(tag.index, correlation, timeoutMs));
    // What a poll was refused is not asked again by a command.
    return outcome.code === 'UNKNOWN_TAG' && this.#refused.has(tag.name)
      ? { code: 'EXC_2', text: 'illegal data address' }
      : outcome;
  }

  write(tag: Tag, json: string, timeoutMs: number): Promise<Outcome> {
    return this.#command((correlation) =>
      this.pool.write(tag.index, correlation, timeoutMs, Buffer.from(json)),
    );
  }

  close(): Promise<void> {
    return this.pool.stop();
  }

  #command(send: (correlation: number) => void): Promise<Outcome> {
    this.#count += 1;
    const correlation = this.#count;
    return new Promise((resolve) => {
      this.#waiting.set(correlation, resolve);
      send(correlation);
    });
  }

  #settle(parcel: ParcelReader): void {
    while (parcel.next()) {
      const { correlation, code, payload } = parcel;
      const name =
        code >= RESULT_EXCEPTION_BASE
          ? `EXC_${code - RESULT_EXCEPTION_BASE}`
          : (RESULT_CODES[code] ?? 'OFFLINE');
      this.#waiting.get(correlation)?.({ code: name, text: Buffer.from(payload).toString() });
      this.#waiting.delete(correlation);
    }
  }
}
