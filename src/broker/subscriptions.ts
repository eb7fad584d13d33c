/**
 * The trie of topic filters: topic name in, subscriptions out. It knows nothing of sessions; an Owner is whoever
 * subscribed. Matching goes level by level without recursion deeper than the topic.
 */

/** One subscription in the trie. */
export interface Entry<Owner> {
  readonly owner: Owner;
  readonly filter: string;
  /** Empty: not shared. */
  readonly share: string;
  readonly qos: 0 | 1 | 2;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  /** Subscription identifier; 0: none. */
  readonly identifier: number;
}

/** Options byte of a subscription, as in SUBSCRIBE, as an entry of the trie. */
export function entryOf<Owner>(
  owner: Owner,
  parsed: { readonly share: string; readonly filter: string },
  options: number,
  identifier: number,
): Entry<Owner> {
  return {
    owner,
    filter: parsed.filter,
    share: parsed.share,
    // Two bits, checked not to be 3.
    qos: (options & 3) as 0 | 1 | 2,
    noLocal: (options & 4) !== 0,
    retainAsPublished: (options & 8) !== 0,
    identifier,
  };
}

/** The same byte of an entry, without what only SUBSCRIBE itself is about (Retain Handling). */
export function optionsOf({ qos, noLocal, retainAsPublished }: Entry<unknown>): number {
  return qos | (noLocal ? 4 : 0) | (retainAsPublished ? 8 : 0);
}

class Level<Owner> {
  children: Map<string, Level<Owner>> | null = null;
  plus: Level<Owner> | null = null;
  /** Subscriptions that end here, and those that end in `#` here. Most levels have one or none. */
  here: List<Owner> = null;
  hash: List<Owner> = null;

  get isEmpty(): boolean {
    return this.children === null && this.plus === null && this.here === null && this.hash === null;
  }
}

export class Subscriptions<Owner> {
  readonly #root = new Level<Owner>();
  /** Used again by each match(). */
  readonly #levels: Level<Owner>[] = [];
  readonly #nextLevels: Level<Owner>[] = [];
  #count = 0;
  #lookedAt = 0;

  get count(): number {
    return this.#count;
  }

  /** Levels of the trie that match() has looked at so far: filters with `+` beside names can make one topic dear. */
  get lookedAt(): number {
    return this.#lookedAt;
  }

  /**
   * Adds a subscription, or replaces the one of the same owner, filter and share; answers whether it is new. Who knows
   * which one that is, or that there is none, says so: thousands may end at one level.
   */
  add(entry: Entry<Owner>, known?: Entry<Owner> | null): boolean {
    const { filter } = entry;
    const isHash = filter === '#' || filter.endsWith('/#');
    const last = isHash ? filter.length - 2 : filter.length;
    let level = this.#root;
    for (let start = 0; start <= last;) {
      const slash = filter.indexOf('/', start);
      const end = slash < 0 ? filter.length : slash;
      level = descend(level, filter.slice(start, end));
      start = end + 1;
    }
    const list = isHash ? level.hash : level.here;
    const before = sizeOf(list);
    const replaced = put(list, entry, known);
    if (isHash) level.hash = replaced;
    else level.here = replaced;
    const isNew = sizeOf(replaced) > before;
    if (isNew) this.#count++;
    return isNew;
  }

