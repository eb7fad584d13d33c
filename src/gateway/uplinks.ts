/**
 * The uplinks of the plant: each with its queue on disk, loaded only where one is configured. What comes and goes is
 * told on event/uplink.
 */
import { readFileSync } from 'node:fs';
import type { Broker } from '../broker/broker.js';
import type { Clock } from '../clock.js';
import type { Plant, UplinkSettings, UplinkTls } from '../config/plant.js';
import type { Log } from '../log.js';
import type { Metrics } from '../metrics.js';
import { systemFiles } from '../store/files.js';
import type { Uplink, UplinkAbout } from '../uplink/uplink.js';

export interface UplinksOptions {
  readonly broker: Broker;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  /** An uplink was connected, or lost. */
  readonly changed: (about: UplinkAbout) => void;
}

export class Uplinks {
  readonly #options: UplinksOptions;
  #uplinks: Uplink[] = [];

  constructor(options: UplinksOptions) {
    this.#options = options;
  }

  async start(plant: Plant): Promise<void> {
    if (plant.uplinks.length === 0) return;
    const { Uplink } = await import('../uplink/uplink.js');
    for (const settings of plant.uplinks) {
      const queue = await this.#queueOf(settings);
      const { broker, clock, log, changed } = this.#options;
      const uplink = new Uplink(
        {
          name: settings.name,
          nodes: settings.nodes,
          remote: {
            version: settings.version,
            clientId: settings.clientId,
            user: settings.user,
            password: settings.password,
            keepAliveS: settings.keepAliveS,
            // Our queue is the session of what goes out; only what comes in needs one over there.
            cleanStart: settings.in.length === 0,
            sessionExpiryS: Math.ceil(settings.queue.maxAgeMs / 1000),
            tls: settings.tls === null ? null : remoteTls(settings.tls),
          },
          out: settings.out,
          in: settings.in,
          announce: settings.announce,
          statusTopic: settings.statusTopic,
          gatewayId: plant.gateway.id,
          drainPerS: settings.queue.drainPerS,
          order: settings.queue.order,
        },
        { local: broker, queue, clock, log, changed },
      );
      this.#gaugesOf(uplink, settings.name);
      uplink.start();
      this.#uplinks.push(uplink);
    }
  }

  about(): UplinkAbout[] {
    return this.#uplinks.map((uplink) => uplink.about());
  }

  async stop(): Promise<void> {
    await Promise.all(this.#uplinks.splice(0).map((uplink) => uplink.stop()));
  }

  async #queueOf({ queue }: UplinkSettings) {
    const { UplinkQueue } = await import('../uplink/queue.js');
    const { clock, log, metrics } = this.#options;
    const opened = new UplinkQueue({ ...queue, folder: queue.path, files: systemFiles, clock, log, metrics });
    await opened.open();
    return opened;
  }

  #gaugesOf(uplink: Uplink, name: string): void {
    const { metrics } = this.#options;
    const labels = { uplink: name };
    metrics.gauge(
      'uplink_connected',
      'Whether the uplink is connected',
      () => Number(uplink.about().isConnected),
      labels,
    );
    metrics.gauge(
      'uplink_queued_messages',
      'Messages the far side does not have yet',
      () => uplink.about().queuedMessages,
      labels,
    );
    metrics.gauge('uplink_queued_bytes', 'What they take', () => uplink.about().queuedBytes, labels);
    metrics.gauge(
      'uplink_dropped_messages',
      'Messages dropped because the queue was full or they were too old',
      () => uplink.about().dropped,
      labels,
    );
  }
}

function remoteTls({ ca, cert, key, serverName, verify, alpn }: UplinkTls) {
  const read = (file: string | null): Buffer | null => (file === null ? null : readFileSync(file));
  return { ca: read(ca), cert: read(cert), key: read(key), serverName, verify, alpn };
}
