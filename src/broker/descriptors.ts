/**
 * How many sockets this process may have open beside what it needs itself: the system's limit of file descriptors, less
 * a reserve, so that the store, the lines to devices and a reload find one even when clients come without end.
 */
import { readdirSync, readFileSync } from 'node:fs';

/** For store, devices, uplinks and reloads; with a small limit a quarter of it. */
const RESERVE = 128;

/** Of the page's visitors, those among them who only take a place. */
const VISITORS_MAX = 1024;
const VISITORS_SHARE = 1 / 8;

/** How many connections the web server may have. */
export function visitorRoom(): number {
  try {
    return Math.floor(Math.min(VISITORS_MAX, descriptorLimit() * VISITORS_SHARE));
  } catch {
    return VISITORS_MAX;
  }
}

/** Infinity where the system does not say. */
export function descriptorRoom(): number {
  try {
    const most = descriptorLimit();
    const open = readdirSync('/proc/self/fd').length;
    return Math.max(1, Math.floor(most - open - Math.min(RESERVE, most / 4)));
  } catch {
    return Infinity;
  }
}

function descriptorLimit(): number {
  const limits = readFileSync('/proc/self/limits', 'utf8');
  return Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1] ?? Infinity);
}
