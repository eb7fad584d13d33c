/**
 * Topic patterns -> topics. Every topic that the gateway publishes is made here, so that none is used twice and none
 * is both a value and a folder.
 */
import { mayMeet } from './filter.js';
import type { Source } from './load.js';
import type { Path } from './problems.js';
import type { GatewayTopics, Plant, TagPatterns } from './plant.js';
import type { GatewayInput } from './schema/gateway.js';

const DEFAULTS = {
  status: '{base}/{gateway}/status',
  device: '{base}/{gateway}/device/{device}',
  data: '{base}/{gateway}/data/{device}/{tag}',
  batch: '{base}/{gateway}/batch/{device}',
  set: '{base}/{gateway}/set/{device}/{tag}',
  get: '{base}/{gateway}/get/{device}/{tag}',
  ack: '{base}/{gateway}/ack/{device}/{tag}',
  event: '{base}/{gateway}/event/{kind}',
  req: '{base}/{gateway}/req/{verb}',
  res: '{base}/{gateway}/res/{verb}',
  trace: '{base}/{gateway}/trace/{bus}',
} as const;
type PatternName = keyof typeof DEFAULTS;

/** What each pattern must hold; those that end in a word of their own are followed by it. */
const NEEDS: Readonly<Record<PatternName, readonly string[]>> = {
  status: [], device: ['device'], data: ['device', 'tag'], batch: ['device'], set: ['device', 'tag'],
  get: ['device', 'tag'], ack: ['device', 'tag'], event: ['kind'], req: ['verb'], res: ['verb'], trace: ['bus'],
}; // prettier-ignore

const LEVELS_MAX = 8;
const BYTES_MAX = 65_535;

export class TopicPatterns {
  readonly #patterns: Record<PatternName, string> = { ...DEFAULTS };
  readonly #base: string;
  readonly #gateway: string;

  constructor(input: GatewayInput['topics'], base: string, gateway: string, source: Source) {
    this.#base = base;
    this.#gateway = gateway;
    for (const [key, pattern] of Object.entries(input ?? {})) {
      const name = key as PatternName; // the schema allows these only
      if (pattern === undefined) continue;
      const wrong = wrongPattern(name, pattern);
      if (wrong === null) this.#patterns[name] = pattern;
      else source.add('error', 'HF1401', ['topics', name], wrong);
    }
  }

