import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect as connectSocket, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt';
import { WebSocket } from 'ws';
import { Broker, type BrokerOptions } from '../../src/broker/broker.js';
import type { ListenerSettings } from '../../src/broker/door.js';
import type { Message, Subscriber } from '../../src/broker/message.js';
import { userLine } from '../../src/broker/users.js';
import { MemoryStore } from '../../src/store/memory.js';
import { ManualClock } from '../support/clock.js';
import { until } from '../support/wait.js';

const folder = mkdtempSync(join(tmpdir(), 'holdfast-broker-'));
const path = (name: string): string => join(folder, name);
const open: { close(): Promise<void> }[] = [];
const clients: MqttClient[] = [];
const sockets: Socket[] = [];

after(async () => {
  for (const client of clients) client.end(true);
  for (const socket of sockets) socket.destroy();
  for (const broker of open) await broker.close();
  rmSync(folder, { recursive: true });
});

const plain: ListenerSettings = {
  protocol: 'mqtt',
  host: '127.0.0.1',
  port: 0,
  path: '',
  tls: null,
  anonymous: null,
};

async function start(
  options: Partial<BrokerOptions> = {},
  settings: Partial<ListenerSettings> = {},
): Promise<{ broker: Broker; url: string; port: number }> {
  const broker = new Broker({ store: new MemoryStore(), anonymous: true, systemIntervalMs: 0, ...options });
  await broker.open();
  open.push(broker);
  const { url } = await broker.openListener({ ...plain, ...settings });
  return { broker, url, port: Number(/:(\d+)/.exec(url)?.[1]) };
}

interface Got {
  topic: string;
  text: string;
  retain: boolean;
}

async function joinAs(url: string, options: IClientOptions = {}): Promise<MqttClient & { got: Got[] }> {
  const client = await mqtt.connectAsync(url, { reconnectPeriod: 0, protocolVersion: 5, ...options });
  clients.push(client);
  const got: Got[] = [];
  client.on('message', (topic, payload, packet) =>
    got.push({ topic, text: payload.toString(), retain: packet.retain }),
  );
  return Object.assign(client, { got });
}

async function refusedWith(url: string, options: IClientOptions): Promise<number> {
  try {
    await joinAs(url, options);
    return 0;
  } catch (error) {
    // MQTT.js puts the code of CONNACK on its error.
    return (error as { code?: number }).code ?? -1;
  }
}

/** A socket that collects what comes. */
interface Raw {
  readonly socket: Socket;
  received(): Buffer;
  closed(): boolean;
}

const raw = (port: number, ...bytes: (Uint8Array | number[])[]): Promise<Raw> =>
  rawFrom('127.0.0.1', port, ...bytes);

async function rawFrom(
  localAddress: string,
  port: number,
  ...bytes: (Uint8Array | number[])[]
): Promise<Raw> {
  const socket = connectSocket({ port, host: '127.0.0.1', localAddress });
  sockets.push(socket);
  const chunks: Buffer[] = [];
  let isClosed = false;
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.on('close', () => (isClosed = true));
  socket.on('error', () => {});
  await new Promise((resolve) => socket.once('connect', resolve));
  for (const one of bytes) socket.write(Uint8Array.from(one));
  return { socket, received: () => Buffer.concat(chunks), closed: () => isClosed };
}

const CONNECT5 = (id: string): number[] => [
  0x10,
  13 + id.length,
  0,
  4,
  77,
  81,
  84,
  84,
  5,
  2,
  0,
  60,
  0,
  0,
  id.length,
  ...Buffer.from(id),
];

