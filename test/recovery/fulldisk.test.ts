import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { smallDisk } from '../support/smalldisk.js';
import { until } from '../support/wait.js';
import { Publisher, Subscriber } from './client.js';
import { startHost, type HostProcess } from './process.js';

class LargePublisher extends Publisher {
  protected override compose(sequence: number): { topic: string; payload: string; retain: boolean } {
    return { topic: this.topic, payload: `${this.clientId}:${sequence}:`.padEnd(1024, '.'), retain: false };
  }
}

/** A message at QoS 0 gets through. */
async function assertServes(host: HostProcess): Promise<void> {
  const clean = new Subscriber('listener', 4, ['live/#'], true);
  await clean.connect(host.port);
  await until('the listener', () => clean.isSubscribed);
  const startedMs = performance.now();
  clean.send({ cmd: 'publish', topic: 'live/x', payload: 'there', qos: 0, retain: false, dup: false });
  await until('a message at QoS 0', () => clean.payloads.get('live/x') === 'there');
  assert.ok(performance.now() - startedMs < 2_000);
  clean.cut();
}

test(
  'on a full disk nothing new is acknowledged, QoS 0 goes on, and room alone makes it go on',
  { timeout: 120_000 },
  async (context) => {
    const disk = smallDisk(context, '8m');
    if (disk === null) return context.skip('needs the right to mount a tmpfs');
    const ballast = join(disk, 'ballast');
    writeFileSync(ballast, Buffer.alloc(2 << 20));
    let host = await startHost(disk, 'product');
    context.after(() => host.kill());
    const away = new Subscriber('away', 4, ['crash/#']);
    await away.connect(host.port);
    await until('the subscription', () => away.isSubscribed);
    away.cut();

    const publisher = new LargePublisher('pub', 5, 1, 20);
    publisher.limit = 8_000;
    await publisher.connect(host.port);
    await until('refusals', () => publisher.refused > 20, 30_000);
    const acknowledged = publisher.acknowledged.length;
    assert.ok(acknowledged > 2_000, `${acknowledged} messages of 1 KiB fitted into 6 MiB`);
    publisher.limit = publisher.sent;
    await assertServes(host);
    publisher.cut();

    rmSync(ballast);
    const late = new LargePublisher('late', 5, 1, 1);
    await until('an acknowledgement', async () => {
      if (!late.isConnected) await late.connect(host.port);
      if (late.acknowledged.length > 0) return true;
      late.limit = late.sent + 1;
      late.more();
      return false;
    });
    late.cut();

    await host.kill();
    host = await startHost(disk, 'product');
    await away.connect(host.port);
    const missing = (): number[] => publisher.acknowledged.filter((sequence) => !away.has('pub', sequence));
    await until(
      'the queue',
      () => missing().length === 0 && away.has('late', late.acknowledged[0] ?? 0),
      30_000,
    );
    assert.deepEqual(away.violations, []);
  },
);

test('a full disk is left by the subscriber fetching its queue', { timeout: 120_000 }, async (context) => {
  const disk = smallDisk(context, '6m');
  if (disk === null) return context.skip('needs the right to mount a tmpfs');
  const host = await startHost(disk, 'product');
  context.after(() => host.kill());
  const away = new Subscriber('away', 4, ['crash/#']);
  await away.connect(host.port);
  await until('the subscription', () => away.isSubscribed);
  away.cut();
  const publisher = new LargePublisher('pub', 5, 2, 20);
  publisher.limit = 8_000;
  await publisher.connect(host.port);
  await until('refusals', () => publisher.refused > 20, 30_000);
  publisher.limit = publisher.sent;
  // Who comes while a write fails is refused, and comes again.
  await until('the subscriber', () => away.connect(host.port));
  await until(
    'the queue',
    () => publisher.acknowledged.every((sequence) => away.has('pub', sequence)),
    30_000,
  );
  const before = publisher.acknowledged.length;
  await until('an acknowledgement', () => {
    if (publisher.acknowledged.length > before) return true;
    publisher.limit = publisher.sent + 1;
    publisher.more();
    return false;
  });
  await until('the rest', () => publisher.acknowledged.every((sequence) => away.has('pub', sequence)));
  assert.deepEqual(
    away.violations.filter((text) => text !== 'away: refused with 3'),
    [],
  );
});
