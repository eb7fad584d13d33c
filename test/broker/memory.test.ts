import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryWatch } from '../../src/broker/memory.js';
import { silentLog } from '../../src/log.js';
import { ManualClock } from '../support/clock.js';

const MAX_BYTES = 100_000_000;

function watched() {
  const clock = new ManualClock();
  const state = {
    garbage: 0,
    used: 0,
    rss: 50_000_000,
    busy: 0,
    ended: 0,
    collected: 0,
    unendedCut: 0,
    cut: 0,
    isShort: false,
  };
  const watch = new MemoryWatch(
    {
      measure: () => ({
        usedBytes: state.used + state.garbage,
        residentBytes: state.rss + state.garbage,
        busyShare: state.busy,
        endedCount: state.ended,
      }),
      collect: () => {
        state.collected += 1;
        state.garbage = 0;
      },
      setShort: (isShort) => (state.isShort = isShort),
      cutUnended: () => (state.unendedCut += 1),
      cutSlowest: () => (state.cut += 1),
    },
    MAX_BYTES,
    clock,
    silentLog,
  );
  watch.start();
  return { clock, state };
}

test('garbage is no reason to shed load: it is collected, and what is left counts', () => {
  const { clock, state } = watched();
  state.used = 30_000_000;
  state.garbage = 60_000_000;
  clock.advance(1000);
  assert.deepEqual([state.collected, state.isShort, state.cut], [1, false, 0]);
});

test('load is shed in order and taken again: first new connections, then the slowest readers, one a second', () => {
  const { clock, state } = watched();
  state.used = 80_000_000;
  clock.advance(1000);
  assert.deepEqual([state.isShort, state.unendedCut, state.cut], [true, 1, 0]);
  state.used = 95_000_000;
  clock.advance(3000);
  assert.equal(state.cut, 3);
  state.used = 20_000_000;
  clock.advance(1000);
  assert.deepEqual([state.isShort, state.unendedCut, state.cut], [false, 4, 3]);
});

test('what a storm left is collected when it is over, once, and not while it rages', () => {
  const { clock, state } = watched();
  clock.advance(1000);
  state.garbage = 20_000_000;
  state.busy = 0.9;
  clock.advance(30_000);
  assert.equal(state.collected, 0);
  state.busy = 0.1;
  clock.advance(1000);
  assert.equal(state.collected, 1);
  clock.advance(120_000);
  assert.equal(state.collected, 1);
});

test('what was held at the last collection is collected once those who held it have left', () => {
  const { clock, state } = watched();
  clock.advance(1000);
  state.rss += 20_000_000;
  clock.advance(1000);
  assert.equal(state.collected, 1);
  clock.advance(60_000);
  assert.equal(state.collected, 1, 'nobody left');
  state.rss -= 20_000_000;
  state.garbage += 20_000_000;
  state.ended += 1;
  clock.advance(1000);
  assert.deepEqual([state.collected, state.garbage], [2, 0]);
});

test('clients that come and go do not have it collected again and again for what is in use', () => {
  const { clock, state } = watched();
  clock.advance(1000);
  state.rss += 20_000_000;
  for (let second = 0; second < 120; second++) {
    state.ended += 1;
    clock.advance(1000);
  }
  assert.equal(state.collected, 3, 'at once, and then every forty seconds');
});
