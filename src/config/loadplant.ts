/**
 * The door of this room: a gateway file in, the frozen Plant or everything that is wrong with it out. Large files are
 * read in a short-lived worker, whose memory goes back to the system with it.
 */
import { statSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { entryUrl } from '../entry.js';
import { type Built, PlantBuilder, freeze } from './build.js';
import { shape } from './complaints.js';
import { Maps } from './expand.js';
import { type Environment, readSource } from './load.js';
import type { Plant } from './plant.js';
import { type Problem, sortProblems } from './problems.js';
import { checkGateway } from './schema.js';

export interface Loaded {
  /** null when any problem is an error. */
  readonly plant: Plant | null;
  /** Errors and warnings, by place. */
  readonly problems: readonly Problem[];
}

/** Files above this are read in a worker. */
const WORKER_FROM_BYTES = 64 * 2 ** 10;

export async function loadPlant(file: string, environment: Environment = process.env): Promise<Loaded> {
  if (sizeOf(file) < WORKER_FROM_BYTES) return loadHere(file, environment);
  return loadInWorker(file, environment);
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

/** Checks a device map alone, as a device that uses it would. */
export function checkMapFile(
  file: string,
  environment: Environment,
): { built: Built | null; problems: Problem[] } {
  const source = readSource('map', {});
  source.problems.length = 0;
  const maps = new Maps(source.folder, environment);
  const map = maps.read(file, file.replace(/^.*\//, '').replace(/\.ya?ml$/, ''));
  return { built: null, problems: sortProblems(map.source.problems) };
}

function loadInWorker(file: string, environment: Environment): Promise<Loaded> {
  return new Promise((done) => {
    const worker = new Worker(entryUrl('config/worker.js'), {
      workerData: { file, environment: { ...environment } },
    });
    const fail = (what: string): void =>
      done({
        plant: null,
        problems: [
          {
            severity: 'error',
            file,
            line: 0,
            column: 0,
            code: 'HF1013',
            path: '',
            text: `could not be loaded: ${what}`,
          },
        ],
      });
    worker.once('message', (loaded: Loaded) => {
      done({ plant: freeze(loaded.plant), problems: loaded.problems });
    });
    worker.once('error', (error) => fail(error.message));
    worker.once('exit', (code) => fail(`the loader stopped (${code})`));
  });
}

function sizeOf(file: string): number {
  try {
    return statSync(file).size;
  } catch {
    return 0;
  }
}
