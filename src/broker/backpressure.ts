/**
 * When one client is read from. Not while it does not read what is owed to it, nor while the disk has not taken what it
 * sent, nor beyond its rates; and who sends without end does not have the loop to itself. What is read is
 * connection.ts's business.
 */
import type { Core } from './core.js';
import type { Framer } from './framer.js';
import type { Outbox, Transport } from './outbox.js';
import type { Rates } from './rates.js';

/** Whose reading it is. */
export interface Reader {
  /** It is read from again: what it sent meanwhile comes now. */
  readsAgain(): void;
}

/** However far a client is over its rate, it is read from again after this. */
const RATE_WAIT_MAX_MS = 10_000;
/** A kernel asks for more only once a third of its buffer, of megabytes, is free: a slow reader shows that seldom. */
const STALLED_MS = 60_000;

export class Backpressure {
  readonly #core: Core;
  readonly #transport: Transport;
  readonly #framer: Framer;
  readonly #outbox: Outbox;
  readonly #reader: Reader;
  /** Null: the client may send as fast as it can. */
  rates: Rates | null = null;
  /** Answers that wait for a commit. */
  owedCount = 0;
  #isPaused = false;
  /** It sent more than its rates allow. */
  #isSlowed = false;
  #isEnded = false;
  /** What the kernel had taken when reading stopped, or when isHolding() saw more last, and when that was. */
  #takenBytes = 0;
  #takenAtMs = 0;
  /** The turn in which it was read from last. */
  #readTurn = -1;

  constructor(core: Core, transport: Transport, framer: Framer, outbox: Outbox, reader: Reader) {
    this.#core = core;
    this.#transport = transport;
    this.#framer = framer;
    this.#outbox = outbox;
    this.#reader = reader;
  }

  /** The connection is closed: nothing is read any more. */
  end(): void {
    this.#isEnded = true;
  }

  /** A PUBLISH came. */
  countMessage(): void {
    this.rates?.countMessage();
  }

  /** So many bytes were read, and what they were was handled. */
  afterRead(bytes: number): void {
    // While a CONNECT waits for a password check or the store, what follows waits with the sender.
    if (this.#isHeldBack) this.#pause();
    else this.#yieldTurn();
    if (this.rates === null || this.#isEnded) return;
    const waitS = this.rates.waitS(bytes);
    if (waitS <= 0) return;
    this.#isSlowed = true;
    this.#transport.pause();
    this.#core.clock.after(Math.min(waitS * 1000, RATE_WAIT_MAX_MS), () => {
      this.#isSlowed = false;
      this.#readOn();
    });
  }

  /** One who sends without end must not have the loop to itself: read from again in a turn, it looks at the time. */
  #yieldTurn(): void {
    const { turns } = this.#core;
    if (this.#readTurn !== turns.number) this.#readTurn = turns.number;
    else if (turns.isTurnOver) {
      this.#transport.pause();
      turns.afterTurn(() => this.#readOn());
    }
  }

  get #isHeldBack(): boolean {
    return this.#framer.isStopped || this.#outbox.hasUnsent(this.#core.readStopBytes) || this.#waitsForDisk;
  }

  /** It has put off more than the disk takes: nothing more is read from it until that is kept. */
  get #waitsForDisk(): boolean {
    return this.owedCount > 0 && this.#core.turns.isBacklogged;
  }

  /** Stops reading until the client has read what is owed to it, or the disk has taken what it sent. */
  #pause(): void {
    if (this.#isPaused || this.#isEnded) return;
    this.#isPaused = true;
    this.#noteTaken(this.#outbox.takenBytes);
    this.#transport.pause();
  }

  /** The kernel took everything that was pending, or what held the client back is over: it may be read from again. */
  drained(): void {
    if (!this.#isPaused || this.#isHeldBack) return;
    this.#isPaused = false;
    this.#readOn();
  }

  /** Reads again, unless there is another reason not to. */
  #readOn(): void {
    if (this.#isEnded || this.#isPaused || this.#isSlowed) return;
    this.#reader.readsAgain();
    this.#transport.resume();
  }

  /** One answer less waits for a commit; true: it was the last, and reading may have waited for it. */
  settled(): boolean {
    this.owedCount--;
    return this.owedCount === 0 && this.#isPaused;
  }

  /**
   * It is silent because it is not read from. One who does not read himself is held only as long as the kernel gets
   * rid of something for him now and then.
   */
  isHolding(): boolean {
    if (this.#isSlowed || this.isAwaitingDisk) return true;
    if (!this.#isPaused) return false;
    const { takenBytes } = this.#outbox;
    if (takenBytes > this.#takenBytes) this.#noteTaken(takenBytes);
    return this.#core.clock.monotonicMs() - this.#takenAtMs < STALLED_MS;
  }

  #noteTaken(bytes: number): void {
    this.#takenBytes = bytes;
    this.#takenAtMs = this.#core.clock.monotonicMs();
  }

  /** It is not read from, and answers to it wait for the disk. */
  get isAwaitingDisk(): boolean {
    return this.#isPaused && this.owedCount > 0;
  }
}
