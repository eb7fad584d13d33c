/**
 * Discovery for Home Assistant in its device form: one retained message a device says which topics are its entities.
 * Told again when Home Assistant starts; what left the config is taken back, also what an earlier life had told, because
 * the retained messages themselves are the list.
 */
import type { BrokerApi } from '../broker/broker.js';
import type { Message, Subscriber } from '../broker/message.js';
import type { Device, Plant, Tag } from '../config/plant.js';
import { isFloat, isNumber, limitsOfType } from '../config/types.js';

const PREFIX = 'homeassistant';
const ORIGIN = 'holdfast';

/**
 * Home Assistant's class of a quantity by its unit, and of its statistics. An amount may go down (a tank, a battery, what
 * was fed in), which would count as the beginning of another one if it were told as growing; `counter` says that it grows.
 */
const CLASSES: Readonly<Record<string, readonly [string, 'measurement' | 'total']>> = {
  V: ['voltage', 'measurement'], mV: ['voltage', 'measurement'], A: ['current', 'measurement'],
  mA: ['current', 'measurement'], W: ['power', 'measurement'], kW: ['power', 'measurement'],
  MW: ['power', 'measurement'], VA: ['apparent_power', 'measurement'], var: ['reactive_power', 'measurement'],
  Wh: ['energy', 'total'], kWh: ['energy', 'total'], MWh: ['energy', 'total'],
  Hz: ['frequency', 'measurement'], '°C': ['temperature', 'measurement'], '°F': ['temperature', 'measurement'],
  K: ['temperature', 'measurement'], Pa: ['pressure', 'measurement'], hPa: ['pressure', 'measurement'],
  kPa: ['pressure', 'measurement'], bar: ['pressure', 'measurement'], mbar: ['pressure', 'measurement'],
  'm³/h': ['volume_flow_rate', 'measurement'], 'm³': ['volume', 'total'], lx: ['illuminance', 'measurement'],
  s: ['duration', 'measurement'], h: ['duration', 'measurement'],
}; // prettier-ignore

type Component = Readonly<Record<string, unknown>>;

interface Discovery {
  readonly dev: { readonly ids: readonly string[]; readonly name: string };
  readonly o: { readonly name: string };
  readonly cmps: Readonly<Record<string, Component>>;
}

export class HomeAssistant implements Subscriber {
  readonly #broker: BrokerApi;
  readonly #version: string;
  #plant: Plant | null = null;
  #statusTopic: string | null = null;

  constructor(broker: BrokerApi, version: string) {
    this.#broker = broker;
    this.#version = version;
  }

  take(plant: Plant): void {
    this.#plant = plant;
    const statusTopic = plant.homeAssistant === null ? null : `${plant.homeAssistant.prefix}/status`;
    if (statusTopic !== this.#statusTopic) {
      this.close();
      if (statusTopic !== null) this.#broker.subscribe(statusTopic, this);
      this.#statusTopic = statusTopic;
    }
    this.#tell();
  }

  close(): void {
    if (this.#statusTopic !== null) this.#broker.unsubscribe(this.#statusTopic, this);
    this.#statusTopic = null;
  }

  /** Home Assistant has started, and knows what is retained; what is not, it is told again. */
  deliver(message: Message): void {
    if (Buffer.from(message.payload).toString() === 'online') this.#tell();
  }

  #tell(): void {
    const plant = this.#plant;
    if (plant === null) return;
    const prefix = plant.homeAssistant?.prefix ?? PREFIX;
    const wanted = new Map(plant.homeAssistant === null ? [] : this.#discoveries(plant, prefix));
    for (const [topic, old] of this.#told(plant, prefix)) {
      const fresh = wanted.get(topic);
      if (fresh === undefined) this.#publish(topic, '');
      else this.#takeBack(topic, old, fresh);
    }
    for (const [topic, discovery] of wanted) this.#publish(topic, JSON.stringify(discovery));
  }

  /**
   * Entities that are gone are named once more, with nothing but their platform, which removes them; so are those that are of
   * another platform now, which would be left beside what follows under their name.
   */
  #takeBack(topic: string, old: Discovery, fresh: Discovery): void {
    const gone = Object.entries(old.cmps).filter(([name, { p }]) => fresh.cmps[name]?.['p'] !== p);
    if (gone.length === 0) return;
    const removals = Object.fromEntries(gone.map(([name, { p }]) => [name, { p }]));
    this.#publish(topic, JSON.stringify({ ...fresh, cmps: { ...fresh.cmps, ...removals } }));
  }

  /** What this gateway has told before and is retained still. */
  #told({ gateway }: Plant, prefix: string): [string, Discovery][] {
    const found: [string, Discovery][] = [];
    this.#broker.retained(`${prefix}/device/+/config`, (topic, payload) => {
      const discovery = discoveryOf(payload);
      // The beginning alone may be that of another gateway: of p7_b for p7.
      const isOurs =
        discovery?.o.name === ORIGIN && discovery.dev.ids[0] === idOf(gateway.id, discovery.dev.name);
      if (discovery !== null && isOurs) found.push([topic, discovery]);
    });
    return found;
  }

  #discoveries(plant: Plant, prefix: string): [string, Discovery][] {
    const uniqueIds = new Set<string>();
    return plant.devices.map((device) => {
      const id = idOf(plant.gateway.id, device.name);
      const keys = new Set<string>();
      const components = plant.tags
        .filter((tag) => tag.device === device)
        .map((tag): [string, Component] => {
          const key = freeIn(keys, keyOf(tag));
          return [key, componentOf(tag, plant, freeIn(uniqueIds, `${id}_${key}`))];
        });
      const discovery = {
        dev: { ids: [id], name: device.name, ...(device.map === null ? {} : { mdl: device.map }) },
        o: { name: ORIGIN, sw: this.#version },
        avty: availabilityOf(plant, device),
        avty_mode: 'all',
        qos: 1,
        cmps: Object.fromEntries(components),
      };
      return [`${prefix}/device/${id}/config`, discovery];
    });
  }

  #publish(topic: string, text: string): void {
    this.#broker.publish({ topic, payload: Buffer.from(text), qos: 1, retain: true, sender: null });
  }
}

