/**
 * The quirks of real devices, each said in a gateway file, shown by a simulated device that has it, the value that is
 * published and the registers that a command leaves. docs/quirks.md is the page about them.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { connectAsync, type MqttClient } from 'mqtt';
import { PlantProcess } from '../../src/simulator/plantprocess.js';
import type { PlantSpec, UnitSpec, ValueSpec } from '../../src/simulator/spec.js';
import type { Exchange } from '../../src/simulator/transcript.js';
import { Daemon } from '../support/daemon.js';
import { pathOf, socketOf, writesOf } from '../support/plant.js';
import { until } from '../support/wait.js';

/** Holding registers from an address on, as hex words. */
function at(address: number, words: string, table: ValueSpec['table'] = 'holding-register'): ValueSpec {
  const hex = words.replaceAll(' ', '');
  return { table, address, quantity: hex.length / 4, script: 'fixed', hex };
}

function bits(table: 'coil' | 'discrete-input', address: number, quantity: number, hex: string): ValueSpec {
  return { table, address, quantity, script: 'fixed', hex };
}

interface Expected {
  /** Published values by tag, as JSON text of v. */
  readonly values?: Readonly<Record<string, string>>;
  /** Commands by tag, in order; then what registers hold: address and hex words. */
  readonly writes?: readonly (readonly [tag: string, json: string])[];
  readonly registers?: readonly (readonly [address: number, words: string])[];
  /** Write functions that were used, in order. */
  readonly functions?: readonly number[];
}

interface Quirk extends Expected {
  readonly name: string;
  readonly unit: Omit<UnitSpec, 'unitId'>;
  /** Keys of the device; its name, bus and unit are given. */
  readonly device: string;
}

