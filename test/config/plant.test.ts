/** What a gateway file means: the Plant that the other rooms read. */
import assert from 'node:assert/strict';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { loadHere } from '../../src/config/loadplant.js';
import type { Plant, Tag } from '../../src/config/plant.js';
import { filtersOfValues } from '../../src/config/topics.js';
import { packageFolder } from '../../src/entry.js';
import { ORDER_NAMES, writeRaw } from '../../src/modbus/values.js';
import { compileDecode } from '../../src/poller/decode.js';

const folder = mkdtempSync(join(tmpdir(), 'holdfast-plant-'));
after(() => rmSync(folder, { recursive: true }));
mkdirSync(join(folder, 'devices'));

const HEAD = 'version: 1\ngateway: { id: gw }\nbroker: { anonymous: true }\n';
const PLC = 'buses: { plc: { protocol: tcp, host: 127.0.0.1 } }\n';

function plantOf(text: string): Plant {
  const file = join(folder, 'config.yaml');
  writeFileSync(file, text);
  const { plant, problems } = loadHere(file, {});
  assert.deepEqual(
    problems.filter(({ severity }) => severity === 'error'),
    [],
  );
  assert.ok(plant);
  return plant;
}

function tagsOf(text: string): Map<string, Tag> {
  return new Map(plantOf(text).tags.map((tag) => [`${tag.device.name}/${tag.name}`, tag]));
}

/** Tags of one device d on a TCP bus. */
function tagsOfDevice(tags: string, more = ''): Map<string, Tag> {
  const all = tagsOf(
    `${HEAD}${PLC}devices:\n  d:\n    bus: plc\n    unit_id: 1\n${more}    tags:\n${tags.trim().replace(/^ */gm, '      ')}\n`,
  );
  return new Map([...all].map(([name, tag]) => [name.slice(2), tag]));
}

test('the public contract loads as it is written', () => {
  const { plant } = loadHere(join(packageFolder(), 'test/config/cases/contract/config.yaml'), {});
  assert.ok(plant);
  const tag = (name: string): Tag => plant.tags.find((one) => one.name === name) ?? assert.fail(name);
  const { temperature, energy, running, alarm, setpoint, mode } = Object.fromEntries(
    plant.tags.map((one) => [one.name, one]),
  );
  assert.deepEqual(
    [
      temperature?.table,
      temperature?.address,
      temperature?.type,
      temperature?.scale,
      temperature?.intervalMs,
      temperature?.unit,
    ],
    ['input-register', 0, 'int16', 0.1, 1000, '°C'],
  );
  assert.deepEqual(
    [
      temperature?.deadband,
      temperature?.heartbeatMs,
      temperature?.report,
      temperature?.payload,
      temperature?.qos,
    ],
    [{ kind: 'absolute', value: 0.2 }, 60_000, 'change', 'vqt', 1],
  );
  assert.deepEqual([energy?.quantity, energy?.order, energy?.intervalMs], [4, 'CDAB', 300_000]);
  assert.deepEqual([running?.table, running?.type, tag('door').table], ['coil', 'bool', 'discrete-input']);
  assert.deepEqual([alarm?.type, alarm?.bits, alarm?.write], ['bool', { first: 3, last: 3 }, null]);
  assert.deepEqual(
    [setpoint?.write?.min, setpoint?.write?.max, setpoint?.write?.address, setpoint?.write?.verify],
    [0, 50, 10, true],
  );
  assert.deepEqual(
    [mode?.type, mode?.bits, mode?.enum?.map(({ text }) => text)],
    ['uint16', { first: 4, last: 6 }, ['off', 'auto', 'manual']],
  );
  assert.deepEqual(
    [tag('setpoint').topic, tag('setpoint').setTopic, tag('setpoint').ackTopic, tag('setpoint').getTopic],
    ['data', 'set', 'ack', 'get'].map((verb) => `holdfast/plant-7/${verb}/press1/setpoint`),
  );
  assert.deepEqual(plant.gateway.topics, {
    status: 'holdfast/plant-7/status',
    eventPrefix: 'holdfast/plant-7/event/',
    requestPrefix: 'holdfast/plant-7/req/',
    responsePrefix: 'holdfast/plant-7/res/',
    tracePrefix: 'holdfast/plant-7/trace/',
    commandFilters: ['holdfast/plant-7/set/#', 'holdfast/plant-7/get/#'],
    dataFilter: 'holdfast/plant-7/data/#',
    valueFilters: ['holdfast/plant-7/data/#', 'holdfast/plant-7/batch/#', 'holdfast/plant-7/device/#'],
    tags: {
      set: 'holdfast/plant-7/set/{device}/{tag}',
      get: 'holdfast/plant-7/get/{device}/{tag}',
      ack: 'holdfast/plant-7/ack/{device}/{tag}',
    },
  });
  assert.equal(plant.devices[0]?.topic, 'holdfast/plant-7/device/press1');
});

