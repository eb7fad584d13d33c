/**
 * Which entries of a queue the far side has: all up to a cursor, and ranges beyond it. Acknowledgements may come in any
 * order; the cursor moves when the gap before a range closes.
 */
export class Progress {
  /** Everything up to here is done. */
  cursor = 0;
  /** Done beyond the cursor: [first, last], ascending, apart from one another. */
  readonly ranges: [number, number][] = [];

  /** The last entry that is done. */
  get last(): number {
    return this.ranges.at(-1)?.[1] ?? this.cursor;
  }

  done(sequence: number): void {
    this.doneRange(sequence, sequence);
  }

  doneRange(first: number, last: number): void {
    if (last <= this.cursor) return;
    let [from, to] = [Math.max(first, this.cursor + 1), last];
    let at = this.ranges.findIndex(([, end]) => end >= from - 1);
    if (at < 0) at = this.ranges.length;
    let swallowed = 0;
    for (
      let next = this.ranges[at];
      next !== undefined && next[0] <= to + 1;
      next = this.ranges[at + swallowed]
    ) {
      from = Math.min(from, next[0]);
      to = Math.max(to, next[1]);
      swallowed++;
    }
    this.ranges.splice(at, swallowed, [from, to]);
    const lowest = this.ranges[0];
    if (lowest === undefined || lowest[0] > this.cursor + 1) return;
    this.cursor = lowest[1];
    this.ranges.shift();
  }

  /** The next entry from `sequence` on that is not done. */
  nextOpen(sequence: number): number {
    let next = Math.max(sequence, this.cursor + 1);
    // Nearly always: what is read next lies behind all that is done.
    if (next > this.last) return next;
    for (const [first, last] of this.ranges) if (first <= next && next <= last) next = last + 1;
    return next;
  }

  isDone(sequence: number): boolean {
    return this.nextOpen(sequence) !== sequence;
  }

  /** How many of first..last are not done. */
  openIn(first: number, last: number): number {
    const from = Math.max(first, this.cursor + 1);
    const done = this.ranges.reduce(
      (sum, [a, b]) => sum + Math.max(0, Math.min(b, last) - Math.max(a, from) + 1),
      0,
    );
    return Math.max(0, last - from + 1 - done);
  }
}
