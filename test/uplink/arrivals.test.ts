/** What comes in is acknowledged over there when it is kept here, and stays there while it cannot be. */
import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, test } from 'node:test';
import { type Clock, systemClock } from '../../src/clock.js';
import { silentLog } from '../../src/log.js';
import type { OpenFile } from '../../src/store/files.js';
import { MemoryDisk } from '../support/memorydisk.js';
import { OddBroker } from '../support/oddbroker.js';
import { ShiftedClock } from '../support/shiftedclock.js';
import { storeOn } from '../support/stores.js';
import { ruleOf, startUplink } from '../support/uplink.js';
import { until } from '../support/wait.js';
import * as wire from '../support/wire.js';

const root = mkdtempSync(join(tmpdir(), 'holdfast-arrivals-'));
after(() => rmSync(root, { recursive: true, force: true }));
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** Its syncs wait as long as it is held. */
class HeldDisk extends MemoryDisk {
  #held: Promise<void> = Promise.resolve();
  letGo = (): void => {};

  hold(): void {
    this.#held = new Promise((resolve) => (this.letGo = resolve));
  }

  override async open(path: string, mode: 'read' | 'create'): Promise<OpenFile> {
    const file = await super.open(path, mode);
    return {
      ...file,
      sync: async () => {
        await this.#held;
        await file.sync();
      },
    };
  }
}

/** Retained, so that the store has to keep it though nobody is subscribed. */
function say(socket: Socket, id: number, qos: 1 | 2, payload = String(id), dup = false): void {
  const topic = `orders/${id}`;
  socket.write(wire.publish(5, { topic, payload, qos, id, dup, retain: true, properties: [] }));
}

/** A gateway whose `in` rule is for orders/#; what came there, and what the far side was told. */
async function setUp(
  disk: MemoryDisk,
  subscribed: (socket: Socket, connection: number) => void,
  hasSession = true,
  { clock = systemClock, lost = () => {} }: { clock?: Clock; lost?: () => void } = {},
) {
  const told: string[] = [];
  const here: string[] = [];
  let current: Socket | undefined;
  const far = await OddBroker.start(
    {
      take: () => {},
      hasSession,
      subscribed: (socket, connection) => {
        current = socket;
        subscribed(socket, connection);
      },
      acknowledged: ({ type, id }) => void told.push(`${type} ${id}`),
    },
    cleanups,
  );
  const store = storeOn(disk);
  const warned: string[] = [];
  const warn = (text: string): void => {
    warned.push(text);
    if (text.startsWith('uplink not connected')) lost();
  };
  const log = { ...silentLog, warn };
  const { broker, uplink } = await startUplink(
    mkdtempSync(join(root, 'queue-')),
    { nodes: [far.url], out: [], in: [ruleOf('orders/#', 'orders/#', { qos: 2 })] },
    cleanups,
    { store, log, clock, opened: () => (disk instanceof HeldDisk ? disk.hold() : undefined) },
  );
  // Before the broker is closed, which needs the disk.
  cleanups.push(() => {
    disk.failWrites = null;
    if (disk instanceof HeldDisk) disk.letGo();
  });
  broker.subscribe('orders/#', { deliver: ({ payload }) => here.push(Buffer.from(payload).toString()) });
  await until('the subscription', () => current);
  return { told, here, far, uplink, store, warned, socket: () => current ?? assert.fail('no connection') };
}

const COUNT = 200;
const all = (word: string): string[] => Array.from({ length: COUNT }, (_none, i) => `${word} ${i + 1}`);

for (const [qos, word] of [
  [1, 'PUBACK'],
  [2, 'PUBREC'],
] as const)
  test(`at QoS ${qos} many under way are told in their order, and none before the disk has it`, async () => {
    const disk = new HeldDisk();
    const { told, here } = await setUp(disk, (socket) => {
      for (let id = 1; id <= COUNT; id++) say(socket, id, qos);
    });
    await until('all of them here', () => here.length === COUNT);
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(told, []);
    const syncs = disk.syncCount;
    disk.letGo();
    await until('all to be told', () => told.length === COUNT);
    assert.deepEqual(told, all(word));
    assert.ok(disk.syncCount - syncs < COUNT / 10, `${disk.syncCount - syncs} syncs`);
  });

