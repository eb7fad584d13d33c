/** Colour for people at a terminal that want it; everywhere else text stays as it is (no-color.org). */
import type { Context } from './verb.js';

const CODES = { red: 31, green: 32, yellow: 33, bold: 1, dim: 2 } as const;

export type Paint = (style: keyof typeof CODES, text: string) => string;

export function paintOf({ isTerminal, env }: Pick<Context, 'isTerminal' | 'env'>): Paint {
  const isPlain = !isTerminal || (env['NO_COLOR'] ?? '') !== '' || env['TERM'] === 'dumb';
  return isPlain ? (_, text) => text : (style, text) => `\x1b[${CODES[style]}m${text}\x1b[0m`;
}

/** Rows as columns two spaces apart; the last one is not padded. Widths count characters. */
export function columns(rows: readonly (readonly string[])[]): string[] {
  const widths = rows.reduce<number[]>(
    (all, row) => row.map((cell, at) => Math.max(all[at] ?? 0, [...cell].length)),
    [],
  );
  return rows.map((row) =>
    row
      .map((cell, at) =>
        at === row.length - 1 ? cell : cell + ' '.repeat((widths[at] ?? 0) - [...cell].length),
      )
      .join('  ')
      .trimEnd(),
  );
}
