/**
 * A far side that is away for a week, accelerated: a client publishes what a plant would have sampled, a million seconds
 * of it in minutes, then the far side comes and takes it all. `npm run accept:week` does it with ten million samples;
 * here it is a fiftieth.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { connect as connectSocket, type Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { Daemon } from '../support/daemon.js';
import { FarSide } from '../support/farside.js';
import { MqttClient } from '../support/mqttclient.js';
import { until } from '../support/wait.js';
import * as wire from '../support/wire.js';

const SAMPLES = process.env['HOLDFAST_LONG'] === '1' ? 10_000_000 : 200_000;
const TAGS = 50;
const DISK_MAX_BYTES = 256 << 20;
const MEMORY_MAX_MIB = 100;
/** Publications before their acknowledgements are waited for. */
const BURST = 1000;

test(`${SAMPLES} samples wait within 256 MiB of disk and 100 MiB of memory, and all arrive in order`, async (t) => {
  const cleanups: (() => unknown)[] = [];
  t.after(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  });
  const far = await FarSide.create(cleanups);
  const daemon = new Daemon(configOf(far.url));
  cleanups.push(() => daemon.remove());
  await daemon.start();
  const folder = join(daemon.folder, 'data/uplinks/cloud');
  let mostMib = 0;
  let mostBytes = 0;
  let lookedAtMs = 0;
  const look = (): void => {
    if (performance.now() - lookedAtMs < 200) return;
    lookedAtMs = performance.now();
    mostMib = Math.max(mostMib, residentMib(daemon.pid));
    mostBytes = Math.max(mostBytes, bytesIn(folder));
  };

  const startedMs = performance.now();
  await publish(daemon.port(), look);
  const queuedMs = performance.now() - startedMs;
  look();
  t.diagnostic(
    `queued ${SAMPLES} in ${(queuedMs / 1000).toFixed(1)} s (${rate(SAMPLES, queuedMs)}), ` +
      `${(mostBytes / 2 ** 20).toFixed(1)} MiB of disk at most (${(bytesIn(folder) / SAMPLES).toFixed(1)} bytes a sample), ${mostMib.toFixed(1)} MiB of memory at most`,
  );
  assert.ok(mostBytes <= DISK_MAX_BYTES, `${mostBytes} bytes`);

  // What leaves before there is a subscriber would be told to nobody.
  daemon.signal('SIGSTOP');
  await far.start();
  const sink = await Sink.connect(far.port);
  daemon.signal('SIGCONT');
  cleanups.push(() => sink.close());
  const drainedFromMs = performance.now();
  let seen = -1;
  let seenAtMs = drainedFromMs;
  await until(
    'all to arrive',
    () => {
      look();
      if (sink.count > seen) [seen, seenAtMs] = [sink.count, performance.now()];
      return sink.count >= SAMPLES || performance.now() - seenAtMs > 60_000;
    },
    3_600_000,
  );
  const drainedMs = performance.now() - drainedFromMs;
  t.diagnostic(
    `drained ${sink.count} in ${(drainedMs / 1000).toFixed(1)} s (${rate(sink.count, drainedMs)}), ${mostMib.toFixed(1)} MiB of memory at most`,
  );
  assert.equal(sink.count, SAMPLES);
  assert.equal(sink.disordered, 0, 'per tag in order');
  assert.equal(sink.duplicates, 0);
  assert.ok(mostMib <= MEMORY_MAX_MIB, `${mostMib} MiB of memory`);
  // What stays is the journal's newest segment and what it keeps in reserve for a full disk.
  await until('no block', () => !readdirSync(folder).some((name) => name.endsWith('.block')));
  assert.ok(bytesIn(folder) < 8 << 20, `${bytesIn(folder)} bytes`);
  assert.equal(daemon.logged(/drops messages|refuses/).length, 0);
});

