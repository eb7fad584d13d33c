/**
 * What can be asked of a running plant, wherever it runs: in this process (plant.ts) or in one of its own
 * (plantprocess.ts, process.ts). Arguments and results are plain data.
 */
import type { Table } from '../modbus/protocol.js';
import type { Address } from './endpoint.js';
import type { FaultSpec, UnitSpec } from './spec.js';
import type { BusCounts, Exchange } from './transcript.js';

export interface PlantControl {
  /** By name of the bus. */
  addresses(): Promise<Record<string, Address>>;
  /** Replaces the faults of one unit, or of the whole bus when unitId is null. */
  setFaults(bus: string, unitId: number | null, faults: readonly FaultSpec[]): Promise<void>;
  /** No faults anywhere. */
  clearFaults(): Promise<void>;
  /** Changes limits and manners of a unit; its values stay. */
  setUnit(bus: string, unitId: number, change: Partial<Omit<UnitSpec, 'unitId' | 'values'>>): Promise<void>;
  /** What a read would show, as hex, whatever limits and faults say. */
  peek(bus: string, unitId: number, table: Table, address: number, quantity: number): Promise<string>;
  poke(
    bus: string,
    unitId: number,
    table: Table,
    address: number,
    quantity: number,
    hex: string,
  ): Promise<void>;
  /** Exchanges from an index on, oldest first. */
  exchanges(bus: string, since?: number): Promise<Exchange[]>;
  counts(bus: string): Promise<BusCounts>;
  /** Forgets exchanges and counts of every bus. */
  clear(): Promise<void>;
  unplug(bus: string): Promise<void>;
  plugIn(bus: string): Promise<void>;
  stop(): Promise<void>;
}

export const CONTROL_METHODS: readonly (keyof PlantControl)[] = [
  'addresses',
  'setFaults',
  'clearFaults',
  'setUnit',
  'peek',
  'poke',
  'exchanges',
  'counts',
  'clear',
  'unplug',
  'plugIn',
  'stop',
];

/** One order to a plant in another process, and what came of it. */
export interface Order {
  readonly id: number;
  readonly method: string;
  readonly args?: readonly unknown[];
}

export type Outcome =
  { readonly id: number; readonly result: unknown } | { readonly id: number; readonly error: string };

/** Carries one order out; an order that makes no sense is an error in words, never an exception. */
export async function obey(plant: PlantControl, order: unknown): Promise<Outcome> {
  const { id, method, args } = (typeof order === 'object' && order !== null ? order : {}) as Partial<Order>;
  const number = typeof id === 'number' ? id : 0;
  const name = CONTROL_METHODS.find((one) => one === method);
  if (name === undefined) {
    return {
      id: number,
      error: `"${String(method)}" is not an order; there are ${CONTROL_METHODS.join(', ')}`,
    };
  }
  try {
    // The one place where arguments from outside meet the methods' types; each method rejects what it does not know.
    const call = plant[name].bind(plant) as (...values: readonly unknown[]) => Promise<unknown>;
    return { id: number, result: (await call(...(args ?? []))) ?? null };
  } catch (error) {
    return { id: number, error: error instanceof Error ? error.message : String(error) };
  }
}
