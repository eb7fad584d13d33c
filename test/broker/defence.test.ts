/** Limits that nothing but an attack reaches, each shown where it bites. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect as connectSocket, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { Broker, type BrokerOptions } from '../../src/broker/broker.js';
import { Connections } from '../../src/broker/connections.js';
import { held } from '../../src/broker/held.js';
import { DEFAULT_LIMITS } from '../../src/broker/limits.js';
import { type Fields, type Log, silentLog } from '../../src/log.js';
import { MemoryStore } from '../../src/store/memory.js';
import { startBroker, type TestBroker } from '../support/broker.js';
import { MqttClient } from '../support/mqttclient.js';
import { until } from '../support/wait.js';
import { encodeFrame, OPCODE } from '../support/websocket.js';
import * as wire from '../support/wire.js';

const QUOTA_EXCEEDED = 0x97;
const upgradeRequest = ['GET /mqtt HTTP/1.1', 'host: 127.0.0.1', 'upgrade: websocket', 'connection: upgrade', 'sec-websocket-version: 13', 'sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==', 'sec-websocket-protocol: mqtt', '', ''].join('\r\n'); // prettier-ignore

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

test('readers who do not keep up are bounded together, not only each', async (context) => {
  const maxMemoryBytes = 512 * 1024 * 1024;
  const { broker, mqtt } = await start(context, { limits: { maxMemoryBytes }, systemIntervalMs: 0 });
  assert.ok(broker !== null);
  const before = held.bytes;
  for (let index = 0; index < 4; index += 1) {
    const slow = connectSocket(mqtt.port, mqtt.host);
    context.after(() => slow.destroy());
    slow.write(wire.connect({ version: 4, clientId: `slow${index}`, keepAliveS: 0 }));
    slow.write(wire.subscribe(4, 1, [['a', 1]]));
    await until('the subscription', () => broker.figures.subscriptionCount === index + 1);
    slow.pause();
  }
  const payload = Buffer.alloc(100_000);
  for (let count = 0; count < 600; count += 1) {
    broker.publish({ topic: 'a', payload, qos: 1, retain: false, sender: null });
    if (count % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  const most = maxMemoryBytes * 0.15 + 4 * 1024 * 1024;
  assert.ok(held.bytes - before < most, `${held.bytes - before} bytes are held`);
  broker.disconnect('slow0');
  for (let index = 1; index < 4; index += 1) broker.disconnect(`slow${index}`);
  await until('all of it to be let go', () => held.bytes <= before, 5000);
});

test('who holds memory by packets that do not end is known by it, those with the most first', async (context) => {
  const { broker, mqtt, webSocket } = await start(context, { systemIntervalMs: 0 });
  assert.ok(broker !== null);
  const limits = new Connections(DEFAULT_LIMITS, 0);
  const sizes = { small: 10_000, none: 0, large: 200_000, web: 100_000 };
  for (const [clientId, size] of Object.entries(sizes)) {
    const isWeb = clientId === 'web';
    const { port, host } = isWeb ? webSocket : mqtt;
    const socket = connectSocket(port, host).resume();
    context.after(() => socket.destroy());
    const packet = wire.connect({ version: 4, clientId });
    if (isWeb) socket.write(upgradeRequest);
    socket.write(isWeb ? encodeFrame(OPCODE.binary, packet) : packet);
    const connection = await until('the client', () => broker.connections.find((one) => one.clientId === clientId)); // prettier-ignore
    limits.add(connection);
    const publish = wire.publish(4, { topic: 'a', payload: Buffer.alloc(size) });
    const message = isWeb ? encodeFrame(OPCODE.binary, publish) : publish;
    socket.write(message.subarray(0, -1));
    const isThere = (): boolean => connection.unendedBytes >= size;
    await until('its part of a packet', isThere);
    if (size > 0) continue;
    socket.write(message.subarray(-1));
    await until('the end of it', () => connection.unendedBytes === 0);
  }
  const beyond = (bytes: number): string[] => limits.unendedBeyond(bytes).map(({ clientId }) => clientId);
  assert.deepEqual(beyond(500_000), []);
  assert.deepEqual(beyond(150_000), ['large']);
  assert.deepEqual(beyond(0), ['large', 'web', 'small']);
});

for (const protocol of ['mqtt', 'ws'] as const) {
  test(`${protocol}: those who are not let in yet are bounded together, and who says little comes in`, async (context) => {
    const limits = { maxMemoryBytes: 256 * 2 ** 20 };
    const mostBytes = 0.15 * limits.maxMemoryBytes;
    const { broker, mqtt, webSocket } = await start(context, { limits, systemIntervalMs: 0 });
    assert.ok(broker !== null);
    const { port, host } = protocol === 'ws' ? webSocket : mqtt;
    const part = Buffer.alloc(250_000);
    const header = Buffer.from([0x10, 0xf0, 0xff, 0x0f]);
    const open = (): Socket => {
      const socket = connectSocket(port, host)
        .resume()
        .on('error', () => {});
      context.after(() => socket.destroy());
      if (protocol === 'ws') socket.write(upgradeRequest);
      return socket;
    };
    const wrapped = (bytes: Buffer): Buffer =>
      protocol === 'ws' ? encodeFrame(OPCODE.binary, bytes) : bytes;
    const ours = wire.connect({ version: 4, clientId: 'modest' });
    const modest = open();
    const halves = wrapped(ours);
    modest.write(halves.subarray(0, 10));
    const mob = Array.from({ length: 250 }, () => {
      const socket = open();
      socket.write(wrapped(Buffer.concat([header, part])).subarray(0, part.length));
      return socket;
    });
    const holdTogether = (): number =>
      broker.connections.reduce((sum, { undecidedBytes }) => sum + undecidedBytes, 0);
    await until('some of them to be cut', () => mob.some((socket) => socket.closed));
    await until('all to have sent or to be gone', () =>
      mob.every(
        (socket) => socket.closed || (socket.bytesWritten >= part.length && socket.writableLength === 0),
      ),
    );
    assert.ok(holdTogether() <= mostBytes, `${holdTogether()} bytes`);
    assert.ok(
      mob.some((socket) => !socket.closed),
      'no more than needed',
    );
    modest.write(halves.subarray(10));
    await until('the modest one', () => broker.connections.some(({ clientId }) => clientId === 'modest'));
  });
}

test('topics of many levels cost what they take: retained by their levels, filters in all', async (context) => {
  const limits = { maxRetainedBytes: 1_000_000, maxRetainedMessages: 3 };
  const broker = await start(context, { limits });
  const client = await enter(context, broker, 'deep');
  const keep = async (topic: string): Promise<number | undefined> => {
    client.send(wire.publish(5, { topic, payload: 'x', qos: 1, retain: true, id: 1 }));
    return (await client.next('PUBACK')).codes[0];
  };
  const deep = '/'.repeat(10_000);
  assert.notEqual(await keep(`a${deep}`), QUOTA_EXCEEDED);
  assert.notEqual(await keep(`b${deep}`), QUOTA_EXCEEDED);
  assert.equal(await keep(`c${deep}`), QUOTA_EXCEEDED, 'its levels are beyond the bytes');
  assert.notEqual(await keep('d'), QUOTA_EXCEEDED, 'what $SYS has does not count');
  assert.equal(await keep('e'), QUOTA_EXCEEDED);
  client.send(wire.publish(5, { topic: `b${deep}`, payload: '', qos: 1, retain: true, id: 1 }));
  await client.next('PUBACK');
  assert.notEqual(await keep(`c${deep}`), QUOTA_EXCEEDED, 'there is room again');
  const codes: number[] = [];
  for (const name of ['a', 'b', 'c']) {
    client.send(wire.subscribe(5, 1, [[`${name}${'/'.repeat(60_000)}`, 0], [`${name}/+`, 0]])); // prettier-ignore
    codes.push(...(await client.next('SUBACK')).codes);
  }
  assert.deepEqual(codes, [0, 0, 0, 0, QUOTA_EXCEEDED, 0]);
  client.send(wire.unsubscribe(5, 1, [`a${'/'.repeat(60_000)}`]));
  await client.next('UNSUBACK');
  client.send(wire.subscribe(5, 1, [[`c${'/'.repeat(60_000)}`, 0]]));
  assert.deepEqual((await client.next('SUBACK')).codes, [0], 'there is room again');
});

test('a filter of many levels is refused as quickly as it is taken, whatever else the client subscribed to', async (context) => {
  const client = await enter(context, await start(context, {}), 'deep');
  const take = async (filters: readonly string[]): Promise<readonly number[]> =>
    (await client.subscribeAll(filters.map((filter) => [filter, 0]))).codes;
  const long = Array.from({ length: 20_000 }, (_, index) => `${'l'.repeat(140)}/${index}`);
  for (let at = 0; at < long.length; at += 1000) await take(long.slice(at, at + 1000));
  const deep = ['a', 'b', 'c'].map((name) => `${name}${'/'.repeat(60_000)}`);
  const more = Array.from({ length: 800 }, (_, index) => `${index}${'/'.repeat(200)}`);
  assert.deepEqual(await take(deep), [0, 0, QUOTA_EXCEEDED]);
  assert.deepEqual(await take(deep), [0, 0, QUOTA_EXCEEDED], 'again is no more');
  const before = process.cpuUsage();
  const codes = await take(more);
  const { user, system } = process.cpuUsage(before);
  assert.ok(codes.includes(QUOTA_EXCEEDED));
  assert.ok(user + system < 1_500_000, `${(user + system) / 1e6} s for one packet`);
  await client.unsubscribe(...deep);
  assert.deepEqual(await take(deep.slice(2)), [0], 'there is room again');
});

test('subscriptions by the thousand that end at one level of the filters go without holding the loop', async (context) => {
  const broker = await start(context, {});
  const client = await enter(context, broker, 'many');
  const shares = Array.from({ length: 40_000 }, (_, index) => `$share/${index}/x`);
  for (let at = 0; at < shares.length; at += 5000)
    await client.subscribeAll(shares.slice(at, at + 5000).map((filter) => [filter, 0]));
  const before = process.cpuUsage();
  await client.unsubscribe(...shares.slice(-10_000));
  client.send(wire.disconnect(5, 0, [[wire.PROPERTY.sessionExpiry, 0]]));
  await client.closed();
  const { user, system } = process.cpuUsage(before);
  assert.ok(user + system < 2_000_000, `${(user + system) / 1e6} s until they were gone`);
});

test('a session in many shares that match gets a small message by each, a large one by so many as memory allows', async (context) => {
  const SHARES = 90;
  const LARGE = 'l'.repeat(128 * 1024);
  for (const expiryS of [0, 60]) {
    const broker = await start(context, {});
    const member = await MqttClient.open(broker.mqtt, 5);
    context.after(() => member.socket.destroy());
    await member.handshake({ clientId: 'member', properties: [[wire.PROPERTY.sessionExpiry, expiryS]] });
    await member.subscribeAll(Array.from({ length: SHARES }, (_, share) => [`$share/${share}/x`, 1]));
    const publisher = await enter(context, broker, 'publisher');
    await publisher.publish('x', 'small', { qos: 1 });
    assert.equal((await member.receiveTexts(SHARES)).length, SHARES);
    await publisher.publish('x', LARGE, { qos: 1 });
    // One, and further copies of 4 MiB with their topics.
    assert.equal((await member.receiveTexts(32)).length, 32);
    await member.quiet();
    assert.equal(broker.broker?.counters.dropped.value, SHARES - 32);
    await publisher.publish('x', 'after', { qos: 1 });
    assert.equal((await member.receiveTexts(SHARES)).length, SHARES);
    await broker.close();
  }
});

/** A TLS certificate of nobody in particular. */
function certify(context: TestContext): { cert: string; key: string } {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-tls-'));
  context.after(() => rmSync(folder, { recursive: true }));
  const [key, cert] = [join(folder, 'key'), join(folder, 'cert')];
  execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=localhost', '-keyout', key, '-out', cert], { stdio: 'ignore' }); // prettier-ignore
  return { cert, key };
}

