/** A verb that runs for a while, as a process of its own or at a pseudo-terminal, and what it says meanwhile. */
import { type ChildProcess, spawn } from 'node:child_process';
import type { TestContext } from 'node:test';
import { spawn as spawnAtTerminal } from '@lydell/node-pty';
import { mainFile } from './holdfast.js';
import { until } from './wait.js';

export interface VerbOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

export class RunningVerb {
  stdout = '';
  stderr = '';
  readonly #child: ChildProcess;

  constructor(t: TestContext, args: readonly string[], { env = {}, cwd }: VerbOptions = {}) {
    const place = cwd === undefined ? {} : { cwd };
    this.#child = spawn(process.execPath, [mainFile, ...args], { env: { ...process.env, ...env }, ...place });
    this.#child.stdout?.on('data', (bytes: Buffer) => (this.stdout += bytes.toString()));
    this.#child.stderr?.on('data', (bytes: Buffer) => (this.stderr += bytes.toString()));
    t.after(() => this.#child.kill('SIGKILL'));
  }

  says(pattern: RegExp, deadlineMs = 20_000): Promise<RegExpExecArray> {
    const match = (): RegExpExecArray | null => pattern.exec(this.stdout) ?? pattern.exec(this.stderr);
    return until(`${pattern} in\n${this.stdout}\n${this.stderr}`, match, deadlineMs);
  }

  interrupt(): Promise<number | null> {
    this.#child.kill('SIGINT');
    return this.ended();
  }

  async ended(): Promise<number | null> {
    const hasEnded = (): boolean => this.#child.exitCode !== null || this.#child.signalCode !== null;
    await until(`its end; it said\n${this.stdout}\n${this.stderr}`, hasEnded, 20_000);
    return this.#child.exitCode;
  }
}

/** Somebody at a terminal of 80 columns who answers questions. */
export class Typist {
  shown = '';
  readonly ended: Promise<number>;
  readonly #terminal: ReturnType<typeof spawnAtTerminal>;
  #readTo = 0;

  constructor(t: TestContext, args: readonly string[], { env = {}, cwd }: VerbOptions = {}) {
    const place = cwd === undefined ? {} : { cwd };
    const options = {
      cols: 80,
      rows: 24,
      env: { ...process.env, TERM: 'xterm', NO_COLOR: '', ...env },
      ...place,
    };
    this.#terminal = spawnAtTerminal(process.execPath, [mainFile, ...args], options);
    this.#terminal.onData((text) => (this.shown += text));
    this.ended = new Promise((resolve) => this.#terminal.onExit(({ exitCode }) => resolve(exitCode)));
    t.after(() => {
      try {
        this.#terminal.kill('SIGKILL');
      } catch {
        // It has ended.
      }
    });
  }

  /** Waits for a text that came after the last one that was waited for. */
  async sees(pattern: RegExp): Promise<void> {
    const look = (): RegExpExecArray | null => pattern.exec(this.shown.slice(this.#readTo));
    const found = await until(String(pattern), look, 20_000).catch((thrown: unknown) => {
      throw new Error(`${String(thrown)} in\n${this.shown}`);
    });
    this.#readTo += found.index + found[0].length;
  }

  /** Answers the question that this is. */
  async answers(question: RegExp, text: string): Promise<void> {
    await this.sees(question);
    this.#terminal.write(`${text}\r`);
  }

  write(text: string): void {
    this.#terminal.write(text);
  }
}
