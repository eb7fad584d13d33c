/** `holdfast import`: a register list from a spreadsheet as a device map. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { plantOfText } from '../config/loadplant.js';
import { formatProblem } from '../config/problems.js';
import { ConfigError } from '../errors.js';
import { isMosquittoConf, uplinksOf } from './importbridges.js';
import { inputOf } from './inputfile.js';
import { columns } from './paint.js';
import { type ListRow, readList, type RegisterList } from './registerlist.js';
import { isOffsetOfRegisters, lengthOfRegister, plainTables, type Reading, tagOfRow } from './registerrow.js';
import { flowText, keyText, type TagSettings } from './taginput.js';
import { EXIT, numberOption, textOption, UsageError, type Context, type Verb } from './verb.js';

const SHOWN_ROWS = 5;
const PROBLEMS_SHOWN = 20;

export const verb: Verb = {
  name: 'import',
  summary: 'make a map of a register list, or uplinks of a mosquitto.conf',
  arguments: 'FILE',
  argumentHelp: [{ name: 'FILE', description: 'CSV as Kepware, Neuron, Ignition or a maker writes it, or mosquitto.conf; - is stdin' }],
  options: [
    { flags: '-o, --output FILE', description: 'write the result there; stdout unless given' },
    { flags: '--base NUMBER', description: 'what plain addresses call the first register: 0 or 1' },
    { flags: '--order ORDER', description: 'of values longer than a register, where the list does not say: ABCD, CDAB, BADC, DCBA' },
    { flags: '--table TABLE', description: 'where the list does not say: holding, input, coil, discrete' },
    { flags: '--unit NUMBER', description: 'only rows of this unit' },
    { flags: '--encoding NAME', description: 'utf-8, utf-16le, gbk, windows-1252; found out unless given' },
  ],
  examples: [
    { command: 'import press.csv -o devices/press.yaml', meaning: 'then write map: press at the device' },
    { command: 'import kepware.csv --order CDAB', meaning: 'Kepware keeps the low word first' },
    { command: 'import /etc/mosquitto/conf.d/bridge.conf', meaning: 'uplinks, to go into the gateway file' },
    { command: 'import 点表.csv --base 1 --table holding', meaning: 'plain addresses counted from 1' },
  ],
  run,
}; // prettier-ignore

async function run(context: Context): Promise<number> {
  const { args, options, stdout, stderr } = context;
  const [file, ...rest] = args;
  if (file === undefined || rest.length > 0) throw new UsageError("which list? 'holdfast import press.csv -o devices/press.yaml'");
  const bytes = await inputOf(file, context);
  if (isMosquittoConf(bytes.toString())) return importConf(context, bytes.toString(), file);
  const base = numberOption(options, 'base', 0, 1);
  const reading: Reading = {
    base: base === 0 || base === 1 ? base : null,
    order: textOption(options, 'order')?.toUpperCase() ?? null,
    table: textOption(options, 'table') ?? null,
  };
  const list = readList(bytes, file, textOption(options, 'encoding'));
  const tags = importedTags(list, file, reading, numberOption(options, 'unit', 0, 255) ?? null);
  stderr.write(`${understood(file, list, tags).join('\n')}\n`);
  const text = mapText(file, list, tags);
  const output = textOption(options, 'output');
  if (output === undefined) stdout.write(text);
  else {
    mkdirSync(dirname(output), { recursive: true });
    writeFileSync(output, text);
    stderr.write(`wrote ${tags.length} tags to ${output}; 'holdfast check --map ${output}' looks it over\n`);
  }
  return EXIT.ok;
} // prettier-ignore

function importConf({ options, stdout, stderr }: Context, conf: string, file: string): number {
  const { names, text, notes } = uplinksOf(conf, file === '-' ? 'stdin' : file);
  for (const note of notes) stderr.write(`${note}\n`);
  if (names.length === 0)
    throw new UsageError(`${file} has no bridge (connection NAME); listeners, users and access are written under broker: in the gateway file, and users_file: takes its password file as it is`);
  const output = textOption(options, 'output');
  if (output === undefined) stdout.write(text);
  else writeFileSync(output, text);
  stderr.write(`${names.length === 1 ? 'an uplink' : `${names.length} uplinks`} (${names.join(', ')}); put into the gateway file, then 'holdfast check'\n`);
  return EXIT.ok;
} // prettier-ignore

export interface Imported {
  readonly name: string;
  readonly settings: TagSettings;
  readonly cells: ListRow;
}

/** Every row as a tag that the config accepts; throws with all that is wrong or left open. */
export function importedTags(
  list: RegisterList,
  file: string,
  reading: Reading,
  unit: number | null,
): Imported[] {
  const tags = tagsOf(list, file, reading, unit);
  check(file, tags);
  return tags;
}

