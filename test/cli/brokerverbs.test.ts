/** sub, pub, watch and status against a running gateway, as people and scripts use them. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { Daemon } from '../support/daemon.js';
import { holdfast } from '../support/holdfast.js';
import { startTcp } from '../support/plant.js';
import { until } from '../support/wait.js';
import { RunningVerb, Typist } from '../support/verb.js';

const users = {
  // operator, "operator password"; viewer, "viewer password": made in startGateway.
  operator: 'operator password',
  viewer: 'viewer password',
};

/** A gateway with one device, with or without access rules; port 0 is asked for by --url. */
async function startGateway(
  t: TestContext,
  isOpen: boolean,
  more = '',
): Promise<{ daemon: Daemon; url: string }> {
  const { port } = await startTcp(t, [
    {
      unitId: 1,
      values: [{ table: 'holding-register', address: 0, quantity: 1, script: 'fixed', hex: '00d7' }],
    },
  ]);
  const access = isOpen
    ? 'anonymous: true'
    : `users_file: users.passwd
  access:
    - { user: operator, allow: [read, write], topic: "holdfast/#" }
    - { user: viewer, allow: [read], topic: "holdfast/+/status" }`;
  const daemon = new Daemon(`
version: 1
gateway: { id: gw }
broker:
  listeners: [{ protocol: mqtt, host: 127.0.0.1, port: 0 }, { unix: ./mqtt.sock }]
  ${access}
  store: memory
buses: { plc: { protocol: tcp, host: 127.0.0.1, port: ${port} } }
devices:
  press1: { bus: plc, unit_id: 1, rate: 200ms, tags: { temperature: { holding: 0, type: int16, scale: 0.1, unit: "°C", report: always } } }
${more}
`, { files: { 'users.passwd': '' } }); // prettier-ignore
  t.after(() => daemon.remove());
  if (!isOpen)
    for (const [user, password] of Object.entries(users))
      await holdfast(['passwd', '-f', 'users.passwd', '-p', '-', user], {
        input: password,
        cwd: daemon.folder,
      });
  await daemon.start();
  return { daemon, url: `mqtt://127.0.0.1:${daemon.port()}` };
}

test('pub reaches sub, also through the socket that the gateway file names, and --jsonl keeps bytes', async (t) => {
  const { daemon, url } = await startGateway(t, true);
  const sub = new RunningVerb(t, ['sub', '-n', '2', '-q', '1', '--jsonl', '--url', url, 'a/#']);
  // Published until it is heard: a subscription is not announced.
  const pub = async (): Promise<void> => {
    const { code, stderr } = await holdfast(['pub', '-c', daemon.configFile, 'a/b'], { input: 'hello' });
    assert.equal(code, 0, stderr);
  };
  while (!sub.stdout.includes('hello')) await pub();
  if (sub.stdout.trim().split('\n').length < 2) await pub();
  assert.equal(await sub.ended(), 0);
  const [first] = sub.stdout.split('\n');
  const { topic, payload, qos, retain } = JSON.parse(first ?? '') as Record<string, unknown>;
  assert.deepEqual(
    { topic, payload, qos, retain },
    { topic: 'a/b', payload: 'hello', qos: 1, retain: false },
  );

  assert.equal((await holdfast(['pub', '-r', '--url', url, 'kept', 'yes'])).code, 0);
  assert.equal((await holdfast(['sub', '-n', '1', '--url', url, 'kept'])).stdout, 'kept yes\n');
});

test('a broker that is not there is exit 6, a wrong command line exit 2, each with a next step', async () => {
  const gone = await holdfast(['status', '--url', 'mqtt://127.0.0.1:1']);
  assert.equal(gone.code, 6);
  assert.match(gone.stderr, /ECONNREFUSED.*holdfast run/s);
  for (const args of [
    ['sub'],
    ['pub'],
    ['pub', 'a/#', 'x'],
    ['sub', '-q', '3', 'a'],
    ['status', '--url', 'http://x'],
  ])
    assert.equal((await holdfast(args)).code, 2, args.join(' '));
  const typo = await holdfast(['stauts']);
  assert.equal(typo.code, 2);
  assert.match(typo.stderr, /did you mean status/);
});

