/** The example for a platform that dictates everything, run as it is shipped against a line and a broker elsewhere. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { packageFolder } from '../../src/entry.js';
import type { ValueSpec } from '../../src/simulator/spec.js';
import { Daemon } from '../support/daemon.js';
import { FarSide } from '../support/farside.js';
import { startLine } from '../support/plant.js';
import { until } from '../support/wait.js';

const example = readFileSync(join(packageFolder(), 'config/examples/iot-platform.yaml'), 'utf8');
const TIME = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/;

test('the example has at most 40 lines', () => {
  assert.ok(example.trimEnd().split('\n').length <= 40);
});

test('a platform gets its reports, heartbeat and alarm, and its command to a relay is answered', async (t) => {
  const cleanups: (() => unknown)[] = [];
  t.after(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  });
  const { plant, path } = await startLine(t, [{ unitId: 1, values: METER }, { unitId: 2 }]);
  const far = await FarSide.create(cleanups);
  await far.start();
  const platform = await far.client();
  const got: Record<string, Record<string, unknown>[]> = {};
  platform.on('message', (topic, payload) => {
    (got[topic] ??= []).push(JSON.parse(payload.toString()) as Record<string, unknown>);
  });
  await platform.subscribeAsync('data/sg/#', { qos: 1 });
  const hurried = example
    .replace('store: memory', 'store: memory, listeners: [{ port: 0 }]')
    .replace('rate: 10s', 'rate: 300ms')
    .replace('every: 60s', 'every: 1s');
  const daemon = new Daemon(hurried, {
    env: { SERIAL_PORT: path, PLATFORM: far.url, SERIAL_NUMBER: 'EG7' },
  });
  cleanups.push(() => daemon.remove());
  await daemon.start();

  const first = async (topic: string): Promise<Record<string, unknown>> =>
    until(`${topic} on ${Object.keys(got).join(' ')}`, () => got[`data/sg/EG7/${topic}`]?.[0], 20_000);
  const info = await first('info');
  assert.equal(info['sn'], 'EG7');
  assert.equal(info['model'], 'eg200');
  const report = await first('report');
  assert.equal(report['sn'], 'EG7');
  assert.match(String(report['time']), TIME);
  assert.deepEqual(report['data'], {
    voltageA: 230.5,
    voltageB: 231,
    voltageC: 0,
    currentA: 1.5,
    currentB: -2,
    currentC: 0,
  });
  assert.match(String((await first('heart'))['time']), TIME);

  await platform.publishAsync('data/sg/EG7/control', '{"id":"c1","output":"out1","on":true}', { qos: 1 });
  assert.deepEqual(await first('reply'), { sn: 'EG7', id: 'c1', ok: true, error: null });
  assert.equal(await plant.peek('line', 2, 'coil', 0, 1), '01');

  assert.equal(got['data/sg/EG7/alarm'], undefined);
  await plant.setFaults('line', 1, [{ name: 'dead' }]);
  const alarm = await first('alarm');
  assert.match(String(alarm['alarm']), /^meter .*\w/);
  const reports = got['data/sg/EG7/report'] ?? [];
  await until('another heartbeat', () => (got['data/sg/EG7/heart']?.length ?? 0) > 2, 20_000);
  for (const { data } of reports)
    assert.ok(Object.keys(data as object).length > 0, 'no report without a value');
  assert.equal(await daemon.stop(), 0);
});

/** 40001 to 40012: six floats, of which two stay 0. */
const METER: ValueSpec[] = [
  [0, '43668000'],
  [2, '43670000'],
  [6, '3fc00000'],
  [8, 'c0000000'],
].map(([address, hex]) => ({
  table: 'holding-register',
  address: Number(address),
  quantity: 2,
  script: 'fixed',
  hex: String(hex),
}));
