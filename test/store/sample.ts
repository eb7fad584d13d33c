/**
 * The store kept in test/store/samples: what is in it, and how it was made. A version that changes the format adds a
 * sample of its own and must still open those that are there.
 *
 *     node build/test/store/sample.js test/store/samples/format-1
 */
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { StoreRecord } from '../../src/store/store.js';
import { opened, published, storeIn } from '../support/stores.js';

/** One of each kind of fact, at least. Session 3 is one that ended, the message at 3 is retained and then cleared. */
export function sampleRecords(): { inSnapshot: StoreRecord[]; inLog: StoreRecord[] } {
  const bytes = (text: string): Buffer => Buffer.from(text);
  const expiresAtMs = 4_102_444_800_000;
  const message = {
    topic: bytes('plant/ü/level'),
    payload: bytes('42'),
    properties: Buffer.from([0x01, 0x01]),
    qos: 2,
    expiresAtMs,
    publisher: 'pub',
  } as const;
  const inSnapshot: StoreRecord[] = [
    opened(1),
    {
      type: 'SessionOpened',
      session: 2,
      clientId: 'ü',
      owner: 'operator',
      expiryS: 4_294_967_295,
      protocolVersion: 4,
    },
    opened(3),
    { type: 'Subscribed', session: 1, filter: 'plant/#', options: 2, identifier: 0 },
    { type: 'Subscribed', session: 1, filter: '$share/g/a/+', options: 9, identifier: 268_435_455 },
    { type: 'Subscribed', session: 2, filter: 'old', options: 1, identifier: 0 },
    published(1, [1, 2]),
    published(2, [1]),
    {
      type: 'Published',
      position: 3,
      message: { ...message, topic: bytes('gone') },
      receivers: [],
      retained: true,
    },
    { type: 'Sent', session: 1, position: 1, packetIdentifier: 7 },
    { type: 'SessionEnded', session: 3 },
  ];
  const inLog: StoreRecord[] = [
    {
      type: 'Published',
      position: 4,
      message,
      receivers: [
        { session: 1, qos: 2, retain: true, identifiers: [1, 300] },
        { session: 2, qos: 1, retain: false, identifiers: [] },
      ],
      retained: true,
      from: { session: 2, packetIdentifier: 65_535 },
    },
    { type: 'RetainedCleared', topic: bytes('gone') },
    { type: 'Unsubscribed', session: 2, filter: 'old' },
    { type: 'Dropped', session: 1, position: 2 },
    { type: 'Sent', session: 1, position: 4, packetIdentifier: 8 },
    { type: 'Received', session: 1, packetIdentifier: 8, position: 0 },
    { type: 'Sent', session: 2, position: 1, packetIdentifier: 1 },
    { type: 'Completed', session: 2, packetIdentifier: 1, position: 0 },
    { type: 'Published', position: 5, message, receivers: [{ session: 1, qos: 1, retain: false, identifiers: [] }], retained: false, from: { session: 1, packetIdentifier: 9 } },
    { type: 'Released', session: 1, packetIdentifier: 9 },
    { type: 'WillPending', session: 1, message, retain: true, delayS: 30, dueAtMs: 0 },
    { type: 'WillPending', session: 2, message, retain: false, delayS: 0, dueAtMs: 0 },
    { type: 'WillCleared', session: 2 },
    { type: 'SessionChanged', session: 1, expiryS: 3600, disconnectedAtMs: 1_700_000_000_000 },
  ]; // prettier-ignore
  return { inSnapshot, inLog };
}

async function make(target: string): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-sample-'));
  const { inSnapshot, inLog } = sampleRecords();
  const store = storeIn(folder);
  await store.open();
  for (const record of inSnapshot) store.append(record);
  await store.commit();
  // Whoever copies a store takes a snapshot first.
  await store.archive({ write: async () => {} });
  for (const record of inLog) store.append(record);
  await store.commit();
  // As a kill leaves it. The reserve is only room, and the lock is nobody's.
  cpSync(folder, target, {
    recursive: true,
    filter: (path) => !['reserve', 'lock'].some((name) => path.endsWith(`/${name}`)),
  });
  await store.close();
  rmSync(folder, { recursive: true });
}

const [, script = '', target] = process.argv;
if (target !== undefined && import.meta.url === pathToFileURL(script).href) await make(target);
