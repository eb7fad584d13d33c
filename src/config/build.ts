/**
 * Checked files -> the frozen Plant, and every check that needs to see more than one key: names that refer, topics,
 * units, overlaps, groups.
 */
import { hostname } from 'node:os';
import { type Address, TABLE_OF, addressText, numberingOf } from './address.js';
import { brokerSettings, webSettings } from './broker.js';
import { uplinkSettings } from './uplink.js';
import { resolveBus } from './bus.js';
import { redundancySettings } from './redundancy.js';
import type { Shaped } from './complaints.js';
import { type LoadedMap, Maps, type RawDevice, TagExpander, levelOf, unitsOf } from './expand.js';
import { type Layer, say } from './layers.js';
import type { Environment, Source } from './load.js';
import { parseFormula } from './formula.js';
import { freeze } from './loaded.js';
import type { Batch, Bus, Device, DeviceLimits, Plant, Range, Tag } from './plant.js';
import { type Path, type Problem, keyOf, nameOf, pathText, suggestion } from './problems.js';
import { type DeviceInput, type GatewayInput, type LevelInput, SLUG } from './schema.js';
import { checkSharePorts } from './share.js';
import { type TagDraft, resolveTag } from './tag.js';
import { TopicPatterns, TopicUses } from './topics.js';
import { isBitTable, QUANTITY_MAX } from '../modbus/protocol.js';

const RATES: readonly (readonly [string, number])[] = [['fast', 1_000], ['normal', 10_000], ['slow', 300_000]]; // prettier-ignore

/** Where a setting of a tag comes from. */
export interface Origin {
  readonly key: string;
  readonly layer: Layer;
}

