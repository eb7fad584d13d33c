import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, test } from 'node:test';
import { silentLog } from '../../src/log.js';
import { Metrics } from '../../src/metrics.js';
import { systemFiles } from '../../src/store/files.js';
import { systemClock } from '../../src/clock.js';
import { ManualClock } from '../support/clock.js';
import { MemoryDisk } from '../support/memorydisk.js';
import { ShiftedClock } from '../support/shiftedclock.js';
import { UplinkQueue, type QueueOptions } from '../../src/uplink/queue.js';
import { until } from '../support/wait.js';

const root = mkdtempSync(join(tmpdir(), 'holdfast-queue-'));
after(() => rmSync(root, { recursive: true }));
let folders = 0;
const opened: UplinkQueue[] = [];
// A failed test must not leave a queue whose timers keep the process alive.
afterEach(() => Promise.all(opened.splice(0).map((queue) => queue.close())));

function newFolder(): string {
  return join(root, String(++folders));
}

/** Closed at the latest when its test is over. */
async function openQueue(folder: string, options: Partial<QueueOptions> = {}): Promise<UplinkQueue> {
  const queue = new UplinkQueue({
    folder,
    maxBytes: 1 << 30,
    maxAgeMs: 0,
    drop: 'oldest',
    sync: 'interval',
    files: systemFiles,
    clock: systemClock,
    log: silentLog,
    metrics: new Metrics(),
    ...options,
  });
  await queue.open();
  opened.push(queue);
  return queue;
}

/** Pushes at a pace that a disk can follow. */
async function pushMany(queue: UplinkQueue, first: number, count: number): Promise<void> {
  for (let i = first; i < first + count; i++) {
    queue.push({
      topic: `plant/data/meter${i % 50}/power`,
      payload: payload(i),
      qos: 1,
      retain: false,
      properties: new Uint8Array(0),
      expiresAtMs: 0,
    });
    if (i % 1000 === 0) await queue.commit();
  }
  await queue.commit();
}

function payload(i: number): Buffer {
  return Buffer.from(`{"v":${i},"q":"good","t":${1_795_376_000_000 + i * 100}}`);
}

async function readAll(queue: UplinkQueue): Promise<number[]> {
  const values: number[] = [];
  for (let from = 0; ;) {
    const entries = await queue.read(from, 1000);
    const last = entries.at(-1);
    if (last === undefined) return values;
    for (const entry of entries)
      values.push((JSON.parse(Buffer.from(entry.payload).toString()) as { v: number }).v);
    from = last.sequence + 1;
  }
}

const numbers = (first: number, count: number): number[] =>
  Array.from({ length: count }, (_none, i) => first + i);

test('what was queued is read in order, from blocks and tail, also after a restart', async () => {
  const folder = newFolder();
  const queue = await openQueue(folder);
  await pushMany(queue, 0, 40_000);
  assert.deepEqual(await readAll(queue), numbers(0, 40_000));
  await queue.close();
  assert.ok(readdirSync(folder).filter((name) => name.endsWith('.block')).length >= 2);
  const again = await openQueue(folder);
  assert.deepEqual(await readAll(again), numbers(0, 40_000));
  assert.equal(again.figures().messages, 40_000);
  await again.close();
});

test('what the far side has does not come back, in whatever order it was acknowledged', async () => {
  const folder = newFolder();
  const queue = await openQueue(folder);
  await pushMany(queue, 0, 20_000);
  for (let sequence = 1; sequence <= 15_000; sequence++)
    if (sequence % 7 !== 0 || sequence < 7000) queue.done(sequence);
  const expected = numbers(0, 20_000).filter((v) => v + 1 > 15_000 || ((v + 1) % 7 === 0 && v + 1 >= 7000));
  assert.deepEqual(await readAll(queue), expected);
  assert.equal(queue.figures().messages, expected.length);
  await queue.close();
  const again = await openQueue(folder);
  assert.deepEqual(await readAll(again), expected);
  await again.close();
});

test('what comes after a restart is not taken for what the far side has of messages that the disk never had', async () => {
  const folder = newFolder();
  const queue = await openQueue(folder);
  await pushMany(queue, 0, 2);
  // While the disk refused, the third and the fourth were in memory only.
  queue.done(4);
  await queue.close();
  const again = await openQueue(folder);
  await pushMany(again, 10, 3);
  assert.deepEqual(await readAll(again), [0, 1, 10, 11, 12]);
  assert.deepEqual([again.figures().messages, again.figures().dropped], [5, 1]);
});

test('a drained queue leaves next to nothing on the disk', async () => {
  const folder = newFolder();
  const queue = await openQueue(folder);
  await pushMany(queue, 0, 40_000);
  for (let sequence = 1; sequence <= 40_000; sequence++) queue.done(sequence);
  await queue.close();
  const again = await openQueue(folder);
  assert.deepEqual(await readAll(again), []);
  assert.equal(again.nextSequence, 40_001);
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.endsWith('.block')),
    [],
  );
  await again.close();
});

