/**
 * Secrets in the text of a gateway file: masked when it is shown, and put back when a text comes back with the masks in
 * it, each where it stood in the order of the file. References (`${ENV}`, `!file`) are no secrets and stay readable.
 */
import { IN_ADDRESS, MASK } from '../errors.js';

/** A key that holds a secret, and its value in any of YAML's ways to write it on one line. */
const OF_KEY =
  /(?<=\b(?:password|passphrase|secret|token)"?\s*:\s+)("(?:[^"\\\n]|\\.)*"|'(?:[^'\n]|'')*'|(?!!|[|>"'])[^\s,}\]#][^\n,}\]#]*)/g;
const REFERENCE = /^["']?\$\{/;

interface Place {
  readonly at: number;
  readonly value: string;
  /** What is written in its place, so that the text stays YAML. */
  readonly mask: string;
}

export function masked(text: string): string {
  return replaced(text, placesOf(text), ({ mask }) => mask);
}

/** The text with the secrets of the old one; null when it has other masks than the old one had secrets. */
export function unmasked(text: string, old: string): string | null {
  const [places, secrets] = [placesOf(text), placesOf(old)];
  if (places.every(({ value, mask }) => value !== mask)) return text;
  if (places.length !== secrets.length) return null;
  return replaced(text, places, ({ value, mask }, index) =>
    value === mask ? (secrets[index]?.value ?? value) : value,
  );
}

/** In the order of the text. */
function placesOf(text: string): Place[] {
  const found = (pattern: RegExp, mask: string): Place[] =>
    [...text.matchAll(pattern)].map(({ index: at, 0: value }) => ({ at, value, mask }));
  return [...found(OF_KEY, `"${MASK}"`), ...found(IN_ADDRESS, MASK)]
    .filter(({ value }) => !REFERENCE.test(value))
    .sort((a, b) => a.at - b.at)
    .filter(({ at }, index, all) => at >= endOf(all[index - 1]));
}

/** What is within another secret is hidden with it. */
function endOf(place: Place | undefined): number {
  return place === undefined ? 0 : place.at + place.value.length;
}

function replaced(
  text: string,
  places: readonly Place[],
  write: (place: Place, index: number) => string,
): string {
  let done = 0;
  let out = '';
  places.forEach((place, index) => {
    out += text.slice(done, place.at) + write(place, index);
    done = endOf(place);
  });
  return out + text.slice(done);
}
