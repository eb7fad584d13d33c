import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Broker } from '../../src/broker/broker.js';
import { loadPlant } from '../../src/config/loadplant.js';
import type { Plant } from '../../src/config/plant.js';
import { HomeAssistant } from '../../src/gateway/homeassistant.js';
import { MemoryStore } from '../../src/store/memory.js';

const folder = mkdtempSync(join(tmpdir(), 'holdfast-ha-'));
after(() => rmSync(folder, { recursive: true }));

async function plantOf(tags: string, settings = 'home_assistant: {}'): Promise<Plant> {
  const file = join(folder, 'gateway.yaml');
  writeFileSync(
    file,
    `version: 1
gateway: { id: p7 }
broker: { anonymous: true, store: memory }
${settings}
buses: { plc: { protocol: tcp, host: 127.0.0.1 } }
devices:
  press:
    bus: plc
    unit_id: 1
    tags:
${tags}
`,
  );
  const { plant, problems } = await loadPlant(file);
  assert.ok(plant !== null, JSON.stringify(problems));
  return plant;
}

interface Discovery {
  readonly dev: Record<string, unknown>;
  readonly avty: readonly Record<string, unknown>[];
  readonly cmps: Record<string, Record<string, unknown>>;
}

/** A broker, what is retained for discovery in it, and everything that was published there. */
async function startBroker() {
  const broker = new Broker({ store: new MemoryStore(), systemIntervalMs: 0 });
  await broker.open();
  after(() => broker.close());
  const published: string[] = [];
  broker.subscribe('homeassistant/device/#', {
    deliver: ({ topic, payload }) => published.push(`${topic} ${Buffer.from(payload).toString()}`),
  });
  const retained = (): [string, Discovery][] => {
    const found: [string, Discovery][] = [];
    broker.retained('homeassistant/device/+/config', (topic, payload) =>
      found.push([topic, JSON.parse(Buffer.from(payload).toString()) as Discovery]),
    );
    return found;
  };
  return { broker, published, retained };
}

const TAGS = `      power: { input: 0, type: int16, unit: kW }
      energy: { input: 2, type: uint32, unit: kWh, counter: true }
      content: { input: 4, unit: m³ }
      door: { discrete: 0 }
      valve: { coil: 0, write: true }
      setpoint: { holding: 0, type: uint16, scale: 0.1, unit: "°C", write: { min: 5, max: 30 } }
      mode: { holding: 1, type: uint16, enum: { 0: "off", 1: auto }, write: true }`;

test('names that come to the same are told apart', async () => {
  const { broker, retained } = await startBroker();
  const tags = `      a_b: { holding: 0, type: uint16 }
    groups:
      a: { tags: { b: { holding: 1, type: uint16 } } }
  press_a: { bus: plc, unit_id: 2, tags: { b: { holding: 0, type: uint16 } } }`;
  new HomeAssistant(broker, '1.2.3').take(await plantOf(tags));
  const entities = retained().flatMap(([, { cmps }]) => Object.values(cmps));
  const of = (member: string): unknown[] => entities.map((entity) => entity[member]);
  assert.deepEqual(of('stat_t').sort(), [
    'holdfast/p7/data/press/a/b',
    'holdfast/p7/data/press/a_b',
    'holdfast/p7/data/press_a/b',
  ]);
  assert.equal(new Set(of('unique_id')).size, 3);
});

test('what another gateway told whose name begins alike is left alone', async () => {
  const { broker, retained } = await startBroker();
  const [theirs, ours] = ['holdfast_p7_b_press', 'holdfast_p7_gone'];
  for (const id of [theirs, ours]) {
    const told = {
      dev: { ids: [id], name: id === theirs ? 'press' : 'gone' },
      o: { name: 'holdfast' },
      cmps: {},
    };
    const payload = Buffer.from(JSON.stringify(told));
    const topic = `homeassistant/device/${id}/config`;
    broker.publish({ topic, payload, qos: 1, retain: true, sender: null });
  }
  new HomeAssistant(broker, '1.2.3').take(await plantOf(TAGS));
  const topics = retained().map(([topic]) => topic.split('/')[2]);
  assert.deepEqual(topics.sort(), [theirs, 'holdfast_p7_press']);
});

test('each device is told in its device form, each tag as the entity that it is', async () => {
  const { broker, retained } = await startBroker();
  new HomeAssistant(broker, '1.2.3').take(await plantOf(TAGS));
  const [[topic, discovery] = ['', undefined]] = retained();
  assert.equal(topic, 'homeassistant/device/holdfast_p7_press/config');
  assert.ok(discovery !== undefined);
  assert.deepEqual(discovery.dev, { ids: ['holdfast_p7_press'], name: 'press' });
  assert.deepEqual(
    discovery.avty.map(({ t }) => t),
    ['holdfast/p7/status', 'holdfast/p7/device/press'],
  );
  const { power, energy, content, door, valve, setpoint, mode } = discovery.cmps;
  assert.deepEqual(power, {
    unique_id: 'holdfast_p7_press_power',
    name: 'power',
    stat_t: 'holdfast/p7/data/press/power',
    val_tpl: '{{ value_json.v }}',
    p: 'sensor',
    unit_of_meas: 'kW',
    dev_cla: 'power',
    stat_cla: 'measurement',
  });
  assert.equal(energy?.['stat_cla'], 'total_increasing');
  // A tank is emptied, too.
  assert.equal(content?.['stat_cla'], 'total');
  assert.equal(door?.['p'], 'binary_sensor');
  // What the device does not answer is unknown, not off.
  assert.equal(door['val_tpl'], "{{ None if value_json.v is none else 'ON' if value_json.v else 'OFF' }}");
  assert.equal(valve?.['p'], 'switch');
  assert.equal(valve['cmd_t'], 'holdfast/p7/set/press/valve');
  assert.deepEqual(
    [setpoint?.['p'], setpoint?.['min'], setpoint?.['max'], setpoint?.['step']],
    ['number', 5, 30, 0.1],
  );
  assert.deepEqual(
    [mode?.['p'], mode?.['ops'], mode?.['cmd_tpl']],
    ['select', ['off', 'auto'], '{{ value | tojson }}'],
  );
});

