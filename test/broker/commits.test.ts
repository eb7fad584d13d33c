import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Commits, type Debtor } from '../../src/broker/commits.js';
import { MemoryStore } from '../../src/store/memory.js';
import { until } from '../support/wait.js';

/** Its commits end when the test says so. */
class SlowStore extends MemoryStore {
  end: (error?: Error) => void = () => {};

  override commit(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.end = (error) => (error === undefined ? resolve() : reject(error));
    });
  }
}

/** Commits on it, and what was settled by them. */
function commitsOn(store: SlowStore) {
  const settled: unknown[] = [];
  let asked = 0;
  const turns = { appendedPosition: 0, isAwaiting: false, kept: () => {}, schedule: () => void asked++ };
  const debtor: Debtor = {
    settle: (owed, isKept) => {
      if (isKept) settled.push(owed);
      return !isKept;
    },
  };
  return { commits: new Commits(store, turns), debtor, settled, asked: () => asked };
}

test('what is owed over a failed commit is settled before what came since, in its order', async () => {
  const store = new SlowStore();
  const { commits, debtor, settled, asked } = commitsOn(store);
  for (const owed of [1, 2, 3]) commits.owe(debtor, owed);
  commits.endTurn();
  // Came in the turn of the loop in which the failure is told.
  commits.owe(debtor, 4);
  store.end(new Error('the disk refuses'));
  await until('the failure and, a second later, another try', () => asked() === 2);
  commits.owe(debtor, 5);
  commits.endTurn();
  store.end();
  await until('all to be settled', () => settled.length === 5);
  assert.deepEqual(settled, [1, 2, 3, 4, 5]);
  commits.stop();
});

test('what waits for more than the store is settled before what came since', async () => {
  const store = new SlowStore();
  const { commits, debtor, settled, asked } = commitsOn(store);
  let end = (): void => {};
  const queue = new Promise<void>((resolve) => (end = resolve));
  commits.also = () => queue;
  commits.owe(debtor, 1);
  commits.endTurn();
  store.end();
  // The queue's disk refuses, and nobody should wait for it.
  commits.also = () => null;
  commits.owe(debtor, 2);
  commits.endTurn();
  store.end();
  await new Promise((resolve) => setImmediate(resolve));
  end();
  await until('both to be settled', () => asked() === 2);
  assert.deepEqual(settled, [1, 2]);
});
