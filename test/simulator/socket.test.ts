/** What a TCP master sees of each fault of answers and links, byte by byte. */
import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import type { FaultSpec } from '../../src/simulator/spec.js';
import { startTcp } from '../support/plant.js';
import { until } from '../support/wait.js';

const REQUEST = Buffer.from('123400000006' + '07' + '0300000002', 'hex');
const RIGHT = '123400000007' + '07' + '030412345678';

class Master {
  readonly #socket: Socket;
  #hex = '';
  /** How the connection ended; empty while it is open. */
  ended: '' | 'fin' | 'rst' | 'refused' = '';
  isOpen = false;

  constructor(t: TestContext, port: number) {
    this.#socket = connect({ host: '127.0.0.1', port, allowHalfOpen: false });
    this.#socket.on('connect', () => (this.isOpen = true));
    this.#socket.on('data', (bytes: Buffer) => (this.#hex += bytes.toString('hex')));
    this.#socket.on('end', () => (this.ended = 'fin'));
    this.#socket.on('error', (error: NodeJS.ErrnoException) => {
      this.ended = error.code === 'ECONNREFUSED' ? 'refused' : 'rst';
    });
    t.after(() => this.#socket.destroy());
  }

  send(bytes: Uint8Array): void {
    this.#socket.write(bytes);
  }

  get heard(): string {
    return this.#hex;
  }

  /** What was heard once there is so much of it, in hex digits, or once the connection ended. */
  async answer(digits = RIGHT.length): Promise<string> {
    await until('an answer', () => this.#hex.length >= digits || this.ended !== '');
    return this.#hex;
  }
}

async function plantWith(t: TestContext, unitFaults: FaultSpec[], linkFaults: FaultSpec[] = []) {
  const { plant, port } = await startTcp(t, [
    {
      unitId: 7,
      turnaroundMs: 1,
      faults: unitFaults,
      values: [{ table: 'holding-register', address: 0, quantity: 2, script: 'fixed', hex: '12345678' }],
    },
  ]);
  await plant.setFaults('plc', null, linkFaults);
  return { plant, port, master: () => new Master(t, port) };
}

const SEEN: readonly (readonly [FaultSpec['name'], (hex: string, ended: string) => boolean])[] = [
  ['slow', (hex) => hex === RIGHT],
  ['busy', (hex) => hex === '123400000003' + '07' + '8306'],
  ['truncated', (hex) => hex.length < RIGHT.length && RIGHT.startsWith(hex)],
  ['over-long', (hex) => hex.length > RIGHT.length && hex.startsWith(RIGHT)],
  ['garbage-prefix', (hex) => hex.length > RIGHT.length && hex.endsWith(RIGHT)],
  ['split', (hex) => hex === RIGHT],
  ['duplicate', (hex) => hex === RIGHT + RIGHT],
  ['wrong-unit', (hex) => hex.startsWith('123400000007' + '08' + '0304') && !hex.endsWith('12345678')],
  ['wrong-function', (hex) => hex.slice(14, 16) === '04' && !hex.endsWith('12345678')],
  ['wrong-tid', (hex) => hex.length === RIGHT.length && !hex.startsWith('1234')],
  ['wrong-protocol-id', (hex) => hex.length === RIGHT.length && hex.slice(4, 8) !== '0000'],
  ['wrong-count', (hex) => hex.slice(16, 18) !== '04'],
  ['cut', (hex, ended) => hex.length < RIGHT.length && RIGHT.startsWith(hex) && ended === 'fin'],
  ['close', (hex, ended) => hex === RIGHT && ended === 'fin'],
  ['rst', (hex, ended) => hex === '' && ended === 'rst'],
];

for (const [name, isSeen] of SEEN) {
  test(`the fault ${name} is seen on TCP`, async (t) => {
    const { master } = await plantWith(t, [{ name, ms: 5 }]);
    const one = master();
    one.send(REQUEST);
    await until(`${name}: got ${one.heard}`, () => isSeen(one.heard, one.ended));
  });
}