function tagsOf(list: RegisterList, file: string, reading: Reading, unit: number | null): Imported[] {
  const problems: string[] = [];
  const tags: Imported[] = [];
  const lines = new Map<string, number>();
  const units = new Set<number>();
  let openOrder = '';
  const all = list.rows.map(({ cells }) => cells);
  const whole = { ...reading, plain: plainTables(all, reading), perRegister: lengthOfRegister(all) };
  for (const { line, cells } of list.rows) {
    const outcome = tagOfRow(cells, whole);
    if (outcome.kind === 'problem') {
      problems.push(`${file}:${line}  ${cells.get('name') ?? ''} ${outcome.text}`);
      continue;
    }
    const { name, settings, unitId, isOrderOpen } = outcome;
    if (unitId !== null && unit !== null && unitId !== unit) continue;
    if (unitId !== null) units.add(unitId);
    const earlier = lines.get(name);
    if (earlier !== undefined) problems.push(`${file}:${line}  ${name} is the name of line ${earlier} too; give one of them another`);
    lines.set(name, line);
    if (isOrderOpen && openOrder === '') openOrder = `${file}:${line}  ${name}`;
    tags.push({ name, settings, cells });
  }
  if (list.origin !== 'holdfast' && isOffsetOfRegisters(all))
    problems.push(`${file}  the column for the offset, which is added to values, counts on as the addresses do; remove it where it is the address once more`);
  if (units.size > 1)
    problems.push(`${file}  has the units ${[...units].join(', ')}; a device map is for one: choose with --unit`);
  // The makers of these lists have a rule; nobody else's is known.
  if (openOrder !== '' && list.origin !== 'Neuron' && list.origin !== 'holdfast')
    problems.push(`${openOrder} is longer than a register, and the list names no word order; say which with --order ABCD or --order CDAB${list.origin === 'Kepware' ? ' (Kepware: CDAB, unless "first word low" was switched off)' : ''}`);
  if (problems.length > 0) {
    const more = problems.length > PROBLEMS_SHOWN ? [`and ${problems.length - PROBLEMS_SHOWN} more`] : [];
    throw new ConfigError('IMPORT', {}, `nothing was written\n${[...problems.slice(0, PROBLEMS_SHOWN), ...more].join('\n')}`);
  }
  return tags;
} // prettier-ignore

/** What the config says of such a device. */
function check(file: string, tags: readonly Imported[]): void {
  const device = { bus: 'bus', unit_id: 1, tags: Object.fromEntries(tags.map(({ name, settings }) => [name, settings])) };
  const { problems } = plantOfText(file, flowText({ version: 1, broker: { anonymous: true }, buses: { bus: { protocol: 'tcp', host: '127.0.0.1' } }, devices: { device } }), {});
  const errors = problems.filter(({ severity }) => severity === 'error');
  if (errors.length === 0) return;
  const texts = errors.map((problem) => formatProblem({ ...problem, line: 0, column: 0, path: problem.path.replace(/^devices\.device\.tags\./, '') }));
  throw new ConfigError('IMPORT', {}, `nothing was written\n${texts.slice(0, PROBLEMS_SHOWN).join('\n')}`);
} // prettier-ignore

export function understood(
  file: string,
  { origin, encoding, ignored, headings }: RegisterList,
  tags: readonly Imported[],
): string[] {
  const from = origin === 'other' ? '' : `, as ${origin} writes it`;
  const rows = tags
    .slice(0, SHOWN_ROWS)
    .map(({ name, settings, cells }) => [
      '  ',
      [cells.get('name'), cells.get('address') || cells.get('hex_address'), cells.get('type')]
        .filter(Boolean)
        .join(' '),
      '->',
      `${name} ${flowText(settings)}`,
    ]);
  return [
    `${file}: ${tags.length} rows in ${encoding}${from}; addresses below count from 0`,
    ...columns(rows),
    ...(tags.length > SHOWN_ROWS ? [`  and ${tags.length - SHOWN_ROWS} more`] : []),
    ...(headings === 0
      ? []
      : [`left out: ${headings} ${headings === 1 ? 'line' : 'lines'} with a heading only`]),
    ...(ignored.length === 0 ? [] : [`not used: the columns ${ignored.join(', ')}`]),
  ];
}

export function mapText(file: string, { origin }: RegisterList, tags: readonly Imported[]): string {
  const title = file === '-' ? 'Register list' : basename(file).replace(/\.\w+$/, '');
  return [
    'version: 1',
    `title: ${JSON.stringify(title)}`,
    `sources: [${JSON.stringify(`register list ${basename(file)}${origin === 'other' ? '' : ` (${origin})`}`)}]`,
    'verified: documents(1)',
    'numbering: pdu # addresses count from 0',
    'tags:',
    ...tags.map(({ name, settings }) => `  ${keyText(name)}: ${flowText(settings)}`),
    '',
  ].join('\n');
}
