import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { connectAsync, type IClientPublishOptions, type MqttClient } from 'mqtt';
import { Daemon } from '../support/daemon.js';
import { mbpoll, ModbusServer } from '../support/modbusserver.js';
import { until } from '../support/wait.js';

const config = (port: number): string => `
version: 1
gateway: { id: gw }
broker:
  listeners: [{ protocol: mqtt, host: 127.0.0.1, port: 0 }]
  anonymous: true
  store: memory
buses:
  plc: { protocol: tcp, host: 127.0.0.1, port: ${port} }
  gone: { protocol: tcp, host: 127.0.0.1, port: 1, timeout: 200ms }
devices:
  press1:
    bus: plc
    unit_id: 1
    tags:
      speed: { holding: 0, type: uint16, write: { min: 0, max: 100 } }
      counter: { holding: 1, type: uint16, write: true, rate: 5m }
      state: { holding: 2, type: uint16 }
      far: { holding: 20000, type: uint16, write: true, rate: 5m }
      relay: { coil: 0, write: true }
  press2: { bus: gone, unit_id: 1, tags: { speed: { holding: 0, write: true } } }
`;

interface Answer {
  readonly id?: unknown;
  readonly ok: boolean;
  readonly v?: unknown;
  readonly code?: string;
  readonly error?: string;
}

