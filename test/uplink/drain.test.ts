/** How a backlog drains beside what comes meanwhile: in the order of publication or live first, at a rate. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, test } from 'node:test';
import { OddBroker } from '../support/oddbroker.js';
import { ruleOf, startUplink } from '../support/uplink.js';
import { until } from '../support/wait.js';
import * as wire from '../support/wire.js';

const root = mkdtempSync(join(tmpdir(), 'holdfast-drain-'));
after(() => rmSync(root, { recursive: true, force: true }));
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const BACKLOG = 300;
const LIVE = 60;
const RATE = 200;
/** A fifth of a second's may come at once, and what comes first may come a moment late. */
const BACKLOG_MS_MIN = (1000 * (BACKLOG - RATE / 4)) / RATE;

/**
 * What came, in its order: `BACKLOG` messages of before the connection, and `LIVE` published after the first of them had
 * come; and how long the backlog took.
 */
async function drain(order: 'oldest-first' | 'live-first') {
  const got: number[] = [];
  const times: number[] = [];
  const far = await OddBroker.start(
    {
      take: (packet, socket) => {
        got.push(Number(packet.payload.toString()));
        times.push(performance.now());
        socket.write(wire.acknowledge('PUBACK', packet.id));
      },
    },
    cleanups,
  );
  const { broker, uplink } = await startUplink(
    mkdtempSync(join(root, 'queue-')),
    { nodes: [far.url], order, drainPerS: RATE },
    cleanups,
  );
  const say = (i: number): void =>
    broker.publish({
      topic: `p7/data/meter${i % 3}/power`,
      payload: Buffer.from(String(i)),
      qos: 1,
      retain: false,
      sender: null,
    });
  // Before the connection can be there.
  for (let i = 0; i < BACKLOG; i++) say(i);
  await until('the first of the backlog', () => got.length > 0);
  for (let i = BACKLOG; i < BACKLOG + LIVE; i++) say(i);
  await until('an empty queue', () => uplink.about().queuedMessages === 0);
  const isBacklog = (value: number): boolean => value < BACKLOG;
  const backlogMs = (times[got.findLastIndex(isBacklog)] ?? 0) - (times[0] ?? 0);
  const lastLive = got.findLastIndex((value) => !isBacklog(value));
  const lastBacklog = got.findLastIndex(isBacklog);
  for (let topic = 0; topic < 3; topic++)
    for (const part of [got.filter(isBacklog), got.filter((value) => !isBacklog(value))]) {
      const values = part.filter((value) => value % 3 === topic);
      assert.deepEqual(
        values,
        values.toSorted((a, b) => a - b),
        'in order per topic',
      );
    }
  assert.equal(new Set(got).size, BACKLOG + LIVE);
  assert.equal(got.length, BACKLOG + LIVE);
  return { backlogMs, lastLive, lastBacklog };
}

test('live first: what comes meanwhile does not wait for the backlog, which keeps to its rate', async () => {
  const { backlogMs, lastLive, lastBacklog } = await drain('live-first');
  assert.ok(backlogMs > BACKLOG_MS_MIN, `${backlogMs} ms`);
  assert.ok(lastLive < lastBacklog - BACKLOG / 2, `the last live one came as number ${lastLive}`);
});

test('oldest first: what comes meanwhile follows the backlog, and is not held to its rate', async () => {
  const { backlogMs, lastLive, lastBacklog } = await drain('oldest-first');
  assert.ok(backlogMs > BACKLOG_MS_MIN, `${backlogMs} ms`);
  assert.equal(lastBacklog, BACKLOG - 1);
  assert.equal(lastLive, BACKLOG + LIVE - 1);
});

test('live first: what the far side retains is the newest, over connections that end before the backlog is through', async () => {
  const retained: string[] = [];
  const plain: string[] = [];
  const connections = new Set<number>();
  const far = await OddBroker.start(
    {
      take: ({ payload, retain, id }, socket, connection) => {
        connections.add(connection);
        (retain ? retained : plain).push(payload.toString());
        socket.write(wire.acknowledge('PUBACK', id));
      },
    },
    cleanups,
  );
  const { broker, uplink } = await startUplink(
    mkdtempSync(join(root, 'queue-')),
    { nodes: [far.url], order: 'live-first', drainPerS: 20, out: [ruleOf('p7/data/#', 'plants/p7/data/#')] },
    cleanups,
  );
  const say = (text: string): void => {
    const payload = Buffer.from(text);
    broker.publish({ topic: 'p7/data/meter/power', payload, qos: 1, retain: true, sender: null });
  };
  for (let i = 0; i < 20; i++) say(`old ${i}`);
  await until('the first of the backlog', () => retained.length > 0);
  say('new');
  await until('the new one', () => retained.includes('new'));
  far.hangUp();
  await until('an empty queue', () => uplink.about().queuedMessages === 0);
  assert.equal(connections.size, 2);
  assert.equal(retained.at(-1), 'new');
  assert.equal(new Set([...retained, ...plain]).size, 21);
  say('newer');
  await until('what comes later', () => retained.at(-1) === 'newer');
});

test('what is owed while another gateway is the active one is no longer what the far side retains', async () => {
  let isActive = true;
  const got: [string, boolean][] = [];
  const far = await OddBroker.start(
    {
      take: ({ payload, retain, id }, socket) => {
        got.push([payload.toString(), retain]);
        // The other one has taken over meanwhile.
        isActive = false;
        socket.write(wire.acknowledge('PUBACK', id));
      },
    },
    cleanups,
  );
  const { broker, uplink } = await startUplink(
    mkdtempSync(join(root, 'queue-')),
    { nodes: [far.url], out: [ruleOf('p7/data/#', 'plants/p7/data/#')] },
    cleanups,
    { isActive: () => isActive },
  );
  for (const text of ['first', 'second', 'third']) {
    const payload = Buffer.from(text);
    broker.publish({ topic: 'p7/data/meter/power', payload, qos: 1, retain: true, sender: null });
  }
  await until('an empty queue', () => uplink.about().queuedMessages === 0);
  assert.deepEqual(got, [
    ['first', true],
    ['second', false],
    ['third', false],
  ]);
});

test('what was acknowledged makes room for more than may be under way at once', async () => {
  const far = await OddBroker.start(
    { take: ({ id }, socket) => void socket.write(wire.acknowledge('PUBACK', id)) },
    cleanups,
  );
  const { broker, uplink } = await startUplink(
    mkdtempSync(join(root, 'queue-')),
    { nodes: [far.url], out: [ruleOf('p7/data/#', 'plants/p7/data/#')] },
    cleanups,
  );
  const payload = Buffer.alloc(1 << 20);
  for (let i = 0; i < 7; i++)
    broker.publish({ topic: `p7/data/camera${i}`, payload, qos: 1, retain: false, sender: null });
  await until('an empty queue', () => uplink.about().sent === 7);
});
