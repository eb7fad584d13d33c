import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, test } from 'node:test';
import { packageFolder } from '../../src/entry.js';
import { Daemon } from '../support/daemon.js';
import { until } from '../support/wait.js';

const CONFIG = `version: 1
broker: { listeners: [{ protocol: mqtt, host: 127.0.0.1, port: 0 }], anonymous: true, store: memory }
`;
const folder = mkdtempSync(join(tmpdir(), 'holdfast-notify-'));
const path = join(folder, 'notify');
const heard: string[] = [];
const ear = spawn('/usr/bin/python3', [join(packageFolder(), 'test/support/peers/notify_socket.py'), path], {
  stdio: ['ignore', 'pipe', 'inherit'],
});
createInterface({ input: ear.stdout }).on('line', (line) => heard.push(...(JSON.parse(line) as string[])));
after(() => {
  ear.kill();
  rmSync(folder, { recursive: true });
});

test('systemd hears that the gateway is ready, that its loop turns, and that it stops', async () => {
  await until('the socket', () => heard.includes('listening'));
  const env = { NOTIFY_SOCKET: path, WATCHDOG_USEC: '300000' };
  const daemon = new Daemon(CONFIG, { env });
  try {
    await daemon.start();
    await until('ready', () => heard.includes('READY=1'));
    await until('three turns', () => heard.filter((line) => line === 'WATCHDOG=1').length >= 3);
    assert.equal(await daemon.stop(), 0);
    await until('the stop', () => heard.includes('STOPPING=1'));
    assert.deepEqual(
      heard.filter((line) => /^(READY|STOPPING)/.test(line)),
      ['READY=1', 'STOPPING=1'],
    );
  } finally {
    await daemon.remove();
  }
});

test('a WATCHDOG_PID of somebody else is not ours to answer', async () => {
  const daemon = new Daemon(CONFIG, {
    env: { NOTIFY_SOCKET: path, WATCHDOG_USEC: '20000', WATCHDOG_PID: '1' },
  });
  try {
    const mark = heard.length;
    await daemon.start();
    await until('ready', () => heard.slice(mark).includes('READY=1'));
    assert.equal(await daemon.stop(), 0);
    await until('the stop', () => heard.slice(mark).includes('STOPPING=1'));
    assert.ok(!heard.slice(mark).includes('WATCHDOG=1'));
  } finally {
    await daemon.remove();
  }
});