/** A broker with one listener, and a way to connect to it that says what became of the socket. */
async function listen(
  context: TestContext,
  protocol: 'mqtt' | 'mqtts' | 'ws' | 'wss',
  limits: NonNullable<BrokerOptions['limits']>,
  log: Log = silentLog,
): Promise<{ broker: Broker; port: number; dial: () => Socket }> {
  const broker = new Broker({ store: new MemoryStore(), anonymous: true, systemIntervalMs: 0, limits, log });
  await broker.open();
  context.after(() => broker.close());
  const isSecure = protocol === 'mqtts' || protocol === 'wss';
  const tls = isSecure ? { ...certify(context), clientCa: null, requireClientCert: false } : null;
  const path = protocol.startsWith('ws') ? '/mqtt' : '';
  const { url } = await broker.openListener({ protocol, host: '127.0.0.1', port: 0, path, tls, anonymous: null }); // prettier-ignore
  const port = Number(new URL(url).port);
  const dial = (): Socket => {
    const socket = connectSocket(port, '127.0.0.1');
    context.after(() => socket.destroy());
    return socket.on('error', () => {}).resume();
  };
  return { broker, port, dial };
}

for (const protocol of ['mqtts', 'ws', 'wss'] as const) {
  test(`${protocol}: who goes silent before he is a client is cut off in time, and takes a place until then`, async (context) => {
    const limits = { connectTimeoutMs: 1500, maxConnectionsPerAddress: 2 };
    const { dial } = await listen(context, protocol, limits);
    const begunMs = performance.now();
    const [mute, broken] = [dial(), dial()];
    await until('both to be connected', () => !mute.connecting && !broken.connecting);
    broken.write(protocol === 'ws' ? 'GET /mq' : Buffer.from([0x16, 3, 1, 2, 0]));
    const third = dial();
    await until('the third to be turned away', () => third.closed);
    assert.ok(!mute.closed && !broken.closed);
    await until('the silent ones to be cut off', () => mute.closed && broken.closed, 8000);
    assert.ok(performance.now() - begunMs >= 1400);
    const fourth = dial();
    await until('the fourth to be connected', () => !fourth.connecting);
    fourth.write(protocol === 'ws' ? 'GET /mq' : Buffer.from([0x16, 3, 1, 2, 0]));
    const before = performance.now();
    await until('it to be cut off in turn', () => fourth.closed, 8000);
    assert.ok(performance.now() - before >= 1000, 'there was a place for it');
  });
}

