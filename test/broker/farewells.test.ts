import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Farewells } from '../../src/broker/farewells.js';
import { type Fields, type Log, silentLog } from '../../src/log.js';
import { ManualClock } from '../support/clock.js';

function begin() {
  const clock = new ManualClock();
  const lines: (Fields & { message: string })[] = [];
  const log: Log = { ...silentLog, info: (message, fields = {}) => lines.push({ message, ...fields }) };
  return { clock, lines, farewells: new Farewells(clock, log) };
}

test('connections that end without end are told now and then, and counted', () => {
  const { clock, lines, farewells } = begin();
  for (let i = 0; i < 10_000; i += 1)
    farewells.tell('10.0.0.9', 'connection closed', { address: `10.0.0.9:${i}` });
  assert.equal(lines.length, 20);
  farewells.tell('10.0.0.1', 'connection refused', { client: 'scada' });
  assert.deepEqual(lines.at(-1), { message: 'connection refused', client: 'scada' }, 'another is told of');
  clock.advance(60_000);
  const sum = { message: 'more connections were refused or closed', address: '10.0.0.9:9999', count: 9980 };
  assert.deepEqual(lines.slice(21), [sum]);
  farewells.tell('10.0.0.9', 'connection closed', {});
  assert.equal(lines.length, 23);
  clock.advance(60_000);
  assert.equal(lines.length, 23, 'nothing is added when all were told');
});

test('from many addresses no more lines come than from a few', () => {
  const { lines, farewells } = begin();
  for (let i = 0; i < 5000; i += 1) farewells.tell(`10.0.${i >> 8}.${i & 255}`, 'connection closed', {});
  assert.equal(lines.length, 200);
  farewells.stop();
  assert.deepEqual(lines.at(-1), { message: 'more connections were refused or closed', count: 4800 });
});