describe('listeners', () => {
  test('every transport carries the same protocol', async () => {
    const { broker, url } = await start();
    const ws = await broker.openListener({ ...plain, protocol: 'ws', path: '/mqtt' });
    const unix = await broker.openListener({ ...plain, protocol: 'unix', path: path('socket') });
    assert.match(ws.url, /^ws:\/\/127\.0\.0\.1:\d+\/mqtt$/);
    assert.equal(unix.url, `unix:${path('socket')}`);
    const big = 'x'.repeat(100_000);
    const subscribers = [await joinAs(url), await joinAs(ws.url), await joinAs(url, { protocolVersion: 4 })];
    for (const one of subscribers) await one.subscribeAsync('t/#', { qos: 1 });
    for (const to of [url, ws.url]) {
      const client = await joinAs(to);
      for (const qos of [0, 1, 2] as const) await client.publishAsync(`t/${qos}`, big, { qos });
    }
    for (const one of subscribers)
      await until('six messages', () => one.got.length === 6 && one.got.every(({ text }) => text === big));
    execFileSync('socat', ['-u', '-', `UNIX-CONNECT:${path('socket')}`], {
      input: Buffer.from([...CONNECT5('u'), 0x30, 6, 0, 3, 116, 47, 117, 0]),
    });
    await until('the message through the Unix socket', () =>
      subscribers[0]?.got.some(({ topic }) => topic === 't/u'),
    );
  });

  test('TLS: certificates of clients name users, and a renewed certificate is used without a restart', async () => {
    const ssl = (...args: string[]): void =>
      void execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });
    const ca = (name: string): void =>
      ssl(
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:P-256',
        '-nodes',
        '-keyout',
        `${name}.key`,
        '-out',
        `${name}.crt`,
        '-subj',
        `/CN=${name}`,
        '-days',
        '2',
        '-addext',
        'subjectAltName=IP:127.0.0.1',
      );
    ca('ca');
    const leaf = (name: string): void => {
      ssl(
        'req',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:P-256',
        '-nodes',
        '-keyout',
        `${name}.key`,
        '-out',
        `${name}.csr`,
        '-subj',
        `/CN=${name}`,
      );
      writeFileSync(path('ext'), 'subjectAltName=IP:127.0.0.1');
      ssl(
        'x509',
        '-req',
        '-in',
        `${name}.csr`,
        '-CA',
        'ca.crt',
        '-CAkey',
        'ca.key',
        '-CAcreateserial',
        '-out',
        `${name}.crt`,
        '-days',
        '2',
        '-extfile',
        'ext',
      );
    };
    leaf('server');
    leaf('anna');
    const tls = {
      cert: path('server.crt'),
      key: path('server.key'),
      clientCa: path('ca.crt'),
      requireClientCert: true,
    };
    const { broker, url } = await start({ anonymous: false }, { protocol: 'mqtts', tls });
    const wss = await broker.openListener({ ...plain, protocol: 'wss', path: '/mqtt', tls });
    const { readFileSync } = await import('node:fs');
    const mutual = {
      ca: readFileSync(path('ca.crt')),
      cert: readFileSync(path('anna.crt')),
      key: readFileSync(path('anna.key')),
    };
    const one = await joinAs(url, { ...mutual, clientId: 'one' });
    const two = await joinAs(wss.url, { ...mutual, clientId: 'two', wsOptions: mutual });
    await two.subscribeAsync('t', { qos: 2 });
    await one.publishAsync('t', 'y'.repeat(200_000), { qos: 2 });
    await until('the message', () => two.got.length === 1 && two.got[0]?.text.length === 200_000);
    assert.deepEqual([...broker.figures.clients()].map(({ user }) => user), ['anna', 'anna']); // prettier-ignore
    await assert.rejects(joinAs(url, { ca: mutual.ca }));
    const before = await serial(wss.url);
    leaf('server');
    wss.certificateRenewal()();
    const renewed = await serial(wss.url);
    assert.notEqual(renewed, before);
    writeFileSync(path('server.crt'), 'torn');
    assert.throws(() => wss.certificateRenewal());
    assert.equal(await serial(wss.url), renewed);

    async function serial(to: string): Promise<string> {
      const { connect } = await import('node:tls');
      const { port } = new URL(to);
      return new Promise((resolve, reject) => {
        const socket = connect({ host: '127.0.0.1', port: Number(port), ...mutual }, () => {
          resolve(socket.getPeerCertificate().serialNumber);
          socket.destroy();
        });
        socket.on('error', reject);
      });
    }
  });

  test('a WebSocket needs the subprotocol, a path that is there, a page of this host, and binary frames', async () => {
    const { url } = await start({}, { protocol: 'ws', path: '/mqtt' });
    const outcome = (to: string, protocols: string[], headers = {}): Promise<string> =>
      new Promise((resolve) => {
        const socket = new WebSocket(to, protocols, { headers });
        socket.on('open', () => {
          socket.send('text');
          socket.on('close', (code) => resolve(`closed ${code}`));
        });
        socket.on('error', (error) => resolve(error.message));
      });
    assert.match(await outcome(url, []), /400/);
    assert.match(await outcome(url, ['mqttv3.1']), /400/);
    assert.match(await outcome(url.replace('/mqtt', '/other'), ['mqtt']), /404/);
    assert.match(await outcome(url, ['mqtt'], { origin: 'http://elsewhere.example' }), /403/);
    assert.equal(await outcome(url, ['x', 'mqtt'], { origin: 'http://127.0.0.1:8080' }), 'closed 1003');
    // A foreign name that was made to point here.
    const rebound = { origin: 'http://elsewhere.example', host: 'elsewhere.example' };
    assert.match(await outcome(url, ['mqtt'], rebound), /403/);
    const named = await start({ hostNames: ['gateway.lan'] }, { protocol: 'ws', path: '/mqtt' });
    const known = { origin: 'http://gateway.lan:8080', host: 'gateway.lan:9001' };
    assert.equal(await outcome(named.url, ['mqtt'], known), 'closed 1003');
  });

  test('a port that is taken is told by the system error', async () => {
    const { broker, port } = await start();
    await assert.rejects(broker.openListener({ ...plain, port }), { code: 'EADDRINUSE' });
  });

  test('a loop that stood still is told of since somebody can come, not while the process starts', async () => {
    const clock = new ManualClock();
    let skippedMs = 0;
    const slow = { nowMs: () => clock.nowMs(), monotonicMs: () => clock.monotonicMs() + skippedMs, after: clock.after.bind(clock) }; // prettier-ignore
    const broker = new Broker({ store: new MemoryStore(), clock: slow, systemIntervalMs: 0 });
    await broker.open();
    open.push(broker);
    skippedMs += 900;
    clock.advance(5000);
    assert.equal(broker.counters.stalls.value, 0);
    skippedMs += 900;
    await broker.openListener(plain);
    clock.advance(5000);
    assert.equal(broker.counters.stalls.value, 0);
    skippedMs += 900;
    clock.advance(5000);
    assert.equal(broker.counters.stalls.value, 1);
  });

  test('connections beyond the limits are not taken, those that say nothing are closed', async () => {
    const { broker, port } = await start({
      limits: { maxConnections: 3, maxConnectionsPerAddress: 2, connectTimeoutMs: 1000 },
    });
    const first = await raw(port, CONNECT5('a'));
    await until('CONNACK', () => first.received().length > 0);
    const second = await raw(port, [0x10]);
    const third = await raw(port);
    await until('the third is closed', () => third.closed());
    const elsewhere = await rawFrom('127.0.0.2', port, CONNECT5('b'));
    await until('CONNACK', () => elsewhere.received().length > 0);
    const fifth = await rawFrom('127.0.0.3', port);
    await until('the fifth is closed', () => fifth.closed());
    assert.equal(broker.counters.connections.value, 3, 'the third and the fifth were not taken');
    await until('the silent one is closed', () => second.closed(), 3000);
    assert.equal(second.received().length, 0);
    assert.ok(!first.closed());
    assert.equal(broker.figures.connectedCount, 2);
  });
});

