import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RecentLog, type LogLine } from '../../src/gateway/recentlog.js';
import { silentLog } from '../../src/log.js';
import { ManualClock } from '../support/clock.js';

test('the newest lines are kept, oldest first, and handed on', () => {
  const handed: string[] = [];
  const log = new RecentLog({ ...silentLog, warn: (message) => handed.push(message) }, new ManualClock());
  for (let i = 0; i < 600; i++) log.warn(`line ${i}`, { bus: 'line1' });
  assert.equal(handed.length, 600);
  assert.equal(log.lines().length, 500);
  assert.equal(log.lines()[0]?.msg, 'line 100');
  assert.equal(log.lines().at(-1)?.['bus'], 'line1');
});

test('new lines are told, a flood of them only in part, and telling may log without end', () => {
  const clock = new ManualClock();
  const log = new RecentLog(silentLog, clock);
  const told: LogLine[] = [];
  log.tell((line) => {
    told.push(line);
    log.info('told');
  });
  for (let i = 0; i < 100; i++) log.error('again');
  assert.equal(told.length, 20);
  clock.advance(1000);
  log.error('later');
  assert.equal(told.length, 21);
});
