/**
 * What the page knows of the plant: devices, tags and their newest samples, as signals. Samples that arrive within one
 * frame are taken in together, so that thousands a second stay smooth.
 */
import { batch, signal, type Signal } from '@preact/signals';
import { gatewayMs } from './clock.js';

export interface WriteLimits {
  readonly min: number | null;
  readonly max: number | null;
  readonly step: number;
}

export interface TagAbout {
  readonly name: string;
  readonly topic: string;
  /** Where its values are told among others; null: on its own topic. */
  readonly batchTopic: string | null;
  readonly setTopic: string;
  readonly unit: string | null;
  readonly type: string;
  readonly isText: boolean;
  readonly flags: readonly string[] | null;
  readonly intervalMs: number;
  readonly write: WriteLimits | null;
  readonly enum: readonly string[] | null;
}

export interface DeviceAbout {
  readonly name: string;
  readonly topic: string;
  readonly bus: string;
  readonly unitId: number;
  readonly tags: readonly TagAbout[];
}

export interface PlantAbout {
  readonly gateway: string;
  readonly version: string;
  /** What brings all values and states of devices. */
  readonly filters: readonly string[];
  readonly devices: readonly DeviceAbout[];
  readonly buses: readonly { readonly name: string; readonly link: string }[];
}

export type QualityWord = 'good' | 'stale' | 'bad' | 'uncertain';

export interface Sample {
  readonly value: string | null;
  readonly number: number | null;
  readonly quality: QualityWord;
  readonly reason: string;
  readonly timeMs: number;
}

export interface LiveTag {
  readonly about: TagAbout;
  readonly device: string;
  readonly sample: Signal<Sample | null>;
  /** Newest last, at most RECENT_MAX points of the last five minutes. */
  readonly recent: { timeMs: number; value: number }[];
}

export interface DeviceState {
  readonly state: 'online' | 'degraded' | 'offline';
  readonly since: number;
  readonly error: string;
}

const RECENT_MAX = 150;
const RECENT_MS = 5 * 60_000;

export const plant = signal<PlantAbout | null>(null);
export const liveTags = signal<readonly LiveTag[]>([]);
export const deviceStates = signal<ReadonlyMap<string, DeviceState>>(new Map());

const byTopic = new Map<string, LiveTag>();
const batchByTopic = new Map<string, LiveTag[]>();
const deviceByTopic = new Map<string, string>();
/** By topic. */
const arrived = new Map<string, Uint8Array>();
const decoder = new TextDecoder();
let isScheduled = false;

/** Tags that were there before keep what is known of them. */
export function setPlant(about: PlantAbout): void {
  const before = new Map(byTopic);
  byTopic.clear();
  batchByTopic.clear();
  deviceByTopic.clear();
  const tags: LiveTag[] = [];
  for (const device of about.devices) {
    deviceByTopic.set(device.topic, device.name);
    for (const tag of device.tags) {
      const { sample = signal(null), recent = [] } = before.get(tag.topic) ?? {};
      const live: LiveTag = { about: tag, device: device.name, sample, recent };
      byTopic.set(tag.topic, live);
      if (tag.batchTopic !== null)
        batchByTopic.set(tag.batchTopic, [...(batchByTopic.get(tag.batchTopic) ?? []), live]);
      tags.push(live);
    }
  }
  batch(() => {
    plant.value = about;
    liveTags.value = tags;
  });
}

/** Takes a message if it is about the plant; only the newest sample of a tag within a frame counts. */
export function takeMessage(topic: string, payload: Uint8Array): boolean {
  if (byTopic.has(topic) || batchByTopic.has(topic)) {
    arrived.set(topic, payload);
    schedule();
    return true;
  }
  const device = deviceByTopic.get(topic);
  if (device === undefined) return false;
  const state = parse(payload);
  if (isDeviceState(state)) deviceStates.value = new Map(deviceStates.value).set(device, state);
  return true;
}

function schedule(): void {
  if (isScheduled) return;
  isScheduled = true;
  setTimeout(() => requestAnimationFrame(takeArrived), 100);
}

