/** Every port and socket that the gateway listens on is there once: the broker's, the page's and those that buses share. */
import type { Source } from './load.js';
import type { Plant } from './plant.js';
import type { Path } from './problems.js';

interface Place {
  readonly host: string;
  readonly port: number;
  /** Of a Unix socket. */
  readonly path: string;
  readonly what: string;
  readonly at: Path;
}

export function checkPorts({ buses, broker, web }: Plant, source: Source): void {
  const places: Place[] = broker.listeners.map((one, index) => ({
    ...(one.protocol === 'unix' ? { host: '', port: 0, path: one.path } : { ...one, path: '' }),
    what: `listener ${index}`,
    at: ['broker', 'listeners', index],
  }));
  if (web !== null) places.push({ ...web, path: '', what: 'the page', at: ['web', 'port'] });
  for (const { name, share } of buses) {
    if (share === null) continue;
    const { host, port } = share;
    places.push({ host, port, path: '', what: `bus ${name}`, at: ['buses', name, 'share', 'port'] });
  }
  for (const [index, place] of places.entries()) {
    const other = places.slice(0, index).find((one) => isSame(one, place));
    if (other === undefined) continue;
    const text = `${place.path || `${place.host}:${place.port}`} is taken by ${other.what} already; choose another ${place.path === '' ? 'port' : 'path'}`;
    source.add('error', 'HF1506', place.at, text);
  }
}

function isSame(a: Place, b: Place): boolean {
  if (a.path !== '' || b.path !== '') return a.path === b.path;
  // Port 0 is any that is free.
  if (a.port !== b.port || a.port === 0) return false;
  return a.host === b.host || isWithin(a.host, b.host) || isWithin(b.host, a.host);
}

/** Whether who listens on the one address has the other as well; `::` is every address of both kinds. */
function isWithin(host: string, all: string): boolean {
  if (all === '::') return true;
  if (all === '0.0.0.0') return !host.includes(':');
  return all === 'localhost' && (host === '127.0.0.1' || host === '::1');
}
