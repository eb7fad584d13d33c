/** Limits that nothing but an attack reaches, each shown where it bites. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect as connectSocket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { Broker, type BrokerOptions } from '../../src/broker/broker.js';
import { MemoryStore } from '../../src/store/memory.js';
import { startBroker, type TestBroker } from '../support/broker.js';
import { MqttClient } from '../support/mqttclient.js';
import { until } from '../support/wait.js';
import * as wire from '../support/wire.js';

const QUOTA_EXCEEDED = 0x97;

async function start(context: TestContext, options: Partial<BrokerOptions>): Promise<TestBroker> {
  const broker = await startBroker(options);
  context.after(() => broker.close());
  return broker;
}

async function enter(context: TestContext, { mqtt }: TestBroker, clientId: string): Promise<MqttClient> {
  const client = await MqttClient.open(mqtt, 5);
  context.after(() => client.socket.destroy());
  client.send(wire.connect({ version: 5, clientId, properties: [[wire.PROPERTY.sessionExpiry, 60]] }));
  assert.deepEqual((await client.next('CONNACK')).codes, [0]);
  return client;
}

test('subscriptions, retained messages and sessions beyond the limit are refused with their code, what is there stays', async (context) => {
  const limits = { maxSubscriptionsPerClient: 2, maxRetainedMessages: 1, maxSessions: 2 };
  const broker = await start(context, { limits, systemIntervalMs: 0 });
  const client = await enter(context, broker, 'one');
  client.send(
    wire.subscribe(
      5,
      1,
      ['a', 'b', 'c', 'a'].map((filter) => [filter, 0] as const),
    ),
  );
  assert.deepEqual((await client.next('SUBACK')).codes, [0, 0, QUOTA_EXCEEDED, 0]);
  for (const [id, topic, code] of [
    [1, 'kept/1', 0],
    [2, 'kept/2', QUOTA_EXCEEDED],
    [3, 'kept/1', 0],
  ] as const) {
    client.send(wire.publish(5, { topic, payload: 'x', qos: 1, retain: true, id }));
    const { codes } = await client.next('PUBACK');
    assert.equal(codes[0] === 0x10 ? 0 : (codes[0] ?? 0), code, topic);
  }
  await enter(context, broker, 'two');
  const third = await MqttClient.open(broker.mqtt, 5);
  third.send(wire.connect({ version: 5, clientId: 'three' }));
  assert.deepEqual((await third.next('CONNACK')).codes, [QUOTA_EXCEEDED]);
});

test('topics and filters of more levels than allowed are refused', async (context) => {
  const broker = await start(context, { limits: { maxTopicLevels: 3 } });
  const client = await enter(context, broker, 'deep');
  client.send(wire.subscribe(5, 1, [['a/b/c', 0]]));
  assert.deepEqual((await client.next('SUBACK')).codes, [0]);
  client.send(wire.publish(5, { topic: 'a/b/c/d', payload: 'x', qos: 1, id: 1 }));
  await until('the end of the connection', () => client.isClosed);
});

test('who does not read what he asked for is not read from', async (context) => {
  const { broker, mqtt } = await start(context, {});
  assert.ok(broker !== null);
  const socket = connectSocket(mqtt.port, mqtt.host);
  context.after(() => socket.destroy());
  socket.write(wire.connect({ version: 4, clientId: 'deaf', keepAliveS: 0 }));
  await new Promise((resolve) => socket.once('data', resolve));
  socket.pause();
  const pings = Buffer.concat(Array.from({ length: 32_768 }, () => wire.PINGREQ));
  for (let count = 0; count < 2000; count += 1) socket.write(pings);
  let received = -1;
  await until(
    'the broker to stop reading',
    async () => {
      const before = broker.counters.bytesReceived.value;
      await new Promise((resolve) => setTimeout(resolve, 500));
      received = broker.counters.bytesReceived.value;
      return received === before;
    },
    30_000,
  );
  assert.ok(received < 40_000_000, `${received} bytes were read`);
});

test('no TLS below 1.2', async (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-tls-'));
  const [key, cert] = [join(folder, 'key'), join(folder, 'cert')];
  execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=localhost', '-keyout', key, '-out', cert], { stdio: 'ignore' }); // prettier-ignore
  const broker = new Broker({ store: new MemoryStore(), anonymous: true, systemIntervalMs: 0 });
  await broker.open();
  context.after(async () => {
    await broker.close();
    rmSync(folder, { recursive: true });
  });
  const tls = { cert, key, clientCa: null, requireClientCert: false };
  const { url } = await broker.openListener({ protocol: 'mqtts', host: '127.0.0.1', port: 0, path: '', tls, anonymous: null }); // prettier-ignore
  const versionWith = (maxVersion: 'TLSv1.1' | 'TLSv1.2'): Promise<string | null> =>
    new Promise((resolve) => {
      const options = {
        minVersion: 'TLSv1',
        maxVersion,
        ciphers: 'DEFAULT@SECLEVEL=0',
        rejectUnauthorized: false,
      } as const;
      const socket = connectTls({ port: Number(new URL(url).port), host: '127.0.0.1', ...options });
      socket.on('secureConnect', () => {
        resolve(socket.getProtocol());
        socket.destroy();
      });
      socket.on('error', () => resolve(null));
    });
  assert.equal(await versionWith('TLSv1.2'), 'TLSv1.2');
  assert.equal(await versionWith('TLSv1.1'), null);
});
