/**
 * What systemd wants to hear from a service of `Type=notify` (sd_notify(3)): that it is ready, that it stops, and, where
 * the unit has a watchdog, that its loop still turns. Told through the program systemd-notify, since Node has no datagram
 * sockets of the Unix kind. Where no service manager listens nothing is told.
 */
import { execFile } from 'node:child_process';
import { messageOf } from '../errors.js';
import type { Log } from '../log.js';

/** A start may wait for a port that is taken as long as it has to; systemd is asked for more time this often. */
const EXTEND_EVERY_MS = 20_000;
const EXTEND_BY_US = 60_000_000;
/** A message that systemd-notify cannot get rid of. */
const TELL_MAX_MS = 5000;

export class Systemd {
  readonly #isListening: boolean;
  readonly #watchdogMs: number;
  readonly #log: Log;
  #timer: NodeJS.Timeout | undefined;
  /** Messages leave in the order they were given. */
  #last: Promise<void> = Promise.resolve();
  #hasFailed = false;

  constructor(env: NodeJS.ProcessEnv, log: Log) {
    this.#isListening = env['NOTIFY_SOCKET'] !== undefined;
    const isOurs = env['WATCHDOG_PID'] === undefined || Number(env['WATCHDOG_PID']) === process.pid;
    this.#watchdogMs = isOurs ? Number(env['WATCHDOG_USEC'] ?? 0) / 1000 : 0;
    this.#log = log;
  }

  starting(): void {
    this.#every(EXTEND_EVERY_MS, [`EXTEND_TIMEOUT_USEC=${EXTEND_BY_US}`]);
  }

  ready(): void {
    void this.#tell(['--ready', '--status=polling and serving']);
    // Twice within its time, as sd_watchdog_enabled(3) asks.
    if (this.#watchdogMs > 0) this.#every(this.#watchdogMs / 2, ['WATCHDOG=1']);
    else clearInterval(this.#timer);
  }

  /** Resolves when it was told. */
  stopping(): Promise<void> {
    clearInterval(this.#timer);
    return this.#tell(['STOPPING=1', '--status=stopping']);
  }

  #every(ms: number, message: readonly string[]): void {
    clearInterval(this.#timer);
    if (this.#isListening) this.#timer = setInterval(() => void this.#tell(message), ms).unref();
  }

  #tell(message: readonly string[]): Promise<void> {
    if (!this.#isListening) return Promise.resolve();
    this.#last = this.#last.then(
      () =>
        new Promise((resolve) => {
          execFile('systemd-notify', message, { timeout: TELL_MAX_MS }, (error) => {
            if (error !== null) this.#failed(error);
            resolve();
          });
        }),
    );
    return this.#last;
  }

  /** Once is enough: without systemd-notify nothing will be heard. */
  #failed(error: Error): void {
    if (this.#hasFailed) return;
    this.#hasFailed = true;
    this.#log.warn('systemd could not be told; install systemd-notify, or use Type=exec without a watchdog', {
      error: messageOf(error),
    });
  }
}