test('an empty file is a gateway with the defaults that the reference states', () => {
  const { broker, web, buses, workers } = plantOf('version: 1\n');
  assert.deepEqual(
    broker.listeners.map(({ protocol, host, port }) => [protocol, host, port]),
    [['mqtt', '127.0.0.1', 1883]],
  );
  assert.deepEqual(
    [broker.anonymous, broker.access, broker.store.kind, web, buses, workers],
    [false, null, 'disk', null, [], 0],
  );
  const {
    maxConnections,
    maxPacketBytes,
    maxInflight,
    maxQueuedBytes,
    maxQueuedMessages,
    messagesPerSecond,
  } = broker.limits;
  assert.deepEqual(
    [maxConnections, maxPacketBytes, maxInflight, maxQueuedBytes, maxQueuedMessages, messagesPerSecond],
    [10_000, 262_144, 100, 67_108_864, Infinity, Infinity],
  );
});

test('a list of units makes as many devices', () => {
  const { devices, tags } = plantOf(
    `${HEAD}${PLC}devices:\n  "meter-{unit_id}": { bus: plc, unit_id: 10-19, map: eastron-sdm120 }\n  "x{unit_id}y": { bus: plc, unit_id: "1,3,5-6" }\n  "z{unit_id}": { bus: plc, unit_id: [200] }\n`,
  );
  assert.deepEqual(
    devices.map(({ name }) => name),
    [...Array.from({ length: 10 }, (_, index) => `meter-${index + 10}`), 'x1y', 'x3y', 'x5y', 'x6y', 'z200'],
  );
  assert.deepEqual(
    [devices[9]?.unitId, tags.length, tags[129]?.device.name, tags[129]?.index],
    [19, 130, 'meter-19', 129],
  );
});

test('the same register is written in three numberings', () => {
  for (const [numbering, written] of [
    ['pdu', 'holding: 100'],
    ['one-based', 'holding: 101'],
    ['modicon', 'holding: 40101'],
    ['modicon', 'holding: 400101'],
    ['pdu', 'at: 40101'],
    ['pdu', 'at: "400101"'],
  ]) {
    const tag = tagsOfDevice(`t: { ${written} }`, `    numbering: ${numbering}\n`).get('t');
    assert.deepEqual([tag?.table, tag?.address], ['holding-register', 100], `${numbering} ${written}`);
  }
  const tags = tagsOfDevice('a: { at: "00001" }\nb: { at: 10002 }\nc: { at: 30003 }\nd: { at: 465536 }');
  assert.deepEqual(
    [...tags.values()].map(({ table, address }) => `${table} ${address}`),
    ['coil 0', 'discrete-input 1', 'input-register 2', 'holding-register 65535'],
  );
  const coil = tagsOfDevice('t: { coil: 3 }', '    numbering: modicon\n').get('t');
  assert.deepEqual([coil?.table, coil?.address], ['coil', 2]);
});

