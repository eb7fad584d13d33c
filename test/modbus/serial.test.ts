import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { afterEach, test } from 'node:test';
import { MessageChannel, Worker } from 'node:worker_threads';
import { serveSerial } from '../../src/modbus/serial.js';
import { ModbusServer } from '../support/modbusserver.js';
import { PtyPair } from '../support/ptypair.js';
import { Master } from '../support/rawslave.js';
import { until, within } from '../support/wait.js';

const closers: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const LINK = { kind: 'rtu', baud: 115_200, dataBits: 8, parity: 'none', stopBits: 1, echo: false } as const;

/** A master on a serial port, with both ends of the bridge in this thread. */
function masterOn(path: string, settings: ConstructorParameters<typeof Master>[1] = {}): Master {
  const { port1, port2 } = new MessageChannel();
  closers.push(serveSerial(port1));
  const master = new Master({ ...LINK, path }, settings, () => port2);
  closers.push(() => within('close()', master.client.close(), 2000));
  return master;
}

async function ptys(): Promise<PtyPair> {
  const pair = await new PtyPair().plugIn();
  closers.push(() => pair.remove());
  return pair;
}

async function serverOn(path: string, maker: 'pymodbus' | 'libmodbus' = 'libmodbus'): Promise<ModbusServer> {
  const server = new ModbusServer(maker, { kind: 'rtu', path, baud: 115_200 }, 1, {
    'holding-register': { 0: [11, 22, 33, 44] },
  });
  await server.start();
  closers.push(() => server.kill());
  return server;
}

test('an unplugged port is told, and found again by its path when it is back', async () => {
  const pair = await ptys();
  const first = await serverOn(pair.far);
  const master = await masterOn(pair.near).up();
  assert.deepEqual(await master.values(0), [11, 22]);
  const underWay = master.values(9000, 100, 20_000, 9);
  await first.kill();
  await pair.unplug();
  assert.equal(await within('the request under way', underWay, 3000), 'closed');
  await until('the link to be down', () => !master.client.isUp && master.downs.length >= 2);
  const before = process.cpuUsage();
  await new Promise((resolve) => setTimeout(resolve, 500));
  const { user, system } = process.cpuUsage(before);
  assert.ok(user + system < 250_000, `${(user + system) / 5000} % of a core while unplugged`);
  await pair.plugIn();
  await serverOn(pair.far);
  await until('the link to be up again', () => master.client.isUp);
  await until('a good value', async () => (await master.values(2)).toString() === '33,44');
});

test('a port whose name has gone is given up, though no hang-up was heard of', async () => {
  const pair = await ptys();
  const master = await masterOn(pair.near).up();
  rmSync(pair.near);
  await until('the port to be missed', () => master.downs.some(({ text }) => text.includes('is gone')));
  assert.ok(!master.client.isUp);
});

test('a port that is not there is tried again and named in the error', async () => {
  const master = masterOn('/tmp/holdfast-no-such-port');
  master.client.open();
  await until('two attempts', () => master.downs.length >= 2);
  assert.match(master.downs[0]?.text ?? '', /holdfast-no-such-port/);
  await within('close()', master.client.close(), 1000);
});

test('a port that another program has locked is refused, not shared', async () => {
  const pair = await ptys();
  await masterOn(pair.near).up();
  const second = masterOn(pair.near);
  second.client.open();
  await until('the refusal', () => second.downs.length > 0);
  assert.match(second.downs[0]?.text ?? '', /lock/i);
});

test('a closed port can be opened again at once', async () => {
  const pair = await ptys();
  await serverOn(pair.far);
  for (let round = 0; round < 3; round += 1) {
    const master = await masterOn(pair.near).up(2000);
    assert.deepEqual(await master.values(0, 1), [11]);
    await within('close()', master.client.close(), 1000);
  }
});

test('reset() opens the port anew', async () => {
  const pair = await ptys();
  await serverOn(pair.far);
  const master = await masterOn(pair.near).up();
  const outcome = master.values(0, 1, 20_000, 9);
  master.client.reset('no progress');
  assert.equal(await outcome, 'closed');
  await until('the link to be up again', () => master.client.isUp);
  // The server itself may still wait for the end of what was asked of unit 9.
  await until('a good value', async () => (await master.values(0, 1)).toString() === '11');
});

test('in a worker thread the line works, and when the worker dies the port is free again', async () => {
  const pair = await ptys();
  await serverOn(pair.far, 'pymodbus');
  const { port1, port2 } = new MessageChannel();
  closers.push(serveSerial(port1));
  const worker = new Worker(new URL('../support/serialworker.js', import.meta.url), {
    workerData: { port: port2, link: { ...LINK, path: pair.near } },
    transferList: [port2],
  });
  closers.push(() => worker.terminate().then(() => {}));
  const answers: unknown[] = [];
  worker.on('message', (answer) => answers.push(answer));
  await until('answers from the worker', () => answers.length >= 20);
  assert.deepEqual(answers.at(-1), [11, 22, 33, 44]);
  await worker.terminate();
  const master = await masterOn(pair.near).up(3000);
  await until('a good value', async () => (await master.values(0, 1)).toString() === '11');
});
