/** Where a tag is, and how wide: table, address, type, registers, bits. */
import { isBitTable } from '../modbus/protocol.js';
import { ORDER_NAMES, type ValueType, type WordOrder, lowestBitOf, placesOf } from '../modbus/values.js';
import {
  ADDRESS_KEYS,
  ADDRESS_MAX,
  type Address,
  type AddressKey,
  addressOf,
  addressText,
} from './address.js';
import { type Layer, type Layers, type Picked, say } from './layers.js';
import type { Tag } from './plant.js';
import { isBinary, registersOf, widthOf } from './types.js';

type OrderName = keyof typeof ORDER_NAMES;

export interface Place extends Address {
  readonly layer: Layer;
  readonly key: AddressKey;
}

/** null when there is none or it is wrong, which has been said then. */
export function addressPicked(layers: Layers): Place | null {
  const found = layers.pickOne(ADDRESS_KEYS);
  const [picked, second] = found;
  if (picked === undefined) {
    const { source, path } = layers.nearest;
    source.add(
      'error',
      'HF1301',
      path,
      'has no address; write holding:, input:, coil:, discrete: or at:, or value: to calculate it',
      'key',
    );
    return null;
  }
  if (second !== undefined) {
    say(
      second,
      'error',
      'HF1302',
      `has ${found.length} addresses (${found.map(({ key }) => key).join(', ')}); a tag has one`,
    );
    return null;
  }
  const key = ADDRESS_KEYS.find((one) => one === picked.key);
  if (key === undefined) return null;
  const address = addressOf(key, picked.value, picked.layer);
  if (typeof address === 'string') {
    say(picked, 'error', 'HF1303', address);
    return null;
  }
  return { ...address, layer: picked.layer, key };
}

export interface Kind {
  readonly type: ValueType;
  readonly quantity: number;
  readonly bits: Tag['bits'];
  /** Bits that the raw value has. */
  readonly width: number;
  /** Registers from the address on to the one that holds the bit. */
  readonly shift: number;
}

export function kindOf(layers: Layers, place: Place): Kind | null {
  const type = layers.pick('type');
  const [one, other] = layers.pickOne(['bit', 'bits']);
  if (one !== undefined && other !== undefined)
    say(other, 'error', 'HF1306', 'bit and bits exclude each other; remove one');
  if (isBitTable(place.table)) return bitKind(type, one ?? layers.pick('count') ?? undefined);
  const raw = type?.value ?? 'uint16';
  const quantity = raw === 'string' ? stringRegisters(layers) : registersOf(raw);
  if (quantity === null) return null;
  const count = layers.pick('count');
  if (raw !== 'string' && count !== null && count.value !== quantity) {
    say(
      count,
      'error',
      'HF1307',
      `${raw} takes ${quantity} register${quantity === 1 ? '' : 's'}, not ${count.value}; remove count`,
    );
  }
  if (place.address + quantity > ADDRESS_MAX + 1) {
    say(
      place,
      'error',
      'HF1305',
      `${addressText(place.table, place.address)} and ${quantity} registers reach beyond 65535`,
    );
    return null;
  }
  const width = widthOf(raw, quantity);
  if (one === undefined) return { type: raw, quantity, bits: null, width, shift: 0 };
  return registerBits(one, raw, quantity, ORDER_NAMES[orderPicked(layers, place)?.value ?? 'ABCD']);
}

/** What a map leaves unsaid is what its device does, whatever the site writes for devices of its own. */
function orderPicked(layers: Layers, place: Place): Picked<OrderName> | null {
  const picked = layers.pick('order');
  if (picked === null) return null;
  const isAboveMaps = picked.layer.name === 'defaults' || picked.layer.name === 'bus';
  if (!isAboveMaps || place.layer.source === picked.layer.source) return picked;
  layers.picked?.delete('order');
  return null;
}

/** What a device or map says is for values of all widths; a tag knows its own. */
export function orderOf(layers: Layers, { type, width }: Kind, place: Place): WordOrder {
  const picked = orderPicked(layers, place);
  if (picked === null) return 'ABCD';
  const isTooLong = /^[A-H]{8}$/.test(picked.value) && width < 64 && type !== 'bool';
  if (picked.layer.name === 'tag' && isTooLong) {
    const meant = width <= 16 ? 'AB or BA' : 'four letters, such as CDAB';
    say(
      picked,
      'warning',
      'HF2313',
      `${picked.value} orders 64 bits, and ${type} has ${width}; write ${meant}, or the type that has 64`,
    );
  }
  const isTooShort = /^(AB|BA)$/.test(picked.value) && width > 16 && type !== 'string';
  if (picked.layer.name === 'tag' && isTooShort) {
    const [taken, swapped] = picked.value === 'AB' ? ['ABCD', 'CDAB'] : ['BADC', 'DCBA'];
    const text = `${picked.value} orders one register, and ${type} has ${width / 16}; write ${taken}, as it is taken, or ${swapped} for the low word first`;
    say(picked, 'warning', 'HF2313', text);
  }
  return ORDER_NAMES[picked.value];
}

function bitKind(type: Picked<ValueType> | null, bits: Picked<unknown> | undefined): Kind {
  if (type !== null && type.value !== 'bool')
    say(type, 'error', 'HF1304', `coils and discrete inputs are bool, not ${type.value}; remove type`);
  if (bits !== undefined)
    say(
      bits,
      'error',
      'HF1306',
      `a coil or discrete input is one bit; remove ${bits.key}, and give each a tag of its own (repeat makes many)`,
    );
  return { type: 'bool', quantity: 1, bits: null, width: 1, shift: 0 };
}

function registerBits(
  picked: Picked<unknown>,
  raw: ValueType,
  quantity: number,
  order: WordOrder,
): Kind | null {
  const width = widthOf(raw, quantity);
  const range = bitsOf(picked.value);
  if (raw !== 'bool' && !isBinary(raw)) {
    say(picked, 'error', 'HF1306', `${raw} has no bits to pick; use uint16, uint32 or uint64`);
    return null;
  }
  if (range.last >= width) {
    say(
      picked,
      'error',
      'HF1306',
      `bit ${range.last} is not in ${width} bits; ${width === 64 ? 'the highest is 63' : `use type ${width === 8 ? 'uint16, ' : ''}uint32 or uint64`}`,
    );
    return null;
  }
  if (picked.key === 'bits')
    return { type: raw === 'bool' ? 'uint16' : raw, quantity, bits: range, width, shift: 0 };
  // One bit lies in one register, which is all that needs to be read and written for it.
  const place = range.first + lowestBitOf(raw);
  const word = Math.floor(place / 16);
  const bit = place % 16;
  const highByte = 2 * (quantity - word - 1);
  const shift = (placesOf(order, 2 * quantity)[highByte] ?? 0) >> 1;
  return { type: 'bool', quantity: 1, bits: { first: bit, last: bit }, width: 1, shift };
}

function bitsOf(value: unknown): { first: number; last: number } {
  if (typeof value === 'number') return { first: value, last: value };
  const range = value as { first: number; last: number }; // what the schema makes of bits
  return { first: range.first, last: range.last };
}

function stringRegisters(layers: Layers): number | null {
  const count = layers.pick('count');
  if (count !== null) return count.value;
  const { source, path } = layers.nearest;
  source.add('error', 'HF1307', [...path, 'count'], 'missing; a string needs the number of its registers');
  return null;
}
