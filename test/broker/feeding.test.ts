import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Feeding } from '../../src/broker/feeding.js';
import { ManualClock } from '../support/clock.js';

/** Somebody who takes steps of a millisecond as long as it may, and is told when it may again. */
class Eater {
  readonly name: string;
  readonly #clock: ManualClock;
  readonly #touched: Eater[];
  left: number;

  constructor(name: string, left: number, clock: ManualClock, touched: Eater[]) {
    this.name = name;
    this.left = left;
    this.#clock = clock;
    this.#touched = touched;
  }

  touch(): void {
    this.#touched.push(this);
  }

  eat(feeding: Feeding): number {
    let count = 0;
    while (this.left > 0 && feeding.mayGoOn(this)) {
      this.#clock.advance(1 / 16);
      this.left--;
      count++;
    }
    return count;
  }
}

test('those who are fed have a part of each turn together, and take it in turns', () => {
  const clock = new ManualClock();
  const touched: Eater[] = [];
  const feeding = new Feeding(clock);
  const eaters = ['a', 'b', 'c'].map((name) => new Eater(name, 250, clock, touched));
  const seen: string[] = [];
  let next = eaters;
  for (let turn = 0; turn < 20 && next.length > 0; turn++) {
    for (const eater of next) {
      const count = eater.eat(feeding);
      assert.ok(count <= 96, 'a turn is six milliseconds of sixteen steps');
      if (count > 0) seen.push(eater.name);
    }
    clock.advance(100);
    feeding.endTurn();
    next = touched.splice(0);
  }
  assert.equal(seen.slice(0, 6).join(''), 'abcabc');
  assert.ok(eaters.every(({ left }) => left === 0));
});

test('of many who wait the first have the next turn, and nobody is left out', () => {
  const clock = new ManualClock();
  const touched: Eater[] = [];
  const feeding = new Feeding(clock);
  const all = Array.from({ length: 200 }, (_, at) => new Eater(`${at}`, 40, clock, touched));
  for (const eater of all) eater.eat(feeding);
  for (let turn = 0; turn < 300; turn++) {
    feeding.endTurn();
    assert.ok(touched.length <= 64);
    for (const eater of touched.splice(0)) eater.eat(feeding);
  }
  assert.ok(all.every(({ left }) => left === 0));
});

test('who has time enough is not touched', () => {
  const clock = new ManualClock();
  const touched: Eater[] = [];
  const feeding = new Feeding(clock);
  new Eater('a', 64, clock, touched).eat(feeding);
  feeding.endTurn();
  assert.equal(touched.length, 0);
});
