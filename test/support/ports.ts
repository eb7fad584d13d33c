/**
 * Ports of the loopback for programs that must be told theirs, and for those that go away and come back. None of those
 * that the system picks from: it would give them to somebody else meanwhile, and a client that asks again and again for
 * one on which nobody listens would some time be connected to itself.
 */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';

const LOWEST = 10_000;
const [picked = ''] = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').split('\t');
const highest = Number(picked) > LOWEST + 1000 ? Number(picked) - 1 : 32_767;

/** Given already, so that two of one test are never the same. */
const given = new Set<number>();

/** A port that nobody listens on. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = LOWEST + Math.floor(Math.random() * (highest - LOWEST));
    if (given.has(port) || !(await isFree(port))) continue;
    given.add(port);
    return port;
  }
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, '127.0.0.1');
  try {
    await once(server, 'listening');
  } catch {
    return false;
  }
  server.close();
  await once(server, 'close');
  return true;
}
