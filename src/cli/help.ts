/** Help texts, at most 80 columns wide, which begin with examples. */
import type { Option, Verb } from './verb.js';
import type { VerbEntry } from './verbs.js';

const WIDTH = 80;
/** `holdfast check --config holdfast.yaml` fits. */
const LEFT_MAX = 37;
const PROGRAM = 'holdfast';

/** The text of `holdfast VERB --help`. */
export function helpOf(verb: Verb): string {
  const options: Option[] = [...verb.options, { flags: '-h, --help', description: 'this text' }];
  const usage = [PROGRAM, verb.name, verb.arguments, '[options]'].filter((word) => word !== '').join(' ');
  const sections = [
    wrap(`${PROGRAM} ${verb.name} - ${verb.summary}`, 0),
    table(verb.examples.map(({ command, meaning }) => [`${PROGRAM} ${command}`, meaning])),
    wrap(`Usage: ${usage}`, 7),
  ];
  if (verb.argumentHelp !== undefined) {
    sections.push(table(verb.argumentHelp.map(({ name, description }) => [name, description])));
  }
  sections.push(table(options.map((option) => [option.flags, descriptionOf(option)])));
  return `${sections.join('\n\n')}\n`;
}

/** The text of `holdfast --help`: the first commands of a newcomer, then all verbs by group. */
export function helpOfAll(entries: readonly VerbEntry[], verbs: readonly Verb[]): string {
  const has = (name: string): boolean => entries.some((entry) => entry.name === name);
  const first = [
    ['demo', 'demo', 'see it work, nothing needed'],
    ['init', 'init', 'make a gateway file for your devices'],
    ['check', 'check --config holdfast.yaml', 'look a config over'],
    ['run', 'run --config holdfast.yaml', 'run it'],
  ].filter(([name = '']) => has(name));
  const groups = [...new Set(entries.map((entry) => entry.group))];
  const sections = [
    `${PROGRAM} - Modbus to MQTT gateway with its own broker`,
    table(first.map(([, command = '', meaning = '']) => [`${PROGRAM} ${command}`, meaning])),
    ...groups.map((group) => {
      const names = entries.filter((entry) => entry.group === group).map((entry) => entry.name);
      const rows = verbs.filter((verb) => names.includes(verb.name));
      return `${group}\n${table(rows.map((verb) => [verb.name, verb.summary]))}`;
    }),
    wrap(`'${PROGRAM} VERB --help' says more about one verb, '${PROGRAM} --version' what this is.`, 0),
  ];
  return `${sections.filter((section) => section !== '').join('\n\n')}\n`;
}

function descriptionOf({ description, default: value }: Option): string {
  return value === undefined ? description : `${description} (default ${value})`;
}

/** Two columns; a left cell too long for its column puts its right cell on the next line. */
function table(rows: readonly (readonly [string, string])[]): string {
  const longest = Math.max(0, ...rows.map(([left]) => left.length));
  const column = Math.min(longest, LEFT_MAX) + 4;
  return rows
    .map(([left, right]) => {
      const lines = wrap(right, 0, WIDTH - column).split('\n');
      const gap = left.length + 4 > column ? `\n${' '.repeat(column)}` : ' '.repeat(column - left.length - 2);
      return `  ${left}${gap}${lines.join(`\n${' '.repeat(column)}`)}`;
    })
    .join('\n');
}

/** Breaks at spaces; lines after the first are indented. */
function wrap(text: string, indent: number, width = WIDTH): string {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = ' '.repeat(indent) + word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line].join('\n');
}
