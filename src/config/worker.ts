/** Thread entry: loads one large gateway file, or the signatures of device maps, hands them over, and takes its memory with it. */
import { parentPort, workerData } from 'node:worker_threads';
import { packTags } from './leantag.js';
import type { LoadedAside } from './loadaside.js';
import { loadHere } from './loadplant.js';
import { loadSignatures } from './loadsignatures.js';
import type { Errand } from './loaded.js';

const { kind, place, environment } = workerData as Errand; // from loadaside.ts
parentPort?.postMessage(kind === 'plant' ? loaded() : loadSignatures(place, environment));

function loaded(): LoadedAside {
  const { plant, problems } = loadHere(place, environment);
  if (plant === null) return { plant, tags: null, problems };
  const { tags, batches, ...rest } = plant;
  return { plant: rest, tags: packTags({ tags, batches }, plant.gateway.topics.tags), problems };
}
