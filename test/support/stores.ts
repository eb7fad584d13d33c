/** Stores for tests: on a disk in memory, or in a folder of their own that is removed again. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { systemClock, type Clock } from '../../src/clock.js';
import { silentLog, type Log } from '../../src/log.js';
import { Metrics } from '../../src/metrics.js';
import { DiskStore } from '../../src/store/disk.js';
import type { StoredMessage, StoreRecord } from '../../src/store/store.js';
import type { MemoryDisk } from './memorydisk.js';

export const STORE_FOLDER = '/store';

export interface StoreSettings {
  maxBytes?: number;
  sync?: 'commit' | 'interval';
  intervalMs?: number;
  log?: Log;
  metrics?: Metrics;
  clock?: Clock;
}

export function storeOn(disk: MemoryDisk, settings: StoreSettings = {}): DiskStore {
  const {
    maxBytes = 64 << 20,
    sync = 'commit',
    intervalMs = 20,
    log = silentLog,
    metrics = new Metrics(),
    clock = systemClock,
  } = settings;
  const lock = async (): Promise<{ release: () => void }> => ({ release: () => {} });
  return new DiskStore(
    { path: STORE_FOLDER, sync, intervalMs, maxBytes },
    { log, metrics, clock, files: disk, lock },
  );
}

export function storeIn(path: string, settings: StoreSettings = {}): DiskStore {
  const {
    maxBytes = 512 << 20,
    sync = 'commit',
    intervalMs = 20,
    log = silentLog,
    metrics = new Metrics(),
  } = settings;
  return new DiskStore({ path, sync, intervalMs, maxBytes }, { log, metrics });
}

export function temporaryFolder(context: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-'));
  context.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export interface LogLine {
  level: string;
  message: string;
  fields: Record<string, unknown>;
}

/** A log that remembers. */
export function rememberingLog(): Log & { lines: LogLine[] } {
  const lines: LogLine[] = [];
  const at =
    (level: string) =>
    (message: string, fields: Record<string, unknown> = {}): void =>
      void lines.push({ level, message, fields });
  return { lines, debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

export function opened(session: number): StoreRecord {
  return {
    type: 'SessionOpened',
    session,
    clientId: `c${session}`,
    owner: '',
    expiryS: 1000,
    protocolVersion: 5,
  };
}

/** A message of some size to some sessions. */
export function published(
  position: number,
  sessions: number[],
  payload: string | Buffer = `message ${position}`,
): StoreRecord {
  return {
    type: 'Published',
    position,
    message: {
      topic: Buffer.from('a/b'),
      payload: Buffer.from(payload),
      properties: Buffer.alloc(0),
      qos: 1,
      expiresAtMs: 0,
      publisher: '',
    },
    receivers: sessions.map((session) => ({ session, qos: 1, retain: false, identifiers: [] })),
    retained: false,
  };
}

/** The bytes of a message that was read from a queue. */
export function partsOf(message: StoredMessage): { topic: Buffer; payload: Buffer; properties: Buffer } {
  const { topic, topicStart, topicEnd, payload, payloadStart, payloadEnd } = message;
  const { properties, propertiesStart, propertiesEnd } = message;
  return {
    topic: Buffer.from(topic.subarray(topicStart, topicEnd)),
    payload: Buffer.from(payload.subarray(payloadStart, payloadEnd)),
    properties: Buffer.from(properties.subarray(propertiesStart, propertiesEnd)),
  };
}

/** Positions that wait for a session, in order. */
export async function queueOf(store: DiskStore, session: number): Promise<number[]> {
  const positions: number[] = [];
  for (;;) {
    const messages = await store.read(session, positions.at(-1) ?? 0, 100);
    if (messages.length === 0) return positions;
    positions.push(...messages.map(({ position }) => position));
  }
}
