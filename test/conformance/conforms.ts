/**
 * How conformance tests are written: one call names the statements shown and the way to show them, and becomes a test of
 * each version it names statements for. generate.ts reads these calls for the table, so their first two arguments are literals.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { BrokerOptions } from '../../src/broker/broker.js';
import { startBroker, type TestBroker } from '../support/broker.js';
import { MqttClient } from '../support/mqttclient.js';
import type { ConnectOptions, Packet, Property, Version } from '../support/wire.js';
import { statements311 } from './statements311.js';
import { statements50 } from './statements50.js';

/** Statements by version, their ids separated by spaces. */
export interface Shown {
  readonly v3?: string;
  readonly v5?: string;
}

let broker: TestBroker | undefined;

/** One broker a file, shared by its tests. */
export function useBroker(options: Partial<BrokerOptions> = {}): void {
  before(async () => {
    broker = await startBroker(options);
  });
  after(async () => {
    await broker?.close();
  });
}

export function conforms(shown: Shown, title: string, body: (scene: Scene) => Promise<void>): void {
  if (shown.v3 !== undefined) register(4, shown.v3, title, body);
  if (shown.v5 !== undefined) register(5, shown.v5, title, body);
}

function register(version: Version, ids: string, title: string, body: (scene: Scene) => Promise<void>): void {
  const statements = version === 4 ? statements311 : statements50;
  const labels = ids.split(' ').map((id) => {
    assert.ok(
      statements.some((statement) => statement.id === id),
      `MQTT${version === 4 ? 3 : 5} has no [MQTT-${id}]`,
    );
    return `[MQTT-${id}]`;
  });
  test(`MQTT${version === 4 ? 3 : 5} ${labels.join(' ')} ${title}`, async () => {
    const scene = new Scene(version);
    try {
      await body(scene);
    } finally {
      scene.end();
    }
  });
}

let sceneCount = 0;

/** What one test has to itself: its version, its topics and client identifiers, and its connections. */
export class Scene {
  readonly version: Version;
  readonly root: string;
  readonly #clients: MqttClient[] = [];
  #clientCount = 0;

  constructor(version: Version) {
    this.version = version;
    this.root = `t${process.pid.toString(36)}x${(++sceneCount).toString(36)}`;
  }

  get broker(): TestBroker {
    assert.ok(broker !== undefined, 'useBroker() was not called');
    return broker;
  }

  /** A topic that no other test uses. */
  topic(rest = 'a'): string {
    return `${this.root}/${rest}`;
  }

  /** A client identifier that no other test uses; letters and digits only. */
  clientId(name = ''): string {
    return `${this.root}${name === '' ? `c${++this.#clientCount}` : name}`;
  }

  /** A network connection without CONNECT. */
  async open(version: Version = this.version): Promise<MqttClient> {
    return this.adopt(await MqttClient.open(this.broker.mqtt, version));
  }

  adopt(client: MqttClient): MqttClient {
    this.#clients.push(client);
    return client;
  }

  /** A connected client; a clean one with an identifier of its own unless the options say otherwise. */
  async connect(options: ConnectOptions = {}): Promise<MqttClient> {
    return (await this.connectTold(options)).client;
  }

  /** The same, with its CONNACK. */
  async connectTold(options: ConnectOptions = {}): Promise<{ client: MqttClient; connack: Packet }> {
    const client = await this.open(options.version);
    const connack = await client.handshake({ clientId: this.clientId(), ...options });
    assert.equal(connack.codes[0], 0, `CONNACK ${connack.codes[0]}`);
    return { client, connack };
  }

  /** A client whose session is kept for an hour after its connection, in the way of the version. */
  async connectKept(
    clientId: string,
    options: ConnectOptions = {},
  ): Promise<{ client: MqttClient; connack: Packet }> {
    const properties: readonly Property[] = this.version === 5 ? [[0x11, 3600]] : [];
    return this.connectTold({
      clientId,
      clean: false,
      ...options,
      properties: [...properties, ...(options.properties ?? [])],
    });
  }

  /** A connection that got this far: CONNECT was accepted; then the bytes must end it, with one of the codes in MQTT 5. */
  async refuses(bytes: Uint8Array, ...codes: readonly number[]): Promise<void> {
    const client = await this.connect();
    client.send(bytes);
    await client.expectClosed(...codes);
  }

  /** Bytes instead of CONNECT that must end the connection: in 3.1.1 without CONNACK, in 5 with a code if with any. */
  async refusesFirst(bytes: Uint8Array, ...codes: readonly number[]): Promise<void> {
    const client = await this.open();
    client.send(bytes);
    await client.closed();
    const last = client.history.at(-1);
    if (last === undefined) return;
    assert.equal(this.version, 5, `${last.type} although nothing may be sent`);
    assert.equal(last.type, 'CONNACK');
    assert.ok(codes.includes(last.codes[0] ?? 0), `CONNACK 0x${last.codes[0]?.toString(16)}`);
  }

  end(): void {
    for (const client of this.#clients) client.socket.destroy();
  }
}
