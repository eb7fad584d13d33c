import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { connectAsync } from 'mqtt';
import { SimulatedPlant } from '../../src/simulator/plant.js';
import { Daemon } from '../support/daemon.js';
import { FarSide } from '../support/farside.js';
import { MqttClient } from '../support/mqttclient.js';
import { OddBroker } from '../support/oddbroker.js';
import { socketOf } from '../support/plant.js';
import { until } from '../support/wait.js';
import * as wire from '../support/wire.js';

test('every sample reaches the far side, in order, though it dies and the gateway is killed', async (t) => {
  const cleanups: (() => unknown)[] = [];
  t.after(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  });
  const plant = await SimulatedPlant.start({
    buses: [{ name: 'plc', link: { kind: 'tcp' }, units: [{ unitId: 1, values: [COUNTER] }] }],
  });
  cleanups.push(() => plant.stop());
  const { port } = await socketOf(plant, 'plc');
  const far = await FarSide.create(cleanups);
  await far.start();
  const daemon = new Daemon(configOf(port, far.url));
  cleanups.push(async () => {
    await daemon.stop();
    await daemon.remove();
  });
  await daemon.start();

  /** Timestamps of the samples that the far side's subscriber got. */
  const times: number[] = [];
  const listen = async (): Promise<void> => {
    const client = await far.client();
    client.on('message', (topic, payload) => {
      assert.equal(topic, 'plants/p7/data/press/count');
      times.push((JSON.parse(payload.toString()) as { t: number }).t);
    });
    await client.subscribeAsync('plants/#', { qos: 1 });
  };
  await listen();
  await until('samples', () => times.length > 5);
  await far.stop();
  // Away for a while: what is sampled meanwhile is owed.
  const awayMs = Date.now();
  await until('an event of the loss', () => daemon.logged(/uplink not connected/).length > 0);
  await until('some time to pass', () => Date.now() - awayMs > 1500);
  daemon.signal('SIGKILL');
  await daemon.exited();
  await far.start();
  await listen();
  await daemon.start();
  const backMs = Date.now();
  await until('the newest sample', () => (times.at(-1) ?? 0) > backMs + 500, 20_000);

  const during = times.filter((time) => time > awayMs + 200 && time < awayMs + 1300);
  assert.ok(new Set(during).size >= 8, `${during.length} samples of the time without a far side`);
  const distinct = times.filter((time, index) => times.indexOf(time) === index);
  assert.deepEqual(
    distinct,
    [...distinct].sort((a, b) => a - b),
    'first deliveries are in order',
  );
});

test('what a publisher was acknowledged reaches the far side, though the gateway is killed again and again', async (t) => {
  const cleanups: (() => unknown)[] = [];
  t.after(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  });
  const far = await FarSide.create(cleanups);
  const daemon = new Daemon(`version: 1
gateway: { id: p7 }
broker: { anonymous: true, store: memory, listeners: [{ protocol: mqtt, host: 127.0.0.1, port: 0 }] }
uplinks:
  cloud: { nodes: ["${far.url}"], announce: [], out: [{ from: "a/#" }] }
`);
  cleanups.push(() => daemon.remove());
  const acknowledged: number[] = [];
  let next = 0;
  for (let life = 0; life < 4; life++) {
    await daemon.start();
    const client = await MqttClient.open({ host: '127.0.0.1', port: daemon.port() }, 4);
    await client.handshake({ clientId: 'plant' });
    client.socket.removeAllListeners('data');
    const first = next;
    client.socket.on('data', (bytes: Buffer) => {
      // Acknowledgements of four bytes each, in their order.
      for (let at = 0; at + 4 <= bytes.length; at += 4)
        acknowledged.push(first + bytes.readUInt16BE(at + 2) - 1);
    });
    const before = acknowledged.length;
    while (acknowledged.length < before + 2000) {
      const underWay = next - first - (acknowledged.length - before);
      for (let i = underWay; i < 200; i++, next++)
        client.socket.write(
          wire.publish(4, { topic: 'a/b', payload: String(next), qos: 1, id: next - first + 1 }),
        );
      await new Promise((resolve) => setImmediate(resolve));
    }
    daemon.signal('SIGKILL');
    await daemon.exited();
    client.socket.destroy();
  }
  await far.start();
  const got = new Set<number>();
  const client = await far.client();
  client.on('message', (_topic, payload) => got.add(Number(payload.toString())));
  await client.subscribeAsync('a/#', { qos: 1 });
  await daemon.start();
  await until('all that was acknowledged', () => acknowledged.every((value) => got.has(value)), 20_000);
});

