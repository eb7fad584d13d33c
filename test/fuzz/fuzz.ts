/**
 * Mutated packets over real connections, split at random, while a healthy pair of clients counts its messages: nothing of
 * what a client can send may stop the broker, stay in its memory or disturb others.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as connectSocket, type Socket } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { TestBroker } from '../support/broker.js';
import { MqttClient } from '../support/mqttclient.js';
import { until } from '../support/wait.js';
import type { Version } from '../support/wire.js';
import * as wire from '../support/wire.js';
import { connectOf, corpus, mutate, Random } from './mutate.js';

export interface FuzzResult {
  readonly packets: number;
  readonly connections: number;
  readonly healthyMessages: number;
  readonly heapGrowthBytes: number;
}

const AT_ONCE = 24;

export async function fuzz(broker: TestBroker, packetCount: number, seed: number): Promise<FuzzResult> {
  const run = new FuzzRun(broker, seed);
  const healthy = new HealthyPair(broker);
  await healthy.start();
  // What is allocated once and kept must not count as a leak.
  await run.send(Math.ceil(packetCount / 10));
  await settled(broker);
  const before = heapBytes();
  await run.send(packetCount);
  const healthyMessages = await healthy.stop();
  await settled(broker);
  return { packets: run.packets, connections: run.connections, healthyMessages, heapGrowthBytes: heapBytes() - before }; // prettier-ignore
}

/** Sessions of the fuzz have expired, and only the healthy ones are left. */
async function settled(broker: TestBroker): Promise<void> {
  await until('the sessions to expire', () => (broker.broker?.figures.sessionCount ?? 0) <= 2, 30_000);
}

function heapBytes(): number {
  setFlagsFromString('--expose-gc');
  // node types know no gc().
  const collect = runInNewContext('gc') as () => void;
  for (let round = 0; round < 3; round++) collect();
  return process.memoryUsage().heapUsed + process.memoryUsage().arrayBuffers;
}

class FuzzRun {
  packets = 0;
  connections = 0;
  readonly #broker: TestBroker;
  readonly #random: Random;
  readonly #corpora: Readonly<Record<Version, readonly Buffer[]>> = { 4: corpus(4), 5: corpus(5) };

  constructor(broker: TestBroker, seed: number) {
    this.#broker = broker;
    this.#random = new Random(seed);
  }

  async send(count: number): Promise<void> {
    const end = this.packets + count;
    const one = async (): Promise<void> => {
      while (this.packets < end) await this.#connection();
    };
    await Promise.all(Array.from({ length: AT_ONCE }, one));
  }

  async #connection(): Promise<void> {
    const random = this.#random;
    const version: Version = random.below(2) === 0 ? 4 : 5;
    // A source address for each connection spares the ports.
    const localAddress = `127.0.${1 + (this.connections % 250)}.${1 + (++this.connections % 250)}`;
    const socket = connectSocket({ ...this.#broker.mqtt, localAddress });
    socket.on('error', () => {});
    socket.resume();
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    await Promise.race([once(socket, 'connect').catch(() => undefined), closed]);
    const connect = connectOf(version, `fuzz${random.below(20)}`, random);
    await this.#write(
      socket,
      random.below(8) === 0 ? mutate(connect, this.#corpora[version], random) : connect,
    );
    for (let count = 1 + random.below(12); count > 0 && !socket.destroyed; count--) {
      const packet = random.of(this.#corpora[version]);
      const isWhole = random.below(3) === 0;
      await this.#write(socket, isWhole ? packet : mutate(packet, this.#corpora[version], random));
    }
    if (random.below(2) === 0) socket.resetAndDestroy();
    else socket.end(() => setTimeout(() => socket.resetAndDestroy(), 20));
    await closed;
  }

  async #write(socket: Socket, bytes: Buffer): Promise<void> {
    this.packets++;
    for (let at = 0; at < bytes.length && !socket.destroyed;) {
      const length = this.#random.below(3) > 0 ? bytes.length : 1 + this.#random.below(bytes.length - at);
      socket.write(bytes.subarray(at, at + length));
      at += length;
      await turn();
    }
  }
}

/** A publisher and a subscriber that keep to the rules and must not notice anything. */
class HealthyPair {
  readonly #broker: TestBroker;
  #isRunning = true;
  #loop: Promise<number> = Promise.resolve(0);

  constructor(broker: TestBroker) {
    this.#broker = broker;
  }

  async start(): Promise<void> {
    const [publisher, subscriber] = [await this.#client('healthy publisher'), await this.#client('healthy')];
    await subscriber.subscribe('healthy/#', 2);
    this.#loop = (async () => {
      let sent = 0;
      for (; this.#isRunning; sent++) {
        await publisher.publish('healthy/a', `${sent}`, { qos: sent % 3 });
        const message = await subscriber.receive();
        assert.equal(message.payload.toString(), `${sent}`);
        publisher.history.length = 0;
        subscriber.history.length = 0;
      }
      await subscriber.quiet();
      return sent;
    })();
    // stop() reports a failure.
    this.#loop.catch(() => {});
  }

  async stop(): Promise<number> {
    this.#isRunning = false;
    return this.#loop;
  }

  async #client(clientId: string): Promise<MqttClient> {
    const client = await MqttClient.open(this.#broker.mqtt, 5);
    assert.deepEqual((await client.handshake({ clientId })).codes, [0]);
    return client;
  }
}

/** Random bytes before any CONNECT, as port scanners send them. */
export async function scan(broker: TestBroker, count: number, seed: number): Promise<void> {
  const random = new Random(seed);
  for (let index = 0; index < count; index++) {
    const client = await MqttClient.open(broker.mqtt, 4);
    client.send(Buffer.from(Array.from({ length: 1 + random.below(64) }, () => random.below(256))));
    client.send(wire.PINGREQ);
    client.socket.end();
    await client.closed().catch(() => undefined);
    assert.deepEqual(client.history.map(({ type }) => type).filter((type) => type !== 'CONNACK'), []); // prettier-ignore
  }
}
