/** The part of the Plant that says which gateways take turns. */
import { hostname } from 'node:os';
import type { Source } from './load.js';
import type { RedundancySettings } from './plant.js';
import type { RedundancyInput } from './schema/redundancy.js';

const SERVER = /^(nats|tls):\/\/[^\s/:@]+(:\d+)?$/;
/** Shorter leases are lost to a garbage collection or a slow disk. */
const TTL_MIN_MS = 2_000;

export function redundancySettings(
  input: RedundancyInput | undefined,
  source: Source,
): RedundancySettings | null {
  if (input === undefined) return null;
  input.servers.forEach((server, index) => {
    if (SERVER.test(server)) return;
    const text = server.includes('@')
      ? 'holds who logs in; write the address alone, and user: and password: beside servers'
      : `${JSON.stringify(server)} is not the address of a NATS server; write nats://host:4222`;
    source.add('error', 'HF1516', ['redundancy', 'servers', index], text);
  });
  const ttlMs = input.ttl ?? 6_000;
  if (ttlMs < TTL_MIN_MS) {
    const text = 'is too short to be renewed in time whatever happens; write 2s or more, 6s is usual';
    source.add('error', 'HF1516', ['redundancy', 'ttl'], text);
  }
  return {
    group: input.group,
    member: input.member ?? hostname(),
    servers: input.servers,
    user: input.user ?? null,
    password: input.password ?? null,
    ttlMs,
  };
}
