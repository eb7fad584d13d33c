/**
 * One coarse wheel for the deadlines of all connections: nothing is done for a packet but to note the wheel's tick.
 * A deadline is met within two ticks after it is due, never before: ticks may come late, never closer together.
 */
import type { Cancel, Clock } from '../clock.js';

export interface Watched {
  /** Tick of the last packet, set by the owner from wheel.now. */
  lastTick: number;
  /** So many ticks after lastTick it is due; 0: never. */
  readonly dueTicks: number;
  /** Tick at which it is looked at next; the wheel's own. */
  lookTick: number;
  expire(): void;
}

/** Timers of Node may fire a fraction of a millisecond early. */
const TICK_MS = 251;
const SLOTS = 256;

export class Wheel {
  readonly #clock: Clock;
  readonly #slots: Set<Watched>[] = Array.from({ length: SLOTS }, () => new Set());
  #cancel: Cancel | null = null;
  #dueMs = 0;
  /** Ticks so far. */
  now = 0;

  readonly #stalled: (lateMs: number) => void;

  /** `stalled` is told when the loop stood still for longer than two ticks. */
  constructor(clock: Clock, stalled: (lateMs: number) => void = () => {}) {
    this.#clock = clock;
    this.#stalled = stalled;
  }

  /** The ticks that make up at least so many milliseconds. */
  static ticksOf(ms: number): number {
    return ms <= 0 || ms === Infinity ? 0 : Math.ceil(ms / TICK_MS) + 1;
  }

  start(): void {
    this.stop();
    this.#dueMs = this.#clock.monotonicMs() + TICK_MS;
    this.#cancel = this.#clock.after(TICK_MS, () => this.#tick());
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = null;
  }

  /** Watches from now on; asked again whenever dueTicks changed to something sooner. */
  watch(watched: Watched): void {
    this.forget(watched);
    if (watched.dueTicks === 0) return;
    const due = Math.max(this.now + 1, Math.min(watched.lastTick + watched.dueTicks, this.now + SLOTS - 1));
    watched.lookTick = due;
    this.#slots[due % SLOTS]?.add(watched);
  }

  /** Watches no more: a connection that is gone must not stay in memory until it would have been looked at. */
  forget(watched: Watched): void {
    this.#slots[watched.lookTick % SLOTS]?.delete(watched);
  }

  #tick(): void {
    const nowMs = this.#clock.monotonicMs();
    // After a stall of the loop what clients sent meanwhile is still unread: nobody is judged before it was.
    const lateMs = nowMs - this.#dueMs;
    const isLate = lateMs > TICK_MS * 2;
    if (isLate) this.#stalled(lateMs);
    this.now++;
    this.#dueMs = nowMs + TICK_MS;
    this.#cancel = this.#clock.after(TICK_MS, () => this.#tick());
    const slot = this.now % SLOTS;
    const due = this.#slots[slot] ?? [];
    this.#slots[slot] = new Set();
    for (const watched of due) {
      if (!isLate && this.now - watched.lastTick >= watched.dueTicks) watched.expire();
      else this.watch(watched);
    }
  }
}
