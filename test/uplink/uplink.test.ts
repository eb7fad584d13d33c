import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, test } from 'node:test';
import type { MqttClient } from 'mqtt';
import type { Broker } from '../../src/broker/broker.js';
import type { UplinkOptions } from '../../src/uplink/uplink.js';
import { Cable } from '../support/cable.js';
import { ManualClock } from '../support/clock.js';
import { FarSide } from '../support/farside.js';
import { OddBroker } from '../support/oddbroker.js';
import { freePort } from '../support/ports.js';
import { ShiftedClock } from '../support/shiftedclock.js';
import { type Gateway, ruleOf, startUplink } from '../support/uplink.js';
import { until } from '../support/wait.js';
import * as wire from '../support/wire.js';

const root = mkdtempSync(join(tmpdir(), 'holdfast-uplink-'));
after(() => rmSync(root, { recursive: true, force: true }));
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});
let folders = 0;

function newGateway(options: Partial<UplinkOptions> & { nodes: readonly string[] }): Promise<Gateway> {
  return startUplink(join(root, String(++folders)), options, cleanups);
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
  const far = await FarSide.create(cleanups);
  const cable = await Cable.away(far.port, cleanups);
  const { broker, uplink } = await newGateway({ nodes: [cable.url] });
  for (let i = 0; i < 5000; i++) say(broker, `p7/data/meter${i % 5}/power`, String(i));
  await until('the queue to hold them', () => uplink.about().queuedMessages === 5000);
  await far.start();
  const got = await listen(await far.client(), 'plants/#');
  // Not before: what came before its subscriber would be told to nobody.
  cable.heal();
  await until('all to arrive', () => got.length >= 5000, 60_000);
  for (let i = 5000; i < 5100; i++) say(broker, `p7/data/meter${i % 5}/power`, String(i));
  await until('the live ones', () => got.length >= 5100);
  assert.deepEqual(
    got.map(({ text }) => Number(text)),
    Array.from({ length: 5100 }, (_none, i) => i),
  );
  assert.equal(got[7]?.topic, 'plants/p7/data/meter2/power');
  await until('an empty queue', () => uplink.about().queuedMessages === 0);
});

test('a connection cut again and again costs nothing: each message arrives at least once, in order', async () => {
  const far = await FarSide.create(cleanups);
  await far.start();
  const cable = await Cable.to(far.port);
  cleanups.push(() => cable.close());
  const { broker, uplink } = await newGateway({ nodes: [cable.url] });
  const got = await listen(await far.client(), 'plants/#');
  let sent = 0;
  for (let round = 0; round < 4; round++) {
    await until('the uplink', () => uplink.about().isConnected);
    const seen = got.length;
    for (let i = 0; i < 3000; i++) say(broker, 'p7/data/meter/power', String(sent++));
    await until('some of them', () => got.length > seen + 300);
    cable.cut();
  }
  await until('an empty queue', () => uplink.about().queuedMessages === 0, 60_000);
  const values = got.map(({ text }) => Number(text));
  // Of one topic one message is under way, so no more than that one comes again.
  assert.ok(values.length - sent <= 4, `${values.length - sent} came twice`);
  const first = values.filter((value, index) => values.indexOf(value) === index);
  assert.deepEqual(
    first,
    Array.from({ length: sent }, (_none, i) => i),
  );
});

test('an uplink that is stopped in good order sends nothing again', async () => {
  const far = await FarSide.create(cleanups);
  await far.start();
  const folder = join(root, 'ordered');
  const got = await listen(await far.client(), 'plants/#');
  let sent = 0;
  for (let life = 0; life < 3; life++) {
    const { broker, uplink } = await startUplink(folder, { nodes: [far.url] }, cleanups);
    await until('the uplink', () => uplink.about().isConnected);
    const seen = got.length;
    for (let i = 0; i < 2000; i++) say(broker, `p7/data/meter${i % 5}/power`, String(sent++));
    await until('some of them', () => got.length > seen + 300);
    await uplink.stop();
  }
  const { uplink } = await startUplink(folder, { nodes: [far.url] }, cleanups);
  await until('an empty queue', () => uplink.about().queuedMessages === 0);
  assert.deepEqual(
    got.map(({ text }) => Number(text)).toSorted((a, b) => a - b),
    Array.from({ length: sent }, (_none, i) => i),
  );
});

