import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Core } from '../../src/broker/core.js';
import { incomingOf } from '../../src/broker/incoming.js';
import type { Session } from '../../src/broker/session.js';
import { entryOf } from '../../src/broker/subscriptions.js';
import { ManualClock } from '../support/clock.js';
import { coreOn } from '../support/core.js';
import { MemoryDisk } from '../support/memorydisk.js';
import { storeOn } from '../support/stores.js';
import { until } from '../support/wait.js';

const encoder = new TextEncoder();
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A session whose client is away, subscribed to the topic that it is named after. */
function away(core: Core, name: string): Session {
  const session = core.lifecycle.open(name, { user: '', groups: [], clientId: name }, 4, 3600);
  core.lifecycle.subscribe(session, name, entryOf(session, { share: '', filter: name }, 1, 0));
  return session;
}

function publish(core: Core, name: string, count: number, bytes = 0): void {
  const topic = encoder.encode(name);
  for (let at = 0; at < count; at++) {
    const route = core.routing.find(topic, 0, topic.length);
    assert.ok(route !== null);
    const payload = encoder.encode(`${at}`.padEnd(bytes));
    core.delivery.publish(incomingOf(topic, payload, new Uint8Array(0), { qos: 1 }), route);
  }
}

async function oldestOf(core: Core, session: Session): Promise<string> {
  const [oldest] = await core.store.read(session.number, 0, 1);
  assert.ok(oldest !== undefined);
  const { payload, payloadStart, payloadEnd } = oldest;
  return Buffer.from(payload).toString('latin1', payloadStart, payloadEnd).trim();
}

test('beyond its share of memory the longest of all queues loses its oldest messages, and others none', async () => {
  const clock = new ManualClock();
  // A hundred messages take an eighth of it.
  const core = coreOn(clock, { maxMemoryBytes: 100 * 16 * 8 }, storeOn(new MemoryDisk()));
  core.restore(await core.store.open());
  const [long, short] = [away(core, 'long'), away(core, 'short')];
  const lengths = (): number[] => [long.queuedMessages, short.queuedMessages];
  publish(core, 'short', 20);
  publish(core, 'long', 80);
  clock.advance(1000);
  await turn();
  assert.deepEqual(lengths(), [80, 20]);

  publish(core, 'long', 3000);
  clock.advance(1000);
  await until('it to be short enough', () => long.queuedMessages <= 80);
  assert.deepEqual(lengths(), [80, 20]);
  assert.equal(long.droppedCount, 3000);
  assert.equal(await oldestOf(core, long), '2920');
  // It is looked at again later on.
  publish(core, 'long', 1);
  clock.advance(1000);
  await turn();
  assert.deepEqual(lengths(), [80, 20]);
  core.stop();
  await core.store.close();
});

test('where messages are kept in memory what they say counts, too', async () => {
  const clock = new ManualClock();
  // A quarter of it is room for some 150 messages of a thousand bytes, or more of them if they were smaller.
  const core = coreOn(clock, { maxMemoryBytes: 4 * 150 * 1024 });
  core.restore(await core.store.open());
  const [large, many] = [away(core, 'large'), away(core, 'many')];
  publish(core, 'many', 300);
  publish(core, 'large', 400, 1000);
  clock.advance(1000);
  for (let at = 0; at < 20 && large.queuedMessages > 140; at++) await turn();
  assert.ok(large.queuedMessages > 60 && large.queuedMessages <= 140, `${large.queuedMessages} are left`);
  assert.equal(await oldestOf(core, large), String(400 - large.queuedMessages));
  assert.equal(many.queuedMessages, 300);
  core.stop();
});
