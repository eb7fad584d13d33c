/**
 * What is wrong with a config: one Problem a mistake, with its place and what to do about it. Nothing here throws;
 * whoever checks adds problems to a list and goes on, so that one run tells everything.
 */

export interface Problem {
  readonly severity: 'error' | 'warning';
  readonly file: string;
  /** Counted from 1; 0 when the problem is with the file as a whole. */
  readonly line: number;
  readonly column: number;
  /** Stable: scripts may match on it, docs/configuration.md explains it. */
  readonly code: string;
  /** Where in the tree, such as devices.press1.tags.speed.type; empty for the file as a whole. */
  readonly path: string;
  /** What is wrong; what to do. */
  readonly text: string;
}

/** What showed only when a config that is right was to be taken over by a gateway that runs. */
export function problemOfApplying(file: string, text: string, isApplied: boolean): Problem {
  const severity = isApplied ? 'warning' : 'error';
  return { severity, file, line: 0, column: 0, code: 'HF2013', path: '', text };
}

/** A step into the tree: a key, or an index of a list. */
export type Path = readonly (string | number)[];

/** Keys that would mean something to JavaScript travel under another name, so that they are plain keys. */
const PROTO = '\0__proto__';

export function keyOf(name: string): string {
  return name === '__proto__' ? PROTO : name;
}

export function nameOf(key: string): string {
  return key === PROTO ? '__proto__' : key;
}

export function pathText(path: Path): string {
  let text = '';
  for (const step of path) {
    if (typeof step === 'number') text += `[${step}]`;
    else
      text += (text === '' ? '' : '.') + (/^[^\s.:[\]]+$/.test(step) ? nameOf(step) : JSON.stringify(step));
  }
  return text;
}

export function formatProblem(problem: Problem): string {
  const { file, line, column, code, severity, path, text } = problem;
  const place = line > 0 ? `${file}:${line}:${column}` : file;
  const kind = severity === 'warning' ? ' warning' : '';
  return `${place}  ${code}${kind}  ${path === '' ? '' : `${path}: `}${text}`;
}

/**
 * By file, then by place, errors and warnings together. The same problem is told once, though it holds for each of the
 * devices that one line makes: their names differ in digits.
 */
export function sortProblems(problems: readonly Problem[]): Problem[] {
  const seen = new Set<string>();
  return [...problems]
    .sort(
      (a, b) =>
        a.file.localeCompare(b.file) || a.line - b.line || a.column - b.column || compare(a.code, b.code),
    )
    .filter((problem) => {
      const text = formatProblem(problem).replace(/(?<=  HF\d{4}.*)\d+/g, '');
      return !seen.has(text) && seen.add(text) !== undefined;
    });
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** "; did you mean X?" when one of the known words is near, else "". */
export function suggestion(word: string, known: Iterable<string>): string {
  const near = nearest(word, known);
  return near === null ? '' : `; did you mean ${near}?`;
}

/** The known word that needs the fewest edits, if they are few for its length. */
export function nearest(word: string, known: Iterable<string>): string | null {
  const asked = word.slice(0, 64).toLowerCase();
  const most = Math.max(1, Math.floor(asked.length / 2.5));
  if (asked === '') return null;
  let best: string | null = null;
  let bestDistance = most + 1;
  for (const candidate of known) {
    const distance = wordDistance(asked, candidate.toLowerCase());
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

/** A word that only begins like the known one (float for float32) is one edit away. */
function wordDistance(asked: string, known: string): number {
  const whole = editDistance(asked, known);
  if (known.length <= asked.length) return whole;
  return Math.min(whole, editDistance(asked, known.slice(0, asked.length)) + 1);
}

/** Insertions, deletions, replacements and swaps of neighbours (restricted Damerau-Levenshtein). */
export function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let above = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const isSame = a[i - 1] === b[j - 1];
      let cost = Math.min(at(above, j) + 1, at(row, j - 1) + 1, at(above, j - 1) + (isSame ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        cost = Math.min(cost, at(before, j - 2) + 1);
      }
      row.push(cost);
    }
    [before, above] = [above, row];
  }
  return at(above, b.length);
}

function at(row: readonly number[], index: number): number {
  return row[index] ?? Number.POSITIVE_INFINITY;
}