describe('who may do what', () => {
  test('users are checked, and rules hold for publishing, subscribing, retained and delivered messages and wills', async () => {
    const users = path('users');
    writeFileSync(users, `${await userLine('anna', 'pw')}\n${await userLine('bob', 'pw', ['ops'])}\n`);
    const rule = { user: null, group: null, client: null, deny: [] };
    const policy = {
      anonymous: false,
      anonymousBeyondLoopback: false,
      usersFile: users,
      neverRetained: [],
      access: [
        { ...rule, group: 'ops', allow: ['read', 'write'] as const, topic: '#' },
        { ...rule, user: 'anna', allow: ['read'] as const, topic: 'open/#' },
        { ...rule, user: 'anna', allow: ['write'] as const, topic: 'from/{user}' },
      ],
    };
    const { broker, url } = await start(policy);
    assert.equal(await refusedWith(url, {}), 0x87);
    assert.equal(await refusedWith(url, { username: 'anna', password: 'no' }), 0x86);
    assert.equal(await refusedWith(url, { username: 'anna', password: 'no', protocolVersion: 4 }), 4);
    const will = { topic: 'open/x', payload: Buffer.from('w'), qos: 0 as const, retain: false };
    assert.equal(await refusedWith(url, { username: 'anna', password: 'pw', will }), 0x87);
    const bob = await joinAs(url, { username: 'bob', password: 'pw' });
    const anna = await joinAs(url, { username: 'anna', password: 'pw', clientId: 'anna-1' });
    await bob.publishAsync('open/kept', 'r', { retain: true, qos: 1 });
    await bob.publishAsync('shut/kept', 'r', { retain: true, qos: 1 });
    await bob.subscribeAsync('#');
    const granted = await anna.subscribeAsync(['open/#', '#', 'shut/kept']).catch((error: unknown) => error);
    assert.ok(granted !== undefined);
    await anna.subscribeAsync('open/+');
    await bob.publishAsync('open/1', 'yes', { qos: 1 });
    await bob.publishAsync('shut/1', 'no', { qos: 1 });
    await until('what anna may read', () => anna.got.some(({ topic }) => topic === 'open/1'));
    assert.ok(
      anna.got.every(({ topic }) => topic.startsWith('open/')),
      JSON.stringify(anna.got),
    );
    await assert.rejects(anna.publishAsync('from/bob', 'x', { qos: 1 }), /135|Not authorized/i);
    await anna.publishAsync('from/anna', 'x', { qos: 1 });
    await until('what anna may write', () => bob.got.some(({ topic }) => topic === 'from/anna'));
    assert.ok(broker.mayPublish({ clientId: 'c', user: 'anna', address: '' }, 'from/anna'));
    assert.ok(!broker.mayPublish({ clientId: 'c', user: 'anna', address: '' }, 'from/bob'));
    // The session of another user is not to be had by its client identifier.
    assert.equal(await refusedWith(url, { username: 'bob', password: 'pw', clientId: 'anna-1' }), 0x85);
    assert.ok(anna.connected);
    // A right that is taken away ends at once; a user who is gone is cut.
    broker.reload({ ...policy, access: policy.access.slice(0, 1) });
    anna.got.length = 0;
    await bob.publishAsync('open/2', 'no more', { qos: 1 });
    writeFileSync(users, `${await userLine('bob', 'pw', ['ops'])}\n`);
    broker.reload(policy);
    await until('anna is cut', () => !anna.connected);
    assert.deepEqual(anna.got, []);
    assert.ok(bob.connected);
    writeFileSync(users, 'broken\n');
    assert.throws(() => broker.reload(policy), /users:1/);
    assert.ok(bob.connected);
  });

  const policy = { anonymous: false, anonymousBeyondLoopback: false, usersFile: null, access: null, neverRetained: [] }; // prettier-ignore

  test('a reload keeps who comes without a name where the listener lets him in, and cuts others', async () => {
    const { broker, url } = await start(policy, { anonymous: true });
    const { url: elsewhere } = await broker.openListener(plain);
    broker.reload({ ...policy, anonymous: true });
    const stays = await joinAs(url);
    const goes = await joinAs(elsewhere);
    broker.reload(policy);
    await until('the cut', () => !goes.connected);
    await stays.publishAsync('a', 'x', { qos: 1 });
    assert.equal(await refusedWith(elsewhere, {}), 0x87);
  });

  test('a reload cuts who came in with a password that was changed since, and nobody else', async () => {
    const usersFile = path('changed');
    writeFileSync(usersFile, `${await userLine('anna', 'old')}\n${await userLine('bob', 'pw')}\n`);
    const { broker, url } = await start({ ...policy, usersFile });
    const old = await joinAs(url, { username: 'anna', password: 'old', clientId: 'anna' });
    const other = await joinAs(url, { username: 'bob', password: 'pw' });
    // Another hash of the same password is no change.
    writeFileSync(usersFile, `${await userLine('anna', 'new')}\n${await userLine('bob', 'pw', ['ops'])}\n`);
    broker.reload({ ...policy, usersFile });
    const fresh = joinAs(url, { username: 'anna', password: 'new', clientId: 'fresh' });
    await until('the cut', () => !old.connected);
    assert.equal(await refusedWith(url, { username: 'anna', password: 'old' }), 0x86);
    await (await fresh).publishAsync('a', 'x', { qos: 1 });
    await other.publishAsync('a', 'x', { qos: 1 });
  });

  test('the client identifier of a session is free when its user has no way in any more, and its messages are gone', async () => {
    const usersFile = path('gone');
    const bob = await userLine('bob', 'pw');
    writeFileSync(usersFile, `${await userLine('anna', 'pw')}\n${bob}\n`);
    const listeners = [plain];
    const { broker, url } = await start({ ...policy, anonymous: true, usersFile, listeners });
    const leave = async (clientId: string, options: IClientOptions): Promise<void> => {
      const kept = { clientId, clean: false, properties: { sessionExpiryInterval: 60 } };
      const client = await joinAs(url, { ...options, ...kept });
      await client.subscribeAsync('secret', { qos: 1 });
      await client.endAsync();
    };
    await leave('named', { username: 'anna', password: 'pw' });
    await leave('nameless', {});
    const asBob = { username: 'bob', password: 'pw', clean: false };
    const publisher = await joinAs(url, { username: 'bob', password: 'pw' });
    await publisher.publishAsync('secret', 'x', { qos: 1 });
    for (const clientId of ['named', 'nameless'])
      assert.equal(await refusedWith(url, { ...asBob, clientId }), 0x85);
    writeFileSync(usersFile, `${bob}\n`);
    broker.reload({ ...policy, usersFile, listeners: [{ ...plain, anonymous: true }] });
    assert.equal(await refusedWith(url, { ...asBob, clientId: 'nameless' }), 0x85);
    broker.reload({ ...policy, usersFile, listeners });
    for (const clientId of ['named', 'nameless']) {
      const client = await joinAs(url, { ...asBob, clientId });
      await client.subscribeAsync('end', { qos: 1 });
      await publisher.publishAsync('end', '', { qos: 1 });
      await until('what comes after it', () => client.got.length > 0);
      assert.deepEqual(client.got.map(({ topic }) => topic), ['end']); // prettier-ignore
    }
  });

  test('nobody writes under $, and # brings nothing of it', async () => {
    const { broker, url } = await start();
    const client = await joinAs(url);
    await client.subscribeAsync(['#', '$SYS/#', '$other/#']);
    await assert.rejects(client.publishAsync('$SYS/broker/version', 'mine', { qos: 1 }));
    await client.publishAsync('$other/x', 'mine', { qos: 0, retain: true });
    broker.publish({
      topic: '$SYS/broker/x',
      payload: Buffer.from('ours'),
      qos: 0,
      retain: true,
      sender: null,
    });
    await until('our own', () => client.got.length > 0);
    assert.deepEqual(client.got, [{ topic: '$SYS/broker/x', text: 'ours', retain: false }]);
    assert.equal(broker.figures.retainedCount, 1);
  });
});

