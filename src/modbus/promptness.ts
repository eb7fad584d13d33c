/**
 * How soon the units of a line can begin to answer. What begins before that is an answer that comes once more. Peers
 * without a real line between answer faster than characters can travel; they show it, and then time tells nothing.
 */

/** Room for clocks that are not quite equal, when judging what came too early to be an answer. */
const EARLY_MS = 0.3;
/** From so many answers on, the quickest is taken to say how quick a unit can be; a share of it is left for doubt. */
const RESPONSES_MIN = 20;
const RESPONSE_SHARE = 0.6;

export class Promptness {
  /** By unit: how many answers, and the shortest time that one took to begin. */
  readonly #responses = new Map<number, { count: number; shortestMs: number }>();
  #isInstant = false;

  /** The peer answers faster than characters can travel: no real line, so early bytes prove nothing. */
  get isInstant(): boolean {
    return this.#isInstant;
  }

  /** The first moment at which an answer can begin whose request left the line at that time. */
  soonestMs(unitId: number, sentEndMs: number): number {
    if (this.#isInstant) return -Infinity;
    const response = this.#responses.get(unitId);
    const isKnown = response !== undefined && response.count >= RESPONSES_MIN && response.shortestMs > 0;
    return sentEndMs + (isKnown ? response.shortestMs * RESPONSE_SHARE : -EARLY_MS);
  }

  answered(unitId: number, tookMs: number): void {
    const response = this.#responses.get(unitId);
    if (response === undefined) this.#responses.set(unitId, { count: 1, shortestMs: tookMs });
    else {
      response.count += 1;
      response.shortestMs = Math.min(response.shortestMs, tookMs);
    }
  }

  /** What began early was an answer all the same: the unit is quicker than it was taken to be. */
  wasSooner(unitId: number, tookMs: number): void {
    this.#responses.delete(unitId);
    if (tookMs < -EARLY_MS) this.#isInstant = true;
  }

  /** Nothing came but what was too early: repetitions are rarely all that comes, so the line is none. */
  strike(): void {
    this.#isInstant = true;
  }
}
