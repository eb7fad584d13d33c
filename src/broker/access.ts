/**
 * Who may publish, receive and subscribe: one function decides, for every path a message can take. Rules are read
 * from the top; the first that names the right and matches decides, and what no rule allows is denied.
 */
import { covers, matches } from './topic.js';

export type Right = 'read' | 'write' | 'subscribe';

export interface AccessRule {
  /** null matches anybody; groups and client identifiers alike. */
  readonly user: string | null;
  readonly group: string | null;
  readonly client: string | null;
  readonly allow: readonly Right[];
  readonly deny: readonly Right[];
  /** A topic filter that may hold {user} and {client}. */
  readonly topic: string;
}

/** Who asks. */
export interface Identity {
  /** Empty: anonymous. */
  readonly user: string;
  readonly groups: readonly string[];
  readonly clientId: string;
}

type Rule = Pick<AccessRule, 'allow' | 'deny' | 'topic'>;

const DOLLAR = 0x24;
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
/** Answers remembered for one identity, and the longest topic that is. */
const REMEMBERED_MAX = 1000;
const REMEMBERED_LENGTH_MAX = 1024;

/** The rules that concern one identity, with its names filled in. Made once a session, kept until rules change. */
export class Rights {
  readonly #rules: readonly Rule[] | null;
  /** What is the same for all topics but those that begin with `$`; null: the rules tell. */
  readonly #broad: { readonly readsAll: boolean | null; readonly writesAll: boolean | null };
  #written: Map<string, boolean> | null = null;

  constructor(rules: readonly AccessRule[] | null, identity: Identity) {
    this.#rules =
      rules
        ?.filter((rule) => concerns(rule, identity))
        .flatMap((rule) => {
          const topic = fillIn(rule.topic, identity);
          return topic === null ? [] : [{ allow: rule.allow, deny: rule.deny, topic }];
        }) ?? null;
    this.#broad = { readsAll: broadly(this.#rules, 'read'), writesAll: broadly(this.#rules, 'write') };
  }

  mayRead(topic: string): boolean {
    const { readsAll } = this.#broad;
    return readsAll !== null && topic.charCodeAt(0) !== DOLLAR ? readsAll : this.#may('read', topic);
  }

  /** As mayRead, for a topic that is not a text yet and mostly need not become one. */
  mayReadAt(bytes: Uint8Array, start: number, end: number): boolean {
    const { readsAll } = this.#broad;
    if (readsAll !== null && bytes[start] !== DOLLAR) return readsAll;
    return this.#may('read', decoder.decode(bytes.subarray(start, end)));
  }

  /** Whether it may write to all topics but those that begin with `$`, whatever they are. */
  get writesAll(): boolean {
    return this.#broad.writesAll === true;
  }

  /** Publishers come back to the same topics, so the answers are remembered. */
  mayWrite(topic: string): boolean {
    const { writesAll } = this.#broad;
    if (writesAll !== null && topic.charCodeAt(0) !== DOLLAR) return writesAll;
    if (topic.length > REMEMBERED_LENGTH_MAX) return this.#may('write', topic);
    const written = (this.#written ??= new Map());
    let may = written.get(topic);
    if (may === undefined) {
      if (written.size >= REMEMBERED_MAX) written.clear();
      may = this.#may('write', topic);
      written.set(topic, may);
    }
    return may;
  }

  /** The filter (without share name) must lie within what one rule gives; who may read may also subscribe. */
  maySubscribe(filter: string): boolean {
    if (this.#rules === null) return true;
    for (const rule of this.#rules) {
      if (!covers(rule.topic, filter)) continue;
      if (rule.deny.includes('subscribe') || rule.deny.includes('read')) return false;
      if (rule.allow.includes('subscribe') || rule.allow.includes('read')) return true;
    }
    return false;
  }

  #may(right: Right, topic: string): boolean {
    if (this.#rules === null) return true;
    for (const rule of this.#rules) {
      if (!matches(rule.topic, topic)) continue;
      if (rule.deny.includes(right)) return false;
      if (rule.allow.includes(right)) return true;
    }
    return false;
  }
}

/** What the first rule that names a right says, if that rule is about everything. */
function broadly(rules: readonly Rule[] | null, right: Right): boolean | null {
  if (rules === null) return true;
  const first = rules.find(({ allow, deny }) => allow.includes(right) || deny.includes(right));
  if (first === undefined) return false;
  return first.topic === '#' ? !first.deny.includes(right) : null;
}

function concerns(rule: AccessRule, identity: Identity): boolean {
  return (
    (rule.user === null || (rule.user === identity.user && rule.user !== '')) &&
    (rule.group === null || identity.groups.includes(rule.group)) &&
    (rule.client === null || rule.client === identity.clientId)
  );
}

/**
 * The rule's topic with names filled in. A name that is empty, would act as a pattern or a path, or would lead to what the
 * broker tells of itself, gives no right: such a rule is left out.
 */
function fillIn(topic: string, identity: Identity): string | null {
  if (topic.includes('{user}') && !isPlain(identity.user)) return null;
  if (topic.includes('{client}') && !isPlain(identity.clientId)) return null;
  // Both at once: a user who is called {client} is not any client's namesake.
  const filled = topic.replace(/\{user\}|\{client\}/g, (name) =>
    name === '{user}' ? identity.user : identity.clientId,
  );
  return filled.startsWith('$') && !topic.startsWith('$') ? null : filled;
}

function isPlain(name: string): boolean {
  return name !== '' && !/[+#/\p{Cc}]/u.test(name);
}
