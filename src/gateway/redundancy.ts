/**
 * Two gateways on one plant: the one that holds the lease polls and writes, the other has its config loaded and its buses
 * closed. The fence stops every frame from the moment the lease may be somebody else's; taking the pollers away follows.
 */
import type { Clock } from '../clock.js';
import type { Bus, Plant, RedundancySettings } from '../config/plant.js';
import { messageOf } from '../errors.js';
import type { Log } from '../log.js';
import { Fence } from '../poller/fence.js';
import type { PoolApi } from '../poller/pool.js';
import type { Lease } from '../uplink/lease.js';

export interface RedundancyOptions {
  readonly settings: RedundancySettings | null;
  readonly pool: () => Pick<PoolApi, 'add' | 'remove'>;
  readonly plant: () => Plant;
  readonly clock: Clock;
  readonly log: Log;
  /** This gateway became the active one, or has stopped being it and polls no more. */
  readonly changed: (about: RedundancyAbout) => void;
}

export interface RedundancyAbout {
  readonly group: string;
  readonly member: string;
  readonly active: boolean;
  /** A later holder of the lease has a higher one. */
  readonly epoch: number;
}

export class Redundancy {
  /** Null: this gateway is the only one. */
  readonly fence: Fence | null;
  readonly #options: RedundancyOptions;
  #lease: Lease | null = null;
  /** The buses are polled, or are about to be. */
  #isPolling: boolean;
  #work: Promise<void> = Promise.resolve();

  constructor(options: RedundancyOptions) {
    this.#options = options;
    this.fence = options.settings === null ? null : new Fence();
    this.#isPolling = options.settings === null;
  }

  get isActive(): boolean {
    return this.fence === null || this.fence.isOpen;
  }

  /** Null: this gateway is the only one. */
  about(): RedundancyAbout | null {
    const { settings } = this.#options;
    if (settings === null) return null;
    const { group, member } = settings;
    return { group, member, active: this.isActive, epoch: this.#lease?.epoch ?? 0 };
  }

  /** Begins to ask for the lease. */
  async start(): Promise<void> {
    const { settings, clock, log } = this.#options;
    if (settings === null) return;
    const { Lease } = await import('../uplink/lease.js');
    this.#lease = new Lease({
      ...settings,
      clock,
      log,
      mayBeActiveFor: (ms) => this.fence?.openFor(ms),
      changed: (isActive) => void this.#inTurn(() => this.#turn(isActive)),
    });
    this.#lease.start();
  }

  /** Takes a new plant over, between two changes of role: what is polled only where this gateway polls. */
  replace(removed: readonly Bus[], take: () => Promise<Plant>, added: readonly Bus[]): Promise<void> {
    return this.#inTurn(async () => {
      const pool = this.#options.pool();
      if (this.#isPolling) await pool.remove(removed);
      const plant = await take();
      if (this.#isPolling) await pool.add(plant, added);
    });
  }

  /** Gives the lease back; the pollers have stopped before. */
  async stop(): Promise<void> {
    await this.#work;
    this.fence?.openFor(0);
    await this.#lease?.stop();
  }

  async #turn(isActive: boolean): Promise<void> {
    const { pool, plant, changed, log } = this.#options;
    if (isActive === this.#isPolling) return;
    this.#isPolling = isActive;
    try {
      if (isActive) await pool().add(plant(), plant().buses);
      else await pool().remove(plant().buses);
    } catch (thrown) {
      log.error('the buses could not be taken over or given up', { error: messageOf(thrown) });
    }
    const about = this.about();
    if (about !== null) changed({ ...about, active: isActive });
  }

  /** One piece of work after the other. */
  #inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.#work.then(work);
    this.#work = done.catch(() => {});
    return done;
  }
}
