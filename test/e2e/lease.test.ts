/**
 * Two gateways on one device with a lease in a NATS cluster: the active one is killed, stopped and cut off in turn, and
 * the device must never hear both. `npm run accept:lease` has twenty take-overs; here it is one of each kind.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connectAsync } from 'mqtt';
import { SimulatedPlant } from '../../src/simulator/plant.js';
import { Cable } from '../support/cable.js';
import { Daemon } from '../support/daemon.js';
import { startNats } from '../support/engines.js';
import { socketOf } from '../support/plant.js';
import { until } from '../support/wait.js';

const TAKE_OVERS = process.env['HOLDFAST_LONG'] === '1' ? 20 : 3;
const TTL_MS = TAKE_OVERS === 20 ? 6000 : 3000;
const TAKE_OVER_MAX_MS = 10_000;
const WAYS = ['SIGKILL', 'SIGSTOP', 'network cut'] as const;

/** Both poll and write the same device, each at an address of its own, so that its transcript shows who spoke. */
const ADDRESS = { a: 100, b: 200 } as const;
type Name = keyof typeof ADDRESS;

test(`${TAKE_OVERS} take-overs by ${WAYS.join(', ')}: never two writers`, async (t) => {
  const cleanups: (() => unknown)[] = [];
  t.after(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  });
  const nats = await startNats();
  cleanups.push(() => nats.stop());
  const plant = await SimulatedPlant.start({
    buses: [{ name: 'plc', link: { kind: 'tcp' }, units: [{ unitId: 1 }] }],
  });
  cleanups.push(() => plant.stop());
  const { port } = await socketOf(plant, 'plc');
  const both = {
    a: await Side.create('a', port, nats.urls, cleanups),
    b: await Side.create('b', port, nats.urls, cleanups),
  };
  let seen = 0;
  const spoken: { name: Name; atMs: number }[] = [];
  const listen = async (): Promise<void> => {
    const exchanges = await plant.exchanges('plc', seen);
    seen += exchanges.length;
    for (const { address, requestedAtMs } of exchanges)
      spoken.push({ name: address >= ADDRESS.b ? 'b' : 'a', atMs: requestedAtMs });
  };
  const speaks = async (name: Name): Promise<boolean> => {
    await listen();
    return spoken.at(-1)?.name === name;
  };

  await both.a.start();
  await until('a to speak', () => speaks('a'), 30_000);
  await both.b.start();
  let active: Name = 'a';
  const took: number[] = [];
  for (let turn = 0; turn < TAKE_OVERS; turn++) {
    const other: Name = active === 'a' ? 'b' : 'a';
    const way = WAYS[turn % WAYS.length] ?? 'SIGKILL';
    await both[other].isReady();
    const fromMs = performance.now();
    await both[active].fail(way);
    await until(`${other} to take over after ${way}`, () => speaks(other), 60_000);
    took.push(performance.now() - fromMs);
    // It comes back and must find out by itself that it is not the active one any more.
    await both[active].mend(way);
    const quietFromMs = performance.now();
    await until('both to have had time', () => performance.now() - quietFromMs > 1000);
    await listen();
    active = other;
  }
  await listen();
  const changes = spoken.filter(({ name }, i) => i > 0 && spoken[i - 1]?.name !== name).length;
  t.diagnostic(
    `${spoken.length} exchanges, ${changes} changes of speaker, take-overs ${took.map((ms) => (ms / 1000).toFixed(1)).join(' ')} s`,
  );
  assert.equal(changes, TAKE_OVERS, 'each take-over changes the speaker once');
  assert.ok(Math.max(...took) < TAKE_OVER_MAX_MS, `${Math.max(...took)} ms`);
});

/** One gateway, its way to the lease, and a client of its own that writes all the time. */
class Side {
  readonly #daemon: Daemon;
  readonly #cables: readonly Cable[];
  readonly #cleanups: (() => unknown)[];
  #cancelWriting = (): void => {};

  private constructor(daemon: Daemon, cables: readonly Cable[], cleanups: (() => unknown)[]) {
    this.#daemon = daemon;
    this.#cables = cables;
    this.#cleanups = cleanups;
  }

  static async create(
    name: Name,
    port: number,
    urls: readonly string[],
    cleanups: (() => unknown)[],
  ): Promise<Side> {
    const cables = await Promise.all(urls.map((url) => Cable.to(Number(new URL(url).port))));
    for (const cable of cables) cleanups.push(() => cable.close());
    const daemon = new Daemon(configOf(name, port, cables));
    cleanups.push(() => daemon.remove());
    return new Side(daemon, cables, cleanups);
  }

  async start(): Promise<void> {
    await this.#daemon.start();
    await this.#write();
  }

  /** It waits for its turn, with the lease within reach. */
  async isReady(): Promise<void> {
    const problems = (): boolean => {
      const last = this.#daemon.log.findLast(({ msg }) => /lease can/.test(msg));
      return last?.msg === 'the lease cannot be asked for; trying again';
    };
    await until('the lease to be within reach', () => !problems(), 30_000);
  }

  async fail(way: (typeof WAYS)[number]): Promise<void> {
    if (way === 'network cut') for (const cable of this.#cables) cable.swallow();
    else this.#daemon.signal(way);
    if (way !== 'SIGKILL') return;
    this.#cancelWriting();
    await this.#daemon.exited();
  }

  async mend(way: (typeof WAYS)[number]): Promise<void> {
    if (way === 'network cut') for (const cable of this.#cables) cable.heal();
    else if (way === 'SIGSTOP') this.#daemon.signal('SIGCONT');
    else await this.start();
  }

  /** Commands that each write; those of the waiting gateway are refused. */
  async #write(): Promise<void> {
    const client = await connectAsync(`mqtt://127.0.0.1:${this.#daemon.port()}`, { reconnectPeriod: 0 });
    client.on('error', () => {});
    let value = 0;
    const timer = setInterval(
      () => client.publish('holdfast/p7/set/press/sp', String(value++ % 1000), { qos: 1 }),
      50,
    );
    this.#cancelWriting = () => {
      clearInterval(timer);
      client.end(true);
    };
    this.#cleanups.push(this.#cancelWriting);
  }
}

const configOf = (name: Name, port: number, cables: readonly Cable[]): string => `version: 1
gateway: { id: p7 }
broker:
  listeners: [{ protocol: mqtt, host: 127.0.0.1, port: 0 }]
  anonymous: true
  store: memory
redundancy:
  group: line1
  member: ${name}
  servers: [${cables.map((cable) => `"nats://127.0.0.1:${cable.port}"`).join(', ')}]
  ttl: ${TTL_MS}ms
buses:
  plc: { protocol: tcp, host: 127.0.0.1, port: ${port} }
devices:
  press:
    bus: plc
    unit_id: 1
    tags:
      count: { holding: ${ADDRESS[name]}, type: uint16, rate: 50ms, report: always }
      sp: { holding: ${ADDRESS[name] + 10}, type: uint16, write: true }
`;
