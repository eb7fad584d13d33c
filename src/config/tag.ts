/**
 * One tag's layers -> its settings, checked: address, type, scale, rate, report, write. What concerns several tags
 * (topics, overlaps, groups) is checked where all of them are known.
 */
import { type Layers, type Picked, say } from './layers.js';
import {
  type ScaleReference,
  counterOf,
  enumOf,
  flagsOf,
  invalidOf,
  plausibleOf,
  scaleOf,
  textOf,
} from './meaning.js';
import { addressPicked, kindOf, orderOf } from './place.js';
import type { Device, Tag } from './plant.js';
import { suggestion } from './problems.js';
import { isNumber } from './types.js';
import { parseDuration } from './units.js';
import { checkBits, checkOwnValues, checkReach, stepOf, writeOf } from './write.js';

export type Rates = ReadonlyMap<string, number>;

/** A tag whose settings are known, and whose place in the plant (index, group, topics) is not yet. */
export interface TagDraft {
  readonly tag: { -readonly [K in keyof Tag]: Tag[K] };
  /** Name of the tag that holds the scale. */
  readonly scaleFrom: ScaleReference | null;
  /** The text that it is calculated by. */
  readonly formula: Picked<string> | null;
  readonly ownTopic: string | null;
}

/** A holding register that says nothing of itself and has no place in a plant yet. */
export const PLAIN_TAG: Omit<Tag, 'name' | 'device'> = {
  index: -1,
  table: 'holding-register',
  address: 0,
  quantity: 1,
  type: 'uint16',
  order: 'ABCD',
  select: null,
  scale: 1,
  offset: 0,
  scaleFrom: null,
  formula: null,
  bits: null,
  enum: null,
  flags: null,
  text: null,
  invalid: [],
  plausible: null,
  counter: null,
  unit: null,
  description: null,
  intervalMs: 0,
  report: 'change',
  deadband: { kind: 'absolute', value: 0 },
  heartbeatMs: 60_000,
  payload: 'vqt',
  qos: 1,
  retain: true,
  stored: false,
  write: null,
  group: null,
  topic: '',
  setTopic: '',
  getTopic: '',
  ackTopic: '',
};

/** null when its address or type is wrong, which has been said then. */
export function resolveTag(name: string, device: Device, layers: Layers, rates: Rates): TagDraft | null {
  const formula = layers.pick('value');
  if (formula !== null) return resolveCalculated(name, device, layers, formula);
  const place = addressPicked(layers);
  if (place === null) return null;
  const kind = kindOf(layers, place);
  if (kind === null) return null;
  const { scale, offset, scaleFrom } = scaleOf(layers, kind.type);
  const page = layers.pick('select');
  const select = page === null ? null : stepOf(page.value, page, []);
  const isText = !isNumber(kind.type) || layers.pick('enum') !== null || layers.pick('flags') !== null;
  const tag: TagDraft['tag'] = {
    ...PLAIN_TAG,
    name,
    device,
    table: place.table,
    address: place.address + kind.shift,
    quantity: kind.quantity,
    type: kind.type,
    order: orderOf(layers, kind, place),
    select,
    scale,
    offset,
    bits: kind.bits,
    enum: enumOf(layers, kind),
    flags: flagsOf(layers, kind),
    text: textOf(layers, kind.type),
    invalid: invalidOf(layers, kind.type),
    plausible: plausibleOf(layers, kind.type),
    counter: counterOf(layers, kind.type),
    intervalMs: intervalOf(layers, rates),
    ...labelsOf(layers),
    ...reportOf(layers, isText),
    write: writeOf(layers, { ...place, address: place.address + kind.shift }, kind.type, select, device),
  };
  // What another register multiplies the value by may be anything.
  if (scaleFrom === null) {
    checkBits(tag, layers);
    checkReach(tag, layers);
    checkOwnValues(tag, layers);
  }
  return { tag, scaleFrom, formula: null, ownTopic: layers.pick('topic')?.value ?? null };
}

/** Keys that say how registers are read or written. */
const REGISTER_KEYS = ['coil', 'discrete', 'input', 'holding', 'at', 'type', 'count', 'bytes', 'encoding', 'pad', 'select', 'scale', 'offset', 'bit', 'bits', 'enum', 'flags', 'invalid', 'counter', 'write', 'rate'] as const; // prettier-ignore

/** A tag without registers; its formula is read once all tags of its device are known. */
function resolveCalculated(name: string, device: Device, layers: Layers, formula: Picked<string>): TagDraft {
  for (const key of REGISTER_KEYS) {
    const picked = layers.pick(key);
    if (picked?.layer.name === 'tag')
      say(picked, 'error', 'HF1319', `a calculated tag has no ${key}; remove it, or remove value`);
  }
  const tag: TagDraft['tag'] = {
    ...PLAIN_TAG,
    name,
    device,
    quantity: 0,
    type: 'float64',
    plausible: plausibleOf(layers, 'float64'),
    ...labelsOf(layers),
    ...reportOf(layers, false),
  };
  return { tag, scaleFrom: null, formula, ownTopic: layers.pick('topic')?.value ?? null };
}

function labelsOf(layers: Layers): Pick<Tag, 'unit' | 'description'> {
  return {
    unit: layers.pick('unit')?.value ?? null,
    description: layers.pick('description')?.value ?? null,
  };
}

/** When and how it is published. */
function reportOf(
  layers: Layers,
  isText: boolean,
): Pick<Tag, 'report' | 'deadband' | 'heartbeatMs' | 'payload' | 'qos' | 'retain' | 'stored'> {
  return {
    report: layers.value('report', PLAIN_TAG.report),
    deadband: deadbandOf(layers, isText),
    heartbeatMs: layers.value('heartbeat', PLAIN_TAG.heartbeatMs),
    payload: layers.value('payload', PLAIN_TAG.payload),
    qos: layers.value('qos', PLAIN_TAG.qos),
    retain: layers.value('retain', PLAIN_TAG.retain),
    stored: layers.value('stored', PLAIN_TAG.stored),
  };
}

function intervalOf(layers: Layers, rates: Rates): number {
  const picked = layers.pick('rate');
  const name = picked?.value ?? 'normal';
  const known = rates.get(name) ?? parseDuration(name);
  if (known === null) {
    if (picked !== null)
      say(
        picked,
        'error',
        'HF1207',
        `${name} is not a rate; write a duration such as 1s, or one of ${[...rates.keys()].join(', ')}${suggestion(name, rates.keys())}`,
      );
    return 10_000;
  }
  if (known === 0 && name !== 'once' && picked !== null && rates.get(name) === undefined) {
    say(picked, 'error', 'HF1207', 'a rate of 0 would never end; write a duration, or once');
  }
  return known;
}

function deadbandOf(layers: Layers, hasNone: boolean): Tag['deadband'] {
  const picked = layers.pick('deadband');
  if (picked === null) return PLAIN_TAG.deadband;
  if (hasNone) {
    if (picked.layer.name === 'tag')
      say(picked, 'warning', 'HF2310', 'texts and truths have no deadband; remove it');
    return PLAIN_TAG.deadband;
  }
  const { value } = picked;
  return typeof value === 'number'
    ? { kind: 'absolute', value }
    : { kind: 'percent', value: Number(value.slice(0, -1)) };
}
