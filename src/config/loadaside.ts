/**
 * Loads a gateway file in a short-lived worker, whose memory goes back to the system with it: the daemon needs the
 * parser and the schema for a moment and the room they take for ever. Imports neither.
 */
import { entryUrl, startThread } from '../entry.js';
import { freeze, type Loaded } from './loaded.js';
import { shareEquals } from './sharing.js';

export function loadAside(file: string, environment: NodeJS.ProcessEnv = process.env): Promise<Loaded> {
  return new Promise((resolve) => {
    const worker = startThread(entryUrl('config/worker.js'), {
      workerData: { file, environment: { ...environment } },
    });
    const fail = (what: string): void =>
      resolve({
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
    worker.once('message', ({ plant, problems }: Loaded) => {
      shareEquals(plant?.tags ?? []);
      resolve({ plant: freeze(plant), problems });
    });
    worker.once('error', (error) => fail(error.message));
    worker.once('exit', (code) => fail(`the loader stopped (${code})`));
  });
}
