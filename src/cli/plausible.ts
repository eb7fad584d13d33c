/** Which of several readings of the same registers a person would believe. */
import type { Tag } from '../config/plant.js';

/** Measured values lie between these, whatever they measure; beyond, exponents show bytes in the wrong places. */
const FLOAT_LEAST = 1e-4;
const FLOAT_MOST = 1e8;
const INTEGER_MOST = 2 ** 27;

export interface Reading {
  readonly tag: Pick<Tag, 'table' | 'address' | 'type'>;
  /** null: it was not read. */
  readonly json: string | null;
}

/** Indexes of the readings to mark: of each address those that look measured; of several the one with the fewest digits. */
export function plausibleAmong(readings: readonly Reading[]): Set<number> {
  const marked = new Set<number>();
  for (const indexes of placesOf(readings).values()) {
    const likely = indexes.filter((index) => isLikely(readings[index]));
    const shortest = Math.min(...likely.map((index) => digits(readings[index])));
    for (const index of likely) if (digits(readings[index]) === shortest) marked.add(index);
  }
  return marked;
}

/** Indexes by table and address. */
function placesOf(readings: readonly Reading[]): Map<string, number[]> {
  const found = new Map<string, number[]>();
  readings.forEach(({ tag }, index) => {
    const place = `${tag.table}:${tag.address}`;
    found.set(place, [...(found.get(place) ?? []), index]);
  });
  return found;
}

function isLikely(reading: Reading | undefined): boolean {
  if (reading === undefined || reading.json === null) return false;
  const size = Math.abs(Number(reading.json));
  if (!Number.isFinite(size)) return false;
  if (size === 0) return true;
  return reading.tag.type.startsWith('float')
    ? size >= FLOAT_LEAST && size <= FLOAT_MOST
    : size <= INTEGER_MOST;
}

/** Of a float32 as it is written: a setting such as 21.5 has few, swapped bytes have all nine. */
function digits(reading: Reading | undefined): number {
  return String(Number(reading?.json))
    .replace(/^-|\.|e.*$/g, '')
    .replace(/^0+/, '').length;
}
