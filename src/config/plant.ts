/**
 * The Plant: what one checked gateway file says, with every default filled in and every topic built. It is frozen,
 * holds plain data only (so it crosses threads as it is), and every other room reads it and nothing else of a config.
 * Names of fields end in their unit: Ms milliseconds, S seconds, Bytes.
 */
import type { Table } from '../modbus/protocol.js';
import type { ValueType, WordOrder } from '../modbus/values.js';
import type { PayloadForm, Template } from './template.js';

export interface Plant {
  /** The gateway file it came from, as given. */
  readonly file: string;
  readonly gateway: Gateway;
  readonly broker: BrokerSettings;
  readonly web: WebSettings | null;
  readonly buses: readonly Bus[];
  readonly devices: readonly Device[];
  /** tags[i].index is i in a freshly loaded plant; a reload keeps indexes and appends new ones. */
  readonly tags: readonly Tag[];
  readonly batches: readonly Batch[];
  readonly uplinks: readonly UplinkSettings[];
  readonly redundancy: RedundancySettings | null;
  /** Where Home Assistant looks for what there is; null: it is not told. */
  readonly homeAssistant: { readonly prefix: string } | null;
  /** The most worker threads to use; 0: cores minus one, at least one. */
  readonly workers: number;
}

export interface Gateway {
  readonly id: string;
  readonly baseTopic: string;
  readonly topics: GatewayTopics;
}

/** Topics and filters of the gateway itself, placeholders filled in; `{kind}`-like ends are appended by the user. */
export interface GatewayTopics {
  readonly status: string;
  /** Followed by the kind. */
  readonly eventPrefix: string;
  /** Followed by the verb. */
  readonly requestPrefix: string;
  readonly responsePrefix: string;
  /** Followed by the name of the bus whose frames are told. */
  readonly tracePrefix: string;
  /** Filters of command topics (set and get): never retained, denied unless a rule allows. */
  readonly commandFilters: readonly string[];
  /** Filter of this gateway's values, and of nobody else's; null: their topics do not begin with whose they are. */
  readonly dataFilter: string | null;
  /** What topics of values and of devices match, but for those of tags that name their own. */
  readonly valueFilters: readonly string[];
  readonly tags: TagPatterns;
}

/** What the topics of a tag's commands are made of; `{device}` and `{tag}` are still to be filled in. */
export interface TagPatterns {
  readonly set: string;
  readonly get: string;
  readonly ack: string;
}

export interface BrokerSettings {
  readonly listeners: readonly ListenerSettings[];
  readonly anonymous: boolean;
  readonly anonymousBeyondLoopback: boolean;
  readonly usersFile: string | null;
  /** null: whoever may connect may do all. */
  readonly access: readonly AccessRule[] | null;
  readonly store: StoreSettings;
  readonly limits: LimitSettings;
}

export interface ListenerSettings {
  readonly protocol: 'mqtt' | 'mqtts' | 'ws' | 'wss' | 'unix';
  readonly host: string;
  readonly port: number;
  /** URL path of ws and wss, file path of unix. */
  readonly path: string;
  readonly tls: TlsSettings | null;
  /** null: as broker.anonymous says. */
  readonly anonymous: boolean | null;
}

export interface TlsSettings {
  readonly cert: string;
  readonly key: string;
  readonly clientCa: string | null;
  readonly requireClientCert: boolean;
}

export interface AccessRule {
  /** null matches anybody; groups and client identifiers alike. */
  readonly user: string | null;
  readonly group: string | null;
  readonly client: string | null;
  readonly allow: readonly ('read' | 'write' | 'subscribe')[];
  readonly deny: readonly ('read' | 'write' | 'subscribe')[];
  /** A topic filter that may hold {user} and {client}. */
  readonly topic: string;
}

