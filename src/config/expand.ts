/**
 * What is written short -> what is meant: lists of units, `repeat`, groups in groups, device maps and what a device
 * says otherwise. The result names every tag once, with the layers that say something about it.
 */
import { basename, dirname, join, resolve } from 'node:path';
import { existsSync, readdirSync } from 'node:fs';
import { packageFolder } from '../entry.js';
import { type Shaped, shape } from './complaints.js';
import { type Layer, Layers, type Numbering } from './layers.js';
import { type Environment, type Source, readNamed } from './load.js';
import { type Path, nameOf, nearest, suggestion } from './problems.js';
import { checkMap } from './schema/check.js';
import type { DeviceInput, GroupInput, MapInput, RepeatInput } from './schema/device.js';
import type { TagInput } from './schema/tag.js';

/** A tag before its settings are resolved. */
export interface RawTag {
  /** With the names of its groups: motor1/speed. */
  readonly name: string;
  readonly layers: Layers;
}

export interface RawGroup {
  readonly name: string;
  readonly isConsistent: boolean;
  /** Names of tags. */
  readonly tags: readonly string[];
  readonly source: Source;
  readonly path: Path;
}

export interface RawDevice {
  readonly name: string;
  readonly unitId: number;
  readonly input: DeviceInput;
  readonly map: LoadedMap | null;
  /** Its map and those that this includes, the outer one first. */
  readonly maps: readonly LoadedMap[];
  readonly source: Source;
  readonly path: Path;
  /** How the device's own addresses are written, as far as the file says it; its map's are as the map says. */
  readonly numbering: Numbering | null;
  readonly tags: readonly RawTag[];
  readonly groups: readonly RawGroup[];
}

export interface LoadedMap extends Shaped<MapInput> {
  readonly name: string;
}

/** Of one device: more than its registers could hold would be a mistake that takes all memory. */
const TAGS_MAX = 100_000;
const INCLUDE_DEPTH_MAX = 8;

/** A map is named by a word, or by the file that holds it. */
function isPath(name: string): boolean {
  return name.includes('/') || /\.ya?ml$/.test(name);
}

/** Device maps, each read once. */
export class Maps {
  readonly #folders: readonly string[];
  readonly #environment: Environment;
  /** By file. */
  readonly loaded = new Map<string, LoadedMap>();

  /** Beside the file, in devices/ beside it, then in what is shipped. */
  constructor(folder: string, environment: Environment) {
    this.#folders = [folder, join(folder, 'devices'), join(packageFolder(), 'devices')];
    this.#environment = environment;
  }

  get sources(): Source[] {
    return [...this.loaded.values()].map(({ source }) => source);
  }

  /** null when there is none of this name, which is said at the given place. */
  find(name: string, source: Source, path: Path): LoadedMap | null {
    const file = this.#fileOf(name, source);
    if (file === null) {
      const sought = isPath(name)
        ? `file ${name}`
        : `device map ${name} beside the file, in devices/ beside it, or in what is shipped`;
      source.add('error', 'HF1204', path, `there is no ${sought}; ${this.#hint(name)}`);
      return null;
    }
    return this.read(file, name);
  }

  read(file: string, name: string): LoadedMap {
    let map = this.loaded.get(file);
    if (map === undefined) {
      map = { name, ...shape(readNamed(file, this.#environment), 'map', checkMap) };
      this.loaded.set(file, map);
    }
    return map;
  }

  names(): string[] {
    return this.#folders.flatMap((folder) => {
      if (!existsSync(folder)) return [];
      return readdirSync(folder)
        .filter((file) => file.endsWith('.yaml'))
        .map((file) => file.slice(0, -5));
    });
  }

  /** Which map was meant, whether it was named by a path, by its ending too, or by a part of its name. */
  #hint(name: string): string {
    const word = basename(name).replace(/\.ya?ml$/, '');
    const names = this.names();
    const part = word.toLowerCase();
    const meant = nearest(word, names) ?? names.find((one) => one.includes(part));
    if (meant === undefined || part.length < 3) return "'holdfast import' makes one of a register list";
    return isPath(name) && meant === word ? `write map: ${meant}` : `did you mean ${meant}?`;
  }

  #fileOf(name: string, source: Source): string | null {
    if (isPath(name)) {
      const file = resolve(source.folder, name);
      return existsSync(file) ? file : null;
    }
    if (!/^[A-Za-z0-9_.-]+$/.test(name)) return null;
    const folders = [dirname(resolve(source.file)), ...this.#folders];
    return folders.map((folder) => join(folder, `${name}.yaml`)).find((file) => existsSync(file)) ?? null;
  }
}

/** Fills {name} in; null when a placeholder has no value. */
export function fill(text: string, variables: Readonly<Record<string, string | number>>): string | null {
  let isFilled = true;
  const filled = text.replace(/\{([A-Za-z_]\w*)\}/g, (_, name: string) => {
    const value = Object.hasOwn(variables, name) ? variables[name] : undefined;
    if (value === undefined) isFilled = false;
    return String(value);
  });
  return isFilled ? filled : null;
}

