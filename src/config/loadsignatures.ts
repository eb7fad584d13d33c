/** Which device maps there are that say how their devices are recognised: beside a file, in devices/ beside it, shipped. */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { packageFolder } from '../entry.js';
import type { Environment } from './load.js';
import type { Signatures } from './loaded.js';
import { loadPlantOfMap } from './loadplant.js';
import type { Signature } from './signature.js';

/** A map of one's own goes before a shipped one of the same name, as it does in a gateway file. */
export function loadSignatures(folder: string, environment: Environment): Signatures {
  const byName = new Map<string, string>();
  for (const place of [folder, join(folder, 'devices'), join(packageFolder(), 'devices')]) {
    for (const file of yamlFiles(place)) {
      const name = basename(file, '.yaml');
      if (!byName.has(name)) byName.set(name, file);
    }
  }
  const signatures: Signature[] = [];
  const wrong: string[] = [];
  for (const [name, file] of byName) {
    // A gateway file, or a map that does not say: not worth parsing.
    if (!/^["']?identify["']?\s*:/m.test(readFileSync(file, 'utf8'))) continue;
    const { signature, problems } = loadPlantOfMap(file, environment);
    if (signature !== null && problems.every(({ severity }) => severity !== 'error'))
      signatures.push({ ...signature, map: name });
    else wrong.push(file);
  }
  return { signatures, wrong };
}

function yamlFiles(folder: string): string[] {
  if (!existsSync(folder)) return [];
  const names = readdirSync(folder, { withFileTypes: true });
  return names
    .filter((one) => one.isFile() && one.name.endsWith('.yaml'))
    .map(({ name }) => join(folder, name));
}
