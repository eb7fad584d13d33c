/**
 * Group commit: what is owed once everything appended so far is kept. The store decides how many turns of the loop share
 * one write. An owed packet is a number or its bytes, not a closure.
 */
import type { Store } from '../store/store.js';

/** An acknowledgement as a number, so that owing one allocates nothing. */
export function owedAcknowledgement(first: number, packetIdentifier: number, reason = 0): number {
  return (first << 24) | (reason << 16) | packetIdentifier;
}

export type Owed = number | Uint8Array | ((isKept: boolean) => void);

/** Whom something is owed to: sends it now; false: the commit failed. Answers whether it is owed still. */
export interface Debtor {
  settle(owed: Owed, isKept: boolean): boolean;
}

/** Who is told how commits go. */
export interface CommitTurns {
  /** The highest position appended so far: a commit that begins now covers it. */
  readonly appendedPosition: number;
  /** Somebody waits for more to be kept, though nothing is owed for it. */
  readonly isAwaiting: boolean;
  /** Everything up to a position is kept. */
  kept(position: number): void;
  /** Asks for an end of turn. */
  schedule(): void;
}

/** What is owed once one commit is done. */
interface Turn {
  readonly done: Promise<void>;
  position: number;
  debtors: Debtor[];
  owed: Owed[];
}

/** How long to wait before a commit is tried again after it failed. */
const RETRY_MS = 1000;

export class Commits {
  readonly #store: Store;
  readonly #turns: CommitTurns;
  #debtors: Debtor[] = [];
  #owed: Owed[] = [];
  /** Owed still after a commit that failed: older than all others, and settled before them by the next that does not. */
  #olderDebtors: Debtor[] = [];
  #olderOwed: Owed[] = [];
  /** The newest commit under way: who comes before it is written rides on it. */
  #turn: Turn | null = null;
  /** Resolves when the turns so far are settled. */
  #settled: Promise<void> = Promise.resolve();
  #retry: NodeJS.Timeout | null = null;
  /** Commits finished, for statistics. */
  count = 0;
  /** What else must be kept before anything is acknowledged; null: nothing at the moment. */
  also: () => Promise<void> | null = () => null;
  #joined: { kept: Promise<void>; also: Promise<void>; both: Promise<void> } | null = null;

  constructor(store: Store, turns: CommitTurns) {
    this.#store = store;
    this.#turns = turns;
  }

  owe(debtor: Debtor, owed: Owed): void {
    this.#debtors.push(debtor);
    this.#owed.push(owed);
  }

  /**
   * At the end of a turn: asks for a commit when somebody waits for one. The store answers with the same promise as
   * long as its next write has not begun. What nobody waits for the store writes of its own accord.
   */
  endTurn(): void {
    if (this.#retry !== null) return;
    if (this.#owed.length === 0 && this.#olderOwed.length === 0 && !this.#turns.isAwaiting) return;
    const done = this.#commit();
    const position = this.#turns.appendedPosition;
    const current = this.#turn;
    if (current !== null && current.done === done) {
      current.position = position;
      for (const debtor of this.#debtors) current.debtors.push(debtor);
      for (const owed of this.#owed) current.owed.push(owed);
    } else {
      const turn = { done, position, debtors: this.#debtors, owed: this.#owed };
      this.#turn = turn;
      // One after the other, because acknowledgements have an order, and one turn may wait for more than the next one.
      this.#settled = Promise.allSettled([done, this.#settled]).then(([{ status }]) =>
        this.#settle(turn, status === 'fulfilled'),
      );
    }
    this.#debtors = [];
    this.#owed = [];
  }

  /** The same promise as long as neither has begun its next write. */
  #commit(): Promise<void> {
    const kept = this.#store.commit();
    const also = this.also();
    if (also === null) return kept;
    if (this.#joined?.kept === kept && this.#joined.also === also) return this.#joined.both;
    const both = Promise.all([kept, also]).then(() => {});
    this.#joined = { kept, also, both };
    return both;
  }

  stop(): void {
    if (this.#retry !== null) clearTimeout(this.#retry);
    this.#retry = null;
  }

  #settle(turn: Turn, isKept: boolean): void {
    if (this.#turn === turn) this.#turn = null;
    this.count++;
    if (isKept) this.#turns.kept(turn.position);
    const debtors = [...this.#olderDebtors, ...turn.debtors];
    const owed = [...this.#olderOwed, ...turn.owed];
    this.#olderDebtors = [];
    this.#olderOwed = [];
    for (let i = 0; i < debtors.length; i++) {
      const debtor = debtors[i];
      const one = owed[i];
      if (debtor === undefined || one === undefined || !debtor.settle(one, isKept)) continue;
      this.#olderDebtors.push(debtor);
      this.#olderOwed.push(one);
    }
    if (!isKept && this.#retry === null) {
      this.#retry = setTimeout(() => {
        this.#retry = null;
        this.#turns.schedule();
      }, RETRY_MS);
      this.#retry.unref();
    }
    this.#turns.schedule();
  }
}