for (const [what, changes] of [
  ['stopped', null],
  ['told to drain at another rate', ', drain_rate: 5000'],
  ['told to sync otherwise', ', sync: commit'],
] as const) {
  test(`what a publisher was acknowledged reaches a far side that is slow, though the gateway is ${what} meanwhile`, async (t) => {
    const cleanups: (() => unknown)[] = [];
    t.after(async () => {
      for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
    });
    const got = new Set<number>();
    let isAcknowledging = false;
    const far = await OddBroker.start(
      {
        take: ({ id, payload }, socket) => {
          if (!isAcknowledging) return;
          got.add(Number(payload.toString()));
          socket.write(wire.acknowledge('PUBACK', id));
        },
      },
      cleanups,
    );
    const config = (queue: string): string => `version: 1
gateway: { id: p7 }
broker: { anonymous: true, store: memory, listeners: [{ protocol: mqtt, host: 127.0.0.1, port: 0 }] }
uplinks:
  cloud: { nodes: ["${far.url}"], announce: [], out: [{ from: "a/#" }], queue: { per_topic: 100${queue} } }
`;
    const daemon = new Daemon(config(''));
    cleanups.push(() => daemon.remove());
    await daemon.start();
    await until('the uplink', () => daemon.logged('uplink connected').length === 1);
    const client = await connectAsync(`mqtt://127.0.0.1:${daemon.port()}`, { reconnectPeriod: 0 });
    cleanups.push(() => client.endAsync(true));
    const acknowledged: number[] = [];
    let next = 0;
    let isPublishing = true;
    const publish = (): void => {
      const number = next++;
      client.publish(`a/${number % 5}`, String(number), { qos: 1 }, (error) => {
        if (error) return;
        acknowledged.push(number);
        if (isPublishing) publish();
      });
    };
    for (let i = 0; i < 5; i++) publish();
    await until('acknowledgements', () => acknowledged.length > 100);
    if (changes === null) {
      daemon.signal('SIGTERM');
      assert.equal(await daemon.exited(), 0);
      await daemon.start();
    } else {
      writeFileSync(daemon.configFile, config(changes));
      daemon.signal('SIGHUP');
      await until('the reload', () => daemon.logged('the config was applied').length === 1);
      const before = acknowledged.length;
      await until('more acknowledgements', () => acknowledged.length > before + 100);
      isPublishing = false;
    }
    isAcknowledging = true;
    // What it was sent before is lost with the connection; the gateway would wait for it for ten seconds first.
    far.hangUp();
    await until('all that was acknowledged', () => acknowledged.every((number) => got.has(number)), 30_000);
  });
}

