import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { BrokerApi } from '../../src/broker/broker.js';
import type { Message } from '../../src/broker/message.js';
import { steadyClock } from '../../src/clock.js';
import type { Batch } from '../../src/config/plant.js';
import { Commands } from '../../src/gateway/commands.js';
import { Status } from '../../src/gateway/status.js';
import { Metrics } from '../../src/metrics.js';
import { REPLACED } from '../../src/poller/messages.js';
import { ManualClock } from '../support/clock.js';
import { plantOf, resultOf, ScriptedPool, tagOf } from '../support/field.js';

const SET = 'holdfast/gw/set/press1/speed';
const ACK = 'holdfast/gw/ack/press1/speed';

function bench() {
  const clock = new ManualClock();
  const pool = new ScriptedPool();
  const published: Message[] = [];
  const broker: Pick<BrokerApi, 'clock' | 'publish' | 'subscribe' | 'unsubscribe'> = {
    clock: steadyClock(clock),
    publish: (message) => void published.push(message),
    subscribe: () => {},
    unsubscribe: () => {},
  };
  const plant = plantOf([tagOf(0, 'speed'), tagOf(1, 'state', { write: null })]);
  // What is used of it; the broker itself is in the tests that run the whole gateway.
  const api = broker as BrokerApi;
  const commands = new Commands({
    isActive: () => true,
    broker: api,
    pool,
    status: new Status(plant, { broker: api, clock }),
    mayPublish: (_sender, topic) => topic !== 'forbidden',
    clock,
    metrics: new Metrics(),
  });
  commands.take(plant);
  const answers = (topic = ACK) =>
    published
      .filter((message) => message.topic === topic)
      .map((message) => JSON.parse(Buffer.from(message.payload).toString()) as Record<string, unknown>);
  const send = (topic: string, payload: string, changes: Partial<Message> = {}) =>
    commands.deliver({
      topic,
      payload: Buffer.from(payload),
      qos: 1,
      retain: false,
      sender: { clientId: 'c1', user: 'operator', address: '127.0.0.1:5' },
      ...changes,
    });
  return { broker, clock, pool, published, commands, answers, send };
}