for (const [way, jumpMs] of [
  ['forth', 400 * 86_400_000],
  ['back', -400 * 86_400_000],
] as const) {
  test(`a clock that jumps ${way} lets nothing expire, nor live longer`, async () => {
    const far = await FarSide.create(cleanups);
    const cable = await Cable.away(far.port, cleanups);
    const clock = new ShiftedClock();
    const { broker, uplink } = await startUplink(
      join(root, String(++folders)),
      { nodes: [cable.url] },
      cleanups,
      { clock, maxAgeMs: 86_400_000 },
    );
    let jumpedMs = 0;
    const sayFor = (seconds: number, text: string): void =>
      broker.publish({
        topic: 'p7/data/a/x',
        payload: Buffer.from(text),
        qos: 1,
        retain: false,
        sender: null,
        expiresAtMs: clock.nowMs() - jumpedMs + seconds * 1000,
      });
    sayFor(60, 'short');
    sayFor(3600, 'long');
    clock.jump((jumpedMs = jumpMs));
    sayFor(3600, 'later');
    clock.pass(120_000);
    await far.start();
    const got: [string, number | undefined][] = [];
    const client = await far.client();
    client.on('message', (_topic, payload, { properties }) =>
      got.push([payload.toString(), properties?.messageExpiryInterval]),
    );
    await client.subscribeAsync('plants/#', { qos: 1 });
    cable.heal();
    await until('an empty queue', () => uplink.about().queuedMessages === 0);
    await until('both', () => got.length >= 2);
    assert.deepEqual(
      got.map(([text]) => text),
      ['long', 'later'],
    );
    for (const [, leftS = 0] of got) assert.ok(leftS > 3400 && leftS <= 3480, `${leftS} s left`);
    assert.equal(uplink.about().dropped, 1);
  });
}

const DAY_MS = 86_400_000;
for (const [when, wrongByMs, isSetAgain] of [
  ['was set from 1970', 56 * 365 * DAY_MS, true],
  ['was set from five days back', 5 * DAY_MS, true],
  ['is not set after the restart', 0, false],
] as const) {
  test(`the clock ${when}: what waits over a restart expires after the time it was given`, async () => {
    const far = await FarSide.create(cleanups);
    const folder = join(root, String(++folders));
    const clock = new ShiftedClock(Date.now() - wrongByMs);
    const cable = await Cable.away(far.port, cleanups);
    const first = await startUplink(folder, { nodes: [cable.url] }, cleanups, { clock });
    clock.jump(wrongByMs);
    for (const [text, seconds] of [
      ['long', 86_400],
      ['short', 60],
    ] as const)
      first.broker.publish({
        topic: 'p7/data/a/x',
        payload: Buffer.from(text),
        qos: 1,
        retain: false,
        sender: null,
        expiresAtMs: first.broker.clock.nowMs() + seconds * 1000,
      });
    await first.queue.commit();
    await first.uplink.stop();
    await far.start();
    const got: [string, number | undefined][] = [];
    const client = await far.client();
    client.on('message', (_topic, payload, { properties }) =>
      got.push([payload.toString(), properties?.messageExpiryInterval]),
    );
    await client.subscribeAsync('plants/#', { qos: 1 });
    const again = new ShiftedClock(isSetAgain ? Date.now() : 0);
    again.pass(120_000);
    const { uplink } = await startUplink(folder, { nodes: [far.url] }, cleanups, { clock: again });
    await until('an empty queue', () => uplink.about().queuedMessages === 0 && got.length > 0);
    // A clock that is not set does not know how long it was off: nothing lives longer than it was given.
    assert.deepEqual(
      got.map(([text]) => text),
      isSetAgain ? ['long'] : ['long', 'short'],
    );
    const [, leftS = 0] = got[0] ?? [];
    assert.ok(leftS <= 86_400 && leftS > 86_200 && (!isSetAgain || leftS <= 86_280), `${leftS} s left`);
  });
}