test('users come in by environment or file; no user is exit 6, no right exit 7', async (t) => {
  const { url } = await startGateway(t, false);
  const nobody = await holdfast(['status', '--url', url]);
  assert.equal(nobody.code, 6, nobody.stderr);
  assert.match(nobody.stderr, /--user/);
  const env = { HOLDFAST_URL: url, HOLDFAST_USER: 'operator', HOLDFAST_PASSWORD: users.operator };
  assert.equal((await holdfast(['status'], { env })).code, 0);
  const viewer = ['--url', url, '-u', 'viewer', '-p', '-'];
  const denied = await holdfast(['pub', ...viewer, 'holdfast/gw/set/press1/temperature', '1'], {
    input: users.viewer,
  });
  assert.equal(denied.code, 7, denied.stderr);
  assert.match(denied.stderr, /access rule/);
});

test('status tells buses and devices, and --strict ends with 4 when one is silent', async (t) => {
  const { daemon, url } = await startGateway(t, true);
  await new RunningVerb(t, ['watch', '-n', '1', '--url', url]).ended();
  const { stdout } = await holdfast(['status', '--json', '--url', url, '--strict']);
  const status = JSON.parse(stdout) as { well: boolean; devices: { name: string; state: string }[] };
  assert.equal(status.well, true);
  assert.deepEqual(status.devices.map(({ name, state }) => [name, state]), [['press1', 'online']]);
  const text = (await holdfast(['status', '-c', daemon.configFile])).stdout;
  assert.match(text, /^gw {2}up .*\nbus plc +up\ndevice press1 +online/);
}); // prettier-ignore

test('status tells uplinks, what waits for them and why, and --strict ends with 6 when one is away', async (t) => {
  const { daemon, url } = await startGateway(t, true, 'uplinks: { cloud: { nodes: ["mqtt://127.0.0.1:1"], out: [{ from: "holdfast/#" }] } }');
  await new RunningVerb(t, ['watch', '-n', '1', '--url', url]).ended();
  await until('the refusal', () => daemon.logged(/^uplink not connected/)[0]);
  const { stdout, code } = await holdfast(['status', '--strict', '--url', url]);
  assert.equal(code, 6, stdout);
  assert.match(stdout, /uplink cloud +down +\d+ messages wait: .*ECONNREFUSED/);
  const { stdout: json } = await holdfast(['status', '--json', '--url', url]);
  const { well, uplinks } = JSON.parse(json) as { well: boolean; uplinks: { name: string; state: string }[] };
  assert.deepEqual([well, uplinks.map(({ name, state }) => [name, state])], [false, [['cloud', 'down']]]);
}); // prettier-ignore

test('watch shows what a device tells in one JSON as it shows any other value', async (t) => {
  const batch = `  press2: { bus: plc, unit_id: 1, rate: 200ms, payload: batch, report: always, tags: { level: { holding: 0, unit: cm }, far: { holding: 1 } } }`;
  const { url } = await startGateway(t, true, batch);
  const watch = new RunningVerb(t, ['watch', '-n', '2', '--url', url, 'press2']);
  assert.equal(await watch.ended(), 0);
  assert.deepEqual(watch.stdout.trim().split('\n').sort(), ['press2/far 0', 'press2/level 215 cm']);
});

test('watch shows names, values and units: lines in a pipe, a table at a terminal until Ctrl-C', async (t) => {
  const { url } = await startGateway(t, true);
  const { stdout } = await holdfast(['watch', '-n', '2', '--url', url, 'press1']);
  assert.match(stdout, /^press1\/temperature 21.5 °C\n/);
  const { stdout: json } = await holdfast(['watch', '-n', '1', '--jsonl', '--url', url, 'press1/temp*']);
  const { name, v, q, unit } = JSON.parse(json) as Record<string, unknown>;
  assert.deepEqual([name, v, q, unit], ['press1/temperature', 21.5, 'good', '°C']);
  const typist = new Typist(t, ['watch', '--url', url]);
  await typist.sees(/press1\/temperature {2}21\.5 {2}°C {2}good/);
  await typist.sees(/\x1b\[1A/);
  typist.write('\x03');
  assert.equal(await typist.ended, 130);
});
