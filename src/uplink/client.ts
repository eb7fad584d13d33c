/**
 * The one importer of MQTT.js: a connection to one broker elsewhere. Its own stores and reconnection are not used:
 * our disk queue is the session, and a lost connection is replaced by a new one.
 */
import mqtt, { type IClientOptions, type IConnackPacket, type IPublishPacket, type MqttClient } from 'mqtt';
import { encodeProperties, type MessageProperties } from './properties.js';

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
  readonly tls: RemoteTls | null;
  readonly will: { readonly topic: string; readonly payload: string } | null;
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

/** A message on its way to the far side, or from it. */
export interface RemoteMessage {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
  /** Empty with MQTT 3.1.1. */
  readonly properties: MessageProperties;
}

/** How a publication ended: 0 kept by the far side, a reason code from 0x80 refused, -1 unknown (still queued). */
export type PublishOutcome = number;

const CONNACK_TIMEOUT_MS = 3_000;
const UNKNOWN = -1;
const PACKET_TOO_LARGE = 0x95;
const UNSUPPORTED_VERSION = new Set([0x01, 0x84]);
/** Fixed header, packet identifier, length of the topic, length of the properties, expiry. */
const PACKET_OVERHEAD_BYTES = 24;

export interface RemoteEvents {
  message(message: RemoteMessage): void;
  /** The connection is gone; called once. */
  closed(reason: string): void;
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

  constructor(client: MqttClient, isV5: boolean, limits: RemoteLimits) {
    this.#client = client;
    this.#isV5 = isV5;
    this.#limits = limits;
  }

  /** The most publications the far side takes at once. */
  get receiveMaximum(): number {
    return this.#limits.receiveMaximum;
  }

  /** done is called exactly once, and never before this returns. QoS and RETAIN are lowered to what the far side takes. */
  publish(message: RemoteMessage, done: (outcome: PublishOutcome) => void): void {
    const { topic, payload } = message;
    const { maximumQos, isRetainAvailable, maximumPacketBytes } = this.#limits;
    const properties = this.#isV5 ? message.properties : {};
    if (
      Buffer.byteLength(topic) + payload.length + PACKET_OVERHEAD_BYTES + propertiesBytes(properties) >
      maximumPacketBytes
    ) {
      queueMicrotask(() => done(PACKET_TOO_LARGE));
      return;
    }
    this.#client.publish(
      topic,
      Buffer.from(payload.buffer, payload.byteOffset, payload.length),
      {
        qos: Math.min(message.qos, maximumQos) as 0 | 1 | 2,
        retain: message.retain && isRetainAvailable,
        ...(this.#isV5 ? { properties } : {}),
      },
      (error) => done(error === undefined || error === null ? 0 : outcomeOf(error)),
    );
  }

  /** Resolves when granted; rejects when refused. No Local and Retain As Published where the far side knows them. */
  async subscribe(filter: string, qos: 0 | 1 | 2): Promise<void> {
    const granted = await this.#client.subscribeAsync(
      filter,
      this.#isV5 ? { qos, nl: true, rap: true } : { qos },
    );
    const refused = granted.find((grant) => Number(grant.qos) >= 0x80);
    if (refused !== undefined) throw new Error(`the far side refuses the subscription to ${filter}`);
  }

  /** Resolves within a second; polite unless forced. */
  async end(isForced: boolean): Promise<void> {
    const ended = new Promise<void>((resolve) => this.#client.end(isForced, {}, () => resolve()));
    const timer = setTimeout(() => this.#client.end(true), 800);
    await ended;
    clearTimeout(timer);
  }
}

/** Connects once; rejects with why not within little more than the CONNACK timeout. */
export async function connectRemote(options: RemoteOptions, events: RemoteEvents): Promise<Remote> {
  const isV5 = options.version === '5';
  // Throws when a certificate or key cannot be read as one.
  const client = mqtt.connect(options.url, clientOptions(options, isV5));
  return new Promise((resolve, reject) => {
    let state: 'connecting' | 'connected' | 'closed' = 'connecting';
    let lastError = 'the connection was closed';
    const over = (): void => {
      if (state === 'connecting') reject(new Error(lastError));
      if (state === 'connected') events.closed(lastError);
      state = 'closed';
    };
    client.on('error', (error) => {
      lastError = error.message;
      if (isV5 && UNSUPPORTED_VERSION.has(codeOf(error)))
        lastError += '; the far side does not speak MQTT 5, write version: 3.1.1';
      if (state === 'connecting') client.end(true, {}, over);
    });
    client.on(
      'disconnect',
      (packet) => (lastError = `the far side disconnected with reason ${packet.reasonCode ?? 0}`),
    );
    client.on('close', () => {
      client.end(true);
      over();
    });
    client.on('message', (topic, payload, { qos, retain, properties }) =>
      events.message({ topic, payload, qos, retain, properties: messageProperties(properties) }),
    );
    client.on('connect', (connack) => {
      state = 'connected';
      resolve(new Remote(client, isV5, limitsOf(connack.properties)));
    });
  });
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

/** At most what they take on the wire. */
function propertiesBytes(properties: MessageProperties): number {
  return Object.keys(properties).length === 0 ? 0 : encodeProperties(properties).length;
}

function clientOptions(options: RemoteOptions, isV5: boolean): IClientOptions {
  const { tls, will } = options;
  return {
    clientId: options.clientId,
    protocolVersion: isV5 ? 5 : 4,
    clean: options.cleanStart,
    keepalive: options.keepAliveS,
    connectTimeout: CONNACK_TIMEOUT_MS,
    reconnectPeriod: 0,
    queueQoSZero: false,
    resubscribe: false,
    ...(options.user === null ? {} : { username: options.user }),
    ...(options.password === null ? {} : { password: options.password }),
    ...(isV5
      ? { properties: { sessionExpiryInterval: options.cleanStart ? 0 : options.sessionExpiryS } }
      : {}),
    ...(will === null
      ? {}
      : { will: { topic: will.topic, payload: Buffer.from(will.payload), qos: 1 as const, retain: true } }),
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

/** Only a reason code from the far side is a refusal; everything else means that nobody knows. */
function outcomeOf(error: Error): PublishOutcome {
  const code = codeOf(error);
  return code >= 0x80 ? code : UNKNOWN;
}

function codeOf(error: Error): number {
  return 'code' in error && typeof error.code === 'number' ? error.code : UNKNOWN;
}
