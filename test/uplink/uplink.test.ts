import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect as connectSocket, createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, test } from 'node:test';
import { connectAsync, type MqttClient } from 'mqtt';
import { Broker } from '../../src/broker/broker.js';
import { systemClock } from '../../src/clock.js';
import { silentLog } from '../../src/log.js';
import { Metrics } from '../../src/metrics.js';
import { systemFiles } from '../../src/store/files.js';
import { MemoryStore } from '../../src/store/memory.js';
import { UplinkQueue } from '../../src/uplink/queue.js';
import { Uplink, type UplinkOptions } from '../../src/uplink/uplink.js';
import { until } from '../support/wait.js';

const root = mkdtempSync(join(tmpdir(), 'holdfast-uplink-'));
after(() => rmSync(root, { recursive: true, force: true }));
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});
let folders = 0;

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** Debian's mosquitto as the far side; it may be stopped and started again on its port. */
class FarSide {
  readonly port: number;
  #process: ChildProcess | null = null;

  constructor(port: number) {
    this.port = port;
    cleanups.push(() => this.stop());
  }

  get url(): string {
    return `mqtt://127.0.0.1:${this.port}`;
  }

  async start(): Promise<void> {
    const config = join(root, `mosquitto-${this.port}.conf`);
    writeFileSync(
      config,
      `listener ${this.port} 127.0.0.1\nallow_anonymous true\npersistence false\nmax_queued_messages 0\n`,
    );
    this.#process = spawn('mosquitto', ['-c', config], { stdio: 'ignore' });
    await until('mosquitto to listen', async () => {
      const socket = connectSocket(this.port, '127.0.0.1');
      const isOpen = await Promise.race([
        once(socket, 'connect').then(() => true),
        once(socket, 'error').then(() => false),
      ]).catch(() => false);
      socket.destroy();
      return isOpen;
    });
  }

