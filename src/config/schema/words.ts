/** The words of the schema: numbers, truths, durations, sizes, names, each with what is said when it is none. */
import * as z from 'zod/mini';
import { nameOf } from '../problems.js';
import { parseDuration, parseSize } from '../units.js';

// No code is made from text, here neither.
z.config({ jitless: true });

/** zod leaves `default` out where a text becomes something else, so it travels under another name. */
export const DEFAULT = 'x-default';

/** What an editor and the reference page say of a key. */
export function about(description: string, otherwise?: string | number | boolean) {
  return z.meta(otherwise === undefined ? { description } : { description, [DEFAULT]: otherwise });
}

export type Said = { readonly input?: unknown };

export function shown(input: unknown): string {
  if (input === undefined) return 'nothing';
  if (typeof input === 'string')
    return JSON.stringify(input.length > 60 ? `${input.slice(0, 57)}...` : input);
  if (typeof input === 'object' && input !== null) return Array.isArray(input) ? 'a list' : 'a map';
  return input === null ? 'an empty value' : String(input);
}

/** A text that a parser must understand. */
export function parsed<T>(parse: (text: string) => T | null, pattern: RegExp, what: string) {
  const error = ({ input }: Said): string => `${shown(input)} is not ${what}`;
  const text = z.string({ error }).check(
    z.regex(pattern, { error }),
    z.refine((value) => parse(value) !== null, { error, abort: true }),
  );
  return z.pipe(
    text,
    z.transform((value: string): T => parse(value) as T), // refine has seen that it parses
  );
}

export const whole = (min: number, max: number, what = 'a whole number') => {
  const error = ({ input }: Said): string =>
    `${shown(input)} is not ${what} from ${min} to ${max}${hintOfNumber(input)}`;
  return z.number({ error }).check(z.int({ error }), z.gte(min, { error }), z.lte(max, { error }));
};

export const number = (what = 'a number') => {
  const error = ({ input }: Said): string => `${shown(input)} is not ${what}${hintOfNumber(input)}`;
  return z.number({ error });
};

export const moreThan0 = () => z.gt(0, { error: ({ input }: Said) => `${shown(input)} is not more than 0` });

/** A number that may be an integer beyond 2^53, which the loader keeps with all its digits. */
export const largeNumber = (what?: string) =>
  z.pipe(
    z.union([number(what), z.bigint()]),
    z.transform((value: number | bigint) => Number(value)),
  );

function hintOfNumber(input: unknown): string {
  if (typeof input === 'string' && /^[-+]?[\d_]*\d_[\d_]*$/.test(input))
    return `; write ${input.replaceAll('_', '')}`;
  if (typeof input === 'string' && /^[-+]?[\d.]+,\d+$/.test(input))
    return `; write ${input.replace(',', '.')}`;
  if (typeof input === 'string' && /^[-+]?[\d.]+$/.test(input)) return '; remove the quotes';
  const [, above, below] = /^([\d.]+)\s*\/\s*([\d.]+)$/.exec(typeof input === 'string' ? input : '') ?? [];
  if (above !== undefined && Number(below) > 0)
    return `; write ${Number((Number(above) / Number(below)).toPrecision(12))}`;
  return '';
}

export const truth = () =>
  z.boolean({
    error: ({ input }: Said): string => {
      const word = typeof input === 'string' ? input.toLowerCase() : '';
      const meant = { yes: 'true', on: 'true', y: 'true', no: 'false', off: 'false', n: 'false' }[word];
      return `${shown(input)} is not true or false${meant === undefined ? '' : `; YAML 1.2 reads it as text, write ${meant}`}`;
    },
  });

export const text = (what = 'a text') =>
  z.string({
    error: ({ input }: Said): string => {
      const isMeant = what === 'a text' && (typeof input === 'number' || typeof input === 'boolean');
      return `${shown(input)} is not ${what}${isMeant ? '; put it in quotes if it is meant as text' : ''}`;
    },
  });

export const duration = () =>
  parsed(
    parseDuration,
    /^\d+(\.\d+)?(ms|s|m|h|d)$/,
    'a duration; write a number and its unit: 500ms, 1s, 5m, 2h or 1d',
  );
export const size = () =>
  parsed(
    parseSize,
    /^\d+(\.\d+)?(B|KiB|MiB|GiB|kB|KB|MB|GB)$/,
    'a size; write a number and its unit: 64KiB, 16MiB or 1GiB',
  );

/** The letters that names may have, so that every topic survives every broker upstream. */
export const SLUG = /^[A-Za-z0-9_-]{1,64}$/;
export const slugText = (what: string) => {
  const error = ({ input }: Said): string => {
    const said = `${shown(typeof input === 'string' ? nameOf(input) : input)} is not ${what}`;
    if (typeof input === 'number' || typeof input === 'boolean')
      return `${said} but a ${typeof input === 'number' ? 'number' : 'truth'} to YAML; put it in quotes`;
    return `${said}; use A-Z a-z 0-9 _ -, at most 64`;
  };
  return z.string({ error }).check(
    z.refine((key) => SLUG.test(nameOf(key)), { error }),
    z.meta({ pattern: SLUG.source }),
  );
};

export const address = () =>
  z.union([z.number(), text('an address')], {
    error: ({ input }: Said) =>
      `${shown(input)} is not an address; write a number${typeof input === 'bigint' ? ' up to 65535, or a reference up to 465536' : ''}`,
  });

/** Placeholders of `repeat` and of unit lists may stand in names. */
const NAME = /^[A-Za-z0-9_{}-]{1,128}$/;
export const name = (what: string) =>
  z.string().check(
    z.refine((key) => NAME.test(nameOf(key)), {
      error: ({ input }: Said) => `${shown(nameOf(String(input)))} is not ${what}; use A-Z a-z 0-9 _ -`,
    }),
    z.meta({ pattern: NAME.source }),
  );

export const limit = (what: string, otherwise?: number) =>
  z.optional(whole(1, 2 ** 31).check(about(what, otherwise)));
