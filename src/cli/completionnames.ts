/** What may stand at the end of a command line that is being typed: the names of the gateway file that it mentions. */
import { loadAside } from '../config/loadaside.js';
import type { Plant } from '../config/plant.js';
import type { Verb } from './verb.js';

/** Words of Verb.arguments that a gateway file has names for. */
const NAMED = /\b(BUS|DEVICE|NAME)\b/;

/** Whether it is worth asking: a verb with names, of a gateway file. */
export function takesNames({ arguments: words, options }: Verb): boolean {
  return NAMED.test(words) && options.some(({ flags }) => flags.startsWith('-c, '));
}

export function flagNames(flags: string): string[] {
  return flags.match(/(?<!\S)--?[a-z][a-z-]*/g) ?? [];
}

export function takesValue(flags: string): boolean {
  return / [A-Z][A-Z_]*$/.test(flags);
}

/** For the last of the words after the program's name; none where there is nothing to say. */
export async function namesFor(
  words: readonly string[],
  verbs: readonly Verb[],
  env: NodeJS.ProcessEnv,
): Promise<readonly string[]> {
  const verb = verbs.find(({ name }) => name === words[0]);
  if (verb === undefined || !takesNames(verb)) return [];
  const { file, operands } = readSoFar(verb, words.slice(1, -1));
  if (file === null || operands === null) return [];
  const { plant } = await loadAside(file, env);
  return plant === null ? [] : namesAt(verb, operands, plant);
}

/** The gateway file, and the operands before the word that is typed; null: that word is the value of an option. */
function readSoFar(
  { options }: Verb,
  words: readonly string[],
): { file: string | null; operands: readonly string[] | null } {
  const valued = options.filter(({ flags }) => takesValue(flags)).flatMap(({ flags }) => flagNames(flags));
  const operands: string[] = [];
  let file: string | null = null;
  let flag: string | null = null;
  for (const word of words) {
    // bash takes --config=FILE for three words.
    if (word === '=') continue;
    if (flag !== null) {
      if (flag === '-c' || flag === '--config') file = word;
      flag = null;
    } else if (word.startsWith('--config=')) file = word.slice('--config='.length);
    else if (valued.includes(word)) flag = word;
    else if (!word.startsWith('-')) operands.push(word);
  }
  return { file, operands: flag === null ? operands : null };
}

function namesAt(verb: Verb, operands: readonly string[], { buses, devices, tags }: Plant): string[] {
  const places = verb.arguments.match(/[A-Z]+/g) ?? [];
  const place = places[Math.min(operands.length, places.length - 1)];
  if (place === 'BUS') return buses.map(({ name }) => name);
  if (place === 'DEVICE') return devices.map(({ name }) => name);
  if (place !== 'NAME') return [];
  // Tags of the device before it; where there is none, of every device.
  if (places[0] === 'DEVICE') return tags.filter(({ device }) => device.name === operands[0]).map(({ name }) => name); // prettier-ignore
  return [...devices.map(({ name }) => name), ...tags.map(({ device, name }) => `${device.name}/${name}`)];
}
