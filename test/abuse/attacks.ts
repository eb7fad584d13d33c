/** The abuse cases: what each does until its time is over. None of them may harm anybody but itself. */
import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { encodeFrame, OPCODE } from '../support/websocket.js';
import * as wire from '../support/wire.js';
import { first, MALLORY, type Mob } from './mob.js';

export interface Target {
  readonly mqtt: number;
  readonly mqtts: number;
  readonly ws: number;
  readonly http: number;
  /** Connections of the case of the idle. */
  readonly idleCount: number;
  /** Replaces the gateway file and has it read. */
  reloadWith(text: string): Promise<void>;
}

export type Attack = (mob: Mob, target: Target) => Promise<void>;

const many = (count: number, make: (index: number) => Buffer): Buffer =>
  Buffer.concat(Array.from({ length: count }, (_, index) => make(index)));
const publish = (topic: string, payload: string | Uint8Array, qos = 0, id = 1, retain = false): Buffer =>
  wire.publish(4, { topic, payload, qos, id, retain });
const each = async <T>(count: number, one: (index: number) => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: count }, (_, index) => one(index)));
/** Asks for a WebSocket. */
const UPGRADE =
  'GET /mqtt HTTP/1.1\r\nhost: 127.0.0.1\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n' +
  'sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\nsec-websocket-protocol: mqtt\r\n\r\n';
const kilobytes = (count: number): Buffer => Buffer.alloc(count * 1024, 0x61);

/** Waits until all that was sent before is done with. */
async function settled(socket: Socket): Promise<void> {
  socket.write(wire.PINGREQ);
  await first(socket, 'data', 'close');
}

/** Opened a few at a time, as a kernel's queue wants it. */
async function openMany(count: number, one: (index: number) => Promise<Socket>): Promise<Socket[]> {
  const sockets: Socket[] = [];
  for (let at = 0; at < count; at += 100)
    sockets.push(...(await each(Math.min(100, count - at), (index) => one(at + index))));
  return sockets;
}

async function slowReaders(mob: Mob, { mqtt }: Target): Promise<void> {
  await each(40, async (index) => {
    const reader = await mob.client(mqtt, `slow${index}`);
    reader.write(wire.subscribe(4, 1, [['abuse/slow', index % 2]]));
    reader.pause();
  });
  const publisher = await mob.client(mqtt, 'slow-feeder');
  const flood = many(8, (index) => publish('abuse/slow', kilobytes(4), index % 2, index + 1));
  await mob.pump(publisher, () => flood);
}

async function publishFlood(mob: Mob, { mqtt }: Target): Promise<void> {
  const flood = many(500, () => publish('abuse/flood', 'x'.repeat(64)));
  await each(4, async (index) => mob.pump(await mob.client(mqtt, `flood${index}`), () => flood));
}

/** Their answers are never read. */
async function acknowledgementFlood(mob: Mob, { mqtt }: Target): Promise<void> {
  const publishes = many(1000, (index) => publish('abuse/acked', 'x', 1, index + 1));
  const pings = many(4000, () => wire.PINGREQ);
  await each(4, async (index) => {
    const socket = await mob.client(mqtt, `deaf${index}`);
    socket.pause();
    await mob.pump(socket, () => (index % 2 === 0 ? publishes : pings));
  });
}

async function subscribeFlood(mob: Mob, { mqtt }: Target): Promise<void> {
  let count = 0;
  await each(4, async (client) => {
    const socket = await mob.client(mqtt, `subscriber${client}`);
    await mob.pump(socket, () =>
      many(100, (index) => wire.subscribe(4, index + 1, [[`abuse/s${count++ % 1000}/+/#`, 1]])),
    );
  });
}

async function subscriptionBomb(mob: Mob, { mqtt }: Target): Promise<void> {
  let count = 0;
  const bomber = await mob.client(mqtt, 'bomber');
  const publisher = await mob.client(mqtt, 'bomb-feeder');
  void mob.pump(publisher, () => publish('abuse/a/b/c/d/e/f/g/h', 'x'));
  await mob.pump(bomber, () =>
    many(100, (index) => {
      const bits = count++;
      const levels = Array.from({ length: 8 }, (_, level) =>
        (bits >> level) & 1 ? '+' : 'abcdefgh'.charAt(level),
      );
      return wire.subscribe(4, index + 1, [
        [bits < 256 ? `abuse/${levels.join('/')}` : `abuse/b/${bits}/#`, 0],
      ]);
    }),
  );
}

