import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { afterEach, test } from 'node:test';
import { systemClock } from '../../src/clock.js';
import type { Answer, Request } from '../../src/modbus/client.js';
import { Master, RawSlave, rightAnswer } from '../support/rawslave.js';
import { stopwatch } from '../support/stopwatch.js';
import { until, within } from '../support/wait.js';

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function slaveOf(
  onBytes: RawSlave['onBytes'] = (bytes, socket) => void socket.write(rightAnswer(bytes)),
) {
  const slave = await new RawSlave().start();
  slave.onBytes = onBytes;
  closers.push(() => slave.stop());
  return slave;
}

async function masterOf(slave: RawSlave, settings: ConstructorParameters<typeof Master>[1] = {}) {
  const master = Master.tcp(slave.port, settings);
  closers.push(() => master.client.close());
  return master.up();
}

test('answers come back one byte at a time', async () => {
  const slave = await slaveOf((bytes, socket) => {
    const answer = rightAnswer(bytes);
    let sent = 0;
    const next = (): void => {
      socket.write(answer.subarray(sent, sent + 1));
      sent += 1;
      if (sent < answer.length) setImmediate(next);
    };
    next();
  });
  const master = await masterOf(slave);
  assert.deepEqual(await master.values(5, 4), [5, 6, 7, 8]);
});

test('eight requests under way are answered in reverse order', async () => {
  const waiting: Buffer[] = [];
  const slave = await slaveOf((bytes, socket) => {
    for (let at = 0; at < bytes.length; at += 12) waiting.push(bytes.subarray(at, at + 12));
    if (waiting.length === 8)
      for (const request of waiting.splice(0).reverse()) socket.write(rightAnswer(request));
  });
  const master = await masterOf(slave, { inFlight: 8 });
  const all = await Promise.all(Array.from({ length: 8 }, (_, index) => master.values(index * 10)));
  all.forEach((values, index) => assert.deepEqual(values, [index * 10, index * 10 + 1]));
});

test('one answer too late is dropped, and the next is its own', async () => {
  let answerLate = (): void => {};
  let count = 0;
  const slave = await slaveOf((bytes, socket) => {
    count += 1;
    const answer = (): void => void socket.write(rightAnswer(bytes));
    if (count > 1) answer();
    else answerLate = answer;
  });
  const master = await masterOf(slave);
  assert.equal(await master.values(0, 2, 60), 'timeout');
  await until('the request to arrive', () => count === 1);
  answerLate();
  await until('the late answer', async () => {
    assert.deepEqual(await master.values(100), [100, 101]);
    return master.discards.includes('late');
  });
});

for (const [name, act] of [
  ['closes', (slave: RawSlave) => slave.sockets.forEach((socket) => socket.end())],
  ['resets', (slave: RawSlave) => slave.sockets.forEach((socket) => socket.resetAndDestroy())],
] as const) {
  test(`when the peer ${name} the connection, what is under way fails at once, and the next attempt succeeds`, async () => {
    const slave = await slaveOf(() => act(slave));
    const master = await masterOf(slave, { inFlight: 2 });
    const outcomes = Promise.all([master.values(0, 2, 5000), master.values(1, 2, 5000)]);
    assert.ok((await stopwatch(outcomes)).ranMs < 1000);
    assert.deepEqual(await outcomes, ['closed', 'closed']);
    assert.equal(master.downs.length, 1);
    slave.onBytes = (bytes, socket) => void socket.write(rightAnswer(bytes));
    await until('the link to be back', () => master.client.isUp);
    assert.deepEqual(await master.values(3), [3, 4]);
  });

  test(`when the peer ${name} an idle connection, it is told and mended`, async () => {
    const slave = await slaveOf();
    const master = await masterOf(slave);
    await until('the peer to have it', () => slave.sockets.size === 1);
    act(slave);
    await until(
      'the link to go down and up again',
      () => master.downs.length === 1 && master.upCount === 2,
      3000,
    );
    assert.deepEqual(await master.values(3), [3, 4]);
  });
}

test('a black hole costs each request its timeout, then the connection is made anew', async () => {
  const slave = await slaveOf(() => {});
  const master = await masterOf(slave);
  const outcome = master.values(0, 2, 100);
  const { tookMs, ranMs } = await stopwatch(outcome);
  assert.equal(await outcome, 'timeout');
  assert.ok(tookMs >= 99 && ranMs < 400, `${tookMs} ms`);
  await until(
    'a second connection',
    async () => {
      await master.values(0, 2, 500);
      return slave.connectionCount > 1;
    },
    6000,
  );
});

