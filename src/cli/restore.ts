/** `holdfast restore`: a backup becomes the store of a gateway that has none yet. */
import { restoreBackup } from '../store/backup.js';
import { systemFiles } from '../store/files.js';
import { diskStoreOf } from './backup.js';
import { giveToOwner } from './owner.js';
import { EXIT, UsageError, type Context, type Verb } from './verb.js';

export const verb: Verb = {
  name: 'restore',
  summary: 'make a backup the store of a gateway that does not run',
  arguments: 'FILE',
  argumentHelp: [{ name: 'FILE', description: 'what `holdfast backup` wrote' }],
  options: [{ flags: '-c, --config FILE', description: 'the gateway file' }],
  examples: [{ command: 'restore -c holdfast.yaml monday.tar', meaning: 'into the store folder it names' }],
  run,
};

async function run(context: Context): Promise<number> {
  const [file] = context.args;
  if (file === undefined) throw new UsageError("which file? 'holdfast restore -c holdfast.yaml monday.tar'");
  const { path } = await diskStoreOf(context);
  await restoreBackup(file, path, systemFiles);
  giveToOwner(path);
  context.stderr.write(`${path}: restored from ${file}; the gateway can be started\n`);
  return EXIT.ok;
}