test('what has texts that are none, or a response topic that is none, does not come in and costs nothing else', async () => {
  const { PROPERTY } = wire;
  const noText = Buffer.alloc(60_000, 0xff);
  const unsound: wire.Property[] = [
    [PROPERTY.contentType, noText],
    [PROPERTY.contentType, 'a\0b'],
    [PROPERTY.user, ['name', noText]],
    [PROPERTY.user, ['a\0b', '']],
    [PROPERTY.responseTopic, 'orders/#'],
    [PROPERTY.responseTopic, 'a\0b'],
    [PROPERTY.responseTopic, ''],
  ];
  const { told, here, far } = await setUp(new MemoryDisk(), (socket) => {
    unsound.forEach((property, i) =>
      socket.write(
        wire.publish(5, { topic: 'orders/1', payload: 'no', qos: 1, id: i + 1, properties: [property] }),
      ),
    );
    say(socket, 99, 1);
  });
  await until('all to be told', () => told.length === unsound.length + 1);
  assert.deepEqual(here, ['99']);
  assert.equal(far.connections, 1);
});

test('what the store refuses is not told, and is asked for again when there is room', async () => {
  const disk = new MemoryDisk();
  const { told, here, far, store, warned, socket } = await setUp(disk, (one, connection) => {
    if (connection > 1) for (let id = 2; id <= 9; id++) say(one, id, 1);
  });
  say(socket(), 1, 1);
  await until('it to be told', () => told.length === 1);
  disk.failWrites = 'ENOSPC';
  // Taken before the disk is found to be full: it waits for its acknowledgement.
  say(socket(), 2, 1);
  await until('the disk to be full', () => !store.isHealthy);
  for (let id = 3; id <= 9; id++) say(socket(), id, 1);
  await until('a refusal', () => warned.some((text) => /the store refuses/.test(text)));
  assert.deepEqual([told, here], [['PUBACK 1'], ['1', '2']]);
  disk.failWrites = null;
  await until('all to be told', () => new Set(told).size === 9);
  assert.equal(far.connections, 2);
  assert.deepEqual(here.slice(-7), ['3', '4', '5', '6', '7', '8', '9']);
});

test('at QoS 2 what comes again on the next connection comes here once, until its identifier is released', async () => {
  const { told, here, far, socket } = await setUp(new MemoryDisk(), (one, connection) =>
    say(one, 7, 2, 'first', connection > 1),
  );
  await until('PUBREC', () => told.length === 1);
  socket().destroy();
  await until('PUBREC again', () => told.length === 2);
  assert.equal(far.connections, 2);
  socket().write(wire.acknowledge('PUBREL', 7));
  await until('PUBCOMP', () => told.length === 3);
  say(socket(), 7, 2, 'second');
  await until('the next one', () => told.length === 4);
  assert.deepEqual(told, ['PUBREC 7', 'PUBREC 7', 'PUBCOMP 7', 'PUBREC 7']);
  assert.deepEqual(here, ['first', 'second']);
});

test('at QoS 2 what comes again after a kill comes here once, until its identifier is released', async () => {
  const far = await OddBroker.start(
    {
      take: () => {},
      hasSession: true,
      subscribed: (one) => say(one, 7, 2, 'first'),
      acknowledged: ({ type, id }, one) => {
        told.push(`${type} ${id}`);
        if (told.length === 2) one.write(wire.acknowledge('PUBREL', 7));
        if (type === 'PUBCOMP') say(one, 7, 2, 'first');
      },
    },
    cleanups,
  );
  const told: string[] = [];
  const here: string[] = [];
  const start = async (queueFolder: string) => {
    const options = { nodes: [far.url], in: [ruleOf('orders/#', 'orders/#', { qos: 2 })] };
    const gateway = await startUplink(queueFolder, options, cleanups);
    gateway.broker.subscribe('orders/#', {
      deliver: ({ payload }) => here.push(Buffer.from(payload).toString()),
    });
    return gateway;
  };
  const folder = mkdtempSync(join(root, 'queue-'));
  const { uplink, queue } = await start(folder);
  await until('PUBREC', () => told.length === 1);
  await queue.commit();
  const left = mkdtempSync(join(root, 'queue-'));
  cpSync(folder, left, { recursive: true });
  await uplink.stop();
  await start(left);
  await until('what is another one', () => told.length === 4);
  assert.deepEqual(told, ['PUBREC 7', 'PUBREC 7', 'PUBCOMP 7', 'PUBREC 7']);
  assert.deepEqual(here, ['first', 'first']);
});

const order = (one: Socket, id: number, payload: string, dup = false): void => {
  const topic = 'orders/a';
  one.write(wire.publish(5, { topic, payload, qos: 1, id, dup, retain: false, properties: [] }));
};