export type StoreSettings =
  | { readonly kind: 'memory' }
  | {
      readonly kind: 'disk';
      readonly path: string;
      readonly sync: 'commit' | 'interval';
      readonly intervalMs: number;
      readonly maxBytes: number;
    };

/** Infinity where nothing limits. */
export interface LimitSettings {
  readonly maxConnections: number;
  readonly maxConnectionsPerAddress: number;
  readonly connectTimeoutMs: number;
  readonly maxPacketBytes: number;
  readonly maxConnectBytes: number;
  readonly maxTopicLevels: number;
  readonly maxSubscriptionsPerClient: number;
  /** Unacknowledged QoS 1 and 2 messages towards one client, and the Receive Maximum announced to it. */
  readonly maxInflight: number;
  readonly maxQueuedMessages: number;
  readonly maxQueuedBytes: number;
  readonly maxRetainedMessages: number;
  readonly maxRetainedBytes: number;
  readonly maxSessions: number;
  readonly maxSessionExpiryS: number;
  readonly maxKeepAliveS: number;
  readonly messagesPerSecond: number;
  readonly bytesPerSecond: number;
  /** Unsent bytes of one connection above which QoS 0 to it is dropped. */
  readonly maxOutboxBytes: number;
  readonly maxMemoryBytes: number;
}

export interface WebSettings {
  readonly host: string;
  readonly port: number;
  readonly tls: TlsSettings | null;
  /** Names that the page may be reached by, beside addresses, localhost and the host's own name. */
  readonly hostNames: readonly string[];
}

/** Gateways of one group take turns: one polls and writes, the others wait. */
export interface RedundancySettings {
  readonly group: string;
  /** Names this gateway among them. */
  readonly member: string;
  /** NATS servers that keep the lease. */
  readonly servers: readonly string[];
  readonly user: string | null;
  readonly password: string | null;
  readonly ttlMs: number;
}

/** A broker elsewhere that messages are forwarded to, and from. */
export interface UplinkSettings {
  readonly name: string;
  /** URLs, tried in turn. */
  readonly nodes: readonly string[];
  readonly version: '3.1.1' | '5';
  readonly clientId: string;
  readonly user: string | null;
  readonly password: string | null;
  /** The file that it came from, which may be written anew; null: it came from none. */
  readonly passwordFile: string | null;
  readonly keepAliveS: number;
  readonly tls: UplinkTls | null;
  /** Topic there that says online and, as the will, offline; null: none. */
  readonly statusTopic: string | null;
  readonly out: readonly UplinkRule[];
  readonly in: readonly UplinkRule[];
  /** Filters here whose retained messages are sent again on each connection. */
  readonly announce: readonly string[];
  readonly notices: readonly UplinkNotice[];
  /** Names that templates may use beside those of the message, with their texts. */
  readonly variables: Readonly<Record<string, string>>;
  readonly queue: UplinkQueueSettings;
}

export interface UplinkTls {
  /** Files; null: none given. */
  readonly ca: string | null;
  readonly cert: string | null;
  readonly key: string | null;
  readonly serverName: string | null;
  readonly verify: boolean;
  readonly alpn: readonly string[];
}

/** Which messages cross an uplink, and as what. */
export interface UplinkRule {
  /** Filter on the side that the message comes from. */
  readonly from: string;
  /** Filter on the other side with the same wildcard part, whose literal beginning replaces that of `from`. */
  readonly to: string;
  /** What makes the topic instead, where names are filled in or many topics become one; null: `to`. */
  readonly topic: Template | null;
  /** The most that is used; a message's own QoS when that is lower. */
  readonly qos: 0 | 1 | 2;
  /** keep: as the message was published. */
  readonly retain: 'keep' | 'never';
  /** null: the payload as it was published. */
  readonly payload: PayloadForm | null;
}

/** What an uplink says by itself. */
export interface UplinkNotice {
  readonly when: 'connect' | 'device-online' | 'device-degraded' | 'device-offline' | 'every';
  /** With every. */
  readonly everyMs: number;
  readonly topic: Template;
  readonly payload: PayloadForm;
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
}

