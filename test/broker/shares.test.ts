import assert from 'node:assert/strict';
import { test } from 'node:test';
import { emptyIncoming } from '../../src/broker/incoming.js';
import { entryOf } from '../../src/broker/subscriptions.js';
import { ManualClock } from '../support/clock.js';
import { coreOn } from '../support/core.js';

test('nothing stays of a group that nobody is in any more', () => {
  const core = coreOn(new ManualClock());
  const session = core.lifecycle.open('c', { user: '', groups: [], clientId: 'c' }, 5, 0);
  const publish = (): void => {
    const bytes = Buffer.from('a/b');
    const route = core.routing.find(bytes, 0, bytes.length);
    assert.ok(route !== null);
    core.delivery.publish({ ...emptyIncoming(), topic: bytes, topicEnd: bytes.length }, route);
  };
  const subscribe = (share: string): void => {
    const entry = entryOf(session, { share, filter: 'a/#' }, 0, 0);
    core.lifecycle.subscribe(session, `$share/${share}/a/#`, entry);
  };

  for (let number = 0; number < 10; number++) {
    subscribe(`g${number}`);
    publish();
    core.lifecycle.unsubscribe(session, `$share/g${number}/a/#`);
  }
  assert.equal(core.delivery.shares.count, 0);
  subscribe('last');
  publish();
  assert.equal(core.delivery.shares.count, 1);
  core.lifecycle.end(session);
  assert.equal(core.delivery.shares.count, 0);
});
