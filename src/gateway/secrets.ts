/**
 * Secrets in the text of a gateway file: masked when it is shown, and put back when a text comes back with the masks in
 * it. A mask ends in a mark of the secret it hides, so that it goes with its user, uplink or address wherever that is
 * moved to. References (`${ENV}`, `!file`) are no secrets and stay readable.
 */
import { createHmac, randomBytes } from 'node:crypto';
import { IN_ADDRESS, MASK } from '../errors.js';

/**
 * A key that holds a secret, and its value in any of YAML's ways to write it on one line, or on several in quotes; comments
 * may come between. Read forwards from the key, so that no text, whatever blanks it is made of, takes long to search.
 */
const OF_KEY =
  /\b(?:password|passphrase|secret|token)(?:["']\s*:|\s*:(?=\s))(?:\s|#[^\n]*\n)*(?<value>"[^"\\]*(?:\\[^][^"\\]*)*"|'[^']*(?:''[^']*)*'|(?!!file\b|[|>"'])[^\s,}\]#][^\n,}\]#]*)/g;
/** The same over lines of their own, all that are further in than their key. */
const OF_BLOCK =
  /^([ \t]*)["']?(?:password|passphrase|secret|token)["']?[ \t]*:[ \t]+(?<value>[|>][^\n]*(?:\n(?:\1[ \t]+[^\n]*|[ \t\r]*$))*)/gm;
const REFERENCE = /^["']?\$\{/;

/** Of this process alone: a mark tells nothing of its secret. */
const KEY = randomBytes(32);
const MARK_DIGITS = 8;

interface Place {
  readonly at: number;
  readonly value: string;
  /** What is written in its place, so that the text stays YAML. */
  readonly mask: string;
}

export function masked(text: string): string {
  return replaced(text, placesOf(text), ({ mask }) => mask);
}

/** The text with the secrets of the old one; null when it has a mask of none of them. */
export function unmasked(text: string, old: string): string | null {
  const secrets = new Map(placesOf(old).map(({ value, mask }) => [mask, value]));
  let isKnown = true;
  const whole = replaced(text, placesOf(text), ({ value }) => {
    const secret = secrets.get(value);
    isKnown &&= secret !== undefined || !value.includes(MASK);
    return secret ?? value;
  });
  return isKnown ? whole : null;
}

/** In the order of the text. */
function placesOf(text: string): Place[] {
  const found = (pattern: RegExp, quote: string): Place[] =>
    [...text.matchAll(pattern)].map(({ index, 0: whole, groups }) => {
      const { value = whole } = groups ?? {};
      const at = index + whole.length - value.length;
      return { at, value, mask: `${quote}${maskOf(value)}${quote}` };
    });
  return [...found(OF_KEY, '"'), ...found(OF_BLOCK, '"'), ...found(IN_ADDRESS, '')]
    .filter(({ value }) => !REFERENCE.test(value))
    .sort((a, b) => a.at - b.at)
    .filter(({ at }, index, all) => at >= endOf(all[index - 1]));
}

function maskOf(secret: string): string {
  return MASK + createHmac('sha256', KEY).update(secret).digest('hex').slice(0, MARK_DIGITS);
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
