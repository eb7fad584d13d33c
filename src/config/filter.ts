/** Topic filters as a config writes them: their grammar, their literal beginning, and whether two can mean one topic, or each some of its own beside. */

export function isFilter(filter: string): boolean {
  const levels = filter.split('/');
  return (
    filter !== '' &&
    levels.every(
      (level, index) =>
        level === '+' || (level === '#' && index === levels.length - 1) || !/[+#\0]/.test(level),
    )
  );
}

/** Up to the first wildcard: "a/b/" of "a/b/#", all of it when there is none. */
export function literalPart(filter: string): string {
  const at = filter.search(/[+#]/);
  return at < 0 ? filter : filter.slice(0, at);
}

/** From the first wildcard on. */
export function wildcardPart(filter: string): string {
  return filter.slice(literalPart(filter).length);
}

/** A topic under a rule: the literal beginning of `from` replaced by that of `to`; the wildcard part is kept. */
export function renamed(topic: string, { from, to }: { readonly from: string; readonly to: string }): string {
  const [here, there] = [literalPart(from), literalPart(to)];
  // "a/#" also matches "a" itself, which has no slash to keep.
  return topic.length < here.length ? there.slice(0, -1) : there + topic.slice(here.length);
}

/** Whether one topic could match both filters. */
export function mayMeet(one: string, other: string): boolean {
  const [a, b] = [one.split('/'), other.split('/')];
  for (let i = 0; ; i++) {
    const [x, y] = [a[i], b[i]];
    if (x === '#' || y === '#') return true;
    if (x === undefined || y === undefined) return x === y;
    if (x !== '+' && y !== '+' && x !== y) return false;
  }
}

/** Whether one topic could match both filters, and others each of them alone. */
export function mayCross(one: string, other: string): boolean {
  return mayMeet(one, other) && isWider(one, other) && isWider(other, one);
}

/** Whether a filter has a wildcard where the other one, which it may meet, takes less. */
function isWider(filter: string, other: string): boolean {
  const levels = other.split('/');
  const rest = levels.indexOf('#');
  return filter
    .split('/')
    .some((level, i) => (rest < 0 || i < rest) && (level === '#' || (level === '+' && levels[i] !== '+')));
}
