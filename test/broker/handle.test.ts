/** Connections taken below Node's sockets, on real ones: what is read and written, and how they end. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { after, afterEach, before, describe, test } from 'node:test';
import { type HandlePeer, type HandleTransport, takeHandles } from '../../src/broker/handle.js';
import { collectGarbage } from '../../src/entry.js';
import { until } from '../support/wait.js';

class Owner {
  readonly transport: HandleTransport;
  readonly peer: HandlePeer;
  got = '';
  drainedCount = 0;
  isLost = false;

  constructor(transport: HandleTransport, peer: HandlePeer) {
    this.transport = transport;
    this.peer = peer;
    transport.start(this);
  }

  receive(bytes: Uint8Array, start: number, end: number): void {
    this.got += Buffer.from(bytes.subarray(start, end)).toString();
  }

  drained(): void {
    this.drainedCount++;
  }

  lost(): void {
    this.isLost = true;
  }

  gone(): void {
    this.lost();
  }
}

describe('a connection without a socket', () => {
  const owners: Owner[] = [];
  const clients: Socket[] = [];
  let server: Server;

  before(async () => {
    server = createServer(() => assert.fail('a socket was made'));
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const isTaken = takeHandles(
      server,
      (transport, peer) => owners.push(new Owner(transport, peer)),
      (status) => assert.fail(`not accepted: ${status}`),
    );
    assert.ok(isTaken, 'this Node does not let handles be used: net.ts internals have changed');
  });
  afterEach(() => {
    for (const client of clients.splice(0)) client.destroy();
  });
  after(() => {
    server.close();
  });

  async function pair(): Promise<{ client: Socket; owner: Owner }> {
    const client = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', allowHalfOpen: true }); // prettier-ignore
    clients.push(client);
    client.on('error', () => {});
    const count = owners.length;
    await until('the connection is accepted', () => owners.length > count);
    const owner = owners.at(-1);
    assert.ok(owner !== undefined);
    return { client, owner };
  }

  /** All that a client reads until the end. */
  async function rest(client: Socket): Promise<Buffer> {
    const chunks: Buffer[] = [];
    for await (const chunk of client) chunks.push(chunk as Buffer); // without an encoding chunks are buffers
    return Buffer.concat(chunks);
  }

  test('bytes go both ways, and the other end has a name', async () => {
    const { client, owner } = await pair();
    assert.deepEqual(owner.peer, { address: '127.0.0.1', port: client.localPort });
    client.write('to it');
    await until('they are read', () => owner.got === 'to it');
    assert.equal(owner.transport.write(Buffer.from('and back'), null), true);
    assert.equal(String((await once(client, 'data'))[0]), 'and back');
  });

  test('what the kernel does not take at once is pending, and told when it is gone', async () => {
    const { client, owner } = await pair();
    client.pause();
    const bytes = Buffer.alloc(16 * 2 ** 20, 7);
    assert.equal(owner.transport.write(bytes, null), false);
    assert.ok(owner.transport.pendingBytes > 0);
    owner.transport.end();
    const read = await rest(client);
    assert.ok(read.equals(bytes), `${read.length} bytes came`);
    assert.deepEqual([owner.transport.pendingBytes, owner.drainedCount], [0, 1]);
  });

  test('who is paused is not read, and then goes on', async () => {
    const { client, owner } = await pair();
    owner.transport.pause();
    client.write('later');
    // Another connection is read meanwhile: a read of the first would have come by then.
    const other = await pair();
    other.client.write('now');
    await until('the other is read', () => other.owner.got === 'now');
    assert.equal(owner.got, '');
    owner.transport.resume();
    await until('it is read', () => owner.got === 'later');
  });

  test('an end of the other side is told, and what is written then still goes out', async () => {
    const { client, owner } = await pair();
    client.end('last words');
    await until('the end is told', () => owner.isLost);
    assert.equal(owner.got, 'last words');
    owner.transport.write(Buffer.from('farewell'), null);
    owner.transport.end();
    assert.equal(String(await rest(client)), 'farewell');
  });

  test('after the end nothing is read, and who does not go is cut', async () => {
    const { client, owner } = await pair();
    owner.transport.end();
    client.write('too late');
    client.resume();
    await until('it is cut', () => owner.isLost, 10_000);
    assert.equal(owner.got, '');
  });

  test('who wrote last and is gone is garbage', async () => {
    const ref = await (async () => {
      const { client, owner } = await pair();
      owner.transport.write(Buffer.from('last'), null);
      await once(client, 'data');
      owners.length = 0;
      owner.transport.destroy();
      await until('it is closed', () => owner.isLost);
      return new WeakRef(owner);
    })();
    await until('it is collected', () => {
      collectGarbage();
      return ref.deref() === undefined;
    });
  });

  test('a reset is told', async () => {
    const { client, owner } = await pair();
    client.resetAndDestroy();
    await until('it is told', () => owner.isLost);
    assert.equal(owner.transport.write(Buffer.from('nobody'), null), true);
    owner.transport.end();
    owner.transport.destroy();
  });
});

test('where Node has other insides, a server makes sockets as usual', async () => {
  const { binding } = process as unknown as { binding: unknown };
  Object.assign(process, { binding: undefined });
  // A module of its own, which finds nothing.
  const path = '../../src/broker/handle.js?without';
  const other = (await import(path)) as { takeHandles: typeof takeHandles };
  Object.assign(process, { binding });
  const server = createServer();
  await once(server.listen(0, '127.0.0.1'), 'listening');
  assert.equal(
    other.takeHandles(server, assert.fail, () => {}),
    false,
  );
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
  const [socket] = (await once(server, 'connection')) as [Socket];
  socket.destroy();
  client.destroy();
  server.close();
});
