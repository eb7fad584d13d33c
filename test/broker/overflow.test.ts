import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Overflow } from '../../src/broker/overflow.js';
import { type Log, silentLog } from '../../src/log.js';
import { ManualClock } from '../support/clock.js';

const HOUR_MS = 3_600_000;

function start(): { clock: ManualClock; overflow: Overflow; logged: unknown[]; told: unknown[] } {
  const clock = new ManualClock();
  const logged: unknown[] = [];
  const told: unknown[] = [];
  const log: Log = { ...silentLog, warn: (_message, fields) => void logged.push({ ...fields }) };
  const overflow = new Overflow(clock, log, (client, count) => told.push({ client, count }));
  return { clock, overflow, logged, told };
}

test('a queue that overflows for days is told every ten seconds, and logged when it begins and every hour', () => {
  const { clock, overflow, logged, told } = start();
  for (let atMs = 0; atMs < 24 * HOUR_MS; atMs += 10_000) {
    overflow.count('away', 2);
    clock.advance(10_000);
  }
  assert.ok(told.length > 24 * 300, String(told.length));
  assert.ok(logged.length >= 24 && logged.length <= 26, String(logged.length));
  // The two of the first second, and those of the rest of the first hour.
  assert.deepEqual(logged.slice(0, 2), [{ client: 'away', dropped: 2 }, { client: 'away', dropped: 718 }]); // prettier-ignore
  // What ended is news when it begins again.
  clock.advance(2 * HOUR_MS);
  logged.length = 0;
  overflow.count('away', 3);
  clock.advance(1);
  assert.deepEqual(logged, [{ client: 'away', dropped: 3 }]);
  overflow.stop();
});

test('of thousands of queues that overflow a hundred are logged each, and the others together', () => {
  const { clock, overflow, logged, told } = start();
  for (let i = 0; i < 5000; i++) overflow.count(`client ${i}`, 1);
  clock.advance(1);
  assert.deepEqual([told.length, logged.length], [5000, 100]);
  clock.advance(HOUR_MS);
  assert.equal(logged.length, 201);
  assert.deepEqual(logged.at(-1), { clients: 4800, dropped: 4800 });
  overflow.stop();
});
