/** The payload forms that a rule may choose, one uplink with all of them, and what the gateway says of its queue. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test, type TestContext } from 'node:test';
import { connectAsync } from 'mqtt';
import { SimulatedPlant } from '../../src/simulator/plant.js';
import { Daemon } from '../support/daemon.js';
import { FarSide } from '../support/farside.js';
import { socketOf } from '../support/plant.js';
import { until } from '../support/wait.js';

function cleanupsOf(t: TestContext): (() => unknown)[] {
  const cleanups: (() => unknown)[] = [];
  t.after(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  });
  return cleanups;
}

test('one uplink sends the same values in every form, with messages on connect, as a heartbeat and of a silent device', async (t) => {
  const cleanups = cleanupsOf(t);
  const plant = await SimulatedPlant.start({
    buses: [{ name: 'plc', link: { kind: 'tcp' }, units: [{ unitId: 1, values: VALUES }] }],
  });
  cleanups.push(() => plant.stop());
  const { port } = await socketOf(plant, 'plc');
  const far = await FarSide.create(cleanups);
  await far.start();
  const got = new Map<string, string[]>();
  const client = await far.client();
  client.on('message', (topic, payload) => {
    got.set(topic, [...(got.get(topic) ?? []), payload.toString()]);
  });
  await client.subscribeAsync('#', { qos: 1 });
  const daemon = new Daemon(configOf(port, far.url));
  cleanups.push(() => daemon.remove());
  await daemon.start();
  const first = (topic: string): Promise<string> =>
    until(`${topic} among ${[...got.keys()].join(' ')}`, () => got.get(topic)?.[0], 20_000);
  const read = async (topic: string): Promise<unknown> => JSON.parse(await first(topic));

  const published = (await read('default/press/power')) as { v: number; q: string; t: number };
  assert.deepEqual([published.v, published.q], [21.4, 'good']);
  assert.equal(await first('raw/press/power'), '21.4');
  const batch = (await read('batch/press')) as { device: string; v: object; q: string; t: number };
  assert.deepEqual([batch.device, batch.v, batch.q], ['press', { power: 21.4, count: 7 }, 'good']);
  const [telemetry] =
    ((await read('v1/gateway/telemetry')) as Record<string, { ts: number; values: object }[]>)['press'] ?? [];
  assert.deepEqual(telemetry?.values, { power: 21.4, count: 7 });
  assert.ok(Number(telemetry?.ts) > 1.7e12);
  assert.deepEqual(await read('template/power'), { value: 21.4, name: 'press/power', plant: 'north' });
  assert.deepEqual(await read('said/connect'), { gateway: 'p7', plant: 'north' });
  await until('heartbeats', () => (got.get('said/alive')?.length ?? 0) >= 2, 20_000);
  assert.equal(got.get('said/alive')?.[0], 'north is alive');
  assert.equal(got.get('said/offline'), undefined);
  await plant.setFaults('plc', 1, [{ name: 'dead' }]);
  const alarm = (await read('said/offline')) as { device: string; error: string };
  assert.equal(alarm.device, 'press');
  assert.match(alarm.error, /\w/);
  await plant.setFaults('plc', 1, []);
  await until('the device to be back', () => (got.get('said/online')?.length ?? 0) >= 2, 30_000);
});

test('what a full queue drops is counted in req/uplinks and in the metrics, and told in the log', async (t) => {
  const cleanups = cleanupsOf(t);
  const far = await FarSide.create(cleanups);
  const daemon = new Daemon(`version: 1
gateway: { id: p7 }
broker: { anonymous: true, store: memory, listeners: [{ protocol: mqtt, host: 127.0.0.1, port: 0 }] }
web: { host: 127.0.0.1, port: 0 }
uplinks:
  cloud: { nodes: ["${far.url}"], announce: [], out: [{ from: "a/#" }], queue: { max_bytes: 4MiB } }
`);
  cleanups.push(() => daemon.remove());
  await daemon.start();
  const client = await connectAsync(`mqtt://127.0.0.1:${daemon.port()}`, { reconnectPeriod: 0 });
  cleanups.push(() => client.endAsync(true));
  const answers: { queuedMessages: number; dropped: number }[] = [];
  client.on('message', (_topic, payload) => {
    const { data } = JSON.parse(payload.toString()) as { data: { uplinks: typeof answers } };
    answers.push(...data.uplinks);
  });
  await client.subscribeAsync('holdfast/p7/res/uplinks', { qos: 1 });
  const said = 2000;
  for (let i = 0; i < said; i++)
    await client.publishAsync('a/b', `${i}:${randomBytes(3000).toString('base64')}`, { qos: 1 });
  await client.publishAsync('holdfast/p7/req/uplinks', '{}', { qos: 1 });
  const about = await until('the answer', () => answers[0]);
  assert.ok(about.dropped > 0);
  assert.equal(about.queuedMessages + about.dropped, said);
  assert.equal(daemon.logged(/the uplink queue drops messages/).length, 1);
  const metrics = await (await fetch(`http://127.0.0.1:${daemon.port('http')}/metrics`)).text();
  assert.match(
    metrics,
    new RegExp(`^holdfast_uplink_dropped_messages\\{uplink="cloud"\\} ${about.dropped}$`, 'm'),
  );

  // What leaves before there is a subscriber would be told to nobody.
  daemon.signal('SIGSTOP');
  await far.start();
  const got: number[] = [];
  const listener = await far.client();
  listener.on('message', (_topic, payload) => got.push(Number.parseInt(payload.toString(), 10)));
  await listener.subscribeAsync('a/#', { qos: 1 });
  daemon.signal('SIGCONT');
  await until('what was kept', () => got.length >= about.queuedMessages, 60_000);
  assert.deepEqual(
    got,
    Array.from({ length: about.queuedMessages }, (_none, i) => about.dropped + i),
    'the oldest went',
  );
});

const VALUES = [
  { table: 'holding-register', address: 0, quantity: 1, script: 'fixed', hex: '00d6' },
  { table: 'holding-register', address: 1, quantity: 1, script: 'fixed', hex: '0007' },
] as const;

const configOf = (port: number, url: string): string => `version: 1
gateway: { id: p7 }
broker: { anonymous: true, store: memory, listeners: [{ protocol: mqtt, host: 127.0.0.1, port: 0 }] }
buses:
  plc: { protocol: tcp, host: 127.0.0.1, port: ${port}, timeout: 200ms }
devices:
  press:
    bus: plc
    unit_id: 1
    rate: 200ms
    report: always
    tags:
      power: { holding: 0, type: int16, scale: 0.1 }
      count: { holding: 1, type: uint16 }
uplinks:
  plain:
    nodes: ["${url}"]
    client_id: plain
    announce: []
    out: [{ from: "{base}/{gateway}/data/#", to: "default/#" }]
  raw:
    nodes: ["${url}"]
    announce: []
    out: [{ from: "{base}/{gateway}/data/#", to: "raw/#", payload: raw }]
  batch:
    nodes: ["${url}"]
    announce: []
    out: [{ from: "{base}/{gateway}/data/#", to: "batch/{device}", payload: batch }]
  board:
    nodes: ["${url}"]
    announce: []
    out: [{ from: "{base}/{gateway}/data/#", to: "v1/gateway/telemetry", payload: thingsboard }]
  template:
    nodes: ["${url}"]
    announce: []
    variables: { plant: north }
    messages:
      - { when: connect, to: said/connect, payload: { gateway: "{gateway}", plant: "{plant}" } }
      - { every: 1s, to: said/alive, payload: "{plant} is alive" }
      - { when: device-offline, to: said/offline, payload: { device: "{device}", error: "{error}" } }
      - { when: device-online, to: said/online, payload: "{device}" }
    out:
      - { from: "{base}/{gateway}/data/#", to: "template/{tag}", payload: { value: "{v}", name: "{device}/{tag}", plant: "{plant}" } }
`;