test('what is queued before the clock is set expires after the time it was given', async () => {
  const clock = new ShiftedClock(120_000);
  const folder = join(root, String(++folders));
  const options = { nodes: ['mqtt://127.0.0.1:1'] };
  const { broker, queue } = await startUplink(folder, options, cleanups, { clock });
  broker.publish({
    topic: 'p7/data/a/x',
    payload: Buffer.from('1'),
    qos: 1,
    retain: false,
    sender: null,
    expiresAtMs: broker.clock.nowMs() + 60_000,
  });
  const [entry] = await queue.read(0, 1);
  assert.ok(entry !== undefined);
  clock.jump(50 * 365 * DAY_MS);
  clock.pass(50_000);
  assert.ok(queue.leftMs(entry) > 0);
  clock.pass(11_000);
  assert.ok(queue.leftMs(entry) <= 0);
});

test('what an uplink brings in keeps its expiry, though the clock was set between the start of broker and uplink', async () => {
  const far = await FarSide.create(cleanups);
  await far.start();
  const clock = new ShiftedClock(1_000_000);
  const { broker, uplink } = await startUplink(
    join(root, String(++folders)),
    { nodes: [far.url], out: [], in: [ruleOf('cmd/#', 'cmd/#')] },
    cleanups,
    { clock, opened: () => clock.jump(50 * 365 * 86_400_000) },
  );
  const leftMs: number[] = [];
  broker.subscribe('cmd/#', {
    deliver: ({ expiresAtMs = 0 }) => leftMs.push(expiresAtMs - broker.clock.nowMs()),
  });
  await until('the uplink', () => uplink.about().isConnected);
  const client = await far.client();
  await until('a message', async () => {
    await client.publishAsync('cmd/a', '1', { qos: 1, properties: { messageExpiryInterval: 60 } });
    return leftMs.length > 0;
  });
  assert.ok(
    leftMs.every((ms) => ms > 50_000 && ms <= 60_000),
    String(leftMs),
  );
});

test('nodes are tried in turn until one answers', async () => {
  const far = await FarSide.create(cleanups);
  await far.start();
  const dead = await freePort();
  const { uplink } = await newGateway({ nodes: [`mqtt://127.0.0.1:${dead}`, far.url] });
  await until('the uplink', () => uplink.about().isConnected);
  assert.equal(uplink.about().node, far.url);
});

