/**
 * Which of two gateways is active: a lease in a NATS key-value bucket whose entries expire. The holder renews it; who
 * could not renew it in time fences itself before anybody else can have it. The one importer of the nats package.
 */
import { randomUUID } from 'node:crypto';
import { connect, type KV, type NatsConnection } from 'nats';
import type { Cancel, Clock } from '../clock.js';
import { messageOf } from '../errors.js';
import type { Log } from '../log.js';

export interface LeaseOptions {
  readonly servers: readonly string[];
  readonly user: string | null;
  readonly password: string | null;
  /** Gateways with the same group take turns. */
  readonly group: string;
  /** Names this gateway among them. */
  readonly member: string;
  /** The entry expires so long after its last renewal. */
  readonly ttlMs: number;
  readonly clock: Clock;
  readonly log: Log;
  /** May be active for so long from now, told at each renewal; 0: not any more. */
  readonly mayBeActiveFor: (ms: number) => void;
  /** Won or lost; a later holder has a higher epoch. */
  readonly changed: (isActive: boolean, epoch: number) => void;
}

export const BUCKET = 'holdfast-lease';
const CONNECT_MS = 2000;
/** Renewed so often within its time. */
const RENEWALS = 4;
/** An entry that is gone though it was renewed later than that counts as held still: a server whose clock jumps forgets too soon. */
const HELD_SHARE = 0.95;
/** Before it expires over there we have stopped: for clocks that run apart, and for what is under way. */
const FENCE_SHARE = 0.75;

export class Lease {
  readonly #options: LeaseOptions;
  /** Tells our entry from one of an earlier life of this gateway, which must expire like any other's. */
  readonly #instance = randomUUID();
  #connection: NatsConnection | null = null;
  #bucket: KV | null = null;
  /** Revision of our own entry; null: it is not ours. */
  #revision: number | null = null;
  #deadlineMs = 0;
  #epoch = 0;
  /** The last entry of the other gateway, and since when it was known. */
  #seen = { revision: 0, sinceMs: -Infinity };
  #isStopped = false;
  #cancelTurn: Cancel | null = null;
  #cancelFence: Cancel | null = null;
  #error = '';

  constructor(options: LeaseOptions) {
    this.#options = options;
  }

  get isActive(): boolean {
    return this.#revision !== null;
  }

  get epoch(): number {
    return this.#epoch;
  }

  start(): void {
    void this.#turn();
  }

