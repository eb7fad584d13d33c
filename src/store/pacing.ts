/**
 * When to sync. A lone commit goes at once. While facts keep coming, waiting a little lets many share one sync, which
 * spares flash; but publishers that send the next message only after the last one's acknowledgement send nothing while
 * we wait, so waiting would only slow them down. Which of the two it is shows in whether facts go on arriving during a
 * wait; so now and then one wait is made to find out.
 */

/** Syncs are at least this far apart while waiting pays: at most 83 a second. */
const SPACING_MS = 12;
/** A trial wait ends early when nothing came for this long. */
const SILENCE_MS = 4;
/** A trial must see this many facts arrive. */
const ARRIVALS_MIN = 3;
/** Syncs between two trials, at first and at most. */
const TRIAL_EVERY_MIN = 16;
const TRIAL_EVERY_MAX = 128;

type Mode = 'prompt' | 'trial' | 'grouped';

export class Pacing {
  #mode: Mode = 'prompt';
  #lastStartMs = -Infinity;
  #lastArrivalMs = -Infinity;
  #arrivals = 0;
  #uselessWaits = 0;
  #trialEvery = TRIAL_EVERY_MIN;
  #untilTrial = TRIAL_EVERY_MIN;
  #waitBeganMs = 0;

  /** A fact came during a wait. */
  arrived(nowMs: number): void {
    this.#lastArrivalMs = nowMs;
    this.#arrivals++;
  }

  /** A batch is ready to be written: begins a wait, if one is due. */
  begin(nowMs: number): void {
    this.#waitBeganMs = nowMs;
    this.#arrivals = 0;
    if (this.#mode !== 'prompt' || nowMs >= this.#lastStartMs + SPACING_MS) return;
    if (--this.#untilTrial <= 0) this.#mode = 'trial';
  }

  /** How much longer to wait; 0: write now. */
  waitMs(nowMs: number): number {
    const leftMs = this.#lastStartMs + SPACING_MS - nowMs;
    if (leftMs <= 0 || this.#mode === 'prompt') return 0;
    if (this.#mode === 'grouped') return leftMs;
    const silentLeftMs = Math.max(this.#lastArrivalMs, this.#waitBeganMs) + SILENCE_MS - nowMs;
    return Math.max(0, Math.min(leftMs, silentLeftMs));
  }

  /** The write begins: learns from the wait before it. */
  started(nowMs: number): void {
    const waitedMs = nowMs - this.#waitBeganMs;
    if (this.#mode === 'trial') this.#judgeTrial(nowMs);
    else if (this.#mode === 'grouped' && waitedMs > SPACING_MS / 2) this.#judgeWait(nowMs);
    this.#lastStartMs = nowMs;
  }

  #judgeTrial(nowMs: number): void {
    const wentOn = nowMs - this.#lastArrivalMs < SILENCE_MS && this.#arrivals >= ARRIVALS_MIN;
    this.#mode = wentOn ? 'grouped' : 'prompt';
    this.#uselessWaits = 0;
    this.#trialEvery = wentOn ? TRIAL_EVERY_MIN : Math.min(TRIAL_EVERY_MAX, this.#trialEvery * 2);
    this.#untilTrial = this.#trialEvery;
  }

  #judgeWait(nowMs: number): void {
    const wentOn = nowMs - this.#lastArrivalMs < SPACING_MS / 2;
    this.#uselessWaits = wentOn ? 0 : this.#uselessWaits + 1;
    if (this.#uselessWaits < 2) return;
    this.#mode = 'prompt';
    this.#untilTrial = this.#trialEvery = TRIAL_EVERY_MIN;
  }
}
