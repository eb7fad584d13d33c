import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RemoteMessage } from '../../src/uplink/client.js';
import { Received } from '../../src/uplink/received.js';
import { Taken } from '../../src/uplink/taken.js';

const KEEP_ALIVE_S = 60;

function order(text: string, parts: Partial<RemoteMessage> = {}): RemoteMessage {
  const payload = Buffer.from(text);
  return { topic: 'set/fan', payload, qos: 1, retain: false, isRepeated: false, properties: {}, ...parts };
}

const again = (message: RemoteMessage): RemoteMessage => ({ ...message, isRepeated: true });

test('what comes again is known by its packet identifier, or by its topic where brokers number it anew', () => {
  const taken = new Taken(KEEP_ALIVE_S, new Received());
  const [on, lamp] = [order('on'), order('on', { topic: 'set/lamp' })];
  taken.add(on, 1, 0);
  taken.add(lamp, 2, 0);
  assert.ok(taken.has(again(on), 1));
  assert.ok(taken.has(again(on), 7));
  taken.add(order('off'), 3, 0);
  assert.ok(taken.has(again(on), 1), 'its identifier knows it still');
  assert.equal(taken.has(again(on), 7), false, 'of its topic there is a newer one');
  assert.ok(taken.has(again(lamp), 2));
});

test('what only says the same is no repetition', () => {
  const taken = new Taken(KEEP_ALIVE_S, new Received());
  const on = order('on', { properties: { correlationData: Buffer.from('1') } });
  taken.add(on, 1, 0);
  assert.equal(taken.has(on, 1), false, 'not marked as sent before');
  assert.equal(taken.has(again(order('on')), 1), false, 'another correlation');
  assert.equal(taken.has(again({ ...on, payload: Buffer.from('no') }), 1), false);
  assert.equal(taken.has(again({ ...on, topic: 'set/lamp' }), 1), false);
});

test('at QoS 2 the packet identifier and what it says count, until it is released', () => {
  const taken = new Taken(KEEP_ALIVE_S, new Received());
  taken.add(order('on', { qos: 2 }), 1, 0);
  assert.ok(taken.has(order('on', { qos: 2 }), 1));
  assert.equal(taken.has(order('off', { qos: 2 }), 1), false);
  assert.equal(taken.has(again(order('on')), 1), false);
  taken.release(1);
  assert.equal(taken.has(again(order('on', { qos: 2 })), 1), false);
});

test('after a long connection the far side knows what it was told, but for the last two keep-alive times', () => {
  const taken = new Taken(KEEP_ALIVE_S, new Received());
  const [old, late] = [order('on', { topic: 'old' }), order('on', { topic: 'late' })];
  taken.opened(1000);
  taken.add(old, 1, 1000);
  taken.add(late, 2, 200_000);
  taken.lost(300_000);
  assert.equal(taken.has(again(old), 1), false);
  assert.ok(taken.has(again(late), 2));
  taken.opened(400_000);
  taken.lost(400_000 + 2000 * KEEP_ALIVE_S - 1);
  assert.ok(taken.has(again(late), 2), 'a short one may have had no time to bring it again');
  taken.opened(600_000);
  taken.lost(600_000 + 2000 * KEEP_ALIVE_S);
  assert.equal(taken.has(again(late), 2), false);
});

test('with its session the far side has forgotten what it would bring again', () => {
  const taken = new Taken(KEEP_ALIVE_S, new Received());
  taken.add(order('on'), 1, 0);
  taken.add(order('on', { qos: 2 }), 2, 0);
  taken.clear();
  assert.equal(taken.has(again(order('on')), 1), false);
  assert.equal(taken.has(order('on', { qos: 2 }), 2), false);
});

test('as many are remembered as there are packet identifiers, the newest', () => {
  const taken = new Taken(KEEP_ALIVE_S, new Received());
  const numbered = (index: number): RemoteMessage => order('on', { topic: `set/${index}` });
  const identifierOf = (index: number): number => ((index - 1) % 65_535) + 1;
  for (let index = 1; index <= 65_536; index += 1) taken.add(numbered(index), identifierOf(index), index);
  assert.equal(taken.has(again(numbered(1)), 1), false);
  assert.ok(taken.has(again(numbered(2)), 2));
  assert.ok(taken.has(again(numbered(65_536)), identifierOf(65_536)));
});

test('at QoS 2 a kill forgets what was not kept yet', () => {
  const received = new Received();
  const taken = new Taken(KEEP_ALIVE_S, received);
  const [kept, unkept] = [order('kept', { qos: 2 }), order('unkept', { qos: 2 })];
  taken.add(kept, 1, 0);
  taken.add(unkept, 2, 0);
  taken.kept(1);
  assert.ok(taken.has(kept, 1) && taken.has(unkept, 2));
  const after = new Taken(KEEP_ALIVE_S, received);
  assert.ok(after.has(kept, 1));
  assert.equal(after.has(unkept, 2), false);
});
