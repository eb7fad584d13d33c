/** A shared port's guests who ask without end: with real sockets, and a line that answers at once. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { systemClock } from '../../src/clock.js';
import type { Bus, Device, ShareSettings } from '../../src/config/plant.js';
import type { Request } from '../../src/modbus/client.js';
import { Share } from '../../src/poller/share.js';
import { until } from '../support/wait.js';

const SETTINGS: ShareSettings = {
  host: '127.0.0.1',
  port: 0,
  allow: ['127.0.0.0/8'],
  isWritable: true,
  writers: null,
  freshMs: 0,
  clientsMax: 4,
};
const REGISTERS = 125;
const READ = Buffer.from([0, 1, 0, 0, 0, 6, 1, 3, 0, 0, 0, REGISTERS]);
const ANSWER_BYTES = 9 + 2 * REGISTERS;

interface Opened {
  readonly port: number;
  readonly asked: Request[];
}

async function open(t: TestContext): Promise<Opened> {
  const asked: Request[] = [];
  const forbidden = [{ table: 'holding-register', address: 900, quantity: 10 }];
  let port = 0;
  const share = new Share({
    // Of the two, it looks at no more than this.
    bus: { name: 'line' } as Bus,
    devices: [{ name: 'dut', unitId: 1, forbidden, readable: [] } as unknown as Device],
    settings: SETTINGS,
    clock: systemClock,
    visit: (request) => {
      asked.push(request);
      return Promise.resolve(new Uint8Array('quantity' in request ? request.quantity * 2 : 0));
    },
    event: (kind, fields) => {
      if (kind === 'share-open') port = Number(fields['port']);
    },
  });
  await share.open();
  t.after(() => share.close());
  return { port, asked };
}

async function guest(t: TestContext, port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  t.after(() => socket.destroy());
  await once(socket, 'connect');
  return socket;
}

test('who does not read his answers is given no more of them, and all once he reads', async (t) => {
  const { port, asked } = await open(t);
  const socket = await guest(t, port);
  const count = 60_000;
  socket.pause();
  socket.write(Buffer.concat(Array.from({ length: count }, () => READ)));
  let before = 0;
  let still = 0;
  await until('the port to hold back', () => {
    still = asked.length > 0 && asked.length === before ? still + 1 : 0;
    before = asked.length;
    return still === 10;
  });
  // What two kernels' buffers hold, and no more.
  assert.ok(asked.length < count * 0.8, `${asked.length} of ${count} answers to one who reads none`);

  let bytes = 0;
  socket.on('data', (chunk: Buffer) => (bytes += chunk.length));
  socket.resume();
  await until('all answers', () => bytes === count * ANSWER_BYTES, 60_000);
});

test('one who asks without end leaves others their turn', async (t) => {
  const { port, asked } = await open(t);
  const [greedy, modest] = [await guest(t, port), await guest(t, port)];
  const count = 5000;
  greedy.on('data', () => {});
  let longest = 0;
  let before = 0;
  let isOver = false;
  const turn = (): void => {
    longest = Math.max(longest, asked.length - before);
    before = asked.length;
    if (!isOver) setImmediate(turn);
  };
  turn();
  greedy.write(Buffer.concat(Array.from({ length: count }, () => READ)));
  modest.write(READ);
  await once(modest, 'data');
  await until('all to be asked', () => asked.length === count + 1);
  isOver = true;
  assert.ok(longest <= 64, `${longest} requests in one turn`);
});

test('what is never read is not read while something is written, either', async (t) => {
  const { port, asked } = await open(t);
  const socket = await guest(t, port);
  const readWrite = (address: number): Buffer =>
    Buffer.from([0, 1, 0, 0, 0, 13, 1, 23, address >> 8, address & 0xff, 0, 1, 0, 50, 0, 1, 2, 0, 5]);
  socket.write(readWrite(905));
  const [refused] = (await once(socket, 'data')) as [Buffer];
  assert.equal(refused.subarray(7).toString('hex'), '9702');
  assert.equal(asked.length, 0);
  socket.write(readWrite(899));
  const [taken] = (await once(socket, 'data')) as [Buffer];
  assert.equal(taken.subarray(7).toString('hex'), '17020000');
});
