/**
 * The log with a memory: the newest lines, for whoever looks at the page, and each new one on event/log. It hands every
 * line on to the log behind it.
 */
import type { Clock } from '../clock.js';
import type { Fields, Level, Log } from '../log.js';

export type LogLine = Readonly<Record<string, unknown>> & {
  readonly level: Level;
  readonly time: number;
  readonly msg: string;
};

const LINES_MAX = 500;
/** Lines a second that are told; a flood of news is kept, and not told one by one. */
const TOLD_PER_S_MAX = 20;

export class RecentLog implements Log {
  readonly #behind: Log;
  readonly #clock: Clock;
  readonly #lines: LogLine[] = [];
  #tell: ((line: LogLine) => void) | null = null;
  #isTelling = false;
  #second = 0;
  #toldCount = 0;

  constructor(behind: Log, clock: Clock) {
    this.#behind = behind;
    this.#clock = clock;
  }

  /** From now on new lines are told; null: no more. */
  tell(tell: ((line: LogLine) => void) | null): void {
    this.#tell = tell;
  }

  /** Oldest first. */
  lines(): readonly LogLine[] {
    return this.#lines;
  }

  debug(message: string, fields?: Fields): void {
    this.#behind.debug(message, fields);
  }

  info(message: string, fields: Fields = {}): void {
    this.#behind.info(message, fields);
    this.#keep('info', message, fields);
  }

  warn(message: string, fields: Fields = {}): void {
    this.#behind.warn(message, fields);
    this.#keep('warn', message, fields);
  }

  error(message: string, fields: Fields = {}): void {
    this.#behind.error(message, fields);
    this.#keep('error', message, fields);
  }

  #keep(level: Level, msg: string, fields: Fields): void {
    const line: LogLine = { ...fields, level, time: this.#clock.nowMs(), msg };
    this.#lines.push(line);
    if (this.#lines.length > LINES_MAX) this.#lines.shift();
    if (this.#tell === null || this.#isTelling || !this.#mayTell()) return;
    // Telling may itself have something to log; that is kept, and not told.
    this.#isTelling = true;
    try {
      this.#tell(line);
    } finally {
      this.#isTelling = false;
    }
  }

  #mayTell(): boolean {
    const second = Math.floor(this.#clock.monotonicMs() / 1000);
    if (second !== this.#second) this.#toldCount = 0;
    this.#second = second;
    this.#toldCount += 1;
    return this.#toldCount <= TOLD_PER_S_MAX;
  }
}