export interface Built {
  readonly plant: Plant;
  readonly sources: readonly Source[];
  /** By tag index; empty unless asked for. */
  readonly origins: readonly (readonly Origin[])[];
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

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
  readonly #buses = new Map<string, Bus>();
  readonly #devices: Device[] = [];
  readonly #tags: Tag[] = [];
  readonly #batches: Mutable<Batch>[] = [];
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
    this.#buildBuses(devices);
    for (const device of devices) this.#buildDevice(device);
    this.#numberBatches();
    this.#checkUnits(devices);
    this.#uses.add(this.#patterns.topic('status'), 'the gateway', this.#source, ['topics', 'status']);
    this.#uses.finish();
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
      batches: this.#batches,
      uplinks: uplinkSettings(this.#input.uplinks, this.#source, {
        id: this.#gatewayId,
        baseTopic: this.#base,
      }),
      homeAssistant:
        this.#input.home_assistant === undefined
          ? null
          : { prefix: this.#input.home_assistant.prefix ?? 'homeassistant' },
      redundancy: redundancySettings(this.#input.redundancy, this.#source),
      workers: this.#input.gateway?.workers ?? 0,
    };
    checkSharePorts(plant, this.#source);
    this.#forgetConsequences();
    return { plant: freeze(plant), sources: [this.#source, ...this.#maps.sources], origins: this.#origins };
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
    const above = (layer: Layer['name'], values: LevelInput | undefined, at: Path, from = source): Layer[] =>
      values === undefined
        ? []
        : [{ name: layer, source: from, path: at, values, numbering: 'pdu', variables: {} }];
    const { numbering: _, ...defaults } = this.#input.defaults ?? {};
    const expander = new TagExpander(this.#maps, this.#isExplained, [
      ...above('defaults', defaults, ['defaults']),
      ...above('bus', bus === undefined ? undefined : levelOf(bus), ['buses', keyOf(input.bus)]),
      ...(map === null || map.value === null ? [] : above('map', levelOf(map.value), [], map.source)),
      ...above('device', levelOf(input), path),
    ]);
    if (map !== null) expander.addMap(map);
    const numbering = numberingOf(
      input.numbering ?? bus?.numbering ?? this.#input.defaults?.numbering,
      'pdu',
    );
    expander.addDevice(input, source, path, numbering);
    return { name, unitId, input, map, source, path, tags: expander.tags, groups: expander.groups };
  }

  #buildBuses(devices: readonly RawDevice[]): void {
    for (const [key, input] of Object.entries(this.#input.buses ?? {})) {
      const maps = devices
        .filter((device) => keyOf(device.input.bus) === key)
        .flatMap(({ map }) => (map === null ? [] : [map]));
      const bus = resolveBus(this.#buses.size, nameOf(key), input, [...new Set(maps)], this.#source, [
        'buses',
        key,
      ]);
      this.#buses.set(key, bus);
    }
    const ends = new Map<string, string>();
    for (const [key, { link, name }] of this.#buses) {
      const end =
        'path' in link ? link.path : `${link.kind === 'udp' ? 'udp ' : ''}${link.host}:${link.port}`;
      const other = ends.get(end);
      if (other !== undefined && end !== '' && end !== ':502') {
        const isSerial = 'path' in link;
        this.#source.add(
          isSerial ? 'error' : 'warning',
          isSerial ? 'HF1603' : 'HF2603',
          ['buses', key, isSerial ? 'path' : 'host'],
          `is the same ${isSerial ? 'port' : 'connection'} as bus ${other} (${end}); put the devices on one bus, so that they share it`,
        );
      }
      ends.set(end, name);
    }
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
    const device = this.#device(raw, bus ?? NO_BUS);
    this.#devices.push(device);
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
    this.#calculate(
      [...settings.values()].map(({ draft }) => draft),
      indexOf,
    );
    this.#checkReach(raw, device, tags, settings);
    this.#checkOverlaps(raw, tags, settings);
    this.#buildBatches(raw, device, tags);
  }

  #device(raw: RawDevice, bus: Bus): Device {
    const { input, map, path, source } = raw;
    const isNetwork =
      'host' in bus.link && (bus.link.kind === 'tcp' || bus.link.kind === 'tls' || bus.link.kind === 'udp');
    const [least, most] = isNetwork ? [0, 255] : [1, 247];
    if (bus !== NO_BUS && (raw.unitId < least || raw.unitId > most)) {
      source.add(
        'error',
        'HF1605',
        [...path, 'unit_id'],
        `${raw.unitId} is outside ${least}..${most}${isNetwork ? '' : ' (0..255 on TCP)'}`,
      );
    }
    return {
      index: this.#devices.length,
      name: raw.name,
      bus,
      unitId: raw.unitId,
      limits: limitsOf(map?.value?.limits, input.limits),
      forbidden: [
        ...rangesOf(map?.value?.forbidden, map?.source ?? source, ['forbidden']),
        ...rangesOf(input.forbidden, source, [...path, 'forbidden']),
      ],
      readable:
        input.readable === undefined
          ? rangesOf(map?.value?.readable, map?.source ?? source, ['readable'])
          : rangesOf(input.readable, source, [...path, 'readable']),
      offline: {
        afterFailures: input.offline?.after ?? 3,
        retryMinMs: input.offline?.retry?.minMs ?? 500,
        retryMaxMs: input.offline?.retry?.maxMs ?? 60_000,
      },
      map: map?.name ?? null,
      topic: this.#patterns.topic('device', raw.name),
    };
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

  /** Formulas, now that all tags of the device have their places; they are as fresh as the fastest of what they read. */
  #calculate(drafts: readonly TagDraft[], indexOf: ReadonlyMap<string, number>): void {
    const byIndex = new Map(drafts.map((draft) => [draft.tag.index, draft]));
    const done = new Set<TagDraft>();
    const finish = (draft: TagDraft, above: readonly TagDraft[]): void => {
      const { tag, formula } = draft;
      if (formula === null || done.has(draft)) return;
      done.add(draft);
      const prefix = tag.name.slice(0, tag.name.lastIndexOf('/') + 1);
      const find = (name: string): number | undefined => indexOf.get(prefix + name) ?? indexOf.get(name);
      const parsed = parseFormula(formula.value, find, () => indexOf.keys());
      if (typeof parsed === 'string') return say(formula, 'error', 'HF1319', parsed);
      tag.formula = parsed;
      const inputs = parsed.inputs.flatMap((index) => byIndex.get(index) ?? []);
      const chain = [...above, draft];
      const circle = inputs.find((input) => chain.includes(input));
      if (circle !== undefined)
        return say(formula, 'error', 'HF1319', `is calculated from itself by way of ${circle.tag.name}`);
      for (const input of inputs) finish(input, chain);
      const intervals = inputs.map((input) => input.tag.intervalMs).filter((ms) => ms > 0);
      tag.intervalMs = intervals.length === 0 ? 0 : Math.min(...intervals);
    };
    for (const draft of drafts) finish(draft, []);
  }

  /** Nothing that a tag needs may be forbidden, outside what is readable, or longer than one request. */
  #checkReach(
    raw: RawDevice,
    device: Device,
    tags: readonly Tag[],
    settings: ReadonlyMap<string, { layer: Layer }>,
  ): void {
    for (const tag of tags) {
      if (tag.formula !== null) continue;
      const { source, path } = settings.get(tag.name)?.layer ?? raw;
      const forbidden = device.forbidden.find((range) => overlaps(range, tag));
      if (forbidden !== undefined)
        source.add(
          'error',
          'HF1315',
          path,
          `${addressText(tag.table, tag.address)} is forbidden in ${device.name}; remove the tag or narrow the range`,
          'key',
        );
      const isOutside = device.readable.length > 0 && !device.readable.some((range) => covers(range, tag));
      if (isOutside)
        source.add(
          'error',
          'HF1315',
          path,
          `${addressText(tag.table, tag.address)} is outside what is readable in ${device.name}; widen \`readable\` or remove the tag`,
          'key',
        );
      const most = isBitTable(tag.table) ? device.limits.bits : device.limits.registers;
      if (tag.quantity > most)
        source.add(
          'error',
          'HF1316',
          path,
          `takes ${tag.quantity} registers, ${device.name} answers ${most} at most; raise limits.registers or shorten it`,
          'key',
        );
    }
  }

  /** Two tags of different type on one register are seldom meant. */
  #checkOverlaps(
    raw: RawDevice,
    tags: readonly Tag[],
    settings: ReadonlyMap<string, { layer: Layer }>,
  ): void {
    const sorted = tags
      .filter(({ bits, select, formula }) => bits === null && select === null && formula === null)
      .sort((a, b) => (a.table < b.table ? -1 : a.table > b.table ? 1 : a.address - b.address));
    let reach: Tag | undefined;
    for (const tag of sorted) {
      if (
        reach !== undefined &&
        overlaps(reach, tag) &&
        (reach.type !== tag.type || reach.address !== tag.address)
      ) {
        const { source, path } = settings.get(tag.name)?.layer ?? raw;
        source.add(
          'warning',
          'HF2107',
          path,
          `${tag.type} at ${addressText(tag.table, tag.address)} overlaps ${reach.name} (${reach.type} at ${reach.address}); check address and type`,
          'key',
        );
      }
      if (
        reach === undefined ||
        reach.table !== tag.table ||
        tag.address + tag.quantity > reach.address + reach.quantity
      )
        reach = tag;
    }
  }

  #buildBatches(raw: RawDevice, device: Device, tags: readonly Tag[]): void {
    const topic = this.#patterns.topic('batch', raw.name);
    const loose = tags.filter(({ payload, group }) => payload === 'batch' && group === null);
    const groups = raw.groups.filter(({ isConsistent }) => isConsistent);
    if (loose.length > 0) {
      const hasGroups = groups.length > 0;
      if (hasGroups)
        raw.source.add(
          'warning',
          'HF2403',
          raw.path,
          `topic ${topic} is both a value and the folder of its groups; put the other tags with payload: batch in a group too`,
          'key',
        );
      else this.#uses.add(topic, `the batch of ${raw.name}`, raw.source, raw.path);
      this.#addBatch(device, null, loose, topic);
    }
    for (const group of groups) {
      const members = tags.filter((tag) => tag.group === group.name);
      if (members.length === 0) continue;
      const read = members.filter(({ formula }) => formula === null);
      if (read.length > 0) this.#checkConsistent(device, group.name, read, group.source, group.path);
      const groupTopic = `${topic}/${group.name}`;
      this.#uses.add(groupTopic, `group ${raw.name}/${group.name}`, group.source, group.path);
      this.#addBatch(device, group.name, members, groupTopic, this.#recipeOf(device, group.name, tags));
    }
  }

  #checkConsistent(device: Device, name: string, tags: readonly Tag[], source: Source, path: Path): void {
    const tables = new Set(tags.map(({ table }) => table));
    if (tables.size > 1) {
      source.add(
        'error',
        'HF1317',
        path,
        `group ${name} is read in one request, which reads one table, not ${[...tables].join(' and ')}; split it`,
        'key',
      );
      return;
    }
    const pages = new Set(tags.map(({ select }) => JSON.stringify(select)));
    if (pages.size > 1)
      source.add(
        'error',
        'HF1317',
        path,
        `group ${name} is read in one request, and a request reads one page (select); split it`,
        'key',
      );
    const first = Math.min(...tags.map(({ address }) => address));
    const end = Math.max(...tags.map(({ address, quantity }) => address + quantity));
    const most = tags.every(({ table }) => isBitTable(table)) ? device.limits.bits : device.limits.registers;
    if (end - first > most)
      source.add(
        'error',
        'HF1317',
        path,
        `group ${name} reaches over ${end - first} addresses, one request reads ${most}; split it`,
        'key',
      );
    const intervals = new Set(tags.map(({ intervalMs }) => intervalMs));
    if (intervals.size > 1)
      source.add(
        'warning',
        'HF2317',
        path,
        `tags of group ${name} have different rates; the fastest counts for all, give the group one rate`,
        'key',
      );
  }

  /** A group is written at once when two of its tags are writable registers, and no tag has its name. */
  #recipeOf(device: Device, group: string, tags: readonly Tag[]): Batch['recipe'] {
    const isWritten = (tag: Tag): boolean => tag.group === group && tag.write?.table === 'holding-register';
    if (tags.filter(isWritten).length < 2 || tags.some(({ name }) => name === group)) return null;
    return {
      setTopic: this.#patterns.topic('set', device.name, group),
      ackTopic: this.#patterns.topic('ack', device.name, group),
    };
  }

  #addBatch(
    device: Device,
    group: string | null,
    tags: readonly Tag[],
    topic: string,
    recipe: Batch['recipe'] = null,
  ): void {
    const qos = tags.reduce<0 | 1 | 2>((most, tag) => (tag.qos > most ? tag.qos : most), 0);
    this.#batches.push({ index: 0, device, group, tags, qos, retain: false, topic, recipe });
  }

  #numberBatches(): void {
    this.#batches.forEach((batch, index) => {
      batch.index = this.#tags.length + index;
    });
  }

  #checkUnits(devices: readonly RawDevice[]): void {
    const seen = new Map<string, RawDevice>();
    for (const device of devices) {
      const key = `${device.input.bus}\n${device.unitId}`;
      const other = seen.get(key);
      if (other !== undefined) {
        device.source.add(
          'warning',
          'HF2101',
          [...device.path, 'unit_id'],
          `${device.name} and ${other.name} are both unit ${device.unitId} of bus ${device.input.bus}; one device is usually meant`,
        );
      } else seen.set(key, device);
    }
  }

  /** What follows from something that was taken out because it was wrong is not worth a line. */
  #forgetConsequences(): void {
    const { removed } = this.#shaped;
    const mapless = this.#mapless.map((path) => `${pathText(path)}.`);
    const busless = Object.entries(this.#input.devices ?? {})
      .filter(([, { bus }]) => removed.has('buses') || removed.has(pathText(['buses', keyOf(bus)])))
      .map(([key]) => pathText(['devices', key, 'bus']));
    const isConsequence = ({ code, path }: Problem): boolean => {
      if (code === 'HF2501') return [...removed].some((one) => one.startsWith('broker'));
      if (code === 'HF1201') return busless.includes(path);
      const isOfMap = code === 'HF1301' || code === 'HF1206' || code === 'HF2206';
      return isOfMap && mapless.some((device) => path.startsWith(device));
    };
    forget(this.#source, removed, isConsequence);
    for (const map of this.#maps.loaded.values()) forget(map.source, map.removed, () => false);
  }
}

function forget(
  source: Source,
  removed: ReadonlySet<string>,
  isConsequence: (problem: Problem) => boolean,
): void {
  const { problems } = source;
  const parents = [...removed];
  const kept = problems.filter((problem) => {
    const { code, path } = problem;
    if (isConsequence(problem)) return false;
    if (isShapeCode(code)) return true;
    if (removed.has(path)) return false;
    return !/^HF1[356]/.test(code) || !parents.some((one) => one.startsWith(`${path}.`));
  });
  if (kept.length < problems.length) problems.splice(0, problems.length, ...kept);
}

/** Codes of load.ts and complaints.ts. */
function isShapeCode(code: string): boolean {
  return code.startsWith('HF10') || code.startsWith('HF11');
}

const NO_BUS: Bus = {
  index: -1,
  name: '',
  link: { kind: 'tcp', host: '', port: 502, tls: null },
  timeoutMs: 0,
  inFlight: 1,
  paceMs: 0,
  afterConnectMs: 0,
  closeIdleMs: 0,
  silenceMs: null,
  turnaroundMs: 0,
  afterSwitchMs: 0,
  share: null,
};

type LimitsInput = DeviceInput['limits'];

function limitsOf(map: LimitsInput, own: LimitsInput): DeviceLimits {
  return {
    registers: own?.registers ?? map?.registers ?? QUANTITY_MAX.readRegisters,
    bits: own?.bits ?? map?.bits ?? QUANTITY_MAX.readBits,
    registersMin: own?.registers_min ?? map?.registers_min ?? 1,
    align: own?.align ?? map?.align ?? 1,
    bitsFromZero: own?.bits_from_zero ?? map?.bits_from_zero ?? false,
    writeFunctions: own?.write ?? map?.write ?? [],
  };
}

/** "holding:100-119"; always zero-based. */
function rangesOf(texts: readonly string[] | undefined, source: Source, at: Path): Range[] {
  return (texts ?? []).flatMap((text, index) => {
    const match = /^(coil|discrete|input|holding):\s*(\d+)(?:-(\d+))?$/.exec(text);
    if (match === null) return [];
    const key = match[1] as keyof typeof TABLE_OF; // the expression allows these only
    const [first, last] = [Number(match[2]), Number(match[3] ?? match[2])];
    if (last > 65_535 || first > last) {
      source.add(
        'error',
        'HF1303',
        [...at, index],
        `${text} is not a range within 0..65535, from low to high`,
      );
      return [];
    }
    return [{ table: TABLE_OF[key], address: first, quantity: last - first + 1 }];
  });
}

function overlaps(a: Address & { quantity: number }, b: Address & { quantity: number }): boolean {
  return a.table === b.table && a.address < b.address + b.quantity && b.address < a.address + a.quantity;
}

function covers(a: Range, b: Address & { quantity: number }): boolean {
  return a.table === b.table && a.address <= b.address && b.address + b.quantity <= a.address + a.quantity;
}

/** A name of the host that may stand in a topic. */
function slugOf(name: string): string {
  const slug = (name.split('.')[0] ?? '').replace(/[^A-Za-z0-9_-]+/g, '-').slice(0, 64);
  return SLUG.test(slug) ? slug : 'gateway';
}
