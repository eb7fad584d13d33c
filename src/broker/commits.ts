/**
 * Group commit: what is owed once everything appended so far is kept. One commit is in flight at a time; whatever the
 * turns of the loop bring meanwhile rides on the next one. An owed packet is a number or its bytes, not a closure.
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
  /** A commit begins: it covers everything appended so far. */
  began(): void;
  /** The commit that began last is kept. */
  kept(): void;
  /** Asks for an end of turn. */
  schedule(): void;
}

/** How long to wait before a commit is tried again after it failed. */
const RETRY_MS = 1000;

export class Commits {
  readonly #store: Store;
  readonly #turns: CommitTurns;
  #debtors: Debtor[] = [];
  #owed: Owed[] = [];
  #isRunning = false;
  #retry: NodeJS.Timeout | null = null;
  /** Commits finished, for statistics. */
  count = 0;

  constructor(store: Store, turns: CommitTurns) {
    this.#store = store;
    this.#turns = turns;
  }

  /** Whether something is owed or not yet kept. */
  get isPending(): boolean {
    return this.#isRunning || this.#owed.length > 0 || this.#store.isDirty;
  }

  owe(debtor: Debtor, owed: Owed): void {
    this.#debtors.push(debtor);
    this.#owed.push(owed);
  }

  /** At the end of a turn: starts a commit when there is something to keep and none is running. */
  endTurn(): void {
    if (this.#isRunning || this.#retry !== null) return;
    if (this.#owed.length === 0 && !this.#store.isDirty) return;
    this.#isRunning = true;
    this.#turns.began();
    const debtors = this.#debtors;
    const owed = this.#owed;
    this.#debtors = [];
    this.#owed = [];
    this.#store.commit().then(
      () => this.#settle(debtors, owed, true),
      () => this.#settle(debtors, owed, false),
    );
  }

  stop(): void {
    if (this.#retry !== null) clearTimeout(this.#retry);
    this.#retry = null;
  }

  #settle(debtors: Debtor[], owed: Owed[], isKept: boolean): void {
    this.#isRunning = false;
    this.count++;
    if (isKept) this.#turns.kept();
    for (let i = 0; i < debtors.length; i++) {
      const debtor = debtors[i];
      const one = owed[i];
      if (debtor !== undefined && one !== undefined && debtor.settle(one, isKept)) this.owe(debtor, one);
    }
    if (!isKept) {
      this.#retry = setTimeout(() => {
        this.#retry = null;
        this.#turns.schedule();
      }, RETRY_MS);
      this.#retry.unref();
    }
    this.#turns.schedule();
  }
}
