/**
 * What an uplink says by itself: on each connection, as a heartbeat while it is connected, and of devices. The first two
 * are of the moment and are not kept; what is said of a device waits in the queue like any sample.
 */
import type { Cancel, Clock } from '../clock.js';
import type { UplinkNotice } from '../config/plant.js';
import { type Outgoing, plain } from './publications.js';
import { timeName } from './payload.js';
import { fillPayload, fillTopic, type Names } from './template.js';

export interface NoticesOptions {
  readonly notices: readonly UplinkNotice[];
  /** JSON texts of the names that every template may use. */
  readonly variables: ReadonlyMap<string, string>;
  readonly clock: Clock;
}

/** A device as the gateway tells of it. */
export interface DeviceNews {
  readonly device: string;
  readonly state: 'online' | 'degraded' | 'offline';
  readonly since: number;
  /** Empty: none. */
  readonly error: string;
}

export class Notices {
  readonly #options: NoticesOptions;
  /** By notice; not every notice has one. */
  #cancels: (Cancel | undefined)[] = [];

  constructor(options: NoticesOptions) {
    this.#options = options;
  }

  /** A connection is there. */
  start(say: (message: Outgoing) => void): void {
    this.stop();
    for (const [index, notice] of this.#options.notices.entries()) {
      if (notice.when === 'connect') this.#say(notice, say);
      if (notice.when === 'every') this.#repeat(index, notice, say);
    }
  }

  stop(): void {
    for (const cancel of this.#cancels) cancel?.();
    this.#cancels = [];
  }

  ofDevice({ device, state, since, error }: DeviceNews): Outgoing[] {
    const members = new Map<string, string>([
      ['device', JSON.stringify(device)],
      ['state', JSON.stringify(state)],
      ['since', String(Math.trunc(since))],
      ['error', error === '' ? 'null' : JSON.stringify(error)],
    ]);
    return this.#options.notices
      .filter(({ when }) => when === `device-${state}`)
      .flatMap((notice) => this.#made(notice, (name) => members.get(name)) ?? []);
  }

  #repeat(index: number, notice: UplinkNotice, say: (message: Outgoing) => void): void {
    this.#cancels[index] = this.#options.clock.after(notice.everyMs, () => {
      this.#say(notice, say);
      this.#repeat(index, notice, say);
    });
  }

  #say(notice: UplinkNotice, say: (message: Outgoing) => void): void {
    const message = this.#made(notice, () => undefined);
    if (message !== null) say(message);
  }

  #made({ topic, payload, qos, retain }: UplinkNotice, members: Names): Outgoing | null {
    const { variables, clock } = this.#options;
    const nowMs = clock.nowMs();
    const names: Names = (name) => members(name) ?? timeName(name, nowMs) ?? variables.get(name);
    const filled = fillTopic(topic, names, true);
    const text = fillPayload(payload, names);
    if (filled === null || text === null) return null;
    return plain(filled, text, qos, retain);
  }
}