const QUIRKS: readonly Quirk[] = [
  {
    name: '1 addresses counted from 1',
    unit: { values: [at(100, '0007')] },
    device: '{ numbering: one-based, tags: { v: { holding: 101, write: true } } }',
    values: { v: '7' },
    writes: [['v', '8']],
    registers: [[100, '0008']],
  },
  {
    name: '1 Modicon references',
    unit: { values: [at(100, '0007'), at(2, '0001', 'input-register'), bits('coil', 0, 1, '01')] },
    device:
      '{ tags: { v: { at: 40101, write: true }, w: { at: 400101 }, i: { at: 30003 }, c: { at: "00001" } } }',
    values: { v: '7', w: '7', i: '1', c: 'true' },
    writes: [['v', '9']],
    registers: [[100, '0009']],
  },
  {
    name: '2 another order in each tag, also of 64 bits',
    unit: { values: [at(0, '0001 86a0'), at(2, '86a0 0001'), at(4, '0100 a086'), at(6, 'a086 0100'), at(8, '89ab 4567 0123 0000'), at(12, '0000 0123 4567 89ab')] }, // prettier-ignore
    device: `{ tags: { a: { holding: 0, type: uint32, write: true }, b: { holding: 2, type: uint32, order: CDAB, write: true },
      c: { holding: 4, type: uint32, order: BADC, write: true }, d: { holding: 6, type: uint32, order: DCBA, write: true },
      e: { holding: 8, type: uint64, order: GHEFCDAB, write: true }, f: { holding: 12, type: uint64, order: ABCDEFGH } } }`,
    values: { a: '100000', b: '100000', c: '100000', d: '100000', e: '1250999896491', f: '1250999896491' },
    writes: [['a', '16909060'], ['b', '16909060'], ['c', '16909060'], ['d', '16909060'], ['e', '72623859790382856']], // prettier-ignore
    registers: [[0, '0102 0304 0304 0102 0201 0403 0403 0201 0708 0506 0304 0102']],
  },
  {
    name: '3 a float that needs a scale',
    unit: { values: [at(0, '450f d800')] },
    device: '{ tags: { v: { holding: 0, type: float32, scale: 0.1, write: true } } }',
    values: { v: '230.15' },
    writes: [['v', '231.5']],
    registers: [[0, '4510 b000']],
  },
  {
    name: '4 energies of 64 bits',
    unit: {
      values: [at(0, 'ffff ffff ffff fffe'), at(4, 'ffff ffff ffff ffff'), at(8, '40c8 1cd6 e631 f8a1')],
    },
    device: `{ tags: { u: { holding: 0, type: uint64, write: true }, s: { holding: 4, type: int64, write: true }, f: { holding: 8, type: float64 } } }`,
    values: { u: '18446744073709551614', s: '-1', f: '12345.6789' },
    writes: [['u', '18446744073709551609'], ['s', '-9007199254740993']], // prettier-ignore
    registers: [[0, 'ffff ffff ffff fff9 ffdf ffff ffff ffff']],
  },
  {
    name: '5 the scale in another register',
    unit: { values: [at(0, '0929 fffe'), at(10, '0014 0064')] },
    device: `{ tags: { a: { holding: 0, scale: { pow10_of: a_sf }, write: true }, a_sf: { holding: 1, type: int16 },
      p: { holding: 11, scale: { value_of: ct }, write: true }, ct: { holding: 10 } } }`,
    values: { a: '23.45', a_sf: '-2', p: '2000', ct: '20' },
    writes: [['a', '12.34'], ['p', '60']], // prettier-ignore
    registers: [[0, '04d2 fffe'], [10, '0014 0003']], // prettier-ignore
  },
  {
    name: '6 sentinels as wide as their type',
    unit: { values: [at(0, '8000 ffff 7fff ffff 7fc0 0000 7fff 8000 0000 ffff')] },
    device: `{ tags: { a: { holding: 0, type: int16, invalid: auto }, b: { holding: 1, invalid: [0xFFFF] }, c: { holding: 2, type: int32, invalid: [0x7FFFFFFF] },
      d: { holding: 4, type: float32 }, e: { holding: 6, type: int16, invalid: [0x8000] }, f: { holding: 7, type: int32, invalid: auto } } }`,
    values: { a: 'null', b: 'null', c: 'null', d: 'null', e: '32767', f: 'null' },
  },
  {
    name: '7 strings of all kinds',
    unit: { values: [at(0, '6548 6c6c 006f 2020'), at(10, '0041 0042 0000'), at(20, '4100 4200 ffff'), at(30, 'e4f6 2020'), at(40, '4e2d 6587 0000')] }, // prettier-ignore
    device: `{ tags: { swapped: { holding: 0, type: string, count: 4, bytes: swapped, write: true }, low: { holding: 10, type: string, count: 3, bytes: low, write: true },
      high: { holding: 20, type: string, count: 3, bytes: high }, latin: { holding: 30, type: string, count: 2, encoding: latin1, pad: 32, write: true },
      wide: { holding: 40, type: string, count: 3, encoding: utf-16 } } }`,
    values: { swapped: '"Hello"', low: '"AB"', high: '"AB"', latin: '"äö"', wide: '"中文"' },
    writes: [['swapped', '"abc"'], ['low', '"xy"'], ['latin', '"ü"']], // prettier-ignore
    registers: [[0, '6261 0063 0000 0000'], [10, '0078 0079 0000'], [30, 'fc20 2020']], // prettier-ignore
  },
  {
    name: '8 bits in a word, written by mask',
    unit: { values: [at(0, 'a5a8 5021 5001 8000 ffff ffff')] },
    device: `{ tags: { door: { holding: 0, bit: 3, write: { with: mask } }, mode: { holding: 0, bits: 4-6, enum: { 0: "off", 2: auto, 5: manual }, write: true },
      alarms: { holding: 1, flags: { 0: hot, 5: door, 7: fan }, write: true }, lamps: { holding: 2, type: uint32, flags: { 0: red, 16: green }, write: true },
      across: { holding: 4, type: uint32, bits: 12-20, write: true } } }`,
    values: { door: 'true', mode: '"auto"', alarms: '"hot,door"', lamps: '"green"', across: '511' },
    writes: [['door', 'false'], ['mode', '"manual"'], ['alarms', '"door,fan"'], ['lamps', '"red"'], ['across', '5']], // prettier-ignore
    registers: [[0, 'a5d0 50a0 5000 8001 ffe0 5fff']],
    functions: [22, 22, 22, 16, 16],
  },
  {
    name: '8 bits in a word of a device without mask writes',
    unit: { values: [at(0, 'a5a8')], functions: [3, 6] },
    device: `{ tags: { door: { holding: 0, bit: 3, write: true }, mode: { holding: 0, bits: 4-6, write: { with: read-modify-write } } } }`,
    writes: [['door', 'false'], ['mode', '5']], // prettier-ignore
    registers: [[0, 'a5d0']],
    functions: [22, 6, 6],
  },
  {
    name: '9 function 16 only, also for one register',
    unit: { values: [at(0, '0001')], functions: [3, 16] },
    device: '{ limits: { write: [16] }, tags: { v: { holding: 0, write: true } } }',
    writes: [['v', '2']],
    registers: [[0, '0002']],
    functions: [16],
  },
  {
    name: '9 function 6 only, also for two registers',
    unit: { values: [at(0, '0000 0001')], functions: [3, 6] },
    device: '{ tags: { v: { holding: 0, type: uint32, write: { functions: [6] } } } }',
    writes: [['v', '65538']],
    registers: [[0, '0001 0002']],
    functions: [6, 6],
  },
  {
    name: '9 function 15 only for coils',
    unit: { values: [bits('coil', 4, 1, '00')], functions: [1, 15] },
    device: '{ limits: { write: [15] }, tags: { v: { coil: 4, write: true } } }',
    values: { v: 'false' },
    writes: [['v', 'true']],
    functions: [15],
  },
  {
    name: '10 few registers at once, said or found out',
    unit: { values: [at(0, '0001 0002 0003 0004 0005 0006 0007 0008')], registersMax: 3 },
    device:
      '{ tags: { a: { holding: 0 }, b: { holding: 2 }, c: { holding: 4 }, d: { holding: 6, type: uint32 } } }',
    values: { a: '1', b: '3', c: '5', d: '458760' },
  },
  {
    name: '11 even addresses, and four registers at least',
    unit: { values: [at(0, '0001 0002 0003 0004 0005 0006')], registersMin: 4, limitException: 3 },
    device: '{ limits: { registers_min: 4, align: 2 }, tags: { a: { holding: 3, write: true }, b: { holding: 5 }, c: { holding: 4, bit: 1, write: { with: read-modify-write } } } }', // prettier-ignore
    values: { a: '4', b: '6' },
    writes: [['a', '9'], ['c', 'true']], // prettier-ignore
    registers: [[0, '0001 0002 0003 0009 0007 0006']],
  },
  {
    name: '11 exactly two registers in each request',
    unit: { values: [at(0, '0001 0002 0003 0004')], registersMin: 2, registersMax: 2 },
    device:
      '{ limits: { registers: 2, registers_min: 2 }, tags: { a: { holding: 0 }, b: { holding: 1 }, c: { holding: 2, type: uint32 } } }',
    values: { a: '1', b: '2', c: '196612' },
  },
  {
    name: '11 coils are read from address 0 on',
    unit: { values: [bits('coil', 0, 40, '0000000102')], bitsFromZero: true },
    device:
      '{ limits: { bits_from_zero: true }, tags: { a: { coil: 24 }, b: { coil: 33, write: true }, c: { coil: 32, write: true } } }',
    values: { a: 'true', b: 'true', c: 'false' },
    writes: [['b', 'false'], ['c', 'true']], // prettier-ignore
  },
  {
    name: '12 addresses that must not be read, said or found out',
    unit: { values: [at(0, '0001 0000 0002'), at(10, '0003 0000 0004'), at(20, '0005')], holes: [{ table: 'holding-register', address: 1, quantity: 1 }, { table: 'holding-register', address: 11, quantity: 1 }, { table: 'holding-register', address: 30, quantity: 1 }] }, // prettier-ignore
    device: `{ forbidden: ["holding:1"], tags: { a: { holding: 0 }, b: { holding: 2 }, c: { holding: 10 }, d: { holding: 12 }, e: { holding: 20 }, gone: { holding: 30 } } }`,
    values: { a: '1', b: '2', c: '3', d: '4', e: '5', gone: 'null' },
  },
  {
    name: '16 unit 255',
    unit: { values: [at(0, '0007')] },
    device: '{ unit_id: 255, tags: { v: { holding: 0, write: true } } }',
    values: { v: '7' },
    writes: [['v', '8']],
    registers: [[0, '0008']],
  },
  {
    name: '16 unit 0 of a device on TCP',
    unit: { values: [at(0, '0007')] },
    device: '{ unit_id: 0, tags: { v: { holding: 0, write: true } } }',
    values: { v: '7' },
    writes: [['v', '8']],
    registers: [[0, '0008']],
  },
  {
    name: '17 written elsewhere than it is read',
    unit: { values: [at(0, '0007', 'input-register')] },
    device: '{ tags: { v: { input: 0, scale: 0.1, write: { holding: 2000, verify: false } } } }',
    values: { v: '0.7' },
    writes: [['v', '1.2']],
    registers: [[2000, '000c']],
  },
  {
    name: '17 a pulse',
    unit: { values: [at(0, '0000'), bits('coil', 0, 1, '00')] },
    device:
      '{ tags: { start: { holding: 0, write: { pulse: 100ms } }, reset: { coil: 0, write: { pulse: 100ms } }, inverse: { holding: 1, write: { pulse: 100ms, rest: 9 } } } }',
    writes: [['start', '1'], ['reset', 'true'], ['inverse', '0']], // prettier-ignore
    registers: [[0, '0000 0009']],
    functions: [6, 6, 5, 5, 6, 6],
  },
  {
    name: '17 an unlock code before, a commit after',
    unit: {
      values: [at(100, '0000')],
      locks: [{ register: 9000, code: 0x5aa5, guards: { address: 100, quantity: 10 } }],
    },
    device: `{ tags: { locked: { holding: 100, write: { verify: false } }, v: { holding: 101, write: { before: [{ holding: 9000, value: 0x5AA5 }], after: [{ holding: 9001, value: [1, 2] }, { coil: 7, value: true }] } } } }`,
    writes: [['locked', '5 -> EXC_4'], ['v', '6']], // prettier-ignore
    registers: [[100, '0000 0006'], [9001, '0001 0002']], // prettier-ignore
    functions: [6, 6, 6, 16, 5],
  },
  {
    name: '19 addresses by parameter number',
    unit: { values: [at(16_099, '0007')] },
    device: '{ tags: { v: { holding: "1610 * 10 - 1", write: true } } }',
    values: { v: '7' },
    writes: [['v', '8']],
    registers: [[16_099, '0008']],
  },
  {
    name: '19 pages: the number is written, the data read',
    unit: { pages: [{ register: 4000, address: 4001, values: { 1: [11, 12], 2: [21, 22], 3: [31, 32] } }] },
    device: `{ tags: { a: { holding: 4001, select: { holding: 4000, value: 1 } }, b: { holding: 4002, select: { holding: 4000, value: 2 } }, c: { holding: 4001, type: uint32, select: { holding: 4000, value: 3 }, write: true } } }`,
    values: { a: '11', b: '22', c: '2031648' },
    writes: [['c', '65538']],
    registers: [],
  },
  {
    name: '20 odd encodings',
    unit: { values: [at(0, '1234 8005 0001 04d2 bfa0 0000 0019 0b16 150e 1e00'), at(20, '07ea 000b 0016 0015 001e 0005'), at(30, '151e'), at(32, '6923 b1c5')] }, // prettier-ignore
    device: `{ tags: { bcd: { holding: 0, type: bcd16, write: true }, torque: { holding: 1, type: sign_magnitude16, write: true }, hours: { holding: 2, type: mod10k32, write: true },
      factor: { holding: 4, type: pf4q }, clock: { holding: 20, type: datetime6, write: true }, time: { holding: 30, type: hhmm }, since: { holding: 32, type: unixtime } } }`,
    values: { bcd: '1234', torque: '-5', hours: '11234', factor: '-0.75', clock: '"2026-11-22T21:30:05"', time: '"21:30"', since: '"2025-11-24T01:15:49Z"' }, // prettier-ignore
    writes: [['bcd', '9876'], ['torque', '-300'], ['hours', '50007'], ['clock', '"2027-01-02T03:04:05"']], // prettier-ignore
    registers: [[0, '9876 812c 0005 0007'], [20, '07eb 0001 0002 0003 0004 0005']], // prettier-ignore
  },
  {
    name: '20 whatever else: calculated from other tags',
    unit: { values: [at(0, '08fc 0019 ffff 0002')] },
    device: `{ tags: { voltage: { holding: 0, scale: 0.1 }, current: { holding: 1, scale: 0.1 }, gone: { holding: 2, invalid: auto }, mode: { holding: 3, enum: { 1: heat, 2: cool } },
      power: { value: "voltage * current" }, twice: { value: "power * 2" }, lost: { value: "voltage + gone" }, sign: { value: 'mode == "cool" ? -1 : 1' } },
      groups: { sums: { consistent: true, tags: { a: { holding: 0 }, b: { holding: 1 }, total: { value: "a + b" } } } } }`,
    values: { power: '575', twice: '1150', lost: 'null', sign: '-1', 'sums/total': '2325' },
  },
];

