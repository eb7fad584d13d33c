/**
 * Whether a bus's link is there, and since when: what is told of it, and when a link that is up and yet dead has to be
 * made anew. Knows no units; those who ask act on the answers.
 */
import type { ModbusError } from '../modbus/client.js';

/** A link that is gone is told after so long: a quick reconnect is no news. */
const GRACE_MS = 1000;
/** Up for so long without an answer, and the link is told to be up all the same. */
const SETTLED_MS = 2000;
/** Without one answer for so long while work is due the link is made anew; twice as long each time. */
const WATCHDOG_MS = 3000;
const WATCHDOG_MAX_MS = 30_000;
/** No sooner where a gateway may be waiting for a silent unit before it turns to the others. */
const GATEWAY_MS = 5000;
/** So many requests in a row that went down with their connections, and connecting alone is no news any more. */
const BROKEN_MAX = 3;

export class LinkState {
  readonly #leastMs: number;
  readonly #tell: (isUp: boolean, error: string) => void;
  #isConnected = false;
  #isDown = false;
  #isToldDown = false;
  #downSinceMs: number;
  /** When the last connection ended on which anything was heard. */
  #outageSinceMs: number;
  #upSinceMs = 0;
  /** Requests that went down with their connections since the last answer. */
  #broken = 0;
  #answerAtMs: number;
  #unanswered = 0;
  #watchdogMs = WATCHDOG_MS;
  #error = '';

  constructor(
    timeoutMs: number,
    isGateway: boolean,
    nowMs: number,
    tell: (isUp: boolean, error: string) => void,
  ) {
    this.#leastMs = Math.max(3 * timeoutMs, isGateway ? GATEWAY_MS : 0);
    this.#tell = tell;
    this.#downSinceMs = nowMs;
    this.#outageSinceMs = nowMs;
    this.#answerAtMs = nowMs;
  }

  /** Gone for longer than a moment. */
  get isDown(): boolean {
    return this.#isDown;
  }

  get error(): string {
    return this.#error || 'not connected';
  }

  /** Connected; true when it had been down. */
  up(nowMs: number): boolean {
    const wasDown = this.#isDown;
    this.#isConnected = true;
    this.#isDown = false;
    this.#upSinceMs = nowMs;
    this.#unanswered = 0;
    this.#error = '';
    return wasDown;
  }

  /** The end of a connection, or of one more attempt to make it. */
  down(error: ModbusError, nowMs: number): void {
    this.#error = error.text;
    if (this.#isConnected) {
      this.#downSinceMs = nowMs;
      if (this.#answerAtMs >= this.#upSinceMs) this.#outageSinceMs = nowMs;
    }
    this.#isConnected = false;
  }

  /** A request went down with its connection: a peer that only connects is not back. */
  broke(): void {
    this.#broken += 1;
  }

  /** An answer came, whatever it says. */
  heard(nowMs: number): void {
    if (this.#isToldDown) this.#tellUp();
    this.#answerAtMs = nowMs;
    this.#unanswered = 0;
    this.#broken = 0;
    this.#watchdogMs = WATCHDOG_MS;
  }

  /** A request had no valid answer. */
  missed(): void {
    this.#unanswered += 1;
  }

  /** True when it counts as down from now on. */
  review(nowMs: number): boolean {
    if (this.#isConnected) {
      // A link that comes and goes without an answer is not up: the first answer says so, or time.
      if (this.#isToldDown && nowMs - this.#upSinceMs > SETTLED_MS) this.#tellUp();
      return false;
    }
    const sinceMs = this.#broken >= BROKEN_MAX ? this.#outageSinceMs : this.#downSinceMs;
    if (this.#isDown || nowMs - sinceMs < GRACE_MS) return false;
    this.#isDown = true;
    if (!this.#isToldDown) this.#tell(false, this.error);
    this.#isToldDown = true;
    return true;
  }

  /** For how long nothing was heard on a link that is to be made anew; 0: leave it. */
  overdueMs(nowMs: number): number {
    if (!this.#isConnected || this.#unanswered < 3) return 0;
    const silentMs = nowMs - Math.max(this.#answerAtMs, this.#upSinceMs);
    if (silentMs < Math.max(this.#watchdogMs, this.#leastMs)) return 0;
    this.#watchdogMs = Math.min(WATCHDOG_MAX_MS, this.#watchdogMs * 2);
    this.#unanswered = 0;
    return silentMs;
  }

  #tellUp(): void {
    this.#isToldDown = false;
    this.#tell(true, '');
  }
}
