/**
 * Which device maps fit a unit that a scan has found: all that the map expects must hold, and what it calls plausible
 * must be so. The map that explains most of what the unit says comes first.
 */
import type { DeviceLimits, Tag } from '../config/plant.js';
import { type Signature, isExpected } from '../config/signature.js';
import type { Client } from '../modbus/client.js';
import { type Table, isBitTable } from '../modbus/protocol.js';
import { compileDecode, isImplausible } from './decode.js';
import { IDENTITY_TIMEOUT_MS } from './identity.js';

/** So many plausible values are looked at; a line is slow. */
const SAMPLES_MAX = 32;
/** Models of one family lack some registers; a unit that refuses more of them is another one. */
const REFUSED_MAX_SHARE = 1 / 4;
/** Different ones, beside 0: a device that says the same everywhere is of no map, whatever that happens to mean. */
const WORDS_MIN = 2;

interface Place {
  readonly table: Table;
  readonly address: number;
  readonly quantity: number;
}

/** Bytes as they stand for the place; null when it was not answered. */
type Read = (place: Place, limits: DeviceLimits) => Promise<Uint8Array | null>;

/** Names of maps, the best first. */
export async function recognise(
  client: Client,
  unitId: number,
  identity: string,
  signatures: readonly Signature[],
): Promise<string[]> {
  const read = reader(client, unitId);
  const fitting: { map: string; score: number }[] = [];
  for (const signature of signatures) {
    if (!isOneOf(signature.texts, identity)) continue;
    const words = new Set<number>();
    const noted = async (place: Place, limits: DeviceLimits): Promise<Uint8Array | null> => {
      const bytes = await read(place, limits);
      for (let at = 0; at < place.quantity && bytes !== null; at += 1) words.add(wordAt(bytes, at));
      return bytes;
    };
    if (!(await holds(signature, unitId, noted))) continue;
    const score = await plausibility(signature, noted);
    words.delete(0);
    if (score !== null && words.size >= WORDS_MIN) fitting.push({ map: signature.map, score });
  }
  return fitting.toSorted((a, b) => b.score - a.score).map(({ map }) => map);
}

function isOneOf(texts: readonly string[], identity: string): boolean {
  return texts.length === 0 || texts.some((text) => identity.toUpperCase().includes(text));
}

async function holds({ registers, values, limits }: Signature, unitId: number, read: Read): Promise<boolean> {
  for (const { table, address, words } of registers) {
    const bytes = await read({ table, address, quantity: words.length }, limits);
    if (bytes === null || words.some((word, at) => wordAt(bytes, at) !== word)) return false;
  }
  for (const { tag, expected } of values) {
    const bytes = await read(tag, limits);
    if (bytes === null || !isExpected(expected, compileDecode(tag)(bytes, 0, 1), unitId)) return false;
  }
  return true;
}

/** Values that say something for the map, less those that say nothing (0, refused). null: it is another device. */
async function plausibility({ plausible, limits }: Signature, read: Read): Promise<number | null> {
  const step = Math.max(1, plausible.length / SAMPLES_MAX);
  const samples = plausible.filter((_, at) => Math.floor(at % step) === 0);
  let refused = 0;
  let score = 0;
  for (const stretch of stretchesOf(samples, limits)) {
    // At once; each by itself where this is refused.
    await read(stretch.place, limits);
    for (const tag of stretch.tags) {
      const bytes = await read(tag, limits);
      const value = bytes === null ? undefined : compileDecode(tag)(bytes, 0, 1);
      if (bytes === null) refused += 1;
      if (refused > samples.length * REFUSED_MAX_SHARE) return null;
      if (value !== undefined && (isImplausible(tag, value) || Number.isNaN(value))) return null;
      score += value === undefined || Number(value) === 0 ? -1 : 1;
    }
  }
  return score;
}

interface Stretch {
  place: Place;
  readonly tags: Tag[];
}

/** Tags whose registers follow upon each other without a gap, as far as one request reads them. */
function stretchesOf(tags: readonly Tag[], { registers }: DeviceLimits): Stretch[] {
  const stretches: Stretch[] = [];
  for (const tag of tags.toSorted((a, b) => a.address - b.address)) {
    const before = stretches.findLast(({ place }) => place.table === tag.table);
    const quantity = before === undefined ? Infinity : tag.address + tag.quantity - before.place.address;
    const follows = before !== undefined && tag.address <= before.place.address + before.place.quantity;
    if (follows && quantity <= registers && !isBitTable(tag.table)) {
      before.place = { ...before.place, quantity: Math.max(before.place.quantity, quantity) };
      before.tags.push(tag);
    } else stretches.push({ place: tag, tags: [tag] });
  }
  return stretches;
}

/** What was read is not read again, whichever maps look at it. */
function reader(client: Client, unitId: number): Read {
  const known: (Place & { readonly bytes: Uint8Array | null })[] = [];
  return async (wanted, limits) => {
    const place = widened(wanted, limits);
    let read = known.find((one) => holdsPlace(one, place));
    if (read === undefined) {
      const answer = await client.request({ kind: 'read', unitId, ...place }, IDENTITY_TIMEOUT_MS);
      read = { ...place, bytes: answer.ok ? answer.data.slice() : null };
      known.push(read);
    }
    return read.bytes?.subarray(isBitTable(place.table) ? 0 : 2 * (wanted.address - read.address)) ?? null;
  };
}

/** Of bits only the same request: they come packed from its first one on. */
function holdsPlace(known: Place & { readonly bytes: Uint8Array | null }, place: Place): boolean {
  if (known.table !== place.table) return false;
  const isSame = known.address === place.address && known.quantity === place.quantity;
  if (isSame || known.bytes === null || isBitTable(place.table)) return isSame;
  const end = place.address + place.quantity;
  return known.address <= place.address && end <= known.address + known.quantity;
}

/** As the device wants to be read. */
function widened(
  { table, address, quantity }: Place,
  { align, registersMin, bitsFromZero }: DeviceLimits,
): Place {
  if (isBitTable(table))
    return bitsFromZero ? { table, address: 0, quantity: address + quantity } : { table, address, quantity };
  const start = address - (address % align);
  const length = Math.max(registersMin, address + quantity - start);
  return { table, address: start, quantity: Math.ceil(length / align) * align };
}

function wordAt(bytes: Uint8Array, at: number): number {
  return ((bytes[2 * at] ?? 0) << 8) | (bytes[2 * at + 1] ?? 0);
}
