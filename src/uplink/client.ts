/**
 * The one importer of MQTT.js: a connection to one broker elsewhere. Its own stores and reconnection are not used:
 * our disk queue is the session, and a lost connection is replaced by a new one.
 */
import mqtt, { type IClientOptions, type MqttClient, type Packet } from 'mqtt';

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

export interface RemoteMessage {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
  readonly userProperties: Readonly<Record<string, string | string[]>>;
}

/** How a publication ended: 0 kept by the far side, a reason code from 0x80 refused, -1 unknown (still queued). */
export type PublishOutcome = number;

const CONNACK_TIMEOUT_MS = 3_000;
const UNKNOWN = -1;

export interface RemoteEvents {
  message(message: RemoteMessage): void;
  /** The connection is gone; called once. */
  closed(reason: string): void;
}

export class Remote {
  /** The most publications the far side takes at once. */
  readonly receiveMaximum: number;
  readonly #client: MqttClient;
  readonly #isV5: boolean;

  constructor(client: MqttClient, isV5: boolean, receiveMaximum: number) {
    this.#client = client;
    this.#isV5 = isV5;
    this.receiveMaximum = receiveMaximum;
  }

  /** done is called exactly once. */
  publish(
    topic: string,
    payload: Uint8Array,
    qos: 0 | 1 | 2,
    retain: boolean,
    via: string | null,
    done: (outcome: PublishOutcome) => void,
  ): void {
    const properties = this.#isV5 && via !== null ? { properties: { userProperties: { [VIA]: via } } } : {};
    this.#client.publish(
      topic,
      Buffer.from(payload.buffer, payload.byteOffset, payload.length),
      { qos, retain, ...properties },
      (error) => done(error === undefined || error === null ? 0 : reasonOf(error)),
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

/** User property that names the gateways a message came through. */
export const VIA = 'holdfast-via';

/** Connects once; rejects with why not within little more than the CONNACK timeout. */
export function connectRemote(options: RemoteOptions, events: RemoteEvents): Promise<Remote> {
  const isV5 = options.version === '5';
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
    client.on('message', (topic, payload, packet) => {
      events.message({
        topic,
        payload,
        qos: packet.qos,
        retain: packet.retain,
        userProperties: {
          ...(packet.properties?.userProperties as Record<string, string | string[]> | undefined),
        },
      });
    });
    client.on('connect', (connack: Packet) => {
      state = 'connected';
      const properties =
        'properties' in connack ? (connack.properties as { receiveMaximum?: number } | undefined) : undefined;
      resolve(new Remote(client, isV5, properties?.receiveMaximum ?? 65_535));
    });
  });
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
function reasonOf(error: Error): PublishOutcome {
  const code = 'code' in error && typeof error.code === 'number' ? error.code : UNKNOWN;
  return code >= 0x80 ? code : UNKNOWN;
}
