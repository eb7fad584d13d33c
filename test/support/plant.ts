/**
 * A simulated plant for tests: startPlant() with plain TCP units in the test's own process; startLine() and anything
 * else with line physics in a process of its own. Both stop by themselves when the test ends.
 */
import type { TestContext } from 'node:test';
import type { PlantControl } from '../../src/simulator/control.js';
import { SimulatedPlant } from '../../src/simulator/plant.js';
import { PlantProcess } from '../../src/simulator/plantprocess.js';
import type { LineSpec, PlantSpec, UnitSpec } from '../../src/simulator/spec.js';
import type { Exchange } from '../../src/simulator/transcript.js';

/** In this process: for links without line physics. */
export async function startPlant(t: TestContext, spec: PlantSpec): Promise<SimulatedPlant> {
  const plant = await SimulatedPlant.start(spec);
  t.after(() => plant.stop());
  return plant;
}

/** In a process of its own: for lines, and whenever the test is itself busy. */
export async function startPlantProcess(t: TestContext, spec: PlantSpec): Promise<PlantProcess> {
  const plant = await PlantProcess.start(spec);
  t.after(() => plant.stop());
  return plant;
}

/** One Modbus TCP endpoint named "plc" on a free port of 127.0.0.1. */
export async function startTcp(
  t: TestContext,
  units: readonly UnitSpec[],
  seed = 1,
): Promise<{ plant: SimulatedPlant; host: string; port: number }> {
  const plant = await startPlant(t, { seed, buses: [{ name: 'plc', link: { kind: 'tcp' }, units }] });
  return { plant, ...(await socketOf(plant, 'plc')) };
}

/** One RTU (or ASCII) line named "line" on a pseudo-terminal, with real line timing. */
export async function startLine(
  t: TestContext,
  units: readonly UnitSpec[],
  line: LineSpec = { baud: 9600 },
  kind: 'rtu' | 'ascii' = 'rtu',
  seed = 1,
): Promise<{ plant: PlantProcess; path: string }> {
  const plant = await startPlantProcess(t, { seed, buses: [{ name: 'line', link: { kind, line }, units }] });
  return { plant, path: await pathOf(plant, 'line') };
}

export async function socketOf(plant: PlantControl, bus: string): Promise<{ host: string; port: number }> {
  const address = (await plant.addresses())[bus];
  if (address?.kind !== 'socket') throw new Error(`bus ${bus} is not reached by a socket`);
  return { host: address.host, port: address.port };
}

export async function pathOf(plant: PlantControl, bus: string): Promise<string> {
  const address = (await plant.addresses())[bus];
  if (address?.kind !== 'serial') throw new Error(`bus ${bus} is not a serial line`);
  return address.path;
}

/** The exchanges that wrote something, in order. */
export function writesOf(exchanges: readonly Exchange[]): Exchange[] {
  return exchanges.filter(({ functionCode }) => [5, 6, 15, 16, 22, 23].includes(functionCode));
}

/** The most exchanges that were under way at one moment. */
export function mostAtOnce(exchanges: readonly Exchange[]): number {
  const edges = exchanges.flatMap(({ requestedAtMs, answeredAtMs }) => [
    { atMs: requestedAtMs, step: 1 },
    { atMs: answeredAtMs === 0 ? requestedAtMs : answeredAtMs, step: -1 },
  ]);
  edges.sort((a, b) => a.atMs - b.atMs || a.step - b.step);
  let count = 0;
  return edges.reduce((most, { step }) => Math.max(most, (count += step)), 0);
}
