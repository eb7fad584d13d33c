import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Promptness } from '../../src/modbus/promptness.js';

test('before a unit is known an answer may begin when its request has left the line, a known one later', () => {
  const promptness = new Promptness();
  assert.ok(promptness.soonestMs(1, 100) <= 100);
  for (let i = 0; i < 20; i += 1) promptness.answered(1, 5);
  assert.ok(promptness.soonestMs(1, 100) > 100);
  assert.ok(promptness.soonestMs(2, 100) <= 100, 'another unit');
});

test('an answer that began early after all makes the unit unknown again, one before its request left shows that there is no line', () => {
  const promptness = new Promptness();
  for (let i = 0; i < 20; i += 1) promptness.answered(1, 5);
  promptness.wasSooner(1, 1);
  assert.ok(promptness.soonestMs(1, 100) <= 100);
  assert.equal(promptness.isInstant, false);
  promptness.wasSooner(1, -1);
  assert.equal(promptness.isInstant, true);
});

test('an exchange that brought nothing but an early answer is enough to show that there is no line', () => {
  const promptness = new Promptness();
  promptness.answered(1, 5);
  promptness.strike();
  assert.equal(promptness.isInstant, true);
  assert.equal(promptness.soonestMs(1, 100), -Infinity);
});