describe('the gateway in the same process', () => {
  test('publishes, subscribes with the RETAIN flag as published, and keeps no command as retained', async () => {
    const { broker, url } = await start({ neverRetained: ['gw/set/#'] });
    const seen: Message[] = [];
    const subscriber: Subscriber = { deliver: (message) => void seen.push(message) };
    broker.subscribe('gw/set/#', subscriber);
    const client = await joinAs(url, { clientId: 'operator' });
    await client.publishAsync('gw/set/a', '1', {
      retain: true,
      qos: 1,
      properties: { messageExpiryInterval: 5, userProperties: { k: 'v' } },
    });
    await client.publishAsync('gw/set/b', '2');
    await until('both commands', () => seen.length === 2);
    assert.deepEqual(seen.map(({ topic, retain }) => [topic, retain]), [['gw/set/a', true], ['gw/set/b', false]]); // prettier-ignore
    assert.equal(seen[0]?.sender?.clientId, 'operator');
    assert.ok((seen[0]?.expiresAtMs ?? 0) > Date.now());
    assert.deepEqual([...(seen[0]?.properties ?? [])], [0x26, 0, 1, 107, 0, 1, 118]);
    assert.equal(broker.figures.retainedCount, 0);
    broker.unsubscribe('gw/set/#', subscriber);
    await client.subscribeAsync('gw/data/#', { qos: 1 });
    const handle = broker.handleOf('gw/data/t');
    const bytes = Buffer.from('..21.5..');
    for (let i = 0; i < 3; i++) broker.publishSample(handle, bytes, 2, 6, i as 0 | 1 | 2, true, false);
    bytes.fill(0);
    await until('the samples', () => client.got.length === 3);
    assert.ok(client.got.every(({ topic, text }) => topic === 'gw/data/t' && text === '21.5'));
    const late = await joinAs(url, { protocolVersion: 4 });
    await late.subscribeAsync('gw/data/+');
    await until('the retained value', () => late.got.length === 1 && late.got[0]?.retain === true);
  });

  test('sees clients, cuts one, and says goodbye with 0x8B', async () => {
    const { broker, url, port } = await start();
    const client = await joinAs(url, { clientId: 'one', properties: { sessionExpiryInterval: 100 } });
    await client.subscribeAsync('a/#');
    const [info] = [...broker.figures.clients()];
    assert.deepEqual(
      [info?.clientId, info?.isConnected, info?.version, info?.subscriptions],
      ['one', true, 5, ['a/#']],
    );
    assert.ok(broker.disconnect('one'));
    await until('it is cut', () => !client.connected);
    assert.equal([...broker.figures.clients()][0]?.isConnected, false);
    assert.ok(broker.disconnect('one', true));
    assert.equal(broker.figures.sessionCount, 0);
    const last = await raw(port, CONNECT5('last'));
    await until('CONNACK', () => last.received().length > 0);
    await broker.close();
    await until('closed', () => last.closed());
    assert.equal(last.received().at(last.received().indexOf(0xe0) + 2), 0x8b);
  });

  test('its numbers stand under $SYS', async () => {
    const { broker, url } = await start({ systemIntervalMs: 50, version: '1.2.3' });
    const client = await joinAs(url);
    await client.subscribeAsync('$SYS/#');
    const value = (name: string): string | undefined =>
      client.got.filter(({ topic }) => topic === `$SYS/broker/${name}`).at(-1)?.text;
    await until('its version', () => value('version') === 'holdfast version 1.2.3');
    await until(
      'itself among the clients',
      () => value('clients/connected') === '1' && value('subscriptions/count') === '1',
    );
    assert.ok(broker.counters.publishSent.value > 20);
  });
});

