/**
 * The one importer of MQTT.js: a connection to one broker elsewhere. Its own stores and reconnection are not used:
 * our disk queue is the session, and a lost connection is replaced by a new one.
 */
import { setDefaultAutoSelectFamilyAttemptTimeout } from 'node:net';
import type { Writable } from 'node:stream';
import mqtt, {
  type IClientOptions,
  type IConnackPacket,
  type IPublishPacket,
  type MqttClient,
  type Packet,
  type StreamBuilder,
} from 'mqtt';
import { PUBACK, PUBREC, PUBREL } from '../broker/codec.js';
import { Intake } from './intake.js';
import { decodeProperties, type MessageProperties } from './properties.js';
import {
  ForeignIdentifiers,
  type Outgoing,
  Publications,
  type PublishOutcome,
  UNKNOWN,
} from './publications.js';

export interface RemoteOptions {
  /** mqtt:// mqtts:// ws:// wss:// */
  readonly url: string;
  readonly version: '3.1.1' | '5';
  readonly clientId: string;
  readonly user: string | null;
  readonly password: string | null;
  readonly keepAliveS: number;
  /** False only where something is subscribed: then the far side keeps what comes while we are away. */
  readonly cleanStart: boolean;
  readonly sessionExpiryS: number;
  /** The far side is asked for no larger packet, where it knows such limits; without it any is taken. */
  readonly maximumPacketBytes?: number;
  /** How long it may take until CONNACK has come. */
  readonly connackTimeoutMs?: number;
  readonly tls: RemoteTls | null;
  readonly will: RemoteWill | null;
  /** Where connections follow one another in one session. */
  readonly identifiers?: ForeignIdentifiers;
}

export interface RemoteWill {
  readonly topic: string;
  readonly payload: string;
  readonly qos: 0 | 1;
  readonly retain: boolean;
}

export interface RemoteTls {
  readonly ca: Buffer | null;
  readonly cert: Buffer | null;
  readonly key: Buffer | null;
  readonly serverName: string | null;
  /** Only false when the config says so in so many words. */
  readonly verify: boolean;
  readonly alpn: readonly string[];
}

/** A message from the far side. */
export interface RemoteMessage {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
  /** The far side has sent it before (DUP). */
  readonly isRepeated: boolean;
  /** Empty with MQTT 3.1.1. */
  readonly properties: MessageProperties;
}

/** Until CONNACK has come, unless more is given. */
export const CONNACK_TIMEOUT_MS = 3_000;
const SUBACK_TIMEOUT_MS = 10_000;
const END_MS = 800;
/** Of a publication that is not sent, since the far side takes none of that size. */
export const PACKET_TOO_LARGE = 0x95;
/** Fixed header, packet identifier, length of the topic, length of the properties, expiry. */
const PACKET_OVERHEAD_BYTES = 24;
/** A packet identifier that nothing has. */
const NOBODY = 0;
/** So long each address of a name is tried before the next one; the quarter of a second that Node gives is less than many lines take. */
const ADDRESS_MS = 1_500;
setDefaultAutoSelectFamilyAttemptTimeout(ADDRESS_MS);
/** Publications that are received and not acknowledged, at most. */
const RECEIVE_MAXIMUM = 1000;
/** With MQTT 3.1.1 a far side cannot be asked for smaller packets: a larger one than this is taken from none. */
const UNASKED_PACKET_BYTES = 16 << 20;

export interface RemoteEvents {
  message(message: RemoteMessage, ticket: number): void;
  /** The connection is gone; called once, with the code that the far side ended it with, if it did. */
  closed(reason: string, code: number): void;
  /** Who acknowledges what comes, with its ticket; without one it is acknowledged at once, and tickets are 0. */
  readonly keeper?: Keeper;
}

export interface Keeper {
  /** Before anything comes. */
  opened(remote: Remote, isSessionPresent: boolean): void;
  /** The far side knows that we have what it sent with this packet identifier at QoS 2. */
  released(packetIdentifier: number): void;
}

