/**
 * What due reads are owed of the line under a flood of commands: each write earns them a part of the time it took, and
 * a read whose time is earned goes before the next command.
 */

/** Reads get this for each millisecond of writes: one part in five of both together. */
const READ_CREDIT = 0.25;
const READ_CREDIT_MAX_MS = 1000;

export class ReadCredit {
  #creditMs = 0;

  /** Something is owed. */
  get isOwed(): boolean {
    return this.#creditMs > 0;
  }

  /** Whether a read that costs so much is to go before the next command. */
  covers(costMs: number): boolean {
    return this.#creditMs > costMs;
  }

  /** A write took so long while reads were due. */
  earn(lineMs: number): void {
    this.#creditMs = Math.min(READ_CREDIT_MAX_MS, this.#creditMs + READ_CREDIT * lineMs);
  }

  /** A read goes, and what it costs is owed no more. */
  spend(costMs: number): void {
    this.#creditMs = Math.max(0, this.#creditMs - costMs);
  }

  /** No read is due, or no command waits: nothing is owed. */
  clear(): void {
    this.#creditMs = 0;
  }
}
