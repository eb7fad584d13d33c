/** A queue whose disk is full: what fits stays, what does not is counted, and room alone makes it go on. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { silentLog } from '../../src/log.js';
import { Cable } from '../support/cable.js';
import { FarSide } from '../support/farside.js';
import { smallDisk } from '../support/smalldisk.js';
import { startUplink } from '../support/uplink.js';
import { until } from '../support/wait.js';

const MESSAGES = 20_000;
const MORE = 2_000;

test('on a full disk the oldest go and are counted, the rest arrives in order, and room alone makes it go on', async (t) => {
  const cleanups: (() => unknown)[] = [];
  t.after(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  });
  const disk = smallDisk(t, '24m');
  if (disk === null) return t.skip('needs the right to mount a tmpfs');
  writeFileSync(join(disk, 'ballast'), Buffer.alloc(18 << 20));
  const folder = join(disk, 'queue');
  const told: string[] = [];
  const tell = (text: string): void => void told.push(text);
  const log = { ...silentLog, info: tell, warn: tell, error: tell };
  const far = await FarSide.create(cleanups);
  const cable = await Cable.away(far.port, cleanups);
  const { broker, uplink } = await startUplink(folder, { nodes: [cable.url] }, cleanups, {
    log,
    maxBytes: 64 << 20,
  });
  let said = 0;
  const say = async (count: number): Promise<void> => {
    for (const end = said + count; said < end; said++) {
      // Nothing that compresses, so that bytes are bytes.
      const payload = Buffer.from(`${said}:${randomBytes(512).toString('base64')}`);
      broker.publish({ topic: 'p7/data/a/b', payload, qos: 1, retain: false, sender: null });
      if (said % 100 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
  };
  await say(MESSAGES);
  await until('the disk to be full', () => told.some((text) => /cannot be written/.test(text)));
  assert.ok(told.some((text) => /drops messages/.test(text)));
  const { dropped, queuedMessages } = uplink.about();
  assert.ok(dropped > 0);
  assert.equal(queuedMessages + dropped, MESSAGES, 'each is queued or counted');
  assert.ok(
    queuedMessages > 5_000,
    `${queuedMessages} messages of 700 bytes are kept on 6 MiB and in memory`,
  );

  rmSync(join(disk, 'ballast'));
  await say(MORE);
  await until('blocks', async () => {
    await say(1);
    return told.some((text) => /can be written again/.test(text));
  });
  await far.start();
  const got: number[] = [];
  const client = await far.client();
  client.on('message', (_topic, payload) => got.push(Number.parseInt(payload.toString(), 10)));
  await client.subscribeAsync('plants/#', { qos: 1 });
  cable.heal();
  await until('an empty queue', () => uplink.about().queuedMessages === 0, 60_000);
  await until('all that was not dropped', () => got.length >= said - uplink.about().dropped);
  assert.equal(got.length, said - uplink.about().dropped);
  assert.deepEqual(
    got,
    got.toSorted((a, b) => a - b),
  );
  assert.equal(got.at(-1), said - 1);
  await until('the blocks to go', () => !readdirSync(folder).some((name) => name.endsWith('.block')));
});
