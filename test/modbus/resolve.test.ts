import assert from 'node:assert/strict';
import dns from 'node:dns';
import { syncBuiltinESMExports } from 'node:module';
import { createServer, type AddressInfo } from 'node:net';
import { after, before, beforeEach, mock, test } from 'node:test';
import { systemClock } from '../../src/clock.js';
import type { ModbusError } from '../../src/modbus/exchange.js';
import { resolve } from '../../src/modbus/resolve.js';
import { openSocket } from '../../src/modbus/tcp.js';
import { until } from '../support/wait.js';

type Answer = (error: Error | null, addresses?: readonly { address: string; family: number }[]) => void;

/** What the name server was asked, and how each question is answered. */
const questions: { readonly name: string; readonly answer: Answer }[] = [];

const server = createServer().listen(0, '127.0.0.1');

before(async () => {
  await until('the server', () => server.listening);
  mock.method(dns, 'lookup', (name: string, _options: unknown, answer: Answer) => {
    questions.push({ name, answer });
  });
  syncBuiltinESMExports();
});
after(() => {
  mock.restoreAll();
  syncBuiltinESMExports();
  server.close();
});
beforeEach(() => void (questions.length = 0));

test('a name is asked for once at a time, and whoever waits has the answer', () => {
  const answers: string[] = [];
  const take =
    (who: string) =>
    (error: Error | null): void =>
      void answers.push(`${who} ${error?.message ?? 'found'}`);
  resolve('plc.example', {}, take('first'));
  resolve('plc.example', {}, take('second'));
  resolve('meter.example', {}, take('third'));
  assert.deepEqual(
    questions.map(({ name }) => name),
    ['plc.example', 'meter.example'],
  );
  questions[0]?.answer(new Error('not found'));
  assert.deepEqual(answers, ['first not found', 'second not found']);
  resolve('plc.example', {}, take('fourth'));
  questions[2]?.answer(null);
  assert.deepEqual(answers.at(-1), 'fourth found');
});

test('a device is reached by its name though that is found later than one attempt lasts', async () => {
  const { port } = server.address() as AddressInfo;
  const dial = (connectTimeoutMs: number) => {
    const attempt = { isOpen: false, error: null as ModbusError | null };
    const wire = openSocket(
      { host: 'plc.example', port, tls: null, connectTimeoutMs, handshakeTimeoutMs: 1000 },
      systemClock,
      {
        opened: () => void (attempt.isOpen = true),
        received: () => {},
        closed: (error) => void (attempt.error = error),
      },
    );
    return { attempt, wire };
  };
  const first = dial(10);
  await until('the first attempt to end', () => first.attempt.error !== null);
  assert.equal(first.attempt.error?.text, 'no address of plc.example in 10 ms');
  const second = dial(60_000);
  await until('a question', () => questions.length > 0);
  for (const { answer } of questions) answer(null, [{ address: '127.0.0.1', family: 4 }]);
  await until('the connection', () => second.attempt.isOpen);
  assert.equal(questions.length, 1);
  await second.wire.destroy();
});
