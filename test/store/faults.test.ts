import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StoreError } from '../../src/errors.js';
import { Metrics } from '../../src/metrics.js';
import { Segments } from '../../src/store/segments.js';
import { ManualClock } from '../support/clock.js';
import { MemoryDisk, seeded } from '../support/memorydisk.js';
import { opened, published, queueOf, rememberingLog, storeOn } from '../support/stores.js';
import { until } from '../support/wait.js';

const KB = Buffer.alloc(1000, 7);

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, index) => from + index);
}

test('a failed sync is not trusted: what it covered is written again elsewhere before it is promised', async () => {
  const disk = new MemoryDisk();
  const log = rememberingLog();
  const store = storeOn(disk, { log });
  await store.open();
  store.append(opened(1));
  store.append(published(1, [1]));
  await store.commit();
  disk.failSyncs = 'EIO';
  store.append(published(2, [1]));
  await assert.rejects(store.commit(), StoreError);
  assert.equal(store.isHealthy, false);
  assert.deepEqual(await queueOf(store, 1), [1, 2], 'what is not synced yet is read from memory');
  disk.failSyncs = null;
  await store.commit(); // nothing new: resolves when the earlier facts are durable
  assert.equal(store.isHealthy, true);
  assert.deepEqual(await queueOf(store, 1), [1, 2]);
  store.append(published(3, [1]));
  await store.commit();
  for (let seed = 0; seed < 5; seed++) {
    const next = storeOn(disk.afterPowerCut(seeded(seed)));
    await next.open();
    assert.deepEqual(await queueOf(next, 1), [1, 2, 3]);
  }
  assert.equal(log.lines.filter(({ level }) => level === 'error').length, 1);
});

test('a disk that fails again and again loses nothing that it took in the end', async () => {
  const random = seeded(5);
  const disk = new MemoryDisk();
  const store = storeOn(disk);
  await store.open();
  store.append(opened(1));
  await store.commit();
  let position = 0;
  const promised: number[] = [];
  for (let round = 0; round < 60; round++) {
    const kind = random();
    disk.failWrites = kind < 0.2 ? 'EIO' : null;
    disk.failSyncs = kind > 0.8 ? 'EIO' : null;
    const batch: number[] = [];
    if (store.isHealthy) {
      for (let count = 0; count < 5; count++) {
        store.append(published(++position, [1]));
        batch.push(position);
      }
    }
    const isKept = await store.commit().then(
      () => true,
      () => false,
    );
    if (isKept) promised.push(...batch);
    if (round % 20 === 19) {
      const next = storeOn(disk.afterPowerCut(random));
      await next.open();
      const found = await queueOf(next, 1);
      assert.deepEqual(
        promised.filter((known) => !found.includes(known)),
        [],
      );
      assert.deepEqual(
        found,
        [...found].sort((a, b) => a - b),
      );
    }
  }
  disk.failWrites = disk.failSyncs = null;
  await until('the store to take messages again', () => store.isHealthy);
  assert.deepEqual(await queueOf(store, 1), range(1, position));
});

/** Does something when the first slice of a snapshot is written; resolves when it is done. */
function withinSnapshot(disk: MemoryDisk, work: () => Promise<void>): Promise<void> {
  const open = disk.open.bind(disk);
  return new Promise((resolve) => {
    disk.open = async (path, mode) => {
      const file = await open(path, mode);
      if (!path.endsWith('snapshot.new')) return file;
      disk.open = open;
      let slices = 0;
      const write = async (bytes: Uint8Array, position: number): Promise<void> => {
        await file.write(bytes, position);
        if (slices++ === 0) resolve(await work());
      };
      return { ...file, write };
    };
  });
}