describe('a command from a real client', () => {
  const server = new ModbusServer('libmodbus', { kind: 'tcp' }, 1, {
    'holding-register': { 0: [10, 20, 30] },
  });
  let daemon: Daemon;
  let client: MqttClient;
  const seen: { topic: string; answer: Answer; correlation: string; retain: boolean }[] = [];
  before(async () => {
    await server.start();
    daemon = await new Daemon(config(server.port)).start();
    client = await connectAsync(`mqtt://127.0.0.1:${daemon.port()}`, { protocolVersion: 5 });
    client.on('message', (topic, payload, packet) =>
      seen.push({
        topic,
        // Published by the program under test; a wrong shape shows in the test.
        answer: JSON.parse(payload.toString()) as Answer,
        correlation: String(packet.properties?.correlationData ?? ''),
        retain: packet.retain,
      }),
    );
    await client.subscribeAsync(['holdfast/gw/ack/#', 'holdfast/gw/event/write', 'answers/#'], { qos: 1 });
    await client.subscribeAsync('holdfast/gw/data/press1/speed', { qos: 1 });
    await until('the first value', () => seen.some(({ topic }) => topic.includes('/data/')));
  });
  after(async () => {
    await client.endAsync(true);
    await daemon.remove();
    await server.kill();
  });

  const order = async (
    tag: string,
    payload: string,
    options: IClientPublishOptions = {},
    verb = 'set',
    topic = `holdfast/gw/ack/${tag}`,
  ): Promise<(typeof seen)[number]> => {
    const mark = seen.length;
    await client.publishAsync(`holdfast/gw/${verb}/${tag}`, payload, { qos: 1, ...options });
    return until(`the answer to ${payload} on ${topic}`, () =>
      seen.slice(mark).find((one) => one.topic === topic),
    );
  };

  test('is carried out, answered with its id and the value written, and told with its author', async () => {
    const mark = seen.length;
    const { answer, retain } = await order('press1/speed', '{"v":55,"id":"abc","ttl":"5s"}');
    assert.deepEqual([answer.id, answer.ok, answer.v, retain], ['abc', true, 55, false]);
    assert.deepEqual(mbpoll(server.port, 1, 'holding-register', 0), [55]);
    const event = await until('event/write', () =>
      seen.slice(mark).find(({ topic }) => topic.endsWith('event/write')),
    );
    const told = event.answer as unknown as Record<string, unknown>;
    assert.deepEqual([told['device'], told['tag'], told['asked'], told['ok']], ['press1', 'speed', 55, true]);
    assert.equal(told['client'], client.options.clientId);
    await until('the read-back', () =>
      seen.slice(mark).find(({ topic, answer: { v } }) => topic.includes('/data/press1/speed') && v === 55),
    );
  });

  const refused: [string, string, string, string, IClientPublishOptions][] = [
    ['out of range', 'RANGE', 'press1/speed', '101', {}],
    ['beyond its type', 'RANGE', 'press1/counter', '65536', {}],
    ['of the wrong type', 'TYPE', 'press1/speed', '"fast"', {}],
    ['that is no JSON', 'TYPE', 'press1/speed', 'fast', {}],
    ['that is retained', 'RETAINED', 'press1/speed', '5', { retain: true }],
    ['for a read-only tag', 'READ_ONLY', 'press1/state', '5', {}],
    ['for no tag', 'UNKNOWN_TAG', 'press1/sped', '5', {}],
    ['that has expired', 'EXPIRED', 'press1/speed', '{"v":5,"ttl":"0ms"}', {}],
    ['that the device refuses', 'EXC_2', 'press1/far', '5', {}],
    ['for a bus that is not there', 'OFFLINE', 'press2/speed', '5', {}],
    ['out of range for a bus that is not there', 'RANGE', 'press2/speed', '70000', {}],
  ];
  for (const [what, code, tag, payload, options] of refused) {
    test(`${what} is answered with ${code}, and changes nothing`, async () => {
      const before = mbpoll(server.port, 1, 'holding-register', 0, 3);
      const { answer } = await order(tag, payload, options);
      assert.deepEqual([answer.ok, answer.code], [false, code], JSON.stringify(answer));
      assert.ok((answer.error ?? '').length > 5);
      assert.deepEqual(mbpoll(server.port, 1, 'holding-register', 0, 3), before);
    });
  }

  test('that was retained is not handed to later subscribers', async () => {
    await order('press1/speed', '5', { retain: true });
    const other = await connectAsync(`mqtt://127.0.0.1:${daemon.port()}`);
    const kept: string[] = [];
    other.on('message', (topic) => kept.push(topic));
    await other.subscribeAsync(['holdfast/gw/set/#', 'holdfast/gw/status']);
    await until('the status', () => kept.includes('holdfast/gw/status'));
    assert.deepEqual(kept, ['holdfast/gw/status']);
    await other.endAsync(true);
  });

  test('is answered on its response topic with its correlation data', async () => {
    const properties = { responseTopic: 'answers/here', correlationData: Buffer.from('c0ffee') };
    const mark = seen.length;
    const { answer, correlation } = await order('press1/speed', '42', { properties }, 'set', 'answers/here');
    assert.deepEqual([answer.ok, correlation], [true, 'c0ffee']);
    assert.deepEqual(
      seen.slice(mark).filter(({ topic }) => topic.includes('/ack/')),
      [],
    );
  });

  test('cannot make its answer the next command', async () => {
    const properties = { responseTopic: 'holdfast/gw/set/press1/counter' };
    const before = mbpoll(server.port, 1, 'holding-register', 1);
    await order('press1/speed', '43', { properties });
    assert.deepEqual(mbpoll(server.port, 1, 'holding-register', 1), before);
  });

  for (const qos of [0, 1, 2] as const)
    for (const sessionExpiryInterval of [0, 300])
      test(`that is a will at QoS ${qos}, of a session of ${sessionExpiryInterval} s, is its client's, and so is its answer`, async () => {
        const clientId = `leaver${qos}${sessionExpiryInterval}`;
        const before = mbpoll(server.port, 1, 'holding-register', 1);
        const mark = seen.length;
        const leaver = await connectAsync(`mqtt://127.0.0.1:${daemon.port()}`, {
          protocolVersion: 5,
          reconnectPeriod: 0,
          clientId,
          properties: { sessionExpiryInterval },
          will: {
            topic: 'holdfast/gw/set/press1/speed',
            payload: Buffer.from('44'),
            qos,
            retain: false,
            properties: { responseTopic: 'holdfast/gw/set/press1/counter' },
          },
        });
        leaver.stream.destroy();
        const told = await until('event/write', () =>
          seen.slice(mark).find(({ topic }) => topic.endsWith('event/write')),
        );
        const { client: author, address } = told.answer as unknown as Record<string, unknown>;
        assert.equal(author, clientId);
        assert.match(String(address), /^127\.0\.0\.1:\d+$/);
        await until('the answer', () =>
          seen.slice(mark).find(({ topic }) => topic === 'holdfast/gw/ack/press1/speed'),
        );
        assert.deepEqual(mbpoll(server.port, 1, 'holding-register', 1), before);
        await leaver.endAsync(true);
      });

  test('on get/ reads now, whether the value changed or not', async () => {
    const mark = seen.length;
    const { answer } = await order('press1/speed', '{"id":1}', {}, 'get');
    assert.deepEqual([answer.id, answer.ok, answer.v], [1, true, 44]);
    await until('the value', () =>
      seen.slice(mark).find(({ topic }) => topic.includes('/data/press1/speed')),
    );
  });

  test('is one of many: two thousand are written in order, none merged, each answered once', async () => {
    const mark = seen.length;
    const count = 2000;
    for (let id = 0; id < count; id += 1) {
      client.publish('holdfast/gw/set/press1/relay', `{"v":${id % 2 === 1},"id":${id}}`, { qos: 1 });
    }
    const acks = await until(
      'all answers',
      () => {
        const all = seen.slice(mark).filter(({ topic }) => topic === 'holdfast/gw/ack/press1/relay');
        return all.length >= count && all;
      },
      60_000,
    );
    assert.deepEqual(
      acks.map(({ answer: { id, ok } }) => [id, ok]),
      Array.from({ length: count }, (_, id) => [id, true]),
    );
    assert.deepEqual(mbpoll(server.port, 1, 'coil', 0), [1]);
  });
});