test('the setting nearest to the tag counts', () => {
  writeFileSync(
    join(folder, 'devices/levels.yaml'),
    'version: 1\ntitle: Levels\nsources: [none]\nverified: none\nrate: 3s\norder: CDAB\ntags:\n  a: { holding: 0, type: uint32 }\n  b: { holding: 2, type: uint32, rate: 5s, order: BADC }\n  c: { holding: 4, rate: 5s, unit: V }\n  gone: { holding: 6 }\n',
  );
  const tags = tagsOf(`${HEAD}defaults: { rate: 1s, qos: 2, heartbeat: 5m }
buses:
  one: { protocol: tcp, host: 127.0.0.1, rate: 2s, heartbeat: 6m }
  two: { protocol: tcp, host: 127.0.0.2 }
devices:
  plain: { bus: two, unit_id: 1, tags: { t: { holding: 1 } } }
  bus: { bus: one, unit_id: 1, tags: { t: { holding: 1 } } }
  map: { bus: one, unit_id: 2, map: levels }
  device: { bus: one, unit_id: 3, map: levels, rate: 4s, order: DCBA, tags: { c: { rate: 6s }, gone: false } }
`);
  const of = (name: string, key: 'intervalMs' | 'order' | 'qos' | 'heartbeatMs' | 'unit'): unknown =>
    tags.get(name)?.[key];
  assert.deepEqual(
    ['plain/t', 'bus/t', 'map/a', 'map/b', 'device/a', 'device/b', 'device/c'].map((name) =>
      of(name, 'intervalMs'),
    ),
    [1000, 2000, 3000, 5000, 4000, 5000, 6000],
  );
  assert.deepEqual(
    ['map/a', 'map/b', 'device/a', 'device/b'].map((name) => of(name, 'order')),
    ['CDAB', 'BADC', 'DCBA', 'BADC'],
  );
  assert.deepEqual(
    [of('map/a', 'qos'), of('map/a', 'heartbeatMs'), of('device/c', 'unit'), tags.has('device/gone')],
    [2, 360_000, 'V', false],
  );
});

test('a group says something of the tags that it names, and of no others', () => {
  const tags = tagsOf(`${HEAD}buses: { plc: { protocol: tcp, host: 127.0.0.1 } }
devices:
  d:
    bus: plc
    unit_id: 1
    rate: 60s
    tags: { a: { holding: 0 }, b: { holding: 1 }, c: { holding: 2 } }
    groups:
      own: { qos: 0, tags: { x: { holding: 3 }, y: { holding: 4 } } }
      fast: { rate: 1s, tags: [a, own/x] }
      outer: { deadband: 5, groups: { inner: { heartbeat: 7s, tags: [b] } } }
`);
  assert.deepEqual(
    [...tags].map(([name, { intervalMs, qos, deadband, heartbeatMs }]) => [name, intervalMs, qos, deadband.value, heartbeatMs]), // prettier-ignore
    [
      ['d/a', 1000, 1, 0, 60_000],
      ['d/b', 60_000, 1, 5, 7000],
      ['d/c', 60_000, 1, 0, 60_000],
      ['d/own/x', 1000, 0, 0, 60_000],
      ['d/own/y', 60_000, 0, 0, 60_000],
    ],
  );
});

test('a bus that does not say it itself has as many requests under way as all its devices take', () => {
  const map = (needs: string): string =>
    `version: 1\ntitle: T\nsources: [none]\nverified: none\n${needs}tags: { a: { holding: 0 } }\n`;
  writeFileSync(join(folder, 'devices/four.yaml'), map('bus: { in_flight: 4 }\n'));
  writeFileSync(join(folder, 'devices/eight.yaml'), map('bus: { in_flight: 8 }\n'));
  writeFileSync(join(folder, 'devices/silent.yaml'), map(''));
  const inFlight = (bus: string, ...maps: readonly string[]): number | undefined => {
    const devices = maps.map((name, at) => `  d${at}: { bus: plc, unit_id: ${at + 1}, map: ${name} }\n`);
    return plantOf(`${HEAD}buses: { plc: { ${bus} } }\ndevices:\n${devices.join('')}`).buses[0]?.inFlight;
  };
  const tcp = 'protocol: tcp, host: 127.0.0.1';
  assert.deepEqual(
    [
      inFlight(tcp, 'four'),
      inFlight(tcp, 'eight', 'four'),
      inFlight(tcp, 'eight', 'silent'),
      inFlight(`${tcp}, in_flight: 2`, 'four'),
      inFlight('protocol: rtu, path: /dev/ttyS1', 'four'),
    ],
    [4, 4, 1, 2, 1],
  );
});

