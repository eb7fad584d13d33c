/** `holdfast watch`: the values of a running gateway, live. On a terminal a table that renews itself, else lines. */
import { type BrokerLink, BROKER_OPTIONS, plantOf } from './brokerlink.js';
import { Daemon, GATEWAY_OPTION } from './daemon.js';
import { columns, type Paint, paintOf } from './paint.js';
import { EXIT, numberOption, type Context, type Verb, VerbError } from './verb.js';
import { visible } from '../log.js';

const RENEW_MS = 250;
/** Rows where the height of the terminal is not known. */
const ROWS = 24;

export const verb: Verb = {
  name: 'watch',
  summary: 'show values of a running gateway, live',
  arguments: '[NAME...]',
  argumentHelp: [
    { name: 'NAME', description: 'DEVICE or DEVICE/TAG, with * for anything; all unless given' },
  ],
  options: [
    ...BROKER_OPTIONS,
    GATEWAY_OPTION,
    { flags: '--bad', description: 'only what is not good' },
    { flags: '-n, --count NUMBER', description: 'end after so many values' },
    { flags: '--jsonl', description: 'one JSON object a value' },
  ],
  examples: [
    { command: 'watch', meaning: 'everything, until Ctrl-C' },
    { command: "watch press1 'meter*/power_*'", meaning: 'some of it' },
    { command: 'watch --bad', meaning: 'what is wrong right now' },
    { command: 'watch --jsonl meter1 > log.jsonl', meaning: 'for programs' },
  ],
  run,
};

interface Row {
  readonly name: string;
  readonly unit: string;
  value: unknown;
  quality: string;
  reason: string;
  timeMs: number;
}

async function run(context: Context): Promise<number> {
  const { args, options, stdout, interrupted, isTerminal } = context;
  const plant = await plantOf(context);
  const daemon = await Daemon.open(context, plant);
  const wanted = args.map(patternOf);
  const isOnlyBad = options['bad'] === true;
  const isJson = options['jsonl'] === true;
  let left = numberOption(options, 'count', 1, 1e9) ?? Infinity;
  const topics = await topicsOf(daemon);
  const rows = new Map<string, Row>();
  let enough: () => void = () => {};
  const isEnough = new Promise<null>((resolve) => (enough = () => resolve(null)));
  interrupted.addEventListener('abort', enough, { once: true });
  const take = (topic: string, payload: Uint8Array): void => {
    const { name, unit } = topics.get(topic) ?? {
      name: topic.slice(daemon.names.dataPrefix.length),
      unit: '',
    };
    if (left <= 0 || (wanted.length > 0 && !wanted.some((pattern) => pattern.test(name)))) return;
    const row = { name, unit, ...sampleOf(Buffer.from(payload).toString()) };
    if (isOnlyBad && row.quality === 'good') {
      rows.delete(name);
      return;
    }
    rows.set(name, row);
    left -= 1;
    if (isJson || !isTerminal) stdout.write(`${isJson ? jsonOf(row) : lineOf(row)}\n`);
    if (left <= 0) enough();
  };
  try {
    await subscribe(daemon, topics, take);
    const screen = new Screen(stdout, paintOf(context));
    const timer =
      isTerminal && !isJson ? setInterval(() => screen.show([...rows.values()]), RENEW_MS) : undefined;
    const reason = await Promise.race([isEnough, daemon.link.closed]);
    clearInterval(timer);
    if (timer !== undefined) screen.show([...rows.values()]);
    if (reason !== null)
      throw new VerbError(EXIT.refused, `${daemon.link.url} closed the connection (${reason}); run it again`);
    return EXIT.ok;
  } finally {
    await daemon.close();
  }
}

type Names = ReadonlyMap<string, { readonly name: string; readonly unit: string }>;

/** Names and units by topic, as the gateway tells them; empty where it does not say so to this user. */
async function topicsOf(daemon: Daemon): Promise<Names> {
  const view = await daemon.request('plant').catch((thrown: unknown) => {
    if (thrown instanceof VerbError && thrown.exitCode === EXIT.notAllowed) return { devices: [] };
    throw thrown;
  });
  // Answered by our own gateway (gateway/views.ts).
  const { devices } = view as {
    devices: { name: string; tags: { name: string; topic: string; unit: string | null }[] }[];
  };
  return new Map(
    devices.flatMap(({ name, tags }) =>
      tags.map((tag) => [tag.topic, { name: `${name}/${tag.name}`, unit: tag.unit ?? '' }] as const),
    ),
  );
}