/** What comes after the end of the other side is answered by a reset once that has let go, and until then by nothing. */
async function isLetGo(socket: Socket): Promise<void> {
  socket.allowHalfOpen = true;
  await once(socket, 'end');
  const sending = setInterval(() => socket.write('x'), 100);
  await until('the end', () => socket.closed).finally(() => clearInterval(sending));
}

test('ws: who asks for an upgrade that is not made is let go of, though he keeps his end open', async (context) => {
  const { dial } = await listen(context, 'ws', {});
  const sockets = ['/elsewhere', '/mqtt'].map((path) => {
    const socket = dial();
    socket.write(`GET ${path} HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n`);
    return socket;
  });
  await Promise.all(sockets.map(isLetGo));
});

test('who was refused takes a place until he lets go of his end', async (context) => {
  const { dial } = await listen(context, 'mqtt', { maxConnections: 1 });
  const refused = dial();
  refused.allowHalfOpen = true;
  refused.write('no CONNECT');
  await once(refused, 'end');
  const other = dial();
  await until('the other to be turned away', () => other.closed, 5000);
  refused.end();
  await once(refused, 'close');
  await until('the place to be free', async () => {
    const next = dial();
    next.write(wire.connect({ version: 5, clientId: '' }));
    return (await Promise.race([once(next, 'data'), once(next, 'close')])).length > 0;
  });
});

