/** An uplink beside a broker in this process, with a queue on disk, as the gateway makes one. */
import { Broker } from '../../src/broker/broker.js';
import { systemClock } from '../../src/clock.js';
import type { UplinkRule } from '../../src/config/plant.js';
import { namesIn, textTemplate } from '../../src/config/template.js';
import { type Log, silentLog } from '../../src/log.js';
import { Metrics } from '../../src/metrics.js';
import { systemFiles } from '../../src/store/files.js';
import { MemoryStore } from '../../src/store/memory.js';
import type { Store } from '../../src/store/store.js';
import { type QueueOptions, UplinkQueue } from '../../src/uplink/queue.js';
import { Subscribed } from '../../src/uplink/subscribed.js';
import { Taken } from '../../src/uplink/taken.js';
import { Uplink, type UplinkOptions } from '../../src/uplink/uplink.js';

/** A rule as the config makes it of these two sides. */
export function ruleOf(from: string, to: string, changes: Partial<UplinkRule> = {}): UplinkRule {
  const template = textTemplate(to);
  const isOneTopic = namesIn(template).length > 0 || (changes.payload !== undefined && !/[+#]/.test(to));
  return { from, to, topic: isOneTopic ? template : null, qos: 1, retain: 'keep', payload: null, ...changes };
}

export interface Gateway {
  readonly broker: Broker;
  readonly uplink: Uplink;
  readonly queue: UplinkQueue;
}

/** What a test wants otherwise. */
type UplinkChanges = Partial<Omit<UplinkOptions, 'remote'>> & {
  readonly nodes: readonly string[];
  readonly remote?: Partial<UplinkOptions['remote']>;
};

let clients = 0;

/** Everything is closed by the list of cleanups, last first. Between broker and uplink `opened` is called. */
export async function startUplink(
  queueFolder: string,
  options: UplinkChanges,
  cleanups: (() => unknown)[],
  {
    log = silentLog,
    clock = systemClock,
    opened = () => {},
    store = new MemoryStore(),
    neverRetained = [],
    isActive = () => true,
    ...queueOptions
  }: Partial<QueueOptions> & {
    log?: Log;
    opened?: () => void;
    store?: Store;
    neverRetained?: readonly string[];
    isActive?: () => boolean;
  } = {},
): Promise<Gateway> {
  const broker = new Broker({ store, systemIntervalMs: 0, clock, anonymous: true, neverRetained });
  await broker.open();
  opened();
  const queue = new UplinkQueue({
    folder: queueFolder,
    maxBytes: 64 << 20,
    maxAgeMs: 0,
    drop: 'oldest',
    sync: 'interval',
    files: systemFiles,
    clock,
    log,
    metrics: new Metrics(),
    ...queueOptions,
  });
  await queue.open();
  const uplink = new Uplink(
    {
      name: 'cloud',
      out: [ruleOf('p7/data/#', 'plants/p7/data/#', { retain: 'never' })],
      in: [],
      notices: [],
      variables: {},
      announce: [],
      statusTopic: null,
      gatewayId: 'p7',
      drainPerS: Infinity,
      order: 'oldest-first',
      perTopic: 1,
      password: () => null,
      tls: () => null,
      ...options,
      remote: {
        version: '5',
        clientId: `p7-cloud-${++clients}`,
        user: null,
        keepAliveS: 10,
        cleanStart: options.in === undefined,
        sessionExpiryS: 60,
        ...options.remote,
      },
    },
    {
      local: broker,
      queue,
      subscribed: new Subscribed(queueFolder),
      taken: new Taken(options.remote?.keepAliveS ?? 10, queue.received),
      clock,
      log,
      placeOf: () => null,
      isActive,
      changed: () => {},
    },
  );
  uplink.start();
  cleanups.push(async () => {
    await uplink.stop();
    await broker.close();
  });
  return { broker, uplink, queue };
}
