/**
 * What the page asks the gateway for, as plain objects: the plant with its tags and limits, figures of buses and
 * devices, the last hour. Names only; indexes stay inside.
 */
import type { Bus, Link, Plant, Tag } from '../config/plant.js';
import { filtersOfValues } from '../config/topics.js';
import { isNumber } from '../config/types.js';
import type { UplinkAbout } from '../uplink/uplink.js';
import type { History } from './history.js';

/** Told to everybody who opens the page, before he is anybody: nothing secret. */
export function aboutView({ gateway, broker }: Plant): Record<string, unknown> {
  const { eventPrefix, requestPrefix, responsePrefix, tracePrefix } = gateway.topics;
  return {
    gateway: gateway.id,
    topics: { event: eventPrefix, req: requestPrefix, res: responsePrefix, trace: tracePrefix },
    anonymous: broker.anonymous,
  };
}

/** An uplink as the status has it, beside buses and devices. */
export function uplinkSummary({
  name,
  isConnected,
  queuedMessages,
  error,
}: UplinkAbout): Record<string, unknown> {
  const said = isConnected || error === '' ? {} : { error };
  return { name, state: isConnected ? 'up' : 'down', queued: queuedMessages, ...said };
}

export function plantView(plant: Plant, version: string): Record<string, unknown> {
  const topicOfBatch = batchTopics(plant);
  return {
    gateway: plant.gateway.id,
    version,
    filters: filtersOfValues(plant),
    buses: plant.buses.map(({ name, link }) => ({ name, link: linkText(link) })),
    devices: plant.devices.map((device) => ({
      name: device.name,
      topic: device.topic,
      bus: device.bus.name,
      unitId: device.unitId,
      tags: plant.tags
        .filter((tag) => tag.device === device)
        .map((tag) => tagView(tag, topicOfBatch.get(tag) ?? null)),
    })),
  };
}

/** Where the values of tags are told that have no topic of their own; those of a plant may be tens of thousands. */
function batchTopics({ batches }: Plant): Map<Tag, string> {
  const topics = new Map<Tag, string>();
  for (const { tags, topic } of batches)
    for (const tag of tags) if (tag.payload === 'batch') topics.set(tag, topics.get(tag) ?? topic);
  return topics;
}

function tagView(tag: Tag, batchTopic: string | null): Record<string, unknown> {
  const { write } = tag;
  return {
    name: tag.name,
    topic: tag.topic,
    batchTopic,
    setTopic: tag.setTopic,
    unit: tag.unit,
    type: tag.type,
    isText: isText(tag),
    flags: tag.flags?.map(({ text }) => text) ?? null,
    intervalMs: tag.intervalMs,
    enum: tag.enum === null ? null : tag.enum.map(({ text }) => text),
    write: write === null ? null : { min: finite(write.min), max: finite(write.max), step: write.step },
  };
}

/** Enums and flags are told by their names. */
function isText({ type, enum: names, flags }: Tag): boolean {
  return names !== null || flags !== null || !(isNumber(type) || type === 'bool');
}

function finite(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}

function linkText(link: Link): string {
  if (!('path' in link)) return `${link.kind} ${link.host}:${link.port}`;
  return `${link.kind} ${link.path} ${link.baud} ${link.dataBits}${link.parity.charAt(0).toUpperCase()}${link.stopBits}`;
}

/** The poller room's statistics, as far as the page shows them. */
interface BusFigures {
  readonly utilisation: number;
  readonly transactions: number;
  readonly missed: number;
  readonly errors: Readonly<Record<string, number>>;
  readonly devices: readonly {
    readonly deviceIndex: number;
    readonly errors: Readonly<Record<string, number>>;
    readonly exceptions: Readonly<Record<number, number>>;
    readonly response: {
      readonly count: number;
      readonly p50Ms: number;
      readonly p95Ms: number;
      readonly p99Ms: number;
    };
    readonly requests: readonly unknown[];
  }[];
}

export function statisticsView(
  plant: Plant,
  statisticsOf: (bus: Bus) => { readonly error: string | null; readonly statistics: unknown },
): Record<string, unknown> {
  const nameOfDevice = new Map(plant.devices.map(({ index, name }) => [index, name]));
  const found = plant.buses.map((bus) => {
    const { error, statistics } = statisticsOf(bus);
    // The pool hands on what statistics.ts made; it is unknown there only because the pool does not look inside.
    return { bus, error, figures: (statistics ?? null) as BusFigures | null };
  });
  return {
    buses: found.map(({ bus, error, figures }) => ({
      name: bus.name,
      isUp: error === null,
      error: error ?? '',
      utilisation: figures?.utilisation,
      transactions: figures?.transactions,
      late: figures?.missed,
      errors: figures?.errors,
    })),
    devices: found.flatMap(({ figures }) =>
      (figures?.devices ?? []).map(({ deviceIndex, errors, exceptions, response, requests }) => ({
        name: nameOfDevice.get(deviceIndex),
        ...(response.count === 0
          ? {}
          : { p50Ms: response.p50Ms, p95Ms: response.p95Ms, p99Ms: response.p99Ms }),
        errors: { ...errors, ...exceptionsByName(exceptions) },
        requests,
      })),
    ),
  };
}

function exceptionsByName(exceptions: Readonly<Record<number, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(exceptions).map(([code, count]) => [`exception ${code}`, count]));
}

/** Lowest and highest of each bucket for the topics asked for. */
export function historyView(plant: Plant, history: History | null, topics: unknown): Record<string, unknown> {
  const wanted = new Set(Array.isArray(topics) ? topics.slice(0, 6) : []);
  const chosen = plant.tags.filter(({ topic }) => wanted.has(topic));
  const series = new Map(chosen.map(({ topic, index }) => [topic, history?.series(index)]));
  return { times: history?.times() ?? [], series: Object.fromEntries(series) };
}
