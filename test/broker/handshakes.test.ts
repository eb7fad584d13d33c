/** What the log says of those who never get as far as MQTT. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect as connectPlain } from 'node:net';
import { after, before, test } from 'node:test';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';
import { Broker } from '../../src/broker/broker.js';
import type { Fields, Log } from '../../src/log.js';
import { MemoryStore } from '../../src/store/memory.js';
import { Certificates } from '../support/certificates.js';
import { until } from '../support/wait.js';

const certificates = new Certificates();
const told: Fields[] = [];
const nothing = (): void => {};
const log: Log = {
  debug: nothing,
  warn: nothing,
  error: nothing,
  info: (message, fields = {}) => void (message === 'TLS handshake failed' && told.push(fields)),
};

let broker: Broker;
before(async () => {
  for (const name of ['ours', 'theirs']) certificates.authority(name);
  certificates.certificate('server', 'ours', 'IP:127.0.0.1');
  certificates.certificate('client', 'theirs', 'DNS:client');
  broker = new Broker({ store: new MemoryStore(), anonymous: true, systemIntervalMs: 0, log });
  await broker.open();
});
after(async () => {
  await broker.close();
  certificates.remove();
});

/** A listener of its own each, because an address is told once a minute. */
async function listen(protocol: 'mqtts' | 'wss', requireClientCert: boolean): Promise<number> {
  const [cert, key, clientCa] = ['server.crt', 'server.key', 'ours.crt'].map((name) =>
    certificates.file(name),
  );
  const { url } = await broker.openListener({
    protocol,
    host: '127.0.0.1',
    port: 0,
    path: '/mqtt',
    tls: {
      cert: cert ?? '',
      key: key ?? '',
      clientCa: requireClientCert ? (clientCa ?? '') : null,
      requireClientCert,
    },
    anonymous: null,
  });
  told.length = 0;
  return Number(new URL(url).port);
}

const shake = (port: number, options: ConnectionOptions): Promise<void> =>
  new Promise((resolve) => {
    const socket = connectTls({ host: '127.0.0.1', port, ...options });
    socket.on('error', nothing);
    socket.on('close', () => resolve());
    socket.resume();
  });

async function distrust(port: number): Promise<void> {
  const options = [
    '-connect',
    `127.0.0.1:${port}`,
    '-verify_return_error',
    '-CAfile',
    certificates.file('theirs.crt'),
  ];
  await once(spawn('openssl', ['s_client', ...options], { stdio: 'ignore', timeout: 10_000 }), 'close');
}

const said = (words: RegExp): Promise<unknown> =>
  until(`${words}; it says ${JSON.stringify(told)}`, () => told.some(({ error }) => words.test(error ?? '')));

for (const protocol of ['mqtts', 'wss'] as const) {
  test(`why a handshake with ${protocol} was refused is said once, with what to do`, async () => {
    const ca = certificates.text('ours.crt');
    const open = await listen(protocol, false);
    // Node's own clients only hang up; this one says why.
    for (let time = 0; time < 2; time += 1) await distrust(open);
    await said(/unknown ca: it does not trust the certificate of this listener/);
    assert.deepEqual(told.map(({ address }) => address), ['127.0.0.1']); // prettier-ignore
    const mutual = await listen(protocol, true);
    await shake(mutual, { ca });
    await said(/it shows no certificate, which require_client_cert asks for/);
    const stranger = await listen(protocol, true);
    await shake(stranger, {
      ca,
      cert: certificates.text('client.crt'),
      key: certificates.text('client.key'),
    });
    await said(/client_ca has not signed its certificate/);
    assert.equal(told.length, 1);
  });
}

test('who does not speak TLS is told of, who only knocks is not', async () => {
  const port = await listen('mqtts', false);
  await new Promise<void>((resolve) => {
    const socket = connectPlain(port, '127.0.0.1', () => socket.destroy());
    socket.on('close', () => resolve());
  });
  const plain = connectPlain(port, '127.0.0.1', () =>
    plain.write(Buffer.from('100c00044d5154540402003c0000', 'hex')),
  );
  plain.on('error', nothing);
  await said(/it does not speak TLS/);
  plain.destroy();
  assert.equal(told.length, 1);
});

test('a socket in a folder that is not there is refused for that', async () => {
  const path = certificates.file('nowhere/broker.sock');
  const listener = { protocol: 'unix', host: '', port: 0, path, tls: null, anonymous: null } as const;
  await assert.rejects(broker.openListener(listener), /there is no folder .*nowhere; make it/);
});
