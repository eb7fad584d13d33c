/**
 * Old Plant, new Plant -> what stays, what goes, what comes. A bus whose line, devices and tags are as they were is left
 * alone, with the very objects and indexes it had; everything else gets indexes that were never used, so that what is
 * still under way keeps its meaning.
 */
import { leanTags, plainTag, tagWith } from '../config/leantag.js';
import type { Batch, Bus, Device, Plant, Tag, TagPatterns } from '../config/plant.js';

export interface Change {
  /** The new plant, with the old one's objects wherever a bus stayed. */
  readonly plant: Plant;
  /** Buses of the old plant that are gone or changed. */
  readonly removed: readonly Bus[];
  /** Buses of the new plant that are new or changed. */
  readonly added: readonly Bus[];
}

interface BusPart {
  readonly bus: Bus;
  readonly devices: readonly Device[];
  readonly tags: readonly Tag[];
  readonly batches: readonly Batch[];
}

/** Gives out indexes; none twice as long as it lives. */
export class Indexes {
  #bus: number;
  #device: number;
  /** Tags and batches share one row of indexes: both have a topic. */
  #topic: number;

  constructor({ buses, devices, tags, batches }: Plant) {
    const after = (all: readonly { index: number }[]): number =>
      all.reduce((most, { index }) => Math.max(most, index + 1), 0);
    this.#bus = after(buses);
    this.#device = after(devices);
    this.#topic = Math.max(after(tags), after(batches));
  }

  renumber({ bus: oldBus, devices, tags, batches }: BusPart, patterns: TagPatterns): BusPart {
    const bus: Bus = Object.freeze({ ...oldBus, index: this.#bus++ });
    const deviceOf = new Map(
      devices.map((device) => [device, Object.freeze({ ...device, bus, index: this.#device++ })]),
    );
    const numbers = new Map(tags.map((tag) => [tag.index, this.#topic++]));
    const tagOf = new Map(
      tags.map((tag) => {
        const { scaleFrom, formula } = tag;
        const fresh = tagWith(tag, {
          index: numbers.get(tag.index) ?? 0,
          device: deviceOf.get(tag.device) ?? tag.device,
          formula:
            formula === null
              ? null
              : { ...formula, inputs: formula.inputs.map((index) => numbers.get(index) ?? 0) },
          scaleFrom: scaleFrom === null ? null : { ...scaleFrom, tag: numbers.get(scaleFrom.tag) ?? 0 },
        });
        return [tag, fresh];
      }),
    );
    const numbered = batches.map((batch) => ({
      ...batch,
      index: this.#topic++,
      device: deviceOf.get(batch.device) ?? batch.device,
      tags: batch.tags.map((tag) => tagOf.get(tag) ?? tag),
    }));
    const lean = leanTags({ tags: [...tagOf.values()], batches: numbered }, patterns);
    return { bus, devices: [...deviceOf.values()], ...lean };
  }
}

export function compare(old: Plant, fresh: Plant, indexes: Indexes): Change {
  const before = new Map(partsOf(old).map((part) => [part.bus.name, part]));
  const removed = new Set(old.buses);
  const added: Bus[] = [];
  const parts = partsOf(fresh).map((part) => {
    const known = before.get(part.bus.name);
    if (known !== undefined && textOf(known) === textOf(part)) {
      removed.delete(known.bus);
      return known;
    }
    const numbered = indexes.renumber(part, fresh.gateway.topics.tags);
    added.push(numbered.bus);
    return numbered;
  });
  const plant: Plant = {
    ...fresh,
    buses: parts.map(({ bus }) => bus),
    devices: parts.flatMap(({ devices }) => devices),
    tags: parts.flatMap(({ tags }) => tags),
    batches: parts.flatMap(({ batches }) => batches),
  };
  return { plant: Object.freeze(plant), removed: [...removed], added };
}

/** What is opened of a plant once, at the start. */
export type Server = Pick<Plant, 'broker' | 'web' | 'redundancy'>;

/** True when nothing has changed of what is opened once at the start: listeners, store, limits, web. */
export function isSameServer(old: Server, fresh: Server): boolean {
  const text = ({ broker: { listeners, store, limits }, web, redundancy }: Server): string =>
    JSON.stringify([listeners, store, limits, web, redundancy], present);
  return text(old) === text(fresh);
}

function partsOf({ buses, devices, tags, batches }: Plant): BusPart[] {
  const parts = new Map(
    buses.map((bus) => [
      bus,
      { bus, devices: [] as Device[], tags: [] as Tag[], batches: [] as Batch[] } satisfies BusPart,
    ]),
  );
  for (const device of devices) parts.get(device.bus)?.devices.push(device);
  for (const tag of tags) parts.get(tag.device.bus)?.tags.push(tag);
  for (const batch of batches) parts.get(batch.device.bus)?.batches.push(batch);
  return [...parts.values()];
}

/** Everything that a bus is, by names instead of indexes; equal texts, equal buses. */
function textOf({ bus, devices, tags, batches }: BusPart): string {
  const names = new Map(tags.map((tag) => [tag.index, tag.name]));
  const scaled = tags.map(({ scaleFrom }) =>
    scaleFrom === null ? null : [scaleFrom.kind, names.get(scaleFrom.tag)],
  );
  const joined = batches.map((batch) => ({ ...batch, tags: batch.tags.map(({ name }) => name) }));
  return JSON.stringify([bus, devices, tags.map(plainTag), joined, scaled], present);
}

function present(key: string, value: unknown): unknown {
  if (key === 'index' || key === 'scaleFrom' || key === 'inputs') return undefined;
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value === 'number' && !Number.isFinite(value)) return String(value);
  const isReference = (key === 'bus' || key === 'device') && typeof value === 'object' && value !== null;
  return isReference && 'name' in value ? value.name : value;
}
