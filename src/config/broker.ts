/**
 * The broker's and the page's part of the Plant: listeners, who may enter, store, limits. Any doubt about who may enter
 * is an error, so that nothing opens wider than was written.
 */
import { accessSync, constants, existsSync, readFileSync, statSync } from 'node:fs';
import { isIP } from 'node:net';
import { totalmem } from 'node:os';
import { resolve } from 'node:path';
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import { parseUsers } from '../broker/usersfile.js';
import { messageOf } from '../errors.js';
import { isFilter } from './filter.js';
import { wrongHost } from './host.js';
import type { Source } from './load.js';
import { isEndless, NOT_A_FILE } from './named.js';
import type { Path } from './problems.js';
import type {
  AccessRule,
  BrokerSettings,
  LimitSettings,
  ListenerSettings,
  StoreSettings,
  TlsSettings,
  WebSettings,
} from './plant.js';
import type { BrokerInput } from './schema/broker.js';
import type { GatewayInput } from './schema/gateway.js';

type ListenerInput = NonNullable<BrokerInput['listeners']>[number];
type TlsInput = NonNullable<ListenerInput['tls']>;

const LOOPBACK = '127.0.0.1';
const PORTS = { mqtt: 1883, mqtts: 8883, ws: 8083, wss: 8084, unix: 0 } as const;
const UNLIMITED = Number.POSITIVE_INFINITY;

/** hasPage: whether there is a web page, on which a first user can be made. */
export function brokerSettings(
  input: BrokerInput | undefined,
  source: Source,
  hasPage: boolean,
): BrokerSettings {
  const part: Path = ['broker'];
  const anonymous = input?.anonymous ?? false;
  const anonymousBeyondLoopback = input?.anonymous_beyond_loopback ?? false;
  const listeners =
    input?.listeners === undefined
      ? [listener({}, source, [])]
      : input.listeners.map((one, index) => listener(one, source, [...part, 'listeners', index]));
  const usersFile = input?.users_file === undefined ? null : usersFileOf(input.users_file, source, hasPage);
  const settings: BrokerSettings = {
    listeners,
    anonymous,
    anonymousBeyondLoopback,
    usersFile,
    access:
      input?.access === undefined
        ? null
        : input.access.map((rule, index) => accessRule(rule, source, [...part, 'access', index])),
    store: storeSettings(input?.store, source),
    limits: limitSettings(input?.limits),
  };
  checkEntrance(settings, input, source);
  checkPrivacy(settings, source);
  return settings;
}

/** A users file that is not there yet is made on the page, where there is one. */
function usersFileOf(file: string, source: Source, hasPage: boolean): string {
  const at: Path = ['broker', 'users_file'];
  const path = resolve(source.folder, file);
  if (!hasPage || existsSync(path)) {
    readable(file, source, at, 'made by `holdfast passwd`');
    checkUsers(path, source, at);
    return path;
  }
  source.add(
    'warning',
    'HF2505',
    at,
    `${path} is not there yet; the page makes it with the first user, who needs the code that the log tells`,
  );
  return path;
}

/** As the broker will read it, which refuses to start with a file that is not right. */
function checkUsers(path: string, source: Source, at: Path): void {
  const text = contentOf(path);
  if (text === undefined) return;
  try {
    parseUsers(text.toString(), path);
  } catch (thrown) {
    source.add('error', 'HF1503', at, messageOf(thrown));
  }
}