  /** Removes a subscription; answers whether it was there. Who knows which one that is says so, as with add(). */
  remove(owner: Owner, filter: string, share: string, known?: Entry<Owner>): boolean {
    const levels = filter.split('/');
    const isHash = levels.at(-1) === '#';
    const path: Level<Owner>[] = [this.#root];
    for (let i = 0; i < levels.length - (isHash ? 1 : 0); i++) {
      const name = levels[i] ?? '';
      const above = path.at(-1);
      const next = name === '+' ? above?.plus : above?.children?.get(name);
      if (next === undefined || next === null) return false;
      path.push(next);
    }
    const last = path.at(-1) ?? this.#root;
    const list = isHash ? last.hash : last.here;
    const before = sizeOf(list);
    const left = without(list, owner, share, known);
    if (sizeOf(left) === before) return false;
    if (isHash) last.hash = left;
    else last.here = left;
    this.#count--;
    this.#prune(path, levels);
    return true;
  }

  /**
   * Every subscription whose filter matches the topic [MQTT-4.7.1-2] [MQTT-4.7.2-1]. Answers how many of its levels were
   * looked at: no filter goes on below the last of them.
   */
  match(topic: string, found: (entry: Entry<Owner>) => void): number {
    const isSystem = topic.charCodeAt(0) === 0x24;
    let current = this.#levels;
    let next = this.#nextLevels;
    current[0] = this.#root;
    let depth = 0;
    // Counted by hand: to set the length of an array is slow.
    for (let start = 0, count = 1; count > 0; depth++) {
      const end = topic.indexOf('/', start);
      const name = start > topic.length ? null : topic.slice(start, end < 0 ? topic.length : end);
      const mayWild = start > 0 || !isSystem;
      let nextCount = 0;
      for (let i = 0; i < count; i++) {
        const level = current[i] ?? never();
        if (level.hash !== null && mayWild) each(level.hash, found);
        if (name === null) {
          if (level.here !== null) each(level.here, found);
          continue;
        }
        const child = level.children?.get(name);
        if (child !== undefined) next[nextCount++] = child;
        if (level.plus !== null && mayWild) next[nextCount++] = level.plus;
      }
      this.#lookedAt += count;
      [current, next, count] = [next, current, nextCount];
      start = end < 0 ? topic.length + 1 : end + 1;
    }
    return depth;
  }

  #prune(path: Level<Owner>[], levels: readonly string[]): void {
    for (let i = path.length - 1; i > 0; i--) {
      if (path[i]?.isEmpty !== true) return;
      const above = path[i - 1];
      const name = levels[i - 1] ?? '';
      if (above === undefined) return;
      if (name === '+') above.plus = null;
      else {
        above.children?.delete(name);
        if (above.children?.size === 0) above.children = null;
      }
    }
  }
}

function descend<Owner>(level: Level<Owner>, name: string): Level<Owner> {
  if (name === '+') return (level.plus ??= new Level());
  level.children ??= new Map();
  let child = level.children.get(name);
  if (child === undefined) {
    child = new Level();
    level.children.set(name, child);
  }
  return child;
}

/** Few of them are an array, which is small; of many each must be found and taken out without a look at the others. */
type List<Owner> = Entry<Owner> | Entry<Owner>[] | Set<Entry<Owner>> | null;

const ARRAY_MAX = 16;

function isMany<Owner>(
  list: Entry<Owner> | Entry<Owner>[] | Set<Entry<Owner>>,
): list is Entry<Owner>[] | Set<Entry<Owner>> {
  return Array.isArray(list) || list instanceof Set;
}

function each<Owner>(list: NonNullable<List<Owner>>, found: (entry: Entry<Owner>) => void): void {
  if (isMany(list)) for (const entry of list) found(entry);
  else found(list);
}

function never(): never {
  throw new Error('a list has no holes');
}

function sizeOf<Owner>(list: List<Owner>): number {
  if (list === null) return 0;
  return Array.isArray(list) ? list.length : list instanceof Set ? list.size : 1;
}

function find<Owner>(list: Iterable<Entry<Owner>>, owner: Owner, share: string): Entry<Owner> | null {
  for (const entry of list) if (entry.owner === owner && entry.share === share) return entry;
  return null;
}

/** Puts an entry into a list, in place of the one with the same owner and share. */
function put<Owner>(
  list: List<Owner>,
  entry: Entry<Owner>,
  known: Entry<Owner> | null | undefined,
): List<Owner> {
  if (list === null) return entry;
  if (!isMany(list)) {
    return list.owner === entry.owner && list.share === entry.share ? entry : [list, entry];
  }
  const replaced = known === undefined ? find(list, entry.owner, entry.share) : known;
  if (list instanceof Set) {
    if (replaced !== null) list.delete(replaced);
    return list.add(entry);
  }
  if (replaced !== null) list[list.indexOf(replaced)] = entry;
  else if (list.length < ARRAY_MAX) list.push(entry);
  else return new Set(list).add(entry);
  return list;
}

function without<Owner>(list: List<Owner>, owner: Owner, share: string, known?: Entry<Owner>): List<Owner> {
  if (list === null) return null;
  if (!isMany(list)) return list.owner === owner && list.share === share ? null : list;
  const gone = known ?? find(list, owner, share);
  if (gone === null) return list;
  if (list instanceof Set) list.delete(gone);
  else if (list.includes(gone)) list.splice(list.indexOf(gone), 1);
  if (sizeOf(list) > 1) return list;
  for (const last of list) return last;
  return null;
}
