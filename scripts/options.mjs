/**
 * What a script is asked, read before it does anything: `--help` prints its usage, and what is not known there is
 * refused with exit code 2.
 */
import { parseArgs } from 'node:util';

/** options as parseArgs() of node:util has them; names are the arguments that are none. */
export function asked(usage, options = {}, { takesNames = false } = {}) {
  let parsed;
  try {
    parsed = parseArgs({
      options: { ...options, help: { type: 'boolean', short: 'h', default: false } },
      allowPositionals: takesNames,
    });
  } catch (error) {
    refuse(usage, error.message.split('. ')[0]);
  }
  if (parsed.values.help) {
    process.stdout.write(`usage: ${usage}\n`);
    process.exit(0);
  }
  return { options: parsed.values, names: parsed.positionals };
}

/** Ends this process with what is wrong and the usage. */
export function refuse(usage, what) {
  process.stderr.write(`${what}\nusage: ${usage}\n`);
  process.exit(2);
}
