import assert from 'node:assert/strict';
import { test } from 'node:test';
import { adviceOn } from '../../src/poller/advice.js';
import { busOf, rtuBusOf } from '../support/tags.js';

test('who is silent on a network has no baud or parity of ours to look at', () => {
  assert.match(adviceOn('no answer in 300 ms'), /baud and parity/);
  assert.match(adviceOn('no answer in 300 ms', rtuBusOf(0, 9600)), /baud and parity/);
  assert.match(adviceOn('no answer in 300 ms', busOf(0)), /^check unit_id: .*1 or 255/);
  assert.match(adviceOn('illegal data address', busOf(0)), /no such register/);
});

test('who answers with what is no value is not looked for as one who is silent', () => {
  for (const bus of [busOf(0), rtuBusOf(0, 9600)])
    assert.match(adviceOn('no valid value', bus), /^it answered, .*another type or order/);
});
