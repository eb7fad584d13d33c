/**
 * Clusters as far side, from Debian packages: each node is killed and started again in turn, and the gateway is killed
 * once, under continuous polling. `npm run accept:engines` has both engines; here NATS loses a node and the gateway.
 */
import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { connectAsync } from 'mqtt';
import { SimulatedPlant } from '../../src/simulator/plant.js';
import { Daemon } from '../support/daemon.js';
import { type Engine, startNats, startRabbit } from '../support/engines.js';
import { socketOf } from '../support/plant.js';
import { until } from '../support/wait.js';

const IS_LONG = process.env['HOLDFAST_LONG'] === '1';
/** An election takes 4 to 9 s; the attempt of either side that it ends in takes up to 3 s more. */
const GAP_MAX_MS = 15_000;
const TAGS = ['a', 'b', 'c', 'd', 'e'];
const POLL_MS = 100;

describe('every sample reaches a subscriber of the cluster, in order, through', () => {
  test(`NATS, ${IS_LONG ? 'three nodes killed in turn' : 'a node killed'} and the gateway once`, (t) =>
    survive(t, startNats, IS_LONG ? [0, 1, 2] : [0]));
  // It brings Erlang with it, so the short form leaves it to the long one.
  if (IS_LONG)
    test('RabbitMQ with quorum queues, three nodes killed in turn and the gateway once', (t) =>
      survive(t, startRabbit, [0, 1, 2]));
});

async function survive(
  t: TestContext,
  start: () => Promise<Engine>,
  killed: readonly number[],
): Promise<void> {
  const cleanups: (() => unknown)[] = [];
  t.after(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  });
  const engine = await start();
  cleanups.push(() => engine.stop());
  const plant = await SimulatedPlant.start({
    buses: [{ name: 'plc', link: { kind: 'tcp' }, units: [{ unitId: 1, values: [STAMPS] }] }],
  });
  cleanups.push(() => plant.stop());
  const { port } = await socketOf(plant, 'plc');
  const daemon = new Daemon(configOf(port, engine.nodes));
  cleanups.push(() => daemon.remove());
  const samples = new Samples();
  await subscribe(engine, samples, cleanups);
  await daemon.start();
  const published = new Samples();
  await overhear(daemon, published, cleanups);
  await until('samples', () => samples.count > 50, 30_000);

  const events: string[] = [];
  for (const index of killed) {
    events.push(`node ${index} killed at ${Date.now()}`);
    await engine.kill(index);
    await samples.moreAfter(Date.now() + 3000);
    await engine.restart(index);
    events.push(`back at ${Date.now()}`);
    await samples.moreAfter(Date.now() + 1000);
  }
  events.push(`gateway killed at ${Date.now()}`);
  const killedMs = Date.now();
  daemon.signal('SIGKILL');
  await daemon.exited();
  await daemon.start();
  const startedMs = Date.now();
  await overhear(daemon, published, cleanups);
  await samples.moreAfter(Date.now() + 2000);
  const endMs = Date.now();
  await samples.moreAfter(endMs);
  t.diagnostic(
    `${samples.count} samples, ${samples.duplicates} twice, longest gap ${(samples.gapMs / 1000).toFixed(1)} s`,
  );
  assert.deepEqual(samples.disorder, [], `in order per tag; ${events.join(', ')}`);
  assert.ok(samples.gapMs < GAP_MAX_MS, `a gap of ${samples.gapMs} ms`);
  // What was on its way to the disk when the gateway was killed may be gone with it.
  const isOwed = (time: number): boolean => time < killedMs - 1000 || (time > startedMs && time < endMs);
  assert.deepEqual(samples.missing(published, isOwed), []);
  assert.ok(published.count > samples.count / 2, `${published.count} samples were heard at the gateway`);
}

/** What a subscriber got, by tag: the times of the samples, which are one poll apart. */
class Samples {
  count = 0;
  duplicates = 0;
  readonly disorder: string[] = [];
  gapMs = 0;
  #lastMs = 0;
  readonly #times = new Map<string, number[]>(TAGS.map((tag) => [tag, []]));

