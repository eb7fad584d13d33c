import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import type { RemoteInfo, Socket } from 'node:dgram';
import { afterEach, test } from 'node:test';
import { freePort } from '../support/ports.js';
import { Master, rightAnswer } from '../support/rawslave.js';
import { stopwatch } from '../support/stopwatch.js';
import { until } from '../support/wait.js';

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function slaveOf(port: number, onRequest: (bytes: Buffer, from: RemoteInfo, socket: Socket) => void) {
  const socket = createSocket('udp4');
  socket.on('message', (bytes, from) => onRequest(bytes, from, socket));
  await new Promise<void>((resolve) => socket.bind(port, '127.0.0.1', resolve));
  let isOpen = true;
  const close = (): Promise<void> => {
    if (!isOpen) return Promise.resolve();
    isOpen = false;
    return new Promise((resolve) => socket.close(() => resolve()));
  };
  closers.push(close);
  return { port: socket.address().port, close };
}

function masterOf(port: number, host = '127.0.0.1'): Master {
  const master = new Master({ kind: 'udp', host, port, tls: null }, { inFlight: 4 });
  closers.push(() => master.client.close());
  return master;
}

test('requests and answers are one datagram each, in any order, lost ones cost their timeout', async () => {
  let count = 0;
  const slave = await slaveOf(0, (bytes, from, socket) => {
    count += 1;
    if (count === 2) return;
    socket.send(Buffer.from('no frame'), from.port, from.address);
    socket.send(rightAnswer(bytes), from.port, from.address);
    socket.send(rightAnswer(bytes), from.port, from.address);
  });
  const master = await masterOf(slave.port).up();
  assert.deepEqual(await Promise.all([master.values(1), master.values(2, 2, 300), master.values(3)]), [
    [1, 2],
    'timeout',
    [3, 4],
  ]);
  assert.deepEqual(await master.values(4), [4, 5]);
});

test('a stranger cannot answer', async () => {
  const stranger = createSocket('udp4');
  closers.push(() => new Promise((resolve) => stranger.close(() => resolve())));
  const slave = await slaveOf(0, (bytes, from) => stranger.send(rightAnswer(bytes), from.port, from.address));
  const master = await masterOf(slave.port).up();
  assert.equal(await master.values(1, 2, 300), 'timeout');
});

test('a port that is closed is told at once, and found again when it is open', async () => {
  const slave = await slaveOf(await freePort(), () => {});
  await slave.close();
  const master = await masterOf(slave.port).up();
  const outcome = master.values(1, 2, 10_000);
  assert.ok((await stopwatch(outcome)).ranMs < 2000);
  assert.equal(await outcome, 'closed');
  await slaveOf(slave.port, (bytes, from, socket) =>
    socket.send(rightAnswer(bytes), from.port, from.address),
  );
  await until('a good value', async () => (await master.values(1)).toString() === '1,2');
});

test('a name that does not resolve is an error like any other', async () => {
  const master = masterOf(502, 'no-such-host.invalid');
  master.client.open();
  await until('the error', () => master.downs.length > 0);
  assert.equal(master.downs[0]?.kind, 'refused');
});
