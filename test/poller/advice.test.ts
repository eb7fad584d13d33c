import assert from 'node:assert/strict';
import { test } from 'node:test';
import { adviceOn } from '../../src/poller/advice.js';

test('who is silent on a network has no baud or parity of ours to look at', () => {
  assert.match(adviceOn('no answer in 300 ms'), /baud and parity/);
  assert.match(adviceOn('no answer in 300 ms', true), /^check unit_id: .*1 or 255/);
  assert.match(adviceOn('illegal data address', true), /no such register/);
});
