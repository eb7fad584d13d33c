#!/usr/bin/env node
/** The command line: find the verb, run it, turn its outcome into an exit code. The only importer of commander. */
import { Command, CommanderError } from 'commander';
import { helpOf, helpOfAll } from './cli/help.js';
import { EXIT, UsageError, VerbError, type Context, type OptionValues, type Verb } from './cli/verb.js';
import { VERBS, type VerbEntry } from './cli/verbs.js';
import { productVersion } from './cli/version.js';
import { keepYoungGeneration } from './entry.js';
import { ConfigError, messageOf } from './errors.js';

keepYoungGeneration();

/** How long an interrupted verb may take to put its things away. */
const INTERRUPT_GRACE_MS = 2000;

// A reader that went away (`holdfast check | head`) is no fault of ours.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(EXIT.ok);
  throw error;
});

const code = await main(process.argv.slice(2));
process.exitCode = code;
// Nothing is left to do or to write. Node's own tidying of handles at such an end now and then turns for ever (seen with
// a pipe on stdin), and an explicit exit leaves it out.
process.once('beforeExit', () => process.exit(code));
// What a verb left open does not keep the process.
setTimeout(() => process.exit(code), 1000).unref();

async function main(argv: string[]): Promise<number> {
  try {
    return await dispatch(argv);
  } catch (thrown) {
    if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? EXIT.ok : EXIT.usage;
    process.stderr.write(`holdfast: ${messageOf(thrown)}\n`);
    if (thrown instanceof ConfigError) return EXIT.configNotValid;
    if (thrown instanceof UsageError) return EXIT.usage;
    if (thrown instanceof VerbError) return thrown.exitCode;
    return EXIT.failed;
  }
}

async function dispatch(argv: string[]): Promise<number> {
  const [first = ''] = argv;
  if (first === '--version' || first === '-V') {
    process.stdout.write(`holdfast ${productVersion()}\n`);
    return EXIT.ok;
  }
  if (first === '' || first === '--help' || first === '-h' || (first === 'help' && argv.length === 1)) {
    (first === '' ? process.stderr : process.stdout).write(await helpForAll());
    return first === '' ? EXIT.usage : EXIT.ok;
  }
  if (first === 'help') return dispatch([argv[1] ?? '', '--help']);
  // A config and nothing else means the daemon.
  if (/^(-c|--config(=.*)?)$/.test(first)) return dispatch(['run', ...argv]);
  if (!first.startsWith('-') && !VERBS.some(({ name }) => name === first)) {
    const { nearest } = await import('./cli/target.js');
    const names = [...VERBS.map(({ name }) => name), 'help'];
    throw new UsageError(`there is no verb ${first}${nearest(first, names)}; 'holdfast --help' lists them`);
  }
  return parse(argv);
}

async function parse(argv: string[]): Promise<number> {
  const program = new Command('holdfast').exitOverride().helpCommand(false);
  let outcome: number = EXIT.ok;
  for (const entry of VERBS) {
    const command = program.command(entry.name).exitOverride();
    if (entry.name === argv[0]) {
      await describe(command, entry, async (verb, args, options) => {
        outcome = await runVerb(verb, args, options);
      });
    }
  }
  // "did you mean" comes from commander, the next step from us.
  const next = argv[0]?.startsWith('-') === true ? 'holdfast --help' : `holdfast ${argv[0] ?? ''} --help`;
  program.configureOutput({
    outputError: (text, write) => write(`${text.replace(/^error: /, 'holdfast: ')}Try '${next}'.\n`),
  });
  for (const command of program.commands) command.copyInheritedSettings(program);
  await program.parseAsync(argv, { from: 'user' });
  return outcome;
}

type Action = (verb: Verb, args: string[], options: OptionValues) => Promise<void>;

async function describe(command: Command, entry: VerbEntry, action: Action): Promise<void> {
  const { verb } = await entry.load();
  if (verb.arguments !== '')
    command.arguments(verb.arguments.replace(/(?<![[\w])([A-Z]\w*)(\.\.\.)?/g, '<$1$2>'));
  // commander takes a value for a flag only when its name stands in <>.
  for (const { flags, description, default: otherwise } of verb.options)
    command.option(flags.replace(/ ([A-Z][A-Z_]*)$/, ' <$1>'), description, otherwise);
  command.helpInformation = () => helpOf(verb);
  command.action(async () => action(verb, command.args, command.opts<OptionValues>()));
}

async function runVerb(verb: Verb, args: readonly string[], options: OptionValues): Promise<number> {
  const interrupted = new AbortController();
  if (verb.ownsSignals !== true) endOnSignals(interrupted);
  const context: Context = {
    args,
    options,
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    isTerminal: process.stdout.isTTY === true,
    canAsk: process.stdin.isTTY === true && process.stderr.isTTY === true,
    verbs: allVerbs,
    interrupted: interrupted.signal,
  };
  try {
    const outcome = await verb.run(context);
    return interrupted.signal.aborted ? EXIT.interrupted : outcome;
  } catch (thrown) {
    // A question that nobody answers any more, for one.
    if (interrupted.signal.aborted) return EXIT.interrupted;
    throw thrown;
  }
}

/** The first signal asks the verb to stop; a second one, or too long a wait, ends it. */
function endOnSignals(interrupted: AbortController): void {
  const onSignal = (): void => {
    if (interrupted.signal.aborted) process.exit(EXIT.interrupted);
    interrupted.abort();
    setTimeout(() => process.exit(EXIT.interrupted), INTERRUPT_GRACE_MS).unref();
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
}

async function helpForAll(): Promise<string> {
  return helpOfAll(VERBS, await allVerbs());
}

function allVerbs(): Promise<Verb[]> {
  return Promise.all(VERBS.map(async (entry) => (await entry.load()).verb));
}