/** Device names and unit identifiers of one entry under `devices`. */
export function unitsOf(
  key: string,
  input: DeviceInput,
  source: Source,
  path: Path,
): { name: string; unitId: number }[] {
  const units = typeof input.unit_id === 'number' ? [input.unit_id] : input.unit_id;
  if (units.length > 1 && !key.includes('{unit_id}')) {
    source.add(
      'error',
      'HF1203',
      path,
      `makes ${units.length} devices of one name; write {unit_id} in it, such as "${key}-{unit_id}"`,
      'key',
    );
    return [];
  }
  return units.flatMap((unitId) => {
    const name = fill(nameOf(key), { unit_id: unitId });
    if (name !== null && /^[A-Za-z0-9_-]{1,64}$/.test(name)) return [{ name, unitId }];
    source.add(
      'error',
      'HF1107',
      path,
      `${nameOf(key)} is not a device name; use A-Z a-z 0-9 _ - and {unit_id}, at most 64`,
      'key',
    );
    return [];
  });
}

/** Gathers the tags of one device: first its map's, then its own, which override by name. */
export class TagExpander {
  readonly #maps: Maps;
  readonly #isRemembered: boolean;
  readonly #site: readonly Layer[];
  readonly #device: readonly Layer[];
  readonly #tags = new Map<string, { levels: readonly Layer[]; above: Layer[]; own: Layer[] }>();
  readonly #groups = new Map<string, RawGroup>();
  /** Of the device's map, which its own tags are under as well. */
  #levels: readonly Layer[] = [];
  #isOverfull = false;
  /** Those whose tags were added, the outer one first. */
  readonly added: LoadedMap[] = [];

  /** site and device: the layers above and below those of the device's maps. */
  constructor(maps: Maps, isRemembered: boolean, site: readonly Layer[], device: readonly Layer[]) {
    this.#maps = maps;
    this.#isRemembered = isRemembered;
    this.#site = site;
    this.#device = device;
  }

  get tags(): RawTag[] {
    if (this.#isOverfull) return [];
    return [...this.#tags].map(([name, { levels, above, own }]) => ({
      name,
      layers: new Layers([...this.#site, ...levels, ...this.#device, ...above, ...own], this.#isRemembered),
    }));
  }

  get groups(): RawGroup[] {
    return [...this.#groups.values()];
  }

  /** levels: what the maps that include it say for all tags; what it says itself is nearer to its own. */
  addMap(map: LoadedMap, chain: readonly string[] = [], levels: readonly Layer[] = []): void {
    const { source, value } = map;
    if (value === null) return;
    this.added.push(map);
    const own: Layer = {
      name: 'map',
      source,
      path: [],
      values: levelOf(value),
      numbering: 'pdu',
      variables: {},
    };
    const all = [...levels, own];
    if (levels.length === 0) this.#levels = all;
    value.include?.forEach((name, index) => {
      const path: Path = ['include', index];
      if (chain.includes(name) || name === map.name || chain.length >= INCLUDE_DEPTH_MAX) {
        source.add('error', 'HF1205', path, `${name} includes itself; remove one of the includes`);
        return;
      }
      const included = this.#maps.find(name, source, path);
      if (included !== null) this.addMap(included, [...chain, map.name], all);
    });
    this.#add(value, source, [], value.numbering ?? 'pdu', all);
  }

  addDevice(input: DeviceInput, source: Source, path: Path, numbering: Numbering): void {
    this.#add(input, source, path, numbering, this.#levels);
  }

  #add(
    input: Pick<DeviceInput, 'tags' | 'repeat' | 'groups'>,
    source: Source,
    path: Path,
    numbering: Numbering,
    levels: readonly Layer[],
  ): void {
    const base = { source, numbering, variables: {}, levels };
    this.#addTags(input.tags, [...path, 'tags'], '', [], base);
    this.#addRepeats(input.repeat, path, '', [], base);
    this.#addGroups(input.groups, [...path, 'groups'], '', [], base);
  }

  #addTags(
    tags: Record<string, TagInput | false> | undefined,
    path: Path,
    prefix: string,
    above: readonly Layer[],
    base: Base,
  ): void {
    for (const [key, values] of Object.entries(tags ?? {})) {
      if (this.#isOverfull) return;
      const at: Path = [...path, key];
      if (this.#tags.size >= TAGS_MAX) {
        this.#isOverfull = true;
        const text = `would be more than the ${TAGS_MAX} tags that a device may have; repeat fewer times`;
        base.source.add('error', 'HF1105', at, text, 'key');
      }
      const name = fill(nameOf(key), base.variables);
      if (name === null || !/^[A-Za-z0-9_-]+$/.test(name)) {
        base.source.add(
          'error',
          'HF1107',
          at,
          `${nameOf(key)} is not a tag name; use A-Z a-z 0-9 _ -, and variables of \`repeat\` in {}`,
          'key',
        );
        continue;
      }
      const fullName = prefix + name;
      if (values === false) this.#drop(fullName, at, base.source);
      else this.#put(fullName, layerOf(base, 'tag', at, values, values.numbering), above, base.levels);
    }
  }

  #put(name: string, layer: Layer, above: readonly Layer[], levels: readonly Layer[]): void {
    const known = this.#tags.get(name);
    // Each has a list of its own: a group that names one of them later says nothing of the others.
    if (known === undefined) this.#tags.set(name, { levels, above: [...above], own: [layer] });
    else {
      known.above.push(...above);
      known.own.push(layer);
    }
  }

