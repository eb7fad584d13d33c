/**
 * Templates: JSON or text with {names} in it that are filled in when a message is made. Here they are read and checked;
 * uplink/template.ts fills them in. A text that is nothing but one {name} becomes the value with its type; inside a longer
 * text the value becomes text; {{ and }} are plain braces.
 */
import { nameOf } from './problems.js';

/** Text as it is, or a name to fill in: as a JSON value of its own, or inside a text. */
export type Piece = string | { readonly name: string; readonly as: 'value' | 'text' };
export type Template = readonly Piece[];

/** How an uplink writes a message's payload anew. */
export interface PayloadForm {
  /** json: the template is JSON, and values inside texts are escaped for it; text: they stand as they are. */
  readonly kind: 'json' | 'text';
  readonly template: Template;
  /** The samples of one device that came in one answer make one message. */
  readonly isPerAnswer: boolean;
}

const NAME = /\{\{|\}\}|\{([A-Za-z_][\w-]*(?:\.[\w-]+)*)\}/g;

/** What the words of `payload` stand for; null: the payload as it was published. */
export const FORMS: Readonly<Record<'published' | 'raw' | 'batch' | 'thingsboard', PayloadForm | null>> = {
  published: null,
  raw: { kind: 'text', template: textTemplate('{v}'), isPerAnswer: false },
  batch: {
    kind: 'json',
    template: jsonTemplate({ device: '{device}', v: '{v}', q: '{q}', e: '{e}', t: '{t}' }),
    isPerAnswer: true,
  },
  thingsboard: {
    kind: 'json',
    template: jsonTemplate({ '{device}': [{ ts: '{t}', values: '{values}' }] }),
    isPerAnswer: true,
  },
};

/** A text with names in it: a topic, or a payload that is no JSON. */
export function textTemplate(text: string): Template {
  const pieces: Piece[] = [];
  let at = 0;
  const plain = (more: string): void => {
    const last = pieces.at(-1);
    if (typeof last === 'string') pieces[pieces.length - 1] = last + more;
    else if (more !== '') pieces.push(more);
  };
  for (const match of text.matchAll(NAME)) {
    plain(text.slice(at, match.index));
    if (match[1] === undefined) plain(match[0].charAt(0));
    else pieces.push({ name: match[1], as: 'text' });
    at = match.index + match[0].length;
  }
  plain(text.slice(at));
  return pieces;
}

/** A JSON value as the config gives it. */
export function jsonTemplate(value: unknown): Template {
  const pieces: Piece[] = [];
  addJson(value, pieces);
  return joined(pieces);
}

function addJson(value: unknown, into: Piece[]): void {
  if (typeof value === 'string') return addText(value, into, true);
  if (typeof value === 'bigint') into.push(value.toString());
  else if (Array.isArray(value)) {
    into.push('[');
    value.forEach((item, index) => {
      if (index > 0) into.push(',');
      addJson(item, into);
    });
    into.push(']');
  } else if (typeof value === 'object' && value !== null) {
    into.push('{');
    Object.entries(value).forEach(([key, held], index) => {
      if (index > 0) into.push(',');
      addText(nameOf(key), into, false);
      into.push(':');
      addJson(held, into);
    });
    into.push('}');
  } else into.push(JSON.stringify(value) ?? 'null');
}

function addText(text: string, into: Piece[], mayBeValue: boolean): void {
  const pieces = textTemplate(text);
  const [only] = pieces;
  if (mayBeValue && pieces.length === 1 && typeof only === 'object') {
    into.push({ name: only.name, as: 'value' });
    return;
  }
  into.push('"');
  for (const piece of pieces)
    into.push(typeof piece === 'string' ? JSON.stringify(piece).slice(1, -1) : piece);
  into.push('"');
}

function joined(pieces: readonly Piece[]): Template {
  const all: Piece[] = [];
  for (const piece of pieces) {
    const last = all.at(-1);
    if (typeof piece === 'string' && typeof last === 'string') all[all.length - 1] = last + piece;
    else all.push(piece);
  }
  return all;
}

export function namesIn(template: Template): string[] {
  return template.flatMap((piece) => (typeof piece === 'string' ? [] : [piece.name]));
}

/** A text with some of its names filled in; the others stay. */
export function fillKnown(text: string, known: ReadonlyMap<string, string>): string {
  return text.replace(NAME, (whole, name?: string) =>
    name === undefined ? whole : (known.get(name) ?? whole),
  );
}

/** The place of {name} without quotes, which YAML reads as a map with an empty value: the name, or null. */
export function unquotedName(value: unknown): string | null {
  if (typeof value !== 'object' || value === null) return null;
  const entries = Object.entries(value);
  const [only] = entries;
  return entries.length === 1 && only !== undefined && only[1] === null && !Array.isArray(value)
    ? only[0]
    : null;
}
