import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Pace } from '../../src/uplink/pace.js';
import { ManualClock } from '../support/clock.js';

/** How many go within so many seconds. */
function sentIn(pace: Pace, clock: ManualClock, seconds: number): number {
  let count = 0;
  for (let tick = 0; tick < 10 * seconds; tick++) {
    for (; pace.isOpen && count < 1_000_000; count++) pace.sent();
    clock.advance(100);
  }
  return count;
}

function take(pace: Pace, clock: ManualClock, count: number): void {
  for (let i = 0; i < count; i++) pace.took(clock.monotonicMs());
}

test('there is no limit until something was too much', () => {
  const clock = new ManualClock();
  const pace = new Pace(clock);
  pace.begin();
  assert.equal(sentIn(pace, clock, 1), 1_000_000);
  pace.exceeded(1);
  assert.equal(sentIn(pace, clock, 1), 1_000_000, 'nobody knows what would be less');
});

test('then it is less than was taken in the best second, less again where that is too much, and more with time', () => {
  const clock = new ManualClock();
  const pace = new Pace(clock);
  pace.begin();
  take(pace, clock, 100);
  clock.advance(1000);
  take(pace, clock, 30);
  pace.exceeded(1);
  const first = sentIn(pace, clock, 10);
  assert.ok(first >= 780 && first <= 805, `${first} in 10 s`);
  pace.exceeded(1);
  const second = sentIn(pace, clock, 10);
  assert.ok(second >= 625 && second <= 645, `${second} in 10 s`);
  sentIn(pace, clock, 50);
  const third = sentIn(pace, clock, 10);
  assert.ok(third >= 780 && third <= 805, `${third} in 10 s`);
  for (let minute = 0; minute < 13; minute++) sentIn(pace, clock, 60);
  assert.equal(sentIn(pace, clock, 1), 1_000_000);
});

test('it does not fall below what is said to be the least, nor rise to it', () => {
  const clock = new ManualClock();
  const pace = new Pace(clock);
  pace.begin();
  take(pace, clock, 20);
  for (let i = 0; i < 9; i++) pace.exceeded(10);
  const least = sentIn(pace, clock, 10);
  assert.ok(least >= 97 && least <= 101, `${least} in 10 s`);
  for (let i = 0; i < 99; i++) pace.exceeded(1);
  pace.exceeded(10);
  const slow = sentIn(pace, clock, 10);
  assert.ok(slow >= 8 && slow <= 11, `${slow} in 10 s`);
});
