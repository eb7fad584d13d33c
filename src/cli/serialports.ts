/** Serial ports of this machine, by the names that stay: an adapter's own where it has one. */
import { readdirSync, realpathSync } from 'node:fs';
import { join } from 'node:path';

const BY_ID = '/dev/serial/by-id';
/** Names of real ports; a PC lists 32 of ttyS, of which the first few may be there. */
const DEVICES = /^(ttyUSB|ttyACM|ttyAMA|ttySC|ttymxc|ttyO|ttyHS|ttyRS485-|ttyS)\d+$/;

export interface FoundPort {
  /** For the config. */
  readonly path: string;
  /** What it is now, where that is another name. */
  readonly device: string;
}

export function serialPorts(): FoundPort[] {
  const stable = listed(BY_ID).map((name) => {
    const path = join(BY_ID, name);
    return { path, device: realpathSync(path) };
  });
  const known = new Set(stable.map(({ device }) => device));
  const others = listed('/dev')
    .filter((name) => DEVICES.test(name) && !/^ttyS([4-9]|\d\d)$/.test(name))
    .map((name) => ({ path: join('/dev', name), device: join('/dev', name) }))
    .filter(({ device }) => !known.has(device));
  return [...stable, ...others.toSorted((a, b) => (rank(a.path) < rank(b.path) ? -1 : 1))];
}

/** Adapters before ports that a board always has. */
function rank(path: string): string {
  return `${/USB|ACM/.test(path) ? 0 : 1}${path}`;
}

function listed(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