  /** isAgain: the node says that it has sent it before (DUP), so that its place was then, whoever lost it since. */
  take(topic: string, payload: Buffer, isAgain: boolean): void {
    const times = this.#times.get(topic.slice(topic.lastIndexOf('/') + 1));
    if (times === undefined) return;
    const { t: time, q } = JSON.parse(payload.toString()) as { t: number; q: string };
    if (q !== 'good') return;
    const nowMs = performance.now();
    if (this.#lastMs > 0) this.gapMs = Math.max(this.gapMs, nowMs - this.#lastMs);
    this.#lastMs = nowMs;
    this.count++;
    const newest = times.at(-1) ?? 0;
    if (time > newest) times.push(time);
    else if (times.includes(time)) this.duplicates++;
    else if (isAgain)
      times.splice(
        times.findIndex((other) => other > time),
        0,
        time,
      );
    else this.disorder.push(`${topic} ${time} came ${newest - time} ms behind ${newest}, at ${Date.now()}`);
  }

  /** Until each tag has a sample from after this time. */
  async moreAfter(timeMs: number): Promise<void> {
    await until(
      'newer samples',
      () => [...this.#times.values()].every((times) => (times.at(-1) ?? 0) > timeMs),
      60_000,
    );
  }

  /** Those that the others have, are owed, and are not here. */
  missing(others: Samples, isOwed: (time: number) => boolean): string[] {
    return [...others.#times].flatMap(([tag, times]) => {
      const here = new Set(this.#times.get(tag));
      return times.filter((time) => isOwed(time) && !here.has(time)).map((time) => `${tag} ${time}`);
    });
  }
}

/** What the gateway tells its own subscribers, as long as it lives. */
async function overhear(daemon: Daemon, published: Samples, cleanups: (() => unknown)[]): Promise<void> {
  const client = await connectAsync(`mqtt://127.0.0.1:${daemon.port()}`, { reconnectPeriod: 0 });
  client.on('error', () => {});
  client.on('message', (topic, payload) => published.take(topic, payload, false));
  await client.subscribeAsync('holdfast/p7/data/#', { qos: 1 });
  cleanups.push(() => client.endAsync(true));
}

/** A persistent subscriber that goes from node to node by itself. */
async function subscribe(engine: Engine, samples: Samples, cleanups: (() => unknown)[]): Promise<void> {
  const servers = engine.nodes.map((node) => {
    const { hostname, port } = new URL(node);
    return { host: hostname, port: Number(port), protocol: 'mqtt' as const };
  });
  const client = await connectAsync({
    servers,
    protocolVersion: 4,
    clean: false,
    clientId: `inbox-${process.pid}`,
    reconnectPeriod: 200,
    connectTimeout: 3000,
    keepalive: 5,
  });
  client.on('error', () => {});
  client.on('message', (topic, payload, { dup }) => samples.take(topic, payload, dup));
  await client.subscribeAsync('plants/#', { qos: 1 });
  cleanups.push(() => client.endAsync(true));
}

/** Registers that are never the same twice, so that every poll is a sample. */
const STAMPS = {
  table: 'holding-register',
  address: 0,
  quantity: 5,
  script: 'stamp',
} as const;

const configOf = (port: number, nodes: readonly string[]): string => `version: 1
gateway: { id: p7 }
broker:
  listeners: [{ protocol: mqtt, host: 127.0.0.1, port: 0 }]
  anonymous: true
  store: memory
buses:
  plc: { protocol: tcp, host: 127.0.0.1, port: ${port} }
devices:
  press:
    bus: plc
    unit_id: 1
    rate: ${POLL_MS}ms
    report: always
    tags:
${TAGS.map((tag, index) => `      ${tag}: { holding: ${index}, type: uint16 }`).join('\n')}
uplinks:
  cloud:
    nodes: [${nodes.join(', ')}]
    version: 3.1.1
    out: [{ from: "holdfast/p7/data/#", to: "plants/p7/data/#", retain: never }]
    queue: { sync: commit }
`;