test('what Home Assistant would refuse or take for a number is told as it can be shown', async () => {
  const { broker, retained } = await startBroker();
  const tags = `      lid: { discrete: 0, enum: { 0: closed, 1: open } }
      valve: { coil: 0, enum: { 0: shut, 1: open }, write: true }
      clock: { holding: 0, type: datetime6 }
      mode: { holding: 10, enum: { 0: "off", 1: run, 2: run } }
      bare: { holding: 11, payload: raw }
      fine: { holding: 12, scale: 0.0001, write: { min: 0, max: 1 } }
      back: { holding: 13, scale: -0.5, write: { min: -10, max: 0 } }
      count: { holding: 16, type: uint32, write: true }
      part: { holding: 18, bits: 4-6, write: true }
      level: { holding: 14, type: float32, write: { min: 0, max: 10 } }`;
  new HomeAssistant(broker, '1.2.3').take(await plantOf(tags));
  const { lid, valve, clock, mode, bare, fine, back, count, part, level } = retained()[0]?.[1].cmps ?? {};
  assert.deepEqual([lid?.['p'], lid?.['ops']], ['sensor', ['closed', 'open']]);
  assert.deepEqual([valve?.['p'], valve?.['ops']], ['select', ['shut', 'open']]);
  // A state class says that a number comes.
  assert.deepEqual([clock?.['p'], clock?.['stat_cla']], ['sensor', undefined]);
  assert.deepEqual(mode?.['ops'], ['off', 'run']);
  // Home Assistant goes on showing what was before an option that it does not know, or nothing at all.
  assert.equal(mode?.['val_tpl'], '{{ value_json.v if value_json.v in ["off","run"] else None }}');
  assert.equal(bare?.['val_tpl'], "{{ None if value == '' else value }}");
  assert.deepEqual([count?.['min'], count?.['max']], [0, 4_294_967_295]);
  assert.deepEqual([part?.['min'], part?.['max']], [0, 7]);
  assert.deepEqual([fine?.['step'], back?.['step'], level?.['step']], [0.001, 0.5, 0.001]);
});

test('it is told again when Home Assistant starts', async () => {
  const { broker, published } = await startBroker();
  new HomeAssistant(broker, '1').take(await plantOf(TAGS));
  assert.equal(published.length, 1);
  const say = (text: string): void =>
    broker.publish({
      topic: 'homeassistant/status',
      payload: Buffer.from(text),
      qos: 0,
      retain: false,
      sender: null,
    });
  say('offline');
  assert.equal(published.length, 1);
  say('online');
  assert.equal(published.length, 2);
});

test('what leaves the config is taken back, also what an earlier life has told; what others told stays', async () => {
  const { broker, published, retained } = await startBroker();
  const foreign = { dev: { ids: ['x'] }, o: { name: 'zigbee' }, cmps: {} };
  broker.publish({
    topic: 'homeassistant/device/x/config',
    payload: Buffer.from(JSON.stringify(foreign)),
    qos: 1,
    retain: true,
    sender: null,
  });
  new HomeAssistant(broker, '1').take(await plantOf(TAGS));
  published.length = 0;
  const later = new HomeAssistant(broker, '1');
  later.take(await plantOf('      power: { input: 0, type: int16, unit: kW }'));
  const removal = JSON.parse(published[0]?.split(' ').slice(1).join(' ') ?? '') as Discovery;
  assert.deepEqual(removal.cmps['door'], { p: 'binary_sensor' });
  assert.deepEqual(Object.keys(retained().find(([topic]) => topic.includes('press'))?.[1].cmps ?? {}), [
    'power',
  ]);

  later.take(await plantOf('      power: { input: 0, type: int16, unit: kW }', ''));
  assert.deepEqual(
    retained().map(([topic]) => topic),
    ['homeassistant/device/x/config'],
  );
});

test('a tag that becomes another kind of entity is taken back as what it was', async () => {
  const { broker, published, retained } = await startBroker();
  const assistant = new HomeAssistant(broker, '1');
  assistant.take(await plantOf('      power: { holding: 0, type: int16 }'));
  published.length = 0;
  assistant.take(await plantOf('      power: { holding: 0, type: int16, write: true }'));
  const [removal, told] = published.map((text) => JSON.parse(text.slice(text.indexOf(' '))) as Discovery);
  assert.deepEqual(removal?.cmps['power'], { p: 'sensor' });
  assert.equal(told?.cmps['power']?.['p'], 'number');
  assert.equal(retained()[0]?.[1].cmps['power']?.['p'], 'number');
});

test('without the key nothing is told', async () => {
  const { broker, published } = await startBroker();
  new HomeAssistant(broker, '1').take(await plantOf(TAGS, ''));
  assert.deepEqual(published, []);
});