test('an order above a device map does not reach into it, as a numbering does not', () => {
  writeFileSync(
    join(folder, 'devices/unsaid.yaml'),
    'version: 1\ntitle: Unsaid\nsources: [none]\nverified: none\ntags:\n  a: { holding: 0, type: uint32 }\n  b: { holding: 2, type: uint32, bit: 20 }\n',
  );
  const tags = tagsOf(`${HEAD}defaults: { order: CDAB, numbering: one-based }
buses: { plc: { protocol: tcp, host: 127.0.0.1, order: DCBA } }
devices:
  map: { bus: plc, unit_id: 1, map: unsaid, tags: { own: { holding: 10, type: uint32 }, bit: { holding: 12, type: uint32, bit: 20 } } }
  swapped: { bus: plc, unit_id: 2, map: unsaid, order: BADC }
`);
  assert.deepEqual(
    [...tags].map(([name, { order, address }]) => `${name} ${order} ${address}`),
    [
      'map/a ABCD 0',
      'map/b ABCD 2',
      'map/own DCBA 9',
      'map/bit DCBA 12',
      'swapped/a BADC 0',
      'swapped/b BADC 2',
    ],
  );
});

test('a map is found beside the file, in devices/ beside it, and in what is shipped, in that order', () => {
  const map = (address: number): string =>
    `version: 1\ntitle: T\nsources: [none]\nverified: none\ntags:\n  t: { holding: ${address} }\n`;
  const address = (): number | undefined =>
    tagsOf(`${HEAD}${PLC}devices: { d: { bus: plc, unit_id: 1, map: xy-md02 } }\n`).get('d/t')?.address;
  assert.equal(address(), undefined);
  writeFileSync(join(folder, 'devices/xy-md02.yaml'), map(1));
  assert.equal(address(), 1);
  writeFileSync(join(folder, 'xy-md02.yaml'), map(2));
  assert.equal(address(), 2);
  rmSync(join(folder, 'xy-md02.yaml'));
  rmSync(join(folder, 'devices/xy-md02.yaml'));
});

test('a map may include others, and override their tags by name', () => {
  writeFileSync(
    join(folder, 'devices/extended.yaml'),
    'version: 1\ntitle: T\nsources: [none]\nverified: none\ninclude: [xy-md02]\ntags:\n  humidity: { scale: 0.01 }\n  extra: { input: 9 }\n',
  );
  const tags = tagsOf(`${HEAD}${PLC}devices: { d: { bus: plc, unit_id: 1, map: extended } }\n`);
  assert.deepEqual(
    [
      tags.get('d/humidity')?.address,
      tags.get('d/humidity')?.scale,
      tags.get('d/temperature')?.scale,
      tags.get('d/extra')?.address,
    ],
    [2, 0.01, 0.1, 9],
  );
});

