/** A register list that somebody has, made a device map of in the dialogue of `init`: what it leaves open is asked. */
import { basename } from 'node:path';
import { messageOf } from '../errors.js';
import { askUntil } from './ask.js';
import { inputFile } from './inputfile.js';
import { importedTags, mapText, understood } from './import.js';
import { readList } from './registerlist.js';
import type { Reading } from './registerrow.js';
import type { TagSettings } from './taginput.js';
import type { Context } from './verb.js';

export interface OwnMap {
  /** As the device names it. */
  readonly name: string;
  readonly text: string;
  readonly tags: Readonly<Record<string, TagSettings>>;
}

/** What a list may leave open, by the option of `import` that its complaint names. */
const QUESTIONS = [
  { option: '--base', key: 'base', question: 'what does the list call the first register, 0 or 1', answers: ['0', '1'] },
  { option: '--table', key: 'table', question: 'which table are they in (holding, input, coil, discrete)', answers: ['holding', 'input', 'coil', 'discrete'] },
  { option: '--order', key: 'order', question: 'order of bytes in values longer than a register (ABCD, CDAB, BADC, DCBA)', answers: ['ABCD', 'CDAB', 'BADC', 'DCBA'] },
] as const; // prettier-ignore

/** null: it is no list, or has mistakes, which were told. */
export async function askList(file: string, context: Context): Promise<OwnMap | null> {
  const { stderr } = context;
  let reading: Reading = { base: null, order: null, table: null };
  for (;;) {
    try {
      const list = readList(inputFile(file), file, undefined);
      const tags = importedTags(list, file, reading, null);
      stderr.write(`  ${understood(file, list, tags).join('\n  ')}\n`);
      const settings = tags.map((tag) => [tag.name, tag.settings] as const);
      return { name: mapName(file), text: mapText(file, list, tags), tags: Object.fromEntries(settings) };
    } catch (thrown) {
      const text = messageOf(thrown);
      const open = QUESTIONS.find(({ option, key }) => text.includes(option) && reading[key] === null);
      stderr.write(`  ${text.replaceAll('\n', '\n  ')}\n`);
      if (open === undefined) return null;
      const { key, question, answers } = open;
      const isOne = (answer: string): boolean => answers.some((one) => one.toLowerCase() === answer.toLowerCase());
      const answer = await askUntil(question, '', (said) => (isOne(said) ? null : `one of ${answers.join(', ')}`), context);
      reading = { ...reading, [key]: key === 'base' ? Number(answer) : key === 'order' ? answer.toUpperCase() : answer };
    }
  }
} // prettier-ignore

function mapName(file: string): string {
  const slug = basename(file)
    .replace(/\.\w+$/, '')
    .replace(/[^A-Za-z0-9_-]+/g, '-');
  return slug === '' || slug === '-' ? 'device' : slug;
}
