import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Tag } from '../../src/config/plant.js';
import { shareEquals } from '../../src/config/sharing.js';
import { busOf, deviceOf, tagOf } from '../support/tags.js';

const device = deviceOf(0, busOf(0));
/** As tags come from another thread: equal, and nothing the same. */
const tags = (): Tag[] =>
  structuredClone([
    tagOf(0, device, 0, { invalid: [1, 2n], topic: 'a', deadband: { kind: 'percent', value: 2 } }),
    tagOf(1, device, 1, { invalid: [1, 2n], topic: 'b', deadband: { kind: 'percent', value: 2 } }),
    tagOf(2, device, 2, { invalid: [1, 2], topic: 'c', deadband: { kind: 'absolute', value: 2 } }),
  ]);

test('equal parts of tags become one, and every tag says what it said', () => {
  const shared = tags();
  shareEquals(shared);
  assert.deepEqual(shared, tags());
  const [a, b, c] = shared;
  assert.equal(a?.deadband, b?.deadband);
  assert.equal(a?.invalid, b?.invalid);
  assert.notEqual(a?.invalid, c?.invalid);
  assert.notEqual(a?.deadband, c?.deadband);
});
