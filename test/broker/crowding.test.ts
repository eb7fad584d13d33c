import assert from 'node:assert/strict';
import { test } from 'node:test';
import { incomingOf } from '../../src/broker/incoming.js';
import type { Session } from '../../src/broker/session.js';
import { entryOf } from '../../src/broker/subscriptions.js';
import { ManualClock } from '../support/clock.js';
import { coreOn } from '../support/core.js';

const encoder = new TextEncoder();
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('beyond its share of memory the longest of all queues loses its oldest messages, and others none', async () => {
  const clock = new ManualClock();
  // A hundred messages take an eighth of it.
  const core = coreOn(clock, { maxMemoryBytes: 100 * 16 * 8 });
  core.restore(await core.store.open());
  const away = (name: string): Session => {
    const session = core.lifecycle.open(name, { user: '', groups: [], clientId: name }, 4, 3600);
    core.lifecycle.subscribe(session, name, entryOf(session, { share: '', filter: name }, 1, 0));
    return session;
  };
  const publish = (name: string, count: number): void => {
    const topic = encoder.encode(name);
    for (let at = 0; at < count; at++) {
      const route = core.routing.find(topic, 0, topic.length);
      assert.ok(route !== null);
      core.delivery.publish(incomingOf(topic, encoder.encode(`${at}`), new Uint8Array(0), { qos: 1 }), route);
    }
  };
  const [long, short] = [away('long'), away('short')];
  const lengths = (): number[] => [long.queuedMessages, short.queuedMessages];
  publish('short', 20);
  publish('long', 80);
  clock.advance(1000);
  await turn();
  assert.deepEqual(lengths(), [80, 20]);

  publish('long', 5000);
  clock.advance(1000);
  for (let at = 0; at < 20 && long.queuedMessages > 80; at++) await turn();
  assert.deepEqual(lengths(), [80, 20]);
  assert.equal(long.droppedCount, 5000);
  const [oldest] = await core.store.read(long.number, 0, 1);
  assert.ok(oldest !== undefined);
  assert.equal(
    Buffer.from(oldest.payload).toString('latin1', oldest.payloadStart, oldest.payloadEnd),
    '4920',
  );
  // It is looked at again later on.
  publish('long', 1);
  clock.advance(1000);
  await turn();
  assert.deepEqual(lengths(), [80, 20]);
  core.stop();
});
