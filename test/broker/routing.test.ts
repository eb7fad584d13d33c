import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
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

test('a topic that tens of thousands of filters of one client match is led no slower for their identifiers', () => {
  const LEVELS = 14;
  const session = { rights: { mayRead: () => true }, isKept: false } as unknown as Session;
  const topic = Buffer.from(Array(LEVELS).fill('x').join('/'));
  /** CPU time in ms of one route to all filters of as many levels, `+` or named; and its receiver. */
  const lead = (identifierOf: (index: number) => number) => {
    const subscriptions = new Subscriptions<Owner>();
    for (let index = 0; index < 2 ** LEVELS; index++) {
      const levels = Array.from({ length: LEVELS }, (_, level) => ((index >> level) & 1 ? '+' : 'x'));
      const parsed = { share: '', filter: levels.join('/') };
      subscriptions.add(entryOf<Owner>(session, parsed, 0, identifierOf(index)), null);
    }
    const routing = new Routing(subscriptions, [], () => 100);
    const before = process.cpuUsage();
    const receiver = routing.find(topic, 0, topic.length)?.receivers[0];
    const { user, system } = process.cpuUsage(before);
    return { tookMs: (user + system) / 1000, receiver };
  };
  const plain = lead(() => 0);
  const told = lead((index) => index + 1);
  assert.deepEqual(plain.receiver?.identifiers, []);
  assert.equal(new Set(told.receiver?.identifiers).size, 2 ** LEVELS);
  assert.ok(told.tookMs < 8 * plain.tookMs + 100, `${told.tookMs} ms, and ${plain.tookMs} ms without`);
});

test('identifiers are those of the subscriptions that a publication of the client itself matches, too', () => {
  const subscriptions = new Subscriptions<Owner>();
  const session = { rights: { mayRead: () => true }, isKept: false } as unknown as Session;
  const NO_LOCAL = 4;
  const filters = [['a/b', 0, 1], ['a/+', NO_LOCAL, 2], ['+/b', 0, 3], ['a/#', NO_LOCAL, 4], ['#', 0, 5]] as const; // prettier-ignore
  for (const [filter, options, identifier] of filters)
    subscriptions.add(entryOf<Owner>(session, { share: '', filter }, options, identifier), null);
  const route = new Routing(subscriptions, [], () => 100).find(Buffer.from('a/b'), 0, 3);
  const [receiver] = route?.receivers ?? [];
  assert.deepEqual([...(receiver?.identifiers ?? [])].sort(), [1, 2, 3, 4, 5]);
  assert.deepEqual([...(receiver?.own?.identifiers ?? [])].sort(), [1, 3, 5]);
});

test('a topic is known to lead nowhere without a route of its own only while that is so', () => {
  const session = { rights: { mayRead: () => true }, isKept: false } as unknown as Session;
  const level = fc.constantFrom('a', 'b', 'c', '', '$a');
  const topic = fc.array(level, { minLength: 1, maxLength: 6 }).map((levels) => levels.join('/'));
  const wild = fc.constantFrom('a', 'b', '', '$a', '+');
  const filter = fc
    .tuple(fc.array(wild, { minLength: 1, maxLength: 4 }), fc.constantFrom('', '/#'))
    .map(([levels, end]) => levels.join('/') + end);
  const filters = fc.array(filter, { maxLength: 3 });
  const isUnreached = (routing: Routing, name: string): boolean => {
    const bytes = Buffer.from(`>${name}<`);
    return routing.isUnreached(bytes, 1, bytes.length - 1);
  };
  let unreachedCount = 0;
  fc.assert(
    fc.property(
      filters,
      filters,
      topic,
      fc.array(topic, { maxLength: 20 }),
      (subscribed, never, first, names) => {
        const subscriptions = new Subscriptions<Owner>();
        const routing = new Routing(subscriptions, never, () => 5);
        for (const one of subscribed)
          subscriptions.add(entryOf<Owner>(session, { share: '', filter: one }, 0, 0));
        routing.changed();
        const bytes = Buffer.from(first);
        routing.find(bytes, 0, bytes.length);
        for (const name of [first, ...names, ...names.map((below) => `${first}/${below}`)]) {
          if (!isUnreached(routing, name)) continue;
          unreachedCount++;
          // Another routing answers, which has not seen the first topic.
          const fresh = new Routing(subscriptions, never, () => 5).find(
            Buffer.from(name),
            0,
            Buffer.from(name).length,
          );
          assert.ok(fresh !== null && !fresh.isMatched && !fresh.isNeverRetained && !fresh.isSystem, name);
        }
        routing.changed();
        assert.ok(!isUnreached(routing, first));
      },
    ),
    { numRuns: 2000 },
  );
  assert.ok(unreachedCount > 1000, `${unreachedCount} were unreached`);
});

test('below a topic that led nowhere, topic names are checked as anywhere', () => {
  const routing = new Routing(new Subscriptions<Owner>(), ['gw/+/set'], () => 3);
  const isUnreached = (name: string): boolean => {
    const bytes = Buffer.from(name, 'latin1');
    return routing.isUnreached(bytes, 0, bytes.length);
  };
  const first = Buffer.from('plant/a');
  routing.find(first, 0, first.length);
  assert.ok(isUnreached('plant/b/c') && isUnreached('plant'));
  for (const name of [
    '',
    'plan',
    'plants',
    'other',
    'plant/+',
    'plant/a/#',
    'plant/\0',
    'plant/\xff',
    'plant/a/b/c',
  ])
    assert.ok(!isUnreached(name), name);
});
