import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StoreError } from '../../src/errors.js';
import { Metrics } from '../../src/metrics.js';
import type { DiskStore } from '../../src/store/disk.js';
import type { StoredState, StoreRecord } from '../../src/store/store.js';
import { ManualClock } from '../support/clock.js';
import { MemoryDisk, seeded } from '../support/memorydisk.js';
import { StoreLoad } from '../support/storeload.js';
import { canonicalOf, StoreModel } from '../support/storemodel.js';
import { until } from '../support/wait.js';
import {
  opened,
  partsOf,
  published,
  queueOf,
  rememberingLog,
  STORE_FOLDER,
  storeOn,
} from '../support/stores.js';

const FLIPS = process.env['HOLDFAST_LONG'] === '1' ? 10_000 : 1_500;

/** A store with some history, stopped by a kill, and the facts it holds. */
async function sample(
  seed: number,
  facts: number,
  payloadMax: number,
): Promise<{ disk: MemoryDisk; records: StoreRecord[] }> {
  const disk = new MemoryDisk();
  const load = new StoreLoad(seeded(seed), payloadMax);
  const store = storeOn(disk);
  await store.open();
  const records: StoreRecord[] = [];
  for (let fact = 0; fact < facts; fact++) {
    const record = load.next();
    store.append(record);
    records.push(record);
    if (fact % 4 === 0) await store.commit();
  }
  await store.commit();
  return { disk: disk.afterKill(), records };
}

function copyOf(disk: MemoryDisk): MemoryDisk {
  return disk.afterKill();
}

function segmentsOf(disk: MemoryDisk): string[] {
  return [...disk.names.keys()].filter((path) => path.endsWith('.log')).sort();
}

test('a log cut at any byte of its end opens with the facts before the cut', async () => {
  const { disk, records } = await sample(1, 120, 60);
  const path = segmentsOf(disk).at(-1) ?? '';
  const whole = Buffer.from(disk.contents(path));
  const states = new Set<string>();
  const model = new StoreModel();
  states.add(model.canonical());
  for (const record of records) {
    model.apply(record);
    states.add(model.canonical());
  }
  for (let length = Math.max(0, whole.length - 1500); length <= whole.length; length++) {
    const cut = copyOf(disk);
    cut.put(path, whole.subarray(0, length));
    const store = storeOn(cut);
    const found = await canonicalOf(store, await store.open());
    assert.ok(states.has(found), `cut at ${length}: a state that never was`);
    if (length === whole.length) assert.equal(found, model.canonical());
  }
});

test(
  'a flipped bit anywhere never crashes the start and never makes a message up',
  { timeout: 600_000 },
  async (context) => {
    const { disk, records } = await sample(2, 150, 60);
    await storeOn(disk)
      .open()
      .then((state) => assert.ok(state.sessions.length > 0));
    const withSnapshot = copyOf(disk);
    const closing = storeOn(withSnapshot);
    await closing.open();
    for (let position = 1; position < 600; position++)
      closing.append(published(100_000 + position, [], 'x'.repeat(60)));
    await closing.close();
    const genuine = genuineOf(records);
    const random = seeded(3);
    let refused = 0;
    for (let flip = 0; flip < FLIPS; flip++) {
      const spoiled = copyOf(random() < 0.5 ? disk : withSnapshot);
      const paths = [...spoiled.names.keys()].filter((path) => !path.endsWith('reserve'));
      const path = paths[Math.floor(random() * paths.length)] ?? '';
      const bytes = Buffer.from(spoiled.contents(path));
      const at = Math.floor(random() * bytes.length);
      bytes[at] = (bytes[at] ?? 0) ^ (1 << Math.floor(random() * 8));
      spoiled.put(path, bytes);
      const store = storeOn(spoiled);
      const state = await store.open().catch((thrown: unknown) => {
        assert.ok(thrown instanceof StoreError, `${path} at ${at}: ${String(thrown)}`);
        return null;
      });
      if (state === null) refused++;
      else await assertGenuine(store, state, genuine, `${path} at ${at}`);
    }
    context.diagnostic(`${FLIPS} bit flips, ${refused} of them refused`);
  },
);

