/** Far sides that misbehave: what an uplink owes them stays owed, arrives in the end, and holds up nothing else. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, describe, test } from 'node:test';
import { textTemplate } from '../../src/config/template.js';
import { silentLog } from '../../src/log.js';
import type { Uplink } from '../../src/uplink/uplink.js';
import { ManualClock } from '../support/clock.js';
import { OddBroker, type OddOptions } from '../support/oddbroker.js';
import { freePort } from '../support/ports.js';
import { ShiftedClock } from '../support/shiftedclock.js';
import { rememberingLog } from '../support/stores.js';
import { ruleOf, startUplink } from '../support/uplink.js';
import { until } from '../support/wait.js';
import * as wire from '../support/wire.js';

const root = mkdtempSync(join(tmpdir(), 'holdfast-hostile-'));
after(() => rmSync(root, { recursive: true, force: true }));
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function setUp(
  options: OddOptions,
  queueOptions: Parameters<typeof startUplink>[3] = {},
  count = 20,
  topics = 4,
) {
  const far = await OddBroker.start(options, cleanups);
  const { broker, uplink } = await startUplink(
    mkdtempSync(join(root, 'queue-')),
    { nodes: [far.url] },
    cleanups,
    queueOptions,
  );
  for (let i = 0; i < count; i++) {
    const topic = `p7/data/meter${i % topics}/power`;
    broker.publish({ topic, payload: Buffer.from(String(i)), qos: 1, retain: false, sender: null });
  }
  return { far, uplink, broker };
}

/** One that has a session over there, and sends at QoS 2. */
const startKept = (node: string): ReturnType<typeof startUplink> =>
  startUplink(
    mkdtempSync(join(root, 'queue-')),
    {
      nodes: [node],
      in: [ruleOf('orders/#', 'orders/#')],
      out: [ruleOf('p7/data/#', 'plants/p7/data/#', { qos: 2 })],
    },
    cleanups,
  );

const REASON: wire.Property = [wire.PROPERTY.reasonString, 'because'];

const numbers = (count: number): number[] => Array.from({ length: count }, (_none, i) => i);
const valueOf = ({ payload }: wire.Packet): number => Number(payload.toString());

/** Waits for an empty queue while time passes. */
function drained(uplink: Uplink, clock: ManualClock): Promise<unknown> {
  const isEmpty = (): boolean => {
    clock.advance(100);
    return uplink.about().queuedMessages === 0;
  };
  return until('an empty queue', isEmpty, 60_000);
}