describe('a command', () => {
  test('reaches the field as it was written, and the answer of the field is its answer', () => {
    const { pool, commands, answers, send, clock } = bench();
    send(SET, '{"v":18446744073709551615,"id":"abc"}');
    const [order] = pool.orders;
    assert.equal(order?.value, '18446744073709551615');
    assert.equal(order?.ttlMs, 60_000);
    assert.deepEqual(answers(), []);
    commands.results(resultOf(order?.correlation ?? 0, 'OK', '55'));
    assert.deepEqual(answers(), [{ id: 'abc', ok: true, v: 55, t: clock.nowMs() }]);
  });

  test('that the device refuses is answered with the exception and its text', () => {
    const { pool, commands, answers, send, clock } = bench();
    send(SET, '7');
    commands.results(resultOf(pool.orders[0]?.correlation ?? 0, 2, 'illegal data address'));
    assert.deepEqual(answers(), [
      { ok: false, code: 'EXC_2', error: 'illegal data address', t: clock.nowMs() },
    ]);
  });

  test('is answered once, however often the field says how it went', () => {
    const { pool, commands, answers, send } = bench();
    send(SET, '1');
    const { correlation = 0 } = pool.orders[0] ?? {};
    commands.results(resultOf(correlation, 'OK', '1'));
    commands.results(resultOf(correlation, 'TIMEOUT', 'late'));
    assert.equal(answers().length, 1);
  });

  test('that the field never answers is answered for it, some time after it expired', () => {
    const { answers, send, clock, commands, pool } = bench();
    send(SET, '{"v":1,"ttl":"5s"}');
    clock.advance(30_000);
    assert.deepEqual(answers(), []);
    clock.advance(10_000);
    assert.equal(answers()[0]?.['code'], 'TIMEOUT');
    commands.results(resultOf(pool.orders[0]?.correlation ?? 0, 'OK', '1'));
    assert.equal(answers().length, 1);
  });

  const refused: [why: string, code: string, payload: string, changes: Partial<Message>][] = [
    ['was retained', 'RETAINED', '5', { retain: true }],
    ['came after its message expiry', 'EXPIRED', '5', { expiresAtMs: 1_699_999_999_999 }],
    ['has no time to live', 'EXPIRED', '{"v":5,"ttl":"0s"}', {}],
    ['is no JSON', 'TYPE', 'on', {}],
    ['has no value', 'TYPE', '{"id":1}', {}],
  ];
  for (const [why, code, payload, changes] of refused) {
    test(`that ${why} is refused with ${code} and never reaches the field`, () => {
      const { pool, answers, send } = bench();
      send(SET, payload, changes);
      assert.deepEqual(pool.orders, []);
      assert.equal(answers()[0]?.['code'], code);
      assert.equal(answers().length, 1);
    });
  }

  test('for a read-only or unknown tag is refused on the ack topic of that name', () => {
    const { answers, send, pool } = bench();
    send('holdfast/gw/set/press1/state', '1');
    assert.equal(answers('holdfast/gw/ack/press1/state')[0]?.['code'], 'READ_ONLY');
    send('holdfast/gw/set/press1/sped', '{"v":1,"id":9}');
    const [answer] = answers('holdfast/gw/ack/press1/sped');
    assert.equal(answer?.['code'], 'UNKNOWN_TAG');
    assert.equal(answer?.['id'], 9);
    assert.deepEqual(pool.orders, []);
  });

  test('lives as long as the shorter of its ttl and its message expiry', () => {
    const { pool, send, clock } = bench();
    const nowMs = clock.nowMs();
    send(SET, '{"v":1,"ttl":"5s"}', { expiresAtMs: nowMs + 2000 });
    send(SET, '{"v":1,"ttl":"5s"}', { expiresAtMs: nowMs + 9000 });
    send(SET, '1', { expiresAtMs: nowMs + 300_000 });
    assert.deepEqual(
      pool.orders.map(({ ttlMs }) => ttlMs),
      [2000, 5000, 300_000],
    );
  });

  for (const [way, jumpMs] of [
    ['forth', 400 * 86_400_000],
    ['back', -400 * 86_400_000],
  ] as const) {
    test(`waits as long as it may, whether the clock jumps ${way} before it comes or while it waits`, () => {
      const { broker, pool, send, answers, clock } = bench();
      clock.jump(jumpMs);
      send(SET, '1', { expiresAtMs: broker.clock.nowMs() + 2000 });
      send(SET, '2', { expiresAtMs: broker.clock.nowMs() - 1 });
      assert.deepEqual(
        pool.orders.map(({ value, ttlMs }) => [value, ttlMs]),
        [['1', 2000]],
      );
      assert.deepEqual(
        answers().map(({ code }) => code),
        ['EXPIRED'],
      );
      clock.jump(-jumpMs);
      clock.advance(30_000);
      assert.equal(answers().length, 1);
      clock.advance(5000);
      assert.equal(answers()[1]?.['code'], 'TIMEOUT');
    });
  }

  test('on get/ is a read, on a read-only tag too', () => {
    const { pool, commands, answers, send } = bench();
    send('holdfast/gw/get/press1/state', '');
    assert.deepEqual(
      pool.orders.map(({ kind, tag }) => [kind, tag]),
      [['read', 1]],
    );
    commands.results(resultOf(pool.orders[0]?.correlation ?? 0, 'OK', ''));
    assert.equal(answers('holdfast/gw/ack/press1/state')[0]?.['ok'], true);
  });
});

test('ten thousand commands may wait for one bus, and then it says that it is busy', () => {
  const { pool, answers, send, commands } = bench();
  for (let count = 0; count < 10_000; count += 1) send(SET, String(count));
  assert.equal(pool.orders.length, 10_000);
  assert.deepEqual(answers(), []);
  while (answers().length === 0 && pool.orders.length < 100_000) send(SET, '1');
  assert.equal(answers()[0]?.['code'], 'BUSY');
  const before = pool.orders.length;
  commands.results(resultOf(pool.orders[0]?.correlation ?? 0, 'OK', '0'));
  send(SET, '1');
  assert.equal(pool.orders.length, before + 1);
});

describe('the answer goes to', () => {
  const text = (id: number, value: string) => Buffer.from([id, 0, value.length, ...Buffer.from(value)]);
  const properties = (topic: string) =>
    Buffer.concat([
      Buffer.of(0x01, 1, 0x02, 0, 0, 0, 9),
      Buffer.from([0x26, 0, 1, 97, 0, 2, 98, 99]),
      text(0x03, 'application/json'),
      text(0x08, topic),
      text(0x09, 'cor'),
    ]);

  test('the response topic, with the correlation data', () => {
    const { send, published, answers } = bench();
    send(SET, 'x', { properties: properties('reply/here') });
    assert.equal(answers().length, 0);
    assert.equal(answers('reply/here').length, 1);
    const [reply] = published.filter(({ topic }) => topic === 'reply/here');
    assert.deepEqual(Buffer.from(reply?.properties ?? []), text(0x09, 'cor'));
  });

  test('the ack topic when the sender may not publish to the response topic', () => {
    const { send, answers } = bench();
    send(SET, 'x', { properties: properties('forbidden') });
    assert.equal(answers('forbidden').length, 0);
    assert.equal(answers().length, 1);
  });

  test('the ack topic when nobody is known to have sent it', () => {
    const { send, answers } = bench();
    send(SET, 'x', { properties: properties('reply/here'), sender: null });
    assert.equal(answers('reply/here').length, 0);
    assert.equal(answers().length, 1);
  });
});

