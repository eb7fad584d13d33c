/** The lease beside one NATS server, which may forget an entry before its time. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { connect } from 'nats';
import { systemClock } from '../../src/clock.js';
import { silentLog } from '../../src/log.js';
import { BUCKET, Lease } from '../../src/uplink/lease.js';
import { freePort } from '../support/ports.js';
import { until } from '../support/wait.js';

const TTL_MS = 4000;
const GROUP = 'line1';
const root = mkdtempSync(join(tmpdir(), 'holdfast-lease-'));
const cleanups: (() => unknown)[] = [];
after(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup();
  rmSync(root, { recursive: true, force: true });
});

test('a lease that the server forgets before its time is not taken before the holder has stopped, and then is', async () => {
  const port = await freePort();
  const server = spawn('nats-server', ['-js', '-sd', root, '-a', '127.0.0.1', '-p', String(port)], {
    stdio: 'ignore',
  });
  cleanups.push(async () => {
    server.kill('SIGKILL');
    await once(server, 'exit');
  });
  const servers = [`nats://127.0.0.1:${port}`];
  const connection = await until('the server', () => connect({ servers }).catch(() => null));
  cleanups.push(() => connection.close());
  // The holder has asked once, and is cut off.
  const bucket = await connection.jetstream().views.kv(BUCKET, { ttl: TTL_MS, history: 1 });
  // As a holder counts it: from before it asked.
  const askedMs = performance.now();
  const revision = await bucket.create(GROUP, JSON.stringify({ member: 'a', instance: 'another' }));

  let wonMs = 0;
  const lease = new Lease({
    servers,
    user: null,
    password: null,
    group: GROUP,
    member: 'b',
    ttlMs: TTL_MS,
    clock: systemClock,
    log: silentLog,
    mayBeActiveFor: () => {},
    changed: (isActive) => {
      if (isActive) wonMs = performance.now();
    },
  });
  let looks = 0;
  const count = (_error: Error | null, { subject }: { subject: string }): void => {
    if (/\.GET\./.test(subject)) looks++;
  };
  connection.subscribe('$JS.API.>', { callback: count });
  lease.start();
  cleanups.push(() => lease.stop());
  await until('it to have seen whose it is, and to look again', () => looks >= 2);
  const manager = await connection.jetstreamManager();
  await manager.streams.deleteMessage(`KV_${BUCKET}`, revision);
  await until('it to be taken', () => wonMs > 0, 20_000);
  const tookMs = wonMs - askedMs;
  assert.ok(tookMs > 0.9 * TTL_MS, `${tookMs} ms`);
});
