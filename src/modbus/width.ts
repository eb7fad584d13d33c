/**
 * How many requests one Modbus/TCP peer is sent at a time: as many as the settings allow, or one. One for a while after it
 * did what a sound peer does not do, longer each time; one for good when it hangs up on requests under way together and
 * answers single ones.
 */

/** After what a sound peer does not send, requests go one at a time for so long: at first, and at most. */
const NARROW_MIN_MS = 5000;
const NARROW_MAX_MS = 300_000;
/** At least, after the peer hung up while several were under way: to try again may cost a connection. */
const HANG_UP_MS = 60_000;
/** Who hangs up so soon after a request that was sent while another was under way does so because of it. */
const HANG_UP_SOON_MS = 1000;
/** A peer that has answered so many of those stands them. */
const TOGETHER_MIN = 16;
/** Not all that it hung up on need be asked again: so many answers to single ones will do. */
const TRIAL_MAX = 64;
/** After the last such thing what came in pieces is not believed while several are under way. */
const WARY_MS = 600_000;

export class Width {
  readonly #most: number;
  #narrowUntilMs = -Infinity;
  #narrowMs = NARROW_MIN_MS;
  #waryUntilMs = -Infinity;
  #isOne = false;
  /**
   * It hung up on these, and never stood several before: whether it stands each of them alone is not known yet. One of
   * them may be what it, or a unit behind it, hangs up on however it is asked.
   */
  #onTrial = new Set<number>();
  #trialCount = 0;
  /** Identifiers of requests that were sent while another was under way, when the last one was, and how many were answered. */
  readonly #together = new Set<number>();
  #togetherAtMs = -Infinity;
  #togetherCount = 0;

  constructor(most: number) {
    this.#most = most;
  }

  /** How many may be under way now. */
  at(nowMs: number): number {
    return this.#isOne || nowMs < this.#narrowUntilMs ? 1 : this.#most;
  }

  /** Lately it did what a sound peer does not do. */
  isWary(atMs: number): boolean {
    return atMs <= this.#waryUntilMs;
  }

  /** From now on one at a time. */
  one(): void {
    this.#isOne = true;
  }

  connected(): void {
    this.#together.clear();
  }

  sent(identifier: number, isTogether: boolean, nowMs: number): void {
    if (!isTogether) return;
    this.#together.add(identifier);
    this.#togetherAtMs = nowMs;
  }

  /** True when this shows that single ones are what it stands. */
  answered(identifier: number, asked: number): boolean {
    if (this.#together.delete(identifier)) this.#togetherCount += 1;
    if (this.#onTrial.size === 0) return false;
    this.#onTrial.delete(asked);
    this.#trialCount += 1;
    if (this.#onTrial.size > 0 && this.#trialCount < TRIAL_MAX) return false;
    this.#onTrial.clear();
    this.#isOne = true;
    return true;
  }

  givenUp(identifier: number): void {
    this.#together.delete(identifier);
  }

  /** The connection is gone while these were under way. */
  parted(underWay: readonly number[], isByPeer: boolean, atMs: number): void {
    if (underWay.length > 1) {
      this.narrow(atMs, HANG_UP_MS);
      const isBecauseOfIt = isByPeer && atMs - this.#togetherAtMs < HANG_UP_SOON_MS;
      this.#onTrial = new Set(isBecauseOfIt && this.#togetherCount < TOGETHER_MIN ? underWay : []);
      this.#trialCount = 0;
    } else if (isByPeer) {
      // It hangs up on single ones too: their number is not why.
      this.#onTrial.clear();
    }
  }

  /** The peer did what a sound one does not: one request at a time for a while, longer each time. */
  narrow(atMs: number, leastMs = 0): void {
    if (this.#most < 2) return;
    if (!this.isWary(atMs)) this.#narrowMs = NARROW_MIN_MS;
    else if (atMs > this.#narrowUntilMs) this.#narrowMs = Math.min(NARROW_MAX_MS, 2 * this.#narrowMs);
    this.#narrowMs = Math.max(this.#narrowMs, leastMs);
    this.#narrowUntilMs = Math.max(this.#narrowUntilMs, atMs + this.#narrowMs);
    this.#waryUntilMs = atMs + WARY_MS;
  }
}
