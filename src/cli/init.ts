/** `holdfast init`: a gateway file for one's own devices, asked for at a terminal and tried before it is written. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { userLine } from '../broker/users.js';
import { SLUG } from '../config/schema/words.js';
import { packageFolder } from '../entry.js';
import { askHidden, askUntil, endQuestions } from './ask.js';
import { verb as check } from './check.js';
import { askBus } from './initbus.js';
import { askDevices, type AskedDevice } from './initdevices.js';
import type { OwnMap } from './initlist.js';
import { flowText, keyText } from './taginput.js';
import { EXIT, UsageError, type Context, type Verb, VerbError } from './verb.js';

const FILE = 'holdfast.yaml';
const USERS_FILE = 'users.passwd';

export const verb: Verb = {
  name: 'init',
  summary: 'make a gateway file for your devices, or print a template',
  arguments: '[FILE]',
  argumentHelp: [{ name: 'FILE', description: `the file to make; ${FILE} unless given` }],
  options: [
    { flags: '--no-input', description: 'ask nothing: print the commented template, or write it to FILE' },
    { flags: '--force', description: 'replace the file when it is there' },
  ],
  examples: [
    { command: 'init', meaning: 'asks, tries the devices, writes holdfast.yaml' },
    { command: 'init --no-input > holdfast.yaml', meaning: 'a template with comments' },
  ],
  run,
};

async function run(context: Context): Promise<number> {
  const { args, options, stdout, stderr } = context;
  const isAsking = options['input'] !== false && context.canAsk;
  const [given] = args;
  const file = given ?? FILE;
  if (isAsking || given !== undefined) refuseExisting(file, options['force'] === true);
  if (!isAsking) {
    const template = readFileSync(join(packageFolder(), 'config/example.yaml'), 'utf8').replace(
      /^# yaml-language-server.*\n/,
      '',
    );
    if (given === undefined) stdout.write(template);
    else {
      writeFileSync(given, template, { mode: 0o600 });
      stderr.write(`wrote a template to ${given}; fill it in, then holdfast check ${given}\n`);
    }
    return EXIT.ok;
  }
  try {
    return await converse(file, context);
  } finally {
    endQuestions();
  }
}

async function converse(file: string, context: Context): Promise<number> {
  const { stderr } = context;
  stderr.write('Enter takes what stands in brackets, Ctrl-C ends it and writes nothing.\n\n');
  const id = await askUntil('name of this gateway', slugOf(hostname()), (answer) => SLUG.test(answer) ? null : 'A-Z a-z 0-9 _ -, at most 64', context);
  const { bus, devices } = await askDevices(await askBus(context), context);
  const users = await askUser(file, context);
  // Ctrl-C may have come while a device was read.
  context.interrupted.throwIfAborted();
  for (const map of ownMaps(devices)) writeMap(file, map, context);
  writeFileSync(file, textOf({ id, bus, devices, hasUsers: users !== null }), { mode: 0o600 });
  if (users !== null) writeFileSync(join(dirname(file), USERS_FILE), users, { mode: 0o600 });
  stderr.write(`\nwrote ${file}${users === null ? '' : ` and ${USERS_FILE}`}\n\n`);
  const code = await check.run({ ...context, args: [file], options: {} });
  stderr.write(`\nNext:  holdfast run --config ${file}\n       holdfast watch --config ${file}${users === null ? '' : ' --user operator'}\n`);
  return code;
} // prettier-ignore

/** One of each name: several devices may have one list. */
function ownMaps(devices: readonly AskedDevice[]): OwnMap[] {
  return [
    ...new Map(devices.flatMap(({ ownMap }) => (ownMap === null ? [] : [[ownMap.name, ownMap]]))).values(),
  ];
}

/** Beside the gateway file, where it is looked for; a map that is there already stays. */
function writeMap(file: string, { name, text }: OwnMap, { stderr, options }: Context): void {
  const folder = join(dirname(file), 'devices');
  const path = join(folder, `${name}.yaml`);
  mkdirSync(folder, { recursive: true });
  if (existsSync(path) && options['force'] !== true) stderr.write(`\n${path} is there already and stays; --force replaces it\n`);
  else writeFileSync(path, text);
} // prettier-ignore

function refuseExisting(file: string, isForced: boolean): void {
  if (existsSync(file) && !isForced)
    throw new VerbError(EXIT.failed, `${file} is there already; name another, or replace it with --force`);
}

/** The lines of a users file; null: nobody needs a password on this machine. */
async function askUser(file: string, context: Context): Promise<string | null> {
  const { stderr } = context;
  const users = join(dirname(file), USERS_FILE);
  if (existsSync(users)) return null;
  stderr.write('\nWith a password the broker can later be opened to the network; without one only this machine comes in.\n');
  for (;;) {
    const password = await askHidden('password for user operator (empty: none): ', context);
    if (password === '') return null;
    if (password === (await askHidden('again: ', context))) return `${await userLine('operator', password, [])}\n`;
    stderr.write('  the two differ\n');
  }
} // prettier-ignore

function slugOf(name: string): string {
  const slug = name.replace(/[^A-Za-z0-9_-]+/g, '-').slice(0, 64);
  if (slug === '') throw new UsageError('this machine has no name');
  return slug;
}

/** What was asked for. */
export interface Answers {
  readonly id: string;
  readonly bus: { readonly name: string; readonly settings: Readonly<Record<string, unknown>> };
  readonly devices: readonly {
    readonly name: string;
    readonly settings: Readonly<Record<string, unknown>>;
  }[];
  readonly hasUsers: boolean;
}

export function textOf({ id, bus, devices, hasUsers }: Answers): string {
  return [
    '# Made by holdfast init. holdfast check says what is wrong with it; docs/configuration.md explains every key.',
    'version: 1',
    `gateway: { id: ${JSON.stringify(id)} }`,
    '',
    'broker:',
    '  listeners:',
    '    - { protocol: mqtt, host: 127.0.0.1, port: 1883 } # 0.0.0.0 lets the network in',
    hasUsers
      ? `  users_file: ${USERS_FILE} # holdfast passwd adds users`
      : '  anonymous: true # on this machine only',
    '',
    'web: { host: 127.0.0.1, port: 8080 }',
    '',
    'buses:',
    `  ${keyText(bus.name)}: ${flowText(bus.settings)}`,
    '',
    'devices:',
    ...devices.map(({ name, settings }) => deviceText(name, settings)),
    '',
  ].join('\n');
}

/** Tags stand on lines of their own, so that more are soon added. */
function deviceText(name: string, { tags, ...settings }: Readonly<Record<string, unknown>>): string {
  if (tags === undefined) return `  ${keyText(name)}: ${flowText(settings)}`;
  return [
    `  ${keyText(name)}:`,
    ...Object.entries(settings).map(([key, value]) => `    ${key}: ${flowText(value)}`),
    '    tags: # holding, input, coil or discrete: the address, counted from 0',
    ...Object.entries(tags as Record<string, unknown>).map(
      ([key, value]) => `      ${keyText(key)}: ${flowText(value)}`,
    ),
  ].join('\n');
}
