/**
 * How soon and how late the units of a line begin to answer. What begins sooner than a unit can is an answer that comes
 * once more. Peers without a real line between answer faster than characters can travel; they show it, unit by unit, and
 * then time tells nothing, until answers take their time again.
 */

/** Room for clocks that are not quite equal, when judging what came too early to be an answer. */
const EARLY_MS = 0.3;
/** From so many answers on, the quickest is taken to say how quick a unit can be; a share of it is left for doubt. */
const RESPONSES_MIN = 20;
const RESPONSE_SHARE = 0.6;
/** What one answer leaves of the longest time before it. */
const LONGEST_DECAY = 0.9;
/** So much longer than the longest time of late, and a moment more, and an answer is not to be awaited any more. */
const LATENESS = 1.5;
const LATENESS_MS = 2;

/** So many answers in a row in their time show a line after all, and so many times more when that was wrong. */
const UNHURRIED_MIN = 16;
const UNHURRIED_GROWTH = 4;

interface Response {
  count: number;
  /** From the end of the request to the beginning of the answer. */
  shortestMs: number;
  longestMs: number;
  /** It answered faster than characters can travel. */
  isInstant: boolean;
  /** Answers in a row that took their time, and how many of them show that there is a line after all. */
  unhurriedCount: number;
  unhurriedMin: number;
}

export class Promptness {
  readonly #responses = new Map<number, Response>();

  /** The unit answers faster than characters can travel: no real line, so early bytes prove nothing. */
  isInstant(unitId: number): boolean {
    return this.#responses.get(unitId)?.isInstant ?? false;
  }

  /** The first moment at which an answer can begin whose request left the line at that time. */
  soonestMs(unitId: number, sentEndMs: number): number {
    const response = this.#responses.get(unitId);
    if (response?.isInstant === true) return -Infinity;
    const isKnown = response !== undefined && response.count >= RESPONSES_MIN && response.shortestMs > 0;
    return sentEndMs + (isKnown ? response.shortestMs * RESPONSE_SHARE : -EARLY_MS);
  }

  /** When an answer that is not late has begun at the latest; Infinity: that is not known yet. */
  latestMs(unitId: number, sentEndMs: number): number {
    const longestMs = this.#responses.get(unitId)?.longestMs ?? Infinity;
    return sentEndMs + Math.max(0, longestMs) * LATENESS + LATENESS_MS;
  }

  answered(unitId: number, tookMs: number): void {
    const response = this.#of(unitId);
    response.longestMs = Math.max(tookMs, response.count === 0 ? tookMs : response.longestMs * LONGEST_DECAY);
    response.count += 1;
    response.shortestMs = Math.min(response.shortestMs, tookMs);
    if (response.isInstant) this.#review(response, tookMs);
  }

  /** What began early was an answer all the same: the unit is quicker than it was taken to be. */
  wasSooner(unitId: number, tookMs: number): void {
    const response = this.#of(unitId);
    forget(response);
    if (tookMs < -EARLY_MS) takeForUnreal(response);
  }

  /** Nothing came but what was too early: repetitions are rarely all that comes, so there is no line. */
  strike(unitId: number): void {
    takeForUnreal(this.#of(unitId));
  }

  /** Who answers in his time is on a line after all; each time that this was wrong more is asked of him. */
  #review(response: Response, tookMs: number): void {
    response.unhurriedCount = tookMs > 0 ? response.unhurriedCount + 1 : 0;
    if (response.unhurriedCount < response.unhurriedMin) return;
    response.isInstant = false;
    response.unhurriedMin *= UNHURRIED_GROWTH;
    forget(response);
  }

  #of(unitId: number): Response {
    let response = this.#responses.get(unitId);
    if (response === undefined) {
      response = {
        count: 0,
        shortestMs: Infinity,
        longestMs: Infinity,
        isInstant: false,
        unhurriedCount: 0,
        unhurriedMin: UNHURRIED_MIN,
      };
      this.#responses.set(unitId, response);
    }
    return response;
  }
}

/** Its times are learnt anew. */
function forget(response: Response): void {
  response.count = 0;
  response.shortestMs = Infinity;
  response.longestMs = Infinity;
}

function takeForUnreal(response: Response): void {
  response.isInstant = true;
  response.unhurriedCount = 0;
}