/** What the plant of TAGS values would have published, one round of all of them a second. */
async function publish(port: number, look: () => void): Promise<void> {
  const client = await MqttClient.open({ host: '127.0.0.1', port }, 4);
  await client.handshake({ clientId: 'plant' });
  client.socket.removeAllListeners('data');
  let acknowledged = 0;
  let wake = (): void => {};
  client.socket.on('data', (bytes: Buffer) => {
    acknowledged += bytes.length / 4;
    wake();
  });
  const values = Array.from({ length: TAGS }, (_none, tag) => 20 + tag);
  let seed = 1;
  const random = (): number => (seed = (seed * 1_103_515_245 + 12_345) & 0x7fffffff) / 0x7fffffff;
  let timeMs = 1_795_376_237_895;
  for (let sent = 0; sent < SAMPLES; sent += BURST) {
    const frames: Buffer[] = [];
    for (let i = sent; i < sent + BURST; i++) {
      const tag = i % TAGS;
      if (tag === 0) timeMs += 1000 + Math.floor(random() * 20);
      const value = (values[tag] ?? 0) + random() - 0.5;
      values[tag] = value;
      const payload = `{"v":${value.toFixed(2)},"q":"good","t":${timeMs + 7 * Math.floor(tag / 10)}}`;
      frames.push(
        wire.publish(4, { topic: `plant/data/meter${tag}/power`, payload, qos: 1, id: (i % 65_000) + 1 }),
      );
    }
    client.socket.write(Buffer.concat(frames));
    await new Promise<void>((resolve) => {
      wake = () => acknowledged >= sent + BURST && resolve();
      wake();
    });
    if (sent % 50_000 === 0) look();
  }
  client.socket.destroy();
}

/** Counts what a subscriber gets, without keeping it. */
class Sink {
  count = 0;
  disordered = 0;
  duplicates = 0;
  readonly #socket: Socket;
  readonly #newest = new Map<string, number>();
  #rest: Buffer = Buffer.alloc(0);

  private constructor(socket: Socket) {
    this.#socket = socket;
  }

  static async connect(port: number): Promise<Sink> {
    const socket = connectSocket(port, '127.0.0.1');
    const sink = new Sink(socket);
    await once(socket, 'connect');
    socket.write(wire.connect({ version: 4, clientId: 'sink' }));
    await once(socket, 'data');
    socket.write(wire.subscribe(4, 1, [['far/#', 1]]));
    await once(socket, 'data');
    socket.on('data', (bytes: Buffer) => sink.#take(bytes));
    return sink;
  }

  close(): void {
    this.#socket.destroy();
  }

  #take(bytes: Buffer): void {
    const all = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    let at = 0;
    const acknowledgements: Buffer[] = [];
    // Every packet is a PUBLISH of QoS 1 with less than 128 bytes; one of QoS 0 may be dropped on its way here.
    while (at + 2 <= all.length && at + 2 + (all[at + 1] ?? 0) <= all.length) {
      const end = at + 2 + (all[at + 1] ?? 0);
      const topicEnd = at + 4 + all.readUInt16BE(at + 2);
      const topic = all.toString('latin1', at + 4, topicEnd);
      acknowledgements.push(wire.acknowledge('PUBACK', all.readUInt16BE(topicEnd)));
      const time = Number(all.toString('latin1', end - 14, end - 1));
      const newest = this.#newest.get(topic) ?? 0;
      this.#newest.set(topic, Math.max(newest, time));
      this.count++;
      if (time === newest) this.duplicates++;
      if (time < newest) this.disordered++;
      at = end;
    }
    this.#rest = all.subarray(at);
    if (acknowledgements.length > 0) this.#socket.write(Buffer.concat(acknowledgements));
  }
}

function residentMib(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]) / 1024;
}

function bytesIn(folder: string): number {
  if (!existsSync(folder)) return 0;
  return readdirSync(folder).reduce((sum, name) => {
    // A file may be gone since it was listed.
    const stat = statSync(join(folder, name), { throwIfNoEntry: false });
    return sum + (stat?.size ?? 0);
  }, 0);
}

const rate = (count: number, ms: number): string => `${Math.round((count / ms) * 1000)} a second`;

const configOf = (url: string): string => `version: 1
gateway: { id: p7 }
broker:
  listeners: [{ protocol: mqtt, host: 127.0.0.1, port: 0 }]
  anonymous: true
  store: memory
uplinks:
  cloud:
    nodes: [${url}]
    announce: []
    out: [{ from: "plant/#", to: "far/#" }]
`;