function genuineOf(records: StoreRecord[]): Set<string> {
  const genuine = new Set<string>();
  for (const record of records) {
    if (record.type === 'SessionOpened')
      genuine.add(`session ${record.session} ${record.clientId} ${record.owner}`);
    if (record.type === 'Subscribed')
      genuine.add(`subscription ${record.session} ${record.filter} ${record.options}`);
    if (record.type !== 'Published') continue;
    const { position, message, retained } = record;
    const what = `${Buffer.from(message.topic).toString('hex')} ${Buffer.from(message.payload).toString('hex')}`;
    if (retained) genuine.add(`retained ${position} ${what}`);
    for (const { session, qos } of record.receivers)
      genuine.add(`queued ${session} ${position} ${qos} ${what}`);
  }
  return genuine;
}

async function assertGenuine(
  store: ReturnType<typeof storeOn>,
  state: StoredState,
  genuine: Set<string>,
  where: string,
): Promise<void> {
  const assertKnown = (what: string): void => assert.ok(genuine.has(what), `${where}: made up ${what}`);
  for (const { message, position } of state.retained) {
    assertKnown(
      `retained ${position} ${Buffer.from(message.topic).toString('hex')} ${Buffer.from(message.payload).toString('hex')}`,
    );
  }
  for (const { session, clientId, owner, subscriptions } of state.sessions) {
    assertKnown(`session ${session} ${clientId} ${owner}`);
    for (const { filter, options } of subscriptions)
      assertKnown(`subscription ${session} ${filter} ${options}`);
    for (const message of await store.read(session, 0, 1000)) {
      const { topic, payload } = partsOf(message);
      assertKnown(
        `queued ${session} ${message.position} ${message.qos} ${topic.toString('hex')} ${payload.toString('hex')}`,
      );
    }
  }
}

test('damage in the middle costs what it hit, and one line says so', async () => {
  const disk = new MemoryDisk();
  const store = storeOn(disk);
  await store.open();
  store.append(opened(1));
  for (let position = 1; position <= 20; position++) {
    store.append(published(position, [1]));
    await store.commit();
  }
  const path = segmentsOf(disk).at(-1) ?? '';
  const spoiled = copyOf(disk);
  const bytes = Buffer.from(spoiled.contents(path));
  const at = bytes.indexOf('message 7');
  bytes[at] = 0;
  spoiled.put(path, bytes);
  const log = rememberingLog();
  const next = storeOn(spoiled, { log });
  await next.open();
  assert.deepEqual(await queueOf(next, 1), [
    1,
    2,
    3,
    4,
    5,
    6,
    ...Array.from({ length: 13 }, (_, index) => index + 8),
  ]);
  const errors = log.lines.filter(({ level }) => level === 'error');
  assert.equal(errors.length, 1);
  assert.equal(errors[0]?.fields['file'], path);
});

test('a message damaged after the start leaves the queue when it is read', async () => {
  const disk = new MemoryDisk();
  const log = rememberingLog();
  const store = storeOn(disk, { log });
  await store.open();
  store.append(opened(1));
  for (let position = 1; position <= 5; position++) store.append(published(position, [1]));
  await store.commit();
  const bytes = disk.contents(segmentsOf(disk).at(-1) ?? '');
  bytes[bytes.indexOf('message 3')] = 0;
  assert.deepEqual(await queueOf(store, 1), [1, 2, 4, 5]);
  assert.equal(log.lines.filter(({ level }) => level === 'error').length, 1);
  assert.deepEqual(await queueOf(store, 1), [1, 2, 4, 5]);
  assert.equal(log.lines.filter(({ level }) => level === 'error').length, 1);
});

/** Five messages for a session, and where on the disk the third lies. */
async function fiveOn(
  disk: MemoryDisk,
  clock: ManualClock,
): Promise<{ store: DiskStore; badPlace: MemoryDisk['badPlace'] }> {
  const store = storeOn(disk, { clock });
  await store.open();
  store.append(opened(1));
  for (let position = 1; position <= 5; position++) store.append(published(position, [1]));
  await store.commit();
  const path = segmentsOf(disk).at(-1) ?? '';
  const from = disk.contents(path).indexOf('message 3');
  return { store, badPlace: { path, from, to: from + 1 } };
}

