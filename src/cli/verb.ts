/**
 * What a verb of the command line is: one file a verb, which exports `verb`. The table is verbs.ts, parsing is main.ts,
 * the help text is help.ts; a verb sees its arguments already checked and says how it went by an exit code.
 */
import { HoldfastError } from '../errors.js';

/** What the process ends with; scripts depend on these. */
export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  configNotValid: 3,
  deviceSilent: 4,
  deviceException: 5,
  refused: 6,
  notAllowed: 7,
  interrupted: 130,
} as const;

export interface Verb {
  readonly name: string;
  /** One line, no full stop, for the list of verbs. */
  readonly summary: string;
  /** What follows the verb, as in "DEVICE TAG [VALUE]"; empty: nothing. Words in [] may be missing, "..." repeats. */
  readonly arguments: string;
  /** One line for each word of `arguments`. */
  readonly argumentHelp?: readonly { readonly name: string; readonly description: string }[];
  readonly options: readonly Option[];
  /** At least one; help begins with them. */
  readonly examples: readonly Example[];
  /** The verb stops by itself on SIGINT and SIGTERM and chooses its own exit code. */
  readonly ownsSignals?: boolean;
  run(context: Context): Promise<number>;
}

export interface Option {
  /** As in "-c, --config FILE", "--json", "--no-faults". */
  readonly flags: string;
  readonly description: string;
  readonly default?: string;
}

export interface Example {
  /** Without the program's name, as in "run --config holdfast.yaml". */
  readonly command: string;
  readonly meaning: string;
}

/** Options by their long name in camelCase: a text when the flag takes a value, else a truth. */
export type OptionValues = Readonly<Record<string, string | boolean | undefined>>;

export interface Context {
  readonly args: readonly string[];
  readonly options: OptionValues;
  readonly stdin: NodeJS.ReadStream;
  /** Data goes here, everything else to stderr. */
  readonly stdout: NodeJS.WritableStream;
  readonly stderr: NodeJS.WritableStream;
  readonly env: NodeJS.ProcessEnv;
  /** stdout is a terminal: colour (unless NO_COLOR) and tables that adapt are welcome. */
  readonly isTerminal: boolean;
  /** Somebody sits at stdin who can be asked. */
  readonly canAsk: boolean;
  /** All of the table. */
  readonly verbs: () => Promise<readonly Verb[]>;
  /** Aborted by SIGINT and SIGTERM, unless the verb owns its signals. */
  readonly interrupted: AbortSignal;
}

/** The command line was not understood; ends in main.ts with exit code 2. */
export class UsageError extends HoldfastError {
  constructor(text: string) {
    super('USAGE', {}, text);
  }
}

/** A verb that could not do what it was asked, and what the process ends with; the text names the next step. */
export class VerbError extends HoldfastError {
  readonly exitCode: number;

  constructor(exitCode: number, text: string, cause?: unknown) {
    super('VERB', {}, text, cause);
    this.exitCode = exitCode;
  }
}

/** The text of an option that takes a value; undefined when it was not given and has no default. */
export function textOption(options: OptionValues, name: string): string | undefined {
  const value = options[name];
  return typeof value === 'string' ? value : undefined;
}

/** A whole number that an option gives, within these; undefined when it was not given. */
export function numberOption(
  options: OptionValues,
  name: string,
  least: number,
  most: number,
): number | undefined {
  const text = textOption(options, name);
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!Number.isInteger(value) || value < least || value > most)
    throw new UsageError(`--${name} ${text} is not a whole number from ${least} to ${most}`);
  return value;
}
