/** The man page, from the same table of verbs that help comes from. */
import type { Verb } from './verb.js';
import { VERBS } from './verbs.js';

const EXIT_CODES: readonly (readonly [string, string])[] = [
  ['0', 'all went well'],
  ['1', 'failed while running'],
  ['2', 'the command line was not understood'],
  ['3', 'the config is not valid'],
  ['4', 'a device did not answer'],
  ['5', 'a device answered with a Modbus exception'],
  ['6', 'the broker or an uplink refused'],
  ['7', 'not allowed'],
  ['130', 'interrupted (every verb but run)'],
];

const ENVIRONMENT: readonly (readonly [string, string])[] = [
  ['HOLDFAST_URL', 'the broker of verbs that are given neither --url nor --config'],
  ['HOLDFAST_USER, HOLDFAST_PASSWORD', 'who they come as'],
  ['NO_COLOR', 'no colour, also on a terminal'],
];

export async function generated(): Promise<Map<string, string>> {
  const verbs = await Promise.all(VERBS.map(async (entry) => (await entry.load()).verb));
  return new Map([['docs/holdfast.1', manPage(verbs)]]);
}

export function manPage(verbs: readonly Verb[]): string {
  return `${[
    '.\\" Written by npm run generate from the table of verbs.',
    '.TH HOLDFAST 1 "" "holdfast" "User Commands"',
    '.SH NAME',
    'holdfast \\- Modbus to MQTT gateway with its own broker',
    '.SH SYNOPSIS',
    '.B holdfast',
    '.I VERB',
    '[arguments] [options]',
    '.SH VERBS',
    ...verbs.flatMap(section),
    '.SH EXIT STATUS',
    ...EXIT_CODES.flatMap(([code, meaning]) => ['.TP', `.B ${code}`, roff(meaning)]),
    '.SH ENVIRONMENT',
    ...ENVIRONMENT.flatMap(([name, meaning]) => ['.TP', `.B ${roff(name)}`, roff(meaning)]),
  ].join('\n')}\n`;
}

function section({ name, summary, arguments: words, argumentHelp = [], options, examples }: Verb): string[] {
  const items = [
    ...argumentHelp.map((one) => [one.name, one.description] as const),
    ...options.map(
      ({ flags, description, default: value }) =>
        [flags, value === undefined ? description : `${description} (default ${value})`] as const,
    ),
  ];
  return [
    `.SS ${roff(`holdfast ${name} ${words}`.trimEnd())}`,
    `${roff(summary)}.`,
    ...items.flatMap(([flags, description]) => ['.TP', `.B ${roff(flags)}`, roff(description)]),
    ...examples.flatMap(({ command, meaning }) => [
      '.TP',
      `.I ${roff(`holdfast ${command}`)}`,
      roff(meaning),
    ]),
  ];
}

/** A text line of roff: hyphens that are typed, no control line by accident. */
function roff(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replace(/^(?=[.'])/, '\\&');
}