/** A slice a frame, so that no frame takes long. */
function takeArrived(): void {
  const deadline = performance.now() + 12;
  batch(() => {
    for (const [topic, payload] of arrived) {
      arrived.delete(topic);
      const tag = byTopic.get(topic);
      if (tag !== undefined) take(tag, toSample(payload));
      else takeBatch(batchByTopic.get(topic) ?? [], payload);
      if (performance.now() > deadline) break;
    }
  });
  isScheduled = false;
  if (arrived.size > 0) schedule();
}

/** Many values at once, with the reasons of those that are not good. */
function takeBatch(tags: readonly LiveTag[], payload: Uint8Array): void {
  const json = parse(payload);
  if (!isBatch(json)) return;
  const { v: values, e: reasons = {}, t } = json;
  const text = decoder.decode(payload);
  for (const tag of tags) {
    const { name } = tag.about;
    if (!Object.hasOwn(values, name)) continue;
    const [v, e] = [values[name], reasons[name]];
    const sample = sampleOf(v, v === null ? 'bad' : e === undefined ? 'good' : 'uncertain', t, e);
    take(tag, exactly(sample, text, name));
  }
}

/** 64-bit integers keep all their digits only in the text. */
function exactly(sample: Sample, text: string, name: string): Sample {
  if (Math.abs(sample.number ?? 0) <= Number.MAX_SAFE_INTEGER) return sample;
  const digits = new RegExp(`"${name}":(-?\\d{16,})[,}]`).exec(text)?.[1];
  return digits === undefined ? sample : { ...sample, value: digits };
}

function isBatch(
  json: unknown,
): json is { v: Record<string, unknown>; e?: Record<string, unknown>; t: unknown } {
  return (
    typeof json === 'object' && json !== null && 'v' in json && typeof json.v === 'object' && json.v !== null
  );
}

function take(tag: LiveTag, sample: Sample): void {
  tag.sample.value = sample;
  if (sample.number === null || sample.quality !== 'good') return;
  tag.recent.push({ timeMs: sample.timeMs, value: sample.number });
  while (tag.recent.length > RECENT_MAX || (tag.recent[0]?.timeMs ?? Infinity) < sample.timeMs - RECENT_MS)
    tag.recent.shift();
}

/** Reads {"v","q","t","e"}; a bare value (payload: raw) counts as good, now. */
function toSample(payload: Uint8Array): Sample {
  const text = decoder.decode(payload);
  const json = parse(payload);
  if (typeof json === 'object' && json !== null && 'q' in json) {
    const { v, q, t, e } = json as { v?: unknown; q?: unknown; t?: unknown; e?: unknown };
    return exactly(sampleOf(v, isQuality(q) ? q : 'bad', t, e), text, 'v');
  }
  const number = text === '' ? NaN : Number(text);
  return {
    value: text === '' ? null : text,
    number: Number.isFinite(number) ? number : null,
    quality: text === '' ? 'bad' : 'good',
    reason: '',
    timeMs: gatewayMs(),
  };
}

function sampleOf(v: unknown, quality: QualityWord, t: unknown, e: unknown): Sample {
  return {
    value: v === null || v === undefined ? null : String(v),
    number: typeof v === 'number' ? v : typeof v === 'boolean' ? Number(v) : null,
    quality,
    reason: typeof e === 'string' ? e : '',
    timeMs: typeof t === 'number' ? t : gatewayMs(),
  };
}

export function parse(payload: Uint8Array): unknown {
  try {
    return JSON.parse(decoder.decode(payload)) as unknown;
  } catch {
    return undefined;
  }
}

function isQuality(text: unknown): text is QualityWord {
  return text === 'good' || text === 'stale' || text === 'bad' || text === 'uncertain';
}

function isDeviceState(json: unknown): json is DeviceState {
  return typeof json === 'object' && json !== null && 'state' in json && 'since' in json;
}

export function nameOf(tag: LiveTag): string {
  return `${tag.device}/${tag.about.name}`;
}

/** Whether a tag's name has all the words of a search in it. */
export function isFound(tag: LiveTag, search: string): boolean {
  const name = nameOf(tag).toLowerCase();
  return search
    .toLowerCase()
    .split(/\s+/)
    .every((word) => name.includes(word));
}

/** What a sample is worth now: one that should have been renewed long ago is stale whatever it said. */
export function qualityNow(sample: Sample, isLive: boolean): QualityWord {
  if (sample.quality === 'good' && !isLive) return 'stale';
  return sample.quality;
}
