/** The uplinks' part of the Plant: nodes, TLS, queue; rules and messages are in uplinkrules.ts. */
import { resolve } from 'node:path';
import { readable } from './broker.js';
import { isFilter } from './filter.js';
import type { Source } from './load.js';
import type { UplinkSettings, UplinkTls } from './plant.js';
import type { Path } from './problems.js';
import type { GatewayInput } from './schema/gateway.js';
import type { UplinkInput } from './schema/uplink.js';
import { fillKnown } from './template.js';
import {
  fixedTopic,
  forwardedStatus,
  inRule,
  noticeOf,
  outRule,
  refuseCircles,
  type Variables,
  warnOfTwins,
} from './uplinkrules.js';

const NODE = /^(mqtts?|wss?):\/\/[^\s/:@]+(:\d+)?(\/\S*)?$/;
/** The least that a queue is given. */
const QUEUE_MIN_BYTES = 4 * 2 ** 20;
/** What MQTT can say, rounded down. */
const KEEP_ALIVE_MAX_MS = 18 * 3600 * 1000;
const DAY_MS = 24 * 3600 * 1000;

/** What uplinks are told of the gateway. */
export interface UplinkGateway {
  readonly id: string;
  readonly baseTopic: string;
  readonly statusTopic: string;
  /** No other gateway takes turns with it, which would be there still when this one is gone. */
  readonly isAlone: boolean;
}

export function uplinkSettings(
  inputs: GatewayInput['uplinks'],
  source: Source,
  gateway: UplinkGateway,
): UplinkSettings[] {
  const all = Object.entries(inputs ?? {}).map(([name, input]) => uplink(name, input, source, gateway));
  for (const [index, { name, queue }] of all.entries()) {
    const other = all.slice(0, index).find((one) => one.queue.path === queue.path);
    if (other === undefined) continue;
    const text = `is the queue folder of uplink ${other.name} too; give each its own`;
    source.add('error', 'HF1515', ['uplinks', name, 'queue', 'path'], text);
  }
  return all;
}

function uplink(
  name: string,
  input: UplinkInput,
  source: Source,
  { id, baseTopic, statusTopic, isAlone }: UplinkGateway,
): UplinkSettings {
  const at: Path = ['uplinks', name];
  input.nodes.forEach((node, index) => {
    if (NODE.test(node)) return;
    const text = node.includes('@')
      ? 'holds who logs in; write the address alone, and user: and password: beside nodes'
      : `${JSON.stringify(node)} is not the address of a broker; write mqtts://host:8883`;
    source.add('error', 'HF1510', [...at, 'nodes', index], text);
  });
  const home = `${baseTopic}/${id}`;
  const own = { gateway: id, base: baseTopic };
  for (const key of Object.keys(input.variables ?? {}))
    if (Object.hasOwn(own, key))
      source.add(
        'error',
        'HF1513',
        [...at, 'variables', key],
        'is filled in already; choose another name',
        'key',
      );
  const texts = { ...input.variables, ...own };
  const variables = new Map(Object.entries(texts));
  const out = (input.out ?? []).map((rule, index) => outRule(rule, source, [...at, 'out', index], variables));
  const incoming = (input.in ?? []).map((rule, index) =>
    inRule(rule, source, [...at, 'in', index], variables),
  );
  const notices = (input.messages ?? []).flatMap(
    (message, index) => noticeOf(message, source, [...at, 'messages', index], variables) ?? [],
  );
  if ((input.queue?.max_bytes ?? QUEUE_MIN_BYTES) < QUEUE_MIN_BYTES)
    source.add('warning', 'HF1509', [...at, 'queue', 'max_bytes'], 'is taken as 4MiB, the least for a queue');
  const version = String(input.version ?? '5') as '3.1.1' | '5';
  if (version === '3.1.1') refuseCircles(out, incoming, source, at);
  warnOfTwins(incoming, source, at);
  if (out.length + incoming.length + notices.length === 0 && input.status_topic === undefined)
    source.add(
      'warning',
      'HF2507',
      at,
      'forwards nothing and brings in nothing; add out: [{ from: "FILTER" }]',
      'key',
    );
  refuseUnsayable(input, version, source, at);
  return {
    name,
    nodes: input.nodes,
    version,
    clientId: fillKnown(input.client_id ?? `${id}-${name}`, variables),
    user: input.user ?? null,
    password: input.password ?? null,
    passwordFile: source.fileOf([...at, 'password']),
    keepAliveS: Math.max(1, Math.round((input.keep_alive ?? 30_000) / 1000)),
    tls: tlsOf(input, source, at),
    statusTopic:
      fixedTopic(input.status_topic, source, [...at, 'status_topic'], variables) ??
      (isAlone ? forwardedStatus(statusTopic, out, incoming) : null),
    out,
    in: incoming,
    announce: announced(input.announce, source, at, variables) ?? [`${home}/status`, `${home}/device/#`],
    notices,
    variables: texts,
    queue: {
      path: resolve(source.folder, input.queue?.path ?? `data/uplinks/${name}`),
      maxBytes: Math.max(QUEUE_MIN_BYTES, input.queue?.max_bytes ?? 256 * 2 ** 20),
      maxAgeMs: input.queue?.max_age ?? 7 * DAY_MS,
      drop: input.queue?.drop ?? 'oldest',
      sync: input.queue?.sync ?? 'interval',
      order: input.queue?.order ?? 'oldest-first',
      drainPerS: input.queue?.drain_rate ?? Number.POSITIVE_INFINITY,
      perTopic: input.queue?.per_topic ?? 1,
    },
  };
}

function announced(
  input: UplinkInput['announce'],
  source: Source,
  at: Path,
  variables: Variables,
): string[] | undefined {
  return input?.map((written, index) => {
    const filter = fillKnown(written, variables);
    const text = `${JSON.stringify(filter)} is not a topic filter; + stands for a whole level, # for the rest at the end`;
    if (!isFilter(filter)) source.add('error', 'HF1511', [...at, 'announce', index], text);
    return filter;
  });
}

/** What no CONNECT can say, or no far side would take. */
function refuseUnsayable(
  { keep_alive: keepAliveMs = 30_000, user, password, client_id: clientId }: UplinkInput,
  version: '3.1.1' | '5',
  source: Source,
  at: Path,
): void {
  const refuse = (key: string, text: string): void => source.add('error', 'HF1517', [...at, key], text);
  if (keepAliveMs < 1000 || keepAliveMs > KEEP_ALIVE_MAX_MS) refuse('keep_alive', 'is not within 1s and 18h');
  if (version === '3.1.1' && password !== undefined && user === undefined)
    refuse('password', 'cannot go without user: in MQTT 3.1.1');
  if (clientId === '') refuse('client_id', 'is empty; leave it out for one of gateway and uplink');
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
