/** Two ends of a serial line, by socat: what goes into one comes out of the other. Can be unplugged and plugged in again. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { until, within } from './wait.js';

export class PtyPair {
  readonly #folder = mkdtempSync(join(tmpdir(), 'holdfast-pty-'));
  readonly near = join(this.#folder, 'near');
  readonly far = join(this.#folder, 'far');
  #child: ChildProcess | null = null;

  async plugIn(): Promise<this> {
    const end = (link: string): string => `pty,raw,echo=0,link=${link}`;
    this.#child = spawn('socat', [end(this.near), end(this.far)], { stdio: 'ignore' });
    await until('socat to make both ends', () => existsSync(this.near) && existsSync(this.far));
    return this;
  }

  /** Both ends vanish, as an adapter does that is pulled out. */
  async unplug(): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (child === null || child.exitCode !== null) return;
    const gone = new Promise((resolve) => child.once('close', resolve));
    child.kill('SIGTERM');
    await within('socat to end', gone);
  }

  async remove(): Promise<void> {
    await this.unplug();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
