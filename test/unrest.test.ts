/** Devices that come and go in the log. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Unrest } from '../src/unrest.js';
import { ManualClock } from './support/clock.js';
import { rememberingLog } from './support/stores.js';

test('a device that comes and goes is told a few times, then by the last of each minute, until it settles', () => {
  const clock = new ManualClock();
  const log = rememberingLog();
  const unrest = new Unrest(clock, log);
  const told = (): string[] =>
    log.lines.splice(0).map(({ message, fields }) => [message, fields['device'], fields['count']].join(' '));
  const flutter = (times: number): void => {
    for (let count = 0; count < times; count += 1) {
      unrest.tell('warn', 'device-offline', { device: 'a', bus: 'line1', error: 'no answer' });
      unrest.tell('info', 'device-online', { device: 'a', bus: 'line1' });
    }
  };
  flutter(10);
  unrest.tell('warn', 'device-offline', { device: 'b', bus: 'line1', error: 'no answer' });
  assert.deepEqual(told(), [
    'device-offline a ',
    'device-online a ',
    'device-offline a ',
    'device-online a ',
    'device-offline b ',
  ]);
  clock.advance(60_000);
  assert.deepEqual(told(), ['device-online a 16']);
  flutter(3);
  unrest.tell('warn', 'device-offline', { device: 'a', bus: 'line1', error: 'no answer' });
  clock.advance(60_000);
  assert.deepEqual(told(), ['device-offline a 7']);
  clock.advance(60_000);
  flutter(1);
  assert.deepEqual(told(), ['device-offline a ', 'device-online a ']);
  for (let count = 0; count < 9; count += 1) unrest.tell('info', 'shared-write', { device: 'a' }, 'write');
  unrest.tell('warn', 'device-offline', { device: 'a', bus: 'line1', error: 'no answer' });
  assert.deepEqual(told().slice(-2), ['shared-write a ', 'device-offline a '], 'one thing hides no other');
  unrest.stop();
  clock.advance(600_000);
  assert.deepEqual(told(), []);
});
