/** MQTT clients that are not ours, behind one small interface: mosquitto's, MQTT.js and paho, each in both versions. */
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { connectAsync } from 'mqtt';
import { packageFolder } from '../../src/entry.js';
import { until, within } from './wait.js';

export interface Received {
  readonly topic: string;
  readonly payload: string;
  readonly qos: number;
  readonly retain: boolean;
}

export interface Reading {
  /** Resolves with this many messages, in the order they came. */
  readonly messages: Promise<Received[]>;
  stop(): void;
}

export interface Peer {
  readonly name: string;
  /** Resolves once the subscription is acknowledged. */
  subscribe(port: number, filter: string, qos: number, count: number): Promise<Reading>;
  /** Resolves once all are acknowledged as their QoS asks. */
  publish(
    port: number,
    topic: string,
    payloads: readonly string[],
    qos: number,
    retain: boolean,
  ): Promise<void>;
}

const paho = join(packageFolder(), 'test/support/peers/paho_client.py');

export const PEERS: readonly Peer[] = [
  mosquitto('311'),
  mosquitto('5'),
  mqttJs(4),
  mqttJs(5),
  pahoPeer('4'),
  pahoPeer('5'),
];

function mosquitto(version: '311' | '5'): Peer {
  const common = (port: number): string[] => [
    '-h',
    '127.0.0.1',
    '-p',
    String(port),
    '-V',
    version === '5' ? '5' : 'mqttv311',
  ];
  return {
    name: `mosquitto clients, MQTT ${version === '5' ? '5.0' : '3.1.1'}`,
    // Without a terminal it would keep its lines to itself.
    subscribe: (port, filter, qos, count) =>
      readLines(
        spawn('stdbuf', [
          '-oL',
          'mosquitto_sub',
          ...common(port),
          '-d',
          '-t',
          filter,
          '-q',
          String(qos),
          '-C',
          String(count),
          '-F',
          '>%t %p %q %r',
        ]),
        /^Subscribed \(mid/m,
        count,
      ),
    publish: (port, topic, payloads, qos, retain) =>
      feed(
        spawn('mosquitto_pub', [
          ...common(port),
          '-t',
          topic,
          '-q',
          String(qos),
          '-l',
          ...(retain ? ['-r'] : []),
        ]),
        payloads.map((payload) => `${payload}\n`).join(''),
      ),
  };
}

function pahoPeer(version: '4' | '5'): Peer {
  return {
    name: `paho, MQTT ${version === '5' ? '5.0' : '3.1.1'}`,
    subscribe: (port, filter, qos, count) =>
      readLines(
        spawn('/usr/bin/python3', [paho, 'sub', String(port), version, String(qos), String(count), filter]),
        /^ready$/m,
        count,
      ),
    publish: (port, topic, payloads, qos, retain) =>
      feed(
        spawn('/usr/bin/python3', [paho, 'pub', String(port), version, String(qos), retain ? '1' : '0']),
        payloads.map((payload) => `${topic} ${payload}\n`).join(''),
      ),
  };
}

function mqttJs(version: 4 | 5): Peer {
  const connect = (port: number) =>
    connectAsync(`mqtt://127.0.0.1:${port}`, { protocolVersion: version, reconnectPeriod: 0 });
  return {
    name: `MQTT.js, MQTT ${version === 5 ? '5.0' : '3.1.1'}`,
    async subscribe(port, filter, qos, count) {
      const client = await connect(port);
      const messages: Received[] = [];
      client.on('message', (topic, payload, packet) =>
        messages.push({ topic, payload: payload.toString(), qos: packet.qos, retain: packet.retain }),
      );
      // The QoS levels that MQTT has.
      await client.subscribeAsync(filter, { qos: qos as 0 | 1 | 2 });
      const all = until(`${count} messages`, () => messages.length >= count && messages).finally(() =>
        client.endAsync(true),
      );
      return { messages: all, stop: () => void client.end(true) };
    },
    async publish(port, topic, payloads, qos, retain) {
      const client = await connect(port);
      await Promise.all(
        payloads.map((payload) => client.publishAsync(topic, payload, { qos: qos as 0 | 1 | 2, retain })),
      );
      await client.endAsync();
    },
  };
}

async function readLines(child: ChildProcess, ready: RegExp, count: number): Promise<Reading> {
  let text = '';
  child.stdout?.on('data', (bytes: Buffer) => (text += bytes.toString()));
  child.stderr?.on('data', (bytes: Buffer) => (text += bytes.toString()));
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  await until('the subscription', () => {
    if (child.exitCode !== null && child.exitCode !== 0) throw new Error(text);
    return ready.test(text);
  });
  const messages = within(`${count} messages`, ended, 15_000).then(
    () => [...text.matchAll(/^>(\S+) (.*) (\d) (\d)$/gm)].map(received),
    (error: unknown) => {
      child.kill();
      throw new Error(`${String(error)}; got ${text.slice(-1000)}`);
    },
  );
  return { messages, stop: () => void child.kill() };
}

function received([, topic = '', payload = '', qos, retain]: RegExpMatchArray): Received {
  return { topic, payload, qos: Number(qos), retain: retain === '1' };
}

async function feed(child: ChildProcess, input: string): Promise<void> {
  let complaint = '';
  child.stderr?.on('data', (bytes: Buffer) => (complaint += bytes.toString()));
  child.stdin?.on('error', () => {});
  child.stdin?.end(input);
  const code = await within(
    'the publisher to end',
    new Promise((resolve) => child.once('close', resolve)),
    15_000,
  );
  if (code !== 0) throw new Error(`the publisher ended with ${String(code)}: ${complaint}`);
}
