/** What the entrances open: a door for each MQTT listener, and one for the web page when it is configured. */
import { join } from 'node:path';
import type { Broker } from '../broker/broker.js';
import { visitorRoom } from '../broker/descriptors.js';
import type { ListenerSettings, Plant, WebSettings } from '../config/plant.js';
import { packageFolder } from '../entry.js';
import type { Log } from '../log.js';
import type { Metrics } from '../metrics.js';
import type { Door } from './entrances.js';
import type { Setup } from './setup.js';

export interface DoorContext {
  readonly broker: Broker;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Null when all is well, else what is not. */
  readonly notReady: () => string | null;
  /** What the page must know before it connects. */
  readonly about: () => Readonly<Record<string, unknown>>;
  /** Null: there are users, or none is wanted. */
  readonly setup: Setup | null;
}

export function doorsOf(plant: Plant, context: DoorContext): Door[] {
  const doors = plant.broker.listeners.map((settings) => ({
    name: nameOf(settings),
    open: () => context.broker.openListener(settings),
  }));
  return plant.web === null ? doors : [...doors, webDoor(plant.web, context)];
}

function nameOf({ protocol, host, port, path }: ListenerSettings): string {
  return protocol === 'unix' ? `unix ${path}` : `${protocol} ${host}:${port}`;
}

/** The web server is loaded only where it is configured. */
function webDoor(web: WebSettings, { broker, log, metrics, notReady, about, setup }: DoorContext): Door {
  return {
    name: `web ${web.host}:${web.port}`,
    open: async () => {
      const { WebServer } = await import('../web/server.js');
      const server = new WebServer({
        host: web.host,
        port: web.port,
        tls: web.tls,
        hostNames: web.hostNames,
        pageFolder: join(packageFolder(), 'dist/page'),
        metrics,
        log,
        notReady,
        about,
        setup,
        connectionsMax: visitorRoom(),
        upgrade: await broker.webSocketUpgrade(),
      });
      return {
        url: await server.listen(),
        close: () => server.close(),
        certificateRenewal: () => server.certificateRenewal(),
      };
    },
  };
}
