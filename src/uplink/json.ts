/**
 * The members of a JSON object as the texts they were written with, so that a number keeps every digit on its way
 * through a template.
 */

/** Longer payloads are no telemetry; they are not taken apart. */
const BYTES_MAX = 1 << 20;
const utf8 = new TextDecoder('utf-8', { fatal: true });

/** The text of a payload that is JSON; null when it is none. */
export function jsonText(payload: Uint8Array): string | null {
  if (payload.length === 0 || payload.length > BYTES_MAX) return null;
  try {
    const text = utf8.decode(payload).trim();
    JSON.parse(text);
    return text;
  } catch {
    return null;
  }
}

/** The members of a JSON object by name; null when the text, which must be JSON, is no object. */
export function membersOf(json: string): Map<string, string> | null {
  if (json.charCodeAt(0) !== OPEN) return null;
  const members = new Map<string, string>();
  for (let at = skipSpace(json, 1); json.charCodeAt(at) !== CLOSE;) {
    const nameEnd = endOfText(json, at);
    const name = JSON.parse(json.slice(at, nameEnd)) as string; // a JSON text in valid JSON
    const start = skipSpace(json, skipSpace(json, nameEnd) + 1);
    const end = endOfValue(json, start);
    members.set(name, json.slice(start, end).trimEnd());
    at = skipSpace(json, end);
    if (json.charCodeAt(at) === COMMA) at = skipSpace(json, at + 1);
  }
  return members;
}

const OPEN = 0x7b;
const CLOSE = 0x7d;
const COMMA = 0x2c;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;

function skipSpace(json: string, start: number): number {
  let at = start;
  while (json.charCodeAt(at) <= 0x20) at++;
  return at;
}

/** Behind the text that begins at `start`. */
function endOfText(json: string, start: number): number {
  let at = start + 1;
  for (; json.charCodeAt(at) !== QUOTE; at++) if (json.charCodeAt(at) === BACKSLASH) at++;
  return at + 1;
}

/** Behind the value that begins at `start`, up to the comma or bracket that ends it. */
function endOfValue(json: string, start: number): number {
  let depth = 0;
  for (let at = start; at < json.length; at++) {
    const code = json.charCodeAt(at);
    if (code === QUOTE) at = endOfText(json, at) - 1;
    else if (code === OPEN || code === 0x5b) depth++;
    else if ((code === CLOSE || code === 0x5d) && depth-- === 0) return at;
    else if (code === COMMA && depth === 0) return at;
  }
  return json.length;
}
