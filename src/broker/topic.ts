/**
 * The grammar of topic names and topic filters (MQTT 4.7, 4.8.2), and the UTF-8 that both are made of (MQTT 1.5.4).
 * Pure functions over bytes and strings; runs in a browser too.
 */

const SLASH = 0x2f;
const PLUS = 0x2b;
const HASH = 0x23;
const DOLLAR = 0x24;
/** A text has no more [MQTT-1.5.4]; what is made of a topic by putting something before it may. */
export const TOPIC_BYTES_MAX = 65_535;

/** Whether bytes[start..end) is well-formed UTF-8 without U+0000 and surrogates [MQTT-1.5.4-1] [MQTT-1.5.4-2]. */
export function isText(bytes: Uint8Array, start: number, end: number): boolean {
  let at = start;
  while (at < end) {
    const byte = bytes[at] ?? 0;
    if (byte < 0x80) {
      if (byte === 0) return false;
      at++;
      continue;
    }
    const length = sequenceLength(bytes, at, end);
    if (length === 0) return false;
    at += length;
  }
  return true;
}

/** Length of the multi-byte sequence at `at`, 0 when it is overlong, a surrogate, out of range or cut short. */
function sequenceLength(bytes: Uint8Array, at: number, end: number): number {
  const lead = bytes[at] ?? 0;
  const length =
    lead >= 0xc2 && lead < 0xe0 ? 2 : lead >= 0xe0 && lead < 0xf0 ? 3 : lead >= 0xf0 && lead < 0xf5 ? 4 : 0;
  if (length === 0 || at + length > end) return 0;
  const second = bytes[at + 1] ?? 0;
  const lowest = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
  const highest = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
  if (second < lowest || second > highest) return 0;
  for (let i = 2; i < length; i++) if (((bytes[at + i] ?? 0) & 0xc0) !== 0x80) return 0;
  return length;
}

/** Whether bytes[start..end) is a topic name: text, not empty, without wildcards [MQTT-3.3.2-2] [MQTT-4.7.3-1]. */
export function isTopicName(bytes: Uint8Array, start: number, end: number): boolean {
  if (start === end || end - start > TOPIC_BYTES_MAX) return false;
  let isPlain = true;
  for (let at = start; at < end; at++) {
    const byte = bytes[at] as number; // before end
    if (byte === PLUS || byte === HASH || byte === 0) return false;
    if (byte >= 0x80) isPlain = false;
  }
  return isPlain || isText(bytes, start, end);
}

/** How many levels bytes[start..end) has. */
export function levelCount(bytes: Uint8Array, start: number, end: number): number {
  let count = 1;
  for (let at = start; at < end; at++) if (bytes[at] === SLASH) count++;
  return count;
}

/** Whether a text is a topic filter; of a shared subscription it is the part behind the share name. */
export function isTopicFilter(filter: string): boolean {
  if (filter === '') return false;
  for (let start = 0; start <= filter.length;) {
    const end = endOfLevel(filter, start);
    for (let at = start; at < end; at++) {
      const code = filter.charCodeAt(at);
      if (!isWild(code)) continue;
      if (end - start !== 1 || (code === HASH && end !== filter.length)) return false;
    }
    start = end + 1;
  }
  return true;
}

/** The filter and share name of a SUBSCRIBE's topic filter. */
export interface ParsedFilter {
  /** Empty: not shared. */
  readonly share: string;
  readonly filter: string;
}

/** Takes a topic filter apart; null when it is none [MQTT-4.7.1-1..3] [MQTT-4.8.2-1] [MQTT-4.8.2-2]. */
export function parseFilter(text: string): ParsedFilter | null {
  if (!text.startsWith('$share/') && text !== '$share') {
    return isTopicFilter(text) ? { share: '', filter: text } : null;
  }
  const end = text.indexOf('/', 7);
  if (end < 0) return null;
  const share = text.slice(7, end);
  const filter = text.slice(end + 1);
  if (share === '' || share.includes('+') || share.includes('#') || !isTopicFilter(filter)) return null;
  return { share, filter };
}

/** Whether a topic name matches a filter [MQTT-4.7.1-2] [MQTT-4.7.2-1]. */
export function matches(filter: string, topic: string): boolean {
  return covers(filter, topic);
}

/**
 * Whether everything that matches `inner` also matches `outer`: the right to one filter includes the other. A topic
 * name is a filter that matches itself.
 */
export function covers(outer: string, inner: string): boolean {
  if (inner.charCodeAt(0) === DOLLAR && isWild(outer.charCodeAt(0))) return false;
  // Level by level; nothing is cut out, because this is asked for every topic.
  for (let wide = 0, narrow = 0; ;) {
    const wideEnd = endOfLevel(outer, wide);
    if (wideEnd === wide + 1 && outer.charCodeAt(wide) === HASH) return true;
    const narrowEnd = endOfLevel(inner, narrow);
    if (narrowEnd === narrow + 1 && inner.charCodeAt(narrow) === HASH) return false;
    const isPlus = wideEnd === wide + 1 && outer.charCodeAt(wide) === PLUS;
    if (!isPlus && !isSameLevel(outer, wide, wideEnd, inner, narrow, narrowEnd)) return false;
    const isLast = wideEnd === outer.length;
    wide = wideEnd + 1;
    narrow = narrowEnd + 1;
    // `a/#` also matches `a`, which `a` and nothing else of this length covers.
    if (narrow > inner.length)
      return isLast || (wide === outer.length - 1 && outer.charCodeAt(wide) === HASH);
    if (isLast) return false;
  }
}

function isWild(code: number): boolean {
  return code === PLUS || code === HASH;
}

function endOfLevel(text: string, start: number): number {
  const end = text.indexOf('/', start);
  return end < 0 ? text.length : end;
}

function isSameLevel(
  one: string,
  start: number,
  end: number,
  other: string,
  otherStart: number,
  otherEnd: number,
): boolean {
  if (end - start !== otherEnd - otherStart) return false;
  for (let i = end - start - 1; i >= 0; i--)
    if (one.charCodeAt(start + i) !== other.charCodeAt(otherStart + i)) return false;
  return true;
}

/** A filter of more levels than anybody needs. */
const DEEP = 128;

/** The levels of a deep filter; 0: it is none. */
export function deepLevelsOf(filter: string): number {
  return isDeeper(filter, DEEP) ? levelsOf(filter) : 0;
}

export function isDeeper(filter: string, levels: number): boolean {
  return filter.length >= levels && levelsOf(filter) > levels;
}

function levelsOf(filter: string): number {
  let count = 1;
  for (let at = filter.indexOf('/'); at >= 0; at = filter.indexOf('/', at + 1)) count++;
  return count;
}
