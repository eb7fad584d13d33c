/**
 * Checked files -> the frozen Plant, and every check that needs to see more than one key: names that refer, topics,
 * units, overlaps, groups.
 */
import { hostname } from 'node:os';
import { numberingOf } from './address.js';
import { batchesOf } from './batch.js';
import { brokerSettings, webSettings } from './broker.js';
import { resolveBuses } from './bus.js';
import { calculate } from './calculated.js';
import type { Shaped } from './complaints.js';
import { forgetConsequences } from './consequences.js';
import { checkUnits, deviceSettings } from './device.js';
import { type LoadedMap, Maps, type RawDevice, TagExpander, levelOf, unitsOf } from './expand.js';
import { type Layer, say } from './layers.js';
import { isNumber } from './types.js';
import type { Environment, Source } from './load.js';
import { freeze } from './loaded.js';
import type { Batch, Bus, Device, Plant, Tag } from './plant.js';
import { type Path, keyOf, nameOf, suggestion } from './problems.js';
import { redundancySettings } from './redundancy.js';
import { checkOverlaps, checkReach, checkReferences } from './registers.js';
import type { DeviceInput } from './schema/device.js';
import type { GatewayInput } from './schema/gateway.js';
import type { LevelInput } from './schema/level.js';
import { SLUG } from './schema/words.js';
import { type TagDraft, resolveTag } from './tag.js';
import { checkPorts } from './ports.js';
import { TopicPatterns, TopicUses } from './topics.js';
import { uplinkSettings } from './uplink.js';

const RATES: readonly (readonly [string, number])[] = [['fast', 1_000], ['normal', 10_000], ['slow', 300_000]]; // prettier-ignore

/** Where a setting of a tag comes from. */
export interface Origin {
  readonly key: string;
  readonly layer: Layer;
}

export interface Built {
  readonly plant: Plant;
  readonly sources: readonly Source[];
  readonly maps: readonly LoadedMap[];
  /** By tag index; empty unless asked for. */
  readonly origins: readonly (readonly Origin[])[];
}

export class PlantBuilder {
  readonly #shaped: Shaped<GatewayInput>;
  readonly #source: Source;
  readonly #input: GatewayInput;
  readonly #maps: Maps;
  readonly #rates: Map<string, number>;
  readonly #patterns: TopicPatterns;
  readonly #uses = new TopicUses();
  readonly #gatewayId: string;
  readonly #base: string;
  readonly #isExplained: boolean;
  #buses = new Map<string, Bus>();
  readonly #devices: Device[] = [];
  readonly #tags: Tag[] = [];
  readonly #batches: Batch[] = [];
  readonly #origins: Origin[][] = [];
  /** Devices whose map is not there or not right, so that tags may be missing for that reason alone. */
  readonly #mapless: Path[] = [];
  #tagLevels = 1;

  constructor(
    shaped: Shaped<GatewayInput>,
    input: GatewayInput,
    environment: Environment,
    isExplained: boolean,
  ) {
    this.#shaped = shaped;
    this.#source = shaped.source;
    this.#input = input;
    this.#maps = new Maps(shaped.source.folder, environment);
    this.#isExplained = isExplained;
    this.#gatewayId = input.gateway?.id ?? slugOf(hostname());
    this.#base = input.gateway?.base_topic ?? 'holdfast';
    this.#rates = new Map(RATES);
    for (const [name, value] of Object.entries(input.rates ?? {}))
      this.#rates.set(nameOf(name), value === 'once' ? 0 : value);
    this.#rates.set('once', 0);
    this.#patterns = new TopicPatterns(input.topics, this.#base, this.#gatewayId, shaped.source);
  }