test('what the disk does not give for a while is waited for, and what is behind it keeps its order', async () => {
  const disk = new MemoryDisk();
  const clock = new ManualClock();
  const { store, badPlace } = await fiveOn(disk, clock);
  disk.badPlace = badPlace;
  for (let second = 0; second < 5; second++, clock.advance(1_000)) {
    assert.deepEqual(
      (await store.read(1, 0, 100)).map(({ position }) => position),
      [1, 2],
    );
    await assert.rejects(store.read(1, 2, 100), { code: 'EIO' });
  }
  // What fails once more after a long time has not failed all the while.
  clock.advance(3_600_000);
  await assert.rejects(store.read(1, 2, 100), { code: 'EIO' });
  disk.badPlace = null;
  assert.deepEqual(await queueOf(store, 1), [1, 2, 3, 4, 5]);
});

test('a place that cannot be read for good costs what lies there', async () => {
  const disk = new MemoryDisk();
  const clock = new ManualClock();
  const { store, badPlace } = await fiveOn(disk, clock);
  disk.badPlace = badPlace;
  for (let second = 0; second < 10; second++, clock.advance(1_000))
    await assert.rejects(store.read(1, 2, 100), { code: 'EIO' });
  assert.deepEqual(await queueOf(store, 1), [1, 2, 4, 5]);
  disk.badPlace = null;
  assert.deepEqual(await queueOf(store, 1), [1, 2, 4, 5]);
});

test('that no file can be opened for want of descriptors costs nothing, however long it lasts', async () => {
  const disk = new MemoryDisk();
  const clock = new ManualClock();
  const { store } = await fiveOn(disk, clock);
  disk.failOpens = 'EMFILE';
  for (let second = 0; second < 60; second++, clock.advance(1_000))
    await assert.rejects(store.read(1, 0, 100), { code: 'EMFILE' });
  disk.failOpens = null;
  assert.deepEqual(await queueOf(store, 1), [1, 2, 3, 4, 5]);
});

test('a start on a disk with a bad place costs what lies there, and one line says so', async () => {
  const { disk, records } = await sample(9, 400, 60);
  const path = segmentsOf(disk)[0] ?? '';
  const whole = await storeOn(copyOf(disk)).open();
  assert.ok(disk.contents(path).length > 3 * 4096, 'the log has a beginning, a middle and an end');
  disk.badPlace = { path, from: 5000, to: 5001 };
  const log = rememberingLog();
  const state = await storeOn(disk, { log }).open();
  assert.equal(log.lines.filter(({ level }) => level === 'error').length, 1);
  assert.equal(
    state.nextPosition,
    whole.nextPosition,
    `what is behind it is there (${records.length} facts)`,
  );
});

test('a last write that cannot be read is told of as damage, not as one that was cut short', async () => {
  const { disk } = await sample(9, 400, 60);
  const path = segmentsOf(disk).at(-1) ?? '';
  const end = disk.contents(path).length;
  disk.badPlace = { path, from: end - 1, to: end };
  const log = rememberingLog();
  await storeOn(disk, { log }).open();
  assert.match(log.lines.find(({ level }) => level === 'error')?.message ?? '', /damaged/);
});

test('a snapshot that cannot be read gives way to the one before it', async () => {
  const disk = new MemoryDisk();
  const store = storeOn(disk);
  await store.open();
  store.append(opened(1));
  for (let position = 1; position <= 3; position++) {
    store.append(published(position, [1]));
    await store.backup('/backup.tar');
    disk.names.delete('/backup.tar');
  }
  const killed = disk.afterKill();
  const newest =
    [...killed.names.keys()]
      .filter((name) => name.includes('snapshot-'))
      .sort()
      .at(-1) ?? '';
  killed.badPlace = { path: newest, from: 0, to: Infinity };
  const again = storeOn(killed);
  await again.open();
  assert.deepEqual(await queueOf(again, 1), [1, 2, 3]);
});

test('retained messages that a start cannot read are told of', async () => {
  const disk = new MemoryDisk();
  const first = storeOn(disk);
  await first.open();
  first.append({ ...published(1, []), retained: true } as StoreRecord);
  await first.commit();
  const path = segmentsOf(disk).at(-1) ?? '';
  const after = disk.afterKill();
  const store = storeOn(after);
  await store.open();
  // Snapshots name it from now on: its segment is not gone through again.
  for (let position = 2; position <= 3; position++) {
    store.append(published(position, []));
    await store.backup('/backup.tar');
    after.names.delete('/backup.tar');
  }
  const killed = after.afterKill();
  killed.badPlace = { path, from: 0, to: Infinity };
  const log = rememberingLog();
  const metrics = new Metrics();
  const { retained } = await storeOn(killed, { log, metrics }).open();
  assert.equal(retained.length, 0);
  assert.match(log.lines.find(({ level }) => level === 'error')?.message ?? '', /retained/);
  assert.equal(metrics.counter('store_damaged_total', '').value, 1);
});