async function shareBomb(mob: Mob, { mqtt }: Target): Promise<void> {
  let count = 0;
  const bomber = await mob.client(mqtt, 'sharer', { version: 5 });
  const publisher = await mob.client(mqtt, 'share-feeder');
  void mob.crowd(1, async () => {
    publisher.write(publish('abuse/shared', 'x', 1));
    await pause(20);
  });
  await mob.pump(bomber, () =>
    many(100, (index) => wire.subscribe(5, index + 1, [[`$share/g${count++ % 20_000}/abuse/shared`, 0]])),
  );
}

/** Each topic leads to a list of its own, and none of them is like another. */
async function shareLists(mob: Mob, { mqtt }: Target): Promise<void> {
  const sharer = await mob.client(mqtt, 'list-sharer', { version: 5 });
  const publisher = await mob.client(mqtt, 'list-feeder');
  for (let at = 0; at < 5000 && !mob.isOver; at += 100)
    sharer.write(
      many(100, (index) => wire.subscribe(5, index + 1, [[`$share/g${at + index}/abuse/lists/#`, 0]])),
    );
  await settled(sharer);
  const topics = many(50, (index) => publish(`abuse/lists/${index}`, 'x'));
  for (let round = 0; !mob.isOver; round++) {
    publisher.write(round < 2 ? topics : publish(`abuse/lists/${Math.floor(round / 3)}`, 'x'));
    await pause(10);
  }
}

async function connectFlood(mob: Mob, { mqtt }: Target): Promise<void> {
  let count = 0;
  await mob.crowd(50, async () => {
    const socket = await mob.client(mqtt, `c${count++}`);
    socket.resetAndDestroy();
  });
}

async function takeoverStorm(mob: Mob, { mqtt }: Target): Promise<void> {
  const will = { topic: 'abuse/will', payload: 'gone', qos: 1 };
  await mob.crowd(30, async () => {
    const socket = await mob.client(mqtt, 'everybody', { clean: false, will });
    socket.write(wire.subscribe(4, 1, [['abuse/will', 1]]));
    await pause(10);
  });
  await mob.client(mqtt, 'everybody');
}

async function loginGuessing(mob: Mob, { mqtt }: Target): Promise<void> {
  await mob.crowd(50, async (index) => {
    const username = index % 2 === 0 ? 'plant' : `nobody${index}`;
    const socket = await mob.client(mqtt, 'guess', { username, password: randomBytes(8).toString('hex') });
    socket.destroy();
    await pause(5);
  });
}

async function slowLoris(mob: Mob, { mqtt, ws, http, mqtts }: Target): Promise<void> {
  const connect = wire.connect({ version: 4, clientId: 'x'.repeat(200), ...MALLORY });
  const request = Buffer.from(`GET /mqtt HTTP/1.1\r\nhost: 127.0.0.1\r\nx-filler: ${'x'.repeat(4000)}`);
  const sockets = await openMany(400, (index) => mob.open([mqtt, ws, http, mqtts][index % 4] ?? mqtt));
  for (let at = 0; !mob.isOver; at += 1) {
    sockets.forEach((socket, index) => {
      const bytes = index % 4 === 0 ? connect : request;
      if (!socket.destroyed) socket.write(bytes.subarray(at % bytes.length, (at % bytes.length) + 1));
    });
    await pause(20);
  }
}

/** Peers that went silent, with and without a will. */
async function halfOpen(mob: Mob, { mqtt }: Target): Promise<void> {
  await openMany(500, async (index) => {
    const will = { topic: `abuse/gone/${index}`, payload: 'x' };
    const socket = await mob.client(mqtt, `silent${index}`, {
      keepAliveS: 1,
      ...(index % 2 ? { will } : {}),
    });
    socket.pause();
    return socket;
  });
  await mob.rest();
}

async function idleCrowd(mob: Mob, { mqtt, idleCount }: Target): Promise<void> {
  await openMany(idleCount, (index) => mob.client(mqtt, `idle${index}`));
  await mob.rest();
}

async function neverReleased(mob: Mob, { mqtt }: Target): Promise<void> {
  await each(4, async (index) => {
    let id = 0;
    while (!mob.isOver) {
      const socket = await mob.client(mqtt, `qos2-${index}`, { clean: false });
      await mob.pump(socket, () =>
        many(500, () => publish('abuse/two', 'x'.repeat(100), 2, (id++ % 65_535) + 1)),
      );
      socket.destroy();
    }
    // Leaves nothing behind: a clean session ends the kept one.
    await mob.client(mqtt, `qos2-${index}`);
  });
}