/** What the far side said in its CONNACK that it takes. */
interface RemoteLimits {
  /** The most publications at once. */
  readonly receiveMaximum: number;
  readonly maximumQos: 0 | 1 | 2;
  readonly isRetainAvailable: boolean;
  readonly maximumPacketBytes: number;
}

export class Remote {
  readonly #client: MqttClient;
  readonly #isV5: boolean;
  readonly #limits: RemoteLimits;
  readonly #publications: Publications;
  /** Packet identifiers of before that were released on this connection, and of which that is not answered yet. */
  readonly #released = new Set<number>();

  constructor(client: MqttClient, isV5: boolean, limits: RemoteLimits) {
    this.#client = client;
    this.#isV5 = isV5;
    this.#limits = limits;
    const publications = new Publications(isV5 ? 5 : 4, (bytes, written) =>
      client.stream.write(bytes, written),
    );
    client.on('packetreceive', (packet) => {
      if (packet.cmd === 'puback') publications.acknowledged(packet.messageId ?? 0, packet.reasonCode ?? 0);
      // Answers come in their order: behind this one it is about what was sent since.
      if (packet.cmd === 'pubrec') this.#released.delete(packet.messageId ?? 0);
      // The library would take it for the answer to whatever has the identifier now.
      if (packet.cmd === 'pubcomp' && this.#released.delete(packet.messageId ?? 0)) packet.messageId = NOBODY;
    });
    client.on('close', () => publications.end());
    this.#publications = publications;
  }

  /** The most publications the far side takes at once. */
  get receiveMaximum(): number {
    return this.#limits.receiveMaximum;
  }

  /** done is called exactly once, and never before this returns. QoS and RETAIN are lowered to what the far side takes. */
  publish(message: Outgoing, done: (outcome: PublishOutcome) => void): void {
    const { maximumQos, isRetainAvailable, maximumPacketBytes } = this.#limits;
    const qos = Math.min(message.qos, maximumQos) as 0 | 1 | 2;
    const retain = message.retain && isRetainAvailable;
    const isSent =
      qos === 2
        ? this.#publishTwice({ ...message, retain }, maximumPacketBytes, done)
        : this.#publications.publish({ ...message, qos, retain }, maximumPacketBytes, done);
    if (!isSent) queueMicrotask(() => done(PACKET_TOO_LARGE));
  }

  /** The far side is told that we have what it sent. */
  acknowledge(ticket: number): void {
    this.#publications.acknowledge(ticket >>> 24, ticket & 0xffff);
  }

  /** Of what was sent at QoS 2 on connections before: it is sent anew, as another message. */
  release(packetIdentifiers: readonly number[]): void {
    for (const identifier of packetIdentifiers) {
      this.#released.add(identifier);
      this.#publications.acknowledge(PUBREL, identifier);
    }
  }

  /** At QoS 2, which takes two round trips: MQTT.js goes through them. */
  #publishTwice(
    { topic, payload, retain, properties, expiryS }: Outgoing,
    maximumBytes: number,
    done: (outcome: PublishOutcome) => void,
  ): boolean {
    if (Buffer.byteLength(topic) + payload.length + PACKET_OVERHEAD_BYTES + properties.length > maximumBytes)
      return false;
    const expiry = expiryS < 0 ? {} : { messageExpiryInterval: expiryS };
    this.#client.publish(
      topic,
      Buffer.from(payload.buffer, payload.byteOffset, payload.length),
      {
        qos: 2,
        retain,
        ...(this.#isV5 ? { properties: { ...decodeProperties(properties), ...expiry } } : {}),
      },
      (error) => done(error === undefined || error === null ? 0 : outcomeOf(error)),
    );
    return true;
  }