describe('topics that nobody subscribed to', () => {
  const NAMES = Array.from({ length: 30 }, (_, index) => `plant/unit${index % 10}/value${index}`);
  const retained = { retain: true } as const;

  for (const protocolVersion of [4, 5] as const)
    for (const qos of [0, 1, 2] as const)
      test(`version ${protocolVersion}, QoS ${qos}: each keeps its own message, which comes, is replaced and is cleared`, async () => {
        const { url } = await start();
        const client = await joinAs(url, { protocolVersion });
        for (const name of NAMES) void client.publishAsync(name, `first of ${name}`, { ...retained, qos });
        for (const name of NAMES.slice(10))
          void client.publishAsync(name, `of ${name}`, { ...retained, qos });
        for (const name of NAMES.slice(20)) void client.publishAsync(name, '', { ...retained, qos });
        await client.publishAsync('plant', 'above them', { ...retained, qos: 1 });
        const reader = await joinAs(url);
        await reader.subscribeAsync('#', { qos });
        await until('all retained messages', () => reader.got.length >= 21);
        const expected = [
          ['plant', 'above them'],
          ...NAMES.slice(0, 20).map((name, index) => [name, `${index < 10 ? 'first of' : 'of'} ${name}`]),
        ];
        assert.deepEqual(new Map(reader.got.map(({ topic, text }) => [topic, text])), new Map(expected as [string, string][])); // prettier-ignore
        // Somebody subscribed now, so what comes next goes there.
        await client.publishAsync('plant/unit0/value0', 'live', { qos });
        await until('the live one', () => reader.got.some(({ text }) => text === 'live'));
        await reader.unsubscribeAsync('#');
        await client.publishAsync('plant/unit0/value1', 'unheard', { qos });
        await client.publishAsync('plant/unit0/value2', 'unheard', { qos: 1 });
        assert.ok(!reader.got.some(({ text }) => text === 'unheard'));
      });

  test('an alias set there names that topic, and a client without the right keeps none', async () => {
    const rule = { user: null, group: null, client: null, deny: [] };
    const { url } = await start({
      access: [
        { ...rule, client: 'narrow', allow: ['write'], topic: 'plant/narrow/#' },
        { ...rule, client: 'wide', allow: ['read', 'write'], topic: '#' },
      ],
    });
    const wide = await joinAs(url, { clientId: 'wide' });
    const narrow = await joinAs(url, { clientId: 'narrow' });
    for (const topic of ['plant/a', 'plant/b']) await wide.publishAsync(topic, 'a', { ...retained, qos: 1 });
    // Twice, with a topic between that it may write to: what was found out about that one is not meant.
    for (let time = 0; time < 2; time++) {
      await assert.rejects(wide.publishAsync('$own/a', 'denied', { ...retained, qos: 1 }));
      await wide.publishAsync('plant/b', 'a', { ...retained, qos: 1 });
    }
    const topicAlias = { properties: { topicAlias: 1 } };
    await wide.publishAsync('plant/c', 'set', { ...retained, qos: 1, ...topicAlias });
    await wide.publishAsync('plant/d', 'between', { ...retained, qos: 1 });
    await wide.publishAsync('', 'by alias', { ...retained, qos: 1, ...topicAlias });
    await assert.rejects(narrow.publishAsync('plant/e', 'denied', { ...retained, qos: 1 }));
    await narrow.publishAsync('plant/narrow/a', 'allowed', { ...retained, qos: 1 });
    await assert.rejects(narrow.publishAsync('plant/a', 'denied', { ...retained, qos: 1 }));
    await wide.subscribeAsync('plant/#', { qos: 1 });
    await until('what is kept', () => wide.got.length >= 5);
    assert.deepEqual(
      wide.got.map(({ topic, text }) => `${topic}: ${text}`).sort(),
      ['plant/a: a', 'plant/b: a', 'plant/c: by alias', 'plant/d: between', 'plant/narrow/a: allowed'], // prettier-ignore
    );
  });
});