function idOf(...names: readonly string[]): string {
  return ['holdfast', ...names].join('_').replace(/[^A-Za-z0-9_-]/g, '_');
}

/** What names with levels and underscores become may be there already. */
function freeIn(taken: Set<string>, wanted: string): string {
  let free = wanted;
  while (taken.has(free)) free += '_';
  taken.add(free);
  return free;
}

/** Tags of groups have levels in their name. */
function keyOf({ name }: Tag): string {
  return name.replace(/[^A-Za-z0-9_-]/g, '_');
}

function availabilityOf({ gateway }: Plant, device: Device): Component[] {
  return [
    { t: gateway.topics.status },
    { t: device.topic, val_tpl: "{{ 'offline' if value_json.state == 'offline' else 'online' }}" },
  ];
}

function componentOf(tag: Tag, plant: Plant, uniqueId: string): Component {
  const batch = tag.payload === 'batch' ? plant.batches.find(({ tags }) => tags.includes(tag)) : undefined;
  const value =
    tag.payload === 'raw'
      ? 'value'
      : batch === undefined
        ? 'value_json.v'
        : `value_json.v[${JSON.stringify(tag.name)}]`;
  const isRaw = tag.payload === 'raw';
  const common = {
    unique_id: uniqueId,
    name: tag.name,
    stat_t: batch?.topic ?? tag.topic,
    ...(tag.write === null ? {} : { cmd_t: tag.setTopic }),
  };
  if (tag.type === 'bool' && tag.enum === null) {
    // No value is neither: None is shown as unknown.
    const isNone = isRaw ? `${value} == ''` : `${value} is none`;
    const isTrue = isRaw ? `${value} == 'true'` : value;
    const template = { val_tpl: `{{ None if ${isNone} else 'ON' if ${isTrue} else 'OFF' }}` };
    if (tag.write === null) return { p: 'binary_sensor', ...common, ...template };
    return {
      p: 'switch',
      ...common,
      ...template,
      pl_on: 'true',
      pl_off: 'false',
      stat_on: 'ON',
      stat_off: 'OFF',
    };
  }
  return { ...common, val_tpl: templateOf(tag, value), ...kindOf(tag) };
}

/** What Home Assistant would ignore, and so go on showing what was before, is told as unknown instead. */
function templateOf(tag: Tag, value: string): string {
  if (tag.enum !== null)
    return `{{ ${value} if ${value} in ${JSON.stringify(optionsOf(tag.enum))} else None }}`;
  return tag.payload === 'raw' ? `{{ None if ${value} == '' else ${value} }}` : `{{ ${value} }}`;
}

function optionsOf(names: NonNullable<Tag['enum']>): string[] {
  return [...new Set(names.map(({ text }) => text))];
}

function kindOf(tag: Tag): Component {
  const asText = { cmd_tpl: '{{ value | tojson }}' };
  if (tag.enum !== null) {
    const ops = optionsOf(tag.enum);
    return tag.write === null ? { p: 'sensor', dev_cla: 'enum', ops } : { p: 'select', ops, ...asText };
  }
  if (!isNumber(tag.type)) return tag.write === null ? { p: 'sensor' } : { p: 'text', ...asText };
  if (tag.flags !== null) return { p: 'sensor' };
  const unit = tag.unit === null ? {} : { unit_of_meas: tag.unit };
  const [deviceClass, stateClass] = CLASSES[tag.unit ?? ''] ?? [null, 'measurement'];
  const known = deviceClass === null ? {} : { dev_cla: deviceClass };
  if (tag.write === null)
    return {
      p: 'sensor',
      ...unit,
      ...known,
      stat_cla: tag.counter === null ? stateClass : 'total_increasing',
    };
  const { min, max } = tag.write;
  const [least, most] = boundsOf(tag);
  return {
    p: 'number',
    ...unit,
    mode: 'box',
    min: Number.isFinite(min) ? min : least,
    max: Number.isFinite(max) ? max : most,
    step: Math.max(stepOf(tag), STEP_MIN),
  };
}

function stepOf({ type, scale, write }: Tag): number {
  if (write !== null && write.step > 0) return write.step;
  return isFloat(type) ? STEP_MIN : Math.min(1, Math.abs(scale));
}

/** Home Assistant refuses a number with a finer step. */
const STEP_MIN = 0.001;

/** Home Assistant wants bounds, without which it takes 1 to 100, and shows nothing that lies outside. */
function boundsOf({ type, bits, scale, offset, scaleFrom }: Tag): [number, number] {
  if (isFloat(type) || scaleFrom !== null) return [-FAR, FAR];
  const { least, most } =
    bits === null ? limitsOfType(type) : { least: 0, most: 2 ** (bits.last - bits.first + 1) - 1 };
  const ends = [least, most].map((raw) => Number(raw) * scale + offset);
  return [Math.min(...ends), Math.max(...ends)];
}

const FAR = 1e12;

function discoveryOf(payload: Uint8Array): Discovery | null {
  try {
    const value = JSON.parse(Buffer.from(payload).toString()) as Partial<Discovery> | null;
    const isDiscovery =
      Array.isArray(value?.dev?.ids) && typeof value.o?.name === 'string' && typeof value.cmps === 'object';
    return isDiscovery && value.cmps !== null ? (value as Discovery) : null; // what is read of it was looked at
  } catch {
    return null;
  }
}
