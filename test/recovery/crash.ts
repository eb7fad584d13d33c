/**
 * The crash test: a broker in a process of its own, publishers at QoS 1 and 2, persistent subscribers that come and go,
 * retained messages, subscriptions that change; kill -9 at a random instant; start again. In the end nothing that was
 * acknowledged may be missing, nothing at QoS 2 may have come twice, and each publisher's order must stand.
 */
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { seeded } from '../support/memorydisk.js';
import { until } from '../support/wait.js';
import { Publisher, Retainer, Subscriber, Switcher, type Client } from './client.js';
import { startHost, type HostKind, type HostProcess } from './process.js';

export interface CrashOptions {
  cycles: number;
  seed: number;
  /** What is killed; forgetful: it loses what was not synced, as after a power cut. */
  kind: HostKind;
  /** Told after each cycle. */
  progress?: (line: string) => void;
}

export interface CrashReport {
  cycles: number;
  acknowledged: number;
  lost: string[];
  violations: string[];
  repeatedOnce: number;
  switches: number;
  slowestStartMs: number;
  storeBytes: number;
}

const MESSAGES_PER_CYCLE = 200;

export async function crash(options: CrashOptions): Promise<CrashReport> {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-crash-'));
  const run = new CrashRun(folder, options);
  try {
    return await run.all();
  } finally {
    await run.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

class CrashRun {
  readonly #folder: string;
  readonly #options: CrashOptions;
  readonly #random: () => number;
  readonly #publishers: Publisher[];
  readonly #retainer = new Retainer('retainer', 5, 1, 5);
  readonly #switcher = new Switcher('switcher', 4);
  readonly #prober = new Publisher('prober', 4, 1, 20);
  readonly #subscribers: Subscriber[];
  readonly #violations: string[] = [];
  #host: HostProcess | null = null;
  #port = 0;
  #probes = 0;
  #slowestStartMs = 0;

  constructor(folder: string, options: CrashOptions) {
    this.#folder = folder;
    this.#options = options;
    this.#random = seeded(options.seed);
    this.#publishers = [
      new Publisher('once4', 4, 1, 20),
      new Publisher('once5', 5, 1, 20),
      new Publisher('exactly4', 4, 2, 20),
      new Publisher('exactly5', 5, 2, 20),
    ];
    this.#subscribers = [4, 5, 4, 5].map(
      (version, index) => new Subscriber(`subscriber${index}`, version === 5 ? 5 : 4, ['crash/#']),
    );
  }

  async all(): Promise<CrashReport> {
    const { cycles, progress } = this.#options;
    await this.#start();
    await this.#connectAll([...this.#subscribers, this.#switcher]);
    await until('the subscriptions', () => this.#subscribers.every(({ isSubscribed }) => isSubscribed));
    for (let cycle = 1; cycle <= cycles; cycle++) {
      await this.#cycle();
      progress?.(
        `cycle ${cycle}: ${this.#acknowledged()} acknowledged, ${this.#violationsNow().length} violations`,
      );
    }
    await this.#start();
    await this.#checkRetained();
    await this.#checkSwitcher();
    const lost = await this.#drain();
    await this.#checkRetained();
    return {
      cycles,
      acknowledged: this.#acknowledged(),
      lost,
      violations: this.#violationsNow(),
      repeatedOnce: this.#subscribers.reduce((sum, { repeatedOnce }) => sum + repeatedOnce, 0),
      switches: this.#switcher.switches,
      slowestStartMs: Math.round(this.#slowestStartMs),
      storeBytes: sizeOf(join(this.#folder, 'data')),
    };
  }

  async stop(): Promise<void> {
    await this.#kill();
  }

  /** Traffic, and the end of the process in the middle of it. */
  async #cycle(): Promise<void> {
    if (this.#host === null) {
      await this.#start();
      if (this.#random() < 0.5) {
        await this.#checkRetained();
        await this.#checkSwitcher();
      }
    }
    const online = this.#subscribers.filter(() => this.#random() < 0.6);
    for (const publisher of [...this.#publishers, this.#retainer]) publisher.limit += MESSAGES_PER_CYCLE;
    this.#switcher.isSwitching = true;
    const clients = [...this.#publishers, this.#retainer, ...online, this.#switcher];
    for (const client of clients) void client.connect(this.#port);
    // Now and then hardly begun, else somewhere in the middle.
    const goal = this.#acknowledged() + (this.#random() < 0.3 ? 5 : 50 + this.#random() * 600);
    const endMs = performance.now() + 2_000;
    while (this.#acknowledged() < goal && performance.now() < endMs) {
      this.#switcher.switch();
      await new Promise((resolve) => setTimeout(resolve, 2 + this.#random() * 3));
      const restless = online[Math.floor(this.#random() * online.length * 8)];
      if (restless?.isConnected === true) {
        restless.cut();
        void restless.connect(this.#port);
      }
    }
    await this.#kill();
    this.#switcher.isSwitching = false;
  }

  async #kill(): Promise<void> {
    const host = this.#host;
    this.#host = null;
    if (host === null) return;
    await host.kill();
    this.#violations.push(...host.errors.map((line) => `broker: ${line}`));
    for (const client of this.#clients()) client.cut();
  }

  async #start(): Promise<void> {
    this.#host = await startHost(this.#folder, this.#options.kind);
    this.#port = this.#host.port;
    this.#slowestStartMs = Math.max(this.#slowestStartMs, this.#host.readyMs);
  }

  async #connectAll(clients: Client[]): Promise<void> {
    for (const client of clients) await client.connect(this.#port);
  }

  async #checkRetained(): Promise<void> {
    const reader = new Subscriber(`reader${this.#random()}`, 5, ['ret/#', 'done'], true);
    await reader.connect(this.#port);
    await until('the reader', () => reader.isSubscribed);
    this.#prober.limit++;
    await this.#prober.connect(this.#port);
    // What a subscription brings comes before what is published after it.
    const closing = new Subscriber(`closing${this.#random()}`, 5, [`crash/prober`], true);
    await closing.connect(this.#port);
    await until('the prober', () => this.#prober.isDone);
    let count = -1;
    await until('retained messages to stop coming', async () => {
      const before = count;
      count = reader.payloads.size;
      await new Promise((resolve) => setTimeout(resolve, 30));
      return before === count;
    });
    for (const wrong of this.#retainer.check(reader.payloads)) this.#violations.push(wrong);
    for (const client of [reader, closing, this.#prober]) client.cut();
  }

  /** A probe on the switched filter comes if and only if the last acknowledged word on it was SUBACK. */
  async #checkSwitcher(): Promise<void> {
    const switcher = this.#switcher;
    const { isOn } = switcher;
    await switcher.connect(this.#port);
    const probe = `probe ${++this.#probes}`;
    const marker = `marker ${this.#probes}`;
    const sender = new Sender('sender', this.#port);
    await sender.publish(Switcher.topic, probe);
    await sender.publish(Switcher.marker, marker);
    sender.cut();
    await until('the marker', () => switcher.payloads.includes(marker));
    const came = switcher.payloads.includes(probe);
    if (isOn !== null && came !== isOn) {
      this.#violations.push(`switcher: subscription ${isOn ? 'lost' : 'came back'}`);
    }
  }

  /** Everybody is there until everything is where it belongs; what is missing then is lost. */
  async #drain(): Promise<string[]> {
    await this.#connectAll([...this.#publishers, this.#retainer, ...this.#subscribers]);
    await until(
      'the publishers',
      () => [...this.#publishers, this.#retainer].every(({ isDone }) => isDone),
      60_000,
    );
    const missing = (): string[] =>
      this.#subscribers.flatMap((subscriber) =>
        this.#publishers.flatMap(({ clientId, acknowledged }) =>
          acknowledged
            .filter((sequence) => !subscriber.has(clientId, sequence))
            .map((sequence) => `${clientId}:${sequence} to ${subscriber.clientId}`),
        ),
      );
    await until('the subscribers', () => missing().length === 0, 20_000).catch(() => null);
    return missing();
  }

  #acknowledged(): number {
    return this.#publishers.reduce((sum, { acknowledged }) => sum + acknowledged.length, 0);
  }

  #clients(): Client[] {
    return [...this.#publishers, this.#retainer, this.#switcher, this.#prober, ...this.#subscribers];
  }

  #violationsNow(): string[] {
    return [...this.#violations, ...this.#clients().flatMap(({ violations }) => violations)];
  }
}

/** Publishes single messages at QoS 1. */
class Sender {
  readonly #port: number;
  readonly #clientId: string;
  #last: Publisher | null = null;

  constructor(clientId: string, port: number) {
    this.#clientId = clientId;
    this.#port = port;
  }

  async publish(topic: string, payload: string): Promise<void> {
    const one = new (class extends Publisher {
      protected override compose(): { topic: string; payload: string; retain: boolean } {
        return { topic, payload, retain: false };
      }
    })(this.#clientId, 4, 1, 1);
    one.limit = 1;
    this.#last?.cut();
    this.#last = one;
    await one.connect(this.#port);
    await until('the sender', () => one.isDone);
  }

  cut(): void {
    this.#last?.cut();
  }
}

function sizeOf(folder: string): number {
  return readdirSync(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);
}
