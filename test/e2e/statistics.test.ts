import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { connectAsync, type MqttClient } from 'mqtt';
import { packageFolder } from '../../src/entry.js';
import { PlantProcess } from '../../src/simulator/plantprocess.js';
import { Daemon } from '../support/daemon.js';
import { socketOf } from '../support/plant.js';
import { until } from '../support/wait.js';

/** Registers 0 to 2 and 5 are read in one request, two of it wasted; the unit knows no register 100. */
const values = [
  { table: 'holding-register', address: 0, quantity: 10, script: 'fixed', hex: '0001' },
] as const;
const only = [{ table: 'holding-register', address: 0, quantity: 10 }] as const;
const units = [{ unitId: 1, values, only }] as const;
const tags =
  '{ a: { holding: 0 }, b: { holding: 1 }, c: { holding: 2 }, d: { holding: 5 }, no: { holding: 100 } }';

/** What its requests come to once the unit has refused the rest. */
const REQUEST = { device: 'press', table: 'holding-register', address: '0', quantity: '6' };

/** Value by metric and labels, as a scrape shows them. */
type Scrape = ReadonlyMap<string, number>;

function valueOf(all: Scrape, name: string, labels: Readonly<Record<string, string>>): number | undefined {
  const isIt = (key: string): boolean =>
    key.startsWith(`${name}{`) &&
    Object.entries(labels).every(([label, text]) => key.includes(`${label}="${text}"`));
  return [...all].find(([key]) => isIt(key))?.[1];
}

describe('statistics of a daemon that polls', () => {
  let plant: PlantProcess | undefined;
  let daemon: Daemon | undefined;
  let client: MqttClient | undefined;
  const retained = new Map<string, Record<string, unknown>>();

  before(async () => {
    plant = await PlantProcess.start({ buses: [{ name: 'plc', link: { kind: 'tcp' }, units }] });
    const { host, port } = await socketOf(plant, 'plc');
    daemon = new Daemon(`version: 1
broker: { listeners: [{ protocol: mqtt, host: 127.0.0.1, port: 0 }], anonymous: true, store: { path: data } }
web: { host: 127.0.0.1, port: 0 }
defaults: { rate: 100ms }
buses:
  plc: { protocol: tcp, host: ${host}, port: ${port} }
  gone: { protocol: tcp, host: 127.0.0.1, port: 1 }
devices:
  press: { bus: plc, unit_id: 1, tags: ${tags} }
  away: { bus: gone, unit_id: 1, tags: { x: { holding: 0 } } }
uplinks: { cloud: { nodes: ["mqtt://127.0.0.1:1"], out: [{ from: "holdfast/#" }] } }
`);
    await daemon.start();
    client = await connectAsync(`mqtt://127.0.0.1:${daemon.port()}`);
    client.on('message', (topic, payload) =>
      retained.set(topic, JSON.parse(payload.toString()) as Record<string, unknown>),
    );
    await client.subscribeAsync('$SYS/gateway/#');
  });
  after(async () => {
    // Whatever there is, so that a start that failed ends here.
    await client?.endAsync();
    await daemon?.remove();
    await plant?.stop();
  });

  async function scrape(): Promise<Scrape> {
    const answer = await fetch(`http://127.0.0.1:${daemon?.port('http')}/metrics`);
    const lines = (await answer.text()).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
    return new Map(
      lines.map((line) => [
        line.slice(0, line.lastIndexOf(' ')),
        Number(line.slice(line.lastIndexOf(' ') + 1)),
      ]),
    );
  }

  /** Once the statistics of a period with reads in it have come; each bus tells its own. */
  const full = (): Promise<Scrape> =>
    until(
      'metrics of a read',
      async () => {
        const all = await scrape();
        const isLearned = valueOf(all, 'holdfast_request_response_seconds', { ...REQUEST, quantile: '0.5' });
        const other = valueOf(all, 'holdfast_bus_up', { bus: 'gone' });
        return isLearned !== undefined && other !== undefined && all;
      },
      25_000,
    );

  test('/metrics tells them for each bus, device and request', async () => {
    const all = await full();
    assert.equal(valueOf(all, 'holdfast_request_wasted_registers', REQUEST), 2);
    assert.equal(valueOf(all, 'holdfast_request_tags', REQUEST), 4);
    assert.equal(valueOf(all, 'holdfast_bus_up', { bus: 'plc' }), 1);
    assert.equal(valueOf(all, 'holdfast_bus_up', { bus: 'gone' }), 0);
    assert.equal(valueOf(all, 'holdfast_device_online', { device: 'away' }), 0);
    assert.equal(valueOf(all, 'holdfast_device_refused_tags', { device: 'press' }), 1);
    const exceptions = valueOf(all, 'holdfast_device_exceptions_total', { device: 'press', code: '2' });
    assert.ok(exceptions !== undefined && exceptions >= 1);
    const errors = valueOf(all, 'holdfast_bus_errors_total', { bus: 'plc', kind: 'exception' });
    assert.ok(errors !== undefined && errors >= 1);
    for (const [name, labels] of [
      ['bus', { bus: 'plc' }],
      ['device', { device: 'press' }],
      ['request', REQUEST],
    ] as const) {
      assert.ok((valueOf(all, `holdfast_${name}_reads_total`, labels) ?? 0) > 0, name);
      for (const what of ['response', 'lateness'])
        for (const quantile of ['0.5', '0.95', '0.99']) {
          const seconds = valueOf(all, `holdfast_${name}_${what}_seconds`, { ...labels, quantile });
          assert.ok(seconds !== undefined && seconds > 0 && seconds < 10, `${name} ${what} ${quantile}`);
        }
      if (name === 'request') continue;
      const share = valueOf(all, `holdfast_${name}_utilisation_ratio`, labels) ?? NaN;
      assert.ok(share > 0 && share <= 1, name);
    }
  });

  test('topics under $SYS tell the same', async () => {
    await full();
    const bus = await until('the topic of the bus', () => retained.get('$SYS/gateway/bus/plc'));
    const device = await until('the topic of the device', () => retained.get('$SYS/gateway/device/press'));
    for (const key of ['utilisation', 'demand', 'errors', 'missed', 'lateness', 'response'])
      assert.ok(key in bus, key);
    const requests = device['requests'] as readonly Record<string, unknown>[];
    const request = requests.find(({ quantity }) => quantity === 6);
    assert.ok(request !== undefined);
    assert.equal(request['wasted'], 2);
    for (const key of ['utilisation', 'errors', 'exceptions', 'lateness', 'response'])
      assert.ok(key in device, key);
    for (const key of ['reads', 'errors', 'lateness', 'response']) assert.ok(key in request, key);
  });

  test('every metric that the dashboard shows is one that a gateway tells', async () => {
    // Our own file.
    const { panels } = JSON.parse(readFileSync(join(packageFolder(), 'packaging/grafana.json'), 'utf8')) as {
      panels: readonly { readonly title: string; readonly targets: readonly { readonly expr: string }[] }[];
    };
    const told = new Set([...(await full()).keys()].map((key) => key.split('{', 1)[0]));
    for (const { title, targets } of panels) {
      const shown = targets.flatMap(({ expr }) => expr.match(/holdfast_\w+/g) ?? []);
      assert.ok(shown.length > 0, title);
      for (const metric of shown) assert.ok(told.has(metric), `${title} shows ${metric}, which nobody tells`);
    }
  });
});