test('a timeout never closes a connection on which others answer', async () => {
  const slave = await slaveOf((bytes, socket) => {
    if (bytes[6] === 1) socket.write(rightAnswer(bytes));
  });
  const master = await masterOf(slave);
  for (let count = 0; count < 50; count += 1) {
    assert.equal(await master.values(0, 2, 50, 2), 'timeout');
    if (count % 2 === 0) assert.deepEqual(await master.values(7), [7, 8]);
  }
  assert.equal(slave.connectionCount, 1);
});

test('a refused connection is tried again until somebody listens', async () => {
  const slave = await slaveOf();
  const { port } = slave;
  await slave.stop();
  const master = Master.tcp(port);
  closers.push(() => master.client.close());
  master.client.open();
  await until('three refusals', () => master.downs.length >= 3);
  assert.ok(master.downs.every((error) => error.kind === 'refused'));
  assert.equal(await master.values(0), 'closed');
  await slave.start();
  await until('the link to be up', () => master.client.isUp);
  assert.deepEqual(await master.values(3), [3, 4]);
});

test('a connection that never comes about is given up, and its socket with it', async () => {
  // A listener whose queue is full lets further attempts hang.
  const server = createServer();
  await new Promise<void>((resolve) => server.listen({ port: 0, host: '127.0.0.1', backlog: 1 }, resolve));
  closers.push(() => new Promise((resolve) => server.close(() => resolve())));
  const address = server.address();
  assert.ok(address !== null && typeof address === 'object');
  const master = new Master(
    { kind: 'tls', host: '127.0.0.1', port: address.port, tls: null },
    { timeoutMs: 1000 },
  );
  closers.push(() => master.client.close());
  server.on('connection', (socket) => socket.on('error', () => {}).resume());
  master.client.open();
  // It is accepted, and never answers the handshake.
  await until('the attempt to be given up', () => master.downs.length >= 1, 4000);
  assert.match(master.downs[0]?.text ?? '', /no connection in 1000 ms/);
});

test('close() settles everything and resolves, also when the peer does not close its side', async () => {
  const slave = await slaveOf(() => {});
  const master = await masterOf(slave, { inFlight: 2 });
  const all = [master.values(0, 2, 60_000), master.values(1, 2, 60_000), master.values(2, 2, 60_000)];
  await until('a request to arrive', () => slave.sockets.size === 1);
  await within('close()', master.client.close(), 1000);
  assert.deepEqual(await within('the requests', Promise.all(all), 100), ['closed', 'closed', 'closed']);
  assert.equal(await master.values(0), 'closed');
});

test('reset() makes a new connection and fails what is under way', async () => {
  const slave = await slaveOf(() => {});
  const master = await masterOf(slave);
  const outcome = master.values(0, 2, 60_000);
  master.client.reset('no progress');
  assert.equal(await within('the request', outcome, 500), 'closed');
  await until('a second connection', () => slave.connectionCount === 2 && master.client.isUp);
});

test('a stream that is out of step is left, and the next connection is right', async () => {
  let count = 0;
  const slave = await slaveOf((bytes, socket) => {
    count += 1;
    const answer = rightAnswer(bytes);
    // Of another protocol.
    if (count === 1) answer[3] = 1;
    socket.write(answer);
  });
  const master = await masterOf(slave);
  assert.equal(await master.values(0), 'framing');
  await until('the link to be back', () => master.client.isUp);
  assert.deepEqual(await master.values(9), [9, 10]);
  assert.equal(slave.connectionCount, 2);
});

test('a peer that accepts and hangs up is not dialled in a loop', async () => {
  const slave = await slaveOf();
  slave.onConnection = (socket) => socket.destroy();
  const master = Master.tcp(slave.port);
  closers.push(() => master.client.close());
  master.client.open();
  await until('several attempts', () => slave.connectionCount >= 4);
  const before = slave.connectionCount;
  await new Promise((resolve) => setTimeout(resolve, 1000));
  assert.ok(slave.connectionCount - before <= 4, `${slave.connectionCount - before} attempts in a second`);
});

