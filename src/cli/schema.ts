/** `holdfast schema`: the JSON Schema of gateway files or device maps, for editors. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageFolder } from '../entry.js';
import { EXIT, UsageError, type Verb } from './verb.js';

const FILES: Readonly<Record<string, string>> = {
  gateway: 'config/gateway.schema.json',
  map: 'devices/device-map.schema.json',
};

export const verb: Verb = {
  name: 'schema',
  summary: 'print the JSON Schema of gateway files or device maps',
  arguments: '[KIND]',
  argumentHelp: [{ name: 'KIND', description: 'gateway (unless given) or map' }],
  options: [],
  examples: [
    { command: 'schema > gateway.schema.json', meaning: 'for the first line of a gateway file' },
    { command: 'schema map > device-map.schema.json', meaning: 'for device maps' },
  ],
  run({ args, stdout }) {
    const file = FILES[args[0] ?? 'gateway'];
    if (file === undefined)
      throw new UsageError(
        `the schema of what? 'holdfast schema ${Object.keys(FILES).join("' or 'holdfast schema ")}'`,
      );
    stdout.write(readFileSync(join(packageFolder(), file), 'utf8'));
    return Promise.resolve(EXIT.ok);
  },
};