  /** Gives the lease back, so that the other need not wait for it to expire. The caller has stopped before. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#cancelTurn?.();
    this.#cancelFence?.();
    const revision = this.#revision;
    this.#revision = null;
    if (revision !== null) await this.#within(this.#release(revision)).catch(() => {});
    await this.#within(this.#connection?.close() ?? Promise.resolve()).catch(() => {});
  }

  async #release(revision: number): Promise<void> {
    await this.#bucket?.delete(this.#options.group, { previousSeq: revision });
  }

  /** One attempt to take or renew it, then the next. */
  async #turn(): Promise<void> {
    const { clock, ttlMs, log, group } = this.#options;
    // The time before the request counts: the entry lives from some moment after it.
    const askedAtMs = clock.monotonicMs();
    try {
      const bucket = await this.#within(this.#open());
      const revision = await this.#within(this.#claim(bucket));
      if (this.#error !== '') log.info('the lease can be asked for again', { group });
      this.#error = '';
      if (revision !== null && !this.#isStopped) this.#won(revision, askedAtMs + FENCE_SHARE * ttlMs);
    } catch (thrown) {
      const error = messageOf(thrown);
      if (this.#error === '') log.warn('the lease cannot be asked for; trying again', { group, error });
      this.#error = error;
    }
    if (this.#isStopped) return;
    this.#cancelTurn = clock.after(ttlMs / RENEWALS, () => void this.#turn());
  }

  /** The revision of our entry; null when another gateway holds it. */
  async #claim(bucket: KV): Promise<number | null> {
    const { group } = this.#options;
    if (this.#revision !== null) {
      try {
        return await bucket.update(group, this.#value(), this.#revision);
      } catch {
        // A renewal whose answer was lost has moved the revision; the entry says whose it is.
      }
    }
    const found = await bucket.get(group);
    const isHeld = found !== null && found.operation === 'PUT';
    if (isHeld && this.#isOurs(found.string())) return bucket.update(group, this.#value(), found.revision);
    if (this.#revision !== null) this.#lost(isHeld ? `it is held by ${found.string()}` : 'it expired');
    if (isHeld) this.#see(found.revision);
    if (isHeld || (found === null && this.#isHeldStill())) return null;
    try {
      return await bucket.create(group, this.#value());
    } catch {
      // The other was faster, or nobody could agree on anything.
      return null;
    }
  }

  #see(revision: number): void {
    if (revision !== this.#seen.revision)
      this.#seen = { revision, sinceMs: this.#options.clock.monotonicMs() };
  }

  #isHeldStill(): boolean {
    const { clock, ttlMs } = this.#options;
    return clock.monotonicMs() < this.#seen.sinceMs + HELD_SHARE * ttlMs;
  }

  #value(): Uint8Array {
    return Buffer.from(JSON.stringify({ member: this.#options.member, instance: this.#instance }));
  }

  #isOurs(value: string): boolean {
    return value.includes(this.#instance);
  }

  #won(revision: number, deadlineMs: number): void {
    const { clock, mayBeActiveFor, changed, log, group } = this.#options;
    const leftMs = deadlineMs - clock.monotonicMs();
    if (leftMs <= 0) return this.#lost('the answer came too late');
    const isNew = this.#revision === null;
    this.#revision = revision;
    this.#deadlineMs = deadlineMs;
    mayBeActiveFor(leftMs);
    this.#armFence();
    if (!isNew) return;
    this.#epoch = revision;
    log.info('this gateway is the active one', { group, epoch: revision });
    changed(true, revision);
  }

  #armFence(): void {
    const { clock } = this.#options;
    this.#cancelFence?.();
    this.#cancelFence = clock.after(this.#deadlineMs - clock.monotonicMs(), () =>
      this.#lost('it could not be renewed in time'),
    );
  }

  #lost(reason: string): void {
    this.#cancelFence?.();
    if (this.#revision === null) return;
    this.#revision = null;
    const { log, changed, group, mayBeActiveFor } = this.#options;
    mayBeActiveFor(0);
    log.warn('this gateway is not the active one any more', { group, reason });
    changed(false, this.#epoch);
  }

  async #open(): Promise<KV> {
    const { servers, user, password, ttlMs, log, group } = this.#options;
    if (this.#connection === null || this.#connection.isClosed()) {
      this.#bucket = null;
      this.#connection = null;
      const connection = await connect({
        servers: [...servers],
        timeout: CONNECT_MS,
        maxReconnectAttempts: -1,
        reconnectTimeWait: 250,
        pingInterval: 1000,
        maxPingOut: 2,
        ...(user === null ? {} : { user }),
        ...(password === null ? {} : { pass: password }),
      });
      // An attempt that took too long may have been followed by another one.
      if (this.#connection !== null || this.#isStopped) void connection.close();
      else this.#connection = connection;
    }
    if (this.#bucket !== null) return this.#bucket;
    if (this.#connection === null) throw new Error('the lease is given back');
    const { views } = this.#connection.jetstream({ timeout: ttlMs / RENEWALS });
    const options = { ttl: ttlMs, history: 1, replicas: this.#isCluster ? 3 : 1 };
    const bucket = await views.kv(BUCKET, options);
    const { ttl } = await bucket.status();
    if (ttl !== ttlMs) {
      const text = `the bucket ${BUCKET} has a time to live of ${ttl} ms and this gateway ${ttlMs} ms; make ttl the same everywhere, or remove the bucket`;
      log.error(text, { group });
      throw new Error(text);
    }
    this.#bucket = bucket;
    return bucket;
  }

  /** One copy in each of three nodes, so that the loss of one changes nothing. */
  get #isCluster(): boolean {
    return this.#connection?.info?.cluster !== undefined;
  }

  /** No call may take longer than the time between two renewals. */
  async #within<T>(work: Promise<T>): Promise<T> {
    const { clock, ttlMs } = this.#options;
    let cancel: Cancel = () => {};
    const late = new Promise<never>((_resolve, reject) => {
      cancel = clock.after(ttlMs / RENEWALS, () => reject(new Error('no answer in time')));
    });
    try {
      return await Promise.race([work, late]);
    } finally {
      cancel();
    }
  }
}
