/** Thread entry: loads one large gateway file, hands the Plant over, and takes its memory with it. */
import { parentPort, workerData } from 'node:worker_threads';
import { loadHere } from './loadplant.js';

const { file, environment } = workerData as { file: string; environment: Record<string, string> }; // from loadplant.ts
parentPort?.postMessage(loadHere(file, environment));
