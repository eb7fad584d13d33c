/**
 * The abuse cases, each beside a healthy publisher and subscriber and a polled device. `npm run accept:abuse` gives each
 * ten seconds and holds the bounds of a small router; here each has half a second, which shows a crash, a loss, or memory
 * without bound. HOLDFAST_ABUSE=word,word runs the cases with one of these in their name.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { constants, setPriority } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test, type TestContext } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { userLine } from '../../src/broker/users.js';
import { packageFolder } from '../../src/entry.js';
import { Daemon } from '../support/daemon.js';
import { until } from '../support/wait.js';
import { ATTACKS, type Attack, type Target } from './attacks.js';
import { MALLORY, Mob, ORDERED, POLL_MS, POLLED } from './mob.js';
import type { Answer, Figures, Order } from './neighbours.js';

const IS_LONG = process.env['HOLDFAST_LONG'] === '1';
const SECONDS = IS_LONG ? 10 : 0.5;
const IDLE_COUNT = IS_LONG ? 5000 : 500;
/** One case after the other without rest leaves more behind than each alone. */
const RSS_MAX_MB = IS_LONG ? 160 : 200;
const LEFT_MAX_MB = 16;
/** A minute, and the measurement itself. */
const CALM_MS = 60_000;
/** While other tests run, times say little. */
const P99_MAX_MS = IS_LONG ? 250 : 2000;
const JITTER_MAX_MS = IS_LONG ? 20 : 500;
const HEALTHY = { username: 'plant', password: 'by-daylight' } as const;

/** What the package's start script sets: without, glibc keeps what was freed. */
const MALLOC = Object.fromEntries(
  [
    ...readFileSync(join(packageFolder(), 'packaging/holdfast.sh'), 'utf8').matchAll(/(MALLOC_\w+)=(\d+)/g),
  ].map(([, name = '', value = '']) => [name, value]),
);

/** What docs/security.md proposes for a router with 128 MB. */
const LIMITS = `{ max_memory: 96MiB, max_queued_bytes: 1MiB, max_retained_bytes: 16MiB, max_retained_messages: 20000, max_subscriptions_per_client: 10000, max_topic_levels: 128, max_outbox_size: 1MiB }`;

const configOf = (devicePort: number): string => `version: 1
gateway: { id: gw }
broker:
  listeners:
    - { protocol: mqtt, host: 127.0.0.1, port: 0 }
    - { protocol: ws, host: 127.0.0.1, port: 0, path: /mqtt }
    - { protocol: mqtts, host: 127.0.0.1, port: 0, tls: { cert: server.crt, key: server.key } }
  users_file: users.passwd
  access:
    - { user: plant, allow: [read, write], topic: "#" }
    - { user: mallory, allow: [read, write], topic: "abuse/#" }
    - { user: mallory, allow: [read, write], topic: "holdfast/#" }
  limits: ${LIMITS}
web: { host: 127.0.0.1, port: 0 }
buses: { plc: { protocol: tcp, host: 127.0.0.1, port: ${devicePort} } }
devices:
  dut: { bus: plc, unit_id: 1, rate: ${POLL_MS}ms, tags: { t0: { holding: ${POLLED} }, w: { holding: ${ORDERED}, rate: once, write: true } } }
`;

class Neighbours {
  readonly #worker = new Worker(new URL('./neighbours.js', import.meta.url));

  order(order: Order): void {
    this.#worker.postMessage(order);
  }

  async answer<K extends Answer['kind']>(kind: K): Promise<Extract<Answer, { kind: K }>> {
    const message = await new Promise<Answer>((resolve, reject) => {
      this.#worker.once('message', resolve);
      this.#worker.once('error', reject);
    });
    if (message.kind !== kind) throw new Error(JSON.stringify(message));
    // Its kind was compared.
    return message as Extract<Answer, { kind: K }>;
  }

  async beside(work: Promise<unknown>): Promise<Figures> {
    this.order({ kind: 'begin' });
    await work;
    this.order({ kind: 'end' });
    return (await this.answer('figures')).figures;
  }

  async end(): Promise<void> {
    await this.#worker.terminate();
  }
}

function rssMb(pid: number): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;
}

const words = (process.env['HOLDFAST_ABUSE'] ?? '').split(',');
const chosen = Object.entries(ATTACKS).filter(([name]) => words.some((word) => name.includes(word)));

