import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import type { IConnectPacket } from 'mqtt-packet';
import { temporaryFolder } from '../support/stores.js';
import { until } from '../support/wait.js';
import { Publisher, Subscriber } from './client.js';
import { startHost, type HostProcess } from './process.js';
import { troubleFileOf, type Trouble } from './troubledfiles.js';

/** As much as the process may grow while 64 MiB want in and the disk takes nothing. */
const GROWTH_MAX_BYTES = 40 << 20;
const KEEP_ALIVE_S = 2;
/** Longer than a silence may last. */
const HELD_MS = 5_000;
const EACH = 4_000;
/** So many at a time, so that none of them is silent while the others' are made. */
const AT_A_TIME = 100;

interface Scene {
  folder: string;
  host: HostProcess;
  /** Reads what the gateway itself says, in a session that is kept. */
  panel: Subscriber;
  /** Has a queue waiting. */
  away: Subscriber;
  trouble(kind: Trouble): void;
}

async function sceneOf(context: TestContext): Promise<Scene> {
  const folder = join(temporaryFolder(context), 'store');
  mkdirSync(folder);
  const host = await startHost(folder, 'troubled');
  const panel = new Subscriber('panel', 5, ['live/#']);
  const away = new Subscriber('away', 4, ['crash/#']);
  for (const client of [panel, away]) {
    await client.connect(host.port);
    await until('the subscription', () => client.isSubscribed);
  }
  away.cut();
  const trouble = (kind: Trouble): void => writeFileSync(troubleFileOf(join(folder, 'data')), kind);
  return { folder, host, panel, away, trouble };
}

/** 4 KiB a message, all of them at once, from a client that promises to be heard from every few seconds. */
class Eager extends Publisher {
  constructor(clientId: string) {
    super(clientId, 4, 1, EACH);
  }

  protected override options(): Partial<IConnectPacket> {
    return { keepalive: KEEP_ALIVE_S };
  }

  protected override compose(sequence: number): { topic: string; payload: string; retain: boolean } {
    return { topic: this.topic, payload: `${this.clientId}:${sequence}:`.padEnd(4096, '.'), retain: false };
  }
}

function residentBytes(pid: number): number {
  const kilobytes = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kilobytes) * 1024;
}

/** Telemetry goes on, and so does a message at QoS 0: while the disk is held, neither can have waited for it. */
async function assertServes({ host, panel }: Scene, name: string): Promise<void> {
  const before = Number(panel.payloads.get('live/value') ?? 0);
  const listener = new Subscriber(`listener-${name}`, 4, ['live/x'], true);
  await listener.connect(host.port);
  await until('the listener', () => listener.isSubscribed);
  listener.send({ cmd: 'publish', topic: 'live/x', payload: name, qos: 0, retain: false, dup: false });
  await until('a message at QoS 0', () => listener.payloads.get('live/x') === name);
  await until('telemetry', () => Number(panel.payloads.get('live/value')) > before + 10);
  listener.cut();
}

test(
  'a slow disk holds publishers back and nothing else: no acknowledgement before its sync, no growth, nothing lost',
  { timeout: 120_000 },
  async (context) => {
    const scene = await sceneOf(context);
    const { host, away, panel, trouble } = scene;
    context.after(() => host.kill());
    await assertServes(scene, 'before');
    const restBytes = residentBytes(host.pid);
    trouble('hold');
    const publishers = Array.from({ length: 4 }, (_, index) => new Eager(`eager${index}`));
    // Their sessions are new, so they are let in once those are kept.
    const connected = Promise.all(publishers.map((publisher) => publisher.connect(host.port)));
    await assertServes(scene, 'CONNECT waits');
    assert.ok(publishers.every(({ isConnected }) => !isConnected));
    trouble('none');
    await connected;
    trouble('hold');
    const heldMs = performance.now();
    for (let limit = AT_A_TIME; limit <= EACH; limit += AT_A_TIME) {
      for (const publisher of publishers) {
        publisher.limit = limit;
        publisher.more();
      }
      await turn();
    }
    await assertServes(scene, 'PUBLISH waits');
    let peakBytes = 0;
    await until(
      'keep alive intervals to pass',
      () => {
        peakBytes = Math.max(peakBytes, residentBytes(host.pid));
        return performance.now() - heldMs > HELD_MS;
      },
      HELD_MS * 2,
    );
    await assertServes(scene, 'still');
    const count = publishers.reduce((sum, publisher) => sum + publisher.acknowledged.length, 0);
    assert.equal(count, 0, 'acknowledged while the sync was under way');
    assert.ok(
      publishers.every(({ isConnected }) => isConnected),
      'unread packets are no silence',
    );
    assert.ok(
      peakBytes - restBytes < GROWTH_MAX_BYTES,
      `grew by ${((peakBytes - restBytes) / 1e6).toFixed(0)} MB`,
    );

    trouble('slow');
    await until('all acknowledgements', () => publishers.every(({ isDone }) => isDone), 60_000);
    trouble('none');
    await away.connect(host.port);
    const missing = (): number =>
      publishers.reduce(
        (sum, { clientId, acknowledged: known }) =>
          sum + known.filter((sequence) => !away.has(clientId, sequence)).length,
        0,
      );
    await until('the queue', () => missing() === 0, 60_000);
    for (const publisher of publishers) assert.equal(publisher.acknowledged.length, EACH);
    for (const client of [away, panel, ...publishers]) {
      assert.deepEqual(client.violations, []);
      client.cut();
    }
  },
);

test(
  'a disk that turns read-only acknowledges nothing, keeps serving, and is trusted again when it takes writes',
  { timeout: 60_000 },
  async (context) => {
    const scene = await sceneOf(context);
    let { host } = scene;
    const { folder, away, panel, trouble } = scene;
    context.after(() => host.kill());
    const publisher = new Publisher('pub', 5, 1, 20);
    const late = new Publisher('late', 5, 1, 20);
    publisher.limit = 100;
    await publisher.connect(host.port);
    await late.connect(host.port);
    await until('acknowledgements', () => publisher.isDone);
    trouble('EROFS');
    publisher.limit = 200;
    publisher.more();
    await until('the fault', () => host.errors.length > 0);
    late.limit = 1_000;
    late.more();
    await until('refusals', () => late.refused > 100);
    assert.equal(publisher.acknowledged.length, 100, 'what was taken before the fault showed waits');
    assert.equal(late.acknowledged.length, 0);
    await assertServes(scene, 'read-only');
    assert.equal(host.errors.length, 1, 'one line for one lasting fault');
    assert.match(host.errors[0] ?? '', /EROFS.*the disk refuses the store; nothing is acknowledged/);
    late.limit = late.sent;
    trouble('none');
    await until('what waited', () => publisher.isDone);
    assert.equal(publisher.acknowledged.length + publisher.refused, 200);
    assert.ok(publisher.acknowledged.length > 100, 'what was taken is acknowledged in the end');
    late.limit += 20;
    late.more();
    await until('what came after', () => late.isDone);
    assert.ok(late.acknowledged.length >= 20);
    await host.kill();
    for (const client of [publisher, late, panel]) client.cut();
    host = await startHost(folder, 'troubled');
    await away.connect(host.port);
    await until('the queue', () =>
      [publisher, late].every(({ clientId, acknowledged }) =>
        acknowledged.every((sequence) => away.has(clientId, sequence)),
      ),
    );
    assert.deepEqual([...away.violations, ...publisher.violations, ...late.violations], []);
    away.cut();
  },
);
