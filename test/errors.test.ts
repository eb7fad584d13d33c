import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { test } from 'node:test';
import { messageOf } from '../src/errors.js';
import { withAdvice } from '../src/uplink/advice.js';

test('a name none of whose addresses can be reached has all of them in its message', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo; // it listens on a port
  server.close();
  await once(server, 'close');
  const addresses = ['127.0.0.1', '127.0.0.2'].map((address) => ({ address, family: 4 }));
  const socket = connect({ host: 'far', port, lookup: (_host, _options, done) => done(null, addresses) });
  const [error] = (await once(socket, 'error')) as [Error]; // what a socket emits
  assert.match(messageOf(error), /ECONNREFUSED 127\.0\.0\.1:\d+; .*ECONNREFUSED 127\.0\.0\.2:\d+$/);
  assert.match(withAdvice(error), /127\.0\.0\.2:\d+: nobody listens there/);
});
