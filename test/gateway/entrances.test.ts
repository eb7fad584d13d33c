import assert from 'node:assert/strict';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { test } from 'node:test';
import { type Door, Entrances } from '../../src/gateway/entrances.js';
import { type Log, silentLog } from '../../src/log.js';
import { ManualClock } from '../support/clock.js';
import { until } from '../support/wait.js';

function listen(port: number): Promise<Server> {
  const server = createServer();
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => resolve(server));
  });
}

const portOf = (server: Server): number => (server.address() as AddressInfo).port;

function doorAt(port: number): Door {
  return {
    name: `mqtt 127.0.0.1:${port}`,
    open: async () => {
      const server = await listen(port);
      return {
        url: `mqtt://127.0.0.1:${portOf(server)}`,
        close: () => new Promise((resolve) => server.close(() => resolve())),
        certificateRenewal: () => () => {},
      };
    },
  };
}

test('a taken port is said once and tried again until it is free; other doors are open meanwhile', async () => {
  const taker = await listen(0);
  const port = portOf(taker);
  const said: string[] = [];
  const log: Log = {
    ...silentLog,
    error: (message) => said.push(message),
    info: (message) => said.push(message),
  };
  const clock = new ManualClock();
  const entrances = new Entrances(log, clock);
  const opened = entrances.open([doorAt(port), doorAt(0)]);
  await until('the complaint', () => said.length > 0);
  clock.advance(2000);
  await new Promise((resolve) => taker.close(resolve));
  let urls: string[] = [];
  void opened.then((all) => (urls = all));
  await until('both doors', () => {
    clock.advance(2000);
    return urls.length === 2;
  });
  assert.equal(urls[0], `mqtt://127.0.0.1:${port}`);
  assert.deepEqual(said, ['listener cannot be opened', 'listener is open now']);
  await entrances.close();
});

test('a door that can never open ends the start with its reason', async () => {
  const entrances = new Entrances(silentLog, new ManualClock());
  const reason = new Error('the certificate cannot be read');
  await assert.rejects(entrances.open([{ name: 'mqtts', open: () => Promise.reject(reason) }]), reason);
});

test('closing ends the waiting for a port, and leaves no door open', async () => {
  const taker = await listen(0);
  const said: string[] = [];
  const entrances = new Entrances(
    { ...silentLog, error: (message) => said.push(message) },
    new ManualClock(),
  );
  const opened = entrances.open([doorAt(portOf(taker))]);
  await until('the complaint', () => said.length > 0);
  await entrances.close();
  assert.deepEqual(await opened, []);
  taker.close();
});

test('certificates are taken over together, or none is', async () => {
  const taken: string[] = [];
  let isTorn = true;
  const renewing = (name: string, renewal: () => void): Door => ({
    name,
    open: () =>
      Promise.resolve({
        url: name,
        close: () => Promise.resolve(),
        certificateRenewal: () => {
          renewal();
          return () => void taken.push(name);
        },
      }),
  });
  const entrances = new Entrances(silentLog, new ManualClock());
  const torn = (): void => {
    if (isTorn) throw new Error('web: the certificate cannot be read');
  };
  await entrances.open([renewing('mqtts', () => {}), renewing('web', torn)]);
  assert.throws(() => entrances.certificateRenewal(), /web: the certificate/);
  assert.deepEqual(taken, []);
  isTorn = false;
  entrances.certificateRenewal()();
  assert.deepEqual(taken, ['mqtts', 'web']);
});
