// The yardstick: mosquitto and what an engineer writes in an hour (script.mjs), on a free port.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { sleep } from './report.mjs';

const script = fileURLToPath(new URL('./script.mjs', import.meta.url));

/** Polls so many registers of every port each period. */
export async function startStack({ ports, periodMs = 1000, registers = 100 }) {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-bench-'));
  const port = 20_000 + Math.floor(Math.random() * 20_000);
  writeFileSync(join(folder, 'mosquitto.conf'), `listener ${port} 127.0.0.1\nallow_anonymous true\n`);
  const broker = spawn('/usr/sbin/mosquitto', ['-c', join(folder, 'mosquitto.conf')], { stdio: 'ignore' });
  await listening(port);
  const args = [script, ...[port, periodMs, registers, ...ports].map(String)];
  const poller = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  return {
    port,
    pids: [broker.pid, poller.pid],
    stop: async () => {
      const ended = [broker, poller].map((child) => new Promise((resolve) => child.once('exit', resolve)));
      poller.kill();
      broker.kill();
      await Promise.all(ended);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Until somebody listens there, five seconds at most. */
async function listening(port) {
  for (let tries = 0; tries < 100; tries++) {
    const isThere = await new Promise((resolve) => {
      const socket = connect(port, '127.0.0.1', () => resolve(true));
      socket.once('error', () => resolve(false));
      socket.once('connect', () => socket.destroy());
    });
    if (isThere) return;
    await sleep(50);
  }
  throw new Error(`mosquitto does not listen on ${port}`);
}
