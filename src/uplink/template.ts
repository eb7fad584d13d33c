/** Fills in the names of a template. What a name stands for is a JSON text, so that types and digits are kept. */
import type { PayloadForm, Template } from '../config/template.js';
import { membersOf } from './json.js';

/** The JSON text that a name stands for; undefined: there is none. */
export type Names = (name: string) => string | undefined;

/** The payload; null when every value that it would carry is missing (`values` without one good value). */
export function fillPayload({ kind, template }: PayloadForm, names: Names): string | null {
  let filled = '';
  for (const piece of template) {
    if (typeof piece === 'string') filled += piece;
    else {
      const json = found(piece.name, names);
      if (piece.name === 'values' && json === '{}') return null;
      if (piece.as === 'value') filled += json ?? 'null';
      else filled += kind === 'json' ? insideText(json) : plainText(json);
    }
  }
  return filled;
}

/** What no name may smuggle into a topic: wildcards, control characters; and separators, unless the names are our own. */
const NO_TOPIC = /[+#\u0000-\u001f]/;
const NO_LEVEL = /[/+#\u0000-\u001f]/;

/** The topic; null when a name has no text, or one that cannot stand in a topic. */
export function fillTopic(template: Template, names: Names, mayHaveLevels: boolean): string | null {
  let filled = '';
  for (const piece of template) {
    if (typeof piece === 'string') filled += piece;
    else {
      const level = plainText(found(piece.name, names));
      if (level === '' || (mayHaveLevels ? NO_TOPIC : NO_LEVEL).test(level)) return null;
      filled += level;
    }
  }
  return filled;
}

/** {v.power}: a member of what {v} stands for. */
function found(name: string, names: Names): string | undefined {
  const whole = names(name);
  if (whole !== undefined) return whole;
  const dot = name.indexOf('.');
  if (dot < 0) return undefined;
  let json = names(name.slice(0, dot));
  for (const step of name.slice(dot + 1).split('.'))
    json = json === undefined ? undefined : membersOf(json)?.get(step);
  return json;
}

/** Inside a JSON text: a text without its quotes, anything else escaped. */
function insideText(json: string | undefined): string {
  if (json === undefined || json === 'null') return '';
  return json.startsWith('"') ? json.slice(1, -1) : JSON.stringify(json).slice(1, -1);
}

function plainText(json: string | undefined): string {
  if (json === undefined || json === 'null') return '';
  return json.startsWith('"') ? (JSON.parse(json) as string) : json; // a JSON text
}