test('what an included map says for all of its tags, and of its device, goes with them', () => {
  const head = 'version: 1\ntitle: T\nsources: [none]\nverified: none\n';
  const inner =
    'order: CDAB\nrate: 3s\nlimits: { registers: 11 }\nforbidden: ["holding:7"]\nbus: { pace: 40ms }\n';
  const tag = (name: string, address: number): string =>
    `tags: { ${name}: { holding: ${address}, type: uint32 } }\n`;
  writeFileSync(join(folder, 'devices/inner.yaml'), `${head}${inner}${tag('a', 0)}`);
  const outer = `include: [inner]\norder: BADC\nlimits: { align: 2 }\n${tag('b', 20)}`;
  writeFileSync(join(folder, 'devices/outer.yaml'), `${head}${outer}`);
  const { tags, devices, buses } = plantOf(`${HEAD}${PLC}devices:
  d: { bus: plc, unit_id: 1, map: outer, tags: { c: { holding: 30, type: uint32 } } }
  e: { bus: plc, unit_id: 2, map: outer, order: DCBA }
`);
  assert.deepEqual(
    tags.map(({ device, name, order, intervalMs }) => [device.name, name, order, intervalMs]),
    [
      ['d', 'a', 'CDAB', 3000],
      ['d', 'b', 'BADC', 10_000],
      ['d', 'c', 'BADC', 10_000],
      ['e', 'a', 'DCBA', 3000],
      ['e', 'b', 'DCBA', 10_000],
    ],
  );
  const [{ limits, forbidden } = assert.fail()] = devices;
  assert.deepEqual([limits.registers, limits.align, forbidden.length], [11, 2, 1]);
  assert.equal(buses[0]?.paceMs, 40);
});

test('repeat makes tags from numbers, with arithmetic in addresses', () => {
  const tags = tagsOf(`${HEAD}${PLC}devices:
  d:
    bus: plc
    unit_id: 1
    repeat:
      - for: { n: 1-3 }
        tags:
          "current_l{n}": { input: "6 + 2*(n-1)", type: float32, unit: A }
      - for: { m: [1, 2], n: "1,4" }
        tags: { "x{m}_{n}": { coil: "100*m + n % 3" } }
`);
  assert.deepEqual(
    [...tags].map(([name, { address }]) => `${name} ${address}`),
    [
      'd/current_l1 6',
      'd/current_l2 8',
      'd/current_l3 10',
      'd/x1_1 101',
      'd/x1_4 101',
      'd/x2_1 201',
      'd/x2_4 201',
    ],
  );
});

test('groups become levels of the topic; consistent ones and batches have a topic of their own', () => {
  const plant = plantOf(`${HEAD}${PLC}devices:
  d:
    bus: plc
    unit_id: 1
    tags: { a: { holding: 1 }, b: { holding: 2, qos: 2 } }
    groups:
      pair: { consistent: true, tags: [a, b], rate: 2s }
      motor1:
        rate: 1s
        tags: { speed: { holding: 10 } }
        groups: { brake: { tags: { closed: { holding: 11, bit: 0, rate: 3s } } } }
  e: { bus: plc, unit_id: 2, payload: batch, tags: { a: { holding: 1 }, b: { holding: 2, payload: raw } } }
`);
  assert.deepEqual(plant.tags.map(({ topic, intervalMs, group }) => [topic.slice('holdfast/gw/data/'.length), intervalMs, group]), [
    ['d/a', 2000, 'pair'], ['d/b', 2000, 'pair'], ['d/motor1/speed', 1000, null], ['d/motor1/brake/closed', 3000, null], ['e/a', 10_000, null], ['e/b', 10_000, null],
  ]); // prettier-ignore
  assert.deepEqual(
    plant.batches.map(({ index, topic, group, tags, qos, retain }) => [
      index,
      topic,
      group,
      tags.map(({ index: tag }) => tag),
      qos,
      retain,
    ]),
    [
      [6, 'holdfast/gw/batch/d/pair', 'pair', [0, 1], 2, false],
      [7, 'holdfast/gw/batch/e', null, [4], 1, false],
    ],
  );
});

test('patterns of topics are filled in, and command filters follow them', () => {
  const plant =
    plantOf(`${HEAD}${PLC}topics: { data: "{base}/{device}/{tag}", set: "{base}/{device}/{tag}/set", get: "cmd/{gateway}/get/{device}/{tag}", event: "ev/{kind}" }
devices: { d: { bus: plc, unit_id: 1, tags: { t: { holding: 1, topic: "own/topic" } }, groups: { g: { tags: { u: { holding: 2 } } } } } }
`);
  assert.deepEqual(
    plant.tags.map(({ topic, setTopic }) => [topic, setTopic]),
    [
      ['own/topic', 'holdfast/d/t/set'],
      ['holdfast/d/g/u', 'holdfast/d/g/u/set'],
    ],
  );
  assert.deepEqual(plant.gateway.topics.commandFilters, [
    'holdfast/+/+/set',
    'holdfast/+/+/+/set',
    'cmd/gw/get/#',
  ]);
  assert.equal(plant.gateway.topics.eventPrefix, 'ev/');
  assert.deepEqual(filtersOfValues(plant), ['holdfast/#', 'own/topic']);
});