export interface UplinkQueueSettings {
  readonly path: string;
  readonly maxBytes: number;
  /** 0: no limit. */
  readonly maxAgeMs: number;
  readonly drop: 'oldest' | 'newest';
  readonly sync: 'commit' | 'interval';
  readonly order: 'oldest-first' | 'live-first';
  /** Messages a second while the backlog drains; Infinity: no limit. */
  readonly drainPerS: number;
  /** Messages of one topic sent and not acknowledged, at most. */
  readonly perTopic: number;
}

export interface Bus {
  readonly index: number;
  readonly name: string;
  readonly link: Link;
  /** The ceiling of one request's wait for its answer. */
  readonly timeoutMs: number;
  /** Requests under way at once; 1 on every serial line. */
  readonly inFlight: number;
  /** Pause between the end of one exchange and the start of the next, beyond the line's silence. */
  readonly paceMs: number;
  /** Wait after a connection is made, before the first request. */
  readonly afterConnectMs: number;
  /** Close the link after so long without work; 0: never. */
  readonly closeIdleMs: number;
  /** Silence between frames on a line; null: 3.5 characters, 1.75 ms above 19200 baud. */
  readonly silenceMs: number | null;
  /** How long a device usually thinks before it answers, until it was measured; also waited after a broadcast. */
  readonly turnaroundMs: number;
  /** Pause before a request to another unit than the last one. */
  readonly afterSwitchMs: number;
  /** The port through which other masters reach its units; null: none. */
  readonly share: ShareSettings | null;
}

export interface ShareSettings {
  readonly host: string;
  readonly port: number;
  /** Addresses and networks (10.0.0.0/24) that may connect. */
  readonly allow: readonly string[];
  readonly isWritable: boolean;
  /** Addresses and networks that may write; null: whoever may connect. */
  readonly writers: readonly string[] | null;
  /** What was read so lately is answered without asking the unit again; 0: never. */
  readonly freshMs: number;
  readonly clientsMax: number;
}

export type Link = TcpLink | SerialLink;

export interface TcpLink {
  readonly kind: 'tcp' | 'tls' | 'udp' | 'rtu-over-tcp' | 'ascii-over-tcp';
  readonly host: string;
  readonly port: number;
  readonly tls: LinkTls | null;
}

export interface LinkTls {
  readonly ca: string | null;
  readonly cert: string | null;
  readonly key: string | null;
  readonly serverName: string | null;
}

export interface SerialLink {
  readonly kind: 'rtu' | 'ascii';
  readonly path: string;
  readonly baud: number;
  readonly dataBits: 7 | 8;
  readonly parity: 'none' | 'even' | 'odd';
  readonly stopBits: 1 | 2;
  /** The adapter hands back what was sent; it is removed from the input. */
  readonly echo: boolean;
}

export interface Device {
  readonly index: number;
  readonly name: string;
  readonly bus: Bus;
  readonly unitId: number;
  readonly limits: DeviceLimits;
  /** Never read, not even as filler. */
  readonly forbidden: readonly Range[];
  /** If not empty, nothing outside is read. */
  readonly readable: readonly Range[];
  readonly offline: OfflineSettings;
  /** Name of its device map; null: none. */
  readonly map: string | null;
  readonly topic: string;
}

export interface DeviceLimits {
  /** The most registers (words) and bits of one read. */
  readonly registers: number;
  readonly bits: number;
  /** The fewest registers of one read, and what its start and length are multiples of. */
  readonly registersMin: number;
  readonly align: number;
  /** Reads of bits begin at address 0. */
  readonly bitsFromZero: boolean;
  /** Function codes that writes may use, in order of preference; empty: any. */
  readonly writeFunctions: readonly number[];
}