test('past its limit the oldest are dropped and counted, or the newest', async () => {
  // However soon all of it is compressed, it takes more than that.
  const maxBytes = 1 << 20;
  const oldest = await openQueue(newFolder(), { maxBytes });
  await pushMany(oldest, 0, 200_000);
  const kept = await readAll(oldest);
  const { dropped, bytes } = oldest.figures();
  assert.equal(kept.length + dropped, 200_000);
  assert.ok(dropped > 0 && bytes <= maxBytes, `${dropped} dropped, ${bytes} bytes`);
  assert.equal(kept.at(-1), 199_999);
  assert.deepEqual(kept, numbers(200_000 - kept.length, kept.length));
  await oldest.close();

  const newest = await openQueue(newFolder(), { maxBytes, drop: 'newest' });
  await pushMany(newest, 0, 200_000);
  assert.equal(newest.figures().messages + newest.figures().dropped, 200_000);
  assert.equal((await newest.read(0, 1)).length, 1);
  assert.equal((await readAll(newest))[0], 0);
  await newest.close();
});

test('a limit that is lowered holds from the next message on', async () => {
  const queue = await openQueue(newFolder());
  await pushMany(queue, 0, 10_000);
  const maxBytes = queue.figures().bytes >> 1;
  queue.limit({ maxBytes, maxAgeMs: 0, drop: 'newest', sync: 'commit' });
  await pushMany(queue, 10_000, 1);
  assert.deepEqual([queue.figures().messages, queue.figures().dropped], [10_000, 1]);
  queue.limit({ maxBytes, maxAgeMs: 0, drop: 'oldest', sync: 'commit' });
  await pushMany(queue, 10_000, 1);
  assert.ok(queue.figures().bytes <= maxBytes);
  assert.equal((await readAll(queue)).at(-1), 10_000);
});

const DAY_MS = 86_400_000;

test('a message that is larger than the queue is dropped, and nothing for it', async () => {
  const queue = await openQueue(newFolder(), { maxBytes: 4 << 20 });
  await pushMany(queue, 0, 20_000);
  const large = {
    topic: 'plant/image',
    qos: 1,
    retain: false,
    properties: new Uint8Array(0),
    expiresAtMs: 0,
  } as const;
  assert.equal(queue.push({ ...large, payload: Buffer.alloc(4 << 20) }), false);
  const { messages, dropped } = queue.figures();
  assert.deepEqual([messages, dropped], [20_000, 1]);
});

test('what is older than its limit is dropped and counted, from blocks and tail', async () => {
  const clock = new ShiftedClock();
  const queue = await openQueue(newFolder(), { clock, maxAgeMs: DAY_MS });
  await pushMany(queue, 0, 20_000);
  clock.pass(DAY_MS - 60_000);
  await pushMany(queue, 20_000, 100);
  assert.deepEqual(await readAll(queue), numbers(0, 20_100));
  clock.pass(90_000);
  assert.deepEqual(await readAll(queue), numbers(20_000, 100));
  assert.equal(queue.figures().dropped, 20_000);
});

for (const [way, jumpMs] of [
  ['forth', 400 * DAY_MS],
  ['back', -400 * DAY_MS],
] as const) {
  test(`a clock that jumps ${way} makes nothing older, and what is older goes all the same`, async () => {
    const clock = new ShiftedClock();
    const queue = await openQueue(newFolder(), { clock, maxAgeMs: DAY_MS });
    await pushMany(queue, 0, 20_000);
    clock.jump(jumpMs);
    await pushMany(queue, 20_000, 20_000);
    clock.pass(DAY_MS / 2);
    clock.jump(-jumpMs);
    await pushMany(queue, 40_000, 100);
    assert.deepEqual(await readAll(queue), numbers(0, 40_100));
    assert.equal(queue.figures().dropped, 0);
    clock.pass(DAY_MS / 2 + 1000);
    assert.deepEqual(await readAll(queue), numbers(40_000, 100));
    assert.equal(queue.figures().dropped, 40_000);
  });
}

test('what was queued before the clock was ever set has no age', async () => {
  const clock = new ShiftedClock(0);
  const folder = newFolder();
  const queue = await openQueue(folder, { clock, maxAgeMs: DAY_MS });
  await pushMany(queue, 0, 20_000);
  clock.jump(1_795_376_000_000);
  await pushMany(queue, 20_000, 100);
  assert.deepEqual(await readAll(queue), numbers(0, 20_100));
  await queue.close();
  const again = await openQueue(folder, { clock, maxAgeMs: DAY_MS });
  assert.deepEqual(await readAll(again), numbers(0, 20_100));
  clock.pass(DAY_MS + 1000);
  assert.deepEqual(await readAll(again), numbers(0, 20_000));
  assert.equal(again.figures().dropped, 100);
});