describe('limits', () => {
  test('what is longer than the maximum closes with 0x95, and 3.1.1 just closes', async () => {
    const { port } = await start({ limits: { maxPacketBytes: 1000 } });
    const client = await raw(port, CONNECT5('a'), [0x30, 0xff, 0x7f]);
    await until('closed', () => client.closed());
    assert.ok(client.received().includes(Buffer.from([0x95])));
  });

  test('one who does not read loses QoS 0 and costs neither memory nor anybody else a message', async () => {
    const { broker, url, port } = await start({ limits: { maxOutboxBytes: 1_000_000 } });
    const stuck = await raw(port, CONNECT5('stuck'));
    await until('CONNACK', () => stuck.received().length > 0);
    stuck.socket.write(Uint8Array.from([0x82, 7, 0, 2, 0, 0, 1, 116, 0]));
    await until('subscribed', () => broker.figures.subscriptionCount > 0);
    stuck.socket.pause();
    const reader = await joinAs(url);
    await reader.subscribeAsync('t');
    const payload = Buffer.alloc(50_000);
    for (let i = 0; i < 300; i++) {
      broker.publish({ topic: 't', payload, qos: 0, retain: false, sender: null });
      // At the pace of the one who reads: nothing of his may wait so long that it is dropped as well.
      if (i % 5 === 0) await until('what was sent so far', () => reader.got.length === i + 1);
    }
    await until('all of them', () => reader.got.length === 300);
    assert.ok(broker.counters.dropped.value > 0);
  });

  test('a session whose queue overflows loses its oldest and is told of', async () => {
    const told: [string, number][] = [];
    const { broker, url } = await start({
      limits: { maxQueuedMessages: 5 },
      onOverflow: (client, dropped) => told.push([client, dropped]),
    });
    const options = { clientId: 'kept', clean: false, properties: { sessionExpiryInterval: 100 } };
    const away = await joinAs(url, options);
    await away.subscribeAsync('t', { qos: 1 });
    await away.endAsync();
    for (let i = 0; i < 12; i++) {
      broker.publish({ topic: 't', payload: Buffer.from(String(i)), qos: 1, retain: false, sender: null });
    }
    await until('it is told', () => told.reduce((sum, [, dropped]) => sum + dropped, 0) === 7);
    assert.equal(told[0]?.[0], 'kept');
    assert.equal(broker.figures.queuedCount, 5);
    const back = await joinAs(url, options);
    await until('the newest', () => back.got.length === 5);
    assert.deepEqual(back.got.map(({ text }) => text), ['7', '8', '9', '10', '11']); // prettier-ignore
  });

  test('rates stop reading and lose nothing', async () => {
    const { url } = await start({ limits: { messagesPerSecond: 100 } });
    const client = await joinAs(url);
    await client.subscribeAsync('t');
    const startMs = performance.now();
    for (let i = 0; i < 650; i++) client.publish('t', String(i));
    await until('all', () => client.got.length === 650);
    client.publish('t', '650');
    await until('the last', () => client.got.length === 651);
    assert.ok(performance.now() - startMs > 1000);
    assert.deepEqual(client.got.map(({ text }) => Number(text)), Array.from({ length: 651 }, (_, i) => i)); // prettier-ignore
  });
});

