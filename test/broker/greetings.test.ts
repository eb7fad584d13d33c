import assert from 'node:assert/strict';
import { connect, createServer, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { greetInTurns } from '../../src/broker/greetings.js';
import { until } from '../support/wait.js';

const HELLO = Buffer.concat([Buffer.from([22, 3, 1, 0, 200]), Buffer.alloc(200, 7)]);
/** What an answer takes of the loop. */
const ANSWER_MS = 3;

interface Greeted {
  readonly dial: () => Socket;
  /** What came of each who was spoken with. */
  readonly heard: Buffer[];
  /** How many the server has taken; it takes one in a turn. */
  readonly accepted: () => number;
}

/** A server that answers as TLS does: in the tick after it took a socket, and at length. */
async function open(context: TestContext, timeoutMs: number): Promise<Greeted> {
  const heard: Buffer[] = [];
  const server = createServer((socket) => {
    process.nextTick(() => {
      const endMs = performance.now() + ANSWER_MS;
      while (performance.now() < endMs);
      heard.push(socket.read() as Buffer);
    });
  });
  greetInTurns(server, timeoutMs);
  let accepted = 0;
  server.on('connection', () => accepted++);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  context.after(() => server.close());
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  const dial = (): Socket => {
    const socket = connect(address.port, '127.0.0.1').setNoDelay().resume();
    socket.on('error', () => {});
    context.after(() => socket.destroy());
    return socket;
  };
  return { dial, heard, accepted: () => accepted };
}

test('those who come all at once are greeted a few in a turn, each with all that it sent', async (context) => {
  const { dial, heard, accepted } = await open(context, 60_000);
  const mob = Array.from({ length: 40 }, dial);
  // Down to the last byte: what is not whole takes nobody's time.
  for (const socket of mob) socket.write(HELLO.subarray(0, -1));
  await until(
    'all to have sent it',
    () => accepted() === mob.length && mob.every((socket) => socket.writableLength === 0),
  );
  assert.equal(heard.length, 0);
  let most = 0;
  let before = 0;
  const turn = (): void => {
    most = Math.max(most, heard.length - before);
    before = heard.length;
    if (heard.length < mob.length) setImmediate(turn);
  };
  turn();
  for (const socket of mob) socket.write(HELLO.subarray(-1));
  await until('all to be greeted', () => heard.length === mob.length);
  turn();
  assert.ok(most <= 4, `${most} in one turn`);
  assert.ok(heard.every((bytes) => bytes.equals(HELLO)));
});

test('who speaks no TLS is left to the server at once, who says too little is cut off in time', async (context) => {
  const { dial, heard } = await open(context, 100);
  dial().write('GET / HTTP/1.1\r\n');
  await until('the one without TLS', () => heard.length === 1);
  assert.equal(String(heard[0]), 'GET / HTTP/1.1\r\n');
  const [silent, slow] = [dial(), dial()];
  slow.write(HELLO.subarray(0, 50));
  await until('the end of both', () => silent.closed && slow.closed);
  assert.equal(heard.length, 1);
});
