/** How far long work is: one line that renews itself on a terminal, else a line for every tenth. */
import { spanText } from '../config/units.js';

const BAR = 20;
const RENEW_MS = 100;

export class Progress {
  readonly #out: NodeJS.WritableStream;
  readonly #isTerminal: boolean;
  readonly #startedMs = performance.now();
  #shownMs = -Infinity;
  #tenth = 0;
  #isShown = false;

  constructor(out: NodeJS.WritableStream) {
    this.#out = out;
    this.#isTerminal = 'isTTY' in out && out.isTTY === true;
  }

  show(done: number, total: number, what: string): void {
    const nowMs = performance.now();
    const share = total === 0 ? 1 : done / total;
    const percent = `${Math.floor(100 * share)} %`;
    if (!this.#isTerminal) {
      const tenth = Math.floor(10 * share);
      if (tenth > this.#tenth) this.#out.write(`${what}  ${percent}${this.#left(share, nowMs)}\n`);
      this.#tenth = Math.max(tenth, this.#tenth);
      return;
    }
    if (nowMs - this.#shownMs < RENEW_MS && done < total) return;
    this.#shownMs = nowMs;
    const full = Math.round(BAR * share);
    const bar = `[${'='.repeat(full)}${' '.repeat(BAR - full)}]`;
    this.#out.write(`\r\x1b[2K${what}  ${bar}  ${percent}${this.#left(share, nowMs)}`);
    this.#isShown = true;
  }

  /** A line of its own, above the progress. */
  say(text: string): void {
    this.print(this.#out, text);
  }

  print(out: NodeJS.WritableStream, text: string): void {
    this.end();
    out.write(`${text}\n`);
  }

  /** The line of the progress goes. */
  end(): void {
    if (this.#isShown) this.#out.write('\r\x1b[2K');
    this.#isShown = false;
    this.#shownMs = -Infinity;
  }

  #left(share: number, nowMs: number): string {
    const tookMs = nowMs - this.#startedMs;
    if (share < 0.01 || share >= 1 || tookMs < 500) return '';
    return `  about ${spanText(Math.max(1, Math.round((tookMs * (1 - share)) / share / 1000)) * 1000)} left`;
  }
}
