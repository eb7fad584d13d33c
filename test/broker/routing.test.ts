import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Owner, Route } from '../../src/broker/route.js';
import { Routing } from '../../src/broker/routing.js';
import type { Session } from '../../src/broker/session.js';
import { entryOf, Subscriptions } from '../../src/broker/subscriptions.js';

const SHARES = 10_000;
const TOPICS = 50;

function sharedByThousands() {
  const subscriptions = new Subscriptions<Owner>();
  const routing = new Routing(subscriptions, [], () => 100);
  // All that a route asks of a session.
  const session = { rights: { mayRead: () => true }, isKept: false } as unknown as Session;
  for (let share = 0; share < SHARES; share++)
    subscriptions.add(entryOf<Owner>(session, { share: `g${share}`, filter: 'a/#' }, 0, 0), null);
  const find = (topic: string): Route => {
    const bytes = Buffer.from(topic);
    const route = routing.find(bytes, 0, bytes.length);
    assert.ok(route !== null);
    return route;
  };
  return { routing, find };
}

const heldBy = (routes: readonly Route[]): number =>
  routes.reduce((sum, { groups }) => sum + groups.length, 0);

test('topics that lead to thousands do not each keep a list of them, and lead there all the same', () => {
  const { routing, find } = sharedByThousands();
  // Who has published to a topic keeps its route.
  const routes = Array.from({ length: TOPICS }, (_, index) => {
    const route = find(`a/${index}`);
    assert.equal(route.groups.length, SHARES);
    return route;
  });
  assert.ok(heldBy(routes) <= 4 * SHARES, `${heldBy(routes)} groups are held`);
  for (const route of routes) {
    routing.refresh(route);
    assert.equal(route.groups.length, SHARES);
  }
});

test('long lists go when subscriptions change, not only when somebody publishes again', () => {
  const { routing, find } = sharedByThousands();
  const route = find('a/0');
  routing.changed();
  assert.equal(heldBy([route]), 0);
});