  #drop(name: string, path: Path, source: Source): void {
    if (this.#tags.delete(name)) return;
    source.add(
      'warning',
      'HF2206',
      path,
      `there is no tag ${name} to leave out${suggestion(name, this.#tags.keys())}`,
      'key',
    );
  }

  #addRepeats(
    repeats: readonly RepeatInput[] | undefined,
    path: Path,
    prefix: string,
    above: readonly Layer[],
    base: Base,
  ): void {
    repeats?.forEach((repeat, index) => {
      this.#checkNames(repeat, [...path, 'repeat', index, 'tags'], base.source);
      for (const variables of combinations(repeat.for)) {
        this.#addTags(repeat.tags, [...path, 'repeat', index, 'tags'], prefix, above, { ...base, variables });
      }
    });
  }

  /** Tags whose names lack a variable would take each other's place. */
  #checkNames(repeat: RepeatInput, path: Path, source: Source): void {
    const all = combinations(repeat.for);
    for (const key of Object.keys(repeat.tags)) {
      const names = new Set(all.map((variables) => fill(nameOf(key), variables)));
      // A name that cannot be is told by itself.
      if (names.size === all.length || names.has(null)) continue;
      const [variable = ''] = Object.keys(repeat.for).filter((name) => !key.includes(`{${name}`));
      source.add(
        'error',
        'HF1203',
        [...path, key],
        `makes ${all.length} tags of ${names.size === 1 ? 'one name' : `${names.size} names`}; write {${variable}} in it, such as "${nameOf(key)}{${variable}}"`,
        'key',
      );
    }
  }

  #addGroups(
    groups: Record<string, GroupInput> | undefined,
    path: Path,
    prefix: string,
    above: readonly Layer[],
    base: Base,
  ): void {
    for (const [key, group] of Object.entries(groups ?? {})) {
      const at: Path = [...path, key];
      const name = prefix + nameOf(key);
      const layer = layerOf(base, 'group', at, levelOf(group), group.numbering);
      const inner = { ...base, numbering: layer.numbering };
      const before = new Set(this.#tags.keys());
      const layers = [...above, layer];
      const referred = Array.isArray(group.tags)
        ? this.#refer(group.tags, [...at, 'tags'], base.source, layers)
        : [];
      if (!Array.isArray(group.tags)) this.#addTags(group.tags, [...at, 'tags'], `${name}/`, layers, inner);
      this.#addRepeats(group.repeat, at, `${name}/`, layers, inner);
      const own = [...this.#tags.keys()].filter((tag) => !before.has(tag));
      const known = this.#groups.get(name);
      this.#groups.set(name, {
        name,
        isConsistent: group.consistent ?? known?.isConsistent ?? false,
        tags: [...new Set([...(known?.tags ?? []), ...referred, ...own])],
        source: base.source,
        path: at,
      });
      this.#addGroups(group.groups, [...at, 'groups'], `${name}/`, layers, inner);
    }
  }

  /** layers: of the group that names them and of those around it. */
  #refer(names: readonly string[], path: Path, source: Source, layers: readonly Layer[]): string[] {
    return names.filter((name, index) => {
      const tag = this.#tags.get(name);
      if (tag === undefined) {
        source.add(
          'error',
          'HF1206',
          [...path, index],
          `there is no tag ${name}${suggestion(name, this.#tags.keys())}`,
        );
        return false;
      }
      tag.above.push(...layers);
      return true;
    });
  }
}

interface Base {
  readonly source: Source;
  readonly numbering: Numbering;
  readonly variables: Readonly<Record<string, number>>;
  /** What the maps that the tags come from say for all of theirs. */
  readonly levels: readonly Layer[];
}

function layerOf(
  { source, variables, numbering }: Base,
  name: Layer['name'],
  path: Path,
  values: TagInput,
  own: Numbering | undefined,
): Layer {
  return { name, source, path, values, numbering: own ?? numbering, variables };
}

/** Of a device, map or group: the keys that tags inherit. */
export function levelOf(input: TagInput | DeviceInput | MapInput | GroupInput): TagInput {
  const { rate, report, deadband, heartbeat, payload, qos, retain, stored, order } = input;
  return { rate, report, deadband, heartbeat, payload, qos, retain, stored, order };
}

/** Every combination of the variables' numbers, the last variable fastest. */
function combinations(variables: RepeatInput['for']): Record<string, number>[] {
  let all: Record<string, number>[] = [{}];
  for (const [key, list] of Object.entries(variables)) {
    const numbers = typeof list === 'number' ? [list] : list;
    all = all.flatMap((one) => numbers.map((number) => ({ ...one, [key]: number }))).slice(0, TAGS_MAX + 1);
  }
  return all;
}
