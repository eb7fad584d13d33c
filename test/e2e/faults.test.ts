import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { connectAsync } from 'mqtt';
import { Daemon, type DaemonOptions } from '../support/daemon.js';
import { ModbusServer } from '../support/modbusserver.js';
import { socketOf, startPlant } from '../support/plant.js';
import { PtyPair } from '../support/ptypair.js';
import { until } from '../support/wait.js';

/** What the field must be again, in time, once the device is back. */
const RESUME_MS = 5000;

const configOf = (bus: string): string => `
version: 1
gateway: { id: gw }
broker:
  listeners: [{ protocol: mqtt, host: 127.0.0.1, port: 0 }]
  anonymous: true
  store: memory
buses:
  field: ${bus}
devices:
  dut:
    bus: field
    unit_id: 1
    tags:
      level: { holding: 0, type: uint16, rate: 200ms, report: always }
`;

interface Seen {
  readonly v: unknown;
  readonly q: string;
  readonly e?: string;
}

/** A gateway on this bus, whose samples and device states are kept as they come. */
async function watch(
  bus: string,
  options: DaemonOptions,
  work: (field: Watched) => Promise<void>,
): Promise<void> {
  const daemon = await new Daemon(configOf(bus), options).start();
  const client = await connectAsync(`mqtt://127.0.0.1:${daemon.port()}`);
  const samples: Seen[] = [];
  const states: string[] = [];
  client.on('message', (topic, payload) => {
    const text = payload.toString();
    // Published by the program under test; a wrong shape shows in the test.
    if (topic.includes('/data/')) samples.push(JSON.parse(text) as Seen);
    else states.push((JSON.parse(text) as { state: string }).state);
  });
  await client.subscribeAsync(['holdfast/gw/data/#', 'holdfast/gw/device/#'], { qos: 1 });
  const next = (what: string, quality: string, deadlineMs: number): Promise<Seen> => {
    const mark = samples.length;
    return until(what, () => samples.slice(mark).find(({ q }) => q === quality), deadlineMs);
  };
  try {
    await work({ daemon, samples, states, next });
    assert.deepEqual(daemon.logged(/nobody/), []);
    assert.equal(await daemon.stop(), 0);
  } finally {
    await client.endAsync(true);
    await daemon.remove();
  }
}

interface Watched {
  readonly daemon: Daemon;
  readonly samples: readonly Seen[];
  readonly states: readonly string[];
  /** The first sample of this quality that comes from now on. */
  next(what: string, quality: string, deadlineMs: number): Promise<Seen>;
}

