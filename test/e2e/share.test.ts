/** Other masters through a bus's shared port: mbpoll and pymodbus beside a gateway that polls the line flat out. */
import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { connectAsync } from 'mqtt';
import type { UnitSpec } from '../../src/simulator/spec.js';
import { Daemon } from '../support/daemon.js';
import { mbpoll, pymodbus, PYMODBUS_SEES, PYMODBUS_UNIT } from '../support/masters.js';
import { startLine, startTcp } from '../support/plant.js';
import { until, within } from '../support/wait.js';

/** What pymodbus_master.py expects, and registers for pymodbus_reader.py. */
function unitOf(unitId: number): UnitSpec {
  const counted = Array.from({ length: 20 }, (_, index) =>
    (1000 * unitId + 600 + index).toString(16).padStart(4, '0'),
  );
  return {
    ...PYMODBUS_UNIT,
    unitId,
    turnaroundMs: 5,
    values: [
      ...(PYMODBUS_UNIT.values ?? []),
      { table: 'holding-register', address: 100, quantity: 200, script: 'stamp' },
      { table: 'holding-register', address: 600, quantity: 20, script: 'fixed', hex: counted.join('') },
    ],
  };
}

const tags = Array.from(
  { length: 20 },
  (_, index) => `      r${index}: { holding: ${100 + 2 * index} }`,
).join('\n');

function configOf(bus: string, units: readonly number[], rate: string): string {
  const devices = units.map(
    (unitId) =>
      `  u${unitId}:\n    bus: field\n    unit_id: ${unitId}\n    forbidden: ["holding:900-910"]\n    tags:\n${tags}`,
  );
  return `version: 1
gateway: { id: gw }
broker: { listeners: [{ protocol: mqtt, host: 127.0.0.1, port: 0 }], anonymous: true, store: memory }
defaults: { rate: ${rate}, report: always }
buses:
  field: ${bus}
devices:
${devices.join('\n')}
`;
}

async function startGateway(t: TestContext, config: string): Promise<{ daemon: Daemon; port: number }> {
  const daemon = new Daemon(config);
  t.after(() => daemon.remove());
  await daemon.start();
  return { daemon, port: Number(daemon.logged('share-open')[0]?.['port']) };
}

/** When good samples came, from now on. */
async function arrivalsOf(t: TestContext, daemon: Daemon): Promise<readonly number[]> {
  const client = await connectAsync(`mqtt://127.0.0.1:${daemon.port()}`);
  t.after(() => client.endAsync(true));
  const arrivals: number[] = [];
  client.on('message', (_topic, payload) => {
    if (payload.includes('"good"')) arrivals.push(performance.now());
  });
  await client.subscribeAsync('holdfast/gw/data/#');
  return arrivals;
}

/** What comes in one answer comes at once. */
const OF_ONE_ANSWER_MS = 20;

