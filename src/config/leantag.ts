/**
 * Tags as threads keep and exchange them. Thousands of them say the same ("uint16", "always", one deadband), and as
 * plain objects that is most of what a large plant takes: here each holds what is its own, and one object holds what
 * many have in common. Topics that only commands need are made when somebody asks.
 */
import { freeze } from './loaded.js';
import type { Batch, Device, Tag, TagPatterns } from './plant.js';
import { fillPattern } from './topics.js';

const OWN = ['index', 'name', 'device', 'address', 'topic', 'setTopic', 'getTopic', 'ackTopic'] as const;
type OwnKey = (typeof OWN)[number];
const OWN_KEYS: ReadonlySet<string> = new Set(OWN);
/** What tags have in common. */
type Kind = Omit<Tag, OwnKey>;

/** A plant's or shard's tags, and the batches of them. */
export interface Tags {
  readonly tags: readonly Tag[];
  readonly batches: readonly Batch[];
}

/** The same on its way to another thread: each kind once, and tags of batches by their index. */
export interface PackedTags {
  readonly kinds: readonly Kind[];
  readonly kindOf: Uint32Array;
  readonly indexes: Uint32Array;
  readonly addresses: Uint32Array;
  readonly names: readonly string[];
  readonly devices: readonly Device[];
  /** null: where nobody asks for topics. */
  readonly topics: readonly string[] | null;
  readonly patterns: TagPatterns;
  readonly batches: readonly (Omit<Batch, 'tags'> & { readonly tags: readonly number[] })[];
}

/** What is nobody's: workers know no topics. */
const NO_PATTERNS: TagPatterns = { set: '', get: '', ack: '' };

class LeanTag implements Tag {
  readonly index: number;
  readonly name: string;
  readonly device: Device;
  readonly address: number;
  readonly topic: string;
  readonly #kind: Kind;
  readonly #patterns: TagPatterns;

  constructor(packed: PackedTags, at: number, kind: Kind) {
    this.index = packed.indexes[at] ?? 0;
    this.name = packed.names[at] ?? '';
    // packTags() fills all columns alike.
    this.device = packed.devices[at] as Device;
    this.address = packed.addresses[at] ?? 0;
    this.topic = packed.topics?.[at] ?? '';
    this.#kind = kind;
    this.#patterns = packed.patterns;
  }

  get kind(): Kind {
    return this.#kind;
  }