export interface Range {
  readonly table: Table;
  readonly address: number;
  readonly quantity: number;
}

export interface OfflineSettings {
  /** Consecutive failures after which the unit counts as silent. */
  readonly afterFailures: number;
  readonly retryMinMs: number;
  readonly retryMaxMs: number;
}

/** The shortest of these periods; 0, which is once, where there is no other. */
export function fastestOf(intervalsMs: readonly number[]): number {
  const repeated = intervalsMs.filter((ms) => ms > 0);
  return repeated.length === 0 ? 0 : Math.min(...repeated);
}

export interface Tag {
  readonly index: number;
  readonly name: string;
  readonly device: Device;
  readonly table: Table;
  /** Zero-based, as on the wire. */
  readonly address: number;
  /** Registers or bits that the value takes. */
  readonly quantity: number;
  readonly type: ValueType;
  readonly order: WordOrder;
  /** What is written before its registers are read or written, so that they hold its page; null: nothing. */
  readonly select: WriteStep | null;
  /** value = raw x scale + offset. */
  readonly scale: number;
  readonly offset: number;
  /** A further factor that lives in another tag of the same device, read in the same request; null: none. */
  readonly scaleFrom: ScaleFrom | null;
  /**
   * Bits first..last of the raw value (0 is the lowest); null: all. With type bool it is one bit (first = last) of a
   * register; a bool of a register without bits is true when the register is not 0.
   */
  readonly bits: { readonly first: number; readonly last: number } | null;
  /** Raw value to text; null: none. */
  readonly enum: readonly { readonly raw: number; readonly text: string }[] | null;
  /** Bit (of the raw value) to name; the value is the names of the set bits, lowest first, joined by ","; null: none. */
  readonly flags: readonly { readonly bit: number; readonly text: string }[] | null;
  /** How a string lies in its registers; null for every other type. */
  readonly text: TextFormat | null;
  /** Raw values that mean "not available"; "nan" for floats that are no number. */
  readonly invalid: readonly (number | bigint | string)[];
  /** Values outside, or that change faster, are published as uncertain; in units of the value. Null: anything is believed. */
  readonly plausible: { readonly min: number; readonly max: number; readonly maxPerSecond: number } | null;
  /** A counter that rolls over at this many (raw); 0: it only grows, where it rolls over is not known. Null: no counter. */
  readonly counter: { readonly modulo: number } | null;
  readonly unit: string | null;
  readonly description: string | null;
  /** How often it is read; 0: once, when the device comes up. */
  readonly intervalMs: number;
  readonly report: 'change' | 'always';
  readonly deadband: { readonly kind: 'absolute' | 'percent'; readonly value: number };
  /** The longest silence; 0: none. */
  readonly heartbeatMs: number;
  readonly payload: 'vqt' | 'raw' | 'batch';
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
  /** Whether its retained value is kept across a restart. */
  readonly stored: boolean;
  readonly write: WriteSettings | null;
  /** How it is calculated from other tags; it has no registers then. Null: it is read. */
  readonly formula: Formula | null;
  /** Name of the group that is read in one request with it; null: none. */
  readonly group: string | null;
  readonly topic: string;
  readonly setTopic: string;
  readonly getTopic: string;
  readonly ackTopic: string;
}

export interface Formula {
  readonly text: string;
  /** Indexes of the tags that it is calculated from. */
  readonly inputs: readonly number[];
  readonly root: FormulaNode;
}

export type FormulaNode =
  | { readonly kind: 'constant'; readonly value: number | string | boolean }
  /** The value of the input at that position. */
  | { readonly kind: 'input'; readonly position: number }
  | { readonly kind: 'call'; readonly name: FormulaFunction; readonly args: readonly FormulaNode[] };

