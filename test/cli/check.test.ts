/** `holdfast check` and `holdfast explain` as they are called. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { packageFolder } from '../../src/entry.js';
import { holdfast } from '../support/holdfast.js';

const root = packageFolder();
const folder = mkdtempSync(join(tmpdir(), 'holdfast-check-'));
after(() => rmSync(folder, { recursive: true }));

/** Called from the repository, as in the documentation. */
async function call(...args: string[]): Promise<{ code: number | null; out: string; err: string }> {
  const { code, stdout, stderr } = await holdfast(args, { cwd: root });
  return { code, out: stdout, err: stderr };
}

function write(name: string, text: string): string {
  const file = join(folder, name);
  writeFileSync(file, text);
  return file;
}

test('a config with many mistakes is answered with one line for each and exit 3', async () => {
  const file = 'test/config/cases/mistakes/config.yaml';
  const { code, out } = await call('check', '--config', file);
  const expected = readFileSync(join(root, 'test/config/cases/mistakes/expected.txt'), 'utf8')
    .trim()
    .split('\n');
  assert.equal(code, 3);
  assert.deepEqual(
    out.trim().split('\n').slice(0, -1),
    expected.map((line) => line.replace(/^config\.yaml/, file)),
  );
  assert.match(out, new RegExp(`${expected.length} errors, 0 warnings`));
});

test('a right config is answered with its plan and exit 0', async () => {
  const { code, out } = await call('check', 'config/example.yaml');
  assert.equal(code, 0);
  assert.match(
    out,
    /^Bus line1 +\/dev\/ttyS1 9600 8N1 +11 devices, 182 tags -> \d+ requests per cycle, \d+ ms on the wire, [\d.]+ % load/m,
  );
  assert.match(
    out,
    /^Topics +188 data topics, longest 47 bytes, 5 levels; example holdfast\/plant-7\/data\/meter1\/voltage_l1/m,
  );
  assert.match(out, /^Line line1 +RS-485 direction/m);
  assert.match(out, /^no problems$/m);
});

test('an uplink says how many topics it takes and how long its queue lasts', async () => {
  const text = readFileSync(join(root, 'config/demo.yaml'), 'utf8');
  const uplink =
    'uplinks:\n  cloud: { nodes: ["mqtt://192.0.2.1"], out: [{ from: "holdfast/+/data/#" }], queue: { max_bytes: 64MiB } }\n';
  const { out } = await call('check', write('uplink.yaml', text + uplink));
  assert.match(
    out,
    /^Uplink cloud {2}mqtt:\/\/192\.0\.2\.1; 61 topics match 1 rule; queue 64MiB lasts \d+h when every poll is a change$/m,
  );
});

test('--json gives problems and plan as one document', async () => {
  const { out } = await call('check', '-c', 'config/example.yaml', '--json');
  const answer = JSON.parse(out) as {
    ok: boolean;
    problems: unknown[];
    plan: { buses: { name: string; load: number }[] };
  };
  assert.equal(answer.ok, true);
  assert.deepEqual(answer.problems, []);
  assert.deepEqual(
    answer.plan.buses.map(({ name }) => name),
    ['line1', 'plc'],
  );
  assert.ok((answer.plan.buses[0]?.load ?? 0) > 0);
});

const slow = (rate: string): string => `version: 1
broker: { anonymous: true }
buses:
  line1: { protocol: rtu, path: /dev/ttyS9, baud: 2400, timeout: 2s }
devices:
  "meter-{unit_id}": { bus: line1, unit_id: 1-4, map: eastron-sdm120, rate: ${rate} }
`;

test('a line that cannot carry the asked rates is an error at its key, with what would make it fit', async () => {
  const { code, out } = await call('check', '--config', write('slow.yaml', slow('1s')));
  assert.equal(code, 3);
  assert.match(out, /slow\.yaml:4:3 {2}HF3302 {2}buses\.line1: planned load \d+ % of \/dev\/ttyS9 2400 8N1/);
  assert.match(
    out,
    /the fastest rate that fits instead of 1s is [\d.]+s; cheapest fixes: 9600 baud \(\d+ %\)/,
  );
  assert.match(out, /Bus line1 .* requests per cycle, \d+ ms on the wire, \d+ % load/);
});

