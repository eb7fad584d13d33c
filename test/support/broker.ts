/**
 * The broker under test: one in this process with the store that forgets, on ports the system gives. Where
 * HOLDFAST_TEST_BROKER=host:port names another (its WebSocket listener in HOLDFAST_TEST_WEBSOCKET), the tests run against
 * that instead, which is how they are tried on brokers that are not ours.
 */
import { Broker, type BrokerOptions } from '../../src/broker/broker.js';
import { MemoryStore } from '../../src/store/memory.js';
import type { Address } from './mqttclient.js';

export interface TestBroker {
  readonly mqtt: Address;
  readonly webSocket: Address;
  /** Null: a foreign one. */
  readonly broker: Broker | null;
  close(): Promise<void>;
}

function addressOf(text: string): Address {
  const [host = '127.0.0.1', port = ''] = text.split(':');
  return { host, port: Number(port) };
}

export async function startBroker(options: Partial<BrokerOptions> = {}): Promise<TestBroker> {
  const named = process.env['HOLDFAST_TEST_BROKER'];
  if (named !== undefined) {
    const webSocket = addressOf(process.env['HOLDFAST_TEST_WEBSOCKET'] ?? named);
    return { mqtt: addressOf(named), webSocket, broker: null, close: async () => {} };
  }
  const broker = new Broker({
    store: new MemoryStore(),
    anonymous: true,
    systemIntervalMs: 1000,
    ...options,
  });
  await broker.open();
  const listen = async (protocol: 'mqtt' | 'ws'): Promise<Address> => {
    const { url } = await broker.openListener({ protocol, host: '127.0.0.1', port: 0, path: '/mqtt', tls: null, anonymous: null }); // prettier-ignore
    return addressOf(url.split('/')[2] ?? '');
  };
  return {
    mqtt: await listen('mqtt'),
    webSocket: await listen('ws'),
    broker,
    close: () => broker.close(),
  };
}
