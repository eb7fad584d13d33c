/** Far sides that misbehave: what an uplink owes them stays owed, arrives in the end, and holds up nothing else. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, describe, test } from 'node:test';
import { OddBroker, type OddOptions } from '../support/oddbroker.js';
import { startUplink } from '../support/uplink.js';
import { until } from '../support/wait.js';
import * as wire from '../support/wire.js';

const root = mkdtempSync(join(tmpdir(), 'holdfast-hostile-'));
after(() => rmSync(root, { recursive: true, force: true }));
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function setUp(options: OddOptions, count = 20) {
  const far = await OddBroker.start(options, cleanups);
  const { broker, uplink } = await startUplink(
    mkdtempSync(join(root, 'queue-')),
    { nodes: [far.url] },
    cleanups,
  );
  for (let i = 0; i < count; i++) {
    const topic = `p7/data/meter${i % 4}/power`;
    broker.publish({ topic, payload: Buffer.from(String(i)), qos: 1, retain: false, sender: null });
  }
  return { far, uplink };
}

const numbers = (count: number): number[] => Array.from({ length: count }, (_none, i) => i);
const valueOf = ({ payload }: wire.Packet): number => Number(payload.toString());

describe('a far side that', () => {
  test('acknowledges late gets everything once', async () => {
    const got: number[] = [];
    const { uplink } = await setUp({
      take: (packet, socket) => {
        got.push(valueOf(packet));
        setTimeout(() => socket.write(wire.acknowledge('PUBACK', packet.id)), 200);
      },
    });
    await until('an empty queue', () => uplink.about().queuedMessages === 0, 20_000);
    assert.deepEqual(
      [...got].sort((a, b) => a - b),
      numbers(20),
    );
  });

  test('disconnects after each publication that it acknowledged gets everything', async () => {
    const got = new Set<number>();
    const { uplink } = await setUp({
      take: (packet, socket) => {
        got.add(valueOf(packet));
        socket.end(wire.acknowledge('PUBACK', packet.id));
      },
    });
    await until('an empty queue', () => uplink.about().queuedMessages === 0, 60_000);
    assert.equal(got.size, 20);
    assert.equal(uplink.about().refused, 0);
  });

  test('has a Receive Maximum of 1 never has two under way', async () => {
    let most = 0;
    let underWay = 0;
    const { uplink } = await setUp({
      connack: [[wire.PROPERTY.receiveMaximum, 1]],
      take: (packet, socket) => {
        most = Math.max(most, ++underWay);
        setImmediate(() => {
          underWay--;
          socket.write(wire.acknowledge('PUBACK', packet.id));
        });
      },
    });
    await until('an empty queue', () => uplink.about().queuedMessages === 0);
    assert.equal(most, 1);
  });

  test('refuses a topic gets everything else, and the refusals are counted', async () => {
    const got: number[] = [];
    const { uplink } = await setUp({
      take: (packet, socket) => {
        const isRefused = packet.topic.includes('meter1');
        if (!isRefused) got.push(valueOf(packet));
        socket.write(wire.acknowledge('PUBACK', packet.id, isRefused ? 0x87 : 0));
      },
    });
    await until('an empty queue', () => uplink.about().queuedMessages === 0);
    assert.equal(got.length, 15);
    assert.equal(uplink.about().refused, 5);
  });

  test('cannot take messages for a while gets them later', async () => {
    const got: number[] = [];
    const { far, uplink } = await setUp({
      take: (packet, socket, connection) => {
        if (connection > 1) got.push(valueOf(packet));
        socket.write(wire.acknowledge('PUBACK', packet.id, connection > 1 ? 0 : 0x97));
      },
    });
    await until('an empty queue', () => uplink.about().queuedMessages === 0, 20_000);
    assert.deepEqual(
      [...got].sort((a, b) => a - b),
      numbers(20),
    );
    assert.equal(uplink.about().refused, 0);
    assert.equal(far.connections, 2);
  });

  test('ends the connection at one message gets all others, and that one is given up', async () => {
    const got = new Set<number>();
    const { uplink } = await setUp({
      take: (packet, socket) => {
        if (valueOf(packet) === 5) return void socket.destroy();
        got.add(valueOf(packet));
        socket.write(wire.acknowledge('PUBACK', packet.id));
      },
    });
    await until('an empty queue', () => uplink.about().queuedMessages === 0, 60_000);
    assert.deepEqual(
      [...got].sort((a, b) => a - b),
      numbers(20).filter((i) => i !== 5),
    );
    assert.equal(uplink.about().refused, 1);
  });

  test('takes nothing at all makes the uplink drop nothing', async () => {
    const { far, uplink } = await setUp({ take: (_packet, socket) => void socket.destroy() });
    await until('several attempts', () => far.connections >= 4, 60_000);
    assert.equal(uplink.about().queuedMessages, 20);
    assert.equal(uplink.about().refused, 0);
  });

  test('takes small packets only is not sent larger ones', async () => {
    const got: wire.Packet[] = [];
    const far = await OddBroker.start(
      {
        connack: [
          [wire.PROPERTY.maximumPacketSize, 200],
          [wire.PROPERTY.retainAvailable, 0],
          [wire.PROPERTY.maximumQoS, 0],
        ],
        take: (packet) => got.push(packet),
      },
      cleanups,
    );
    const { broker, uplink } = await startUplink(
      mkdtempSync(join(root, 'queue-')),
      { nodes: [far.url] },
      cleanups,
    );
    for (const length of [10, 1000, 20]) {
      const payload = Buffer.alloc(length, 'x');
      broker.publish({ topic: 'p7/data/a/b', payload, qos: 1, retain: true, sender: null });
    }
    await until('an empty queue', () => uplink.about().queuedMessages === 0);
    await until('both', () => got.length === 2);
    assert.deepEqual(
      got.map(({ payload, retain, qos }) => [payload.length, retain, qos]),
      [
        [10, false, 0],
        [20, false, 0],
      ],
    );
    assert.equal(uplink.about().refused, 1);
  });
});