test('in and out on the same topics make no loop', async () => {
  const far = await FarSide.create(cleanups);
  await far.start();
  const both = [ruleOf('shared/#', 'shared/#')];
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

test('what came in is not announced to where it came from', async () => {
  const heard: string[] = [];
  const far = await OddBroker.start(
    {
      take: ({ topic, id }, socket) => {
        heard.push(topic);
        socket.write(wire.acknowledge('PUBACK', id));
      },
      subscribed: (socket, connection) => {
        const theirs = {
          topic: 'shared/theirs',
          payload: 'old',
          qos: 0,
          retain: true,
          properties: [],
        } as const;
        if (connection === 1) socket.write(wire.publish(5, theirs));
      },
    },
    cleanups,
  );
  const both = [ruleOf('shared/#', 'shared/#')];
  const { broker } = await newGateway({ nodes: [far.url], out: both, in: both, announce: ['shared/#'] });
  let isIn = false;
  broker.subscribe('shared/theirs', { deliver: () => (isIn = true) });
  await until('theirs', () => isIn);
  say(broker, 'shared/ours', '1', true);
  await until('ours', () => heard.length > 0);
  heard.length = 0;
  far.hangUp();
  await until('the announcement', () => heard.includes('shared/ours'));
  say(broker, 'shared/end', '1');
  await until('the end', () => heard.includes('shared/end'));
  assert.ok(!heard.includes('shared/theirs'), heard.join());
});

/** Nodes that take connections and say nothing by themselves, and an uplink to them whose time is moved by hand. */
async function silentNodes() {
  const clock = new ManualClock();
  const sockets: Socket[] = [];
  const nodes: string[] = [];
  for (let i = 0; i < 3; i++) {
    const server = createServer((socket) => void sockets.push(socket.on('error', () => {}))).listen(
      0,
      '127.0.0.1',
    );
    await once(server, 'listening');
    nodes.push(`mqtt://127.0.0.1:${(server.address() as AddressInfo).port}`);
    cleanups.push(async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    });
  }
  const { uplink } = await startUplink(join(root, String(++folders)), { nodes }, cleanups, { clock });
  /** The newest of so many connections. */
  const connection = (count: number): Promise<Socket> =>
    until(`connection ${count}`, () => sockets.length === count && sockets.at(-1));
  /** Ends it, and lets the time pass after which the next node is tried. */
  const hangUp = async (socket: Socket): Promise<void> => {
    const { node } = uplink.about();
    socket.destroy();
    await until('the uplink to know', () => uplink.about().node !== node);
    clock.advance(100);
  };
  return { clock, uplink, connection, hangUp };
}

test('nodes that were waited for are tried again without a pause', async () => {
  const { clock, connection, hangUp } = await silentNodes();
  for (let tried = 1; tried <= 5; tried++) {
    const socket = await connection(tried);
    // What a node that does not answer is given.
    clock.advance(3000);
    await hangUp(socket);
  }
});

test('after a connection that was of use all nodes are tried before there is a pause', async () => {
  const { clock, uplink, connection, hangUp } = await silentNodes();
  await hangUp(await connection(1));
  const used = await connection(2);
  used.write(wire.frame(0x20, wire.u8(0, 0), wire.encodeProperties([])));
  await until('the uplink', () => uplink.about().isConnected);
  clock.advance(6000);
  await hangUp(used);
  for (let tried = 3; tried <= 5; tried++) await hangUp(await connection(tried));
});

test('two gateways that bring in from each other pass a message round once', async () => {
  const ports = [await freePort(), await freePort()];
  const texts: string[][] = [[], []];
  const gateways: Gateway[] = [];
  for (const [index, port] of ports.entries()) {
    const gateway = await newGateway({
      nodes: [`mqtt://127.0.0.1:${ports[1 - index]}`],
      gatewayId: `p${index}`,
      out: [],
      in: [ruleOf('shared/#', 'shared/#')],
    });
    gateway.broker.subscribe('shared/#', {
      deliver: ({ payload }) => texts[index]?.push(Buffer.from(payload).toString()),
    });
    await gateway.broker.openListener({
      protocol: 'mqtt',
      host: '127.0.0.1',
      port,
      path: '',
      tls: null,
      anonymous: null,
    });
    gateways.push(gateway);
  }
  const [here, there] = gateways;
  assert.ok(here && there);
  const count = (index: number, text: string): number =>
    texts[index]?.filter((one) => one === text).length ?? 0;
  let asked = 0;
  await until('both to be subscribed', () => {
    if (count(1, 'are you there?') > asked) return true;
    say(there.broker, 'shared/a', 'are you there?');
    asked++;
    return false;
  });
  for (const text of ['one', 'two', 'three', 'four']) {
    say(here.broker, 'shared/a', text);
    await until('it to come round', () => count(0, text) > 1);
  }
  assert.deepEqual([count(0, 'one'), count(1, 'one')], [2, 1]);
});

test('status is announced on each connection, with offline as the will', async () => {
  const far = await FarSide.create(cleanups);
  await far.start();
  const client = await far.client();
  const got = await listen(client, 'plants/p7/status');
  const { uplink } = await newGateway({ nodes: [far.url], statusTopic: 'plants/p7/status' });
  await until('online', () => got.at(-1)?.text === 'online');
  await uplink.stop();
  await until('offline', () => got.at(-1)?.text === 'offline');
});

test('retained topics that are announced are there again after the far side forgot them', async () => {
  const far = await FarSide.create(cleanups);
  const out = [ruleOf('p7/data/#', 'plants/p7/data/#')];
  const { broker } = await newGateway({ nodes: [far.url], out, announce: ['p7/data/press/#'] });
  say(broker, 'p7/data/press/state', 'ready', true);
  for (let round = 0; round < 2; round++) {
    await far.start();
    const got = await listen(await far.client(), 'plants/#');
    await until('the announcement', () => got.some(({ text }) => text === 'ready'));
    await far.stop();
  }
});