function listener(input: ListenerInput, source: Source, at: Path): ListenerSettings {
  const protocol = input.protocol ?? (input.unix !== undefined ? 'unix' : 'mqtt');
  const isSecure = protocol === 'mqtts' || protocol === 'wss';
  if (isSecure && input.tls === undefined)
    source.add(
      'error',
      'HF1504',
      [...at, 'tls'],
      `missing; ${protocol} needs tls: { cert: FILE, key: FILE }`,
    );
  if (!isSecure && input.tls !== undefined)
    source.add(
      'error',
      'HF1504',
      [...at, 'tls'],
      `${protocol} has no TLS, so it would be open; write protocol: ${protocol === 'ws' ? 'wss' : 'mqtts'}`,
      'key',
    );
  if (
    (protocol === 'unix') !== (input.unix !== undefined) &&
    !(protocol === 'unix' && input.path !== undefined)
  ) {
    source.add(
      'error',
      'HF1505',
      at,
      'a Unix socket is written as unix: /path/to/socket, and is a listener of its own',
    );
  }
  warnOfUnused(protocol, input, source, at);
  const path =
    protocol === 'unix' ? resolve(source.folder, input.unix ?? input.path ?? '') : (input.path ?? '/mqtt');
  const host = checkedHost(input.host, source, [...at, 'host']);
  if (protocol !== 'unix' && !path.startsWith('/'))
    source.add('error', 'HF1505', [...at, 'path'], 'a URL path begins with /');
  return {
    protocol,
    host,
    port: input.port ?? PORTS[protocol],
    path,
    tls: input.tls === undefined ? null : tlsSettings(input.tls, source, [...at, 'tls']),
    anonymous: input.anonymous ?? null,
  };
}

/** What a listener of this protocol has no use for; who writes it means another one. */
function warnOfUnused(
  protocol: ListenerSettings['protocol'],
  input: ListenerInput,
  source: Source,
  at: Path,
): void {
  const isWeb = protocol === 'ws' || protocol === 'wss';
  const unused = protocol === 'unix' ? (['host', 'port'] as const) : isWeb ? [] : (['path'] as const);
  for (const key of unused) {
    if (input[key] === undefined) continue;
    const meant =
      key === 'path'
        ? `; for WebSocket write protocol: ${protocol === 'mqtts' ? 'wss' : 'ws'}`
        : '; for both write two listeners';
    source.add(
      'warning',
      'HF2506',
      [...at, key],
      `${protocol} has no ${key}, so it does nothing${meant}`,
      'key',
    );
  }
}

/** An address to listen on that cannot be one would end the start; what it would mean for others is not asked then. */
export function checkedHost(host: string | undefined, source: Source, at: Path): string {
  if (host === undefined) return LOOPBACK;
  const isNone = host === '' || host === '*' || (/^[\d.]+$/.test(host) && isIP(host) === 0);
  const wrong = isNone ? `${JSON.stringify(host)} is no address; 0.0.0.0 is all of them` : wrongHost(host);
  if (wrong === null) return host;
  source.add('error', 'HF1505', at, wrong);
  return LOOPBACK;
}

function tlsSettings(input: TlsInput, source: Source, at: Path): TlsSettings {
  if (input.require_client_cert === true && input.client_ca === undefined) {
    source.add(
      'error',
      'HF1504',
      [...at, 'require_client_cert'],
      'needs client_ca: the authority of the clients',
    );
  }
  const settings = {
    cert: readable(input.cert, source, [...at, 'cert']),
    key: readable(input.key, source, [...at, 'key']),
    clientCa: input.client_ca === undefined ? null : readable(input.client_ca, source, [...at, 'client_ca']),
    requireClientCert: input.require_client_cert ?? false,
  };
  checkCertificates(settings, source, at);
  return settings;
}

/** As a listener will take them: each by itself, so that the one that is wrong is named, then together. */
function checkCertificates({ cert, key, clientCa }: TlsSettings, source: Source, at: Path): void {
  const contents = [cert, key, clientCa].map((file) => (file === null ? null : contentOf(file)));
  const [certText, keyText, caText] = contents;
  if (certText === undefined || keyText === undefined || caText === undefined) return;
  const steps = [
    { member: 'cert', what: 'a certificate in PEM form', options: { cert: certText } },
    { member: 'key', what: 'a private key in PEM form', options: { key: keyText } },
    { member: 'client_ca', what: 'a certificate in PEM form', options: { ca: caText } },
    { member: 'key', what: 'the key of that certificate', options: { cert: certText, key: keyText } },
  ];
  for (const { member, what, options } of steps) {
    const [content] = Object.values(options);
    if (content === null) continue;
    try {
      createSecureContext(options as SecureContextOptions);
      if (member === 'client_ca' && !String(content).includes('-----BEGIN')) throw new Error('no PEM in it');
    } catch {
      const file = member === 'cert' ? cert : member === 'key' ? key : clientCa;
      return source.add('error', 'HF1504', [...at, member], `${file} is not ${what}`);
    }
  }
}

