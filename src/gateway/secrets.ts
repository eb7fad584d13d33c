/**
 * Secrets in the text of a gateway file: masked when it is shown, and put back when a text comes back with the masks in
 * it, each where it stood in the order of the file. References (`${ENV}`, `!file`) are no secrets and stay readable.
 */

const MASK = '"********"';
/** A key that holds one, and its value in any of YAML's ways to write it on one line. */
const SECRET =
  /\b(password|passphrase|secret|token)("?\s*:\s+)("(?:[^"\\\n]|\\.)*"|'(?:[^'\n]|'')*'|(?!!|\$\{|[|>"'])[^\s,}\]#][^\n,}\]#]*)/g;

export function masked(text: string): string {
  return text.replace(SECRET, (whole, key: string, colon: string, value: string) =>
    /^["']?\$\{/.test(value) ? whole : `${key}${colon}${MASK}`,
  );
}

/** The text with the secrets of the old one; null when it has other masks than the old one had secrets. */
export function unmasked(text: string, old: string): string | null {
  const secrets = valuesOf(old);
  const count = valuesOf(text).filter((value) => value === MASK).length;
  if (count === 0) return text;
  if (valuesOf(text).length !== secrets.length) return null;
  let at = 0;
  return text.replace(SECRET, (whole, key: string, colon: string, value: string) => {
    if (/^["']?\$\{/.test(value)) return whole;
    const secret = secrets[at] ?? value;
    at += 1;
    return value === MASK ? `${key}${colon}${secret}` : whole;
  });
}

function valuesOf(text: string): string[] {
  return [...text.matchAll(SECRET)]
    .map(([, , , value = '']) => value)
    .filter((value) => !/^["']?\$\{/.test(value));
}