/** What a formula may call, operators included: the least and the most of values that each takes. */
export const FORMULA_FUNCTIONS = {
  '+': [2, 2], '-': [2, 2], '*': [2, 2], '/': [2, 2], '%': [2, 2], negate: [1, 1],
  '==': [2, 2], '!=': [2, 2], '<': [2, 2], '<=': [2, 2], '>': [2, 2], '>=': [2, 2],
  '&&': [2, 2], '||': [2, 2], not: [1, 1], if: [3, 3],
  abs: [1, 1], min: [1, Infinity], max: [1, Infinity], sum: [1, Infinity], mean: [1, Infinity], clamp: [3, 3],
  round: [1, 2], floor: [1, 1], ceil: [1, 1], sqrt: [1, 1], pow: [2, 2], exp: [1, 1], log: [1, 1], log10: [1, 1],
  sin: [1, 1], cos: [1, 1], tan: [1, 1], atan2: [2, 2], hypot: [1, Infinity], bit: [2, 2],
} as const; // prettier-ignore
export type FormulaFunction = keyof typeof FORMULA_FUNCTIONS;

/** value = raw x scale x 10^(raw of that tag), or x that tag's value. Index into Plant.tags. */
export interface ScaleFrom {
  readonly kind: 'pow10' | 'value';
  readonly tag: number;
}

export interface TextFormat {
  /** Which bytes of a register hold characters: both in order, both swapped, or one of them. */
  readonly bytes: 'both' | 'swapped' | 'high' | 'low';
  readonly encoding: 'ascii' | 'latin1' | 'utf-8' | 'utf-16';
  /** What fills the rest when written: a byte value. When read, trailing 0x00, 0x20 and 0xFF are cut off. */
  readonly pad: number;
}

export interface WriteSettings {
  readonly table: Table;
  readonly address: number;
  /** Function codes that may be used, in order of preference; empty: as the device's limits say. */
  readonly functions: readonly number[];
  /** In units of the value, after scale; -Infinity and Infinity where nothing limits. */
  readonly min: number;
  readonly max: number;
  /** Values are multiples of this from min; 0: any. */
  readonly step: number;
  /** Read back after the write and compare. */
  readonly verify: boolean;
  /** How a bit or bit range is written. */
  readonly with: 'auto' | 'mask' | 'read-modify-write';
  /** Only the newest waiting command is carried out. */
  readonly newestOnly: boolean;
  /** What is written before and after it, each time: an unlock code, a commit. */
  readonly before: readonly WriteStep[];
  readonly after: readonly WriteStep[];
  /** It is written, and so long afterwards the value it rests at; null: it stays. */
  readonly pulse: { readonly ms: number; readonly rest: Json } | null;
  /** It is written again and again, because the device falls back otherwise; null: once. */
  readonly refresh: RefreshSettings | null;
  /** Written to all units of the line at once, which nobody answers. */
  readonly broadcast: boolean;
  /** Further commands are refused: the device's memory wears. Infinity: no limit. */
  readonly perHourMax: number;
}

/** A value as JSON text, as a command brings it. */
export type Json = string;

export interface WriteStep {
  readonly table: 'coil' | 'holding-register';
  readonly address: number;
  /** Raw, one a register; 0 or 1 for a coil. */
  readonly values: readonly number[];
}

export interface RefreshSettings {
  readonly everyMs: number;
  /** For so long after the last command; Infinity: as long as the gateway runs. */
  readonly holdMs: number;
  /** Written when it ends. */
  readonly fallback: Json | null;
  /** Written from the start on, before any command. */
  readonly initial: Json | null;
}

/** What is published as one JSON: all tags of a device with `payload: batch`, or one consistent group. */
export interface Batch {
  /** Counted on after the tags: a record's index names a tag or a batch. */
  readonly index: number;
  readonly device: Device;
  readonly group: string | null;
  readonly tags: readonly Tag[];
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
  readonly topic: string;
  /** How several of its tags are written in one request; null: they are not. */
  readonly recipe: { readonly setTopic: string; readonly ackTopic: string } | null;
}