  build(): Built {
    const devices = this.#expandDevices();
    this.#buses = resolveBuses(this.#input.buses, devices, this.#source);
    for (const device of devices) this.#buildDevice(device);
    checkUnits(devices);
    this.#uses.add(this.#patterns.topic('status'), 'the gateway', this.#source, ['topics', 'status']);
    this.#uses.finish();
    this.#patterns.check(Math.max(1, this.#tagLevels), this.#uses, this.#source);
    const plant: Plant = {
      file: this.#source.file,
      gateway: {
        id: this.#gatewayId,
        baseTopic: this.#base,
        topics: this.#patterns.gatewayTopics(this.#tagLevels),
      },
      broker: brokerSettings(this.#input.broker, this.#source, this.#input.web !== undefined),
      web: webSettings(this.#input.web, this.#source),
      buses: [...this.#buses.values()],
      devices: this.#devices,
      tags: this.#tags,
      batches: this.#batches.map((batch, index) => ({ ...batch, index: this.#tags.length + index })),
      uplinks: uplinkSettings(this.#input.uplinks, this.#source, {
        id: this.#gatewayId,
        baseTopic: this.#base,
        statusTopic: this.#patterns.topic('status'),
        isAlone: this.#input.redundancy === undefined,
      }),
      homeAssistant:
        this.#input.home_assistant === undefined
          ? null
          : { prefix: this.#input.home_assistant.prefix ?? 'homeassistant' },
      redundancy: redundancySettings(this.#input.redundancy, this.#source),
      workers: this.#input.gateway?.workers ?? 0,
    };
    checkPorts(plant, this.#source);
    forgetConsequences(this.#shaped, this.#input, this.#mapless, this.#maps);
    return {
      plant: freeze(plant),
      sources: [this.#source, ...this.#maps.sources],
      maps: [...this.#maps.loaded.values()],
      origins: this.#origins,
    };
  }

  #expandDevices(): RawDevice[] {
    const seen = new Map<string, Path>();
    return Object.entries(this.#input.devices ?? {}).flatMap(([key, input]) => {
      const path: Path = ['devices', key];
      const map = input.map === undefined ? null : this.#maps.find(input.map, this.#source, [...path, 'map']);
      if (input.map !== undefined && (map === null || map.removed.size > 0 || map.value === null))
        this.#mapless.push(path);
      return unitsOf(key, input, this.#source, path).flatMap(({ name, unitId }) => {
        if (seen.has(name)) {
          this.#source.add(
            'error',
            'HF1202',
            path,
            `makes a device ${name}, which is there already; give one of them another name`,
            'key',
          );
          return [];
        }
        seen.set(name, path);
        return [this.#expandDevice(name, unitId, input, map, path)];
      });
    });
  }

  #expandDevice(
    name: string,
    unitId: number,
    input: DeviceInput,
    map: LoadedMap | null,
    path: Path,
  ): RawDevice {
    const source = this.#source;
    const bus = this.#input.buses?.[keyOf(input.bus)];
    const above = (layer: Layer['name'], values: LevelInput | undefined, at: Path): Layer[] =>
      values === undefined
        ? []
        : [{ name: layer, source, path: at, values, numbering: 'pdu', variables: {} }];
    const { numbering: _, ...defaults } = this.#input.defaults ?? {};
    const site = [
      ...above('defaults', defaults, ['defaults']),
      ...above('bus', bus === undefined ? undefined : levelOf(bus), ['buses', keyOf(input.bus)]),
    ];
    const device = above('device', levelOf(input), path);
    const expander = new TagExpander(this.#maps, this.#isExplained, site, device);
    if (map !== null) expander.addMap(map);
    const said = input.numbering ?? bus?.numbering ?? this.#input.defaults?.numbering;
    const numbering = said === undefined ? null : numberingOf(said, 'pdu');
    expander.addDevice(input, source, path, numbering ?? 'pdu');
    return {
      name,
      unitId,
      input,
      map,
      maps: expander.added,
      source,
      path,
      numbering,
      tags: expander.tags,
      groups: expander.groups,
    };
  }

  #buildDevice(raw: RawDevice): void {
    const bus = this.#buses.get(keyOf(raw.input.bus));
    if (bus === undefined) {
      this.#source.add(
        'error',
        'HF1201',
        [...raw.path, 'bus'],
        `there is no bus ${raw.input.bus}${suggestion(raw.input.bus, [...this.#buses.keys()].map(nameOf))}`,
      );
    }
    const device = deviceSettings(
      raw,
      bus ?? null,
      this.#devices.length,
      this.#patterns.topic('device', raw.name),
    );
    this.#devices.push(device);
    // One that is only there for other masters has none.
    if (raw.tags.length === 0 && (bus?.share ?? null) === null)
      raw.source.add(
        'warning',
        'HF2207',
        raw.path,
        'has no tags, so nothing of it is read; write tags: with what its registers hold, or map:',
        'key',
      );
    this.#uses.add(device.topic, `device ${raw.name}`, raw.source, raw.path);
    const settings = new Map<string, { draft: TagDraft; layer: Layer }>();
    const groupOf = new Map(
      raw.groups
        .filter(({ isConsistent }) => isConsistent)
        .flatMap(({ name, tags }) => tags.map((tag) => [tag, name] as const)),
    );
    const first = this.#tags.length;
    const indexOf = new Map<string, number>();
    for (const { name, layers } of raw.tags) {
      const draft = resolveTag(name, device, layers, this.#rates);
      if (draft === null) continue;
      indexOf.set(name, first + settings.size);
      settings.set(name, { draft, layer: layers.nearest });
      if (layers.picked !== null)
        this.#origins.push([...layers.picked.values()].map(({ key, layer }) => ({ key, layer })));
    }
    for (const [name, { draft, layer }] of settings) {
      this.#place(draft, layer, groupOf.get(name) ?? null, indexOf);
    }
    const tags = this.#tags.slice(first);
    calculate(
      [...settings.values()].map(({ draft }) => draft),
      indexOf,
    );
    for (const { draft } of settings.values()) checkScale(draft, this.#tags);
    checkReach(raw, device, tags, settings);
    checkOverlaps(raw, tags, settings);
    checkReferences(raw);
    this.#batches.push(...batchesOf(raw, device, tags, this.#patterns, this.#uses));
  }

  #place(draft: TagDraft, layer: Layer, group: string | null, indexOf: ReadonlyMap<string, number>): void {
    const { tag, ownTopic } = draft;
    const { name, device } = tag;
    tag.index = this.#tags.length;
    tag.group = group;
    tag.topic = ownTopic ?? this.#patterns.topic('data', device.name, name);
    tag.setTopic = this.#patterns.topic('set', device.name, name);
    tag.getTopic = this.#patterns.topic('get', device.name, name);
    tag.ackTopic = this.#patterns.topic('ack', device.name, name);
    tag.scaleFrom = this.#scaleFrom(draft, indexOf);
    if (ownTopic !== null && /[+#\0]|^\$|^$/.test(ownTopic)) {
      const text = `${JSON.stringify(ownTopic)} is not a topic; it is not empty, begins with no $ and holds no + or #`;
      layer.source.add('error', 'HF1401', [...layer.path, 'topic'], text);
    }
    this.#tagLevels = Math.max(this.#tagLevels, name.split('/').length);
    this.#uses.add(tag.topic, `tag ${device.name}/${name}`, layer.source, layer.path);
    this.#tags.push(tag);
  }

  #scaleFrom({ tag, scaleFrom }: TagDraft, indexOf: ReadonlyMap<string, number>): Tag['scaleFrom'] {
    if (scaleFrom === null) return null;
    const sibling = `${tag.name.slice(0, tag.name.lastIndexOf('/') + 1)}${scaleFrom.tag}`;
    const index = indexOf.get(sibling) ?? indexOf.get(scaleFrom.tag);
    if (index !== undefined) return { kind: scaleFrom.kind, tag: index };
    const text = `there is no tag ${scaleFrom.tag} in ${tag.device.name}${suggestion(scaleFrom.tag, indexOf.keys())}`;
    say({ layer: scaleFrom.layer, key: 'scale' }, 'error', 'HF1206', text);
    return null;
  }
}

/** A scale that no value could ever come of: of a text, of itself, or of what is calculated after the value. */
function checkScale({ tag, scaleFrom }: TagDraft, tags: readonly Tag[]): void {
  if (scaleFrom === null) return;
  const complain = (code: string, text: string): void =>
    say({ layer: scaleFrom.layer, key: 'scale' }, 'error', code, text);
  const before = ({ scaleFrom: one }: Tag): Tag | undefined => (one === null ? undefined : tags[one.tag]);
  const source = before(tag);
  if (source !== undefined && (!isNumber(source.type) || source.enum !== null || source.flags !== null))
    complain(
      'HF1309',
      `${scaleFrom.tag} is no number to multiply by; name another tag, or give it a type that is one`,
    );
  // It would be that of the last poll, and nothing can be read again before a command.
  if (source !== undefined && source.formula !== null)
    complain(
      'HF1319',
      `${scaleFrom.tag} is calculated, and a scale is a register that is read with the value; leave the scale out and calculate a tag: value: "${tag.name} * ${scaleFrom.tag}"`,
    );
  const passed = new Set<Tag>();
  for (let one = source; one !== undefined && !passed.has(one); one = before(one)) passed.add(one);
  if (passed.has(tag))
    complain('HF1319', `is scaled by itself by way of ${scaleFrom.tag}; name the tag that holds its scale`);
}

/** A name of the host that may stand in a topic. */
function slugOf(name: string): string {
  const slug = (name.split('.')[0] ?? '').replace(/[^A-Za-z0-9_-]+/g, '-').slice(0, 64);
  return SLUG.test(slug) ? slug : 'gateway';
}
