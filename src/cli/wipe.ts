/** `holdfast wipe`: everything that a gateway has kept goes; what people wrote stays. */
import { mkdirSync, rmSync } from 'node:fs';
import { loadAside } from '../config/loadaside.js';
import type { Plant } from '../config/plant.js';
import { formatProblem } from '../config/problems.js';
import { ConfigError } from '../errors.js';
import { createLog } from '../log.js';
import { lockFolder } from '../store/lock.js';
import { EXIT, textOption, UsageError, type Context, type Verb } from './verb.js';

export const verb: Verb = {
  name: 'wipe',
  summary: 'remove all that a gateway has kept, before it leaves the house',
  arguments: '',
  options: [
    { flags: '-c, --config FILE', description: 'the gateway file' },
    { flags: '--yes', description: 'do it; without, only say what would go' },
  ],
  examples: [
    { command: 'wipe -c holdfast.yaml', meaning: 'says which folders would go' },
    {
      command: 'wipe -c holdfast.yaml --yes',
      meaning: 'sessions, queues, retained messages, what was learned of devices',
    },
  ],
  run,
};

async function run(context: Context): Promise<number> {
  const folders = keptFolders(await plantOf(context));
  if (context.options['yes'] !== true) return sayWhatGoes(context, folders);
  await removeFolders(folders);
  for (const folder of folders) context.stderr.write(`${folder}: removed\n`);
  return EXIT.ok;
}

/** The plant of the gateway file that --config names. */
export async function plantOf({ options }: Context): Promise<Plant> {
  const config = textOption(options, 'config');
  if (config === undefined) throw new UsageError('which gateway? give --config holdfast.yaml');
  const { plant, problems } = await loadAside(config);
  if (plant === null)
    throw new ConfigError('CONFIG', {}, `the config is not valid\n${problems.map(formatProblem).join('\n')}`);
  return plant;
}

/** Where a gateway keeps something: the broker's store first, whose lock says whether the gateway runs. */
export function keptFolders({ broker, uplinks }: Plant): string[] {
  const store = broker.store.kind === 'disk' ? [broker.store.path] : [];
  return [...store, ...uplinks.map(({ queue }) => queue.path)];
}

export function sayWhatGoes({ stderr }: Context, paths: readonly string[]): number {
  for (const path of paths) stderr.write(`${path}: would go\n`);
  stderr.write(paths.length === 0 ? 'nothing is kept\n' : 'nothing was done; add --yes to do it\n');
  return EXIT.ok;
}

/** Rejects, with everything as it was, when a gateway has one of them in use. */
export async function removeFolders(folders: readonly string[]): Promise<void> {
  const [store] = folders;
  if (store !== undefined) {
    mkdirSync(store, { recursive: true, mode: 0o700 });
    const lock = await lockFolder(store, createLog('error'));
    lock.release();
  }
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
}