  get setTopic(): string {
    return fillPattern(this.#patterns.set, this.device.name, this.name);
  }

  get getTopic(): string {
    return fillPattern(this.#patterns.get, this.device.name, this.name);
  }

  get ackTopic(): string {
    return fillPattern(this.#patterns.ack, this.device.name, this.name);
  }

  get table(): Tag['table'] {
    return this.#kind.table;
  }

  get quantity(): Tag['quantity'] {
    return this.#kind.quantity;
  }

  get type(): Tag['type'] {
    return this.#kind.type;
  }

  get order(): Tag['order'] {
    return this.#kind.order;
  }

  get select(): Tag['select'] {
    return this.#kind.select;
  }

  get scale(): Tag['scale'] {
    return this.#kind.scale;
  }

  get offset(): Tag['offset'] {
    return this.#kind.offset;
  }

  get scaleFrom(): Tag['scaleFrom'] {
    return this.#kind.scaleFrom;
  }

  get bits(): Tag['bits'] {
    return this.#kind.bits;
  }

  get enum(): Tag['enum'] {
    return this.#kind.enum;
  }

  get flags(): Tag['flags'] {
    return this.#kind.flags;
  }

  get text(): Tag['text'] {
    return this.#kind.text;
  }

  get invalid(): Tag['invalid'] {
    return this.#kind.invalid;
  }

  get plausible(): Tag['plausible'] {
    return this.#kind.plausible;
  }

  get counter(): Tag['counter'] {
    return this.#kind.counter;
  }

  get unit(): Tag['unit'] {
    return this.#kind.unit;
  }

  get description(): Tag['description'] {
    return this.#kind.description;
  }

  get intervalMs(): Tag['intervalMs'] {
    return this.#kind.intervalMs;
  }

  get report(): Tag['report'] {
    return this.#kind.report;
  }

  get deadband(): Tag['deadband'] {
    return this.#kind.deadband;
  }

  get heartbeatMs(): Tag['heartbeatMs'] {
    return this.#kind.heartbeatMs;
  }

  get payload(): Tag['payload'] {
    return this.#kind.payload;
  }

  get qos(): Tag['qos'] {
    return this.#kind.qos;
  }

  get retain(): Tag['retain'] {
    return this.#kind.retain;
  }

  get stored(): Tag['stored'] {
    return this.#kind.stored;
  }

  get write(): Tag['write'] {
    return this.#kind.write;
  }

  get formula(): Tag['formula'] {
    return this.#kind.formula;
  }

  get group(): Tag['group'] {
    return this.#kind.group;
  }

  /** All it says, as the plain object that it stands for; JSON.stringify() asks for it too. */
  toJSON(): Tag {
    const { index, name, device, address, topic, setTopic, getTopic, ackTopic } = this;
    return { ...this.#kind, index, name, device, address, topic, setTopic, getTopic, ackTopic };
  }
}

/** The tag with some settings changed; spreading would lose what it has in common with others. */
export function tagWith(tag: Tag, changes: Partial<Tag>): Tag {
  return { ...plainTag(tag), ...changes };
}

/** Lean tags in place of these. */
export function leanTags(all: Tags, patterns: TagPatterns): Tags {
  return unpackTags(packTags(all, patterns));
}

/** patterns null: the topics stay behind. */
export function packTags({ tags, batches }: Tags, patterns: TagPatterns | null): PackedTags {
  const numbers = new Map<string, number>();
  const kinds: Kind[] = [];
  const kindOf = Uint32Array.from(tags, (tag) => {
    const kind = tag instanceof LeanTag ? tag.kind : kindOfTag(tag);
    const key = JSON.stringify(kind, distinct);
    const number = numbers.get(key) ?? kinds.push(kind) - 1;
    numbers.set(key, number);
    return number;
  });
  return {
    kinds,
    kindOf,
    indexes: Uint32Array.from(tags, ({ index }) => index),
    addresses: Uint32Array.from(tags, ({ address }) => address),
    names: tags.map(({ name }) => name),
    devices: tags.map(({ device }) => device),
    topics: patterns === null ? null : tags.map(({ topic }) => topic),
    patterns: patterns ?? NO_PATTERNS,
    batches: batches.map((batch) => ({ ...batch, tags: batch.tags.map(({ index }) => index) })),
  };
}

export function unpackTags(packed: PackedTags): Tags {
  freeze(packed.kinds);
  const names = new Map<string, string>();
  const known = (name: string): string => {
    const first = names.get(name);
    if (first === undefined) names.set(name, name);
    return first ?? name;
  };
  const own = { ...packed, names: packed.names.map(known) };
  const tags = Array.from(packed.kindOf, (kind, at) =>
    // packTags() numbered the kinds.
    Object.freeze(new LeanTag(own, at, packed.kinds[kind] as Kind)),
  );
  const byIndex = new Map<number, Tag>(tags.map((tag) => [tag.index, tag]));
  const batches = packed.batches.map((batch) => ({
    ...batch,
    tags: batch.tags.flatMap((index) => byIndex.get(index) ?? []),
  }));
  return { tags, batches };
}

/** The plain object that says the same, with its keys in one order wherever the tag comes from. */
export function plainTag(tag: Tag): Tag {
  if (tag instanceof LeanTag) return tag.toJSON();
  const { index, name, device, address, topic, setTopic, getTopic, ackTopic } = tag;
  return { ...kindOfTag(tag), index, name, device, address, topic, setTopic, getTopic, ackTopic };
}

function kindOfTag(tag: Tag): Kind {
  // A Tag without its own keys is a Kind.
  return Object.fromEntries(Object.entries(tag).filter(([key]) => !OWN_KEYS.has(key))) as unknown as Kind;
}

/** What JSON would make equal stays apart. */
function distinct(_name: string, part: unknown): unknown {
  if (typeof part === 'bigint' || (typeof part === 'number' && !Number.isFinite(part)))
    return { [typeof part]: String(part) };
  return part;
}
