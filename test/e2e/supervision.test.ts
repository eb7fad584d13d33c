/** What the machine does to the daemon: no descriptors left, a clock that is wrong and then set, a log that nobody reads. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect as connectSocket, type Socket } from 'node:net';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { connect, connectAsync, type MqttClient } from 'mqtt';
import { Daemon, script, type DaemonOptions } from '../support/daemon.js';
import { TcpDevice } from '../support/tcpdevice.js';
import { until } from '../support/wait.js';

const configOf = (devicePort: number): string => `version: 1
gateway: { id: gw }
broker: { listeners: [{ protocol: mqtt, host: 127.0.0.1, port: 0 }], anonymous: true }
buses: { plc: { protocol: tcp, host: 127.0.0.1, port: ${devicePort} } }
devices: { dut: { bus: plc, unit_id: 1, rate: 100ms, report: always, tags: { t0: { holding: 0 } } } }
`;

async function start(context: TestContext, options: DaemonOptions): Promise<Daemon> {
  const device = await new TcpDevice().start();
  const daemon = new Daemon(configOf(device.port), options);
  context.after(async () => {
    await daemon.remove();
    await device.stop();
  });
  return daemon.start();
}

async function enter(
  context: TestContext,
  daemon: Daemon,
  clientId: string,
  clean = true,
): Promise<MqttClient> {
  const client = await connectAsync(`mqtt://127.0.0.1:${daemon.port()}`, {
    clientId,
    clean,
    protocolVersion: 5,
    properties: { sessionExpiryInterval: clean ? 0 : 3600 },
    reconnectPeriod: 0,
  });
  context.after(() => client.endAsync(true));
  return client;
}

test('without descriptors clients that are in go on, messages are kept, and others come in once there are some', async (context) => {
  const daemon = await start(context, { descriptors: 256 });
  const away = await enter(context, daemon, 'away', false);
  await away.subscribeAsync('kept/#', { qos: 1 });
  await away.endAsync();
  const client = await enter(context, daemon, 'inside');
  const flood: Socket[] = Array.from({ length: 500 }, () => connectSocket(daemon.port(), '127.0.0.1'));
  context.after(() => flood.forEach((socket) => socket.destroy()));
  let closed = 0;
  for (const socket of flood) socket.on('error', () => {}).on('close', () => (closed += 1));
  await until('those beyond the limit to be turned away', () => closed > 300);
  for (let count = 0; count < 200; count += 1)
    await client.publishAsync('kept/a', 'x'.repeat(100_000), { qos: 1 });
  assert.deepEqual(
    daemon.log.filter(({ level }) => level === 'error'),
    [],
  );
  for (const socket of flood) socket.destroy();
  const late = await until('a place', () => enter(context, daemon, 'late').catch(() => null));
  assert.ok(late.connected);
  assert.equal(await daemon.stop(), 0);
});

test('visitors of the page take no descriptors from the store and the lines', async (context) => {
  const device = await new TcpDevice().start();
  const config = `${configOf(device.port)}web: { host: 127.0.0.1, port: 0 }\n`;
  const daemon = new Daemon(config, { descriptors: 256 });
  context.after(async () => {
    await daemon.remove();
    await device.stop();
  });
  await daemon.start();
  const client = await enter(context, daemon, 'inside');
  const visitors = Array.from({ length: 400 }, () => connectSocket(daemon.port('http'), '127.0.0.1'));
  context.after(() => visitors.forEach((socket) => socket.destroy()));
  let closed = 0;
  for (const socket of visitors) socket.on('error', () => {}).on('close', () => (closed += 1));
  await until('those beyond their share to be turned away', () => closed > 300);
  await client.publishAsync('kept/a', 'x'.repeat(100_000), { qos: 1, retain: true });
  await enter(context, daemon, 'late');
  assert.deepEqual(
    daemon.log.filter(({ level }) => level === 'error'),
    [],
  );
  assert.equal(await daemon.stop(), 0);
});

test('a boot in 1970: values are uncertain until the clock is set, and nobody loses a session or a message by that', async (context) => {
  const library = readdirSync('/usr/lib')
    .map((folder) => join('/usr/lib', folder, 'faketime/libfaketimeMT.so.1'))
    .find(existsSync);
  assert.ok(library !== undefined, 'the package faketime is not installed');
  const device = await new TcpDevice().start();
  const daemon = new Daemon(configOf(device.port), {
    env: {},
    files: { clock: '@1970-01-01 00:05:00\n' },
  });
  daemon.env['LD_PRELOAD'] = library;
  daemon.env['FAKETIME_TIMESTAMP_FILE'] = join(daemon.folder, 'clock');
  daemon.env['FAKETIME_NO_CACHE'] = '1';
  daemon.env['FAKETIME_DONT_FAKE_MONOTONIC'] = '1';
  context.after(async () => {
    await daemon.remove();
    await device.stop();
  });
  await daemon.start();
  const url = `mqtt://127.0.0.1:${daemon.port()}`;
  const kept = {
    clientId: 'away',
    clean: false,
    protocolVersion: 5,
    properties: { sessionExpiryInterval: 600 },
  } as const;
  const away = await connectAsync(url, kept);
  await away.subscribeAsync('kept/#', { qos: 1 });
  await away.endAsync();
  const client = await enter(context, daemon, 'inside');
  await client.publishAsync('kept/a', 'x', { qos: 1, properties: { messageExpiryInterval: 600 } });
  const seen: { q: string; e?: string; t: number }[] = [];
  // Our own payloads.
  client.on('message', (_topic, payload) =>
    seen.push(JSON.parse(payload.toString()) as (typeof seen)[number]),
  );
  await client.subscribeAsync('holdfast/gw/data/dut/t0');
  const early = await until('a value', () => seen.at(-1));
  assert.deepEqual([early.q, early.e], ['uncertain', 'clock']);

  writeFileSync(join(daemon.folder, 'clock'), '+0\n');
  await until('a good value', () => seen.at(-1)?.q === 'good');
  assert.ok(Math.abs((seen.at(-1)?.t ?? 0) - Date.now()) < 5000);
  const messages: string[] = [];
  const back = connect(url, { ...kept, manualConnect: true });
  back.on('message', (_topic, payload) => messages.push(payload.toString()));
  back.connect();
  context.after(() => back.endAsync(true));
  await until('what was queued before the jump', () => messages.length > 0);
  assert.ok(client.connected);
});

test('a log that nobody reads holds up nothing', async (context) => {
  const daemon = await start(context, { args: ['--log-level', 'debug'] });
  daemon.stopReading();
  for (let index = 0; index < 300; index += 1) {
    const client = await connectAsync(`mqtt://127.0.0.1:${daemon.port()}`, {
      clientId: `${'x'.repeat(400)}${index}`,
    });
    await client.endAsync(true);
  }
  const client = await enter(context, daemon, 'inside');
  const beganMs = performance.now();
  await client.publishAsync('a', 'x', { qos: 1 });
  assert.ok(performance.now() - beganMs < 2000);
  assert.ok(/State:\s+[SR]/.test(readFileSync(`/proc/${daemon.pid}/status`, 'utf8')));
});

test('SIGTERM under load ends within five seconds, and what was acknowledged is there afterwards', async (context) => {
  const daemon = await start(context, {});
  const away = await enter(context, daemon, 'away', false);
  await away.subscribeAsync('kept/#', { qos: 1 });
  await away.endAsync();
  const acknowledged = new Set<string>();
  const writers = await Promise.all([0, 1, 2].map((index) => enter(context, daemon, `writer${index}`)));
  let number = 0;
  const pump = (client: MqttClient): void => {
    const text = String(number++);
    client.publish('kept/a', text, { qos: 1 }, (error) => {
      if (error) return;
      acknowledged.add(text);
      if (client.connected) pump(client);
    });
  };
  for (const client of writers) for (let count = 0; count < 50; count += 1) pump(client);
  await until('some thousand messages', () => acknowledged.size > 3000);
  const beganMs = performance.now();
  assert.equal(await daemon.stop(), 0);
  assert.ok(performance.now() - beganMs < 5000);

  await daemon.start();
  const back = await enter(context, daemon, 'away', false);
  back.on('message', (_topic, payload) => acknowledged.delete(payload.toString()));
  await until('every one of them', () => acknowledged.size === 0, 20_000);
});

test('a listener whose address comes after the start is opened then; everything else runs meanwhile', async (context) => {
  // In a network of its own the address can be missing, and come.
  const comes =
    'ip link set lo up; (while [ -d "${COMES%/*}" ] && [ ! -e "$COMES" ]; do sleep 0.05; done; ip addr add 192.0.2.7/32 dev lo) > /dev/null 2>&1 &';
  const daemon = new Daemon(
    `version: 1
gateway: { id: gw }
broker:
  listeners: [{ protocol: mqtt, host: 192.0.2.7, port: 1883 }, { protocol: unix, path: mqtt.sock }]
  anonymous: true
  anonymous_beyond_loopback: true
  store: memory
buses: { plc: { protocol: tcp, host: 127.0.0.1, port: 502 } }
devices: { dut: { bus: plc, unit_id: 1, rate: 100ms, tags: { t0: { holding: 0 } } } }
`,
    { machine: ['unshare', '-rn', ...script(comes)] },
  );
  daemon.env['COMES'] = join(daemon.folder, 'comes');
  context.after(() => daemon.remove());
  daemon.spawn();
  const complaint = await until('the complaint', () => daemon.logged('listener cannot be opened')[0]);
  assert.match(String(complaint['error']), /EADDRNOTAVAIL/);
  const client = connect(`mqtt+unix://${join(daemon.folder, 'mqtt.sock')}`, { reconnectPeriod: 100 });
  context.after(() => client.endAsync(true));
  const seen: string[] = [];
  client.on('message', (_topic, payload) => seen.push(payload.toString()));
  client.on('error', () => {});
  client.on('connect', () => client.subscribe(['holdfast/gw/data/dut/t0', 'x']));
  // Nobody answers there: that is told, too.
  await until('what the poller says', () => seen.some((one) => one.includes('"q":"bad"')));
  assert.deepEqual(daemon.logged('ready'), []);
  writeFileSync(join(daemon.folder, 'comes'), '');
  await until('the listener', () => daemon.logged('listener is open now').length === 1, 15_000);
  await until('the ready line', () => daemon.listeners.includes('mqtt://192.0.2.7:1883'));
});