test('what moved to another place while a snapshot was written is found after the next start', async () => {
  const disk = new MemoryDisk();
  const store = storeOn(disk);
  await store.open();
  store.append(opened(1));
  await store.commit();
  // Written behind the first session, a slice each, so that there is time for a failure.
  for (const session of range(2, 30)) {
    store.append(opened(session));
    store.append({ type: 'Subscribed', session, filter: 'x'.repeat(40_000), options: 1, identifier: 0 });
  }
  await store.commit();
  const failure = withinSnapshot(disk, async () => {
    disk.failSyncs = 'EIO';
    await assert.rejects(store.commit(), StoreError);
    disk.failSyncs = null;
  });
  store.append(published(1, [1]));
  await store.archive({ write: () => Promise.resolve() }).catch(() => {});
  await failure;
  await store.commit();
  const next = storeOn(disk.afterPowerCut(seeded(1)));
  await next.open();
  assert.deepEqual(await queueOf(next, 1), [1]);
});

test('a full disk stops promises, keeps serving, and is left by itself when there is room', async () => {
  const disk = new MemoryDisk();
  disk.capacity = 4 << 20;
  const log = rememberingLog();
  const store = storeOn(disk, { log });
  await store.open();
  store.append(opened(1));
  await store.commit();
  let promised = 0;
  for (let position = 1; ; position++) {
    store.append(published(position, [1], KB));
    const error = await store.commit().then(
      () => null,
      (thrown: unknown) => thrown,
    );
    if (error !== null) {
      assert.equal((error as StoreError).code, 'STORE_FULL');
      break;
    }
    promised = position;
  }
  assert.ok(promised > 2500, `${promised} messages fitted`);
  assert.equal(store.isHealthy, false);
  assert.equal((await store.read(1, 0, 3)).length, 3, 'queues are still read');
  store.append(published(promised + 100, [1], KB));
  await assert.rejects(store.commit(), { code: 'STORE_FULL' }, 'no new message is promised');
  store.append({ type: 'Subscribed', session: 1, filter: 'a/#', options: 1, identifier: 0 });
  await store.commit(); // facts that are not messages fit into the reserve
  const found = storeOn(disk.afterPowerCut(seeded(1)));
  await found.open();
  assert.deepEqual((await queueOf(found, 1)).slice(0, promised), range(1, promised));
  await found.close();
  // The subscriber fetches its queue: that alone makes room.
  for (const position of await queueOf(store, 1)) {
    store.append({ type: 'Sent', session: 1, position, packetIdentifier: 1 });
    store.append({ type: 'Completed', session: 1, packetIdentifier: 1, position: 0 });
  }
  await store.commit();
  await until('the store to take messages again', () => store.isHealthy);
  store.append(published(promised + 200, [1], KB));
  await store.commit();
  const next = storeOn(disk.afterPowerCut(seeded(2)));
  await next.open();
  assert.deepEqual(await queueOf(next, 1), [promised + 200]);
  assert.equal(
    log.lines.filter(({ level }) => level === 'error').length,
    1,
    'one line for one lasting fault',
  );
});

test('a reserve that a full disk did not let go of is no hindrance once there is room', async () => {
  const disk = new MemoryDisk();
  const store = storeOn(disk);
  await store.open();
  store.append(opened(1));
  await store.commit();
  const remove = disk.remove.bind(disk);
  disk.remove = (path) =>
    disk.failWrites === 'ENOSPC'
      ? Promise.reject(Object.assign(new Error('ENOSPC: unlink'), { code: 'ENOSPC' }))
      : remove(path);
  disk.failWrites = 'ENOSPC'; // flash file systems want room to remove a file, too
  store.append(published(1, [1]));
  await assert.rejects(store.commit(), { code: 'STORE_FULL' });
  disk.failWrites = null;
  await until('the store to take messages again', () => store.isHealthy);
  await store.close();
});

