/**
 * The door of this room: a gateway file in, the frozen Plant or everything that is wrong with it out. Large files are
 * read in a short-lived worker, whose memory goes back to the system with it.
 */
import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { type Built, PlantBuilder } from './build.js';
import { shape } from './complaints.js';
import { signatureOf } from './identify.js';
import { type Environment, Source, readSource } from './load.js';
import { loadAside } from './loadaside.js';
import type { Loaded } from './loaded.js';
import type { Device, Tag } from './plant.js';
import { type Problem, sortProblems } from './problems.js';
import type { Signature } from './signature.js';
import { checkGateway } from './schema/check.js';

/** Files above this are read in a worker. */
const WORKER_FROM_BYTES = 64 * 2 ** 10;

export async function loadPlant(file: string, environment: Environment = process.env): Promise<Loaded> {
  if (sizeOf(file) < WORKER_FROM_BYTES) return loadHere(file, environment);
  return loadAside(file, environment);
}

export function loadHere(file: string, environment: Environment): Loaded {
  const { built, problems } = loadExplained(file, environment, false);
  return {
    plant: problems.some(({ severity }) => severity === 'error') ? null : (built?.plant ?? null),
    problems,
  };
}

/** As loadHere(), with the origin of each setting: for `explain`. */
export function loadExplained(
  file: string,
  environment: Environment,
  isExplained = true,
): { built: Built | null; problems: Problem[] } {
  const source = readSource(file, environment);
  const shaped = shape(source, 'gateway', checkGateway);
  if (shaped.value === null) return { built: null, problems: sortProblems(source.problems) };
  const built = new PlantBuilder(shaped, shaped.value, environment, isExplained).build();
  return { built, problems: sortProblems(built.sources.flatMap(({ problems }) => problems)) };
}

/** The plant of settings that no file holds: what a verb makes of its arguments, checked like any other. */
export function plantOfText(name: string, text: string, environment: Environment): Loaded {
  const source = new Source(name, text, environment);
  const shaped = shape(source, 'gateway', checkGateway);
  if (shaped.value === null) return { plant: null, problems: sortProblems(source.problems) };
  const { plant, sources } = new PlantBuilder(shaped, shaped.value, environment, false).build();
  const problems = sortProblems(sources.flatMap((one) => one.problems));
  return { plant: problems.some(({ severity }) => severity === 'error') ? null : plant, problems };
}

/** A device map alone, as one device on a bus of its own would see it. */
export function loadPlantOfMap(
  file: string,
  environment: Environment,
): {
  readonly device: { readonly device: Device; readonly tags: readonly Tag[] } | null;
  /** null when it does not say how its devices are recognised, or says it wrongly. */
  readonly signature: Signature | null;
  readonly problems: Problem[];
} {
  const text = JSON.stringify({
    version: 1,
    broker: { anonymous: true },
    buses: { bus: { protocol: 'tcp', host: '127.0.0.1' } },
    devices: { device: { bus: 'bus', unit_id: 1, map: resolve(file) } },
  });
  const source = new Source(file, text, environment);
  const shaped = shape(source, 'gateway', checkGateway);
  if (shaped.value === null) throw new Error('the file around a device map is valid');
  const { plant, sources, maps } = new PlantBuilder(shaped, shaped.value, environment, false).build();
  const [device] = plant.devices;
  const [map] = maps;
  const signature = device === undefined || map === undefined ? null : signatureOf(map, device, plant.tags);
  const problems = sortProblems(sources.filter((one) => one !== source).flatMap((one) => one.problems));
  const missing = source.problems.map((problem) => ({ ...problem, line: 0, column: 0, path: '' }));
  return {
    signature,
    device: device === undefined ? null : { device, tags: plant.tags },
    problems: problems.length === 0 ? missing : problems,
  };
}

function sizeOf(file: string): number {
  try {
    return statSync(file).size;
  } catch {
    return 0;
  }
}