/** Samples a second since then, from one answer to another: how many answers fall into a window is chance. */
function ratePerS(arrivals: readonly number[], sinceMs: number): number {
  const all = arrivals.filter((atMs) => atMs >= sinceMs);
  const [firstMs = 0, lastMs = 0] = [all[0], all.at(-1)];
  return (1000 * all.filter((atMs) => atMs > firstMs + OF_ONE_ANSWER_MS).length) / (lastMs - firstMs);
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const overTcp = (port: number): string[] => ['-m', 'tcp', '-p', String(port)];

async function reader(
  port: number,
  unitId: number,
  count: number,
  seconds: number,
): Promise<Record<string, number>> {
  const args = ['127.0.0.1', port, unitId, 600, count, seconds].map(String);
  return pymodbus('pymodbus_reader.py', ...args);
}

test('mbpoll and pymodbus read and write a saturated line through the port, and polls keep 80 % of their rate', async (t) => {
  const { path } = await startLine(t, [unitOf(7), unitOf(8)], { baud: 9600 });
  const bus = `{ protocol: rtu, path: ${path}, baud: 9600, format: 8N1, timeout: 5s, share: { port: 0, write: true } }`;
  const { daemon, port } = await startGateway(t, configOf(bus, [7, 8], '50ms'));
  const arrivals = await arrivalsOf(t, daemon);
  await until('the polls to run', () => arrivals.length > 200);
  const windowMs = 3000;
  const aloneSinceMs = performance.now();
  await pause(windowMs);
  const alone = ratePerS(arrivals, aloneSinceMs);
  const besideSinceMs = performance.now();

  const [first, second] = await Promise.all([reader(port, 7, 10, windowMs / 1000), reader(port, 8, 2, windowMs / 1000), pause(windowMs)]); // prettier-ignore
  const beside = ratePerS(arrivals, besideSinceMs);
  for (const seen of [first, second]) {
    assert.equal(seen['wrong'], 0);
    assert.equal(seen['exceptions'], 0);
    assert.ok((seen['answers'] ?? 0) > 2, `${seen['answers']} answers in ${windowMs} ms`);
  }
  // The readers start and end within a window that is a little longer than theirs.
  assert.ok(beside >= 0.8 * alone, `${beside} samples a second beside other masters, ${alone} without`);

  assert.deepEqual(await pymodbus('pymodbus_master.py', 'tcp', '127.0.0.1', String(port)), PYMODBUS_SEES);
  await mbpoll(...overTcp(port), '-a', '8', '-t', '4', '-r', '20', '127.0.0.1', '11', '12', '13');
  assert.match(
    await mbpoll(...overTcp(port), '-a', '8', '-t', '4', '-r', '20', '-c', '3', '127.0.0.1'),
    /11[^]*12[^]*13/,
  );
  assert.match(
    await mbpoll(...overTcp(port), '-a', '7', '-t', '3:float', '-B', '-r', '10', '127.0.0.1'),
    /\[10\]: +42/,
  );
  const writes = daemon.logged('shared-write');
  assert.ok(writes.some((line) => line['device'] === 'u8' && line['address'] === 20 && line['ok'] === true));
});

/** A master at an address of this machine. */
class Master {
  readonly #socket: Socket;
  #bytes = Buffer.alloc(0);
  #transaction = 0;
  isClosed = false;

  constructor(port: number, localAddress: string) {
    this.#socket = connect({ port, host: '127.0.0.1', localAddress });
    this.#socket.on('data', (bytes: Buffer) => (this.#bytes = Buffer.concat([this.#bytes, bytes])));
    this.#socket.on('error', () => {});
    this.#socket.on('close', () => (this.isClosed = true));
  }

  send(unitId: number, pdu: string): number {
    const bytes = Buffer.from(pdu.replaceAll(' ', ''), 'hex');
    const header = Buffer.from([0, ++this.#transaction, 0, 0, 0, bytes.length + 1, unitId]);
    this.#socket.write(Buffer.concat([header, bytes]));
    return this.#transaction;
  }

  /** The PDU of the next answer, or null when the connection was closed instead. */
  async receive(transaction: number): Promise<string | null> {
    await until('an answer', () => this.isClosed || this.#bytes.length >= 9);
    if (this.isClosed) return null;
    const end = 6 + this.#bytes.readUInt16BE(4);
    await until('the rest of the answer', () => this.#bytes.length >= end);
    assert.equal(this.#bytes.readUInt16BE(0), transaction);
    const pdu = this.#bytes.subarray(7, end).toString('hex');
    this.#bytes = this.#bytes.subarray(end);
    return pdu;
  }

  ask(unitId: number, pdu: string): Promise<string | null> {
    return this.receive(this.send(unitId, pdu));
  }

  end(): void {
    this.#socket.destroy();
  }
}

test('only addresses that are allowed may connect, and only those named may write', async (t) => {
  const { plant, port: plcPort } = await startTcp(t, [unitOf(7)]);
  const bus = `{ protocol: tcp, host: 127.0.0.1, port: ${plcPort}, share: { port: 0, allow: ["127.0.0.2", "127.0.4.0/24"], write: ["127.0.4.9"] } }`;
  const { daemon, port } = await startGateway(t, configOf(bus, [7], '1s'));
  const masters = ['127.0.0.1', '127.0.0.2', '127.0.4.9', '127.0.5.9'].map(
    (address) => new Master(port, address),
  );
  t.after(() => masters.forEach((master) => master.end()));
  const [local, reading, writing, stranger] = masters;
  assert.ok(local && reading && writing && stranger);
  assert.equal(await local.ask(7, '03 0000 0001'), null);
  assert.equal(await stranger.ask(7, '06 0032 0005'), null);
  assert.equal(await reading.ask(7, '03 0000 0002'), '030400010002');
  for (const pdu of [
    '06 0032 0005',
    '05 0003 ff00',
    '0f 0003 0002 01 03',
    '10 0032 0001 02 0005',
    '16 0032 0000 0005',
    '17 0000 0001 0032 0001 02 0005',
    '08 0001 0000',
    '2b 0d 00',
  ])
    assert.equal(await reading.ask(7, pdu), `${(Number.parseInt(pdu, 16) | 0x80).toString(16)}01`, pdu);
  assert.equal(await plant.peek('plc', 7, 'holding-register', 0x32, 1), '0000');
  assert.equal(await writing.ask(7, '06 0032 0005'), '0600320005');
  assert.equal(await plant.peek('plc', 7, 'holding-register', 0x32, 1), '0005');
  assert.equal(await reading.ask(7, '08 0000 1234'), '0800001234', 'the echo changes nothing');
  assert.equal(await reading.ask(9, '03 0000 0001'), '830a', 'a unit that is not there');
  assert.equal(
    await reading.ask(7, '03 0384 0001'),
    '8302',
    'what is forbidden is not read for others either',
  );
  assert.equal(await reading.ask(7, '41 00'), 'c101', 'a function that is not known');
  assert.deepEqual(
    daemon.logged('share-refused').map((line) => line['client']).sort(),
    ['127.0.0.1', '127.0.5.9'],
  ); // prettier-ignore
});

test('several requests in one segment are answered in their order, what is no Modbus ends the connection', async (t) => {
  const { port: plcPort } = await startTcp(t, [unitOf(7)]);
  const bus = `{ protocol: tcp, host: 127.0.0.1, port: ${plcPort}, share: { port: 0 } }`;
  const { daemon, port } = await startGateway(t, configOf(bus, [7], '1s'));
  const master = new Master(port, '127.0.0.1');
  const sent = Array.from({ length: 40 }, (_, index) => [index, master.send(7, `03 ${(600 + (index % 20)).toString(16).padStart(4, '0')} 0001`)] as const); // prettier-ignore
  for (const [index, transaction] of sent)
    assert.equal(await master.receive(transaction), `0302${(7600 + (index % 20)).toString(16)}`);
  const nonsense = new Master(port, '127.0.0.1');
  nonsense.send(7, '00'.repeat(254));
  await until('the connection to end', () => nonsense.isClosed);
  assert.equal(await master.ask(7, '03 0000 0001'), '03020001');
  master.end();
  assert.equal(await within('a clean end', daemon.stop()), 0);
});

test('a unit that is silent is answered for at once with exception 11, and fresh values without asking the device', async (t) => {
  const { plant, port: plcPort } = await startTcp(t, [unitOf(7), unitOf(8)]);
  const bus = `{ protocol: tcp, host: 127.0.0.1, port: ${plcPort}, timeout: 300ms, share: { port: 0, write: true, fresh: 5s } }`;
  const { daemon, port } = await startGateway(t, configOf(bus, [7, 8], '1s'));
  const arrivals = await arrivalsOf(t, daemon);
  await until('the polls to run', () => arrivals.length > 40);
  const master = new Master(port, '127.0.0.1');
  t.after(() => master.end());
  await plant.clear();
  const answer = await master.ask(7, '03 0064 0002');
  assert.match(answer ?? '', /^0304/);
  const asked = (await plant.exchanges('plc')).filter((exchange) => exchange.unitId === 7);
  assert.ok(
    asked.every(({ quantity }) => quantity > 2),
    'answered from what the polls read',
  );
  assert.equal(await master.ask(7, '06 0064 0005'), '0600640005');
  assert.equal(
    await master.ask(7, '03 0064 0001'),
    '03020005',
    'what was written is not hidden by an older value',
  );

  await plant.setFaults('plc', 8, [{ name: 'dead' }]);
  await until('the unit to be offline', () =>
    daemon.logged('device-offline').some((line) => line['device'] === 'u8'),
  );
  const startMs = performance.now();
  for (let turn = 0; turn < 20; turn += 1) assert.equal(await master.ask(8, '03 0000 0001'), '830b');
  assert.ok(performance.now() - startMs < 2000, 'twenty answers without twenty timeouts');
});
