/** Against servers that are not ours: what they hold is what comes out, for every type and order, and writes arrive. */
import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { MessageChannel } from 'node:worker_threads';
import { compileDecode } from '../../src/modbus/conversion.js';
import { serveSerial } from '../../src/modbus/serial.js';
import { ModbusServer, mbpoll } from '../support/modbusserver.js';
import type { Maker } from '../support/modbusserver.js';
import { PtyPair } from '../support/ptypair.js';
import { Master } from '../support/rawslave.js';
import { until } from '../support/wait.js';
import { seeded } from '../support/virtualline.js';
import { NUMBER_TYPES, ORDERS, textOf } from '../support/values.js';
import type { NumberType } from '../support/values.js';

const closers: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const random = seeded(4711);
const word = (): number => Math.floor(random() * 65_536);
const REGISTERS = Array.from({ length: 1000 }, word);
const BITS = Array.from({ length: 2500 }, () => Math.floor(random() * 2));
const TABLES = {
  'holding-register': { 0: REGISTERS },
  'input-register': { 0: REGISTERS.toReversed() },
  coil: { 0: BITS },
  'discrete-input': { 0: BITS.toReversed() },
};

type Kind = 'tcp' | 'udp' | 'rtu-over-tcp' | 'ascii-over-tcp' | 'rtu' | 'ascii';

async function connect(maker: Maker, kind: Kind): Promise<{ server: ModbusServer; master: Master }> {
  if (kind !== 'rtu' && kind !== 'ascii') {
    const server = await new ModbusServer(maker, { kind }, 1, TABLES).start();
    closers.push(() => server.kill());
    const master = new Master({ kind, host: '127.0.0.1', port: server.port, tls: null }, { timeoutMs: 2000 });
    closers.push(() => master.client.close());
    return { server, master: await answering(master) };
  }
  const pair = await new PtyPair().plugIn();
  closers.push(() => pair.remove());
  const server = await new ModbusServer(maker, { kind, path: pair.far, baud: 115_200 }, 1, TABLES).start();
  closers.push(() => server.kill());
  const { port1, port2 } = new MessageChannel();
  closers.push(serveSerial(port1));
  const line = { baud: 115_200, dataBits: 8, parity: 'none', stopBits: 1, echo: false } as const;
  const master = new Master({ kind, path: pair.near, ...line }, { timeoutMs: 2000 }, () => port2);
  closers.push(() => master.client.close());
  return { server, master: await answering(master) };
}

/** A server says that it is ready before it reads from its port. */
async function answering(master: Master): Promise<Master> {
  await master.up();
  await until('the server to answer', async () => typeof (await master.values(0, 1)) !== 'string');
  return master;
}

/** Reads the same numbers in every type and order, and compares with what a DataView makes of what the server holds. */
async function compareAll(master: Master): Promise<void> {
  for (const table of ['holding-register', 'input-register'] as const) {
    const held = table === 'holding-register' ? REGISTERS : REGISTERS.toReversed();
    for (let start = 0; start < 1000; start += 125) {
      const answer = await master.client.request(
        { kind: 'read', unitId: 1, table, address: start, quantity: 125 },
        2000,
      );
      assert.ok(answer.ok, JSON.stringify(answer));
      for (const [type, quantity] of Object.entries(NUMBER_TYPES) as [NumberType, number][]) {
        for (const order of ORDERS) {
          const decode = compileDecode({ ...FORM, type, order, quantity });
          for (let at = 0; at + quantity <= 125; at += 7) {
            const text = textOf(held.slice(start + at, start + at + quantity), type, order);
            const decoded = decode(answer.data, 2 * at, 1);
            // It is told by the fewest digits that are the same float32.
            const value =
              type === 'float32' && decoded !== undefined ? Math.fround(Number(decoded)) : decoded;
            const expected = type.startsWith('float') && !Number.isFinite(Number(text)) ? 'undefined' : text;
            assert.equal(String(value), expected, `${table} ${start + at} ${type} ${order}`);
          }
        }
      }
    }
  }
}

const FORM = {
  scale: 1,
  offset: 0,
  bits: null,
  enum: null,
  flags: null,
  text: null,
  invalid: [],
} as const;

async function readBits(master: Master): Promise<void> {
  for (const table of ['coil', 'discrete-input'] as const) {
    const held = table === 'coil' ? BITS : BITS.toReversed();
    for (const [address, quantity] of [
      [0, 1],
      [3, 13],
      [250, 2000],
    ] as const) {
      const answer = await master.client.request({ kind: 'read', unitId: 1, table, address, quantity }, 2000);
      assert.ok(answer.ok, JSON.stringify(answer));
      const bits = Array.from({ length: quantity }, (_, at) => ((answer.data[at >> 3] ?? 0) >> (at & 7)) & 1);
      assert.deepEqual(bits, held.slice(address, address + quantity));
    }
  }
}

