import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Admission } from '../../src/broker/connect.js';
import { Connection } from '../../src/broker/connection.js';
import { Wheel } from '../../src/broker/keepalive.js';
import { Publishing } from '../../src/broker/publish.js';
import { Users } from '../../src/broker/users.js';
import type { Clock } from '../../src/clock.js';
import { ManualClock } from '../support/clock.js';
import { coreOn } from '../support/core.js';
import * as wire from '../support/wire.js';

/** Connections named so, none of them a client yet, and what they tell their transports. */
function connected(clock: Clock, ...names: string[]) {
  const core = coreOn(clock);
  const admission = new Admission(core, new Users(clock), [], () => true);
  const host = {
    core,
    publishing: new Publishing(core),
    admission,
    wheel: new Wheel(clock),
    undecided: () => {},
    closed: () => {},
    gone: () => {},
  };
  const peer = { host: '::1', address: '::1:1', ends: '', certificateName: null, policy: { isAnonymousAllowed: () => true }, listener: '' }; // prettier-ignore
  const said: string[] = [];
  const connections = names.map(
    (name) =>
      new Connection(
        host,
        {
          pendingBytes: 0,
          write: () => true,
          pause: () => said.push(`${name} pauses`),
          resume: () => said.push(`${name} goes on`),
          end: () => {},
          destroy: () => {},
        },
        peer,
      ),
  );
  return { core, connections, said };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('one who sends without end leaves the turn to others', async () => {
  const clock = new ManualClock();
  const { connections, said } = connected(clock, 'loud', 'quiet');
  const [loud, quiet] = connections;
  connections.forEach((connection, index) => {
    const connect = wire.connect({ version: 4, clientId: `c${index}` });
    connection.receive(connect, 0, connect.length);
  });
  await turn();
  said.length = 0;

  const ping = wire.PINGREQ;
  loud?.receive(ping, 0, ping.length);
  loud?.receive(ping, 0, ping.length);
  assert.deepEqual(said, [], 'the turn has only begun');
  clock.advance(6);
  loud?.receive(ping, 0, ping.length);
  assert.deepEqual(said, ['loud pauses']);
  await turn();
  assert.deepEqual(said, ['loud pauses', 'loud goes on']);
  quiet?.receive(ping, 0, ping.length);
  await turn();
  assert.equal(said.length, 2, 'the next turn has its own time');
});

test('where each is read from once in a turn, the time is looked at once', async () => {
  let looks = 0;
  class CountingClock extends ManualClock {
    override monotonicMs(): number {
      looks++;
      return super.monotonicMs();
    }
  }
  const names = Array.from({ length: 50 }, (_, index) => `c${index}`);
  const { connections } = connected(new CountingClock(), ...names);
  connections.forEach((connection, index) => {
    const connect = wire.connect({ version: 4, clientId: `c${index}` });
    connection.receive(connect, 0, connect.length);
  });
  await turn();
  looks = 0;
  for (const connection of connections) connection.receive(wire.PINGREQ, 0, wire.PINGREQ.length);
  assert.equal(looks, 1);
  await turn();
});

test('what goes to very many leaves the turn to others by its bytes, and all of it goes in the end', async () => {
  const subscribers = Array.from({ length: 300 }, (_, index) => `s${index}`);
  const { core, connections } = connected(new ManualClock(), 'publisher', 'other', ...subscribers);
  const [publisher, other, ...others] = connections;
  for (const [index, connection] of connections.entries()) {
    const connect = wire.connect({ version: 4, clientId: `c${index}` });
    connection.receive(connect, 0, connect.length);
  }
  const subscribe = wire.subscribe(4, 1, [['x', 1]]);
  for (const connection of others) connection.receive(subscribe, 0, subscribe.length);
  await turn();
  const { publishSent } = core.counters;
  // 60 KB to 300: 18 MB, as a run at QoS 0 and one by one at QoS 1.
  for (const qos of [0, 1]) {
    const before = publishSent.value;
    const packets = Array.from({ length: 60 }, (_, at) =>
      wire.publish(4, { topic: 'x', payload: 'p'.repeat(1000), qos, id: at + 1 }),
    );
    const bytes = Buffer.concat(packets);
    publisher?.receive(bytes, 0, bytes.length);
    const sentCount = publishSent.value - before;
    assert.ok(sentCount > 0 && sentCount <= 30 * 300, `${sentCount} of ${60 * 300} in one turn`);
    const sentBytes = other?.outbox.sentBytes ?? 0;
    other?.receive(wire.PINGREQ, 0, wire.PINGREQ.length);
    await turn();
    assert.equal(other?.outbox.sentBytes, sentBytes + 2, 'the other has its answer meanwhile');
    for (let at = 0; at < 100 && publishSent.value < before + 60 * 300; at++) await turn();
    assert.equal(publishSent.value, before + 60 * 300);
  }
});

test('one SUBSCRIBE that asks for all that is retained many times over has a part of each turn, and no filter brings it more than twice', async () => {
  const { core, connections } = connected(new BusyClock(), 'greedy', 'other', 'publisher');
  const [greedy, other, publisher] = connections;
  for (const [index, connection] of connections.entries()) {
    const connect = wire.connect({ version: 5, clientId: `c${index}` });
    connection.receive(connect, 0, connect.length);
  }
  const { publishReceived, publishSent } = core.counters;
  const messages = Array.from({ length: 1000 }, (_, at) =>
    wire.publish(5, { topic: `r/${at % 10}/${at}`, payload: 'x', retain: true }),
  );
  for (const bytes of messages) publisher?.receive(bytes, 0, bytes.length);
  for (let at = 0; at < 9000 && publishReceived.value < 1000; at++) await turn();
  const filters = [
    '#',
    'r/#',
    '+/+/+',
    '#',
    'r/+/x',
    '#',
    ...Array.from({ length: 50 }, (_, at) => `+/+/n${at}`),
  ];
  const subscribe = wire.subscribe(5, 1, filters.map((filter): [string, number] => [filter, 0])); // prettier-ignore
  greedy?.receive(subscribe, 0, subscribe.length);
  assert.equal(publishSent.value, 0, 'nothing before the end of the turn');
  await turn();
  assert.ok(publishSent.value > 0 && publishSent.value < 200, `${publishSent.value} in the first turn`);
  const sentBytes = other?.outbox.sentBytes ?? 0;
  const single = wire.subscribe(5, 1, [['r/1/#', 0]]);
  other?.receive(single, 0, single.length);
  // One after the other they have their turns: the other need not wait for all that the first asked for.
  for (let at = 0; at < 20; at++) await turn();
  assert.ok(publishSent.value > 100 && publishSent.value < 2000, `${publishSent.value} in twenty turns`);
  assert.ok(
    (other?.outbox.sentBytes ?? 0) - sentBytes >= 100 * (messages[0]?.length ?? 0),
    'it has all of its own',
  );
  for (let at = 0; at < 500 && publishSent.value < 4100; at++) await turn();
  for (let at = 0; at < 20; at++) await turn();
  assert.equal(publishSent.value, 4100, 'what is asked for three times comes twice');
});

test('topics that thousands of filters have to be looked at for leave the turn to others, though they go to nobody', async () => {
  const { core, connections, said } = connected(new BusyClock(), 'loud', 'subscriber');
  const [loud, subscriber] = connections;
  for (const [index, connection] of connections.entries()) {
    const connect = wire.connect({ version: 5, clientId: `c${index}` });
    connection.receive(connect, 0, connect.length);
  }
  // All ways to write a or + on nine levels, with a tenth that nobody publishes to.
  let ways = [''];
  for (let level = 0; level < 9; level++) ways = ways.flatMap((way) => [`${way}a/`, `${way}+/`]);
  const filters = ways.map((way): [string, number] => [`${way}z`, 0]);
  const subscribe = wire.subscribe(5, 1, filters);
  subscriber?.receive(subscribe, 0, subscribe.length);
  await turn();
  said.length = 0;

  const { publishReceived } = core.counters;
  const topics = Array.from({ length: 20 }, (_, at) => `${'a/'.repeat(9)}${at}`);
  const publishes = Buffer.concat(topics.map((topic) => wire.publish(5, { topic, payload: 'x', qos: 0 })));
  loud?.receive(publishes, 0, publishes.length);
  assert.ok(publishReceived.value > 0 && publishReceived.value < 10, `${publishReceived.value} at once`);
  assert.deepEqual(said, ['loud pauses']);
  for (let at = 0; at < 200 && publishReceived.value < 20; at++) await turn();
  assert.equal(publishReceived.value, 20);
});

/** Every look at it takes four milliseconds. */
class BusyClock extends ManualClock {
  override monotonicMs(): number {
    this.advance(4);
    return super.monotonicMs();
  }
}

test('a few bytes that go to thousands leave the turn to others as soon as they have had their time', async () => {
  const { core, connections, said } = connected(new BusyClock(), 'loud');
  const [loud] = connections;
  const send = (bytes: Buffer): void => loud?.receive(bytes, 0, bytes.length);
  send(wire.connect({ version: 5, clientId: 'c' }));
  await turn();
  const filters = Array.from({ length: 300 }, (_, index): [string, number] => [`$share/g${index}/t`, 0]);
  send(wire.subscribe(5, 1, filters));
  await turn();
  said.length = 0;

  const { publishReceived } = core.counters;
  const publishes = 20;
  send(
    Buffer.concat(
      Array.from({ length: publishes }, () => wire.publish(5, { topic: 't', payload: 'x', qos: 0 })),
    ),
  );
  assert.ok(
    publishReceived.value > 0 && publishReceived.value < publishes / 2,
    `${publishReceived.value} at once`,
  );
  assert.deepEqual(said, ['loud pauses']);
  // What comes before a socket has stopped waits behind it.
  send(wire.PINGREQ);
  const isDone = (): boolean => publishReceived.value === publishes && said.at(-1) === 'loud goes on';
  for (let at = 0; at < 200 && !isDone(); at++) await turn();
  assert.equal(publishReceived.value, publishes);
  assert.equal(said.at(-1), 'loud goes on');
});

test('who subscribes to thousands of filters in a packet, unsubscribes or leaves with them takes a part of each turn', async () => {
  const { core, connections, said } = connected(new BusyClock(), 'loud');
  const [loud] = connections;
  const send = (bytes: Buffer): void => loud?.receive(bytes, 0, bytes.length);
  const { subscriptions, counters } = core;
  send(wire.connect({ version: 5, clientId: 'c' }));
  await turn();
  const names = Array.from({ length: 3000 }, (_, at) => `t/${at}`);
  const all = names.length;
  const filters = names.map((name): [string, number] => [name, 0]);
  const isAmid = (): boolean => subscriptions.count > 0 && subscriptions.count < all;
  const settled = async (packets: number): Promise<void> => {
    said.length = 0;
    const sentBefore = counters.packetsSent.value;
    await turn();
    assert.ok(isAmid(), `${subscriptions.count} after a turn`);
    assert.equal(
      counters.packetsSent.value,
      sentBefore,
      'what comes behind it waits, and so does its answer',
    );
    for (let at = 0; at < 200 && counters.packetsSent.value < sentBefore + packets; at++) await turn();
    assert.equal(counters.packetsSent.value, sentBefore + packets);
    assert.equal(said.at(-1), 'loud goes on');
  };

  send(Buffer.concat([wire.subscribe(5, 1, filters), wire.PINGREQ]));
  await settled(2);
  assert.equal(subscriptions.count, all);
  send(Buffer.concat([wire.unsubscribe(5, 2, names), wire.PINGREQ]));
  await settled(2);
  assert.equal(subscriptions.count, 0);
  send(wire.subscribe(5, 3, filters));
  await settled(1);

  const last = Buffer.from(names.at(-1) ?? '');
  assert.equal(core.routing.find(last, 0, last.length)?.receivers.length, 1);
  loud?.lost();
  assert.ok(isAmid(), `${subscriptions.count} when it has left`);
  assert.equal(core.routing.find(last, 0, last.length)?.receivers.length, 0);
  for (let at = 0; at < 200 && subscriptions.count > 0; at++) await turn();
  assert.equal(subscriptions.count, 0);
});

test('what came before the other end closed is read to its end, a DISCONNECT too, though it waits for the next turn', async () => {
  const { core, connections } = connected(new BusyClock(), 'loud', 'watcher');
  const [loud, watcher] = connections;
  const send = (bytes: Buffer): void => loud?.receive(bytes, 0, bytes.length);
  const watch = Buffer.concat([
    wire.connect({ version: 5, clientId: 'watcher' }),
    wire.subscribe(5, 1, [['will', 0]]),
  ]);
  watcher?.receive(watch, 0, watch.length);
  send(wire.connect({ version: 5, clientId: 'loud', will: { topic: 'will', payload: 'lost' } }));
  await turn();
  send(
    wire.subscribe(
      5,
      1,
      Array.from({ length: 300 }, (_, index): [string, number] => [`$share/g${index}/t`, 0]),
    ),
  );
  for (let at = 0; at < 5; at++) await turn();
  const sentBytes = watcher?.outbox.sentBytes;

  const { publishReceived } = core.counters;
  const publishes = Array.from({ length: 20 }, () => wire.publish(5, { topic: 't', payload: 'x', qos: 0 }));
  send(Buffer.concat([...publishes, wire.disconnect(5)]));
  loud?.lost();
  assert.ok(publishReceived.value < 20, `${publishReceived.value} at once`);
  assert.equal(loud?.isOpen, true);
  for (let at = 0; at < 200 && loud.isOpen; at++) await turn();
  assert.deepEqual([loud.isOpen, publishReceived.value], [false, 20]);
  await turn();
  assert.equal(watcher?.outbox.sentBytes, sentBytes, 'no will');

  // What is not whole is waited for no longer.
  watcher?.receive(wire.PINGREQ, 0, 1);
  watcher?.lost();
  assert.equal(watcher?.isOpen, false);
});

test('while memory is short a client replaces what is retained and brings nothing new', async () => {
  const { core, connections } = connected(new ManualClock(), 'client');
  const [client] = connections;
  const send = (bytes: Buffer): void => client?.receive(bytes, 0, bytes.length);
  send(wire.connect({ version: 5, clientId: 'c' }));
  await turn();
  const keep = async (topic: string, payload: string): Promise<string | undefined> => {
    send(wire.publish(5, { topic, payload, retain: true }));
    await turn();
    const kept = core.retained.get(Buffer.from(topic));
    return kept === null
      ? undefined
      : Buffer.from(kept.payload).toString('utf8', kept.payloadStart, kept.payloadEnd);
  };
  assert.equal(await keep('here', 'old'), 'old');
  core.isShort = true;
  assert.equal(await keep('here', 'new'), 'new');
  assert.equal(await keep('elsewhere', 'x'), undefined);
  core.isShort = false;
  assert.equal(await keep('elsewhere', 'x'), 'x');
});
