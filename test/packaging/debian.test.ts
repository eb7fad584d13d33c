import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { connectAsync } from 'mqtt';
import { packageFolder } from '../../src/entry.js';
import { ModbusServer } from '../support/modbusserver.js';
import { PtyPair } from '../support/ptypair.js';
import { until, within } from '../support/wait.js';

const root = mkdtempSync(join(tmpdir(), 'holdfast-deb-'));
const pty = new PtyPair();
const server = new ModbusServer('libmodbus', { kind: 'rtu', path: pty.far, baud: 115_200 }, 7, {
  'holding-register': { 0: [215] },
});
let service: ChildProcess | null = null;

before(async () => {
  const file = execFileSync(process.execPath, [join(packageFolder(), 'scripts/package-deb.mjs')], {
    encoding: 'utf8',
  });
  execFileSync('dpkg-deb', ['--extract', file.trim(), root]);
  await pty.plugIn();
  await server.start();
});
after(async () => {
  service?.kill('SIGKILL');
  await server.kill();
  await pty.remove();
  rmSync(root, { recursive: true, force: true });
});

const unitFile = (): string => join(root, 'lib/systemd/system/holdfast.service');
const settingOf = (name: string): string =>
  new RegExp(`^${name}=(.*)$`, 'm').exec(readFileSync(unitFile(), 'utf8'))?.[1] ?? '';

test('the service of the Debian package runs from the package alone, polls a serial line and stops cleanly', async () => {
  const config = join(root, 'etc/holdfast/holdfast.yaml');
  const text = readFileSync(config, 'utf8')
    .replace('port: 1883', 'port: 0')
    .replace('/var/lib/holdfast', join(root, 'var/lib/holdfast'));
  writeFileSync(
    config,
    `${text}
gateway: { id: deb }
buses: { line: { protocol: rtu, path: ${pty.near}, baud: 115200 } }
devices: { meter: { bus: line, unit_id: 7, tags: { level: { holding: 0, scale: 0.1, rate: 200ms } } } }
`,
  );
  const [program = '', ...args] = settingOf('ExecStart').split(' ');
  // Only its own files: no node_modules above, no variable of ours.
  service = spawn(
    join(root, program),
    args.map((arg) => (arg.startsWith('/') ? join(root, arg) : arg)),
    { cwd: '/', env: { PATH: process.env['PATH'] ?? '' }, stdio: ['ignore', 'ignore', 'pipe'] },
  );
  const log: Record<string, unknown>[] = [];
  const { stderr } = service;
  assert.ok(stderr);
  createInterface({ input: stderr }).on('line', (line) =>
    log.push(JSON.parse(line) as Record<string, unknown>),
  );
  const ready = await until('ready', () => log.find(({ msg }) => msg === 'ready'));
  const [url = ''] = ready['listeners'] as string[];
  const client = await connectAsync(url);
  const values: string[] = [];
  client.on('message', (_topic, payload) => values.push(payload.toString()));
  await client.subscribeAsync('holdfast/deb/data/meter/level');
  await until('the value', () => values.some((value) => value.startsWith('{"v":21.5,"q":"good"')));
  await client.endAsync();
  const ended = new Promise<number | null>((resolve) => service?.once('exit', resolve));
  service.kill('SIGTERM');
  assert.equal(await within('the stop', ended), 0);
});

test('the program is many files, so that a gateway holds in memory what it uses and not all there is', () => {
  const program = join(root, 'usr/lib/holdfast/dist');
  const sizes = readdirSync(program, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.js') && !name.startsWith('page/'))
    .map((name) => statSync(join(program, name)).size);
  assert.ok(sizes.length > 20, `${sizes.length} files`);
  assert.ok(Math.max(...sizes) < 800_000, `one has ${Math.max(...sizes)} bytes`);
});

test('its unit is one that systemd takes, and leaves the service little to do harm with', () => {
  writeFileSync(
    join(root, 'holdfast.service'),
    readFileSync(unitFile(), 'utf8').replace('/usr/bin/holdfast', `"${join(root, 'usr/bin/holdfast')}"`),
  );
  const verified = execFileSync('systemd-analyze', ['verify', '--man=no', join(root, 'holdfast.service')], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  assert.equal(verified, '');
  const judged = execFileSync(
    'systemd-analyze',
    ['security', '--offline=true', '--no-pager', join(root, 'holdfast.service')],
    { encoding: 'utf8' },
  );
  const exposure = Number(/exposure level for \S+: ([\d.]+)/.exec(judged)?.[1]);
  assert.ok(exposure <= 2.5, judged);
});

test('an upgrade leaves a service that was disabled disabled, and a purge leaves nothing', () => {
  const commands = join(root, 'commands');
  mkdirSync(commands);
  mkdirSync(join(root, 'run/systemd/system'), { recursive: true });
  // What would change the machine itself is only noted.
  for (const name of ['adduser', 'chown', 'systemctl', 'deb-systemd-invoke'])
    writeFileSync(join(commands, name), `#!/bin/sh\necho ${name} "$@"\n`, { mode: 0o755 });
  const dpkgRuns = (script: string, ...args: string[]): string =>
    execFileSync('sh', [join(packageFolder(), 'packaging/debian', script), ...args], {
      encoding: 'utf8',
      env: {
        PATH: `${commands}:${process.env['PATH'] ?? ''}`,
        DPKG_ROOT: root,
        DPKG_MAINTSCRIPT_PACKAGE: 'holdfast',
      },
    });
  const wish = join(root, 'etc/systemd/system/multi-user.target.wants/holdfast.service');
  const isEnabled = (): boolean => lstatSync(wish, { throwIfNoEntry: false }) !== undefined;
  assert.match(dpkgRuns('postinst', 'configure', ''), /^deb-systemd-invoke start holdfast.service$/m);
  assert.ok(isEnabled());
  rmSync(wish); // as `systemctl disable` does
  const upgraded = dpkgRuns('postinst', 'configure', '0.0.9');
  assert.ok(!isEnabled());
  // It starts none that is disabled and does not run.
  assert.match(upgraded, /^deb-systemd-invoke restart holdfast.service$/m);
  assert.doesNotMatch(upgraded, /chown/, 'whose files they are is not touched again');
  dpkgRuns('prerm', 'remove');
  dpkgRuns('postrm', 'remove');
  dpkgRuns('postrm', 'purge');
  const left = readdirSync(join(root, 'etc'), { recursive: true, encoding: 'utf8' });
  assert.deepEqual(
    left.filter((name) => name.includes('holdfast')),
    [],
  );
});

test('its scripts and the one for OpenWrt are right for every POSIX shell', () => {
  for (const name of [
    'debian/postinst',
    'debian/prerm',
    'debian/postrm',
    'holdfast.sh',
    'openwrt/holdfast.init',
  ]) {
    execFileSync('dash', ['-n', join(packageFolder(), 'packaging', name)]);
  }
});
