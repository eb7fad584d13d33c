/**
 * Those who do nothing wrong, in a thread of their own: a publisher, a subscriber, and a Modbus device that notes when it
 * is polled. Asked for figures they say what an attack beside them cost.
 */
import { parentPort } from 'node:worker_threads';
import { connectAsync, type MqttClient } from 'mqtt';
import { TcpDevice } from '../support/tcpdevice.js';
import { until } from '../support/wait.js';
import { POLL_MS, POLLED } from './mob.js';

/** To the thread. */
export type Order =
  | { readonly kind: 'connect'; readonly port: number; readonly username: string; readonly password: string }
  | { readonly kind: 'begin' }
  | { readonly kind: 'end' };

/** From the thread. */
export type Answer =
  | { readonly kind: 'device'; readonly port: number }
  | { readonly kind: 'connected' }
  | { readonly kind: 'figures'; readonly figures: Figures }
  | { readonly kind: 'failed'; readonly error: string };

export interface Figures {
  readonly sent: number;
  /** Acknowledged or not: what did not arrive. */
  readonly lost: number;
  readonly p99Ms: number;
  /** By how much a poll came early or late, at worst for 99 of 100. */
  readonly jitterMs: number;
  readonly polls: number;
}

const PUBLISH_MS = 20;
const TOPIC = 'plant/heartbeat';

const sentAt = new Map<number, number>();
const delays: number[] = [];
const polls: number[] = [];
let number = 0;
let sent = 0;
let timer: NodeJS.Timeout | undefined;
let client: MqttClient | undefined;

function publish(): void {
  number += 1;
  sent += 1;
  sentAt.set(number, performance.now());
  client?.publish(TOPIC, String(number), { qos: 1 });
}

function arrived(payload: Buffer): void {
  const at = sentAt.get(Number(payload.toString()));
  if (at === undefined) return;
  sentAt.delete(Number(payload.toString()));
  delays.push(performance.now() - at);
}

async function connect(port: number, username: string, password: string): Promise<void> {
  const options = { host: '127.0.0.1', port, username, password, protocolVersion: 5 as const };
  const subscriber = await connectAsync({ ...options, clientId: 'neighbour-reads' });
  subscriber.on('message', (_topic, payload) => arrived(payload));
  await subscriber.subscribeAsync(TOPIC, { qos: 1 });
  client = await connectAsync({ ...options, clientId: 'neighbour-writes' });
}

async function end(): Promise<Figures> {
  // On a machine that is busy with other things this thread may hardly have begun.
  await until('something to measure', () => sent >= 10 && polls.length >= 5, 30_000);
  clearInterval(timer);
  await until('what was published to arrive', () => sentAt.size === 0, 10_000).catch(() => {});
  const late = polls.slice(1).map((at, index) => Math.abs(at - (polls[index] ?? 0) - POLL_MS));
  return {
    sent,
    lost: sentAt.size,
    p99Ms: percentile(delays),
    jitterMs: percentile(late),
    polls: polls.length,
  };
}

function percentile(values: number[]): number {
  values.sort((a, b) => a - b);
  return values[Math.ceil(values.length * 0.99) - 1] ?? Infinity;
}

function begin(): void {
  sentAt.clear();
  delays.length = 0;
  polls.length = 0;
  sent = 0;
  timer = setInterval(publish, PUBLISH_MS);
}

const answer = (message: Answer): void => parentPort?.postMessage(message);

async function obey(order: Order): Promise<void> {
  if (order.kind === 'connect') {
    await connect(order.port, order.username, order.password);
    answer({ kind: 'connected' });
  } else if (order.kind === 'begin') begin();
  else answer({ kind: 'figures', figures: await end() });
}

parentPort?.on('message', (order: Order) => {
  obey(order).catch((error: unknown) => answer({ kind: 'failed', error: String(error) }));
});

const device = new TcpDevice();
// What is ordered is written elsewhere, and read back: that is no poll.
device.judge = (_unitId, _code, address) => {
  if (address === POLLED) polls.push(performance.now());
  device.requests.length = 0;
  return 0;
};
await device.start();
answer({ kind: 'device', port: device.port });
