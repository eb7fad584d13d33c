/** `holdfast reset`: a gateway as it was on the first day, with nothing kept, no users, and only this machine let in. */
import { existsSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { keptFolders, plantOf, removeFolders, sayWhatGoes } from './wipe.js';
import { EXIT, type Context, type Verb } from './verb.js';

/** One listener on loopback and nobody let in: what an empty file means, said in words. */
const FIRST_DAY = `# Made by 'holdfast reset'. The broker listens on this machine only and lets nobody in until there are users.
version: 1
`;

export const verb: Verb = {
  name: 'reset',
  summary: 'go back to the first day: nothing kept, no users',
  arguments: '',
  options: [
    { flags: '-c, --config FILE', description: 'the gateway file; it is kept beside as FILE.old' },
    { flags: '--yes', description: 'do it; without, only say what would go' },
  ],
  examples: [
    { command: 'reset -c holdfast.yaml', meaning: 'says what would go' },
    { command: 'reset -c holdfast.yaml --yes', meaning: 'does it' },
  ],
  run,
};

async function run(context: Context): Promise<number> {
  const plant = await plantOf(context);
  const folders = keptFolders(plant);
  const { usersFile } = plant.broker;
  const isUsersThere = usersFile !== null && existsSync(usersFile);
  if (context.options['yes'] !== true)
    return sayWhatGoes(context, [...folders, ...(isUsersThere ? [usersFile] : []), plant.file]);
  await removeFolders(folders);
  if (isUsersThere) rmSync(usersFile);
  renameSync(plant.file, `${plant.file}.old`);
  writeFileSync(plant.file, FIRST_DAY, { mode: 0o600 });
  context.stderr.write(`${plant.file}: reset; what was there is in ${plant.file}.old\n`);
  return EXIT.ok;
}
