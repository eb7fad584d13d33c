import assert from 'node:assert/strict';
import { createServer, type AddressInfo } from 'node:net';
import { after, afterEach, before, test } from 'node:test';
import { createServer as createTlsServer } from 'node:tls';
import { systemClock } from '../../src/clock.js';
import { openSocket } from '../../src/modbus/tcp.js';
import { Certificates } from '../support/certificates.js';
import { Master, RawSlave, rightAnswer } from '../support/rawslave.js';
import { until } from '../support/wait.js';

const certificates = new Certificates();
const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});
after(() => certificates.remove());

before(() => {
  certificates.authority('plant');
  certificates.authority('stranger');
  certificates.certificate('device', 'plant', 'IP:127.0.0.1,DNS:meter.example');
  certificates.certificate('elsewhere', 'plant', 'DNS:other.example');
  certificates.certificate('gateway', 'plant', 'DNS:gateway.example');
  certificates.certificate('intruder', 'stranger', 'DNS:gateway.example');
});

async function slaveWith(name: string): Promise<RawSlave> {
  const slave = await new RawSlave().start({
    cert: certificates.text(`${name}.crt`),
    key: certificates.text(`${name}.key`),
    ca: certificates.text('plant.crt'),
    requestCert: true,
    rejectUnauthorized: true,
  });
  slave.onBytes = (bytes, socket) => void socket.write(rightAnswer(bytes));
  closers.push(() => slave.stop());
  return slave;
}

function masterWith(
  slave: RawSlave,
  ca: string,
  client: string | null,
  serverName: string | null = null,
): Master {
  const tls = {
    ca: certificates.file(`${ca}.crt`),
    cert: client === null ? null : certificates.file(`${client}.crt`),
    key: client === null ? null : certificates.text(`${client}.key`),
    serverName,
  };
  const master = new Master({ kind: 'tls', host: '127.0.0.1', port: slave.port, tls });
  closers.push(() => master.client.close());
  return master;
}

test('Modbus/TCP Security: both sides show certificates by the authority that both trust', async () => {
  const slave = await slaveWith('device');
  for (const serverName of [null, 'meter.example']) {
    const master = await masterWith(slave, 'plant', 'gateway', serverName).up();
    assert.deepEqual(await master.values(5), [5, 6]);
  }
});

for (const [name, device, ca, client, serverName] of [
  ['a device whose authority is not the pinned one', 'device', 'stranger', 'gateway', null],
  ['a device with a certificate for another name', 'elsewhere', 'plant', 'gateway', null],
  ['a device that is not the one named', 'device', 'plant', 'gateway', 'press.example'],
] as const) {
  test(`${name} is not spoken to`, async () => {
    const slave = await slaveWith(device);
    const master = masterWith(slave, ca, client, serverName);
    master.client.open();
    await until('the refusal', () => master.downs.length > 0);
    assert.equal(master.upCount, 0);
    assert.ok((master.downs[0]?.text ?? '').length > 0);
  });
}

for (const client of ['intruder', null]) {
  test(`a device that wants our certificate refuses us with ${client ?? 'none'}, and no value comes of it`, async () => {
    const slave = await slaveWith('device');
    const master = masterWith(slave, 'plant', client);
    master.client.open();
    await until('the refusal', () => master.downs.length > 0);
    // TLS 1.3 tells of it only after the handshake seems done.
    assert.equal(await master.values(0), 'closed');
    if (client === null) assert.match(master.downs[0]?.text ?? '', /^tlsv13 alert certificate required$/);
  });
}

test('a device that takes its time for the handshake is waited for, longer than for a connection', async () => {
  const secure = createTlsServer({
    cert: certificates.text('device.crt'),
    key: certificates.text('device.key'),
  });
  const slow = createServer((socket) => setTimeout(() => secure.emit('connection', socket), 1100));
  await new Promise<void>((resolve) => slow.listen(0, '127.0.0.1', resolve));
  closers.push(() => new Promise((resolve) => slow.close(() => resolve())));
  const { port } = slow.address() as AddressInfo;
  const tls = { ca: certificates.text('plant.crt'), cert: null, key: null, serverName: null };
  const outcomes = [20_000, 50].map((handshakeTimeoutMs) => {
    const settings = { host: '127.0.0.1', port, tls, connectTimeoutMs: 1000, handshakeTimeoutMs };
    return new Promise<string>((resolve) => {
      const wire = openSocket(settings, systemClock, {
        opened: () => resolve('open'),
        received: () => {},
        closed: ({ text }) => resolve(text),
      });
      closers.push(() => wire.destroy());
    });
  });
  assert.deepEqual(await Promise.all(outcomes), [
    'open',
    'no connection in 50 ms, the TLS handshake was not answered',
  ]);
});

test('a certificate that cannot be read is told, and tried again', async () => {
  const slave = await slaveWith('device');
  const master = new Master({
    kind: 'tls',
    host: '127.0.0.1',
    port: slave.port,
    tls: { ca: certificates.file('nowhere.crt'), cert: null, key: null, serverName: null },
  });
  closers.push(() => master.client.close());
  master.client.open();
  await until('two attempts', () => master.downs.length >= 2);
  assert.match(master.downs[0]?.text ?? '', /nowhere\.crt/);
});