describe('a far side that', () => {
  test('acknowledges late gets everything once', async () => {
    const got: number[] = [];
    const { uplink } = await setUp({
      take: (packet, socket) => {
        got.push(valueOf(packet));
        setTimeout(() => socket.write(wire.acknowledge('PUBACK', packet.id)), 200);
      },
    });
    await until('an empty queue', () => uplink.about().queuedMessages === 0, 20_000);
    assert.deepEqual(
      [...got].sort((a, b) => a - b),
      numbers(20),
    );
  });

  test('disconnects after each publication that it acknowledged gets everything, and none of those again', async () => {
    const acknowledged: number[] = [];
    const { far, uplink } = await setUp({
      take: (packet, socket) => {
        // What was under way beside the one that it acknowledged.
        if (socket.writableEnded) return;
        acknowledged.push(valueOf(packet));
        socket.end(wire.acknowledge('PUBACK', packet.id));
      },
    });
    await until('an empty queue', () => uplink.about().queuedMessages === 0, 60_000);
    assert.deepEqual(
      acknowledged.sort((a, b) => a - b),
      numbers(20),
    );
    assert.equal(far.connections, 20);
    assert.equal(uplink.about().refused, 0);
  });

  test('acknowledges many at once and disconnects is never sent one of those again', async () => {
    const acknowledged: number[] = [];
    let waiting: wire.Packet[] = [];
    const { far, uplink } = await setUp({
      take: (packet, socket) => {
        if (socket.writableEnded) return;
        waiting.push(packet);
        if (waiting.length < 4) return;
        acknowledged.push(...waiting.map(valueOf));
        socket.end(Buffer.concat(waiting.map(({ id }) => wire.acknowledge('PUBACK', id))));
        waiting = [];
      },
    });
    await until('an empty queue', () => uplink.about().queuedMessages === 0, 60_000);
    assert.deepEqual(
      acknowledged.sort((a, b) => a - b),
      numbers(20),
    );
    assert.equal(far.connections, 5);
  });

  test('ends each connection after one message is not owed more with each of them, nor told of each time', async () => {
    const log = rememberingLog();
    const far = await OddBroker.start(
      { take: ({ id }, socket) => socket.writableEnded || socket.end(wire.acknowledge('PUBACK', id)) },
      cleanups,
    );
    const { broker, uplink } = await startUplink(
      mkdtempSync(join(root, 'queue-')),
      { nodes: [far.url], announce: ['p7/data/#'] },
      cleanups,
      { log },
    );
    for (const i of numbers(5)) {
      const topic = `p7/data/meter${i}/state`;
      broker.publish({ topic, payload: Buffer.from(String(i)), qos: 1, retain: true, sender: null });
    }
    await until('several connections', () => far.connections >= 8);
    assert.equal(log.lines.filter(({ message }) => message.startsWith('uplink')).length, 4);
    assert.ok(uplink.about().queuedMessages <= 5, `${uplink.about().queuedMessages} queued`);
  });

  for (const [what, bytes] of [
    ['says that it disconnects, and does not', wire.disconnect(5, 0x9d)],
    ['says what is no MQTT', Buffer.from([0xf7, 0xff, 0xff, 0xff, 0xff, 0x7f])],
    [
      'goes on after it said that it disconnects',
      Buffer.concat([
        wire.frame(0xe0, wire.u8(0x8b), wire.encodeProperties()),
        wire.acknowledge('PUBREL', 7),
        wire.acknowledge('PUBREC', 7),
      ]),
    ],
    [
      'says twice what is said once',
      wire.frame(0x40, wire.u16(1), wire.u8(0), wire.encodeProperties([REASON, REASON])),
    ],
  ] as const)
    test(`${what}, is left at once`, async () => {
      const clock = new ManualClock();
      const { far, uplink } = await setUp(
        {
          take: ({ id }, socket, connection) =>
            socket.write(connection === 1 ? bytes : wire.acknowledge('PUBACK', id)),
        },
        { clock },
        1,
      );
      await until('the end of the connection', () => uplink.about().error !== '');
      await until('an empty queue', () => {
        // Far less than an acknowledgement is waited for.
        if (far.connections === 1) clock.advance(100);
        return uplink.about().queuedMessages === 0;
      });
      assert.equal(far.connections, 2);
    });

  test('says twice how long it keeps a connection is not connected with', async () => {
    const keepAlive: wire.Property = [wire.PROPERTY.serverKeepAlive, 30];
    const { uplink } = await setUp({ connack: [keepAlive, keepAlive], take: () => {} });
    await until('why not', () => uplink.about().error.includes('a property twice'));
    assert.equal(uplink.about().isConnected, false);
  });

  test('says that a packet is larger than is taken is left before it has come', async () => {
    const far = await OddBroker.start(
      { take: (_packet, socket) => socket.write(wire.u8(0x30, 0xff, 0xff, 0x7f)) },
      cleanups,
    );
    const nodes = [far.url];
    const remote = { maximumPacketBytes: 1000 };
    const { uplink } = await startUplink(
      mkdtempSync(join(root, 'queue-')),
      { nodes, remote, statusTopic: 'status' },
      cleanups,
    );
    await until('why', () => uplink.about().error.includes('a packet of 2097151 bytes, and 1000 are taken'));
  });

  test('keeps a session takes no message at QoS 2 for one that was cut off', async () => {
    /** What its session has under an identifier that is not released. */
    const held = new Map<number, number>();
    const got: number[] = [];
    let completed = 0;
    const far = await OddBroker.start(
      {
        hasSession: true,
        take: (packet, socket, connection) => {
          if (!held.has(packet.id)) got.push(valueOf(packet));
          held.set(packet.id, valueOf(packet));
          // On the first connection three are completed, and the others under way when it ends.
          if (connection > 1 || valueOf(packet) < 3) socket.write(wire.acknowledge('PUBREC', packet.id));
        },
        acknowledged: ({ type, id }, socket, connection) => {
          if (type !== 'PUBREL') return;
          const isOpen = held.delete(id);
          socket.write(wire.acknowledge('PUBCOMP', id));
          if (isOpen && connection === 1 && ++completed === 3) socket.end();
        },
      },
      cleanups,
    );
    const { broker, uplink } = await startKept(far.url);
    for (const i of numbers(40)) {
      const payload = Buffer.from(String(i));
      broker.publish({ topic: `p7/data/m${i % 20}`, payload, qos: 2, retain: false, sender: null });
    }
    await until('an empty queue', () => uplink.about().queuedMessages === 0, 20_000);
    assert.deepEqual(
      [...new Set(got)].toSorted((a, b) => a - b),
      numbers(40),
    );
  });

  test('keeps the session of a gateway that was killed takes no message at QoS 2 for one of before', async () => {
    const held = new Set(numbers(1024));
    const got: number[] = [];
    const far = await OddBroker.start(
      {
        hasSession: true,
        take: (packet, socket) => {
          if (!held.has(packet.id)) got.push(valueOf(packet));
          held.add(packet.id);
          socket.write(wire.acknowledge('PUBREC', packet.id));
        },
        acknowledged: ({ type, id }, socket) => {
          if (type === 'PUBREL' && held.delete(id)) socket.write(wire.acknowledge('PUBCOMP', id));
        },
      },
      cleanups,
    );
    const { broker, uplink } = await startKept(far.url);
    for (const i of numbers(5)) {
      const payload = Buffer.from(String(i));
      broker.publish({ topic: 'p7/data/a', payload, qos: 2, retain: false, sender: null });
    }
    await until('an empty queue', () => uplink.about().queuedMessages === 0);
    assert.deepEqual(got, numbers(5));
  });

  test('answers a release late is not taken to have completed what has the identifier since', async () => {
    const released: number[] = [];
    const got: number[] = [];
    const far = await OddBroker.start(
      {
        hasSession: true,
        take: (packet, socket, connection) => {
          got.push(valueOf(packet));
          const answers = released.splice(0).map((id) => wire.acknowledge('PUBCOMP', id));
          if (connection === 1) socket.end(Buffer.concat(answers));
          else socket.write(Buffer.concat([...answers, wire.acknowledge('PUBREC', packet.id)]));
        },
        acknowledged: ({ type, id }, socket) => {
          if (type !== 'PUBREL') return;
          if (got.length === 2) socket.write(wire.acknowledge('PUBCOMP', id));
          else released.push(id);
        },
      },
      cleanups,
    );
    const { broker, uplink } = await startKept(far.url);
    await until('the releases', () => released.length >= 1023);
    broker.publish({ topic: 'p7/data/a', payload: Buffer.from('7'), qos: 2, retain: false, sender: null });
    await until('it to come again', () => got.length === 2);
    await until('an empty queue', () => uplink.about().queuedMessages === 0);
  });

  test('is on a line so slow that acknowledgements come one by one is waited for', async () => {
    const clock = new ShiftedClock();
    let looks = 0;
    const counting = {
      nowMs: () => clock.nowMs(),
      monotonicMs: () => clock.monotonicMs(),
      after: (delayMs: number, callback: () => void) =>
        clock.after(delayMs, () => {
          looks++;
          callback();
        }),
    };
    const taken: [wire.Packet, Socket][] = [];
    const { far, uplink } = await setUp(
      { take: (packet, socket) => taken.push([packet, socket]) },
      { clock: counting },
      4,
    );
    await until('all of them', () => taken.length === 4);
    for (const [{ id }, socket] of taken) {
      clock.pass(8000);
      const before = looks;
      await until('a look', () => looks > before + 1);
      socket.write(wire.acknowledge('PUBACK', id));
      const left = uplink.about().queuedMessages;
      await until('it to be done', () => uplink.about().queuedMessages < left);
    }
    assert.equal(far.connections, 1);
  });

  test('takes everything and acknowledges nothing is given more time with each connection, and nothing is lost', async () => {
    const clock = new ShiftedClock();
    const got: number[][] = [];
    let isMute = true;
    const { far, uplink } = await setUp(
      {
        take: (packet, socket, connection) => {
          (got[connection - 1] ??= []).push(valueOf(packet));
          if (!isMute) socket.write(wire.acknowledge('PUBACK', packet.id));
        },
      },
      { clock },
    );
    for (const [connection, seconds] of [10, 20, 40].entries()) {
      await until('what may be under way', () => (got[connection]?.length ?? 0) >= (connection < 3 ? 4 : 1));
      clock.pass(seconds * 1000 + 500);
      await until('its end', () => uplink.about().error.includes(`did not come within ${seconds} s`));
    }
    assert.equal(uplink.about().queuedMessages, 20);
    for (const values of got) assert.equal(new Set(values).size, values.length, 'none twice on a connection');
    isMute = false;
    await until('an empty queue', () => uplink.about().queuedMessages === 0, 20_000);
    const last = got.at(-1) ?? [];
    assert.deepEqual(
      last.toSorted((a, b) => a - b),
      numbers(20),
    );
    for (let topic = 0; topic < 4; topic++) {
      const values = last.filter((value) => value % 4 === topic);
      assert.deepEqual(
        values,
        values.toSorted((a, b) => a - b),
      );
    }
    assert.equal(far.connections, 4);
    assert.equal(uplink.about().refused, 0);
  });

  test('takes the connection and says nothing is left after three seconds for the next node', async () => {
    const mute = createServer(() => {}).listen(0, '127.0.0.1');
    await once(mute, 'listening');
    cleanups.push(() => mute.close());
    const url = `mqtt://127.0.0.1:${(mute.address() as AddressInfo).port}`;
    const far = await OddBroker.start({ take: () => {} }, cleanups);
    const nobody = `mqtt://127.0.0.1:${await freePort()}`;
    const startedMs = performance.now();
    const { uplink } = await startUplink(
      mkdtempSync(join(root, 'queue-')),
      { nodes: [url, nobody, far.url] },
      cleanups,
    );
    await until('the last node', () => uplink.about().isConnected);
    const tookMs = performance.now() - startedMs;
    assert.equal(uplink.about().node, far.url);
    assert.ok(tookMs > 2900 && tookMs < 6000, `${tookMs} ms`);
  });

  test('says CONNACK later than that is given longer, and as long the next time', async () => {
    const far = await OddBroker.start({ take: () => {}, connackDelayMs: 3300 }, cleanups);
    const { uplink } = await startUplink(mkdtempSync(join(root, 'queue-')), { nodes: [far.url] }, cleanups);
    await until('a connection', () => uplink.about().isConnected, 30_000);
    const { connections } = far;
    assert.ok(connections <= 3, `${connections} connections`);
    far.hangUp();
    await until('its end', () => !uplink.about().isConnected);
    await until('another one', () => uplink.about().isConnected, 30_000);
    assert.equal(far.connections, connections + 1);
  });

  test('has a Receive Maximum of 1 never has two under way', async () => {
    let most = 0;
    let underWay = 0;
    const { uplink } = await setUp({
      connack: [[wire.PROPERTY.receiveMaximum, 1]],
      take: (packet, socket) => {
        most = Math.max(most, ++underWay);
        setImmediate(() => {
          underWay--;
          socket.write(wire.acknowledge('PUBACK', packet.id));
        });
      },
    });
    await until('an empty queue', () => uplink.about().queuedMessages === 0);
    assert.equal(most, 1);
  });

  test('has a Receive Maximum of 1 is told of status and connection in turn with the rest', async () => {
    const heard: string[] = [];
    let most = 0;
    let underWay = 0;
    const far = await OddBroker.start(
      {
        connack: [[wire.PROPERTY.receiveMaximum, 1]],
        take: (packet, socket) => {
          heard.push(`${packet.topic} ${packet.payload.toString()}`);
          most = Math.max(most, ++underWay);
          setImmediate(() => {
            underWay--;
            socket.write(wire.acknowledge('PUBACK', packet.id));
          });
        },
      },
      cleanups,
    );
    const payload = { kind: 'text', template: textTemplate('{gateway}'), isPerAnswer: false } as const;
    const hello = { when: 'connect', everyMs: 0, topic: textTemplate('hello'), payload } as const;
    const { broker, uplink } = await startUplink(
      mkdtempSync(join(root, 'queue-')),
      {
        nodes: [far.url],
        statusTopic: 'status',
        notices: [{ ...hello, qos: 1, retain: false }],
        variables: { gateway: 'p7' },
      },
      cleanups,
    );
    for (let i = 0; i < 5; i++)
      broker.publish({
        topic: 'p7/data/a/b',
        payload: Buffer.from(`${i}`),
        qos: 1,
        retain: false,
        sender: null,
      });
    await until('an empty queue', () => uplink.about().queuedMessages === 0);
    await uplink.stop();
    assert.equal(most, 1);
    const data = numbers(5).map((i) => `plants/p7/data/a/b ${i}`);
    assert.deepEqual(heard, ['status online', 'hello p7', ...data, 'status offline']);
    assert.equal(far.connections, 1);
  });

  test('takes neither RETAIN nor QoS 1 in a will is offered one without', async () => {
    const wills: number[] = [];
    const heard: wire.Packet[] = [];
    const far = await OddBroker.start(
      {
        connack: [
          [wire.PROPERTY.retainAvailable, 0],
          [wire.PROPERTY.maximumQoS, 0],
        ],
        admit: (flags) => {
          wills.push(flags & 0x38);
          return (flags & 0x20) > 0 ? 0x9a : (flags & 0x18) > 0 ? 0x9b : 0;
        },
        take: (packet) => heard.push(packet),
      },
      cleanups,
    );
    await startUplink(
      mkdtempSync(join(root, 'queue-')),
      { nodes: [far.url], statusTopic: 'status' },
      cleanups,
    );
    await until('its status', () => heard.length > 0);
    assert.deepEqual(wills, [0x28, 0x08, 0]);
    assert.equal(heard[0]?.payload.toString(), 'online');
  });

  for (const [why, code, advice] of [
    ['gives our session to another client', 0x8e, /client_id/],
    ['ends the connection because of too many messages', 0x96, /fewer messages a second/],
    ['ends the connection because a quota is exceeded', 0x97, /quota/],
  ] as const)
    test(`${why} is not come back to at once, nor is its other node`, async () => {
      const clock = new ManualClock();
      const take = ({ id }: wire.Packet, socket: Socket): void =>
        void socket.end(Buffer.concat([wire.acknowledge('PUBACK', id), wire.frame(0xe0, wire.u8(code, 0))]));
      const far = await OddBroker.start({ take }, cleanups);
      const { broker, uplink } = await startUplink(
        mkdtempSync(join(root, 'queue-')),
        { nodes: [far.url, far.url] },
        cleanups,
        { clock },
      );
      const payload = Buffer.from('1');
      for (const topic of ['p7/data/a', 'p7/data/b', 'p7/data/c'])
        broker.publish({ topic, payload, qos: 1, retain: false, sender: null });
      await until('its end', () => {
        clock.advance(10);
        return advice.test(uplink.about().error);
      });
      let passedMs = 0;
      await until('another connection', () => {
        clock.advance(20);
        passedMs += 20;
        return far.connections === 2;
      });
      assert.ok(passedMs >= 500, `after ${passedMs} ms`);
    });

  test('passes over what is more than so many messages a second is sent fewer before long', async () => {
    const clock = new ManualClock();
    const got = new Set<number>();
    let [secondAtMs, taken] = [0, 0];
    const { far, uplink } = await setUp(
      {
        take: (packet, socket) => {
          if (clock.monotonicMs() - secondAtMs >= 1000) [secondAtMs, taken] = [clock.monotonicMs(), 0];
          if (++taken > 20) return;
          got.add(valueOf(packet));
          socket.write(wire.acknowledge('PUBACK', packet.id));
        },
      },
      { clock },
      200,
      40,
    );
    await drained(uplink, clock);
    assert.equal(got.size, 200);
    assert.ok(far.connections <= 5, `${far.connections} connections`);
  });

  test('refuses a subscription gets all else, and is asked again', async () => {
    const clock = new ManualClock();
    const heard: string[] = [];
    let subscriptions = 0;
    const far = await OddBroker.start(
      {
        grant: () => (++subscriptions <= 2 ? 0x97 : 1),
        take: ({ topic, id }, socket) => {
          heard.push(topic);
          socket.write(wire.acknowledge('PUBACK', id));
        },
      },
      cleanups,
    );
    const { broker, uplink } = await startUplink(
      mkdtempSync(join(root, 'queue-')),
      { nodes: [far.url], in: [ruleOf('orders/#', 'orders/#'), ruleOf('more/#', 'more/#')] },
      cleanups,
      { clock },
    );
    const data = {
      topic: 'p7/data/a/b',
      payload: Buffer.from('1'),
      qos: 1,
      retain: false,
      sender: null,
    } as const;
    await until('both refusals', () => /orders.*more/.test(uplink.about().error));
    broker.publish(data);
    await until('the data', () => {
      clock.advance(100);
      return heard.length > 0 && uplink.about().queuedMessages === 0;
    });
    clock.advance(60_000);
    await until('both to be granted', () => uplink.about().error === '');
    assert.equal(subscriptions, 4);
    assert.equal(far.connections, 1);
    assert.deepEqual(heard, ['plants/p7/data/a/b']);
  });

  test('ends the connection at a subscription gets all else meanwhile', async () => {
    const clock = new ManualClock();
    let asked = 0;
    const far = await OddBroker.start(
      {
        take: ({ id }, socket) => socket.write(wire.acknowledge('PUBACK', id)),
        isDeafToSubscriptions: true,
        subscribed: (socket) => {
          asked++;
          socket.destroy();
        },
      },
      cleanups,
    );
    const { broker, uplink } = await startUplink(
      mkdtempSync(join(root, 'queue-')),
      { nodes: [far.url], in: [ruleOf('orders/#', 'orders/#')] },
      cleanups,
      { clock },
    );
    const payload = Buffer.from('1');
    broker.publish({ topic: 'p7/data/a/b', payload, qos: 1, retain: false, sender: null });
    await until('an empty queue', () => {
      clock.advance(200);
      return uplink.about().queuedMessages === 0;
    });
    assert.match(uplink.about().error, /ends the connection .* orders/);
    assert.equal(asked, 3);
    await until('it to be asked again', () => {
      clock.advance(1000);
      return asked === 4;
    });
  });

  test('does not answer a subscription is left, and asked again', { timeout: 60_000 }, async () => {
    const far = await OddBroker.start({ take: () => {}, isDeafToSubscriptions: true }, cleanups);
    const told: string[] = [];
    const log = { ...silentLog, warn: (_text: string, fields?: object) => told.push(JSON.stringify(fields)) };
    await startUplink(
      mkdtempSync(join(root, 'queue-')),
      { nodes: [far.url], in: [ruleOf('orders/#', 'orders/#')] },
      cleanups,
      { log },
    );
    await until('another connection', () => far.connections > 1, 15_000);
    assert.match(told.join(), /subscription to orders/);
  });

  test('answers a subscription when the uplink stops is not told that it is online', async () => {
    const heard: string[] = [];
    let subscribed: Socket | undefined;
    const far = await OddBroker.start(
      {
        take: ({ payload }) => heard.push(payload.toString()),
        isDeafToSubscriptions: true,
        subscribed: (socket) => (subscribed = socket),
      },
      cleanups,
    );
    const { uplink } = await startUplink(
      mkdtempSync(join(root, 'queue-')),
      { nodes: [far.url], statusTopic: 'status', in: [ruleOf('orders/#', 'orders/#')] },
      cleanups,
    );
    const socket = await until('the subscription', () => subscribed);
    const stopped = uplink.stop();
    socket.write(wire.frame(0x90, wire.u8(0, 1), wire.encodeProperties([]), wire.u8(2)));
    await stopped;
    assert.ok(!heard.includes('online'), heard.join());
  });

  test('refuses a topic gets everything else, and the refusals are counted', async () => {
    const got: number[] = [];
    const { uplink } = await setUp({
      take: (packet, socket) => {
        const isRefused = packet.topic.includes('meter1');
        if (!isRefused) got.push(valueOf(packet));
        socket.write(wire.acknowledge('PUBACK', packet.id, isRefused ? 0x87 : 0));
      },
    });
    await until('an empty queue', () => uplink.about().queuedMessages === 0);
    assert.equal(got.length, 15);
    assert.equal(uplink.about().refused, 5);
  });

  test('cannot take messages for a while gets them later', async () => {
    const got: number[] = [];
    const { far, uplink } = await setUp({
      take: (packet, socket, connection) => {
        if (connection > 1) got.push(valueOf(packet));
        socket.write(wire.acknowledge('PUBACK', packet.id, connection > 1 ? 0 : 0x97));
      },
    });
    await until('an empty queue', () => uplink.about().queuedMessages === 0, 20_000);
    assert.deepEqual(
      [...got].sort((a, b) => a - b),
      numbers(20),
    );
    assert.equal(uplink.about().refused, 0);
    assert.equal(far.connections, 2);
  });

  test('exceeds a quota now and then gets everything on one connection, more slowly', async () => {
    const clock = new ManualClock();
    const got: number[] = [];
    let left = 5;
    const { far, uplink } = await setUp(
      {
        take: (packet, socket) => {
          const isTaken = left-- > 0;
          if (isTaken) got.push(valueOf(packet));
          socket.write(wire.acknowledge('PUBACK', packet.id, isTaken ? 0 : 0x97));
        },
      },
      { clock },
      60,
    );
    await until('an empty queue', () => {
      left = 5;
      clock.advance(200);
      return uplink.about().queuedMessages === 0;
    });
    assert.deepEqual([far.connections, uplink.about().refused], [1, 0]);
    for (let topic = 0; topic < 4; topic++) {
      const values = got.filter((value) => value % 4 === topic);
      assert.deepEqual(
        values,
        numbers(60).filter((value) => value % 4 === topic),
      );
    }
  });

  test('refuses one topic for no known reason gets all others, and it in the end, or not', async () => {
    for (const isCured of [true, false]) {
      const clock = new ManualClock();
      const got: number[] = [];
      let refusals = 0;
      const { far, uplink, broker } = await setUp(
        {
          take: (packet, socket) => {
            const isRefused = packet.topic.includes('meter1') && (!isCured || refusals < 3);
            if (isRefused) refusals++;
            else got.push(valueOf(packet));
            socket.write(wire.acknowledge('PUBACK', packet.id, isRefused ? 0x83 : 0));
          },
        },
        { clock },
      );
      const ofTopic = (remainder: number): number[] => got.filter((value) => value % 4 === remainder);
      await until('all others', () => [0, 2, 3].every((remainder) => ofTopic(remainder).length === 5));
      await until('an empty queue', () => {
        const payload = Buffer.from('20');
        broker.publish({ topic: 'p7/data/meter0/power', payload, qos: 1, retain: false, sender: null });
        clock.advance(200);
        return uplink.about().refused === 5 || ofTopic(1).length === 5;
      });
      assert.deepEqual([far.connections, uplink.about().refused], [1, isCured ? 0 : 5]);
      assert.deepEqual(ofTopic(1), isCured ? [1, 5, 9, 13, 17] : []);
    }
  });

  test('refuses one message of the only topic there is gets those behind it', async () => {
    const clock = new ManualClock();
    const got = new Set<number>();
    const far = await OddBroker.start(
      {
        take: (packet, socket) => {
          const isRefused = valueOf(packet) === 5;
          if (!isRefused) got.add(valueOf(packet));
          socket.write(wire.acknowledge('PUBACK', packet.id, isRefused ? 0x83 : 0));
        },
      },
      cleanups,
    );
    const { broker, uplink } = await startUplink(
      mkdtempSync(join(root, 'queue-')),
      { nodes: [far.url] },
      cleanups,
      { clock },
    );
    for (const i of numbers(20)) {
      const payload = Buffer.from(String(i));
      broker.publish({ topic: 'p7/data/all', payload, qos: 1, retain: false, sender: null });
    }
    await until('an empty queue', () => {
      clock.advance(200);
      return uplink.about().queuedMessages === 0;
    });
    assert.deepEqual(
      [...got].toSorted((a, b) => a - b),
      numbers(20).filter((i) => i !== 5),
    );
    assert.equal(uplink.about().refused, 1);
  });

  test('ends the connection at each message of a topic is soon not sent any of them', async () => {
    const clock = new ManualClock();
    let ended = 0;
    const { uplink } = await setUp(
      {
        take: (packet, socket) => {
          if (packet.topic.includes('meter1')) {
            ended++;
            return void socket.destroy();
          }
          socket.write(wire.acknowledge('PUBACK', packet.id));
        },
      },
      { clock },
      400,
    );
    await drained(uplink, clock);
    assert.equal(uplink.about().refused, 100);
    assert.ok(ended < 30, `${ended} connections ended`);
  });

  test('ends the connection at messages of several topics gets all others, soon', async () => {
    const clock = new ManualClock();
    let got = 0;
    const { uplink, broker } = await setUp(
      {
        take: ({ topic, id }, socket) => {
          if (topic.includes('meter')) return void socket.destroy();
          got++;
          socket.write(wire.acknowledge('PUBACK', id));
        },
      },
      { clock },
      6,
      6,
    );
    const topic = 'p7/data/good';
    let published = 0;
    await until(
      'an empty queue',
      () => {
        if (published * 1000 <= clock.monotonicMs() && published < 20)
          broker.publish({
            topic,
            payload: Buffer.from(`${published++}`),
            qos: 1,
            retain: false,
            sender: null,
          });
        clock.advance(100);
        return uplink.about().queuedMessages === 0 && got >= 20;
      },
      60_000,
    );
    assert.equal(uplink.about().refused, 6);
    const passedS = clock.monotonicMs() / 1000;
    assert.ok(passedS < 100, `${passedS} s`);
  });

  test('cuts us off again and again, whatever it takes before, is not asked for more at once for ever', async () => {
    const clock = new ManualClock();
    const take = ({ id }: wire.Packet, socket: Socket): void => {
      if (!socket.writableEnded) socket.end(wire.acknowledge('PUBACK', id));
    };
    const { far } = await setUp({ take }, { clock }, 400);
    const takes = async (count: number): Promise<number> => {
      let passedMs = 0;
      const before = far.connections;
      await until(`${count} connections`, () => {
        clock.advance(50);
        passedMs += 50;
        return far.connections >= before + count;
      });
      return passedMs;
    };
    await takes(24);
    const passedMs = await takes(4);
    assert.ok(passedMs >= 10_000, `${passedMs} ms`);
  });

  test('ends the connection at one message gets all others, and that one is given up', async () => {
    const got = new Set<number>();
    const { uplink } = await setUp({
      take: (packet, socket) => {
        if (valueOf(packet) === 5) return void socket.destroy();
        got.add(valueOf(packet));
        socket.write(wire.acknowledge('PUBACK', packet.id));
      },
    });
    await until('an empty queue', () => uplink.about().queuedMessages === 0, 60_000);
    assert.deepEqual(
      [...got].sort((a, b) => a - b),
      numbers(20).filter((i) => i !== 5),
    );
    assert.equal(uplink.about().refused, 1);
  });

  test('takes nothing at all makes the uplink drop nothing', async () => {
    const { far, uplink } = await setUp({ take: (_packet, socket) => void socket.destroy() });
    await until('several attempts', () => far.connections >= 4, 60_000);
    assert.equal(uplink.about().queuedMessages, 20);
    assert.equal(uplink.about().refused, 0);
  });

  test('takes small packets only is not sent larger ones, which is told with their size', async () => {
    const log = rememberingLog();
    const got: wire.Packet[] = [];
    const far = await OddBroker.start(
      {
        connack: [
          [wire.PROPERTY.maximumPacketSize, 200],
          [wire.PROPERTY.retainAvailable, 0],
          [wire.PROPERTY.maximumQoS, 0],
        ],
        take: (packet) => got.push(packet),
      },
      cleanups,
    );
    const { broker, uplink } = await startUplink(
      mkdtempSync(join(root, 'queue-')),
      { nodes: [far.url] },
      cleanups,
      { log },
    );
    for (const length of [10, 1000, 20]) {
      const payload = Buffer.alloc(length, 'x');
      broker.publish({ topic: 'p7/data/a/b', payload, qos: 1, retain: true, sender: null });
    }
    await until('an empty queue', () => uplink.about().queuedMessages === 0);
    await until('both', () => got.length === 2);
    assert.deepEqual(
      got.map(({ payload, retain, qos }) => [payload.length, retain, qos]),
      [
        [10, false, 0],
        [20, false, 0],
      ],
    );
    assert.equal(uplink.about().refused, 1);
    const told = log.lines.find(({ level }) => level === 'error')?.fields;
    assert.deepEqual([told?.bytes, told?.reason], [1000, 'it is larger than the far side takes']);
  });
});
