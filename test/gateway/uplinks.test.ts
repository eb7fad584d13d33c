/** What the uplinks of a plant are told of its devices. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Broker } from '../../src/broker/broker.js';
import { systemClock } from '../../src/clock.js';
import { loadPlant } from '../../src/config/loadplant.js';
import type { Plant } from '../../src/config/plant.js';
import { Uplinks } from '../../src/gateway/uplinks.js';
import { silentLog } from '../../src/log.js';
import { Metrics } from '../../src/metrics.js';
import { MemoryStore } from '../../src/store/memory.js';
import { OddBroker } from '../support/oddbroker.js';
import { until } from '../support/wait.js';
import * as wire from '../support/wire.js';

const folder = mkdtempSync(join(tmpdir(), 'holdfast-uplinks-'));
const cleanups: (() => unknown)[] = [];
after(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup();
  rmSync(folder, { recursive: true });
});

/** The uplinks of a plant, and what came in by them. */
async function start(plant: Plant, isActiveAtFirst = true) {
  const broker = new Broker({ store: new MemoryStore(), systemIntervalMs: 0 });
  await broker.open();
  cleanups.push(() => broker.close());
  const here: string[] = [];
  broker.subscribe('orders/#', { deliver: ({ payload }) => here.push(Buffer.from(payload).toString()) });
  let isActive = isActiveAtFirst;
  const uplinks = new Uplinks({
    broker,
    clock: systemClock,
    log: silentLog,
    metrics: new Metrics(),
    isActive: () => isActive,
    changed: () => {},
  });
  await uplinks.take(plant);
  cleanups.push(async () => {
    await uplinks.disconnect();
    uplinks.leave();
    await uplinks.close();
  });
  return { uplinks, here, become: (isIt: boolean) => (isActive = isIt) };
}

async function load(text: string): Promise<Plant> {
  const file = join(folder, 'gateway.yaml');
  writeFileSync(file, `version: 1\ngateway: { id: p7 }\nbroker: { anonymous: true, store: memory }\n${text}`);
  const { plant, problems } = await loadPlant(file);
  assert.ok(plant !== null, JSON.stringify(problems));
  return plant;
}

test('a device that another gateway asks now is no news', async () => {
  const heard: string[] = [];
  const take = ({ topic, id }: wire.Packet, socket: { write(bytes: Buffer): unknown }): void => {
    heard.push(topic);
    socket.write(wire.acknowledge('PUBACK', id));
  };
  const far = await OddBroker.start({ take }, cleanups);
  const plant = await load(`buses: { plc: { protocol: tcp, host: 127.0.0.1 } }
devices:
  press: { bus: plc, unit_id: 1, tags: { power: { input: 0 } } }
  mixer: { bus: plc, unit_id: 2, tags: { power: { input: 0 } } }
uplinks:
  cloud:
    nodes: ["${far.url}"]
    messages: [{ when: device-offline, to: "alarms/{device}", payload: { silent: "{device}" } }]
`);
  const { uplinks, become } = await start(plant, false);
  const offline = { state: 'offline', since: 1, error: 'timeout' } as const;
  uplinks.deviceChanged({ device: 'press', ...offline });
  become(true);
  uplinks.deviceChanged({ device: 'mixer', ...offline });
  await until('what this one asks', () => heard.length > 0);
  uplinks.deviceChanged({ device: 'press', ...offline });
  await until('what it asks now', () => heard.length > 1);
  assert.deepEqual(heard, ['alarms/mixer', 'alarms/press']);
});

test('what comes in again after a reload while the far side was away comes in once, and from another one it is new', async () => {
  const told: number[] = [];
  const startFar = (): Promise<OddBroker> =>
    OddBroker.start(
      {
        take: () => {},
        hasSession: true,
        subscribed: (socket) => {
          const dup = told.length > 0;
          const order = {
            topic: 'orders/fan',
            payload: 'on',
            qos: 1,
            id: 7,
            dup,
            retain: false,
            properties: [],
          };
          socket.write(wire.publish(5, order));
        },
        acknowledged: ({ id }) => void told.push(id),
      },
      cleanups,
    );
  const [far, other] = [await startFar(), await startFar()];
  const plantOf = ({ url }: OddBroker, age: string): Promise<Plant> =>
    load(
      `uplinks: { cloud: { nodes: ["${url}"], in: [{ from: "orders/#" }], queue: { max_age: ${age} } } }\n`,
    );
  const { uplinks, here } = await start(await plantOf(far, '7d'));
  await until('it to be told', () => told.length === 1);
  far.hangUp();
  await until('the end', () => uplinks.about()[0]?.isConnected === false);
  await uplinks.take(await plantOf(far, '8d'));
  await until('it to be told again', () => told.length === 2);
  assert.deepEqual(here, ['on']);
  await uplinks.take(await plantOf(other, '8d'));
  await until('that of the other one', () => told.length === 3);
  assert.deepEqual(here, ['on', 'on']);
});

test('a password that is in a file is read for each connection', async () => {
  const passwords: string[] = [];
  const admit = (_flags: number, connect: Buffer): number => {
    // The last field of all.
    passwords.push(connect.toString('latin1').slice(-6));
    return 0;
  };
  const far = await OddBroker.start({ take: () => {}, admit }, cleanups);
  const secret = join(folder, 'token');
  writeFileSync(secret, 'first-\n');
  const text = `uplinks: { cloud: { nodes: ["${far.url}"], user: p7, password: !file token, status_topic: s } }\n`;
  await start(await load(text));
  await until('a connection', () => passwords.length === 1);
  writeFileSync(secret, 'second\n');
  far.hangUp();
  await until('another one', () => passwords.length === 2);
  assert.deepEqual(passwords, ['first-', 'second']);
});
