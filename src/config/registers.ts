/** What the registers of a device allow: ranges it does not like, the longest request, and tags that share registers. */
import { isBitTable } from '../modbus/protocol.js';
import { type Address, addressText } from './address.js';
import type { RawDevice } from './expand.js';
import { type Layer, say } from './layers.js';
import type { Device, Range, Tag } from './plant.js';
import { widthOf } from './types.js';

/** Nothing that a tag needs may be forbidden, outside what is readable, or longer than one request. */
export function checkReach(
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

/** First and last of what manuals print for the first and the last four digits of a table. */
const REFERENCES = { input: [30_001, 39_999], holding: [40_001, 49_999] } as const;

/**
 * 40001 out of a manual is mostly its first register, and a device that answers 0 where it has none hides the mistake.
 * Asked once a device, and only where nothing says how it counts and no address shows it.
 */
export function checkReferences(raw: RawDevice): void {
  if (raw.numbering !== null) return;
  const written = raw.tags.flatMap(({ layers: { nearest } }) =>
    (['input', 'holding'] as const).flatMap((key) => {
      const address = nearest.values[key];
      const isOpen = nearest.source === raw.source && nearest.values.numbering === undefined;
      return isOpen && typeof address === 'number' ? [{ key, address, layer: nearest }] : [];
    }),
  );
  const isReference = ({ key, address }: (typeof written)[number]): boolean =>
    address >= REFERENCES[key][0] && address <= REFERENCES[key][1];
  const [first] = written;
  if (first === undefined || !written.every(isReference)) return;
  const text = `${first.address} counts from 0 here; if a manual prints it, which calls the first register ${REFERENCES[first.key][0]}, write numbering: modicon at ${raw.name}, else numbering: pdu`;
  say(first, 'warning', 'HF2108', text);
}

/** Two tags of different type on one register are seldom meant. */
export function checkOverlaps(
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
      !(isHalf(reach) && isHalf(tag)) &&
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

/** Two values may share a register, a byte each. */
function isHalf({ type }: Tag): boolean {
  return widthOf(type, 1) === 8;
}

function overlaps(a: Address & { quantity: number }, b: Address & { quantity: number }): boolean {
  return a.table === b.table && a.address < b.address + b.quantity && b.address < a.address + a.quantity;
}

function covers(a: Range, b: Address & { quantity: number }): boolean {
  return a.table === b.table && a.address <= b.address && b.address + b.quantity <= a.address + a.quantity;
}
