/** Debian's mosquitto as a broker elsewhere, which may be killed and started again on its port. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { connectAsync, type MqttClient } from 'mqtt';
import { freePort } from './ports.js';
import { until } from './wait.js';

export class FarSide {
  readonly port: number;
  readonly #cleanups: (() => unknown)[];
  readonly #folder = mkdtempSync(join(tmpdir(), 'holdfast-farside-'));
  readonly #more: readonly string[];
  #process: ChildProcess | null = null;

  private constructor(port: number, cleanups: (() => unknown)[], more: readonly string[]) {
    this.port = port;
    this.#cleanups = cleanups;
    this.#more = more;
    cleanups.push(() => this.#remove());
  }

  /**
   * Not started yet. What it needs cleaned up is added to the list, to be called last first; `more` are further lines of
   * mosquitto.conf.
   */
  static async create(cleanups: (() => unknown)[], more: readonly string[] = []): Promise<FarSide> {
    return new FarSide(await freePort(), cleanups, more);
  }

  get url(): string {
    return `mqtt://127.0.0.1:${this.port}`;
  }

  async start(): Promise<void> {
    const config = join(this.#folder, 'mosquitto.conf');
    const lines = [
      `listener ${this.port} 127.0.0.1`,
      'allow_anonymous true',
      'persistence false',
      // Started by root it would become somebody who may not read the test's keys.
      `user ${userInfo().username}`,
      'max_queued_messages 0',
      ...this.#more,
    ];
    writeFileSync(config, `${lines.join('\n')}\n`);
    this.#process = spawn('mosquitto', ['-c', config], { stdio: 'ignore' });
    await until('mosquitto to listen', () => isListening(this.port));
  }

  async stop(): Promise<void> {
    const child = this.#process;
    this.#process = null;
    if (child === null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }

  async client(): Promise<MqttClient> {
    const client = await connectAsync(this.url, { protocolVersion: 5, reconnectPeriod: 0 });
    this.#cleanups.push(() => client.endAsync(true));
    return client;
  }

  async #remove(): Promise<void> {
    await this.stop();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

async function isListening(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
