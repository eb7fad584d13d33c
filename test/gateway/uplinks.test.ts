/** What the uplinks of a plant are told of its devices. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Broker } from '../../src/broker/broker.js';
import { systemClock } from '../../src/clock.js';
import { loadPlant } from '../../src/config/loadplant.js';
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

test('a device that another gateway asks now is no news', async () => {
  const heard: string[] = [];
  const take = ({ topic, id }: wire.Packet, socket: { write(bytes: Buffer): unknown }): void => {
    heard.push(topic);
    socket.write(wire.acknowledge('PUBACK', id));
  };
  const far = await OddBroker.start({ take }, cleanups);
  const file = join(folder, 'gateway.yaml');
  writeFileSync(
    file,
    `version: 1
gateway: { id: p7 }
broker: { anonymous: true, store: memory }
buses: { plc: { protocol: tcp, host: 127.0.0.1 } }
devices:
  press: { bus: plc, unit_id: 1, tags: { power: { input: 0 } } }
  mixer: { bus: plc, unit_id: 2, tags: { power: { input: 0 } } }
uplinks:
  cloud:
    nodes: ["${far.url}"]
    messages: [{ when: device-offline, to: "alarms/{device}", payload: { silent: "{device}" } }]
`,
  );
  const { plant, problems } = await loadPlant(file);
  assert.ok(plant !== null, JSON.stringify(problems));
  const broker = new Broker({ store: new MemoryStore(), systemIntervalMs: 0 });
  await broker.open();
  cleanups.push(() => broker.close());
  let isActive = false;
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
  const offline = { state: 'offline', since: 1, error: 'timeout' } as const;
  uplinks.deviceChanged({ device: 'press', ...offline });
  isActive = true;
  uplinks.deviceChanged({ device: 'mixer', ...offline });
  await until('what this one asks', () => heard.length > 0);
  uplinks.deviceChanged({ device: 'press', ...offline });
  await until('what it asks now', () => heard.length > 1);
  assert.deepEqual(heard, ['alarms/mixer', 'alarms/press']);
});
