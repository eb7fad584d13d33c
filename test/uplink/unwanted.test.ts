import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Unwanted } from '../../src/uplink/unwanted.js';

const MINUTE_MS = 60_000;

test('a topic of which three in a row ended connections is not sent for a minute, then for longer, an hour at most', () => {
  const unwanted = new Unwanted();
  unwanted.ended('a', 0);
  unwanted.ended('a', 0);
  assert.equal(unwanted.isBarred('a', 0), false);
  let nowMs = 0;
  for (const minutes of [1, 4, 16, 60, 60]) {
    unwanted.ended('a', nowMs);
    assert.ok(unwanted.isBarred('a', nowMs + minutes * MINUTE_MS - 1));
    nowMs += minutes * MINUTE_MS;
    assert.equal(unwanted.isBarred('a', nowMs), false, `after ${minutes} minutes`);
    assert.equal(unwanted.isBarred('b', nowMs - 1), false);
  }
  unwanted.took('a', nowMs);
  unwanted.ended('a', nowMs);
  assert.equal(unwanted.isBarred('a', nowMs), false, 'it is as new once one was taken');
});

test('that a message was given up for ending connections counts for a minute', () => {
  const unwanted = new Unwanted();
  assert.equal(unwanted.endedLately(0), false);
  unwanted.ended('a', 1000);
  assert.ok(unwanted.endedLately(1000 + MINUTE_MS - 1));
  assert.equal(unwanted.endedLately(1000 + MINUTE_MS), false);
});