test('while a CONNECT waits for the store, what follows waits with the sender', async () => {
  let release = (): void => {};
  const gate = new Promise<void>((resolve) => (release = resolve));
  class SlowStore extends MemoryStore {
    override async commit(): Promise<void> {
      await gate;
      await super.commit();
    }
  }
  const { broker, port } = await start({ store: new SlowStore() });
  // Session expiry 100 s: the answer waits until the session is kept.
  const connect = [0x10, 19, 0, 4, 77, 81, 84, 84, 5, 2, 0, 60, 5, 17, 0, 0, 0, 100, 0, 1, 97];
  const pings = Buffer.alloc(4_000_000, Uint8Array.of(0xc0, 0));
  const client = await raw(port, connect, pings);
  const { bytesReceived, bytesSent } = broker.counters;
  let seen = -1;
  await until('no more to be read', async () => {
    const before = bytesReceived.value;
    await new Promise((resolve) => setTimeout(resolve, 100));
    seen = bytesReceived.value;
    return before > 0 && before === seen;
  });
  assert.ok(seen < 300_000, `${seen} bytes were taken before the answer`);
  assert.equal(client.received().length, 0);
  release();
  await until('all of it to be read', () => bytesReceived.value === connect.length + pings.length);
  await until('an answer to each', () => client.received().length > pings.length);
  assert.equal(bytesSent.value, client.received().length);
});

test('a subscriber of the gateway that breaks harms neither the publisher nor other subscribers', async () => {
  const { broker, url } = await start();
  broker.subscribe('t', {
    deliver: () => {
      throw new Error('broken on purpose');
    },
  });
  const client = await joinAs(url);
  await client.subscribeAsync('t', { qos: 1 });
  await client.publishAsync('t', 'x', { qos: 1 });
  await until('the message', () => client.got.length === 1);
  assert.ok(client.connected);
});