test('one port for connections to two listeners takes two places, and gives back both', async (context) => {
  const { broker, port } = await listen(context, 'ws', { maxConnectionsPerAddress: 2 });
  const { url } = await broker.openListener({ protocol: 'ws', host: '127.0.0.1', port: 0, path: '/', tls: null, anonymous: null }); // prettier-ignore
  for (let round = 0; round < 3; round += 1) {
    let localPort = 0;
    const sockets: Socket[] = [];
    for (const to of [port, Number(new URL(url).port)]) {
      const socket = connectSocket({ port: to, host: '127.0.0.1', localAddress: '127.0.0.1', localPort });
      context.after(() => socket.destroy());
      socket.on('error', () => {}).resume();
      await until('the connection', () => !socket.connecting);
      localPort = socket.localPort ?? 0;
      sockets.push(socket);
    }
    for (const socket of sockets) {
      // Any answer says that there was a place.
      socket.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n');
      await until('an answer', () => socket.bytesRead > 0);
      socket.destroy();
    }
    await until('both to be gone', () => sockets.every(({ closed }) => closed));
  }
});

test('mqtts: who was refused and goes on sending is let go of all the same', async (context) => {
  const { port } = await listen(context, 'mqtts', {});
  const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false });
  context.after(() => socket.destroy());
  socket.on('error', () => {}).resume();
  await once(socket, 'secureConnect');
  socket.write(wire.publish(5, { topic: 'a', payload: 'before CONNECT' }));
  await isLetGo(socket);
});