test('at QoS 1 what comes again on the next connection, under whatever identifier, comes here once', async () => {
  const { told, here, socket } = await setUp(new MemoryDisk(), (one, connection) => {
    if (connection === 1) order(one, 7, 'first');
    else order(one, 1, 'first', true);
  });
  await until('PUBACK', () => told.length === 1);
  socket().destroy();
  await until('PUBACK again', () => told.length === 2);
  order(socket(), 2, 'other', true);
  order(socket(), 3, 'first');
  await until('what is no repetition', () => told.length === 4);
  assert.deepEqual(told, ['PUBACK 7', 'PUBACK 1', 'PUBACK 2', 'PUBACK 3']);
  assert.deepEqual(here, ['first', 'other', 'first']);
});

test('at QoS 1 an order whose first sending was lost is none that comes again, though an older one said the same', async () => {
  const { told, here, socket } = await setUp(new MemoryDisk(), (one, connection) => {
    if (connection === 1) for (const [id, text] of ['on', 'off'].entries()) order(one, id + 1, text);
    else order(one, 3, 'on', true);
  });
  await until('two PUBACKs', () => told.length === 2);
  socket().destroy();
  await until('the third', () => told.length === 3);
  socket().destroy();
  await until('the third again', () => told.length === 4);
  assert.deepEqual(told, ['PUBACK 1', 'PUBACK 2', 'PUBACK 3', 'PUBACK 3']);
  assert.deepEqual(here, ['on', 'off', 'on']);
});

test('at QoS 1 all that come again in a row come here once', async () => {
  const { told, here, socket } = await setUp(new MemoryDisk(), (one, connection) => {
    for (const [id, text] of ['on', 'off'].entries()) order(one, id + 1, text, connection > 1);
  });
  await until('two PUBACKs', () => told.length === 2);
  socket().destroy();
  await until('both again', () => told.length === 4);
  assert.deepEqual(here, ['on', 'off']);
});

test('at QoS 1 thousands that come again come here once', async () => {
  const count = 3000;
  const { told, here, socket } = await setUp(new MemoryDisk(), (one, connection) => {
    for (let id = 1; id <= count; id++) say(one, id, 1, String(id), connection > 1);
  });
  await until('all PUBACKs', () => told.length === count);
  socket().destroy();
  await until('all again', () => told.length === 2 * count);
  assert.equal(here.length, count);
});

test('at QoS 1 what comes again only after a long outage and a short connection comes here once', async () => {
  const clock = new ShiftedClock();
  const { told, here, far, socket } = await setUp(
    new MemoryDisk(),
    (one, connection) => {
      if (connection === 2) one.destroy();
      else order(one, 1, 'first', connection > 1);
    },
    true,
    // Between the connections, longer than the far side would need to hear of an acknowledgement.
    { clock, lost: () => clock.pass(60_000) },
  );
  await until('PUBACK', () => told.length === 1);
  socket().destroy();
  await until('PUBACK again', () => told.length === 2, 20_000);
  assert.equal(far.connections, 3);
  assert.deepEqual(here, ['first']);
});

test('an order that is retained over there is one here, whatever its rule says of RETAIN', async () => {
  const far = await OddBroker.start(
    {
      take: () => {},
      subscribed: (socket) => {
        for (const topic of ['orders/a', 'data/a'])
          socket.write(wire.publish(5, { topic, payload: '1', qos: 0, retain: true, properties: [] }));
      },
    },
    cleanups,
  );
  const { broker } = await startUplink(
    mkdtempSync(join(root, 'queue-')),
    { nodes: [far.url], out: [], in: [ruleOf('#', '#', { retain: 'never' })] },
    cleanups,
    { neverRetained: ['orders/#'] },
  );
  const flags = new Map<string, boolean>();
  broker.subscribe('#', { deliver: ({ topic, retain }) => flags.set(topic, retain) });
  await until('both', () => flags.size === 2);
  assert.deepEqual([flags.get('orders/a'), flags.get('data/a')], [true, false]);
});

test('an uplink that stops in good order tells of all it took', async () => {
  const disk = new HeldDisk();
  const { told, here, uplink } = await setUp(disk, (socket) => {
    for (let id = 1; id <= COUNT; id++) say(socket, id, 1);
  });
  await until('all of them here', () => here.length === COUNT);
  const stopped = uplink.stop();
  disk.letGo();
  await stopped;
  await until('all to be told', () => told.length === COUNT);
});