async function giantTopics(mob: Mob, { mqtt }: Target): Promise<void> {
  const deep = `abuse${'/'.repeat(65_000)}`;
  let count = 0;
  await each(3, async (index) => {
    const socket = await mob.client(mqtt, `deep${index}`);
    const next =
      [
        () => publish(deep, 'x'),
        () => wire.subscribe(4, 1, [[`${deep}#`, 0]]),
        () => publish(`abuse/${count++}/${'y'.repeat(65_000)}`, 'x'),
      ][index] ?? ((): Buffer => wire.PINGREQ);
    await mob.pump(socket, next);
  });
}

async function retainedFlood(mob: Mob, { mqtt }: Target): Promise<void> {
  let count = 0;
  const kept = kilobytes(1);
  await each(2, async (index) => {
    const socket = await mob.client(mqtt, `keeper${index}`);
    await mob.pump(socket, () => many(50, () => publish(`abuse/kept/${count++}`, kept, 0, 1, true)));
    await settled(socket);
  });
  // As its operator would, as soon as he is let in again.
  let sweeper = await mob.client(mqtt, 'sweeper');
  while (sweeper.destroyed) {
    await pause(200);
    sweeper = await mob.client(mqtt, 'sweeper');
  }
  for (let at = 0; at < count; at += 1000) {
    const sweep = many(1000, (index) => publish(`abuse/kept/${at + index}`, '', 0, 1, true));
    if (!sweeper.write(sweep)) await first(sweeper, 'drain', 'close');
  }
  await settled(sweeper);
}

async function queueFlood(mob: Mob, { mqtt }: Target): Promise<void> {
  const away = await each(20, async (index) => {
    const socket = await mob.client(mqtt, `away${index}`, { clean: false });
    socket.write(wire.subscribe(4, 1, [['abuse/away', 1]]));
    await first(socket, 'data', 'close');
    socket.destroy();
    return index;
  });
  const socket = await mob.client(mqtt, 'queue-feeder');
  let id = 0;
  await mob.pump(socket, () => many(20, () => publish('abuse/away', kilobytes(1), 1, (id++ % 65_535) + 1)));
  await each(away.length, (index) => mob.client(mqtt, `away${index}`));
}

/** Each protocol on the others' ports. */
async function garbage(mob: Mob, { mqtt, ws, http, mqtts }: Target): Promise<void> {
  const texts = [
    Buffer.from(UPGRADE),
    Buffer.from(`GET / HTTP/1.1\r\n${'a: b\r\n'.repeat(5000)}\r\n`),
    Buffer.from(`POST /${'../'.repeat(2000)}etc/passwd HTTP/1.1\r\ncontent-length: 99999999999\r\n\r\n`),
    wire.connect({ version: 5, clientId: 'x', ...MALLORY }),
    Buffer.from([0x16, 0x03, 0x01, 0xff, 0xff]),
    Buffer.from([0x10, 0xff, 0xff, 0xff, 0x7f]),
  ];
  await mob.crowd(20, async () => {
    const pick = Math.floor(Math.random() * texts.length);
    const socket = await mob.open([mqtt, ws, http, mqtts][Math.floor(Math.random() * 4)] ?? mqtt);
    socket.resume();
    socket.write(
      Buffer.concat([
        texts[pick] ?? Buffer.alloc(0),
        randomBytes(200),
        encodeFrame(OPCODE.text, randomBytes(50)),
      ]),
    );
    await pause(20);
    socket.destroy();
  });
}

async function halfHandshakes(mob: Mob, { mqtts }: Target): Promise<void> {
  const hello = Buffer.concat([
    Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03]),
    randomBytes(40),
  ]);
  const sockets = await openMany(300, () => mob.open(mqtts));
  for (const socket of sockets) socket.write(hello);
  await mob.rest();
}

async function hostileCommands(mob: Mob, { mqtt }: Target): Promise<void> {
  const payloads = [
    '['.repeat(100_000),
    '{"a":'.repeat(50_000),
    `{"v":1e999999,"id":"${'x'.repeat(60_000)}"}`,
    '9'.repeat(100_000),
    '{"__proto__":{"v":1},"constructor":{"prototype":{"ok":true}},"v":1}',
    '{"v":1,"ttl":"999999999999h"}',
    '\u0000\u001b[31m\n{"level":"error"}',
  ];
  const topics = [
    'holdfast/gw/set/dut/w',
    'holdfast/gw/set/__proto__/constructor',
    'holdfast/gw/req/status',
    'holdfast/gw/get/dut/../../t0',
  ];
  let count = 0;
  await each(2, async (index) => {
    const socket = await mob.client(mqtt, `commander${index}`);
    await mob.pump(socket, () =>
      publish(topics[count % topics.length] ?? '', payloads[count++ % payloads.length] ?? ''),
    );
  });
}

