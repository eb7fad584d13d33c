/**
 * The uplinks' part of the Plant. A rule that would send messages in a circle is refused here where the far side
 * cannot be told to leave our own messages out (MQTT 3.1.1 knows no No Local).
 */
import { resolve } from 'node:path';
import { readable } from './broker.js';
import type { Source } from './load.js';
import type { UplinkRule, UplinkSettings, UplinkTls } from './plant.js';
import type { Path } from './problems.js';
import type { GatewayInput, UplinkInput } from './schema.js';

type RuleInput = NonNullable<UplinkInput['out']>[number];

const NODE = /^(mqtts?|wss?):\/\/[^\s/:]+(:\d+)?(\/\S*)?$/;
const DAY_MS = 24 * 3600 * 1000;

export function uplinkSettings(
  inputs: GatewayInput['uplinks'],
  source: Source,
  gateway: { readonly id: string; readonly baseTopic: string },
): UplinkSettings[] {
  return Object.entries(inputs ?? {}).map(([name, input]) => uplink(name, input, source, gateway));
}

function uplink(
  name: string,
  input: UplinkInput,
  source: Source,
  { id, baseTopic }: { readonly id: string; readonly baseTopic: string },
): UplinkSettings {
  const at: Path = ['uplinks', name];
  input.nodes.forEach((node, index) => {
    if (NODE.test(node)) return;
    const text = `${JSON.stringify(node)} is not the address of a broker; write mqtts://host:8883`;
    source.add('error', 'HF1510', [...at, 'nodes', index], text);
  });
  const home = `${baseTopic}/${id}`;
  const out = (input.out ?? []).map((rule, index) => ruleOf(rule, source, [...at, 'out', index]));
  const incoming = (input.in ?? []).map((rule, index) => ruleOf(rule, source, [...at, 'in', index]));
  const version = String(input.version ?? '5') as '3.1.1' | '5';
  if (version === '3.1.1') refuseCircles(out, incoming, source, at);
  return {
    name,
    nodes: input.nodes,
    version,
    clientId: input.client_id ?? `${id}-${name}`,
    user: input.user ?? null,
    password: input.password ?? null,
    keepAliveS: Math.max(1, Math.round((input.keep_alive ?? 30_000) / 1000)),
    tls: tlsOf(input, source, at),
    statusTopic: input.status_topic ?? null,
    out,
    in: incoming,
    announce: input.announce ?? [`${home}/status`, `${home}/device/#`],
    queue: {
      path: resolve(source.folder, input.queue?.path ?? `data/uplinks/${name}`),
      maxBytes: Math.max(4 * 2 ** 20, input.queue?.max_bytes ?? 256 * 2 ** 20),
      maxAgeMs: input.queue?.max_age ?? 7 * DAY_MS,
      drop: input.queue?.drop ?? 'oldest',
      sync: input.queue?.sync ?? 'interval',
      order: input.queue?.order ?? 'oldest-first',
      drainPerS: input.queue?.drain_rate ?? Number.POSITIVE_INFINITY,
    },
  };
}

function tlsOf(input: UplinkInput, source: Source, at: Path): UplinkTls | null {
  const isSecure = input.nodes.some((node) => /^(mqtts|wss):/.test(node));
  const { tls } = input;
  if (tls !== undefined && !isSecure) {
    source.add('error', 'HF1504', [...at, 'tls'], 'no node uses TLS; write mqtts:// or wss://', 'key');
  }
  if (!isSecure) return null;
  const file = (key: 'ca' | 'cert' | 'key'): string | null => {
    const path = tls?.[key];
    return path === undefined ? null : readable(path, source, [...at, 'tls', key], 'a PEM file');
  };
  if ((tls?.cert === undefined) !== (tls?.key === undefined)) {
    source.add('error', 'HF1504', [...at, 'tls'], 'a client certificate needs both cert and key');
  }
  if (tls?.insecure === true) {
    source.add(
      'warning',
      'HF1504',
      [...at, 'tls', 'insecure'],
      'any certificate is taken: whoever is in between reads and writes',
      'key',
    );
  }
  return {
    ca: file('ca'),
    cert: file('cert'),
    key: file('key'),
    serverName: tls?.server_name ?? null,
    verify: tls?.insecure !== true,
    alpn: tls?.alpn ?? [],
  };
}

function ruleOf(input: RuleInput, source: Source, at: Path): UplinkRule {
  const to = input.to ?? input.from;
  for (const [key, filter] of [
    ['from', input.from],
    ['to', to],
  ] as const) {
    if (!isFilter(filter)) {
      source.add(
        'error',
        'HF1511',
        [...at, key],
        `${JSON.stringify(filter)} is not a topic filter; + stands for a whole level, # for the rest at the end`,
      );
    }
  }
  if (wildcards(input.from) !== wildcards(to)) {
    const text = `ends in "${wildcards(to)}" and from in "${wildcards(input.from)}"; both must have the same wildcards`;
    source.add('error', 'HF1511', [...at, 'to'], text);
  }
  return { from: input.from, to, qos: input.qos ?? 1, retain: input.retain ?? 'keep' };
}

function isFilter(filter: string): boolean {
  const levels = filter.split('/');
  return (
    filter !== '' &&
    levels.every(
      (level, index) =>
        level === '+' || (level === '#' && index === levels.length - 1) || !/[+#\0]/.test(level),
    )
  );
}

/** From the first wildcard on. */
function wildcards(filter: string): string {
  const at = filter.search(/[+#]/);
  return at < 0 ? '' : filter.slice(at);
}

/** What goes out must not be what comes in again. */
function refuseCircles(
  out: readonly UplinkRule[],
  incoming: readonly UplinkRule[],
  source: Source,
  at: Path,
): void {
  incoming.forEach((rule, index) => {
    const other = out.findIndex(({ to }) => mayMeet(to, rule.from));
    if (other < 0) return;
    const text = `brings in what out rule ${other} sends (${out[other]?.to ?? ''}); with version 3.1.1 that is a circle: use other topics, or version: 5`;
    source.add('error', 'HF1512', [...at, 'in', index], text);
  });
}

/** Whether one topic could match both filters. */
function mayMeet(one: string, other: string): boolean {
  const [a, b] = [one.split('/'), other.split('/')];
  for (let i = 0; ; i++) {
    const [x, y] = [a[i], b[i]];
    if (x === '#' || y === '#') return true;
    if (x === undefined || y === undefined) return x === y;
    if (x !== '+' && y !== '+' && x !== y) return false;
  }
}
