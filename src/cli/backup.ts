/** `holdfast backup`: what the broker keeps, as one file, from a running gateway or from one that stands still. */
import { loadAside } from '../config/loadaside.js';
import type { StoreSettings } from '../config/plant.js';
import { formatProblem } from '../config/problems.js';
import { sizeText } from '../config/units.js';
import { ConfigError } from '../errors.js';
import { createLog } from '../log.js';
import { Metrics } from '../metrics.js';
import { fetchBackup } from '../store/backupsocket.js';
import { DiskStore } from '../store/disk.js';
import { giveToOwner } from './owner.js';
import { EXIT, textOption, UsageError, type Context, type Verb } from './verb.js';

export const verb: Verb = {
  name: 'backup',
  summary: 'write sessions, queues and retained messages into one file',
  arguments: 'FILE',
  argumentHelp: [{ name: 'FILE', description: 'the backup, a tar archive; replaced when it is there' }],
  options: [{ flags: '-c, --config FILE', description: 'the gateway file' }],
  examples: [
    { command: 'backup -c holdfast.yaml monday.tar', meaning: 'the gateway may run meanwhile' },
    { command: 'restore -c holdfast.yaml monday.tar', meaning: 'puts it back' },
  ],
  run,
};

async function run(context: Context): Promise<number> {
  const [file] = context.args;
  if (file === undefined) throw new UsageError("which file? 'holdfast backup -c holdfast.yaml monday.tar'");
  const settings = await diskStoreOf(context);
  const bytes = (await fetchBackup(settings.path, file)) ?? (await backUpAtRest(settings, file));
  context.stderr.write(`${file}: ${sizeText(bytes)} from ${settings.path}\n`);
  return EXIT.ok;
}

/** Opening it keeps a gateway from starting meanwhile. */
async function backUpAtRest(settings: DiskSettings, file: string): Promise<number> {
  const store = new DiskStore(settings, { log: createLog('warn'), metrics: new Metrics() });
  await store.open();
  try {
    return await store.backup(file);
  } finally {
    await store.close();
    giveToOwner(settings.path);
  }
}

export type DiskSettings = Extract<StoreSettings, { kind: 'disk' }>;

/** Of the gateway file that --config names. */
export async function diskStoreOf({ options }: Context): Promise<DiskSettings> {
  const config = textOption(options, 'config');
  if (config === undefined) throw new UsageError('which gateway? give --config holdfast.yaml');
  const { plant, problems } = await loadAside(config);
  if (plant === null)
    throw new ConfigError('CONFIG', {}, `the config is not valid\n${problems.map(formatProblem).join('\n')}`);
  const { store } = plant.broker;
  if (store.kind === 'memory')
    throw new ConfigError('CONFIG', { file: config }, 'keeps nothing on disk (broker.store: memory)');
  return store;
}