test('a WebSocket message in more frames than it needs ends the connection', async (context) => {
  const { dial } = await listen(context, 'ws', {});
  const socket = dial();
  socket.write(upgradeRequest);
  await new Promise((resolve) => socket.once('data', resolve));
  socket.write(encodeFrame(OPCODE.binary, Buffer.from('x'), { isFinal: false }));
  for (let count = 0; count < 1000; count += 1)
    socket.write(encodeFrame(OPCODE.continuation, Buffer.from('x'), { isFinal: false }));
  socket.write(encodeFrame(OPCODE.ping, Buffer.from('y')));
  const pong = await new Promise<Buffer>((resolve) => socket.once('data', resolve));
  assert.equal(pong[0], 0x8a, 'so many are taken');
  for (let count = 0; count < 100; count += 1)
    socket.write(encodeFrame(OPCODE.continuation, Buffer.from('x'), { isFinal: false }));
  await until('the end of the connection', () => socket.closed);
});

test('the log says what was wrong with a WebSocket that is closed for it', async (context) => {
  const told: Fields[] = [];
  const log: Log = { ...silentLog, info: (_message, fields = {}) => told.push(fields) };
  const { dial } = await listen(context, 'ws', {}, log);
  const cases: [Buffer, string][] = [
    [encodeFrame(OPCODE.text, Buffer.from('x')), 'a text frame, but MQTT comes in binary ones'],
    [encodeFrame(OPCODE.binary, Buffer.from('x'), { isMasked: false }), 'WebSocket: Invalid WebSocket frame: MASK must be set'],
    [Buffer.from([0x82, 0xff, 0, 0, 0, 0, 0, 0x10, 0, 1, 0, 0, 0, 0]), 'WebSocket: Max payload size exceeded'],
  ]; // prettier-ignore
  for (const [frame, error] of cases) {
    const socket = dial();
    socket.write(upgradeRequest);
    await new Promise((resolve) => socket.once('data', resolve));
    socket.write(frame);
    await until(error, () => told.some((fields) => fields['error'] === error));
    socket.destroy();
  }
  assert.equal(told.length, cases.length, 'each is told once');
});

test('no TLS below 1.2', async (context) => {
  const { port } = await listen(context, 'mqtts', {});
  const versionWith = (maxVersion: 'TLSv1.1' | 'TLSv1.2'): Promise<string | null> =>
    new Promise((resolve) => {
      const options = {
        minVersion: 'TLSv1',
        maxVersion,
        ciphers: 'DEFAULT@SECLEVEL=0',
        rejectUnauthorized: false,
      } as const;
      const socket = connectTls({ port, host: '127.0.0.1', ...options });
      socket.on('secureConnect', () => {
        resolve(socket.getProtocol());
        socket.destroy();
      });
      socket.on('error', () => resolve(null));
    });
  assert.equal(await versionWith('TLSv1.2'), 'TLSv1.2');
  assert.equal(await versionWith('TLSv1.1'), null);
});