test('one bit of a wide value is the register that holds it', () => {
  const tags = tagsOfDevice(
    'a: { holding: 10, type: uint32, bit: 20 }\nb: { holding: 10, type: uint32, bit: 3, write: true }\nc: { holding: 10, type: uint32, order: CDAB, bit: 20 }\nd: { holding: 10, type: uint64, order: DCBA, bit: 63 }',
  );
  assert.deepEqual([...tags.values()].map(({ address, quantity, bits, order, write }) => [address, quantity, bits?.first, order, write?.address]), [
    [10, 1, 4, 'ABCD', undefined], [11, 1, 3, 'ABCD', 11], [11, 1, 4, 'CDAB', undefined], [13, 1, 15, 'DCBA', undefined],
  ]); // prettier-ignore
});

test('one bit of 64 lies where the whole value has it, whatever the order', () => {
  for (const [name, order] of Object.entries(ORDER_NAMES)) {
    const bits = [0, 5, 15, 16, 31, 32, 47, 63];
    const tags = tagsOfDevice(
      bits.map((bit) => `b${bit}: { holding: 10, type: uint64, order: ${name}, bit: ${bit} }`).join('\n'),
    );
    for (const bit of bits) {
      const tag = tags.get(`b${bit}`) ?? assert.fail();
      const device = writeRaw('uint64', order, 1n << BigInt(bit));
      assert.equal(compileDecode(tag)(device, 2 * (tag.address - 10), 1), true, `${name} ${bit}`);
    }
  }
});

test('one bit of half a register is counted within that half', () => {
  const tags = tagsOfDevice(
    'a: { holding: 10, type: uint8_high, bit: 3, write: true }\nb: { holding: 10, type: int8_low, bit: 3 }\nc: { holding: 10, type: uint8_high, order: BA, bit: 0 }',
  );
  for (const [name, register] of [
    ['a', 0x0800],
    ['b', 0x0008],
    ['c', 0x0001],
  ] as const) {
    // prettier-ignore
    const tag = tags.get(name) ?? assert.fail();
    const decode = compileDecode(tag);
    assert.equal(decode(Uint8Array.of(register >> 8, register & 0xff), 0, 1), true, name);
    assert.equal(decode(Uint8Array.of(~register >> 8, ~register & 0xff), 0, 1), false, name);
  }
});

test('sentinels are what the type reads, of every width', () => {
  const tags = tagsOfDevice(
    'a: { holding: 1, type: int16, invalid: [0x8000, 5] }\nb: { holding: 2, type: uint16, invalid: auto }\nc: { holding: 3, type: int64, invalid: [0x8000000000000000] }\nd: { holding: 7, type: float32, invalid: [nan, .nan, 1.5, 3.402823466e+38] }\ne: { holding: 9, type: int32, invalid: auto }',
  );
  assert.deepEqual(
    [...tags.values()].map(({ invalid }) => invalid),
    [
      [-32_768, 5],
      [65_535],
      [-(2n ** 63n)],
      ['nan', 'nan', 1.5, 3.402_823_5e38],
      [-2_147_483_648, 2_147_483_647],
    ],
  );
});