test('a log that gives nothing at all ends the start with its name: the disk may be away for a while only', async () => {
  const { disk } = await sample(9, 40, 60);
  const path = segmentsOf(disk)[0] ?? '';
  disk.badPlace = { path, from: 40, to: Infinity };
  await assert.rejects(storeOn(disk).open(), {
    code: 'STORE_IO',
    message: new RegExp(`${path}.*check the disk`),
  });
});

test('a segment that turns out damaged when it is read is told of in one line, and put aside', async () => {
  const disk = new MemoryDisk();
  const log = rememberingLog();
  const metrics = new Metrics();
  const store = storeOn(disk, { log, metrics, maxBytes: 4 << 20 });
  await store.open();
  store.append(opened(1));
  for (let position = 1; position <= 500; position++) store.append(published(position, [1]));
  await store.commit();
  const path = segmentsOf(disk).at(-1) ?? '';
  const bytes = disk.contents(path);
  for (let position = 200; position <= 450; position++) bytes[bytes.indexOf(`message ${position}`)] = 0;
  const left = await queueOf(store, 1);
  assert.equal(left.length, 249);
  const errors = log.lines.filter(({ level }) => level === 'error');
  assert.deepEqual(
    errors.map(({ fields }) => fields['file']),
    [path],
  );
  assert.equal(metrics.counter('store_damaged_total', '').value, 251);
  for (const position of left) store.append({ type: 'Dropped', session: 1, position });
  let position = 500;
  await until('a segment put aside', async () => {
    store.append(published(++position, [1], Buffer.alloc(40_000)));
    store.append({ type: 'Dropped', session: 1, position });
    await store.commit();
    return disk.names.has(`${path}.damaged`);
  });
  await store.close();
});

test('a payload that looks like records does not become records when its surroundings are damaged', async () => {
  const disk = new MemoryDisk();
  const store = storeOn(disk);
  await store.open();
  store.append(opened(1));
  store.append(published(1, [1], 'inner'));
  await store.commit();
  const path = segmentsOf(disk).at(-1) ?? '';
  // What a client without the disk can know: frames of another store.
  const forged = Buffer.from(disk.contents(path)).subarray(32);
  const other = new MemoryDisk();
  const victim = storeOn(other);
  await victim.open();
  victim.append(opened(1));
  victim.append(published(1, [1], forged));
  victim.append(published(2, [1], 'after'));
  await victim.commit();
  victim.append(published(3, [1], 'later'));
  await victim.commit();
  const spoiled = copyOf(other);
  const victimPath = segmentsOf(spoiled).at(-1) ?? '';
  const bytes = Buffer.from(spoiled.contents(victimPath));
  const at = bytes.indexOf(forged) - 12;
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  spoiled.put(victimPath, bytes);
  const next = storeOn(spoiled);
  await next.open();
  assert.deepEqual(
    (await next.read(1, 0, 10)).map((message) => partsOf(message).payload.toString()),
    ['after', 'later'],
  );
});

test('a store of a newer format is refused and left alone', async () => {
  const { disk } = await sample(4, 20, 20);
  const path = `${STORE_FOLDER}/format`;
  const { crc32 } = await import('node:zlib');
  const text =
    disk.contents(path).toString('latin1').replace('format 1', 'format 2').split(', check')[0] ?? '';
  disk.put(path, Buffer.from(`${text}, check ${crc32(text).toString(16).padStart(8, '0')}\n`));
  const before = segmentsOf(disk).map((segment) => Buffer.from(disk.contents(segment)).toString('hex'));
  await assert.rejects(storeOn(disk).open(), { code: 'STORE_FORMAT' });
  assert.deepEqual(
    segmentsOf(disk).map((segment) => disk.contents(segment).toString('hex')),
    before,
  );
});
