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
    const elsewhere = { name: topic.slice(daemon.names.dataPrefix.length), unit: '', member: null };
    const text = Buffer.from(payload).toString();
    for (const { name, unit, member } of topics.get(topic) ?? [elsewhere]) {
      const sample = member === null ? sampleOf(text) : memberOf(text, member);
      if (sample !== null) show({ name, unit, ...sample });
    }
  };
  const show = (row: Row): void => {
    const { name } = row;
    if (left <= 0 || (wanted.length > 0 && !wanted.some((pattern) => pattern.test(name)))) return;
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

interface Place {
  readonly name: string;
  readonly unit: string;
  /** What it is called in the batch that tells it; null: the topic is its own. */
  readonly member: string | null;
}

type Names = ReadonlyMap<string, readonly Place[]>;

/** Names and units by topic, as the gateway tells them; empty where it does not say so to this user. */
async function topicsOf(daemon: Daemon): Promise<Names> {
  const view = await daemon.request('plant').catch((thrown: unknown) => {
    if (thrown instanceof VerbError && thrown.exitCode === EXIT.notAllowed) return { devices: [] };
    throw thrown;
  });
  // Answered by our own gateway (gateway/views.ts).
  const { devices } = view as {
    devices: {
      name: string;
      tags: { name: string; topic: string; batchTopic: string | null; unit: string | null }[];
    }[];
  };
  const names = new Map<string, Place[]>();
  for (const device of devices)
    for (const { name, topic, batchTopic, unit } of device.tags) {
      const member = batchTopic === null ? null : name;
      const place = { name: `${device.name}/${name}`, unit: unit ?? '', member };
      const places = names.get(batchTopic ?? topic);
      if (places === undefined) names.set(batchTopic ?? topic, [place]);
      else places.push(place);
    }
  return names;
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

type Shown = Omit<Row, 'name' | 'unit'>;

/** Value, quality and time of a payload; one that has none of these is a value. */
function sampleOf(text: string): Shown {
  const bare = { value: text, quality: text === '' ? 'bad' : 'good', reason: '', timeMs: Date.now() };
  const parsed = exactly(text);
  if (typeof parsed !== 'object' || parsed === null || !('v' in parsed) || !('q' in parsed)) return bare;
  const { v, q, e, t } = parsed as { v: unknown; q: unknown; e?: unknown; t?: unknown };
  return shownOf(v, String(q), e, t);
}

/** One value of a batch, which has the reasons of those that are not good; null: it is not in this one. */
function memberOf(text: string, member: string): Shown | null {
  // Our own gateway writes these (poller/payload.ts).
  const parsed = exactly(text) as { v?: Record<string, unknown>; e?: Record<string, unknown>; t?: unknown } | null; // prettier-ignore
  const { v: values = {}, e: reasons = {}, t } = parsed ?? {};
  if (!Object.hasOwn(values, member)) return null;
  const [v, e] = [values[member], reasons[member]];
  return shownOf(v, v === null ? 'bad' : e === undefined ? 'good' : 'uncertain', e, t);
}

function shownOf(value: unknown, quality: string, e: unknown, t: unknown): Shown {
  const reason = typeof e === 'string' ? e : '';
  return { value, quality, reason, timeMs: typeof t === 'number' ? t : Date.now() };
}

/** Numbers with more digits than 2^53 has come as texts. undefined: it is no JSON. */
function exactly(text: string): unknown {
  try {
    return JSON.parse(text.replace(/(?<!\\)(":)(-?\d{16,})(?=[,}])/g, '$1"$2"'));
  } catch {
    return undefined;
  }
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