  topic(name: PatternName, device = '', tag = ''): string {
    return this.#patterns[name].replace(/\{(\w+)\}/g, (_, key: string) =>
      key === 'base' ? this.#base : key === 'gateway' ? this.#gateway : key === 'device' ? device : tag,
    );
  }

  /** What is said of the gateway itself; a command topic has so many levels for its tag at most. */
  gatewayTopics(tagLevels: number): GatewayTopics {
    const prefix = (name: PatternName): string => this.topic(name, '', '');
    const filters = (...names: readonly PatternName[]): string[] => [
      ...new Set(names.flatMap((name) => this.#filters(name, tagLevels))),
    ];
    return {
      status: this.topic('status'),
      eventPrefix: prefix('event'),
      requestPrefix: prefix('req'),
      responsePrefix: prefix('res'),
      tracePrefix: prefix('trace'),
      commandFilters: filters('set', 'get'),
      dataFilter: this.#dataFilter(),
      valueFilters: filters('data', 'batch', 'device'),
      tags: this.#tagPatterns(),
    };
  }

  /** Nothing that the gateway tells may be a command or a request to it, nor one command two: it would answer itself. */
  check(tagLevels: number, uses: TopicUses, source: Source): void {
    const listened: (readonly [PatternName, readonly string[]])[] = [
      ['set', this.#filters('set', tagLevels)],
      ['get', this.#filters('get', tagLevels)],
      ['req', [`${this.topic('req')}+`]],
    ];
    const told = ['status', 'device', 'data', 'batch', 'ack', 'event', 'res', 'trace'] as const;
    const met = listened.flatMap(([listener, filters], index) => {
      const others = [...told, ...listened.slice(0, index).map(([name]) => name)];
      const wrong = others.filter((name) => this.#meets(name, tagLevels, filters));
      for (const name of wrong) this.#complain(name, listener, source);
      return wrong.length > 0 ? [] : filters.map((filter) => ({ listener, filter }));
    });
    uses.checkApart(met);
  }

  #meets(name: PatternName, tagLevels: number, filters: readonly string[]): boolean {
    return Array.from({ length: tagLevels }, (_, more) => `x${'/x'.repeat(more)}`).some((tag) => {
      const topic = this.topic(name, 'x', tag);
      // A word of its own follows.
      const whole = topic.endsWith('/') ? `${topic}x` : topic;
      return filters.some((filter) => mayMeet(filter, whole));
    });
  }

  #complain(name: PatternName, listener: PatternName, source: Source): void {
    const own = this.#patterns[name] === DEFAULTS[name] ? listener : name;
    source.add(
      'error',
      'HF1405',
      ['topics', own],
      `topics of ${name} (${this.#patterns[name]}) would be taken for those of ${listener} (${this.#patterns[listener]}); let a level differ, such as .../${name}/...`,
    );
  }

  #tagPatterns(): TagPatterns {
    const { set, get, ack } = this.#patterns;
    const plain = (pattern: string): string => fillPlain(pattern, this.#base, this.#gateway);
    return { set: plain(set), get: plain(get), ack: plain(ack) };
  }

  #dataFilter(): string | null {
    const [head = ''] = this.#patterns.data.split(/\{(?:device|tag)\}/);
    const isOurs = head.includes('{gateway}') && head.endsWith('/');
    return isOurs ? `${fillPlain(head, this.#base, this.#gateway)}#` : null;
  }

  /** All that such a topic may be: everything below, when nothing but placeholders follows. */
  #filters(name: PatternName, tagLevels: number): string[] {
    const pattern = this.#patterns[name];
    const first = /\{(device|tag)\}/.exec(pattern)?.index ?? 0;
    const isTail = /^(\{(device|tag)\}\/?)+$/.test(pattern.slice(first)) && pattern[first - 1] === '/';
    if (isTail) return [`${fillPlain(pattern.slice(0, first), this.#base, this.#gateway)}#`];
    return Array.from({ length: tagLevels }, (_, index) =>
      fillPlain(pattern, this.#base, this.#gateway)
        .split('/')
        .map((level) =>
          level === '{tag}'
            ? Array(index + 1)
                .fill('+')
                .join('/')
            : level.includes('{')
              ? '+'
              : level,
        )
        .join('/'),
    );
  }
}

/** Few filters that bring every value and every state of a device. A tag may have a topic of its own. */
export function filtersOfValues({ gateway, tags, batches, devices }: Plant): string[] {
  const loose = new Set([...tags, ...batches, ...devices].map(({ topic }) => topic));
  const needed = gateway.topics.valueFilters.filter((filter) => {
    const met = [...loose].filter((topic) => mayMeet(filter, topic));
    for (const topic of met) loose.delete(topic);
    return met.length > 0;
  });
  return [...needed, ...loose];
}

/** One pass, so that nothing in a name is taken for a placeholder. */
export function fillPattern(pattern: string, device: string, tag: string): string {
  return pattern.replace(/\{(device|tag)\}/g, (placeholder) => (placeholder === '{device}' ? device : tag));
}

function fillPlain(pattern: string, base: string, gateway: string): string {
  return pattern.replaceAll('{base}', base).replaceAll('{gateway}', gateway);
}

function wrongPattern(name: PatternName, pattern: string): string | null {
  const known = ['base', 'gateway', ...NEEDS[name]];
  const used = [...pattern.matchAll(/\{(\w*)\}/g)].map((match) => match[1] ?? '');
  const unknown = used.find((word) => !known.includes(word));
  if (unknown !== undefined)
    return `{${unknown}} is not filled in here; known are ${known.map((word) => `{${word}}`).join(' ')}`;
  const absent = NEEDS[name].find((word) => !used.includes(word));
  if (absent !== undefined) return `lacks {${absent}}, so that several would share one topic; add it`;
  const last = NEEDS[name][0];
  if ((last === 'kind' || last === 'verb' || last === 'bus') && !pattern.endsWith(`/{${last}}`))
    return `ends in something else; let it end in /{${last}}`;
  if (/[+#\0]/.test(pattern)) return 'holds + or #, which only filters may; remove it';
  if (pattern.startsWith('$')) return 'begins with $, which belongs to the broker; begin with {base}';
  if (/^\/|\/\/|\/$/.test(pattern)) return 'has an empty level; remove the extra /';
  return null;
}

interface Use {
  readonly what: string;
  readonly source: Source;
  readonly path: Path;
}

/** Every topic in use, and what uses it. */
export class TopicUses {
  readonly #uses = new Map<string, Use>();
  readonly #folders = new Map<string, Use>();
  #deepCount = 0;
  #deepest: { levels: number; topic: string; source: Source | null; path: Path } = {
    levels: 0,
    topic: '',
    source: null,
    path: [],
  };

  get count(): number {
    return this.#uses.size;
  }

  add(topic: string, what: string, source: Source, path: Path): void {
    const use = { what, source, path };
    const other = this.#uses.get(topic);
    if (other !== undefined) {
      source.add(
        'error',
        'HF1402',
        path,
        `topic ${topic} is used by ${other.what} as well; give one of them another name`,
        'key',
      );
      return;
    }
    const levels = topic.split('/');
    if (levels.length > LEVELS_MAX) {
      this.#deepCount += 1;
      if (levels.length > this.#deepest.levels) this.#deepest = { levels: levels.length, topic, ...use };
    }
    if (Buffer.byteLength(topic) > BYTES_MAX)
      source.add('error', 'HF1404', path, 'its topic is longer than 65535 bytes', 'key');
    this.#uses.set(topic, use);
    for (let end = topic.lastIndexOf('/'); end > 0; end = topic.lastIndexOf('/', end - 1)) {
      const folder = topic.slice(0, end);
      if (this.#folders.has(folder)) break;
      this.#folders.set(folder, use);
    }
  }

  /** No topic that is told may match one of these filters, which the gateway listens to. */
  checkApart(listened: readonly { readonly listener: string; readonly filter: string }[]): void {
    for (const [topic, { what, source, path }] of this.#uses) {
      const met = listened.find(({ filter }) => mayMeet(filter, topic));
      if (met === undefined) continue;
      const text = `topic ${topic} of ${what} would be taken for one of topics.${met.listener}; give it another name`;
      source.add('error', 'HF1405', path, text, 'key');
    }
  }

  /** Once all are known. */
  finish(): void {
    const { levels, topic: deepest, source: from, path: at } = this.#deepest;
    if (from !== null) {
      const others =
        this.#deepCount > 1 ? ` (and ${this.#deepCount - 1} more topics more than ${LEVELS_MAX})` : '';
      from.add(
        'warning',
        'HF2404',
        at,
        `topic ${deepest} has ${levels} levels${others}; some brokers and clouds allow ${LEVELS_MAX}`,
        'key',
      );
    }
    for (const [topic, { what, source, path }] of this.#uses) {
      const inside = this.#folders.get(topic);
      if (inside === undefined) continue;
      source.add(
        'error',
        'HF1403',
        path,
        `topic ${topic} of ${what} is also the folder of ${inside.what}; a topic is a value or a folder, give one another name`,
        'key',
      );
    }
  }
}