/** Undefined: it cannot be read, which was said already. */
function contentOf(file: string): Buffer | undefined {
  try {
    return isEndless(file) ? undefined : readFileSync(file);
  } catch {
    return undefined;
  }
}

/** The absolute path of a file that must be there. */
export function readable(file: string, source: Source, at: Path, hint = ''): string {
  const path = resolve(source.folder, file);
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory() === true) {
    source.add('error', 'HF1502', at, `${path} is a folder; name the file in it`);
    return path;
  }
  if (isEndless(path)) source.add('error', 'HF1502', at, `${path}: ${NOT_A_FILE}`);
  try {
    accessSync(path, constants.R_OK);
  } catch {
    source.add(
      'error',
      'HF1502',
      at,
      `${path} is not there or cannot be read${hint === '' ? '' : `; it is ${hint}`}`,
    );
  }
  return path;
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host);
}

/** Anonymous beyond loopback must be said twice, and somebody must be able to enter. */
function checkEntrance(settings: BrokerSettings, input: BrokerInput | undefined, source: Source): void {
  settings.listeners.forEach((one, index) => {
    const isAnonymous = one.anonymous ?? settings.anonymous;
    if (!isAnonymous || one.protocol === 'unix' || isLoopback(one.host) || settings.anonymousBeyondLoopback)
      return;
    const own =
      one.anonymous !== null
        ? (['broker', 'listeners', index, 'anonymous'] as const)
        : (['broker', 'anonymous'] as const);
    source.add(
      'error',
      'HF1501',
      own,
      `everybody who reaches ${one.host} could read and write; add users_file, or write anonymous_beyond_loopback: true as well`,
    );
  });
  const isOpen = settings.listeners.some(
    (one) => (one.anonymous ?? settings.anonymous) || one.tls?.requireClientCert === true,
  );
  if (settings.usersFile !== null || isOpen) return;
  const path: Path =
    input === undefined ? [] : input.anonymous === undefined ? ['broker'] : ['broker', 'anonymous'];
  source.add(
    'warning',
    'HF2501',
    path,
    'nobody can connect: anonymous is false and there is no users_file; make one with `holdfast passwd`, or write anonymous: true for loopback',
    'key',
  );
}

/** Passwords should not travel where others listen, nor lie where others read. */
function checkPrivacy({ listeners, usersFile, anonymous }: BrokerSettings, source: Source): void {
  if (usersFile !== null) warnIfOpen(usersFile, source, ['broker', 'users_file']);
  listeners.forEach((one, index) => {
    if (one.tls !== null) warnIfOpen(one.tls.key, source, ['broker', 'listeners', index, 'tls', 'key']);
    const isClear = one.protocol === 'mqtt' || one.protocol === 'ws';
    if (!isClear || isLoopback(one.host) || usersFile === null || (one.anonymous ?? anonymous)) return;
    const text = `passwords cross the network unencrypted; use ${one.protocol === 'ws' ? 'wss' : 'mqtts'} beyond this machine`;
    source.add('warning', 'HF2502', ['broker', 'listeners', index, 'protocol'], text);
  });
}

/** A secret that every user of the machine can read. */
function warnIfOpen(file: string, source: Source, at: Path): void {
  const about = statSync(file, { throwIfNoEntry: false });
  if (about === undefined || !about.isFile() || (about.mode & 0o004) === 0 || process.platform === 'win32')
    return;
  source.add('warning', 'HF2504', at, `${file} can be read by everybody on this machine; chmod 600 it`);
}

