/**
 * Thousands of tags say the same: "uint16", "always", one deadband. A message between threads makes each of those anew,
 * a third of what a large plant takes; here they are put together again. Only for what is not frozen yet.
 */
import type { Tag } from './plant.js';

export function shareEquals(tags: readonly Tag[]): void {
  const texts = new Map<string, string>();
  const parts = new Map<string, unknown>();
  const joined = (part: unknown): unknown => {
    if (typeof part === 'string') return known(texts, part, part);
    if (typeof part !== 'object' || part === null) return part;
    return known(parts, JSON.stringify(part, plain), part);
  };
  for (const tag of tags) {
    // Whoever calls this is the first to hold the tag.
    const fields = tag as unknown as Record<string, unknown>;
    for (const name in fields) if (!IS_ITS_OWN.has(name)) fields[name] = joined(fields[name]);
  }
}

/** What no two tags have in common, and the device, which is one object already. */
const IS_ITS_OWN: ReadonlySet<string> = new Set(['device', 'topic', 'setTopic', 'getTopic', 'ackTopic']);

function known<Value>(all: Map<string, Value>, key: string, value: Value): Value {
  const first = all.get(key);
  if (first !== undefined) return first;
  all.set(key, value);
  return value;
}

function plain(_name: string, part: unknown): unknown {
  return typeof part === 'bigint' ? `${part}n` : part;
}