describe('while the poller of its bus is being replaced', () => {
  const bus = plantOf([]).buses[0]?.name ?? '';

  test('a command waits for the new one, in its turn, and is handed to the tag of that day', () => {
    const { pool, commands, answers, send, clock } = bench();
    send(SET, '1');
    send(SET, '2');
    const release = commands.hold([bus]);
    send(SET, '{"v":3,"ttl":"10s"}');
    // Those that waited in the old poller come back, the one that was on its way is answered.
    const [first, second] = pool.orders.map(({ correlation }) => correlation);
    commands.results(resultOf(first ?? 0, 'OK', '1'));
    commands.results(resultOf(second ?? 0, 'OFFLINE', REPLACED));
    clock.advance(2000);
    assert.equal(pool.orders.length, 2);
    assert.deepEqual(answers(), [{ ok: true, v: 1, t: clock.nowMs() - 2000 }]);
    commands.take(plantOf([tagOf(7, 'speed')]));
    release();
    assert.deepEqual(
      pool.orders.slice(2).map(({ tag, value, ttlMs }) => [tag, value, ttlMs]),
      [
        [7, '2', 58_000],
        [7, '3', 8000],
      ],
    );
    send(SET, '4');
    assert.equal(pool.orders.length, 5);
    assert.equal(answers().length, 1);
  });

  test('a command whose time is over by then, or whose tag is gone, is answered and not handed on', () => {
    const { pool, commands, answers, send, clock } = bench();
    const release = commands.hold([bus]);
    send(SET, '{"v":1,"ttl":"1s"}');
    send('holdfast/gw/get/press1/state', '{"id":"g"}');
    clock.advance(1500);
    commands.take(plantOf([tagOf(7, 'speed')]));
    release();
    assert.deepEqual(pool.orders, []);
    assert.equal(answers()[0]?.['code'], 'EXPIRED');
    assert.equal(answers('holdfast/gw/ack/press1/state')[0]?.['code'], 'UNKNOWN_TAG');
  });

  test('as many commands may wait as otherwise, for what is answered waits no more', () => {
    const { pool, commands, published, send } = bench();
    const fill = (): number => {
      published.length = 0;
      let count = -1;
      for (; published.length === 0; count += 1) send(SET, '1');
      return count;
    };
    const most = fill();
    for (const { correlation } of pool.orders) commands.results(resultOf(correlation, 'OK', '1'));
    commands.hold([bus]);
    assert.equal(fill(), most);
  });

  test('what waits when the gateway stops is answered, as is what comes back without a reload', () => {
    const { pool, commands, answers, send } = bench();
    send(SET, '1');
    commands.results(resultOf(pool.orders[0]?.correlation ?? 0, 'OFFLINE', REPLACED));
    commands.hold([bus]);
    send(SET, '2');
    commands.close();
    assert.deepEqual(
      answers().map(({ code }) => code),
      ['OFFLINE', 'OFFLINE'],
    );
    assert.equal(pool.orders.length, 1);
  });
});

test('a group that a reload takes away is written no more', () => {
  const { pool, commands, answers, send } = bench();
  const plant = plantOf([tagOf(0, 'speed')]);
  const [device] = plant.devices;
  assert.ok(device !== undefined);
  const setTopic = 'holdfast/gw/set/press1/shift';
  const ackTopic = 'holdfast/gw/ack/press1/shift';
  const shift: Batch = {
    index: 1,
    device,
    group: 'shift',
    tags: plant.tags,
    qos: 1,
    retain: true,
    topic: 'holdfast/gw/data/press1/shift',
    recipe: { setTopic, ackTopic },
  };
  commands.take({ ...plant, batches: [shift] });
  send(setTopic, '{"v":{"speed":1}}');
  assert.deepEqual(
    pool.orders.map(({ tag, value }) => [tag, value]),
    [[1, '{"speed":1}']],
  );
  commands.take(plant);
  send(setTopic, '{"v":{"speed":2}}');
  assert.equal(pool.orders.length, 1);
  assert.equal(answers(ackTopic)[0]?.['code'], 'UNKNOWN_TAG');
});

test('each write is told on event/write with its author and its outcome', () => {
  const { pool, commands, answers, send } = bench();
  send(SET, '42');
  commands.results(resultOf(pool.orders[0]?.correlation ?? 0, 'TIMEOUT', 'no answer within 1 s'));
  const [event] = answers('holdfast/gw/event/write');
  assert.deepEqual(
    { ...event, t: 0 },
    {
      t: 0,
      device: 'press1',
      tag: 'speed',
      asked: 42,
      ok: false,
      code: 'TIMEOUT',
      user: 'operator',
      client: 'c1',
      address: '127.0.0.1:5',
    },
  );
});
