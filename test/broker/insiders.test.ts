import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Insiders } from '../../src/broker/insiders.js';
import type { Subscriber } from '../../src/broker/message.js';
import { collectGarbage } from '../../src/entry.js';
import { ManualClock } from '../support/clock.js';
import { coreOn } from '../support/core.js';
import { until } from '../support/wait.js';

test('a subscriber of the gateway that has unsubscribed is let go, with all that it holds', async () => {
  const insiders = new Insiders(coreOn(new ManualClock()));
  const come = (): WeakRef<Subscriber> => {
    const subscriber: Subscriber = { deliver: () => {} };
    insiders.subscribe('a/#', subscriber);
    insiders.subscribe('b', subscriber);
    insiders.unsubscribe('a/#', subscriber);
    insiders.unsubscribe('b', subscriber);
    return new WeakRef(subscriber);
  };
  const gone = come();
  await until('it is let go', () => {
    collectGarbage();
    return gone.deref() === undefined;
  });
  assert.equal(gone.deref(), undefined);
});
