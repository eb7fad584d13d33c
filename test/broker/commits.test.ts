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

test('what is owed over a failed commit is settled before what came since, in its order', async () => {
  const store = new SlowStore();
  let asked = 0;
  const commits = new Commits(store, {
    appendedPosition: 0,
    isAwaiting: false,
    kept: () => {},
    schedule: () => void asked++,
  });
  const settled: unknown[] = [];
  const debtor: Debtor = {
    settle: (owed, isKept) => {
      if (isKept) settled.push(owed);
      return !isKept;
    },
  };
  for (const owed of [1, 2, 3]) commits.owe(debtor, owed);
  commits.endTurn();
  // Came in the turn of the loop in which the failure is told.
  commits.owe(debtor, 4);
  store.end(new Error('the disk refuses'));
  await until('the failure and, a second later, another try', () => asked === 2);
  commits.owe(debtor, 5);
  commits.endTurn();
  store.end();
  await until('all to be settled', () => settled.length === 5);
  assert.deepEqual(settled, [1, 2, 3, 4, 5]);
  commits.stop();
});