/** Functions 5, 6, 15, 16, 22 and 23, each read back. */
async function write(master: Master): Promise<void> {
  const ok = async (request: Parameters<Master['client']['request']>[0]): Promise<Uint8Array> => {
    const answer = await master.client.request(request, 2000);
    assert.ok(answer.ok, `${JSON.stringify(request)} ${JSON.stringify(answer)}`);
    return answer.data;
  };
  const one = { unitId: 1, functionCode: 0 } as const;
  await ok({ kind: 'write-registers', ...one, address: 2000, registers: Uint8Array.of(1, 2) });
  await ok({ kind: 'write-registers', ...one, address: 2001, registers: Uint8Array.of(3, 4, 5, 6) });
  assert.deepEqual(await master.values(2000, 3), [0x0102, 0x0304, 0x0506]);
  const many = Uint8Array.from({ length: 246 }, (_, at) => at & 0xff);
  await ok({ kind: 'write-registers', ...one, address: 2100, registers: many });
  assert.deepEqual(await master.values(2222, 1), [(244 << 8) | 245]);
  await ok({ kind: 'mask-write', unitId: 1, address: 2000, andMask: 0xff00, orMask: 0x00aa });
  assert.deepEqual(await master.values(2000, 1), [0x01aa]);
  const both = await ok({
    kind: 'read-write',
    unitId: 1,
    address: 2001,
    quantity: 2,
    writeAddress: 2002,
    registers: Uint8Array.of(7, 8),
  });
  assert.deepEqual([...both], [3, 4, 7, 8]);
  const bits = Array.from({ length: 30 }, (_, at) => at % 3 === 0);
  await ok({ kind: 'write-bits', ...one, address: 4000, bits });
  await ok({ kind: 'write-bits', ...one, address: 4001, bits: [true] });
  const data = await ok({ kind: 'read', unitId: 1, table: 'coil', address: 4000, quantity: 4 });
  assert.deepEqual([...data], [0b1011]);
}

/** Functions 8 (loopback), 17 and 43/14, whose answers are as long as they are. */
async function ask(master: Master): Promise<void> {
  const raw = async (functionCode: number, ...data: number[]): Promise<Buffer> => {
    const request = { kind: 'raw', unitId: 1, functionCode, data: Uint8Array.from(data) } as const;
    let answer = await master.client.request(request, 300);
    // A peer with no real line between may answer within the request's own time on a line. If that is, byte for byte, what
    // it answered a moment ago, it is taken for a repetition, once: the unit is known to have no line from then on.
    if (!answer.ok && master.discards.includes('late')) answer = await master.client.request(request, 2000);
    assert.ok(answer.ok, `function ${functionCode} ${JSON.stringify(answer)}`);
    return Buffer.from(answer.data);
  };
  assert.deepEqual([...(await raw(8, 0, 0, 0x12, 0x34))], [0, 0, 0x12, 0x34]);
  const id = await raw(17);
  assert.equal(id[0], id.length - 1, 'as many bytes as it says');
  const identity = await raw(43, 14, 1, 0);
  for (const text of ['Acme', 'M7', '2.1']) assert.ok(identity.includes(text), identity.toString('latin1'));
}

for (const maker of ['pymodbus', 'libmodbus'] as const) {
  for (const kind of ['tcp', 'rtu'] as const) {
    test(`${maker} over ${kind}: registers of every type and order, bits, and writes`, async () => {
      const { server, master } = await connect(maker, kind);
      await compareAll(master);
      await readBits(master);
      await write(master);
      if (kind === 'tcp') {
        assert.deepEqual(mbpoll(server.port, 1, 'holding-register', 2000, 2), [0x01aa, 0x0304]);
        assert.deepEqual(mbpoll(server.port, 1, 'coil', 4000, 4), [1, 1, 0, 1]);
      }
      const illegal = await master.read(60_000, 2, 2000);
      assert.ok(!illegal.ok && illegal.error.exception === 2);
    });
  }
}

for (const kind of ['udp', 'rtu-over-tcp', 'ascii-over-tcp', 'ascii'] as const) {
  test(`pymodbus over ${kind}: registers of every type and order, bits, and writes`, async () => {
    const { master } = await connect('pymodbus', kind);
    await compareAll(master);
    await readBits(master);
    await write(master);
  });
}

for (const kind of ['tcp', 'udp', 'rtu', 'rtu-over-tcp', 'ascii', 'ascii-over-tcp'] as const) {
  test(`pymodbus over ${kind}: loopback, server identifier and device identification`, async () => {
    const { master } = await connect('pymodbus', kind);
    await ask(master);
    await ask(master);
  });
}
