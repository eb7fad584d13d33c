import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { connectAsync, type MqttClient } from 'mqtt';
import { Daemon } from '../support/daemon.js';
import { type Maker, mbpoll, ModbusServer, type Place } from '../support/modbusserver.js';
import { PtyPair } from '../support/ptypair.js';
import {
  NUMBER_TYPES,
  type NumberType,
  type Order,
  ORDERS,
  publishedText,
  randomWords,
  textOf,
} from '../support/values.js';
import { until } from '../support/wait.js';

const UNIT = 7;
const BAUD = 115_200;

interface NumberTag {
  readonly name: string;
  readonly table: 'holding' | 'input';
  readonly address: number;
  readonly type: NumberType;
  readonly order: Order;
  readonly registers: readonly number[];
}

/** One tag of each type, order and table, with gaps between some, over registers that are random but finite as floats. */
function numberTags(seed: number): NumberTag[] {
  const word = randomWords(seed);
  const tags: NumberTag[] = [];
  for (const table of ['holding', 'input'] as const) {
    let address = word() % 50;
    for (const type of Object.keys(NUMBER_TYPES) as NumberType[]) {
      for (const order of ORDERS) {
        let registers: number[];
        do registers = Array.from({ length: NUMBER_TYPES[type] }, word);
        while (!Number.isFinite(Number(textOf(registers, type, order))));
        tags.push({ name: `${table}-${type}-${order}`, table, address, type, order, registers });
        address += registers.length + (word() % 4 === 0 ? word() % 40 : 0);
      }
    }
  }
  return tags;
}

const bits = (seed: number): number[] => {
  const word = randomWords(seed);
  return Array.from({ length: 20 }, () => word() & 1);
};

function configOf(bus: string, tags: readonly NumberTag[]): string {
  const lines = tags.map(
    ({ name, table, address, type, order }) =>
      `      ${name}: { ${table}: ${address}, type: ${type}, order: ${order}, rate: 500ms, write: ${table === 'holding'} }`,
  );
  const bitLines = bits(1).flatMap((_, index) => [
    `      coil-${index}: { coil: ${100 + index}, rate: 500ms, write: true }`,
    `      discrete-${index}: { discrete: ${200 + index}, rate: 500ms }`,
  ]);
  return `
version: 1
gateway: { id: gw }
broker:
  listeners: [{ protocol: mqtt, host: 127.0.0.1, port: 0 }]
  anonymous: true
  store: memory
buses:
  field: ${bus}
devices:
  dut:
    bus: field
    unit_id: ${UNIT}
    tags:
${[...lines, ...bitLines].join('\n')}
      text: { holding: 900, type: string, count: 4, rate: 500ms }
      flag: { holding: 910, bit: 3, rate: 500ms }
      mode: { holding: 911, bits: 4-6, enum: { 0: "off", 5: auto }, rate: 500ms }
      scaled: { holding: 912, type: int16, scale: 0.1, offset: 5, rate: 500ms, write: { min: -10, max: 50 } }
`;
}

const SETUPS: { maker: Maker; line: 'tcp' | 'rtu' }[] = [
  { maker: 'pymodbus', line: 'tcp' },
  { maker: 'pymodbus', line: 'rtu' },
  { maker: 'libmodbus', line: 'tcp' },
  { maker: 'libmodbus', line: 'rtu' },
];

