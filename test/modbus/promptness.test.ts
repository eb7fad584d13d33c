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
  assert.equal(promptness.isInstant(1), false);
  promptness.wasSooner(1, -1);
  assert.equal(promptness.isInstant(1), true);
  assert.equal(promptness.isInstant(2), false, 'another unit');
});

test('an exchange that brought nothing but an early answer is enough to show that there is no line', () => {
  const promptness = new Promptness();
  promptness.answered(1, 5);
  promptness.strike(1);
  assert.equal(promptness.isInstant(1), true);
  assert.equal(promptness.soonestMs(1, 100), -Infinity);
  assert.ok(promptness.soonestMs(2, 100) > 0, 'another unit');
});

test('answers that take their time show that there is a line after all, ever more of them each time that this was wrong', () => {
  const promptness = new Promptness();
  for (const needed of [16, 64, 256]) {
    promptness.strike(1);
    for (let i = 1; i < needed; i += 1) promptness.answered(1, 5);
    assert.equal(promptness.isInstant(1), true, `${needed} are needed`);
    promptness.answered(1, 5);
    assert.equal(promptness.isInstant(1), false);
  }
  promptness.strike(1);
  for (let i = 0; i < 100; i += 1) promptness.answered(1, i % 10 === 0 ? -1 : 5);
  assert.equal(promptness.isInstant(1), true, 'now and then one comes before its request has left');
});

test('how long an answer may take follows the longest time of late', () => {
  const promptness = new Promptness();
  assert.equal(promptness.latestMs(1, 100), Infinity);
  promptness.answered(1, 20);
  assert.ok(promptness.latestMs(1, 100) >= 120);
  for (let i = 0; i < 50; i += 1) promptness.answered(1, 4);
  const latestMs = promptness.latestMs(1, 100);
  assert.ok(latestMs > 104 && latestMs < 110, `${latestMs}`);
});
