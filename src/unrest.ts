/**
 * Log lines about what comes and goes, or fails again and again: devices, lines, uplinks, listeners, requests. Each is told
 * while that is news, and of one that does not settle only the last of each minute, with how many there were. What is
 * published is not held back.
 */
import type { Cancel, Clock } from './clock.js';
import type { Fields, Level, Log } from './log.js';

const PERIOD_MS = 60_000;
/** Lines about one of them that are told in a period. */
const TOLD_MAX = 4;

interface Line {
  readonly level: Level;
  readonly message: string;
  readonly fields: Fields;
}

interface Subject {
  told: number;
  held: number;
  last: Line | null;
}

export class Unrest {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #subjects = new Map<string, Subject>();
  #cancel: Cancel | null = null;

  constructor(clock: Clock, log: Log) {
    this.#clock = clock;
    this.#log = log;
  }

  /** of: what else than bus and device it is about. */
  tell(level: Level, message: string, fields: Fields, of = ''): void {
    const key = `${fields.bus ?? ''}\n${fields.device ?? ''}\n${of}`;
    const subject = this.#subjects.get(key) ?? { told: 0, held: 0, last: null };
    this.#subjects.set(key, subject);
    this.#cancel ??= this.#clock.after(PERIOD_MS, this.#sumUp);
    if (subject.told < TOLD_MAX) {
      subject.told += 1;
      this.#log[level](message, fields);
    } else {
      subject.held += 1;
      subject.last = { level, message, fields };
    }
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = null;
    this.#subjects.clear();
  }

  readonly #sumUp = (): void => {
    for (const [key, { held, last }] of this.#subjects) {
      if (last === null) this.#subjects.delete(key);
      else {
        this.#log[last.level](last.message, { ...last.fields, count: held });
        this.#subjects.set(key, { told: TOLD_MAX, held: 0, last: null });
      }
    }
    this.#cancel = this.#subjects.size === 0 ? null : this.#clock.after(PERIOD_MS, this.#sumUp);
  };
}
