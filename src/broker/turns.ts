/**
 * The turn of the event loop, in which everything is batched: outboxes are written at its end, then what was appended
 * to the store is committed and what is owed for it settles. It also numbers what is kept.
 */
import { messageOf as messageOfError } from '../errors.js';
import type { Clock } from '../clock.js';
import type { Log } from '../log.js';
import type { Store } from '../store/store.js';
import { Commits, type CommitTurns, type Debtor, type Owed } from './commits.js';
import { Feeding } from './feeding.js';
import { Arena, type Outbox } from './outbox.js';
import type { QueueOwner } from './storedqueue.js';
import type { Timekeeping } from './timekeeping.js';

/** When so much waits for the disk, those who wait for it are not read from. */
const BACKLOG_BYTES = 4 * 1024 * 1024;
/** When reading has taken so long, those who send more wait for the next turn, and others have theirs. */
const TURN_MS = 5;
/** After so many deliveries the time is looked at amid what one read has brought. */
const DELIVERIES_MAX = 256;
/** And after so many bytes of them the turn is over: to write them at its end takes time of its own. */
const OUTPUT_MAX = 8 * 1024 * 1024;

export class Turns implements CommitTurns {
  readonly arena = new Arena();
  readonly feeding: Feeding;
  readonly #store: Store;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #timekeeping: Timekeeping;
  readonly #commits: Commits;
  /** Everything up to here is kept. */
  keptPosition = 0;
  #nextPosition = 1;
  /** Outboxes with something to write at the end of this turn. */
  #dirty: Outbox[] = [];
  #waiting: QueueOwner[] = [];
  #immediate: NodeJS.Immediate | null = null;
  readonly #endSoon = (): void => this.#end();
  /** Turns so far. */
  number = 0;
  /** When the first bytes of this turn came. */
  #readingSinceMs: number | null = null;
  readonly #afterTurn: (() => void)[] = [];
  /** Since the time was last looked at. */
  #deliveryCount = 0;
  /** Of the publications that were handed out in this turn. */
  #outputBytes = 0;

  constructor(store: Store, log: Log, clock: Clock, timekeeping: Timekeeping) {
    this.#store = store;
    this.#log = log;
    this.#clock = clock;
    this.#timekeeping = timekeeping;
    this.#commits = new Commits(store, this);
    this.feeding = new Feeding(clock);
  }

  /** An outbox has something to write at the end of this turn. */
  markDirty(outbox: Outbox): void {
    this.#dirty.push(outbox);
    this.schedule();
  }

  /** Asks for an end of turn. */
  schedule(): void {
    this.#immediate ??= setImmediate(this.#endSoon);
  }

  /** Somebody's bytes are about to be read. */
  beginReading(): void {
    if (this.#readingSinceMs !== null) return;
    this.#readingSinceMs = this.#clock.monotonicMs();
    this.schedule();
  }

  /** This turn has had its time: who sends more is read from again at the next. */
  get isTurnOver(): boolean {
    return this.#readingSinceMs !== null && this.#clock.monotonicMs() - this.#readingSinceMs > TURN_MS;
  }

  /** A publication was handed out to so many, or as much was done for one client otherwise. */
  handedOut(count: number): void {
    this.#deliveryCount += count;
  }

  /** So many bytes go out for a publication at the end of the turn. */
  putOut(bytes: number): void {
    this.#outputBytes += bytes;
  }

  /** The same amid what one read has brought: a few bytes may go to thousands, and a read holds a thousand such. */
  get isTurnOverAmid(): boolean {
    if (this.#outputBytes > OUTPUT_MAX) return true;
    if (this.#deliveryCount < DELIVERIES_MAX) return false;
    this.#deliveryCount = 0;
    return this.isTurnOver;
  }

  /** Goes on when this turn's output is written. */
  afterTurn(then: () => void): void {
    this.#afterTurn.push(then);
  }

  #end(): void {
    this.#immediate = null;
    this.number++;
    this.#readingSinceMs = null;
    this.#outputBytes = 0;
    const dirty = this.#dirty;
    this.#dirty = [];
    for (let i = 0; i < dirty.length; i++) {
      try {
        dirty[i]?.flush();
      } catch (error) {
        // One output that breaks must not keep the others waiting.
        this.#log.error('an output broke', { error: messageOfError(error) });
      }
    }
    this.arena.endTurn();
    this.#timekeeping.endTurn();
    this.#commits.endTurn();
    this.feeding.endTurn();
    if (this.#afterTurn.length === 0) return;
    for (const goOn of this.#afterTurn.splice(0)) goOn();
  }

  /** Runs the end of a turn now. */
  flush(): void {
    if (this.#immediate !== null) clearImmediate(this.#immediate);
    this.#end();
  }

  stop(): void {
    if (this.#immediate !== null) clearImmediate(this.#immediate);
    this.#immediate = null;
    this.#commits.stop();
  }

  // ---------------------------------------------------------------- what is kept

  /** The store goes on behind what it had. */
  startAt(position: number): void {
    this.#nextPosition = Math.max(1, position);
    this.keptPosition = this.#nextPosition - 1;
  }

  /** The position of a publication that is appended now. */
  takePosition(): number {
    return this.#nextPosition++;
  }

  /** A publication was appended. Where the store does not last there is nothing to wait for. */
  appended(position: number): void {
    if (this.#store.isLasting) this.schedule();
    else this.keptPosition = position;
  }

  get appendedPosition(): number {
    return this.#nextPosition - 1;
  }

  /** The disk does not keep up. */
  get isBacklogged(): boolean {
    return (this.#store.backlogBytes ?? 0) > BACKLOG_BYTES;
  }

  get isAwaiting(): boolean {
    return this.#waiting.length > 0;
  }

  kept(position: number): void {
    this.keptPosition = position;
    // Those who waited for what is kept now read on.
    for (const owner of this.#waiting.splice(0)) owner.touch();
  }

  /** A queue that can go on once more is kept. */
  awaitKept(owner: QueueOwner): void {
    this.#waiting.push(owner);
    this.schedule();
  }

  /** Nothing is acknowledged before this resolves, too; null: nothing to wait for. */
  acknowledgeAfter(also: () => Promise<void> | null): void {
    this.#commits.also = also;
  }

  owe(debtor: Debtor, owed: Owed): void {
    this.#commits.owe(debtor, owed);
    this.schedule();
  }
}
