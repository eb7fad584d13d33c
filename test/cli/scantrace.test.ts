/** scan and trace: on a simulated line and network, alone and by a running gateway whose polls pause meanwhile. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { Daemon } from '../support/daemon.js';
import { holdfast } from '../support/holdfast.js';
import { startLine, startTcp } from '../support/plant.js';
import { RunningVerb, Typist } from '../support/verb.js';
import { dissected } from '../support/wireshark.js';

interface Found {
  readonly unit: number;
  readonly setting: { readonly baud: number; readonly format: string } | null;
  readonly identity: string;
}

/** Whoever is there is found on a busy machine, too. */
const PATIENTLY = ['--timeout', '1s'];

const METER = { unitId: 7, identity: ['Acme', 'M-1', '2.0'], functions: [4, 43] };

test('a line is scanned: likely settings first, an exception counts, who is there says what it is', async (t) => {
  const { path } = await startLine(t, [METER, { unitId: 9 }]);
  const { stdout, stderr, code } = await holdfast(['scan', `rtu://${path}`, '--units', '5-9', '--baud', '9600,19200', '--format', '8N1,8E1', ...PATIENTLY, '--json']);
  assert.equal(code, 0, stderr);
  assert.match(stderr, /5 units under 4 settings; at worst \d+s/);
  assert.match(stderr, /unit 7 {2}10 %/);
  const found = JSON.parse(stdout) as Found[];
  assert.deepEqual(found.map(({ unit, setting }) => [unit, setting?.baud, setting?.format]), [[7, 9600, '8N1'], [9, 9600, '8N1']]);
  assert.match(found[0]?.identity ?? '', /Acme M-1 2\.0/);
}); // prettier-ignore

test('nobody there is exit 4 with what to look at, a wrong list exit 2, and Ctrl-C keeps what was found', async (t) => {
  const { path } = await startLine(t, [{ unitId: 2 }]);
  const url = `rtu://${path}`;
  const none = await holdfast(['scan', url, '--units', '5', '--baud', '9600', '--format', '8N1']);
  assert.equal(none.code, 4);
  assert.match(none.stderr, /wiring/);
  for (const args of [
    ['--units', '1-999'],
    ['--baud', 'x'],
    ['--format', '9N1'],
    ['--timeout', '1'],
  ])
    assert.equal((await holdfast(['scan', url, ...args])).code, 2, args.join(' '));
  const typist = new Typist(t, ['scan', url, '--units', '2-247', ...PATIENTLY]);
  await typist.sees(/unit 2 {2}9600 8N1/);
  await typist.sees(/\[ *\].*%/);
  typist.write('\x03');
  assert.equal(await typist.ended, 130);
  assert.match(typist.shown, /unit 2 {2}9600 8N1/);
});

test('the units behind a network address are found; one that answers for any unit is told as that', async (t) => {
  const { port } = await startTcp(t, [{ unitId: 1 }, { unitId: 3 }]);
  const args = ['scan', `tcp://127.0.0.1:${port}`, '--units', '1-3', ...PATIENTLY, '--jsonl'];
  const { stdout, code } = await holdfast(args);
  assert.equal(code, 0);
  const lines = stdout.trim().split('\n').map((line) => JSON.parse(line) as Found); // prettier-ignore
  assert.deepEqual(lines.map(({ unit }) => unit), [1, 3]); // prettier-ignore
});

async function gatewayOn(t: TestContext, bus: string): Promise<Daemon> {
  const daemon = new Daemon(`
version: 1
gateway: { id: gw }
broker: { listeners: [{ unix: ./mqtt.sock }, { protocol: mqtt, host: 127.0.0.1, port: 0 }], anonymous: true, store: memory }
buses: { line1: ${bus} }
devices: { meter1: { bus: line1, unit_id: 7, rate: 100ms, tags: { power: { input: 0, report: always, type: uint16 } } } }
`);
  t.after(() => daemon.remove());
  await daemon.start();
  return daemon;
}

test('a gateway scans the line that it holds, and polls again afterwards', async (t) => {
  const { plant, path } = await startLine(t, [METER]);
  const daemon = await gatewayOn(t, `{ protocol: rtu, path: "${path}", baud: 9600 }`);
  const at = ['-c', daemon.configFile];
  await new RunningVerb(t, ['watch', '-n', '1', ...at]).ended();
  const { stdout, stderr, code } = await holdfast([
    'scan',
    ...at,
    'line1',
    '--units',
    '6-8',
    ...PATIENTLY,
    '--json',
  ]);
  assert.equal(code, 0, stderr);
  assert.deepEqual((JSON.parse(stdout) as Found[]).map(({ unit }) => unit), [7]); // prettier-ignore
  assert.equal(await new RunningVerb(t, ['watch', '-n', '3', ...at]).ended(), 0);
  const { stdout: status } = await holdfast(['status', ...at]);
  assert.match(status, /device meter1 {2}online/);
  const wrong = await holdfast(['scan', ...at, 'lin1']);
  assert.match(wrong.stderr, /did you mean line1/);
  void plant;
});

test('frames of a line are told whole and decoded, and Wireshark reads the capture as Modbus/TCP', async (t) => {
  const { path } = await startLine(t, [METER]);
  const daemon = await gatewayOn(t, `{ protocol: rtu, path: "${path}", baud: 9600 }`);
  const pcap = join(daemon.folder, 'line.pcap');
  const at = ['-c', daemon.configFile];
  const { stdout, stderr, code } = await holdfast([
    'trace',
    ...at,
    'line1',
    '-n',
    '6',
    '--hex',
    '--pcap',
    pcap,
  ]);
  assert.equal(code, 0, stderr);
  const lines = stdout.trim().split('\n');
  assert.ok(lines.length >= 6, stdout);
  assert.match(stdout, /-> .* unit 7 {2}read input registers {2}0 {2}07 04 00 00 00 01/);
  assert.match(stdout, /<- +[\d.]+ms {2}unit 7 {2}read input registers {2}\d+/);
  const packets = dissected(pcap);
  assert.ok(packets.length >= 6);
  for (const packet of packets) {
    assert.equal(packet['frame.protocols'], 'raw:ip:tcp:mbtcp:modbus');
    assert.deepEqual([packet['mbtcp.unit_id'], packet['modbus.func_code']], ['7', '4']);
  }
  assert.equal(packets[1]?.['modbus.request_frame'], '1');
});

test('frames of a network bus come as JSON lines, and a wrong bus is exit 2', async (t) => {
  const { port } = await startTcp(t, [METER]);
  const daemon = await gatewayOn(t, `{ protocol: tcp, host: 127.0.0.1, port: ${port} }`);
  const at = ['-c', daemon.configFile];
  const { stdout, code } = await holdfast(['trace', ...at, 'line1', '-n', '2', '--jsonl']);
  assert.equal(code, 0);
  const [first] = stdout.split('\n');
  const { direction, hex } = JSON.parse(first ?? '') as Record<string, unknown>;
  assert.ok(direction === 'sent' || direction === 'received');
  assert.match(String(hex), /^[0-9a-f]{4}0000/);
  assert.equal((await holdfast(['trace', ...at, 'nothing'])).code, 2);
  assert.equal((await holdfast(['trace', ...at, 'line1', '--for', '300ms'])).code, 0);
});