test('strings, flags, counters, plausible ranges and scale registers are carried over', () => {
  const tags = tagsOfDevice(
    's: { holding: 1, type: string, count: 4, bytes: low, encoding: latin1, pad: 32 }\nf: { holding: 9, flags: { 0: overtemp, 3: door } }\nc: { holding: 10, type: uint32, counter: { modulo: 4294967296 }, plausible: { max_per_second: 10 } }\nv: { holding: 12, type: int16, scale: { pow10_of: sf }, offset: -1 }\nsf: { holding: 13, type: int16 }\nr: { holding: 14, scale: { value_of: c } }',
  );
  assert.deepEqual(tags.get('s')?.text, { bytes: 'low', encoding: 'latin1', pad: 32 });
  assert.deepEqual(tags.get('f')?.flags, [
    { bit: 0, text: 'overtemp' },
    { bit: 3, text: 'door' },
  ]);
  assert.deepEqual(
    [tags.get('c')?.counter, tags.get('c')?.plausible],
    [{ modulo: 4_294_967_296 }, { min: -Infinity, max: Infinity, maxPerSecond: 10 }],
  );
  assert.deepEqual(
    [tags.get('v')?.scaleFrom, tags.get('v')?.offset, tags.get('r')?.scaleFrom],
    [{ kind: 'pow10', tag: 4 }, -1, { kind: 'value', tag: 2 }],
  );
});

test('40001 is asked about once where nothing says how a device counts', () => {
  const file = join(folder, 'config.yaml');
  const asked = (device: string): string[] => {
    const devices = `devices: { d: { bus: plc, unit_id: 1, ${device} } }`;
    writeFileSync(file, `${HEAD}${PLC}${devices}\n`);
    return loadHere(file, {}).problems.map(({ code, path }) => `${code} ${path}`);
  };
  const tags = 'tags: { a: { holding: 40001 }, b: { holding: 40003 }, c: { input: 30001 } }';
  assert.deepEqual(asked(tags), ['HF2108 devices.d.tags.a.holding']);
  assert.deepEqual(asked(`numbering: pdu, ${tags}`), []);
  assert.deepEqual(asked(`numbering: modicon, ${tags}`), []);
  assert.deepEqual(asked('tags: { a: { holding: 40001 }, b: { holding: 32080 } }'), []);
});

test('forbidden and readable ranges count as the other addresses of their place do', () => {
  const { devices } = plantOf(`${HEAD}buses: { a: { protocol: tcp, host: 127.0.0.1 } }
devices:
  zero: { bus: a, unit_id: 1, forbidden: ["holding:900-919"] }
  one: { bus: a, unit_id: 2, numbering: one-based, forbidden: ["holding:900-919"], readable: ["coil:1-16"] }
  modicon: { bus: a, unit_id: 3, numbering: modicon, forbidden: ["holding:40900-40919"], readable: ["coil:00001-00016"] }
`);
  const holding = { table: 'holding-register', quantity: 20 };
  assert.deepEqual(
    devices.map(({ forbidden }) => forbidden),
    [900, 899, 899].map((address) => [{ ...holding, address }]),
  );
  const coils = [{ table: 'coil', address: 0, quantity: 16 }];
  assert.deepEqual(
    devices.map(({ readable }) => readable),
    [[], coils, coils],
  );
});

test('a bus gets what its devices need, unless it says otherwise itself', () => {
  const { buses, devices } = plantOf(`${HEAD}buses:
  a: { protocol: tcp, host: 127.0.0.1 }
  b: { protocol: tcp, host: 127.0.0.2, timeout: 3s, pace: 0s }
  c: { protocol: rtu, path: /dev/ttyS1, format: 8E1, silence: 4ms, echo: true }
devices:
  d: { bus: a, unit_id: 0, map: huawei-sun2000 }
  e: { bus: b, unit_id: 0, map: huawei-sun2000, limits: { registers: 32, write: [16] }, offline: { after: 5, retry: 2s..30s }, forbidden: ["holding:7-9"], readable: ["holding:30000-40000"], tags: {} }
  f: { bus: c, unit_id: 247 }
`);
  assert.deepEqual(
    buses.map(({ timeoutMs, paceMs, afterConnectMs }) => [timeoutMs, paceMs, afterConnectMs]),
    [
      [10_000, 50, 1500],
      [3000, 0, 1500],
      [500, 0, 0],
    ],
  );
  assert.deepEqual(buses[2]?.link, {
    kind: 'rtu',
    path: '/dev/ttyS1',
    baud: 9600,
    dataBits: 8,
    parity: 'even',
    stopBits: 1,
    echo: true,
  });
  assert.deepEqual(
    [devices[0]?.limits.registers, devices[1]?.limits.registers, devices[1]?.limits.writeFunctions],
    [64, 32, [16]],
  );
  assert.deepEqual(
    [devices[1]?.forbidden, devices[1]?.offline],
    [
      [{ table: 'holding-register', address: 7, quantity: 3 }],
      { afterFailures: 5, retryMinMs: 2000, retryMaxMs: 30_000 },
    ],
  );
});