async function prototypes(mob: Mob, { mqtt }: Target): Promise<void> {
  const names = [
    '__proto__',
    'constructor',
    'prototype',
    'toString',
    'hasOwnProperty',
    '../../../etc/passwd',
    'a\nb',
  ];
  await mob.crowd(10, async (index) => {
    const name = names[index % names.length] ?? '';
    const socket = await mob.client(mqtt, name, {
      version: 5,
      properties: [[wire.PROPERTY.user, [name, name]]],
    });
    socket.write(
      Buffer.concat([
        wire.subscribe(5, 1, [
          [`abuse/${name}/#`, 2],
          [`$share/${name.replaceAll('/', '_')}/abuse/#`, 1],
        ]),
        wire.publish(5, {
          topic: `abuse/${name}/${name}`,
          payload: name,
          qos: 1,
          properties: [[wire.PROPERTY.user, [name, name]]],
        }),
        wire.unsubscribe(5, 2, [`abuse/${name}/#`]),
      ]),
    );
    await pause(10);
    socket.destroy();
  });
}

/** A large packet in segments of a byte. */
async function fragments(mob: Mob, { mqtt }: Target): Promise<void> {
  const large = publish('abuse/large', kilobytes(250));
  await each(6, async (index) => {
    const socket = await mob.client(mqtt, `crumbs${index}`);
    socket.setNoDelay(true);
    for (let at = 0; !mob.isOver && !socket.destroyed; at = (at + 1) % large.length) {
      socket.write(large.subarray(at, at + 1));
      if (at % 50 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
  });
}

/** A message in thousands of frames. */
async function webSocketFragments(mob: Mob, { ws }: Target): Promise<void> {
  const crumb = encodeFrame(OPCODE.continuation, Buffer.from('x'), { isFinal: false });
  const flood = many(500, () => crumb);
  await each(6, async () => {
    while (!mob.isOver) {
      const socket = await mob.open(ws);
      socket.resume();
      socket.write(UPGRADE);
      await first(socket, 'data', 'close');
      socket.write(encodeFrame(OPCODE.binary, Buffer.from('x'), { isFinal: false }));
      await mob.pump(socket, () => flood);
    }
  });
}

async function yamlBombs(mob: Mob, target: Target): Promise<void> {
  const aliases = Array.from(
    { length: 30 },
    (_, level) => `a${level}: &a${level} [${`*a${level - 1},`.repeat(level === 0 ? 0 : 9)}]`,
  );
  const bombs = [
    aliases.join('\n'),
    `a: ${'['.repeat(100_000)}`,
    `x: &x { <<: *x, __proto__: { a: 1 } }`,
    'k'.repeat(2_000_000),
  ];
  for (const bomb of bombs) if (!mob.isOver) await target.reloadWith(bomb);
  await mob.rest();
}

export const ATTACKS: Readonly<Record<string, Attack>> = {
  'slow readers': slowReaders,
  'flood of PUBLISH': publishFlood,
  'flood of answers nobody reads': acknowledgementFlood,
  'flood of SUBSCRIBE': subscribeFlood,
  'subscriptions bomb': subscriptionBomb,
  '$share bomb': shareBomb,
  'topics that all lead to thousands': shareLists,
  'flood of CONNECT': connectFlood,
  'takeover storm': takeoverStorm,
  'login guessing': loginGuessing,
  'slow-loris on every port': slowLoris,
  'half-open peers': halfOpen,
  'idle connections': idleCrowd,
  'QoS 2 never released': neverReleased,
  'giant and deep topics': giantTopics,
  'flood of retained messages': retainedFlood,
  'flood to sessions that are away': queueFlood,
  'protocols on the wrong ports': garbage,
  'TLS half handshakes': halfHandshakes,
  'hostile commands': hostileCommands,
  '__proto__ everywhere': prototypes,
  'packets in crumbs': fragments,
  'WebSocket messages in crumbs': webSocketFragments,
  'YAML bombs': yamlBombs,
};
