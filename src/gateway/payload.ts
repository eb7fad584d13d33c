/**
 * What the payload of a command says: a bare JSON value, or {"v": value, "id": ..., "ttl": "5s"}. Values are plain, so
 * nothing here nests or recurses, and a number keeps all its digits because its text is handed on as it was written.
 */
import { parseDuration } from '../config/units.js';

/** No value that a register takes is longer; an honest command is tens of bytes. */
const PAYLOAD_MAX_BYTES = 4096;
const ID_MAX_CHARACTERS = 256;
const TTL_MAX_MS = 24 * 3_600_000;

export interface CommandText {
  /** The value as JSON text; null when the payload gives none. */
  readonly value: string | null;
  /** The id as JSON text, to be echoed; null when none was given. */
  readonly id: string | null;
  readonly ttlMs: number | null;
  /** What is wrong with the payload; null: nothing. */
  readonly error: string | null;
}

const SPACE = /[ \t\n\r]*/y;
const SCALAR =
  /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[\da-fA-F]{4}))*"|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y;

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export function readCommand(payload: Uint8Array): CommandText {
  if (payload.length > PAYLOAD_MAX_BYTES) return wrong(`longer than ${PAYLOAD_MAX_BYTES} bytes`);
  let text: string;
  try {
    text = utf8.decode(payload).trim();
  } catch {
    return wrong('not UTF-8');
  }
  if (text === '') return { value: null, id: null, ttlMs: null, error: null };
  if (text.startsWith('{')) return readObject(text);
  if (match(SCALAR, text, 0)?.length === text.length)
    return { value: text, id: null, ttlMs: null, error: null };
  if (/^[-+]?\d+,\d+$/.test(text)) return wrong('a number has a point before its decimals, as in 21.5');
  return wrong('not a plain JSON value; texts need quotes, as in "auto"');
}

function wrong(error: string, id: string | null = null): CommandText {
  return { value: null, id, ttlMs: null, error };
}

function readObject(text: string): CommandText {
  const { members, error: wrongPart, end } = scanObject(text, 0, true);
  const error = wrongPart ?? (end === text.length ? null : 'not JSON after }');
  const id = members.get('id') ?? null;
  if (error !== null) return wrong(error, id !== null && id.length <= ID_MAX_CHARACTERS ? id : null);
  if (id !== null && id.length > ID_MAX_CHARACTERS)
    return wrong(`id is longer than ${ID_MAX_CHARACTERS} characters`);
  const value = members.get('v') ?? null;
  const ttl = members.get('ttl');
  if (ttl === undefined) return { value, id, ttlMs: null, error: null };
  // A JSON text that the scanner has accepted.
  const given: unknown = JSON.parse(ttl);
  const ttlMs = typeof given === 'string' ? parseDuration(given) : null;
  if (ttlMs === null) return wrong(`ttl ${ttl} is not a duration; write one like "5s"`, id);
  return { value, id, ttlMs: Math.min(ttlMs, TTL_MAX_MS), error: null };
}

interface Scanned {
  readonly members: Map<string, string>;
  readonly error: string | null;
  /** Behind the closing brace. */
  readonly end: number;
}

/**
 * Member names to the JSON text of their plain values. Only the value of a recipe, `v`, is an object again, of plain
 * values. Behind a faulty member the others are still read: who is refused wants his id back.
 */
function scanObject(text: string, start: number, hasRecipe: boolean): Scanned {
  const members = new Map<string, string>();
  let error: string | null = null;
  const failed = (latest: string): Scanned => ({ members, error: error ?? latest, end: text.length });
  let at = skip(text, start + 1);
  if (text[at] === '}') return { members, error: null, end: at + 1 };
  for (;;) {
    const name = match(SCALAR, text, at);
    if (name === null || !name.startsWith('"')) return failed('not a JSON object');
    at = skip(text, at + name.length);
    if (text[at] !== ':') return failed('not a JSON object');
    at = skip(text, at + 1);
    // A JSON string that the expression has accepted.
    const key = JSON.parse(name) as string;
    let value = match(SCALAR, text, at);
    if (value === null && hasRecipe && key === 'v' && text[at] === '{') {
      const inner = scanObject(text, at, false);
      if (inner.error === null) value = text.slice(at, inner.end);
      else error ??= inner.error;
    }
    if (value === null) {
      error ??= `the value of ${name.slice(0, 40)} is not a plain JSON value`;
      at = skip(text, behindNested(text, at));
    } else {
      if (members.has(key)) error ??= `${name.slice(0, 40)} is there twice`;
      else members.set(key, value);
      at = skip(text, at + value.length);
    }
    if (text[at] === '}') return { members, error, end: at + 1 };
    if (text[at] !== ',') return failed('not a JSON object');
    at = skip(text, at + 1);
  }
}

/** Behind the array or object that begins here, as far as its brackets tell; here when none does. */
function behindNested(text: string, start: number): number {
  let depth = 0;
  for (let at = start; at < text.length; at += 1) {
    const character = text[at];
    if (character === '[' || character === '{') depth += 1;
    else if (character === ']' || character === '}') depth -= 1;
    else if (character === '"') at += Math.max(0, (match(SCALAR, text, at)?.length ?? 0) - 1);
    if (depth <= 0) return depth < 0 || at === start ? start : at + 1;
  }
  return text.length;
}

function skip(text: string, at: number): number {
  return at + (match(SPACE, text, at)?.length ?? 0);
}

function match(expression: RegExp, text: string, at: number): string | null {
  expression.lastIndex = at;
  return expression.exec(text)?.[0] ?? null;
}