function accessRule(input: NonNullable<BrokerInput['access']>[number], source: Source, at: Path): AccessRule {
  const who = [input.user, input.group, input.client].filter((one) => one !== undefined);
  if (who.length > 1)
    source.add('error', 'HF1507', at, 'names several of user, group and client; write a rule for each');
  if (input.allow === undefined && input.deny === undefined)
    source.add('error', 'HF1507', at, 'allows and denies nothing; add allow: [read], [write] or both');
  if (!isFilter(input.topic))
    source.add(
      'error',
      'HF1508',
      [...at, 'topic'],
      `${JSON.stringify(input.topic)} is not a topic filter; + stands for a whole level, # for the rest at the end`,
    );
  const unknown = [...input.topic.matchAll(/\{(\w*)\}/g)]
    .map((match) => match[1] ?? '')
    .find((word) => word !== 'user' && word !== 'client');
  if (unknown !== undefined)
    source.add(
      'error',
      'HF1508',
      [...at, 'topic'],
      `{${unknown}} is not filled in here; known are {user} {client}`,
    );
  const literal = /(?:^|\/)%([uc])(?=\/|$)/.exec(input.topic)?.[1];
  if (literal !== undefined)
    source.add(
      'error',
      'HF1508',
      [...at, 'topic'],
      `%${literal} would be taken as it stands; write ${literal === 'u' ? '{user}' : '{client}'}`,
    );
  return {
    user: input.user ?? null,
    group: input.group ?? null,
    client: input.client ?? null,
    allow: input.allow ?? [],
    deny: input.deny ?? [],
    topic: input.topic,
  };
}

function storeSettings(input: BrokerInput['store'], source: Source): StoreSettings {
  if (input === 'memory') return { kind: 'memory' };
  if (input?.interval !== undefined && input.sync !== 'interval')
    source.add(
      'error',
      'HF1509',
      ['broker', 'store', 'interval'],
      'counts with sync: interval only; add that, or remove it',
      'key',
    );
  return {
    kind: 'disk',
    path: resolve(source.folder, input?.path ?? 'data'),
    sync: input?.sync ?? 'commit',
    intervalMs: input?.interval ?? 5_000,
    maxBytes: input?.max_bytes ?? 512 * 2 ** 20,
  };
}

/** Bounded where memory is at stake; nothing that a normal client does is refused. */
function limitSettings(input: BrokerInput['limits']): LimitSettings {
  const seconds = (ms: number | undefined, otherwise: number): number =>
    ms === undefined ? otherwise : Math.ceil(ms / 1000);
  return {
    maxConnections: input?.max_connections ?? 10_000,
    maxConnectionsPerAddress: input?.max_connections_per_address ?? UNLIMITED,
    connectTimeoutMs: input?.connect_timeout ?? 10_000,
    maxPacketBytes: input?.max_packet_size ?? 256 * 2 ** 10,
    maxConnectBytes: input?.max_connect_size ?? 256 * 2 ** 10,
    maxTopicLevels: input?.max_topic_levels ?? 65_536,
    maxSubscriptionsPerClient: input?.max_subscriptions_per_client ?? 100_000,
    maxInflight: input?.max_inflight ?? 100,
    maxQueuedMessages: input?.max_queued_messages ?? UNLIMITED,
    maxQueuedBytes: input?.max_queued_bytes ?? 64 * 2 ** 20,
    maxRetainedMessages: input?.max_retained_messages ?? 1_000_000,
    maxRetainedBytes: input?.max_retained_bytes ?? 256 * 2 ** 20,
    maxSessions: input?.max_sessions ?? 100_000,
    maxSessionExpiryS: seconds(input?.max_session_expiry, UNLIMITED),
    maxKeepAliveS: seconds(input?.max_keep_alive, 65_535),
    messagesPerSecond: input?.messages_per_second ?? UNLIMITED,
    bytesPerSecond: input?.bytes_per_second ?? UNLIMITED,
    maxOutboxBytes: input?.max_outbox_size ?? 8 * 2 ** 20,
    maxMemoryBytes: input?.max_memory ?? Math.floor(memoryBytes() / 2),
  };
}

/** What this process may use: the machine's memory, or what its container grants. */
function memoryBytes(): number {
  const granted = process.constrainedMemory();
  return granted > 0 && granted < totalmem() ? granted : totalmem();
}

export function webSettings(input: GatewayInput['web'], source: Source): WebSettings | null {
  if (input === undefined) return null;
  const host = checkedHost(input.host, source, ['web', 'host']);
  if (input.tls === undefined && !isLoopback(host)) {
    source.add(
      'warning',
      'HF2503',
      ['web', 'host'],
      'the page and its passwords cross the network unencrypted; add tls, or let a proxy on this machine do it',
    );
  }
  return {
    host,
    port: input.port ?? 8080,
    tls: input.tls === undefined ? null : tlsSettings(input.tls, source, ['web', 'tls']),
    hostNames: (input.host_names ?? []).map((name) => name.toLowerCase()),
  };
}
