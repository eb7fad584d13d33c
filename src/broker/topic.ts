/**
 * The grammar of topic names and topic filters (MQTT 4.7, 4.8.2), and the UTF-8 that both are made of (MQTT 1.5.4).
 * Pure functions over bytes and strings; runs in a browser too.
 */

const SLASH = 0x2f;
const PLUS = 0x2b;
const HASH = 0x23;

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
  if (start === end) return false;
  for (let at = start; at < end; at++) {
    const byte = bytes[at];
    if (byte === PLUS || byte === HASH) return false;
  }
  return isText(bytes, start, end);
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
  const levels = filter.split('/');
  return levels.every(
    (level, index) =>
      level === '+' ||
      (level === '#' ? index === levels.length - 1 : !level.includes('+') && !level.includes('#')),
  );
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
  if (inner.charCodeAt(0) === 0x24 && /^[+#]/.test(outer)) return false;
  const wide = outer.split('/');
  const narrow = inner.split('/');
  for (let i = 0; i < wide.length; i++) {
    if (wide[i] === '#') return true;
    // `a/#` also matches `a`, which `a` and nothing else of this length covers.
    if (i >= narrow.length) return false;
    if (narrow[i] === '#') return false;
    if (wide[i] !== '+' && wide[i] !== narrow[i]) return false;
    if (i === narrow.length - 1 && i === wide.length - 2 && wide[i + 1] === '#') return true;
  }
  return wide.length === narrow.length;
}