/** Topics that the config gives elsewhere are subscribed one by one. */
async function subscribe(
  daemon: Daemon,
  topics: Names,
  take: (topic: string, payload: Uint8Array) => void,
): Promise<void> {
  const { link, names } = daemon;
  const elsewhere = [...topics.keys()].filter((topic) => !topic.startsWith(names.dataPrefix));
  const on = (filter: string): ReturnType<BrokerLink['subscribe']> =>
    link.subscribe(filter, 0, ({ topic, payload }) => take(topic, payload));
  await on(`${names.dataPrefix}#`);
  for (const topic of elsewhere) await on(topic);
}

/** A device alone means all of its tags. */
function patternOf(text: string): RegExp {
  const escaped = text.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replaceAll('*', '.*');
  return new RegExp(`^${escaped}${text.includes('/') ? '' : '/.*'}$`);
}

/** Value, quality and time of a payload; one that has none of these is a value. */
function sampleOf(text: string): Omit<Row, 'name' | 'unit'> {
  const bare = { value: text, quality: text === '' ? 'bad' : 'good', reason: '', timeMs: Date.now() };
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return bare;
  }
  if (typeof parsed !== 'object' || parsed === null || !('v' in parsed) || !('q' in parsed)) return bare;
  const { v, q, e, t } = parsed as { v: unknown; q: unknown; e?: unknown; t?: unknown };
  // Digits beyond 2^53 are taken from the text.
  const digits = /"v":(-?\d{16,})[,}]/.exec(text)?.[1];
  return {
    value: digits ?? v,
    quality: String(q),
    reason: typeof e === 'string' ? e : '',
    timeMs: typeof t === 'number' ? t : Date.now(),
  };
}

export function shownValue(value: unknown): string {
  if (value === null || value === undefined) return '-';
  return visible(typeof value === 'string' ? value : JSON.stringify(value));
}

function jsonOf({ name, value, quality, reason, unit, timeMs }: Row): string {
  return JSON.stringify({
    name,
    v: value,
    q: quality,
    ...(reason === '' ? {} : { e: reason }),
    unit,
    t: timeMs,
  });
}

function lineOf({ name, value, unit, quality, reason }: Row): string {
  const words = [name, shownValue(value), unit, ...(quality === 'good' ? [] : [quality, reason])];
  return visible(words.filter((word) => word !== '').join(' '));
}

/** A table that is written over its last state; what the terminal has no room for is counted. */
class Screen {
  readonly #out: NodeJS.WritableStream;
  readonly #paint: Paint;
  #height = 0;

  constructor(out: NodeJS.WritableStream, paint: Paint) {
    this.#out = out;
    this.#paint = paint;
  }

  show(rows: readonly Row[]): void {
    const { rows: height = ROWS, columns: width = 80 } = this.#out as Partial<NodeJS.WriteStream>;
    const room = Math.max(1, height - 2);
    const shown = rows.toSorted((a, b) => (a.name < b.name ? -1 : 1)).slice(0, room);
    const lines = columns(
      shown.map(({ name, value, unit, quality, reason, timeMs }) => [
        visible(name),
        shownValue(value),
        unit,
        visible(quality),
        [`${Math.max(0, Math.round((Date.now() - timeMs) / 1000))} s ago`, visible(reason)]
          .filter(Boolean)
          .join(', '),
      ]),
    ).map((line, at) => this.#coloured([...line].slice(0, width - 1).join(''), shown[at]?.quality ?? 'good'));
    if (rows.length > room) lines.push(`and ${rows.length - room} more; name some, as in: watch press1`);
    if (lines.length === 0) lines.push('no values yet');
    const up = this.#height === 0 ? '' : `\x1b[${this.#height}A`;
    this.#out.write(`${up}${lines.map((line) => `\x1b[2K${line}`).join('\n')}\n\x1b[J`);
    this.#height = lines.length;
  }

  #coloured(line: string, quality: string): string {
    if (quality === 'good') return line;
    return this.#paint(quality === 'bad' ? 'red' : 'yellow', line);
  }
}
