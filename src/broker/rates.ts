/** How fast one client may send: messages and bytes a second, with a burst of five seconds free. */
import type { Clock } from '../clock.js';
import type { BrokerLimits } from './limits.js';

const BURST_S = 5;

export class Rates {
  readonly #limits: BrokerLimits;
  readonly #clock: Clock;
  /** What may still be sent at once. */
  #messages: number;
  #bytes: number;
  #atMs: number;

  constructor(limits: BrokerLimits, clock: Clock) {
    this.#limits = limits;
    this.#clock = clock;
    this.#messages = limits.messagesPerSecond * BURST_S;
    this.#bytes = limits.bytesPerSecond * BURST_S;
    this.#atMs = clock.monotonicMs();
  }

  /** Null: no rate is limited. */
  static of(limits: BrokerLimits, clock: Clock): Rates | null {
    const isLimited = limits.messagesPerSecond < Infinity || limits.bytesPerSecond < Infinity;
    return isLimited ? new Rates(limits, clock) : null;
  }

  countMessage(): void {
    this.#messages--;
  }

  /** So many bytes were read; answers for how long nothing more may be, 0 or less: read on. */
  waitS(bytes: number): number {
    const { messagesPerSecond, bytesPerSecond } = this.#limits;
    const nowMs = this.#clock.monotonicMs();
    const passedS = (nowMs - this.#atMs) / 1000;
    this.#atMs = nowMs;
    this.#bytes -= bytes;
    let waitS = 0;
    if (messagesPerSecond < Infinity) {
      this.#messages = Math.min(this.#messages + passedS * messagesPerSecond, messagesPerSecond * BURST_S);
      waitS = -this.#messages / messagesPerSecond;
    }
    if (bytesPerSecond < Infinity) {
      this.#bytes = Math.min(this.#bytes + passedS * bytesPerSecond, bytesPerSecond * BURST_S);
      waitS = Math.max(waitS, -this.#bytes / bytesPerSecond);
    }
    return waitS;
  }
}
