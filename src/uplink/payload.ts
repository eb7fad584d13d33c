/**
 * What a message means to a template: the place it speaks of, its value, quality and times, and the members of its
 * JSON. The samples of one answer can be joined to one.
 */
import { jsonText, membersOf } from './json.js';
import type { Names } from './template.js';

/** What a topic of the gateway speaks of; a tag for values and answers. */
export interface Place {
  readonly device: string;
  readonly tag: string | null;
}

/** A message taken apart: JSON texts by name. */
export interface Subject {
  readonly place: Place | null;
  readonly topic: string;
  readonly members: ReadonlyMap<string, string>;
  /** When it was, ms since 1970: its own `t`, or when it came. */
  readonly timeMs: number;
}

/** No Date reaches further. */
const DATE_MAX_MS = 8.64e15;

/** A payload that is no JSON object is its own `v`: a bare JSON value, or text. */
export function subjectOf(topic: string, place: Place | null, payload: Uint8Array, nowMs: number): Subject {
  const json = jsonText(payload);
  const members = json === null ? null : membersOf(json);
  const all =
    members ??
    new Map([
      ['v', json ?? (payload.length === 0 ? 'null' : JSON.stringify(Buffer.from(payload).toString()))],
    ]);
  all.set('payload', json ?? all.get('v') ?? 'null');
  const t = Number(all.get('t'));
  return { place, topic, members: all, timeMs: Math.abs(t) <= DATE_MAX_MS ? t : nowMs };
}

/** Samples of one device and time as one: {"v":{tag:value},"q":worst,"e":{tag:reason},"t":...}. */
export function joined(samples: readonly Subject[]): Subject | null {
  const [first] = samples;
  const device = first?.place?.device;
  if (first === undefined || device === undefined) return null;
  const values: string[] = [];
  const reasons: string[] = [];
  let worst = 0;
  for (const { place, members } of samples) {
    const tag = JSON.stringify(place?.tag ?? '');
    values.push(`${tag}:${members.get('v') ?? 'null'}`);
    const reason = members.get('e');
    if (reason !== undefined) reasons.push(`${tag}:${reason}`);
    worst = Math.max(worst, WORSE.indexOf(qualityOf(members)));
  }
  const members = new Map([
    ['v', `{${values.join(',')}}`],
    ['q', WORSE[worst] ?? '"bad"'],
    ['t', String(first.timeMs)],
  ]);
  if (reasons.length > 0) members.set('e', `{${reasons.join(',')}}`);
  return { ...first, place: { device, tag: null }, members };
}

const WORSE = ['"good"', '"uncertain"', '"stale"', '"bad"'];

function qualityOf(members: ReadonlyMap<string, string>): string {
  return members.get('q') ?? (members.get('v') === 'null' ? '"bad"' : '"good"');
}

/** The names of a message, the texts of the uplink's own variables behind them. */
export function namesOf(subject: Subject, variables: ReadonlyMap<string, string>): Names {
  const { place, members, timeMs, topic } = subject;
  const tag = place?.tag ?? null;
  return (name) => {
    switch (name) {
      case 'device':
        return place === null ? members.get(name) : JSON.stringify(place.device);
      case 'tag':
        return tag === null ? members.get(name) : JSON.stringify(tag);
      case 'topic':
        return JSON.stringify(topic);
      case 'q':
        return qualityOf(members);
      case 'values':
        return valuesOf(subject);
      default:
        return timeName(name, timeMs) ?? variables.get(name) ?? members.get(name);
    }
  };
}

/** The same moment in the ways that platforms want it. */
export function timeName(name: string, timeMs: number): string | undefined {
  switch (name) {
    case 't':
      return String(Math.trunc(timeMs));
    case 'seconds':
      return String(Math.trunc(timeMs / 1000));
    case 'iso':
      return JSON.stringify(new Date(timeMs).toISOString());
    case 'time':
      return JSON.stringify(localTime(new Date(timeMs)));
    default:
      return undefined;
  }
}

/** 2026-01-31 23:59:59, in the time zone of this machine. */
function localTime(date: Date): string {
  const two = (number: number): string => String(number).padStart(2, '0');
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

/** The good values of the message by tag; of a batch those of which no reason is told. Where they go no quality goes with them. */
function valuesOf({ place, members }: Subject): string {
  const v = members.get('v') ?? 'null';
  const tag = place?.tag ?? null;
  const all = tag === null ? membersOf(v) : new Map([[tag, v]]);
  const reasons = membersOf(members.get('e') ?? '');
  const isTold = tag === null || qualityOf(members) === '"good"';
  const good = [...(all ?? [])].filter(([name, value]) => isTold && value !== 'null' && !reasons?.has(name));
  return `{${good.map(([name, value]) => `${JSON.stringify(name)}:${value}`).join(',')}}`;
}
