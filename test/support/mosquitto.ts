/** Debian's mosquitto as a broker to compare with, on a free port of the loopback. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MqttClient, type Address } from './mqttclient.js';
import { freePort } from './ports.js';
import { until } from './wait.js';

export async function startMosquitto(): Promise<{ address: Address; close: () => Promise<void> }> {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-mosquitto-'));
  const address = { host: '127.0.0.1', port: await freePort() };
  const file = join(folder, 'mosquitto.conf');
  writeFileSync(file, `listener ${address.port} ${address.host}\nallow_anonymous true\n`);
  const child = spawn('/usr/sbin/mosquitto', ['-c', file], { stdio: 'ignore' });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  await until('mosquitto to listen', async () => {
    if (child.exitCode !== null) throw new Error(`mosquitto ended with ${child.exitCode}`);
    const client = await MqttClient.open(address, 4).catch(() => undefined);
    client?.socket.destroy();
    return client !== undefined;
  });
  const close = async (): Promise<void> => {
    child.kill();
    await ended;
    rmSync(folder, { recursive: true });
  };
  return { address, close };
}
