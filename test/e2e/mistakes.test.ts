import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Daemon } from '../support/daemon.js';
import { holdfast } from '../support/holdfast.js';
import { startTcp } from '../support/plant.js';
import { until } from '../support/wait.js';

/** Ten mistakes of ten kinds; each is marked where it should be found. */
const MARKED = `version: 1
gateway: { id: «plant 7» }
broker:
  listeners:
    - { protocol: mqtt, host: 127.0.0.1, port: «70000» }
  «anonymus»: true
  store: { path: data }
buses:
  plc: { protocol: tcp, host: 127.0.0.1, timeout: «5» }
devices:
  press1:
    bus: «pcl»
    unit_id: 1
    tags:
      temperature: { holding: 0, type: «flaot32» }
      door: { holding: «70000», type: uint16 }
      setpoint: { holding: 10, type: uint16, rate: «fastt» }
      level: { holding: 12, type: int16, «scal»: 0.1 }
  press2: { bus: plc, unit_id: «300», tags: { speed: { input: 0 } } }
`;

const folder = mkdtempSync(join(tmpdir(), 'holdfast-mistakes-'));
const file = join(folder, 'gateway.yaml');
writeFileSync(file, MARKED.replace(/[«»]/g, ''));
after(() => rmSync(folder, { recursive: true }));

/** line:column of each mark, counted without the marks before it. */
const places = MARKED.split('\n').flatMap((line, index) =>
  [...line.matchAll(/«/g)].map(
    (match) => `${index + 1}:${line.slice(0, match.index).replace(/[«»]/g, '').length + 1}`,
  ),
);

for (const verb of ['check', 'run']) {
  test(`${verb} tells ten mistakes at once, each with its line and column, ends with 3, and opens nothing`, async () => {
    const { code, stdout, stderr } = await holdfast([verb, '--config', file]);
    assert.equal(code, 3);
    const told = `${stdout}${stderr}`.split('\n').filter((line) => line.startsWith(`${file}:`));
    const found = told.map((line) => /^:(\d+:\d+) {2}HF\d{4} {2}\S+/.exec(line.slice(file.length))?.[1]);
    assert.equal(places.length, 10);
    assert.deepEqual(found.sort(), [...places].sort(), told.join('\n'));
    assert.ok(!existsSync(join(folder, 'data')));
    assert.doesNotMatch(stderr, /"msg":"ready"/);
  });
}

test('a file that is not there is one clear message and exit code 3', async () => {
  const { code, stderr } = await holdfast(['run', '--config', join(folder, 'missing.yaml')]);
  assert.equal(code, 3);
  assert.match(
    stderr,
    /missing\.yaml {2}HF\d{4} {2}cannot be read: there is no such file; 'holdfast init' makes one/,
  );
});

test('a line that is not there is logged once by its name, with what to look at', async (t) => {
  const daemon = await new Daemon(`version: 1
gateway: { id: plant-7 }
broker: { listeners: [{ protocol: mqtt, port: 0 }], anonymous: true, store: memory }
buses:
  line1: { protocol: rtu, path: /dev/holdfast-is-not-here, baud: 9600 }
  plc: { protocol: tcp, host: 127.0.0.1, port: 1 }
devices:
  meter1: { bus: line1, unit_id: 7, tags: { level: { holding: 0 } } }
  press1: { bus: plc, unit_id: 1, tags: { level: { holding: 0 } } }
`).start();
  t.after(() => daemon.remove());
  await until('both to be told', () => daemon.logged('bus-down').length >= 2);
  const told = daemon.logged('bus-down').map(({ level, bus, error }) => [level, bus, String(error)]);
  told.sort();
  assert.equal(told.length, 2);
  assert.deepEqual(told.map(([level, bus]) => [level, bus]), [['warn', 'line1'], ['warn', 'plc']]);
  assert.match(told[0]?.[2] as string, /holdfast-is-not-here; is the adapter plugged in/);
  assert.match(told[1]?.[2] as string, /ECONNREFUSED 127\.0\.0\.1:1; is the port right/);
  assert.deepEqual(daemon.logged(/^device-/), []);
}); // prettier-ignore

test('a register and a unit that are not there are logged with what to try, and the register as it was asked for', async (t) => {
  const { port } = await startTcp(t, [
    { unitId: 1, holes: [{ table: 'holding-register', address: 40_001, quantity: 2 }] },
  ]);
  const daemon = await new Daemon(`version: 1
gateway: { id: plant-7 }
broker: { listeners: [{ protocol: mqtt, port: 0 }], anonymous: true, store: memory }
buses:
  plc: { protocol: tcp, host: 127.0.0.1, port: ${port}, timeout: 200ms }
devices:
  press1: { bus: plc, unit_id: 1, rate: 200ms, tags: { level: { holding: 0 }, twin: { holding: 0, type: int16 }, torque: { holding: 40001 } } }
  nobody: { bus: plc, unit_id: 9, rate: 200ms, tags: { level: { holding: 0 } } }
`).start();
  t.after(() => daemon.remove());
  const refused = await until('the refusal', () => daemon.logged('tag-refused')[0]);
  assert.deepEqual([refused['tag'], refused['register']], ['torque', 'holding register 40001 (440002)']);
  // In the form of all other lines, which a collector of logs can read.
  const warned = daemon.logged('the config can run, but look at it');
  assert.deepEqual(warned.map(({ level, code }) => [level, code]), [['warn', 'HF2107']]); // prettier-ignore
  assert.match(String(refused['error']), /^illegal data address; .*numbering: modicon/);
  const gone = await until('the silence', () => daemon.logged('device-offline')[0]);
  assert.match(String(gone['error']), /^\w.*; .*unit/);
  const degraded = await until('what is missing', () => daemon.logged('device-degraded')[0]);
  assert.match(String(degraded['error']), /^1 of 3 tags without an answer \(torque\): illegal data address/);
});