test('a store that opens on a full disk waits for room', async () => {
  const disk = new MemoryDisk();
  const first = storeOn(disk);
  await first.open();
  first.append(opened(1));
  first.append(published(1, [1]));
  await first.close();
  const full = disk.afterKill();
  full.names.delete('/store/reserve');
  full.capacity = full.usedBytes;
  const store = storeOn(full);
  const state = await store.open();
  assert.equal(state.sessions.length, 1);
  assert.equal(store.isHealthy, false);
  full.capacity = 64 << 20;
  await until('the store to take messages', () => store.isHealthy);
  store.append(published(2, [1]));
  await store.commit();
  assert.deepEqual(await queueOf(store, 1), [1, 2]);
});

test('max_bytes bounds the files; what is fetched or dropped makes room again', async () => {
  const disk = new MemoryDisk();
  const maxBytes = 2 << 20;
  const store = storeOn(disk, { maxBytes });
  await store.open();
  store.append(opened(1));
  let last = 0;
  for (let position = 1; store.isHealthy; position++) {
    store.append(published(position, [1], KB));
    await store.commit();
    last = position;
  }
  assert.ok(last > 1700, `${last} messages of 1 KB fitted into 2 MiB`);
  assert.ok(disk.usedBytes < maxBytes * 1.2 + (4 << 20), 'files, and the reserve');
  store.append(published(last + 1, [1], KB));
  await assert.rejects(store.commit(), { code: 'STORE_FULL' });
  for (let position = 1; position <= 1000; position++)
    store.append({ type: 'Dropped', session: 1, position });
  await store.commit();
  await until('the store to take messages again', () => store.isHealthy);
  assert.deepEqual(await queueOf(store, 1), range(1001, last));
  const next = storeOn(disk.afterPowerCut(seeded(3)), { maxBytes });
  await next.open();
  assert.deepEqual(await queueOf(next, 1), range(1001, last));
});

test('messages that come and go for long do not grow the store, and long-lived ones among them stay', async () => {
  const disk = new MemoryDisk();
  const maxBytes = 4 << 20;
  const metrics = new Metrics();
  const store = storeOn(disk, { maxBytes, metrics });
  await store.open();
  store.append(opened(1));
  store.append(opened(2));
  let largest = 0;
  const kept: number[] = [];
  for (let position = 1; position <= 20_000; position++) {
    const isKept = position % 100 === 0;
    if (isKept) kept.push(position);
    store.append(published(position, isKept ? [1, 2] : [1], KB));
    store.append({ type: 'Sent', session: 1, position, packetIdentifier: 1 });
    store.append({ type: 'Completed', session: 1, packetIdentifier: 1, position: 0 });
    if (position % 20 === 0) {
      await store.commit();
      largest = Math.max(largest, disk.usedBytes);
      assert.ok(store.isHealthy, `full at ${position}`);
    }
  }
  assert.deepEqual(await queueOf(store, 2), kept);
  assert.deepEqual(await queueOf(store, 1), []);
  assert.ok(largest < maxBytes + (4 << 20), `${largest} bytes at most`);
  assert.ok(
    disk.writtenBytes < 20_000 * 1050 * 1.5,
    `${disk.writtenBytes} bytes written for 20 MB of messages`,
  );
  const next = storeOn(disk.afterPowerCut(seeded(4)), { maxBytes });
  await next.open();
  assert.deepEqual(await queueOf(next, 2), kept);
});

