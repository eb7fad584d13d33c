/**
 * Which messages cross an uplink, and under which topic on the other side. A rule replaces the literal beginning of
 * its `from` filter by that of `to`; the wildcard part is the same on both sides and is kept.
 */
import { matches } from '../broker/topic.js';

export interface Rule {
  /** Filter on the side that the message comes from. */
  readonly from: string;
  /** Filter on the other side, with the same wildcard part. */
  readonly to: string;
  /** The most that is used; a message's own QoS when that is lower. */
  readonly qos: 0 | 1 | 2;
  /** keep: as the message was published. */
  readonly retain: 'keep' | 'never';
}

/** Topic of a message on the other side; null when no rule takes it. The first rule that matches counts. */
export function route(rules: readonly Rule[], topic: string): { rule: Rule; topic: string } | null {
  for (const rule of rules) {
    if (!matches(rule.from, topic)) continue;
    const renamed = rename(rule, topic);
    if (renamed !== '') return { rule, topic: renamed };
  }
  return null;
}

function rename(rule: Rule, topic: string): string {
  const [from, to] = [literalPart(rule.from), literalPart(rule.to)];
  // "a/#" also matches "a" itself, which has no slash to keep.
  return topic.length < from.length ? to.slice(0, -1) : to + topic.slice(from.length);
}

/** What is wrong with a rule; null: nothing. */
export function problemOf(rule: Rule): string | null {
  const [from, to] = [wildcardPart(rule.from), wildcardPart(rule.to)];
  if (from !== to)
    return `"${rule.from}" ends in "${from}" and "${rule.to}" in "${to}"; both must have the same wildcards`;
  return null;
}

/** A filter up to its first wildcard: "a/b/" of "a/b/#", all of it when it has none. */
export function literalPart(filter: string): string {
  const at = filter.search(/[+#]/);
  return at < 0 ? filter : filter.slice(0, at);
}

function wildcardPart(filter: string): string {
  return filter.slice(literalPart(filter).length);
}