test('telemetry takes less than 27 bytes a message on the disk', async () => {
  const folder = newFolder();
  const queue = await openQueue(folder);
  await pushMany(queue, 0, 100_000);
  await queue.close();
  const blocks = readdirSync(folder).filter((name) => name.endsWith('.block'));
  const again = await openQueue(folder);
  const sealed =
    (await again.read(0, 1))[0] === undefined
      ? 0
      : blocks.reduce((sum, name) => sum + readFileSync(join(folder, name)).length, 0);
  const perMessage = sealed / 100_000;
  assert.ok(perMessage > 0 && perMessage < 27, `${perMessage} bytes a message`);
  await again.close();
});

test('a damaged block is left out, counted, and hinders nothing behind it', async () => {
  const folder = newFolder();
  const queue = await openQueue(folder);
  await pushMany(queue, 0, 40_000);
  await queue.close();
  const [first] = readdirSync(folder)
    .filter((name) => name.endsWith('.block'))
    .sort();
  const path = join(folder, first ?? '');
  const bytes = readFileSync(path);
  bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
  writeFileSync(path, bytes);
  const again = await openQueue(folder);
  const kept = await readAll(again);
  assert.ok(kept.length > 0 && kept.length < 40_000);
  assert.deepEqual(kept, numbers(40_000 - kept.length, kept.length));
  assert.equal(again.figures().dropped, 40_000 - kept.length);
  await again.close();
});

test('a block that cannot be read is waited for, and given up when that lasts: what is behind it goes on', async () => {
  const folder = newFolder();
  const clock = new ShiftedClock();
  const writer = await openQueue(folder);
  await pushMany(writer, 0, 40_000);
  await writer.close();
  const queue = await openQueue(folder, { clock });
  const [first = ''] = readdirSync(folder)
    .filter((name) => name.endsWith('.block'))
    .sort();
  const path = join(folder, first);
  renameSync(path, `${path}.away`);
  for (let tries = 0; tries < 4; tries++, clock.pass(10_000))
    await assert.rejects(queue.read(0, 1000), { code: 'ENOENT' });
  renameSync(`${path}.away`, path);
  assert.deepEqual(await readAll(queue), numbers(0, 40_000));
  renameSync(path, `${path}.away`);
  // The other blocks were read since.
  for (let tries = 0; tries < 5; tries++) await assert.rejects(queue.read(0, 1000), { code: 'ENOENT' });
  clock.pass(10_000);
  const kept = await readAll(queue);
  assert.ok(kept.length > 0 && kept.length < 40_000);
  assert.deepEqual(kept, numbers(40_000 - kept.length, kept.length));
  assert.equal(queue.figures().dropped, 40_000 - kept.length);
  await queue.close();
});

test('what the far side has is not taken for lost after a power cut', async () => {
  const disk = new MemoryDisk();
  const clock = new ManualClock();
  const cuts: MemoryDisk[] = [];
  const remove = disk.remove.bind(disk);
  disk.remove = async (path) => {
    await remove(path);
    // The name is gone from the disk at once, and of the rest there is what was synced.
    if (path.endsWith('.block')) cuts.push(disk.afterPowerCut(() => 0.2));
  };
  const queue = await openQueue('/queue', { files: disk, clock });
  await pushMany(queue, 0, 30_000);
  const blocks = (): number => [...disk.names.keys()].filter((path) => path.endsWith('.block')).length;
  await until('the blocks', () => blocks() > 1);
  for (let sequence = 1; sequence <= 20_000; sequence++) queue.done(sequence);
  clock.advance(1_000);
  const files = await until('a block to go', () => cuts[0]);
  const again = await openQueue('/queue', { files, clock: new ManualClock() });
  assert.equal(again.figures().dropped, 0);
});

test('what came in is known over a kill, takes no more room for that, and belongs to its session', async () => {
  const clock = new ManualClock();
  const folder = newFolder();
  const { received } = await openQueue(folder, { clock });
  received.belongTo(5);
  for (let round = 0; round < 20; round++) {
    for (let i = 0; i < 5000; i++) {
      received.add(1 + i, round + 1);
      if (i > 1) received.release(1 + i);
    }
    await until('it to be written, and what is done to go', () => {
      clock.advance(1000);
      return readdirSync(folder).filter((name) => name.endsWith('.log')).length <= 2;
    });
  }
  await opened[0]?.commit();
  const again = await openQueue(folder, { clock });
  const known = (): boolean[] => [1, 2, 3].map((identifier) => again.received.has(identifier, 20));
  assert.deepEqual(known(), [true, true, false]);
  assert.equal(again.received.has(1, 19), false);
  again.received.belongTo(5);
  assert.deepEqual(known(), [true, true, false]);
  again.received.belongTo(6);
  await again.commit();
  assert.deepEqual(known(), [false, false, false]);
  const last = await openQueue(folder, { clock });
  assert.equal(last.received.has(1, 20), false);
});
