/** Thread entry: loads one large gateway file, or the signatures of device maps, hands them over, and takes its memory with it. */
import { parentPort, workerData } from 'node:worker_threads';
import { loadHere } from './loadplant.js';
import { loadSignatures } from './loadsignatures.js';
import type { Errand } from './loaded.js';

const { kind, place, environment } = workerData as Errand; // from loadaside.ts
parentPort?.postMessage(kind === 'plant' ? loadHere(place, environment) : loadSignatures(place, environment));
