/** Starts a broker in a process of its own, and ends it the hard way. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { mainFile } from '../support/holdfast.js';
import { until } from '../support/wait.js';

const HOST = fileURLToPath(new URL('./host.js', import.meta.url));

/**
 * product: the whole gateway as it is installed. host: test/recovery/host.ts, broker and store alone. forgetful: the
 * same, on files that forget what was not synced. troubled: on files that troubledfiles.ts delays or refuses.
 */
export type HostKind = 'product' | 'host' | 'forgetful' | 'troubled';

export interface HostProcess {
  readonly port: number;
  /** How long it took until it listened. */
  readonly readyMs: number;
  readonly pid: number;
  /** What it logged as an error. */
  readonly errors: string[];
  kill(): Promise<void>;
}

/** The store is `data` in the folder. */
export async function startHost(folder: string, kind: HostKind): Promise<HostProcess> {
  const startedMs = performance.now();
  const child = spawn(process.execPath, kind === 'product' ? productArgs(folder) : hostArgs(folder, kind), {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const errors: string[] = [];
  let output = '';
  child.stdout.on('data', (bytes: Buffer) => (output += bytes.toString()));
  child.stderr.on('data', (bytes: Buffer) => {
    output += bytes.toString();
    for (const line of bytes.toString().split('\n'))
      if (/"level":"error"|Error:/.test(line)) errors.push(line);
  });
  const ended = once(child, 'exit');
  const port = await Promise.race([
    until(
      'the broker to be ready',
      () => /port (\d+)|mqtt:\/\/127\.0\.0\.1:(\d+)".*"ready"/.exec(output),
      20_000,
    ),
    ended.then(() => {
      throw new Error(`the broker ended before it was ready: ${output}`);
    }),
  ]);
  return {
    port: Number(port[1] ?? port[2]),
    readyMs: performance.now() - startedMs,
    pid: child.pid ?? 0,
    errors,
    kill: async () => {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

function hostArgs(folder: string, kind: HostKind): string[] {
  return ['--enable-source-maps', HOST, join(folder, 'data'), kind];
}

function productArgs(folder: string): string[] {
  const config = join(folder, 'holdfast.yaml');
  const listener = '{ protocol: mqtt, host: 127.0.0.1, port: 0 }';
  writeFileSync(
    config,
    `version: 1\ngateway: { id: crash }\nbroker:\n  listeners: [${listener}]\n  anonymous: true\n  store: { path: data, sync: commit }\n`,
  );
  return [mainFile, 'run', '--config', config];
}
