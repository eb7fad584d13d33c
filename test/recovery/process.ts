/** Starts test/recovery/host.ts in a process of its own, and ends it the hard way. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { until } from '../support/wait.js';

const HOST = fileURLToPath(new URL('./host.js', import.meta.url));

export interface HostProcess {
  readonly port: number;
  /** How long it took until it listened. */
  readonly readyMs: number;
  readonly pid: number;
  /** What it logged as an error. */
  readonly errors: string[];
  kill(): Promise<void>;
}

export async function startHost(
  folder: string,
  kind: 'real' | 'forgetful' = 'real',
  nodeArgs: string[] = [],
): Promise<HostProcess> {
  const startedMs = performance.now();
  const child = spawn(process.execPath, ['--enable-source-maps', ...nodeArgs, HOST, folder, kind], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const errors: string[] = [];
  let output = '';
  child.stdout.on('data', (bytes: Buffer) => (output += bytes.toString()));
  child.stderr.on('data', (bytes: Buffer) => {
    for (const line of bytes.toString().split('\n'))
      if (/"level":"error"|Error:/.test(line)) errors.push(line);
  });
  const ended = once(child, 'exit');
  const ready = until('the broker to be ready', () => /port (\d+)/.exec(output), 20_000);
  const [, port = ''] = await Promise.race([
    ready,
    ended.then(() => {
      throw new Error(`the broker ended before it was ready: ${errors.join('\n')}`);
    }),
  ]);
  return {
    port: Number(port),
    readyMs: performance.now() - startedMs,
    pid: child.pid ?? 0,
    errors,
    kill: async () => {
      child.kill('SIGKILL');
      await ended;
    },
  };
}
