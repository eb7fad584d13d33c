/**
 * Loads a gateway file, or what device maps are recognised by, in a short-lived worker, whose memory goes back to the
 * system with it: the daemon needs the parser and the schema for a moment and the room they take for ever. Imports neither.
 */
import { entryUrl, startThread } from '../entry.js';
import { messageOf } from '../errors.js';
import { type PackedTags, unpackTags } from './leantag.js';
import { type Errand, type Loaded, type Signatures, freeze } from './loaded.js';
import type { Plant } from './plant.js';
import type { Problem } from './problems.js';

/** A plant as it comes from the worker. */
export type LoadedAside = { readonly problems: readonly Problem[] } & (
  | { readonly plant: null; readonly tags: null }
  | { readonly plant: Omit<Plant, 'tags' | 'batches'>; readonly tags: PackedTags }
);

export async function loadAside(file: string, environment: NodeJS.ProcessEnv = process.env): Promise<Loaded> {
  try {
    const { plant, tags, problems } = (await run({ kind: 'plant', place: file, environment })) as LoadedAside;
    return { plant: plant === null ? null : freeze({ ...plant, ...unpackTags(tags) }), problems };
  } catch (thrown) {
    const text = `could not be loaded: ${messageOf(thrown)}`;
    return {
      plant: null,
      problems: [{ severity: 'error', file, line: 0, column: 0, code: 'HF1013', path: '', text }],
    };
  }
}

/** folder: where the gateway file is, or the one that somebody works in. */
export async function loadSignaturesAside(
  folder: string,
  environment: NodeJS.ProcessEnv = process.env,
): Promise<Signatures> {
  return (await run({ kind: 'signatures', place: folder, environment })) as Signatures;
}

/** The one before; one at a time, since each takes tens of megabytes and a processor for a moment. */
let before: Promise<unknown> = Promise.resolve();

/** What the worker (worker.ts) answers, which is of the kind that it was asked for. */
function run(errand: Errand): Promise<unknown> {
  const answer = before.then(() => runNow(errand));
  before = answer.catch(() => {});
  return answer;
}

function runNow({ environment, ...errand }: Errand): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const worker = startThread(entryUrl('config/worker.js'), {
      workerData: { ...errand, environment: { ...environment } },
    });
    worker.once('message', resolve);
    worker.once('error', reject);
    worker.once('exit', (code) => reject(new Error(`the loader stopped (${code})`)));
  });
}