test('a line with little time left is a warning, and so is a network that may be too slow', async () => {
  const { out: all } = await call('check', '--config', write('slow.yaml', slow('1s')), '--json');
  const { plan } = JSON.parse(all) as { plan: { buses: readonly { load: number }[] } };
  // Just below what the line can carry.
  const rate = `${Math.ceil((plan.buses[0]?.load ?? 0) * 1000 * 1.1)}ms`;
  const { code, out } = await call('check', '--config', write('busy.yaml', slow(rate)));
  assert.equal(code, 0);
  assert.match(out, /busy\.yaml:4:3 {2}HF3302 warning {2}buses\.line1: planned load 9\d %/);
  const network = slow('1ms').replace(/\{ protocol: rtu.*\}/, '{ protocol: tcp, host: 127.0.0.1 }');
  const assumed = await call('check', '--config', write('network.yaml', network));
  assert.equal(assumed.code, 0);
  assert.match(assumed.out, /HF3302 warning {2}buses\.line1: planned load \d{3,} %/);
});

test('--map checks a device map alone', async () => {
  const right = await call('check', '--map', 'devices/xy-md02.yaml');
  assert.equal(right.code, 0);
  assert.match(right.out, /6 tags/);
  const file = write(
    'probe.yaml',
    'version: 1\ntitle: Probe\nsources: [label]\nverified: documents(1)\ntags:\n  t: { input: 1, type: int61 }\n',
  );
  const wrong = await call('check', '--map', file);
  assert.equal(wrong.code, 3);
  assert.match(
    wrong.out,
    /probe\.yaml:6:24 {2}HF1104 {2}tags\.t\.type: "int61" is not one of .*; did you mean int16\?/,
  );
});

test('the template of a device map is a valid one', async () => {
  const file = write('template.yaml', readFileSync(join(root, 'devices/template.yaml.txt'), 'utf8'));
  assert.match((await call('check', '--map', file)).out, /^5 tags\nno problems$/m);
});

test('a file that is not there, and no file at all, are told apart', async () => {
  const absent = await call('check', '--config', join(folder, 'absent.yaml'));
  assert.equal(absent.code, 3);
  assert.match(absent.out, /absent\.yaml {2}HF1000 {2}cannot be read: there is no such file/);
  assert.match((await call('check', folder)).out, /HF1000 {2}cannot be read: it is a folder/);
  assert.equal((await call('check')).code, 2);
});

test('explain shows the requests that read a device', async () => {
  const { code, out } = await call('explain', 'meter1', '--config', 'config/demo.yaml');
  assert.equal(code, 0);
  assert.match(out, /Device meter1: unit 7 of bus line1 .* map eastron-sdm630/);
  assert.match(out, /2s +input register 0 \(30001\) x \d+, [\d.]+ ms.*: voltage_l1 voltage_l2/);
});

test('explain shows where each setting of a tag stands', async () => {
  const { out } = await call('explain', 'press1/temperature', '-c', 'config/demo.yaml');
  const lines = readFileSync(join(root, 'config/demo.yaml'), 'utf8').split('\n');
  const lineOf = (text: string): number => lines.findIndex((line) => line.includes(text)) + 1;
  assert.match(out, new RegExp(`rate +1s +device, config/demo.yaml:${lineOf('rate: 1s')}`));
  assert.match(out, new RegExp(`scale +0.1 +tag, config/demo.yaml:${lineOf('temperature:')}`));
  assert.match(out, /qos +1 +default/);
  assert.match(out, /Read every 1s: input register 0 \(30001\) x \d+, [\d.]+ ms.*: .*\btemperature\b/);
  const tags = '{ f: { holding: 0 }, p: { holding: 1, scale: { pow10_of: f } } }';
  const device = `devices: { d: { bus: b, unit_id: 1, tags: ${tags} } }`;
  const file = write(
    'scaled.yaml',
    `version: 1\nbuses: { b: { protocol: tcp, host: 127.0.0.1 } }\n${device}\n`,
  );
  assert.match((await call('explain', 'd/p', '-c', file)).out, /scale +pow10_of f +tag/);
  const unknown = await call('explain', 'press2', '-c', 'config/demo.yaml');
  assert.equal(unknown.code, 2);
  assert.match(unknown.err, /there is no device press2; did you mean press1\?/);
});