describe('beside abuse nobody loses anything', () => {
  let neighbours: Neighbours;
  let daemon: Daemon;
  let target: Target;
  let rest: Figures;

  before(async () => {
    neighbours = new Neighbours();
    const { port } = await neighbours.answer('device');
    const users = [
      await userLine(HEALTHY.username, HEALTHY.password),
      await userLine(MALLORY.username, MALLORY.password),
    ];
    const config = configOf(port);
    daemon = new Daemon(config, { files: { 'users.passwd': `${users.join('\n')}\n` }, env: MALLOC });
    certify(daemon.folder);
    await daemon.start();
    // In the field attackers sit on other machines; here they must not take the processor from those they attack.
    setPriority(constants.priority.PRIORITY_LOW);
    neighbours.order({ kind: 'connect', port: daemon.port(), ...HEALTHY });
    await neighbours.answer('connected');
    const reloadWith = async (text: string): Promise<void> => {
      const count = daemon.logged(/config/).length;
      writeFileSync(daemon.configFile, text);
      daemon.signal('SIGHUP');
      await until('the reload to be refused', () => daemon.logged(/config/).length > count, 20_000).finally(
        () => writeFileSync(daemon.configFile, config),
      );
    };
    target = {
      mqtt: daemon.port(),
      mqtts: daemon.port('mqtts'),
      ws: daemon.port('ws'),
      http: daemon.port('http'),
      idleCount: IDLE_COUNT,
      reloadWith,
    };
    await neighbours.beside(pause(1000));
    rest = await neighbours.beside(pause(IS_LONG ? 5000 : 1000));
  });

  after(async () => {
    await neighbours.end();
    await daemon.remove();
  });

  test('at rest', (context) => {
    context.diagnostic(JSON.stringify(rest));
    assert.equal(rest.lost, 0);
  });

  const table = [row('', 'alive', 'sent', 'lost', 'p99 ms', 'jitter', 'RSS MB', 'peak', 'after', 's')];
  for (const [name, attack] of chosen) {
    test(name, { timeout: 180_000 }, (context) => suffer(context, name, attack));
  }

  test('as a table', (context) => context.diagnostic(`\n${table.join('\n')}`));

  async function suffer(context: TestContext, name: string, attack: Attack): Promise<void> {
    const mob = new Mob(SECONDS);
    const startMb = rssMb(daemon.pid);
    let peakMb = startMb;
    const watch = setInterval(() => (peakMb = Math.max(peakMb, rssMb(daemon.pid))), 50);
    const work = attack(mob, target).then(() => mob.rest());
    const figures = await neighbours.beside(work).finally(() => {
      clearInterval(watch);
      mob.leave();
    });
    const calmAfterS = await calm(startMb);
    const endMb = rssMb(daemon.pid);
    const { sent, lost, p99Ms, jitterMs } = figures;
    const whole = [startMb, peakMb, endMb, calmAfterS].map((value) => value.toFixed(0));
    const line = row(
      name,
      'yes',
      sent,
      lost,
      p99Ms.toFixed(1),
      (jitterMs - rest.jitterMs).toFixed(1),
      ...whole,
    );
    context.diagnostic(line);
    table.push(line);
    assert.equal(figures.lost, 0, 'messages of the healthy pair were lost');
    assert.ok(figures.p99Ms < P99_MAX_MS, `p99 was ${figures.p99Ms} ms`);
    assert.ok(figures.jitterMs - rest.jitterMs <= JITTER_MAX_MS, `poll jitter was ${figures.jitterMs} ms`);
    assert.ok(peakMb <= RSS_MAX_MB, `RSS was ${peakMb} MB`);
    if (IS_LONG) assert.ok(endMb <= startMb + LEFT_MAX_MB, `${endMb - startMb} MB stayed`);
    assert.deepEqual(daemon.logged(/internal fault|nobody/), []);
  }

  /** Seconds until memory is back where it was, or a minute. */
  async function calm(startMb: number): Promise<number> {
    const beginMs = performance.now();
    const isBack = (): boolean => rssMb(daemon.pid) <= startMb + LEFT_MAX_MB;
    if (IS_LONG) await until('memory to go back', isBack, CALM_MS).catch(() => {});
    return (performance.now() - beginMs) / 1000;
  }
});

function row(name: string, ...cells: (string | number)[]): string {
  return name.padEnd(32) + cells.map((cell) => String(cell).padStart(8)).join('');
}

function certify(folder: string): void {
  execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=localhost', '-keyout', join(folder, 'server.key'), '-out', join(folder, 'server.crt')], { stdio: 'ignore' }); // prettier-ignore
}