test('the files in config/ are right', () => {
  const examples = ['demo.yaml', 'example.yaml', 'examples/plc-structures.yaml'].map((file) =>
    join(packageFolder(), 'config', file),
  );
  for (const file of examples) assert.deepEqual(loadHere(file, {}).problems, [], file);
  const secured = join(folder, 'secured-broker.yaml');
  copyFileSync(join(packageFolder(), 'config/examples/secured-broker.yaml'), secured);
  const ready = join(packageFolder(), 'test/config/cases/contract');
  for (const file of ['server.crt', 'server.key', 'users.passwd'])
    copyFileSync(join(ready, file), join(folder, file));
  for (const file of ['server.key', 'users.passwd']) chmodSync(join(folder, file), 0o600);
  assert.deepEqual(loadHere(secured, {}).problems, []);
});

test('the example of every quirk in docs/quirks.md is right', () => {
  const page = readFileSync(join(packageFolder(), 'docs/quirks.md'), 'utf8');
  const file = join(folder, 'quirks.yaml');
  writeFileSync(file, /```yaml\n([^]*?)```/.exec(page)?.[1] ?? '');
  const { plant, problems } = loadHere(file, {});
  assert.deepEqual(problems, []);
  assert.equal(plant?.tags.length, 31);
});

test('all of a plant is frozen', () => {
  const plant = plantOf(
    `${HEAD}${PLC}devices: { d: { bus: plc, unit_id: 1, tags: { t: { holding: 1, enum: { 0: a } } } } }\n`,
  );
  const loose: string[] = [];
  const walk = (value: unknown, path: string): void => {
    if (typeof value !== 'object' || value === null) return;
    if (!Object.isFrozen(value)) loose.push(path);
    for (const [key, inner] of Object.entries(value)) walk(inner, `${path}.${key}`);
  };
  walk(plant, 'plant');
  assert.deepEqual(loose, []);
});

test('an uplink that takes the status of the gateway along says there that it is gone, unless that comes back or another gateway stays', () => {
  const statusTopicOf = (rules: string, more = ''): string | null | undefined =>
    plantOf(`${HEAD}${PLC}${more}uplinks: { cloud: { nodes: ["mqtt://10.0.0.8"], ${rules} } }\n`).uplinks[0]
      ?.statusTopic;
  const all = 'out: [{ from: "holdfast/gw/#", to: "plants/#" }]';
  assert.equal(statusTopicOf(all), 'plants/status');
  assert.equal(statusTopicOf(`${all}, status_topic: elsewhere`), 'elsewhere');
  assert.equal(statusTopicOf('out: [{ from: "holdfast/+/status" }]'), 'holdfast/gw/status');
  for (const rules of [
    'out: [{ from: "holdfast/gw/data/#" }]',
    'out: [{ from: "holdfast/gw/#", retain: never }]',
    'out: [{ from: "holdfast/gw/#", to: "all", payload: raw }]',
    `${all}, in: [{ from: "plants/status", to: "holdfast/gw/status" }]`,
  ])
    assert.equal(statusTopicOf(rules), null, rules);
  const redundancy = 'redundancy: { group: a, servers: ["nats://10.0.0.1"] }\n';
  assert.equal(statusTopicOf(all, redundancy), null);
});