test('sync: interval promises after the write, syncs on its own, and keeps to the order after a power cut', async () => {
  const disk = new MemoryDisk();
  const store = storeOn(disk, { sync: 'interval', intervalMs: 10 });
  await store.open();
  store.append(opened(1));
  for (let position = 1; position <= 50; position++) {
    store.append(published(position, [1]));
    await store.commit();
  }
  const killed = storeOn(disk.afterKill());
  await killed.open();
  assert.deepEqual(await queueOf(killed, 1), range(1, 50));
  await until('the interval to pass', async () => {
    const next = storeOn(disk.afterPowerCut(seeded(6)));
    await next.open();
    return (await queueOf(next, 1)).length === 50;
  });
  assert.ok(disk.syncCount < 40, `${disk.syncCount} syncs for 50 commits`);
  store.append(published(51, [1]));
  await store.commit();
  const cut = storeOn(disk.afterPowerCut(seeded(7)));
  await cut.open();
  const found = await queueOf(cut, 1);
  assert.deepEqual(found, range(1, found.length));
  disk.failSyncs = 'EIO';
  store.append(published(52, [1]));
  await store.commit();
  await until('the failed sync to show', () => !store.isHealthy);
  disk.failSyncs = null;
  await until('the store to recover', () => store.isHealthy);
  assert.deepEqual(await queueOf(store, 1), range(1, 52));
  await store.close();
});

test('closing on a disk that refuses ends, and says so', async () => {
  const disk = new MemoryDisk();
  const store = storeOn(disk);
  await store.open();
  store.append(opened(1));
  disk.failWrites = 'EROFS';
  await assert.rejects(store.close(), StoreError);
});

test('a segment stays until what let go of its messages is on the disk', async () => {
  const disk = new MemoryDisk();
  const store = storeOn(disk, { maxBytes: 4 << 20 });
  await store.open();
  store.append(opened(1));
  store.append(opened(2));
  const kept: number[] = [];
  for (let position = 1; position <= 3_000; position++) {
    if (position % 250 === 0) kept.push(position);
    store.append(published(position, position % 250 === 0 ? [1, 2] : [1], KB.subarray(0, 300)));
    store.append({ type: 'Sent', session: 1, position, packetIdentifier: 1 });
    store.append({ type: 'Completed', session: 1, packetIdentifier: 1, position: 0 });
    if (position % 20 === 0) await store.commit();
  }
  for (const position of kept) store.append({ type: 'Dropped', session: 2, position });
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
  const next = storeOn(disk.afterKill());
  await next.open();
  assert.deepEqual(await queueOf(next, 2), kept, 'nobody was told that they are gone');
});

test('sync: interval: what was not synced is cut where the first of it is missing, and is no damage', async () => {
  const disk = new MemoryDisk();
  const log = rememberingLog();
  const store = storeOn(disk, { sync: 'interval', intervalMs: 100_000 });
  await store.open();
  store.append(opened(1));
  const cuts: { disk: MemoryDisk; least: number }[] = [];
  const commitTo = async (first: number, last: number): Promise<void> => {
    for (let position = first; position <= last; position++) {
      store.append(published(position, [1], KB));
      await store.commit();
    }
    for (let seed = 0; seed < 10; seed++)
      cuts.push({ disk: disk.afterPowerCut(seeded(seed)), least: first - 1 });
  };
  await commitTo(1, 10);
  await store.archive({ write: () => Promise.resolve() }); // syncs
  await commitTo(11, 20);
  await store.close();
  for (const { disk: left, least } of cuts) {
    const next = storeOn(left, { log });
    await next.open();
    const found = await queueOf(next, 1);
    assert.deepEqual(found, range(1, found.length));
    assert.ok(found.length >= least, `${found.length} of ${least} that were synced`);
    await next.close();
  }
  assert.deepEqual(
    log.lines.filter(({ level }) => level === 'error'),
    [],
  );
});