test('the pause after connecting is kept before the first request', async () => {
  let requestedAt = 0;
  const slave = await slaveOf((bytes, socket) => {
    requestedAt = performance.now();
    socket.write(rightAnswer(bytes));
  });
  // It cannot be connected earlier.
  const openedAt = performance.now();
  const master = await masterOf(slave, { afterConnectMs: 150 });
  await master.values(0);
  assert.ok(requestedAt - openedAt >= 149, `${requestedAt - openedAt} ms`);
});

test('an idle link is closed, and the next request opens it again', async () => {
  const slave = await slaveOf();
  const master = await masterOf(slave, { closeIdleMs: 100 });
  assert.deepEqual(await master.values(1), [1, 2]);
  await until('the connection to be closed', () => slave.sockets.size === 0, 2000);
  assert.ok(master.client.isUp);
  assert.deepEqual(await Promise.all([master.values(2), master.values(3)]), [
    [2, 3],
    [3, 4],
  ]);
  assert.equal(slave.connectionCount, 2);
  assert.deepEqual(master.downs, []);
});

test('what waited too long for its turn or for a connection does not go out any more', async () => {
  const asked: Buffer[] = [];
  const slave = await slaveOf((bytes, socket) => {
    asked.push(bytes);
    setTimeout(() => socket.write(rightAnswer(bytes)), 40);
  });
  const master = await masterOf(slave, { closeIdleMs: 60, afterConnectMs: 60 });
  const read = { kind: 'read', unitId: 1, table: 'holding-register', address: 1, quantity: 1 } as const;
  const sentWithin = (ms: number): Promise<Answer> =>
    master.client.request(read, 500, 500, systemClock.monotonicMs() + ms);
  const behind = await Promise.all([sentWithin(30), sentWithin(30), sentWithin(1000)]);
  assert.deepEqual(
    behind.map(({ ok, sentAtMs }) => [ok, sentAtMs > 0]),
    [
      [true, true],
      [false, false],
      [true, true],
    ],
  );
  await until('the connection to be closed', () => slave.sockets.size === 0, 2000);
  const late = await sentWithin(30);
  assert.ok(!late.ok && late.sentAtMs === 0);
  assert.equal(asked.length, 2);
});

test('what cannot be put on the wire without loss is refused before it gets there', async () => {
  let requestCount = 0;
  const slave = await slaveOf(() => void (requestCount += 1));
  const master = await masterOf(slave);
  const registers = (count: number): Uint8Array => new Uint8Array(2 * count);
  const bits = (count: number): boolean[] => Array.from({ length: count }, () => true);
  const holding = { kind: 'read', unitId: 1, table: 'holding-register' } as const;
  const wrong: readonly Request[] = [
    { ...holding, address: 0, quantity: 0 },
    { ...holding, address: 0, quantity: 126 },
    { ...holding, address: 65_535, quantity: 2 },
    { ...holding, address: -1, quantity: 1 },
    { ...holding, address: 1.5, quantity: 1 },
    { ...holding, address: NaN, quantity: 1 },
    { ...holding, unitId: 256, address: 0, quantity: 1 },
    { kind: 'read', unitId: 1, table: 'coil', address: 0, quantity: 2001 },
    { kind: 'write-bits', unitId: 1, address: 0, bits: [], functionCode: 0 },
    { kind: 'write-bits', unitId: 1, address: 0, bits: bits(1969), functionCode: 0 },
    { kind: 'write-bits', unitId: 1, address: 0, bits: bits(2), functionCode: 5 },
    { kind: 'write-registers', unitId: 1, address: 0, registers: registers(124), functionCode: 0 },
    { kind: 'write-registers', unitId: 1, address: 0, registers: registers(2), functionCode: 6 },
    { kind: 'write-registers', unitId: 1, address: 0, registers: new Uint8Array(3), functionCode: 16 },
    { kind: 'mask-write', unitId: 1, address: 0, andMask: 65_536, orMask: 0 },
    { kind: 'mask-write', unitId: 1, address: 0, andMask: NaN, orMask: 0 },
    { kind: 'read-write', unitId: 1, address: 0, quantity: 1, writeAddress: 0, registers: registers(122) },
    { kind: 'raw', unitId: 1, functionCode: 200, data: registers(1) },
    { kind: 'raw', unitId: 1, functionCode: 8, data: registers(127) },
  ];
  for (const request of wrong) {
    const answer = await master.client.request(request, 100);
    assert.ok(!answer.ok && answer.error.kind === 'invalid-request', JSON.stringify(request));
    assert.ok(answer.error.text.length > 0);
  }
  assert.equal(requestCount, 0);
});