describe('polling resumes within 5 s, and the quality has said what happened, after', () => {
  for (const maker of ['pymodbus', 'libmodbus'] as const) {
    test(`the ${maker} server was killed and started again`, async () => {
      const server = new ModbusServer(maker, { kind: 'tcp' }, 1, { 'holding-register': { 0: [1234] } });
      await server.start();
      try {
        await watch(
          `{ protocol: tcp, host: 127.0.0.1, port: ${server.port} }`,
          {},
          async ({ next, states }) => {
            assert.equal((await next('the first value', 'good', 10_000)).v, 1234);
            await server.kill();
            const bad = await next('a bad sample', 'bad', 10_000);
            assert.equal(bad.v, null);
            assert.ok(bad.e === 'offline' || bad.e === 'timeout', bad.e);
            await until('the device to be offline', () => states.at(-1) === 'offline');
            await server.start();
            assert.equal((await next('a good sample', 'good', RESUME_MS)).v, 1234);
            await until('the device to be online', () => states.at(-1) === 'online');
          },
        );
      } finally {
        await server.kill();
      }
    });
  }

  test('a server went silent with its connection open', async () => {
    const server = new ModbusServer('libmodbus', { kind: 'tcp' }, 1, { 'holding-register': { 0: [7] } });
    await server.start();
    try {
      await watch(
        `{ protocol: tcp, host: 127.0.0.1, port: ${server.port}, timeout: 500ms }`,
        {},
        async ({ next }) => {
          await next('the first value', 'good', 10_000);
          server.freeze();
          assert.equal((await next('a bad sample', 'bad', 10_000)).e, 'timeout');
          server.thaw();
          await next('a good sample', 'good', RESUME_MS);
        },
      );
    } finally {
      server.thaw();
      await server.kill();
    }
  });

  test('a pseudo-terminal was unplugged and plugged in again', async () => {
    const pty = await new PtyPair().plugIn();
    const server = new ModbusServer('libmodbus', { kind: 'rtu', path: pty.far, baud: 115_200 }, 1, {
      'holding-register': { 0: [99] },
    });
    await server.start();
    try {
      await watch(
        `{ protocol: rtu, path: ${pty.near}, baud: 115200, timeout: 300ms }`,
        {},
        async ({ next }) => {
          assert.equal((await next('the first value', 'good', 10_000)).v, 99);
          await pty.unplug();
          await server.kill();
          assert.equal((await next('a bad sample', 'bad', 10_000)).v, null);
          await pty.plugIn();
          await server.start();
          assert.equal((await next('a good sample', 'good', RESUME_MS)).v, 99);
        },
      );
    } finally {
      await server.kill();
      await pty.remove();
    }
  });

  /** Runs in every thread of the daemon; in workers it does what the file asks, once. */
  const ASSASSIN = `
    const { isMainThread } = require('node:worker_threads');
    const { readFileSync, unlinkSync } = require('node:fs');
    if (!isMainThread) setInterval(() => {
      let way;
      try { way = readFileSync(process.env.ASSASSIN_FILE, 'utf8'); unlinkSync(process.env.ASSASSIN_FILE); } catch { return; }
      if (way === 'exit') process.exit(9);
      if (way === 'throw') throw new Error('killed by the test');
      if (way === 'heap') { const hoard = []; for (;;) hoard.push(new Array(1e6).fill(0.5)); }
      if (way === 'loop') for (;;);
    }, 50).unref();
  `;
  for (const way of ['exit', 'throw', 'heap', 'loop'] as const) {
    const what = {
      exit: 'ended',
      throw: 'threw',
      heap: 'ran out of memory',
      loop: 'hung in an endless loop',
    }[way];
    test(`a worker thread ${what}`, async () => {
      const server = new ModbusServer('libmodbus', { kind: 'tcp' }, 1, { 'holding-register': { 0: [5] } });
      await server.start();
      const files = { 'assassin.cjs': ASSASSIN };
      const helper = new Daemon(configOf('{ protocol: tcp, host: 127.0.0.1 }'), { files });
      const order = join(helper.folder, 'order');
      const options = {
        env: { ASSASSIN_FILE: order },
        nodeArgs: ['--require', join(helper.folder, 'assassin.cjs')],
      };
      try {
        await watch(
          `{ protocol: tcp, host: 127.0.0.1, port: ${server.port} }`,
          options,
          async ({ next, daemon }) => {
            await next('the first value', 'good', 10_000);
            writeFileSync(order, way);
            const bad = await next('a bad sample', 'bad', 15_000);
            assert.equal(bad.e, 'offline');
            await next('a good sample', 'good', RESUME_MS);
            assert.ok(daemon.logged(/poller thread/).length > 0);
          },
        );
      } finally {
        await helper.remove();
        await server.kill();
      }
    });
  }
});

test('a PLC that resets on a second request under way is reset once in its life, restarts of the gateway included', async (t) => {
  const plant = await startPlant(t, {
    buses: [
      {
        name: 'plc',
        link: { kind: 'tcp' },
        faults: [{ name: 'reset-second' }],
        units: [{ unitId: 1, turnaroundMs: 5 }],
      },
    ],
  });
  const { port } = await socketOf(plant, 'plc');
  // Far apart, so that each is a request of its own.
  const tags = [0, 1000, 2000, 3000].map((address) => `      r${address}: { holding: ${address} }`);
  const config =
    configOf(`{ protocol: tcp, host: 127.0.0.1, port: ${port}, in_flight: 4 }`)
      .replace('store: memory', 'store: { path: kept }')
      .replace(/^ *level:.*$/m, tags.join('\n')) + 'defaults: { rate: 100ms }\n';
  const daemon = new Daemon(config);
  const counts = (): Promise<{ resets: number; requests: number }> => plant.counts('plc');
  try {
    for (let life = 0; life < 2; life += 1) {
      await daemon.start();
      const { requests } = await counts();
      await until('it to be polled for a while', async () => (await counts()).requests > requests + 80);
      assert.equal(await daemon.stop(), 0);
      assert.equal((await counts()).resets, 1);
    }
    const kept = readFileSync(join(daemon.folder, 'kept/learned/dut.json'), 'utf8');
    assert.match(kept, /"in_flight": 1/);
  } finally {
    await daemon.remove();
  }
});