test('sync: interval syncs in time however much is to be written', async (context) => {
  const disk = new MemoryDisk();
  const store = storeOn(disk, { sync: 'interval' });
  context.after(() => store.close());
  await store.open();
  store.append(opened(1));
  await store.commit();
  const before = disk.syncCount;
  for (let position = 1; position < 20_000 && disk.syncCount < before + 3; position++) {
    store.append(published(position, [1]));
    void store.commit();
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.ok(disk.syncCount >= before + 3);
});

test('sync: interval: a segment stays until what let go of its messages is written, also where that begins a segment', async (context) => {
  const disk = new MemoryDisk();
  const store = storeOn(disk, { maxBytes: 4 << 20, sync: 'interval' });
  context.after(() => store.close());
  await store.open();
  store.append(opened(1));
  const killed: MemoryDisk[] = [];
  const remove = disk.remove.bind(disk);
  disk.remove = (path) => {
    const left = disk.afterKill();
    left.names.delete(path);
    if (path.endsWith('.log')) killed.push(left);
    return remove(path);
  };
  const random = seeded(6);
  for (let position = 1; position <= 2_500; position++) {
    store.append(published(position, [1], KB.subarray(0, random() * 1000)));
    if (position > 1_000) store.append({ type: 'Dropped', session: 1, position: position - 1_000 });
    if (random() < 0.02) await store.commit();
  }
  assert.ok(killed.length > 5, `${killed.length} segments were removed`);
  const log = rememberingLog();
  for (const left of killed) await storeOn(left, { log }).open();
  assert.deepEqual(
    log.lines.filter(({ level }) => level === 'error'),
    [],
  );
});

test('a segment that is let go of in two places is removed once', async () => {
  const disk = new MemoryDisk();
  const log = rememberingLog();
  const segments = new Segments('/store', disk, log);
  disk.put(segments.pathOf(1), Buffer.alloc(100));
  segments.add(1, 100);
  segments.hold(1, 10);
  segments.release(1);
  segments.cover();
  segments.keepFrom(2);
  segments.removeCovered();
  segments.cover();
  segments.removeCovered();
  await segments.close();
  assert.deepEqual(await disk.list('/store'), []);
  assert.deepEqual(log.lines, []);
});

test('a folder that may not be written is named, with what to do', async () => {
  for (const [code, text] of [
    ['EROFS', /^\/store: is on a read-only file system: mount it writable, .*'store: memory'/],
    [
      'EACCES',
      /^\/store: may not be written by this user: give it to the one that runs the gateway, .*'store: memory'/,
    ],
    ['EIO', /^\/store: cannot be opened: EIO/],
  ] as const) {
    const disk = new MemoryDisk();
    disk.failWrites = code;
    await assert.rejects(storeOn(disk).open(), { name: 'StoreError', code: 'STORE_OPEN', message: text });
  }
});

for (const failure of ['ENOSPC', 'EIO'] as const) {
  test(`sync: interval: what was promised before the disk refuses with ${failure} outlives a kill`, async () => {
    const disk = new MemoryDisk();
    const store = storeOn(disk, { sync: 'interval', intervalMs: 60_000, clock: new ManualClock() });
    await store.open();
    store.append(opened(1));
    store.append(published(1, [1]));
    await store.commit();
    // Files may be removed all the while, as on a disk that is full.
    const remove = disk.remove.bind(disk);
    disk.remove = async (path) => {
      disk.failWrites = null;
      await remove(path).finally(() => (disk.failWrites = failure));
    };
    disk.failWrites = failure;
    store.append(published(2, [1]));
    await assert.rejects(store.commit());
    for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
    disk.failWrites = null;
    const again = storeOn(disk.afterKill());
    await again.open();
    assert.deepEqual(await queueOf(again, 1), [1]);
  });
}

test('sync: interval: what a disk refused is written to another file, and the old one goes', async () => {
  const disk = new MemoryDisk();
  const store = storeOn(disk, { sync: 'interval' });
  await store.open();
  store.append(opened(1));
  store.append(published(1, [1]));
  await store.commit();
  disk.failWrites = 'EIO';
  store.append(published(2, [1]));
  await assert.rejects(store.commit());
  disk.failWrites = null;
  await store.commit();
  await until('one log', () => [...disk.names.keys()].filter((path) => path.endsWith('.log')).length === 1);
  const again = storeOn(disk.afterKill());
  await again.open();
  assert.deepEqual(await queueOf(again, 1), [1, 2]);
  await store.close();
});