test('a silent unit leaves its connection open, a dead bus end too', async (t) => {
  const { plant, master } = await plantWith(t, [{ name: 'silent' }]);
  const one = master();
  one.send(REQUEST);
  await until('the request', async () => (await plant.exchanges('plc')).length === 1);
  await plant.setFaults('plc', 7, []);
  one.send(REQUEST);
  assert.equal(await one.answer(), RIGHT);
});

test('a refusing endpoint drops its masters and refuses new ones; afterwards it is back at the same port', async (t) => {
  const { plant, master } = await plantWith(t, []);
  const before = master();
  await until('the connection', () => before.isOpen);
  await plant.setFaults('plc', null, [{ name: 'refuse' }]);
  await until('the reset', () => before.ended === 'rst');
  const during = master();
  await until('the refusal', () => during.ended === 'refused');
  await plant.setFaults('plc', null, []);
  const after = master();
  after.send(REQUEST);
  assert.equal(await after.answer(), RIGHT);
});

test('a black hole takes requests and says nothing', async (t) => {
  const { plant, master } = await plantWith(t, [], [{ name: 'black-hole' }]);
  const one = master();
  one.send(REQUEST);
  await until('the request', async () => (await plant.counts('plc')).swallowed === REQUEST.length);
  assert.equal((await plant.counts('plc')).requests, 0);
  await plant.setFaults('plc', null, []);
  one.send(REQUEST);
  assert.equal(await one.answer(), RIGHT);
});

test('an endpoint for one client resets the second', async (t) => {
  const { master } = await plantWith(t, [], [{ name: 'one-client' }]);
  const first = master();
  first.send(REQUEST);
  assert.equal(await first.answer(), RIGHT);
  const second = master();
  await until('the reset', () => second.ended !== '');
  assert.equal(first.ended, '');
});

test('an endpoint closes what is idle', async (t) => {
  const { master } = await plantWith(t, [], [{ name: 'idle-close', ms: 50 }]);
  const one = master();
  await until('the end', () => one.ended === 'fin');
});

test('an endpoint that takes one request at a time resets on the second', async (t) => {
  const { plant, master } = await plantWith(t, [{ name: 'slow', ms: 30 }], [{ name: 'reset-second' }]);
  const patient = master();
  patient.send(REQUEST);
  await patient.answer();
  patient.send(REQUEST);
  assert.equal(await patient.answer(2 * RIGHT.length), RIGHT + RIGHT);
  const hasty = master();
  hasty.send(Buffer.concat([REQUEST, REQUEST, REQUEST, REQUEST]));
  await until('the reset', () => hasty.ended === 'rst');
  assert.equal((await plant.counts('plc')).resets, 1);
});

test('a frame of another protocol is discarded, an impossible length ends the connection', async (t) => {
  const { plant, master } = await plantWith(t, []);
  const one = master();
  one.send(Buffer.from('123400010006070300000002', 'hex'));
  one.send(REQUEST);
  assert.equal(await one.answer(), RIGHT);
  one.send(Buffer.from('12340000ffff0703', 'hex'));
  await until('the end', () => one.ended !== '');
  assert.equal((await plant.counts('plc')).badFrames, 2);
});

test('many requests in one segment, and one request in many, are all answered', async (t) => {
  const { master } = await plantWith(t, []);
  const one = master();
  one.send(Buffer.concat([REQUEST, REQUEST, REQUEST.subarray(0, 5)]));
  await one.answer(2 * RIGHT.length);
  for (const byte of REQUEST.subarray(5)) one.send(Uint8Array.of(byte));
  assert.equal(await one.answer(3 * RIGHT.length), RIGHT.repeat(3));
});

test('a unit that is not there is answered as a gateway does: exception 11', async (t) => {
  const { master } = await plantWith(t, []);
  const one = master();
  one.send(Buffer.from('123400000006' + '08' + '0300000002', 'hex'));
  assert.equal(await one.answer(18), '123400000003' + '08' + '830b');
});