  async stop(): Promise<void> {
    const child = this.#process;
    this.#process = null;
    if (child === null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }

  async client(): Promise<MqttClient> {
    const client = await connectAsync(this.url, { protocolVersion: 5, reconnectPeriod: 0 });
    cleanups.push(() => client.endAsync(true));
    return client;
  }
}

interface Gateway {
  readonly broker: Broker;
  readonly uplink: Uplink;
  readonly queueFolder: string;
}

async function newGateway(
  options: Partial<UplinkOptions> & { nodes: readonly string[] },
  queueFolder = join(root, String(++folders)),
): Promise<Gateway> {
  const broker = new Broker({ store: new MemoryStore(), systemIntervalMs: 0 });
  await broker.open();
  const queue = new UplinkQueue({
    folder: queueFolder,
    maxBytes: 64 << 20,
    maxAgeMs: 0,
    drop: 'oldest',
    sync: 'interval',
    files: systemFiles,
    clock: systemClock,
    log: silentLog,
    metrics: new Metrics(),
  });
  await queue.open();
  const uplink = new Uplink(
    {
      name: 'cloud',
      remote: {
        version: '5',
        clientId: `p7-cloud-${folders}`,
        user: null,
        password: null,
        keepAliveS: 10,
        cleanStart: options.in === undefined,
        sessionExpiryS: 60,
        tls: null,
      },
      out: [{ from: 'p7/data/#', to: 'plants/p7/data/#', qos: 1, retain: 'never' }],
      in: [],
      announce: [],
      statusTopic: null,
      gatewayId: 'p7',
      drainPerS: Infinity,
      order: 'oldest-first',
      ...options,
    },
    { local: broker, queue, clock: systemClock, log: silentLog, changed: () => {} },
  );
  uplink.start();
  cleanups.push(async () => {
    await uplink.stop();
    await broker.close();
  });
  return { broker, uplink, queueFolder };
}

function say(broker: Broker, topic: string, text: string, retain = false): void {
  broker.publish({ topic, payload: Buffer.from(text), qos: 1, retain, sender: null });
}

async function listen(client: MqttClient, filter: string): Promise<{ topic: string; text: string }[]> {
  const got: { topic: string; text: string }[] = [];
  client.on('message', (topic, payload) => got.push({ topic, text: payload.toString() }));
  await client.subscribeAsync(filter, { qos: 1 });
  return got;
}

test('what was queued while the far side was away arrives, all of it and in order', async () => {
  const far = new FarSide(await freePort());
  const { broker, uplink } = await newGateway({ nodes: [far.url] });
  for (let i = 0; i < 5000; i++) say(broker, `p7/data/meter${i % 5}/power`, String(i));
  await until('the queue to hold them', () => uplink.about().queuedMessages === 5000);
  await far.start();
  const got = await listen(await far.client(), 'plants/#');
  await until('all to arrive', () => got.length >= 5000);
  for (let i = 5000; i < 5100; i++) say(broker, `p7/data/meter${i % 5}/power`, String(i));
  await until('the live ones', () => got.length >= 5100);
  assert.deepEqual(
    got.map(({ text }) => Number(text)),
    Array.from({ length: 5100 }, (_none, i) => i),
  );
  assert.equal(got[7]?.topic, 'plants/p7/data/meter2/power');
  await until('an empty queue', () => uplink.about().queuedMessages === 0);
});

test('a far side killed in the middle costs nothing: each message arrives, in order, at least once', async () => {
  const far = new FarSide(await freePort());
  await far.start();
  const { broker, uplink } = await newGateway({ nodes: [far.url] });
  const values: number[] = [];
  let sent = 0;
  for (let round = 0; round < 3; round++) {
    const got = await listen(await far.client(), 'plants/#');
    await until('the uplink', () => uplink.about().isConnected);
    for (let i = 0; i < 2000; i++) say(broker, 'p7/data/meter/power', String(sent++));
    // Before the last round is killed, everything must have come.
    const wanted = round < 2 ? 100 : sent - Math.max(-1, ...values) - 1;
    await until('messages', () => new Set(got.map(({ text }) => text)).size >= wanted, 20_000);
    if (round < 2) await far.stop();
    values.push(...got.map(({ text }) => Number(text)));
    if (round < 2) await far.start();
  }
  await until('an empty queue', () => uplink.about().queuedMessages === 0);
  // mosquitto keeps nothing, so what it took in the instant it was killed may be gone; what our subscriber saw is in order.
  for (let i = 1; i < values.length; i++) assert.ok((values[i] ?? 0) <= (values[i - 1] ?? 0) + 2001);
  assert.equal(values.at(-1), sent - 1);
});

test('nodes are tried in turn until one answers', async () => {
  const far = new FarSide(await freePort());
  await far.start();
  const dead = await freePort();
  const { uplink } = await newGateway({ nodes: [`mqtt://127.0.0.1:${dead}`, far.url] });
  await until('the uplink', () => uplink.about().isConnected);
  assert.equal(uplink.about().node, far.url);
});

test('in and out on the same topics make no loop', async () => {
  const far = new FarSide(await freePort());
  await far.start();
  const both = [{ from: 'shared/#', to: 'shared/#', qos: 1 as const, retain: 'keep' as const }];
  const { broker, uplink } = await newGateway({ nodes: [far.url], out: both, in: both });
  const client = await far.client();
  const atFar = await listen(client, 'shared/#');
  const atHome: string[] = [];
  broker.subscribe('shared/#', {
    deliver: (message) => atHome.push(Buffer.from(message.payload).toString()),
  });
  await until('the uplink', () => uplink.about().isConnected);
  say(broker, 'shared/a', 'from home');
  await until('it at the far side', () => atFar.length === 1);
  await until('the uplink to be subscribed', async () => {
    await client.publishAsync('shared/a', 'from afar', { qos: 1 });
    return atHome.length > 1;
  });
  await until('an empty queue', () => uplink.about().queuedMessages === 0);
  say(broker, 'shared/a', 'the end');
  await until('the end', () => atFar.at(-1)?.text === 'the end');
  assert.equal(atHome.filter((text) => text === 'from home').length, 1);
  assert.equal(atFar.filter(({ text }) => text === 'from home').length, 1);
  assert.ok(atHome.includes('from afar'));
});

test('status is announced on each connection, with offline as the will', async () => {
  const far = new FarSide(await freePort());
  await far.start();
  const client = await far.client();
  const got = await listen(client, 'plants/p7/status');
  const { uplink } = await newGateway({ nodes: [far.url], statusTopic: 'plants/p7/status' });
  await until('online', () => got.at(-1)?.text === 'online');
  await uplink.stop();
  await until('offline', () => got.at(-1)?.text === 'offline');
});

test('retained topics that are announced are there again after the far side forgot them', async () => {
  const far = new FarSide(await freePort());
  const out = [{ from: 'p7/data/#', to: 'plants/p7/data/#', qos: 1 as const, retain: 'keep' as const }];
  const { broker } = await newGateway({ nodes: [far.url], out, announce: ['p7/data/press/#'] });
  say(broker, 'p7/data/press/state', 'ready', true);
  for (let round = 0; round < 2; round++) {
    await far.start();
    const got = await listen(await far.client(), 'plants/#');
    await until('the announcement', () => got.some(({ text }) => text === 'ready'));
    await far.stop();
  }
});
