/** A simulated plant in a process of its own, controlled as if it were in this one. */
import type { ChildProcess } from 'node:child_process';
import { entryUrl, startProcess } from '../entry.js';
import type { Table } from '../modbus/protocol.js';
import type { Outcome, PlantControl } from './control.js';
import type { Address } from './endpoint.js';
import type { FaultSpec, PlantSpec, UnitSpec } from './spec.js';
import type { BusCounts, Exchange } from './transcript.js';

type Message = Outcome | { readonly addresses: Record<string, Address> } | { readonly error: string };

interface Waiting {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
}

export class PlantProcess implements PlantControl {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 1;

  private constructor(child: ChildProcess) {
    this.#child = child;
    child.on('message', (message: Message) => this.#received(message));
    child.on('exit', () => this.#fail(new Error('the simulated plant has ended')));
    child.on('error', (error) => this.#fail(error));
  }

  static async start(spec: PlantSpec): Promise<PlantProcess> {
    const child = startProcess(entryUrl('simulator/process.js'), {
      execArgv: [],
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    const plant = new PlantProcess(child);
    // The spec's answer has no number of its own; 0 stands for it.
    await plant.#wait(0, { spec });
    return plant;
  }

  /** For measurements of what it costs. */
  get pid(): number {
    return this.#child.pid ?? 0;
  }

  addresses(): Promise<Record<string, Address>> {
    return this.#order('addresses') as Promise<Record<string, Address>>;
  }

  setFaults(bus: string, unitId: number | null, faults: readonly FaultSpec[]): Promise<void> {
    return this.#order('setFaults', bus, unitId, faults) as Promise<void>;
  }

  clearFaults(): Promise<void> {
    return this.#order('clearFaults') as Promise<void>;
  }

  setUnit(bus: string, unitId: number, change: Partial<Omit<UnitSpec, 'unitId' | 'values'>>): Promise<void> {
    return this.#order('setUnit', bus, unitId, change) as Promise<void>;
  }

  peek(bus: string, unitId: number, table: Table, address: number, quantity: number): Promise<string> {
    return this.#order('peek', bus, unitId, table, address, quantity) as Promise<string>;
  }

  poke(
    bus: string,
    unitId: number,
    table: Table,
    address: number,
    quantity: number,
    hex: string,
  ): Promise<void> {
    return this.#order('poke', bus, unitId, table, address, quantity, hex) as Promise<void>;
  }

  exchanges(bus: string, since = 0): Promise<Exchange[]> {
    return this.#order('exchanges', bus, since) as Promise<Exchange[]>;
  }

  counts(bus: string): Promise<BusCounts> {
    return this.#order('counts', bus) as Promise<BusCounts>;
  }

  clear(): Promise<void> {
    return this.#order('clear') as Promise<void>;
  }

  unplug(bus: string): Promise<void> {
    return this.#order('unplug', bus) as Promise<void>;
  }

  plugIn(bus: string): Promise<void> {
    return this.#order('plugIn', bus) as Promise<void>;
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = new Promise<void>((resolve) => void this.#child.once('exit', () => resolve()));
    if (this.#child.connected) this.#child.disconnect();
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), 2000);
    await ended;
    clearTimeout(timer);
  }

  /** The results' types are those of PlantControl, whose other side is process.ts. */
  #order(method: string, ...args: unknown[]): Promise<unknown> {
    const id = this.#nextId++;
    return this.#wait(id, { id, method, args });
  }

  #wait(id: number, message: object): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#child.send(message, (error) => {
        if (error !== null) this.#settle(id)?.reject(error);
      });
    });
  }

  #received(message: Message): void {
    const waiting = this.#settle('id' in message ? message.id : 0);
    if ('error' in message) waiting?.reject(new Error(message.error));
    else waiting?.resolve('result' in message ? (message.result ?? undefined) : undefined);
  }

  #settle(id: number): Waiting | undefined {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    return waiting;
  }

  #fail(error: Error): void {
    for (const waiting of this.#waiting.values()) waiting.reject(error);
    this.#waiting.clear();
  }
}