test('the echo of a write is compared with what was written', async () => {
  const spoil = { at: 0 };
  const slave = await slaveOf((bytes, socket) => {
    const code = bytes[7] ?? 0;
    const length = code === 22 ? 14 : 12;
    const echo = Buffer.from(bytes.subarray(0, length));
    echo.writeUInt16BE(length - 6, 4);
    echo[spoil.at] = (echo[spoil.at] ?? 0) ^ (spoil.at === 0 ? 0 : 1);
    socket.write(echo);
  });
  const master = await masterOf(slave);
  const writes: readonly Request[] = [
    { kind: 'write-bits', unitId: 1, address: 3, bits: [true], functionCode: 5 },
    { kind: 'write-bits', unitId: 1, address: 3, bits: [true, false, true], functionCode: 15 },
    { kind: 'write-registers', unitId: 1, address: 3, registers: Uint8Array.of(1, 2), functionCode: 6 },
    {
      kind: 'write-registers',
      unitId: 1,
      address: 3,
      registers: Uint8Array.of(1, 2, 3, 4),
      functionCode: 16,
    },
    { kind: 'mask-write', unitId: 1, address: 3, andMask: 0xf0f0, orMask: 0x0101 },
  ];
  for (const request of writes) {
    spoil.at = 0;
    assert.equal((await master.client.request(request, 2000)).ok, true, JSON.stringify(request));
    for (const at of [9, 11]) {
      spoil.at = at;
      const answer = await master.client.request(request, 2000);
      assert.ok(!answer.ok && answer.error.kind === 'mismatch', `${JSON.stringify(request)} byte ${at}`);
    }
  }
});

test('bits beyond those asked for are not handed on', async () => {
  const slave = await slaveOf((bytes, socket) => {
    const answer = Buffer.from([...bytes.subarray(0, 4), 0, 4, bytes[6] ?? 0, bytes[7] ?? 0, 1, 0xff]);
    socket.write(answer);
  });
  const master = await masterOf(slave);
  const answer = await master.client.request(
    { kind: 'read', unitId: 1, table: 'coil', address: 0, quantity: 3 },
    2000,
  );
  assert.ok(answer.ok);
  assert.deepEqual([...answer.data], [0b111]);
});

test('an exception keeps its code, known or not', async () => {
  let exception = 2;
  const slave = await slaveOf((bytes, socket) => {
    socket.write(
      Buffer.from([...bytes.subarray(0, 4), 0, 3, bytes[6] ?? 0, (bytes[7] ?? 0) | 0x80, exception]),
    );
  });
  const master = await masterOf(slave);
  for (const code of [1, 2, 3, 4, 5, 6, 10, 11, 77]) {
    exception = code;
    const answer = await master.read(0);
    assert.ok(!answer.ok);
    assert.deepEqual([answer.error.kind, answer.error.exception], ['exception', code]);
  }
});

test('a flood of requests is bounded, and each is settled', async () => {
  const slave = await slaveOf(() => {});
  const master = await masterOf(slave);
  const all = Array.from({ length: 1500 }, () => master.values(0, 2, 60_000));
  await until('a request to arrive', () => slave.sockets.size === 1);
  await master.client.close();
  const kinds = await Promise.all(all);
  assert.equal(kinds.filter((kind) => kind === 'invalid-request').length, 500);
  assert.equal(kinds.filter((kind) => kind === 'closed').length, 1000);
});

test('an answer that came while the thread was busy is taken, though its time is over by then', async () => {
  const slave = await new RawSlave().start();
  closers.push(() => slave.stop());
  slave.onBytes = (bytes, socket) => {
    socket.write(rightAnswer(bytes), () => {
      // The answer is on its way; nobody reads it before the deadline.
      const untilMs = performance.now() + 150;
      while (performance.now() < untilMs);
    });
  };
  const master = await masterOf(slave);
  assert.deepEqual(await master.values(5, 2, 60), [5, 6]);
});
