/**
 * Topics of which the far side does not want the messages, though it takes others: it refuses them with a reason that might
 * pass, or ends the connection over them. What does not pass is given up sooner each time, so that one topic that is not
 * allowed over there costs the others little.
 */

/** So many connections that took another message and ended with a suspect, and it is given up. */
const CONVICTED_AFTER = 3;
/** So often a message is refused while others are taken, and it is given up: in about a minute, since each pause is twice as long. */
const REFUSED_MAX = 6;
const REFUSED_PAUSE_MS = 1000;
/** The far side still takes others when it has done so within this time. */
const TAKES_OTHERS_MS = 10_000;
/** So many messages of a topic, one after the other, that ended connections, and none is sent for a while; four times as long after each further one. */
const BARRED_AFTER = 3;
const BARRED_MIN_MS = 60_000;
const BARRED_MAX_MS = 3_600_000;
/** A far side that ended a connection over a message so shortly before may well do so over another one. */
const LATELY_MS = 60_000;
const REMEMBERED_MAX = 10_000;

interface Standing {
  refusals: number;
  /** How much the far side had taken at the last of them that counted. */
  taken: number;
  /** Messages given up because they ended connections. */
  endings: number;
  barredUntilMs: number;
}

export class Unwanted {
  readonly #standings = new Map<string, Standing>();
  /** Messages that the far side took, and when it took the last one. */
  #taken = 0;
  #takenAtMs = -Infinity;
  #endedAtMs = -Infinity;

  /** One of this topic is over there. */
  took(topic: string, nowMs: number): void {
    this.#taken++;
    this.#takenAtMs = nowMs;
    this.#standings.delete(topic);
  }

  /**
   * One was refused with a reason that might pass: how long its topic waits until it goes again, 0 when it is given up. That it
   * never is while the far side takes nothing at all.
   */
  refused(topic: string, nowMs: number): number {
    const standing = this.#standingOf(topic);
    if (standing.refusals === 0 || this.#taken > standing.taken) {
      standing.refusals = Math.min(REFUSED_MAX, standing.refusals + 1);
      standing.taken = this.#taken;
    }
    if (standing.refusals === REFUSED_MAX && nowMs - this.#takenAtMs < TAKES_OTHERS_MS) return 0;
    return REFUSED_PAUSE_MS * 2 ** (standing.refusals - 1);
  }

  /** How many connections one has to end until it is given up: one where another of its topic was. */
  endingsOf(topic: string): number {
    return (this.#standings.get(topic)?.endings ?? 0) > 0 ? 1 : CONVICTED_AFTER;
  }

  /** One was given up because it ended connections. */
  ended(topic: string, nowMs: number): void {
    const standing = this.#standingOf(topic);
    this.#endedAtMs = nowMs;
    standing.endings++;
    const further = standing.endings - BARRED_AFTER;
    if (further >= 0) standing.barredUntilMs = nowMs + Math.min(BARRED_MAX_MS, BARRED_MIN_MS * 4 ** further);
  }

  /** Whether one was given up for that a short while ago. */
  endedLately(nowMs: number): boolean {
    return nowMs - this.#endedAtMs < LATELY_MS;
  }

  /** Whether one of this topic is not even sent. */
  isBarred(topic: string, nowMs: number): boolean {
    if (this.#standings.size === 0) return false;
    return nowMs < (this.#standings.get(topic)?.barredUntilMs ?? 0);
  }

  #standingOf(topic: string): Standing {
    const known = this.#standings.get(topic);
    if (known !== undefined) return known;
    const [oldest] = this.#standings.keys();
    if (this.#standings.size >= REMEMBERED_MAX && oldest !== undefined) this.#standings.delete(oldest);
    const fresh = { refusals: 0, taken: 0, endings: 0, barredUntilMs: 0 };
    this.#standings.set(topic, fresh);
    return fresh;
  }
}
