import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Watched, Wheel } from '../../src/broker/keepalive.js';
import { ManualClock } from '../support/clock.js';

class Client implements Watched {
  lastTick = 0;
  dueTicks: number;
  isWatched = true;
  lookTick = 0;
  expiredAtMs = -1;
  readonly #clock: ManualClock;

  constructor(clock: ManualClock, ms: number) {
    this.#clock = clock;
    this.dueTicks = Wheel.ticksOf(ms);
  }

  expire(): void {
    this.expiredAtMs = this.#clock.monotonicMs();
    this.isWatched = false;
  }
}

test('a silent client is cut after its time, never before, and within two ticks', () => {
  const clock = new ManualClock();
  const wheel = new Wheel(clock);
  wheel.start();
  for (const ms of [1500, 3000, 15_000, 90_000, 98_302_500]) {
    const client = new Client(clock, ms);
    client.lastTick = wheel.now;
    const startMs = clock.monotonicMs();
    wheel.watch(client);
    clock.advance(ms);
    assert.equal(client.expiredAtMs, -1, `${ms} not yet`);
    if (ms < 100_000) clock.advance(ms * 0.005 + 550);
    else continue;
    assert.ok(client.expiredAtMs >= startMs + ms, `${ms} over`);
  }
  wheel.stop();
});

test('each packet begins the time again; keep alive 0 never ends', () => {
  const clock = new ManualClock();
  const wheel = new Wheel(clock);
  wheel.start();
  const client = new Client(clock, 1500);
  const free = new Client(clock, 0);
  wheel.watch(client);
  wheel.watch(free);
  for (let i = 0; i < 20; i++) {
    clock.advance(1000);
    client.lastTick = wheel.now;
  }
  assert.equal(client.expiredAtMs, -1);
  clock.advance(2200);
  assert.ok(client.expiredAtMs > 0);
  assert.equal(free.expiredAtMs, -1);
  wheel.stop();
});

test('a loop that stood still is told of, once, with how long', () => {
  const clock = new ManualClock();
  let skippedMs = 0;
  const late: number[] = [];
  const slow = { ...clock, nowMs: () => clock.nowMs(), monotonicMs: () => clock.monotonicMs() + skippedMs, after: clock.after.bind(clock) }; // prettier-ignore
  const wheel = new Wheel(slow, (lateMs) => late.push(lateMs));
  wheel.start();
  clock.advance(5000);
  assert.deepEqual(late, []);
  skippedMs = 900;
  clock.advance(5000);
  assert.equal(late.length, 1);
  assert.ok((late[0] ?? 0) >= 899);
  wheel.stop();
});
