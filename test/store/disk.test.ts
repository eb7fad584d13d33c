import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { IDENTIFIER_BYTES, type PublishedMessage, type StoreRecord } from '../../src/store/store.js';
import { Metrics } from '../../src/metrics.js';
import { MemoryDisk, seeded } from '../support/memorydisk.js';
import { StoreLoad } from '../support/storeload.js';
import { opened, storeOn } from '../support/stores.js';
import { canonicalOf, StoreModel } from '../support/storemodel.js';

/**
 * Appends facts, commits now and then, cuts the power, and opens again: what is there must be the state after some fact
 * at or behind the last finished commit.
 */
async function liveThroughCuts(
  seed: number,
  cuts: number,
  factsMax: number,
  ending: 'cut' | 'kill' | 'close',
  settings: { maxBytes?: number; payloadMax?: number; patience?: number } = {},
): Promise<number> {
  const { maxBytes = 64 << 20, payloadMax = 4_000, patience = 0.03 } = settings;
  const metrics = new Metrics();
  const random = seeded(seed);
  let disk = new MemoryDisk();
  let records: StoreRecord[] = [];
  let load = new StoreLoad(random, payloadMax);
  for (let cut = 0; cut < cuts; cut++) {
    const store = storeOn(disk, { maxBytes, metrics });
    const model = new StoreModel();
    for (const record of records) model.apply(record);
    assert.equal(await canonicalOf(store, await store.open()), model.canonical());
    let committed = records.length;
    const waiting: Promise<void>[] = [];
    const facts = Math.floor(random() * factsMax);
    for (let fact = 0; fact < facts; fact++) {
      if (!store.isHealthy) break;
      const record = load.next();
      store.append(record);
      records.push(record);
      const upTo = records.length;
      const dice = random();
      if (dice < 0.1) {
        waiting.push(
          store.commit().then(() => {
            committed = Math.max(committed, upTo);
          }),
        );
      }
      if (dice < patience) await waiting.at(-1);
    }
    if (ending === 'close') await store.close();
    const found = ending === 'cut' ? disk.afterPowerCut(random) : disk.afterKill();
    if (ending === 'close') committed = records.length;
    const count = committed;
    const next = storeOn(found, { maxBytes });
    const text = await canonicalOf(next, await next.open());
    const kept = matchOf(records, count, text);
    assert.notEqual(
      kept,
      -1,
      `seed ${seed} cut ${cut}: no state from fact ${count} to ${records.length} is what was found`,
    );
    // The rest of the run goes on from the facts that were kept.
    await Promise.allSettled(waiting);
    // The one that was cut off lives on without a disk that counts; a full one would look for room for ever.
    await store.close().catch(() => {});
    records = records.slice(0, kept);
    load = replayed(random, payloadMax, records, load);
    disk = found;
    await next.close();
    disk = ending === 'cut' ? found.afterPowerCut(random) : found.afterKill();
  }
  const numbers = [...disk.names.keys()].flatMap((path) => /(\d+)\.log$/.exec(path)?.[1] ?? []);
  return Math.max(...numbers.map(Number)) - numbers.length;
}

function matchOf(records: StoreRecord[], from: number, text: string): number {
  const model = new StoreModel();
  records.slice(0, from).forEach((record) => model.apply(record));
  for (let count = from; ; count++) {
    if (model.canonical() === text) return count;
    const record = records[count];
    if (record === undefined) return -1;
    model.apply(record);
  }
}

/** A load that knows only the kept facts. */
function replayed(
  random: () => number,
  payloadMax: number,
  records: StoreRecord[],
  old: StoreLoad,
): StoreLoad {
  const load = new StoreLoad(random, payloadMax);
  load.nextPosition = old.nextPosition;
  load.nextSession = old.nextSession;
  const model = new StoreModel();
  for (const record of records) model.apply(record);
  for (const [number, session] of model.sessions) {
    load.sessions.push({
      number,
      queue: [...session.queue.keys()],
      inFlight: new Map([...session.inFlight].map(([id, { position }]) => [id, position])),
      incoming: new Set(session.incoming),
      filters: [...session.subscriptions.keys()],
      nextIdentifier: 1,
    });
  }
  return load;
}

test('a power cut costs nothing that a finished commit covered, and leaves no gap before what is there', async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer(), async (seed) => void (await liveThroughCuts(seed, 4, 150, 'cut'))),
    { numRuns: 25 },
  );
});

test('a killed process and a clean stop leave the state of the last commit or a later one', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer(),
      fc.constantFrom('kill' as const, 'close' as const),
      async (seed, ending) => void (await liveThroughCuts(seed, 3, 150, ending)),
    ),
    { numRuns: 15 },
  );
});

test('a power cut in the middle of snapshots and compaction costs nothing either', async () => {
  let removedSegments = 0;
  await fc.assert(
    fc.asyncProperty(fc.integer(), async (seed) => {
      const settings = { maxBytes: 1 << 20, payloadMax: 1_500, patience: 0.09 };
      removedSegments += await liveThroughCuts(seed, 4, 900, 'cut', settings);
    }),
    { numRuns: 10 },
  );
  assert.ok(removedSegments > 5, `${removedSegments} segments removed: it was not tried`);
});

test('a payload handed over amid what was read is stored without what lies around it', async () => {
  const disk = new MemoryDisk();
  const store = storeOn(disk);
  await store.open();
  store.append(opened(1));
  const read = Buffer.from(`before|${'x'.repeat(300)}|behind`);
  const lengths = [0, 1, 40, 96, 97, 300];
  const messageOf = (length: number): PublishedMessage => ({
    topic: Buffer.from('plant/level'),
    payload: read,
    payloadStart: 7,
    payloadEnd: 7 + length,
    properties: new Uint8Array(0),
    qos: 1,
    expiresAtMs: 0,
    publisher: length % 2 === 0 ? 'even' : 'öd',
  });
  for (const [index, length] of lengths.entries()) {
    const receivers = [{ session: 1, qos: 1, retain: false, identifiers: [1, 300] }] as const;
    store.append({ type: 'Published', position: index + 1, message: messageOf(length), receivers, retained: true }); // prettier-ignore
    const will = { retain: false, delayS: 0, dueAtMs: 0 };
    store.append({ type: 'WillPending', session: 1, message: messageOf(length), ...will });
    await store.commit();
    read.fill('!'); // it is read into again
    read.fill('x', 7, 307);
    const next = storeOn(disk.afterPowerCut(seeded(length)));
    const { sessions, retained } = await next.open();
    const [message] = await next.read(1, index, 1);
    const payload = message?.payload.subarray(message.payloadStart, message.payloadEnd);
    assert.equal(Buffer.from(payload ?? []).toString(), 'x'.repeat(length));
    assert.equal(Buffer.from(retained[0]?.message.payload ?? []).toString(), 'x'.repeat(length));
    assert.equal(retained[0]?.message.publisher, messageOf(length).publisher);
    assert.equal(Buffer.from(sessions[0]?.will?.message.payload ?? []).toString(), 'x'.repeat(length));
    assert.equal(
      sessions[0]?.queuedBytes,
      lengths.slice(0, index + 1).reduce((sum, one) => sum + 11 + one + 2 * IDENTIFIER_BYTES, 0),
    );
    await next.close();
  }
  await store.close();
});