  /** Resolves when granted; rejects when refused or not answered. No Local and Retain As Published where the far side knows them. */
  async subscribe(filter: string, qos: 0 | 1 | 2): Promise<void> {
    const answer = this.#client
      .subscribeAsync(filter, this.#isV5 ? { qos, nl: true, rap: true } : { qos })
      .catch((error: unknown) => {
        // The library's words do not name the filter.
        throw error instanceof Error && 'packet' in error
          ? new SubscriptionRefused(filter, error.message)
          : error;
      });
    const granted = await within(SUBACK_TIMEOUT_MS, answer);
    if (granted === undefined)
      throw new Error(
        `the far side did not answer the subscription to ${filter} within ${SUBACK_TIMEOUT_MS / 1000} s`,
      );
    const refused = granted.find((grant) => Number(grant.qos) >= 0x80);
    if (refused !== undefined) throw new SubscriptionRefused(filter, `reason ${refused.qos}`);
  }

  /** Resolves when answered, whatever the answer; rejects when the connection ends before. */
  async unsubscribe(filter: string): Promise<void> {
    await this.#client.unsubscribeAsync(filter);
  }

  /** Resolves when what is under way is acknowledged, by us too, and within a second. */
  async settled(acknowledged = Promise.resolve()): Promise<void> {
    await within(END_MS, Promise.all([acknowledged, this.#publications.settled()]));
  }

  /** Resolves within a second; says good-bye unless forced. */
  async end(isForced: boolean): Promise<void> {
    const ended = new Promise<void>((resolve) => this.#client.end(isForced, {}, () => resolve()));
    await within(END_MS, ended);
    this.#client.end(true);
  }
}

/** The far side has said no, and the connection goes on. */
export class SubscriptionRefused extends Error {
  constructor(filter: string, why: string) {
    super(`the far side refuses the subscription to ${filter}: ${why}`);
  }
}

/** What the promise gives, or nothing when so many milliseconds have passed. */
async function within<T>(ms: number, promise: Promise<T>): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => (timer = setTimeout(() => resolve(undefined), ms)));
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Connects once; rejects with why not within little more than the CONNACK timeout. */
export async function connectRemote(options: RemoteOptions, events: RemoteEvents): Promise<Remote> {
  const isV5 = options.version === '5';
  const { identifiers = new ForeignIdentifiers() } = options;
  // Throws when a certificate or key cannot be read as one.
  const client = mqtt.connect(options.url, {
    ...clientOptions(options, isV5),
    messageIdProvider: identifiers,
    manualConnect: true,
  });
  return new Promise((resolve, reject) => {
    let state: 'connecting' | 'connected' | 'closed' = 'connecting';
    let lastError = new Error('the connection was closed');
    const over = (): void => {
      if (state === 'connecting') reject(lastError);
      if (state === 'connected') events.closed(lastError.message, codeOf(lastError));
      state = 'closed';
    };
    let isLeft = false;
    // What is no MQTT, or its last word: a far side that does not hang up after it is not waited for.
    const hangUp = (why: Error): void => {
      isLeft = true;
      lastError = why;
      client.end(true, {}, over);
    };
    client.on('error', hangUp);
    takeInTurns(client, takenPacketBytes(options), hangUp);
    client.on('disconnect', ({ reasonCode: code = 0 }) =>
      hangUp(Object.assign(new Error(`the far side disconnected with reason ${code}`), { code })),
    );
    client.on('close', () => {
      client.end(true);
      over();
    });
    const { keeper } = events;
    /** What the message that is handed on next came with. */
    let received: Receipt = FLEETING;
    if (keeper !== undefined)
      client.on('packetreceive', (packet) => {
        if (packet.cmd === 'pubrel') keeper.released(packet.messageId ?? 0);
        if (packet.cmd !== 'publish') return;
        received = receiptOf(packet);
        // The library acknowledges one message before it looks at the next; at QoS 0 it leaves that to us.
        packet.qos = 0;
      });
    client.on('packetreceive', (packet) => {
      if (!hasTwice(packet)) return;
      // The library would go on with it, and break.
      packet.properties = {};
      hangUp(new Error('it sends a property twice that may be there once'));
    });
    client.on('message', (topic, payload, { qos, retain, properties }) => {
      if (isLeft) return;
      const { ticket, ...own } = keeper === undefined ? { ...FLEETING, qos } : received;
      try {
        events.message({ topic, payload, ...own, retain, properties: messageProperties(properties) }, ticket);
      } catch (thrown) {
        // A message nobody thought of costs this connection, not the process.
        hangUp(thrown instanceof Error ? thrown : new Error(String(thrown)));
      }
    });
    client.on('connect', (connack) => {
      if (isLeft) return;
      state = 'connected';
      const remote = new Remote(client, isV5, limitsOf(connack.properties));
      const left = identifiers.takeOpen();
      if (connack.sessionPresent) remote.release(left);
      keeper?.opened(remote, connack.sessionPresent);
      resolve(remote);
    });
    client.connect();
  });
}

/** The library pipes the stream that it makes to its parser: what it is given instead goes there by our Intake. */
function takeInTurns(client: MqttClient, maximumBytes: number, hangUp: (why: Error) => void): void {
  const refuse = (length: number): void =>
    hangUp(
      new Error(
        `it sends a packet of ${length} bytes, and ${maximumBytes} are taken; see broker.limits.max_packet_size`,
      ),
    );
  // Private, so its type is not told.
  const make = client['streamBuilder'] as StreamBuilder;
  const build: StreamBuilder = (own, options) => {
    const stream = make(own, options);
    stream.pipe = (sink) => {
      // Its own parser is a Writable.
      new Intake(stream, sink as unknown as Writable, maximumBytes, refuse);
      return sink;
    };
    return stream;
  };
  Object.assign(client, { streamBuilder: build });
}

/** Of a property that is there twice, but may be there once, the library makes a list. */
function hasTwice(packet: Packet): packet is Packet & { properties: object } {
  if (!('properties' in packet) || packet.properties === undefined) return false;
  const {
    subscriptionIdentifier: _,
    userProperties: __,
    ...once
  } = packet.properties as Record<string, unknown>;
  return Object.values(once).some(Array.isArray);
}

/** What is known of a publication beside what it says. */
interface Receipt {
  readonly qos: 0 | 1 | 2;
  readonly isRepeated: boolean;
  readonly ticket: number;
}

const FLEETING: Receipt = { qos: 0, isRepeated: false, ticket: 0 };

/** How a publication is to be acknowledged: the first byte of that packet, and its identifier. */
function receiptOf({ qos, dup: isRepeated, messageId = 0 }: IPublishPacket): Receipt {
  if (qos === 0) return FLEETING;
  return { qos, isRepeated, ticket: ((qos === 1 ? PUBACK : PUBREC) << 24) | messageId };
}

/** The far side does not speak the version of MQTT that was asked for. */
export function isVersionRefused(thrown: unknown): boolean {
  return thrown instanceof Error && [0x01, 0x84].includes(codeOf(thrown));
}

/** Reason codes of a CONNACK. */
const RETAIN_NOT_SUPPORTED = 0x9a;
const QOS_NOT_SUPPORTED = 0x9b;

/** The will as a far side may take it that has refused this one, without what it said that it does not take. */
export function acceptableWill(will: RemoteWill, thrown: unknown): RemoteWill {
  const code = thrown instanceof Error ? codeOf(thrown) : UNKNOWN;
  if (code === RETAIN_NOT_SUPPORTED) return { ...will, retain: false };
  return code === QOS_NOT_SUPPORTED ? { ...will, qos: 0 } : will;
}

function limitsOf(properties: IConnackPacket['properties']): RemoteLimits {
  const maximumQos = properties?.maximumQoS;
  return {
    receiveMaximum: properties?.receiveMaximum ?? 65_535,
    maximumQos: maximumQos === 0 || maximumQos === 1 ? maximumQos : 2,
    isRetainAvailable: properties?.retainAvailable ?? true,
    maximumPacketBytes: properties?.maximumPacketSize ?? Infinity,
  };
}

/** The largest packet that is taken: a far side that knows what is asked of it keeps to that. */
function takenPacketBytes({ version, maximumPacketBytes = Infinity }: RemoteOptions): number {
  return version === '5' ? maximumPacketBytes : Math.max(maximumPacketBytes, UNASKED_PACKET_BYTES);
}

function messageProperties(properties: IPublishPacket['properties']): MessageProperties {
  if (properties === undefined) return {};
  const { payloadFormatIndicator, contentType, responseTopic, correlationData, userProperties } = properties;
  const { messageExpiryInterval } = properties;
  return {
    ...(payloadFormatIndicator === undefined ? {} : { payloadFormatIndicator }),
    ...(contentType === undefined ? {} : { contentType }),
    ...(responseTopic === undefined ? {} : { responseTopic }),
    ...(correlationData === undefined ? {} : { correlationData }),
    ...(messageExpiryInterval === undefined ? {} : { messageExpiryInterval }),
    ...(userProperties === undefined ? {} : { userProperties: { ...userProperties } }),
  };
}

function clientOptions(options: RemoteOptions, isV5: boolean): IClientOptions {
  const { tls, will } = options;
  return {
    clientId: options.clientId,
    protocolVersion: isV5 ? 5 : 4,
    clean: options.cleanStart,
    keepalive: options.keepAliveS,
    connectTimeout: options.connackTimeoutMs ?? CONNACK_TIMEOUT_MS,
    reconnectPeriod: 0,
    queueQoSZero: false,
    resubscribe: false,
    // Those that it makes itself break when a packet follows what has ended the connection.
    incomingStore: new mqtt.Store({ clean: false }),
    outgoingStore: new mqtt.Store({ clean: false }),
    // Of WebSocket messages, which are kept until they are whole, too, and may hold several packets.
    wsOptions: {
      maxPayload: Math.max(takenPacketBytes(options), UNASKED_PACKET_BYTES),
      perMessageDeflate: false,
    },
    ...(options.user === null ? {} : { username: options.user }),
    ...(options.password === null ? {} : { password: options.password }),
    ...(isV5 ? { properties: connectProperties(options) } : {}),
    ...(will === null ? {} : { will: { ...will, payload: Buffer.from(will.payload) } }),
    ...(tls === null
      ? {}
      : {
          rejectUnauthorized: tls.verify,
          minVersion: 'TLSv1.2' as const,
          ...(tls.ca === null ? {} : { ca: tls.ca }),
          ...(tls.cert === null ? {} : { cert: tls.cert }),
          ...(tls.key === null ? {} : { key: tls.key }),
          ...(tls.serverName === null ? {} : { servername: tls.serverName }),
          ...(tls.alpn.length === 0 ? {} : { ALPNProtocols: [...tls.alpn] }),
        }),
  };
}

function connectProperties(options: RemoteOptions): NonNullable<IClientOptions['properties']> {
  const { cleanStart, sessionExpiryS, maximumPacketBytes } = options;
  return {
    ...(cleanStart
      ? { sessionExpiryInterval: 0 }
      : { sessionExpiryInterval: sessionExpiryS, receiveMaximum: RECEIVE_MAXIMUM }),
    ...(maximumPacketBytes === undefined ? {} : { maximumPacketSize: maximumPacketBytes }),
  };
}

/** Only a reason code from the far side is a refusal; everything else means that nobody knows. */
function outcomeOf(error: Error): PublishOutcome {
  const code = codeOf(error);
  return code >= 0x80 ? code : UNKNOWN;
}

function codeOf(error: Error): number {
  return 'code' in error && typeof error.code === 'number' ? error.code : UNKNOWN;
}
