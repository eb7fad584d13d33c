/** `holdfast version`: what runs here. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageFolder } from '../entry.js';
import { EXIT, type Verb } from './verb.js';

export const verb: Verb = {
  name: 'version',
  summary: 'print the version, and with --json what it runs on',
  arguments: '',
  options: [{ flags: '--json', description: 'one JSON document' }],
  examples: [
    { command: 'version', meaning: 'one line' },
    { command: 'version --json', meaning: 'with Node.js, platform and architecture' },
  ],
  run({ options, stdout }) {
    const version = productVersion();
    const { platform, arch, versions } = process;
    const all = { name: 'holdfast', version, node: versions.node, platform, arch };
    stdout.write(options['json'] === true ? `${JSON.stringify(all, null, 2)}\n` : `holdfast ${version}\n`);
    return Promise.resolve(EXIT.ok);
  },
};

export function productVersion(): string {
  // Our own package.json, written by us.
  const { version } = JSON.parse(readFileSync(join(packageFolder(), 'package.json'), 'utf8')) as {
    version: string;
  };
  return version;
}
