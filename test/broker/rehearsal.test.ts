import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInThisContext } from 'node:vm';
import { PublishWriter } from '../../src/broker/codec.js';
import { Delivery } from '../../src/broker/delivery.js';
import { Framer } from '../../src/broker/framer.js';
import { held } from '../../src/broker/held.js';
import { Outbox } from '../../src/broker/outbox.js';
import { Publishing } from '../../src/broker/publish.js';
import { rehearse } from '../../src/broker/rehearsal.js';
import { systemClock, type Clock } from '../../src/clock.js';
import { collectGarbage } from '../../src/entry.js';
import { silentLog } from '../../src/log.js';
import { Metrics } from '../../src/metrics.js';
import { DiskStore } from '../../src/store/disk.js';
import { MemoryStore } from '../../src/store/memory.js';
import type { Store } from '../../src/store/store.js';
import { VolatileFiles } from '../../src/store/volatile.js';
import { ManualClock } from '../support/clock.js';
import { until } from '../support/wait.js';

/** A store as it is on a disk. */
function lasting(): Store {
  const settings = { path: '', sync: 'commit', intervalMs: 20, maxBytes: 64 << 20 } as const;
  const lock = (): Promise<{ release: () => void }> => Promise.resolve({ release: () => {} });
  return new DiskStore(settings, {
    log: silentLog,
    metrics: new Metrics(),
    files: new VolatileFiles(),
    lock,
  });
}

/** Time that passes a tenth as fast, so that a busy machine has enough of it. */
const slowly: Clock = {
  nowMs: () => systemClock.nowMs(),
  monotonicMs: () => systemClock.monotonicMs() / 10,
  after: (delayMs, callback) => systemClock.after(delayMs * 10, callback),
};

for (const [name, store] of [
  ['memory', () => new MemoryStore()],
  ['disk', lasting],
] as const) {
  test(`what every message passes is compiled afterwards, with a store of kind ${name}`, async () => {
    await rehearse({ clock: slowly, store: store(), smallStore: new MemoryStore(), hasRules: true });
    // Code goes with the objects that it was made for, should none of them be left.
    for (let i = 0; i < 2; i++) {
      collectGarbage();
      await turns();
    }
    setFlagsFromString('--allow-natives-syntax');
    const statusOf = runInThisContext('(f) => %GetOptimizationStatus(f)') as (f: unknown) => number;
    const passed = [
      Framer.prototype.push,
      Publishing.prototype.receive,
      Delivery.prototype.publish,
      Outbox.prototype.reserve,
      PublishWriter.prototype.write,
    ];
    // Bit 6 of the status: made by the optimizing compiler. What is inlined where it is called need not be for itself.
    const optimized = passed.filter((one) => (statusOf(one) & 0x40) !== 0).map(({ name }) => name);
    assert.ok(optimized.length >= 3, `only ${optimized.join(', ')}`);
  });
}

/** Lets what was closed or collected go, which takes some turns. */
async function turns(): Promise<void> {
  for (let i = 0; i < 20; i++) await turn();
}

test('nothing of it is left behind', async () => {
  await turns();
  const before = process.getActiveResourcesInfo().sort();
  const heldBefore = held.bytes;
  const store = await (async () => {
    const scratch = new MemoryStore();
    await rehearse({ clock: systemClock, store: scratch, smallStore: new MemoryStore(), hasRules: true });
    return new WeakRef(scratch);
  })();
  await turns();
  assert.deepEqual(process.getActiveResourcesInfo().sort(), before, 'sockets, listeners and timers');
  assert.equal(held.bytes, heldBefore);
  await until('the broker and its store to be garbage', async () => {
    collectGarbage();
    await turns();
    return store.deref() === undefined;
  });
});

test('it ends in time, also in the middle of a scene', async () => {
  const clock = new ManualClock();
  const stuck = new MemoryStore();
  const asked = new Promise<void>((resolve) => {
    stuck.read = () => {
      resolve();
      return new Promise(() => {});
    };
  });
  let hasEnded = false;
  const smallStore = new MemoryStore();
  const ended = rehearse({ clock, store: stuck, smallStore, hasRules: false }).then(() => (hasEnded = true));
  await asked;
  clock.advance(399);
  await turns();
  assert.equal(hasEnded, false, 'the queue is never read, so its client waits');
  clock.advance(1);
  await ended;
});

test('what keeps it from beginning does not keep the gateway from starting', async () => {
  const smallStore = new MemoryStore();
  smallStore.open = () => Promise.reject(new Error('not today'));
  await rehearse({ clock: systemClock, store: lasting(), smallStore, hasRules: true });
});