test('a command from the far side is told with the uplink as its author, who gets no right to answers elsewhere', async (t) => {
  const cleanups: (() => unknown)[] = [];
  t.after(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  });
  const plant = await SimulatedPlant.start({
    buses: [{ name: 'plc', link: { kind: 'tcp' }, units: [{ unitId: 1, values: [COUNTER] }] }],
  });
  cleanups.push(() => plant.stop());
  const { port } = await socketOf(plant, 'plc');
  const far = await FarSide.create(cleanups);
  await far.start();
  const daemon = new Daemon(
    configOf(port, far.url).replace('report: always', 'report: always, write: true').replace(
      'anonymous: true',
      'anonymous: true\n  access: [{ allow: [read], topic: "#" }, { allow: [write], topic: "answers/#" }]',
    ) + '    in: [{ from: "orders/press/count", to: "holdfast/p7/set/press/count" }]\n', // prettier-ignore
  );
  cleanups.push(async () => {
    await daemon.stop();
    await daemon.remove();
  });
  await daemon.start();
  const here = await connectAsync(`mqtt://127.0.0.1:${daemon.port()}`, { protocolVersion: 5 });
  cleanups.push(() => here.endAsync(true));
  const got: { topic: string; text: string }[] = [];
  here.on('message', (topic, payload) => got.push({ topic, text: payload.toString() }));
  await here.subscribeAsync('#', { qos: 1 });
  await until('the uplink and a value', () => got.some(({ topic }) => topic.endsWith('data/press/count')));
  const there = await far.client();
  const order = async (responseTopic: string): Promise<void> => {
    const properties = { responseTopic };
    await there.publishAsync('orders/press/count', '55', { qos: 1, properties });
  };
  await until('the subscription of the uplink', () => daemon.logged(/uplink connected/).length > 0);

  await order('answers/press');
  const answers = (topic: string) => got.filter((one) => one.topic === topic);
  await until('an answer where the uplink may publish', () => answers('answers/press').length === 1);
  await order('plant/secret');
  await until('an answer where answers go', () => answers('holdfast/p7/ack/press/count').length === 1);
  assert.equal(answers('plant/secret').length, 0);
  const told = await until('both orders to be told', () => {
    const events = answers('holdfast/p7/event/write');
    return events.length === 2 ? events : null;
  });
  for (const { text } of told) {
    const { client, address } = JSON.parse(text) as { client: string; address: string };
    assert.deepEqual([client, address], ['uplink:cloud', far.url]);
  }
});

test('what one uplink brings in, another one takes out, but for what is larger than this gateway takes', async (t) => {
  const cleanups: (() => unknown)[] = [];
  t.after(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  });
  const [from, to] = [await FarSide.create(cleanups), await FarSide.create(cleanups)];
  await Promise.all([from.start(), to.start()]);
  const daemon = new Daemon(`version: 1
gateway: { id: p7 }
broker:
  anonymous: true
  store: memory
  listeners: [{ protocol: mqtt, host: 127.0.0.1, port: 0 }]
  limits: { max_packet_size: 64KiB }
uplinks:
  site: { nodes: ["${from.url}"], announce: [], in: [{ from: "a/#" }], out: [{ from: "a/#" }] }
  cloud: { nodes: ["${to.url}"], announce: [], in: [{ from: "a/#" }], out: [{ from: "a/#" }] }
`);
  cleanups.push(() => daemon.remove());
  await daemon.start();
  const [publisher, subscriber] = [await from.client(), await to.client()];
  const got: string[] = [];
  subscriber.on('message', (topic) => got.push(topic));
  await subscriber.subscribeAsync('a/#', { qos: 1 });
  await until('a message on the other side', async () => {
    await publisher.publishAsync('a/b', '1', { qos: 1 });
    return got.includes('a/b');
  });
  await publisher.publishAsync('a/large', Buffer.alloc(100_000), { qos: 1 });
  await publisher.publishAsync('a/end', '1', { qos: 1 });
  await until('the last', () => got.includes('a/end'));
  assert.ok(!got.includes('a/large'));
});

const COUNTER = {
  table: 'holding-register',
  address: 0,
  quantity: 1,
  script: 'counter',
  type: 'uint16',
  order: 'ABCD',
  min: 0,
  max: 60_000,
  periodMs: 60_000,
} as const;

const configOf = (port: number, url: string): string => `version: 1
gateway: { id: p7 }
broker:
  listeners: [{ protocol: mqtt, host: 127.0.0.1, port: 0 }]
  anonymous: true
  store: memory
buses:
  plc: { protocol: tcp, host: 127.0.0.1, port: ${port} }
devices:
  press:
    bus: plc
    unit_id: 1
    tags:
      count: { holding: 0, type: uint16, rate: 100ms, report: always }
uplinks:
  cloud:
    nodes: [${url}]
    status_topic: plants-status/p7
    out: [{ from: "holdfast/p7/data/#", to: "plants/p7/data/#", retain: never }]
    queue: { sync: commit }
`;