SETUPS.forEach(({ maker, line }, number) => {
  describe(`a ${maker} server over ${line === 'tcp' ? 'TCP' : 'a pseudo-terminal'}`, () => {
    const tags = numberTags(number + 1);
    const pty = new PtyPair();
    const place: Place = line === 'tcp' ? { kind: 'tcp' } : { kind: 'rtu', path: pty.far, baud: BAUD };
    const blocks = (table: 'holding' | 'input') =>
      Object.fromEntries(
        tags.filter((tag) => tag.table === table).map((tag) => [tag.address, tag.registers]),
      );
    const server = new ModbusServer(maker, place, UNIT, {
      'holding-register': { ...blocks('holding'), 900: [0x4869, 0x2121, 0, 0], 910: [0b1000, 0x57, 0xffff] },
      'input-register': blocks('input'),
      coil: { 100: bits(number) },
      'discrete-input': { 200: bits(number + 50) },
    });
    let daemon: Daemon;
    let client: MqttClient;
    const latest = new Map<string, string>();
    const acks: { topic: string; payload: string }[] = [];

    before(async () => {
      if (line === 'rtu') await pty.plugIn();
      await server.start();
      const bus =
        line === 'tcp'
          ? `{ protocol: tcp, host: 127.0.0.1, port: ${server.port} }`
          : `{ protocol: rtu, path: ${pty.near}, baud: ${BAUD}, format: 8N1 }`;
      daemon = await new Daemon(configOf(bus, tags)).start();
      client = await connectAsync(`mqtt://127.0.0.1:${daemon.port()}`, { protocolVersion: 5 });
      client.on('message', (topic, payload) => {
        if (topic.includes('/ack/')) acks.push({ topic, payload: payload.toString() });
        else latest.set(topic.slice('holdfast/gw/data/dut/'.length), payload.toString());
      });
      await client.subscribeAsync(['holdfast/gw/data/#', 'holdfast/gw/ack/#'], { qos: 1 });
    });
    after(async () => {
      await client?.endAsync(true);
      await daemon?.remove();
      await server.kill();
      await pty.remove();
    });

    const command = async (tag: string, value: string): Promise<Record<string, unknown>> => {
      const topic = `holdfast/gw/ack/dut/${tag}`;
      const count = acks.filter((ack) => ack.topic === topic).length;
      await client.publishAsync(`holdfast/gw/set/dut/${tag}`, value, { qos: 1 });
      const answer = await until(
        `the answer to ${tag} = ${value}`,
        () => acks.filter((ack) => ack.topic === topic)[count],
      );
      return JSON.parse(answer.payload) as Record<string, unknown>;
    };

    test('every number is published as the registers say, in every type and order', async () => {
      await until('every tag', () => tags.every(({ name }) => latest.has(name)));
      for (const { name, type, order, registers } of tags) {
        const payload = latest.get(name) ?? '';
        assert.equal(publishedText(payload, type), textOf(registers, type, order), `${name}: ${payload}`);
        assert.match(payload, /"q":"good"/);
      }
    });

    test('bits, texts, bit fields and scaled values are published as the device holds them', async () => {
      const value = async (name: string): Promise<unknown> =>
        (JSON.parse(await until(name, () => latest.get(name))) as { v: unknown }).v;
      for (const [index, bit] of bits(number).entries())
        assert.equal(await value(`coil-${index}`), bit === 1);
      for (const [index, bit] of bits(number + 50).entries())
        assert.equal(await value(`discrete-${index}`), bit === 1);
      assert.equal(await value('text'), 'Hi!!');
      assert.equal(await value('flag'), true);
      assert.equal(await value('mode'), 'auto');
      assert.equal(await value('scaled'), 4.9);
    });

    test('a command changes the registers, as a read by mbpoll confirms', async () => {
      const written: [NumberTag, string][] = [];
      for (const type of ['int16', 'uint32', 'float32', 'uint64'] as const) {
        for (const order of ORDERS) {
          const tag = tags.find((one) => one.table === 'holding' && one.type === type && one.order === order);
          assert.ok(tag);
          const text = {
            int16: '-1234',
            uint32: '4000000001',
            float32: '-1.5',
            uint64: '18446744073709551609',
          }[type];
          const answer = await command(tag.name, text);
          assert.equal(answer['ok'], true, JSON.stringify(answer));
          written.push([tag, text]);
        }
      }
      assert.equal((await command('coil-3', 'true'))['ok'], true);
      assert.equal((await command('coil-4', 'false'))['ok'], true);
      assert.equal((await command('scaled', '12.5'))['ok'], true);
      const read =
        line === 'tcp'
          ? (address: number, count: number) => mbpoll(server.port, UNIT, 'holding-register', address, count)
          : await lineReader(daemon, pty);
      for (const [tag, text] of written) {
        assert.equal(textOf(read(tag.address, tag.registers.length), tag.type, tag.order), text, tag.name);
      }
      assert.deepEqual(read(912, 1), [75]);
    });
  });
});

/** A line is one conversation: the gateway stops, and then mbpoll reads over the same pseudo-terminal. */
async function lineReader(
  daemon: Daemon,
  pty: PtyPair,
): Promise<(address: number, count: number) => number[]> {
  assert.equal(await daemon.stop(), 0);
  const read = (address: number, count: number): number[] => {
    const args = ['-m', 'rtu', '-b', String(BAUD), '-P', 'none', '-a', String(UNIT), '-t', '4', '-0', '-1'];
    const out = execFileSync('mbpoll', [...args, '-r', String(address), '-c', String(count), pty.near], {
      encoding: 'utf8',
    });
    return [...out.matchAll(/^\[\d+\]:\s+(\d+)/gm)].map((match) => Number(match[1]));
  };
  // The answer to the gateway's last request may still come, and mbpoll would take it for its own.
  spawnSync('timeout', ['0.5', 'cat', pty.near]);
  return read;
}