/** Stands for the file that all of them share: one bus, one device each. */
class Rig {
  daemon!: Daemon;
  plant!: PlantProcess;
  client!: MqttClient;
  readonly latest = new Map<string, string>();
  readonly history: { topic: string; payload: string }[] = [];
  readonly #acks: { topic: string; payload: string }[] = [];

  async start(spec: PlantSpec, configOf: (plant: PlantProcess) => Promise<string>): Promise<void> {
    this.plant = await PlantProcess.start(spec);
    this.daemon = await new Daemon(await configOf(this.plant)).start();
    this.client = await connectAsync(`mqtt://127.0.0.1:${this.daemon.port()}`);
    this.client.on('message', (topic, bytes) => {
      const payload = bytes.toString();
      if (topic.includes('/ack/')) this.#acks.push({ topic, payload });
      else {
        this.latest.set(topic.slice('holdfast/gw/'.length), payload);
        this.history.push({ topic, payload });
      }
    });
    await this.client.subscribeAsync(['holdfast/gw/data/#', 'holdfast/gw/batch/#', 'holdfast/gw/ack/#']);
  }

  async stop(): Promise<void> {
    await this.client?.endAsync(true);
    await this.daemon?.remove();
    await this.plant?.stop();
  }

  async command(tag: string, json: string): Promise<Record<string, unknown>> {
    const topic = `holdfast/gw/ack/${tag}`;
    const count = this.#acks.filter((ack) => ack.topic === topic).length;
    await this.client.publishAsync(`holdfast/gw/set/${tag}`, json, { qos: 1 });
    const ack = await until(`the answer to ${tag} = ${json}`, () => this.#acks.filter((one) => one.topic === topic)[count]); // prettier-ignore
    return JSON.parse(ack.payload) as Record<string, unknown>;
  }

  /** Waits until a tag's value is this JSON text; good, or bad where there is none, unless something else is said. */
  async value(tag: string, json: string, says = `"q":"${json === 'null' ? 'bad' : 'good'}"`): Promise<void> {
    const wanted = `{"v":${json},${says}`;
    const newest = (): string => this.latest.get(`data/${tag}`) ?? '';
    await until(tag, () => newest().startsWith(wanted)).catch(() => assert.fail(`${tag} is ${newest()}, not ${wanted}`)); // prettier-ignore
  }

  async writes(bus: string, unitId: number): Promise<Exchange[]> {
    return writesOf(await this.plant.exchanges(bus)).filter((exchange) => exchange.unitId === unitId);
  }
}

const head = `version: 1
gateway: { id: gw }
broker: { listeners: [{ protocol: mqtt, host: 127.0.0.1, port: 0 }], anonymous: true, store: memory }
defaults: { rate: 300ms }
`;

describe('quirks of devices on TCP', () => {
  const rig = new Rig();
  const unitOf = ({ device }: Quirk, index: number): number =>
    Number(/unit_id: (\d+)/.exec(device)?.[1] ?? index + 1);

  before(() =>
    rig.start(
      { seed: 1, buses: [{ name: 'field', link: { kind: 'tcp' }, units: QUIRKS.map((quirk, index) => ({ ...quirk.unit, unitId: unitOf(quirk, index) })) }] }, // prettier-ignore
      async (plant) => {
        const { port } = await socketOf(plant, 'field');
        const devices = QUIRKS.map((quirk, index) => {
          const unit = quirk.device.includes('unit_id') ? '' : `unit_id: ${index + 1}, `;
          return `  q${index}: { bus: field, ${unit}${quirk.device.slice(1)}\n`;
        });
        return `${head}buses:\n  field: { protocol: tcp, host: 127.0.0.1, port: ${port} }\ndevices:\n${devices.join('')}`;
      },
    ),
  );
  after(() => rig.stop());

  QUIRKS.forEach((quirk, index) => {
    test(quirk.name, async () => {
      const unitId = unitOf(quirk, index);
      for (const [tag, json] of Object.entries(quirk.values ?? {})) await rig.value(`q${index}/${tag}`, json);
      for (const [tag, command] of quirk.writes ?? []) {
        const [json = '', code] = command.split(' -> ');
        const ack = await rig.command(`q${index}/${tag}`, json);
        assert.equal(ack['code'] ?? 'OK', code ?? 'OK', `${tag}: ${JSON.stringify(ack)}`);
      }
      for (const [address, words] of quirk.registers ?? []) {
        const hex = words.replaceAll(' ', '');
        assert.equal(await rig.plant.peek('field', unitId, 'holding-register', address, hex.length / 4), hex);
      }
      if (quirk.functions !== undefined)
        assert.deepEqual((await rig.writes('field', unitId)).map(({ functionCode }) => functionCode), quirk.functions); // prettier-ignore
    });
  });

  test('5 factor and value come in one request; 10 to 12 settle without asking for what is refused', async () => {
    const unit = (name: string): number => QUIRKS.findIndex((quirk) => quirk.name.startsWith(name)) + 1;
    await rig.plant.clear();
    const reads = async (unitId: number): Promise<Exchange[]> =>
      (await rig.plant.exchanges('field')).filter((exchange) => exchange.unitId === unitId && exchange.functionCode < 5); // prettier-ignore
    await until('some more reads', async () => (await reads(unit('10'))).length > 12);
    for (const { address, quantity } of await reads(unit('5')))
      assert.ok((address <= 0 && quantity >= 2) || (address <= 10 && address + quantity >= 12), `${address}+${quantity}`); // prettier-ignore
    for (const name of ['10', '11 even', '11 exactly', '11 coils', '12'])
      assert.deepEqual((await reads(unit(name))).filter(({ exception }) => exception !== 0), [], name); // prettier-ignore
  });
});

describe('quirks of time and grouping', () => {
  const rig = new Rig();
  before(() =>
    rig.start(
      {
        seed: 1,
        buses: [
          { name: 'shy', link: { kind: 'tcp' }, faults: [{ name: 'one-client' }, { name: 'idle-close', ms: 900 }], units: [{ unitId: 1, values: [at(0, '0001'), at(200, '0002')] }] }, // prettier-ignore
          { name: 'plc', link: { kind: 'tcp' }, units: [
            { unitId: 1, values: [{ table: 'holding-register', address: 0, quantity: 4, script: 'stamp32' }, at(10, '0003 4120 0000')] },
            { unitId: 2, values: [at(0, 'fff0')] },
            { unitId: 3, watchdogs: [{ register: 10, ms: 2500, fallback: 0 }, { register: 20, ms: 2500, fallback: 0 }], values: [at(0, '0001')] },
          ] }, // prettier-ignore
        ],
      },
      async (plant) => {
        const [shy, plc] = [await socketOf(plant, 'shy'), await socketOf(plant, 'plc')];
        return `${head}buses:
  shy: { protocol: tcp, host: 127.0.0.1, port: ${shy.port}, after_connect: 300ms, pace: 60ms, close_idle: 400ms, timeout: 3s }
  plc: { protocol: tcp, host: 127.0.0.1, port: ${plc.port} }
devices:
  shy: { bus: shy, unit_id: 1, limits: { registers: 50 }, rate: 700ms, report: always, tags: { a: { holding: 0 }, b: { holding: 200 } } }
  grouped:
    bus: plc
    unit_id: 1
    groups:
      pair: { consistent: true, tags: { a: { holding: 0, type: uint32 }, b: { holding: 2, type: uint32 } } }
      recipe: { consistent: true, tags: { number: { holding: 10, write: true }, volume: { holding: 11, type: float32, write: { min: 0, max: 100 } } } }
  counter: { bus: plc, unit_id: 2, tags: { count: { holding: 0, counter: { modulo: 65536 }, plausible: { max_per_second: 100 } } } }
  drive:
    bus: plc
    unit_id: 3
    tags:
      state: { holding: 0 }
      power: { holding: 10, write: { refresh: 1s, hold: 4s, fallback: 7 } }
      heartbeat: { holding: 20, write: { refresh: 1s, initial: 1 } }
      worn: { holding: 30, write: { max_per_hour: 2 } }
`;
      },
    ),
  );
  after(() => rig.stop());

  test('13 values that belong together are one JSON, and never torn', async () => {
    const batch = await until('a batch', () => rig.latest.get('batch/grouped/pair'));
    const { v, q } = JSON.parse(batch) as { v: Record<string, number>; q: string };
    assert.equal(q, 'good');
    assert.deepEqual(Object.keys(v), ['pair/a', 'pair/b']);
    const exchanges = (await rig.plant.exchanges('plc')).filter(
      ({ unitId, address }) => unitId === 1 && address < 4,
    );
    assert.ok(exchanges.every(({ address, quantity }) => address === 0 && quantity >= 4));
  });

  test('a recipe is written in one request, or not at all', async () => {
    const registers = (): Promise<string> => rig.plant.peek('plc', 1, 'holding-register', 10, 3);
    const before = (await rig.writes('plc', 1)).length;
    const ack = await rig.command('grouped/recipe', '{"v":{"volume":2.5,"number":4},"id":7}');
    assert.deepEqual([ack['ok'], ack['id'], ack['v']], [true, 7, { volume: 2.5, number: 4 }]);
    assert.equal(await registers(), '000440200000');
    assert.equal(JSON.parse(await until('the new batch', () => { const batch = rig.latest.get('batch/grouped/recipe'); return batch?.includes('2.5') ? batch : null; })).v['recipe/number'], 4); // prettier-ignore
    assert.equal((await rig.command('grouped/recipe', '{"v":{"number":5,"volume":101}}'))['code'], 'RANGE');
    assert.equal((await rig.command('grouped/recipe', '{"v":{"number":5,"weight":1}}'))['code'], 'TYPE');
    assert.equal((await rig.command('grouped/recipe', '5'))['code'], 'TYPE');
    assert.equal((await rig.command('grouped/recipe', '{"v":{"recipe/number":6}}'))['ok'], true);
    assert.equal(await registers(), '000640200000');
    const writes = (await rig.writes('plc', 1)).slice(before);
    assert.deepEqual(writes.map(({ functionCode, address, quantity }) => [functionCode, address, quantity]), [[16, 10, 3], [6, 10, 1]]); // prettier-ignore
  });

  test('14 a device that takes one client, wants pauses and closes what is idle is read without a fault', async () => {
    await until('some polls', () => rig.history.filter(({ topic }) => topic.endsWith('/shy/b')).length >= 4);
    const exchanges = await rig.plant.exchanges('shy');
    exchanges.slice(1).forEach((exchange, index) => {
      const before = exchanges[index];
      if (before === undefined || before.connection !== exchange.connection) return;
      assert.ok(exchange.requestedAtMs - before.answeredAtMs >= 55, 'the pause between two requests');
    });
    const counts = await rig.plant.counts('shy');
    assert.ok(counts.connections >= 2, 'it closes the idle connection itself and dials again');
    assert.deepEqual([counts.resets, counts.overlaps], [0, 0]);
    assert.ok(rig.history.filter(({ topic }) => topic.includes('/shy/')).every(({ payload }) => payload.includes('"q":"good"'))); // prettier-ignore
  });

  test('18 what a device forgets is written again, falls back when the order is old, and a heartbeat needs no order', async () => {
    const peek = (address: number): Promise<string> =>
      rig.plant.peek('plc', 3, 'holding-register', address, 1);
    await until('the heartbeat', async () => (await peek(20)) === '0001');
    assert.equal((await rig.command('drive/power', '55'))['ok'], true);
    const startMs = performance.now();
    await until('the value to be written again', async () => (await rig.writes('plc', 3)).filter(({ address, request }) => address === 10 && request.endsWith('0037')).length >= 3); // prettier-ignore
    assert.equal(await peek(10), '0037', 'the device did not fall back');
    await until('the fallback', async () => (await peek(10)) === '0007');
    assert.ok(performance.now() - startMs > 2500, 'held for a while');
    assert.equal(await peek(20), '0001');
  });

  test('20 a counter that rolls over is believed, one that jumps is not', async () => {
    await rig.value('counter/count', '65520');
    await rig.plant.poke('plc', 2, 'holding-register', 0, 1, '0005');
    await rig.value('counter/count', '5');
    await rig.plant.poke('plc', 2, 'holding-register', 0, 1, '8000');
    await rig.value('counter/count', '32768', '"q":"uncertain","e":"implausible"');
  });

  test('memory that wears is not written more often than it may be', async () => {
    assert.equal((await rig.command('drive/worn', '1'))['ok'], true);
    assert.equal((await rig.command('drive/worn', '2'))['ok'], true);
    assert.equal((await rig.command('drive/worn', '3'))['code'], 'BUSY');
  });

  test('what is kept up falls back when the gateway stops', async () => {
    assert.equal((await rig.command('drive/power', '66'))['ok'], true);
    assert.equal(await rig.daemon.stop(), 0);
    assert.equal(await rig.plant.peek('plc', 3, 'holding-register', 10, 1), '0007');
  });
});

describe('quirks of lines', () => {
  const rig = new Rig();
  const line = { baud: 115_200 };
  before(() =>
    rig.start(
      {
        seed: 1,
        buses: [
          { name: 'slow', link: { kind: 'rtu', line }, units: [1, 2].map((unitId) => ({ unitId, deafAfterSwitchMs: 40, values: [at(0, `000${unitId}`)] })) }, // prettier-ignore
          {
            name: 'echo',
            link: { kind: 'rtu', line: { ...line, hasEcho: true } },
            units: [{ unitId: 1, values: [at(0, '0007')] }],
          },
        ],
      },
      async (plant) => `${head}buses:
  slow: { protocol: rtu, path: ${await pathOf(plant, 'slow')}, baud: 115200, format: 8N1, silence: 5ms, turnaround: 50ms, after_switch: 50ms }
  echo: { protocol: rtu, path: ${await pathOf(plant, 'echo')}, baud: 115200, format: 8N1, echo: true }
devices:
  first: { bus: slow, unit_id: 1, tags: { v: { holding: 0, report: always }, all: { holding: 9, write: { broadcast: true } } } }
  second: { bus: slow, unit_id: 2, tags: { v: { holding: 0, report: always } } }
  loud: { bus: echo, unit_id: 1, tags: { v: { holding: 0, write: true } } }
`,
    ),
  );
  after(() => rig.stop());

  test('15 units that miss what comes right after another are given a pause, and an echo is no answer', async () => {
    await rig.value('first/v', '1');
    await rig.value('second/v', '2');
    await rig.value('loud/v', '7');
    await rig.plant.clear();
    await until('further polls', async () => (await rig.plant.counts('slow')).requests >= 8);
    const exchanges = await rig.plant.exchanges('slow');
    assert.deepEqual(exchanges.filter(({ fault }) => fault !== ''), []); // prettier-ignore
    assert.equal((await rig.plant.counts('slow')).silenceViolations, 0);
    assert.equal((await rig.command('loud/v', '8'))['ok'], true);
    assert.equal(await rig.plant.peek('echo', 1, 'holding-register', 0, 1), '0008');
  });

  test('16 a broadcast is written to every unit, and nobody is waited for', async () => {
    assert.equal((await rig.command('first/all', '77'))['ok'], true);
    for (const unitId of [1, 2])
      assert.equal(await rig.plant.peek('slow', unitId, 'holding-register', 9, 1), '004d');
    assert.equal((await rig.writes('slow', 0)).length, 1);
  });
});
