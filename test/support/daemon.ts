/** `holdfast run` as a process of its own, from a config written for the test, in a folder that goes with it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mainFile } from './holdfast.js';
import { until, within } from './wait.js';

export interface LogLine {
  readonly level: string;
  readonly msg: string;
  readonly [field: string]: unknown;
}

export interface DaemonOptions {
  /** Files beside the config, by name. */
  readonly files?: Readonly<Record<string, string>>;
  readonly env?: Readonly<Record<string, string>>;
  readonly args?: readonly string[];
  readonly nodeArgs?: readonly string[];
  /** The most file descriptors that it may have. */
  readonly descriptors?: number;
  /** A command that makes the machine what it is to be, and runs what is put behind it. */
  readonly machine?: readonly string[];
}

/** What runs a line of shell, and then what is put behind it. */
export const script = (line: string): readonly string[] => ['/bin/sh', '-c', `${line}\nexec "$@"`, 'sh'];

export class Daemon {
  readonly folder: string;
  readonly configFile: string;
  readonly log: LogLine[] = [];
  /** Everything on stderr that is no log line. */
  other = '';
  readonly env: Record<string, string>;
  readonly #options: DaemonOptions;
  #child: ChildProcess | null = null;
  #exited: Promise<number | null> = Promise.resolve(null);

  constructor(config: string, options: DaemonOptions = {}) {
    this.folder = mkdtempSync(join(tmpdir(), 'holdfast-'));
    this.configFile = join(this.folder, 'gateway.yaml');
    this.#options = options;
    this.env = { ...options.env };
    writeFileSync(this.configFile, config);
    for (const [name, text] of Object.entries(options.files ?? {}))
      writeFileSync(join(this.folder, name), text);
  }

  get pid(): number {
    if (this.#child?.pid === undefined) throw new Error('the daemon does not run');
    return this.#child.pid;
  }

  /** Addresses of the ready line, such as "mqtt://127.0.0.1:40123". */
  get listeners(): readonly string[] {
    const ready = this.log.findLast(({ msg }) => msg === 'ready');
    // Written by the program under test; a wrong type shows in the test.
    return (ready?.['listeners'] ?? []) as string[];
  }

  /** The port of the first listener with this protocol. */
  port(protocol = 'mqtt'): number {
    const url = this.listeners.find((listener) => listener.startsWith(`${protocol}://`));
    if (url === undefined) throw new Error(`no ${protocol} listener in ${this.listeners.join(' ')}`);
    return Number(new URL(url).port);
  }

  /** Starts it and waits for the ready line. */
  async start(deadlineMs = 60_000): Promise<this> {
    this.spawn();
    const mark = this.log.length;
    await until(
      `the ready line; the log is\n${this.other}${this.log.map((line) => JSON.stringify(line)).join('\n')}`,
      () => this.log.slice(mark).some(({ msg }) => msg === 'ready') || this.#child?.exitCode !== null,
      deadlineMs,
    );
    if (this.#child?.exitCode !== null)
      throw new Error(`it ended with ${this.#child?.exitCode}: ${this.other}${JSON.stringify(this.log)}`);
    return this;
  }

  spawn(): void {
    const { nodeArgs = [], args = [], descriptors, machine } = this.#options;
    const command = [process.execPath, ...nodeArgs, mainFile, 'run', '--config', this.configFile, ...args];
    const before = machine ?? (descriptors === undefined ? [] : script(`ulimit -n ${descriptors}`));
    const [program = '', ...words] = [...before, ...command];
    const child = spawn(program, words, {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, ...this.env },
    });
    this.#child = child;
    let rest = '';
    child.stderr.on('data', (bytes: Buffer) => {
      const lines = (rest + bytes.toString()).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) this.#take(line);
    });
    this.#exited = new Promise((resolve) => child.on('close', (code) => resolve(code)));
  }

  #take(line: string): void {
    if (!line.startsWith('{')) this.other += `${line}\n`;
    // Our own log lines.
    else this.log.push(JSON.parse(line) as LogLine);
  }

  /** As if whoever reads its log had stopped. */
  stopReading(): void {
    this.#child?.stderr?.pause();
  }

  logged(msg: string | RegExp): LogLine[] {
    return this.log.filter((line) => (typeof msg === 'string' ? line.msg === msg : msg.test(line.msg)));
  }

  signal(name: NodeJS.Signals): void {
    this.#child?.kill(name);
  }

  exited(deadlineMs = 10_000): Promise<number | null> {
    return within('the daemon to end', this.#exited, deadlineMs);
  }

  /** Stops it cleanly (or at all) and says with which exit code. */
  async stop(): Promise<number | null> {
    if (this.#child === null || this.#child.exitCode !== null) return this.#child?.exitCode ?? null;
    this.signal('SIGTERM');
    return this.exited();
  }

  /** For `finally`: ends it whatever state it is in, and removes its folder. */
  async remove(): Promise<void> {
    this.signal('SIGKILL');
    await this.exited();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
