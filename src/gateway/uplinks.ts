/**
 * The uplinks of the plant: each with its queue on disk, loaded only where one is configured. What comes and goes is
 * told on event/uplink.
 */
import { readFileSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { crc32 } from 'node:zlib';
import type { Broker } from '../broker/broker.js';
import type { Clock } from '../clock.js';
import { secretIn } from '../config/named.js';
import type { Plant, UplinkQueueSettings, UplinkSettings, UplinkTls } from '../config/plant.js';
import { keepOldGeneration } from '../entry.js';
import type { Log } from '../log.js';
import type { Metrics } from '../metrics.js';
import { NOT_YET_READ } from '../poller/sample.js';
import { systemFiles } from '../store/files.js';
import type { DeviceNews } from '../uplink/notices.js';
import type { Place } from '../uplink/payload.js';
import type { UplinkQueue } from '../uplink/queue.js';
import type { Taken } from '../uplink/taken.js';
import type { Uplink, UplinkAbout, UplinkOptions } from '../uplink/uplink.js';

export interface UplinksOptions {
  readonly broker: Broker;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Not while another gateway is the active one: then nothing is taken or brought in. */
  readonly isActive: () => boolean;
  /** An uplink was connected, or lost. */
  readonly changed: (about: UplinkAbout) => void;
}

interface Running {
  readonly settings: UplinkSettings;
  readonly uplink: Uplink;
  readonly queue: UplinkQueue;
  readonly taken: Taken;
}

export class Uplinks {
  readonly #options: UplinksOptions;
  #running: Running[] = [];
  /** What each topic of the gateway speaks of; only where a template may ask. */
  #places: ReadonlyMap<string, Place> = new Map();
  readonly #states = new Map<string, string>();

  constructor(options: UplinksOptions) {
    this.#options = options;
  }

  /**
   * Begins, or goes on with a new plant: an uplink whose settings are as they were is left alone. What is published
   * while the others lose their connections goes into their queues still; a queue that stays goes to the new uplink.
   */
  async take(plant: Plant): Promise<void> {
    this.#places = plant.uplinks.some(hasTemplate) ? placesOf(plant) : new Map();
    const wanted = new Map(plant.uplinks.map((settings) => [settings.name, settings]));
    const isKept = ({ settings }: Running): boolean => isDeepStrictEqual(settings, wanted.get(settings.name));
    const kept = this.#running.filter(isKept);
    const gone = this.#running.filter((one) => !isKept(one));
    const fresh = plant.uplinks.filter(({ name }) => !kept.some(({ settings }) => settings.name === name));
    const queues = await this.#queuesOf(fresh, gone);
    const make = fresh.length === 0 ? null : await this.#maker(plant);
    await Promise.all(gone.map(({ uplink }) => uplink.disconnect()));
    // In one turn: each message goes to the old or to the new.
    for (const { uplink } of gone) uplink.leave();
    this.#running = [...kept];
    for (const settings of fresh) {
      const queue = queues.get(settings.queue.path);
      if (queue === undefined || make === null) continue;
      queue.limit(settings.queue);
      const before = gone.find((one) => one.queue === queue);
      const running = make(settings, queue, before);
      this.#running.push(running);
      this.#gaugesOf(settings.name);
      running.uplink.start();
    }
    const unused = gone.filter(({ settings }) => !queues.has(settings.queue.path));
    await Promise.all(unused.map(({ queue }) => queue.close()));
  }

  /** Told once for each change of state; a device that was never asked is no news, nor what another gateway asks now. */
  deviceChanged(news: DeviceNews): void {
    const { device, state, error } = news;
    if (!this.#options.isActive() || error === NOT_YET_READ || this.#states.get(device) === state) return;
    this.#states.set(device, state);
    for (const { uplink } of this.#running) uplink.deviceChanged(news);
  }

  /** Makes uplinks that do not run yet, each of what the one that had its queue before has left. */
  async #maker({
    gateway,
    broker: { limits },
  }: Plant): Promise<(settings: UplinkSettings, queue: UplinkQueue, before?: Running) => Running> {
    keepOldGeneration();
    const { Uplink } = await import('../uplink/uplink.js');
    const { Subscribed } = await import('../uplink/subscribed.js');
    const { Taken } = await import('../uplink/taken.js');
    const { broker, clock, log, isActive, changed } = this.#options;
    return (settings, queue, before) => {
      queue.received.belongTo(crc32(sessionOf(settings)));
      const isSame = before !== undefined && sessionOf(before.settings) === sessionOf(settings);
      const taken = isSame ? before.taken : new Taken(settings.keepAliveS, queue.received);
      const uplink = new Uplink(optionsOf(settings, gateway.id, limits.maxPacketBytes), {
        local: broker,
        queue,
        subscribed: new Subscribed(settings.queue.path),
        taken,
        clock,
        log,
        placeOf: (topic) => this.#places.get(topic) ?? null,
        isActive,
        changed,
      });
      return { settings, uplink, queue, taken };
    };
  }

  /** Resolves when what was taken is in the queues; null: it is there. Acknowledgements to publishers wait for it. */
  kept(): Promise<void> | null {
    const open = this.#running.flatMap(({ uplink }) => uplink.kept() ?? []);
    if (open.length <= 1) return open[0] ?? null;
    return Promise.all(open).then(() => {});
  }

  about(): UplinkAbout[] {
    return this.#running.map(({ uplink }) => uplink.about());
  }

  /** The end, in three steps: connections end, nothing is taken any more, queues are closed. */
  async disconnect(): Promise<void> {
    await Promise.all(this.#running.map(({ uplink }) => uplink.disconnect()));
  }

  leave(): void {
    for (const { uplink } of this.#running) uplink.leave();
  }

  async close(): Promise<void> {
    await Promise.all(this.#running.splice(0).map(({ queue }) => queue.close()));
  }

  /** The queues by their folders: those that are open already, and others, opened now; all of them or none. */
  async #queuesOf(
    wanted: readonly UplinkSettings[],
    gone: readonly Running[],
  ): Promise<Map<string, UplinkQueue>> {
    const open = new Map(gone.map(({ settings, queue }) => [settings.queue.path, queue]));
    const queues = new Map<string, UplinkQueue>();
    try {
      for (const { queue } of wanted)
        queues.set(queue.path, open.get(queue.path) ?? (await this.#openQueue(queue)));
      return queues;
    } catch (thrown) {
      for (const [path, queue] of queues) if (!open.has(path)) await queue.close();
      throw thrown;
    }
  }

  async #openQueue(queue: UplinkQueueSettings): Promise<UplinkQueue> {
    const { UplinkQueue } = await import('../uplink/queue.js');
    const { clock, log, metrics } = this.#options;
    const opened = new UplinkQueue({ ...queue, folder: queue.path, files: systemFiles, clock, log, metrics });
    await opened.open();
    return opened;
  }

  /** Figures of the uplink that has this name now; a reload may have put another in its place. */
  #gaugesOf(name: string): void {
    const { metrics } = this.#options;
    const figure = (read: (about: UplinkAbout) => number) => (): number => {
      const found = this.#running.find(({ settings }) => settings.name === name);
      return found === undefined ? 0 : read(found.uplink.about());
    };
    for (const [metric, help, read] of GAUGES) metrics.gauge(metric, help, figure(read), { uplink: name });
  }
}

const GAUGES: readonly (readonly [string, string, (about: UplinkAbout) => number])[] = [
  ['uplink_connected', 'Whether the uplink is connected', ({ isConnected }) => Number(isConnected)],
  ['uplink_queued_messages', 'Messages the far side does not have yet', (about) => about.queuedMessages],
  ['uplink_queued_bytes', 'What they take', (about) => about.queuedBytes],
  ['uplink_sent_messages', 'Messages the far side has acknowledged', (about) => about.sent],
  ['uplink_refused_messages', 'Messages the far side refused for good', (about) => about.refused],
  [
    'uplink_dropped_messages',
    'Messages dropped because the queue was full or they were too old',
    (about) => about.dropped,
  ],
];

/** What tells the far side's session from another one, and how long it is not known to have heard us. */
function sessionOf({ nodes, clientId, user, keepAliveS }: UplinkSettings): string {
  return JSON.stringify([nodes, clientId, user, keepAliveS]);
}

/** A session that does not expire. */
const NEVER_S = 0xffff_ffff;

function optionsOf(settings: UplinkSettings, gatewayId: string, maximumPacketBytes: number): UplinkOptions {
  const { version, clientId, user, password, passwordFile, keepAliveS, tls, queue } = settings;
  return {
    ...settings,
    remote: {
      version,
      clientId,
      user,
      keepAliveS,
      // What is too large for a client here is too large for what comes in, too.
      maximumPacketBytes,
      // Our queue is the session of what goes out; only what comes in needs one over there.
      cleanStart: settings.in.length === 0,
      sessionExpiryS: queue.maxAgeMs === 0 ? NEVER_S : Math.min(NEVER_S, Math.ceil(queue.maxAgeMs / 1000)),
    },
    password: () => (passwordFile === null ? password : secretIn(passwordFile)),
    tls: () => (tls === null ? null : remoteTls(tls)),
    gatewayId,
    drainPerS: queue.drainPerS,
    order: queue.order,
    perTopic: queue.perTopic,
  };
}

function hasTemplate({ out }: UplinkSettings): boolean {
  return out.some(({ topic, payload }) => topic !== null || payload !== null);
}

function placesOf({ devices, tags, batches }: Plant): Map<string, Place> {
  const places = new Map<string, Place>();
  for (const { topic, name } of devices) places.set(topic, { device: name, tag: null });
  for (const { topic, ackTopic, name, device } of tags) {
    const place = { device: device.name, tag: name };
    places.set(topic, place);
    places.set(ackTopic, place);
  }
  for (const { topic, device } of batches) places.set(topic, { device: device.name, tag: null });
  return places;
}

function remoteTls({ ca, cert, key, serverName, verify, alpn }: UplinkTls) {
  const read = (file: string | null): Buffer | null => (file === null ? null : readFileSync(file));
  return { ca: read(ca), cert: read(cert), key: read(key), serverName, verify, alpn };
}
