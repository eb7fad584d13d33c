/**
 * Texts that stand for figures: durations, sizes, lists of numbers, ranges. Each parser gives null for what it does
 * not understand; who asked says so at the right place.
 */

const DURATION_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const SIZE_BYTES = {
  B: 1,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  kB: 1e3,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
} as const;

const DURATION = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/;
const SIZE = /^(\d+(?:\.\d+)?)(B|KiB|MiB|GiB|kB|KB|MB|GB)$/;
export const RANGE = /^(\d+)-(\d+)$/;

/** "500ms" -> 500. */
export function parseDuration(text: string): number | null {
  const match = DURATION.exec(text);
  if (match === null) return null;
  const unit = match[2] as keyof typeof DURATION_MS; // the expression allows these only
  return Number(match[1]) * DURATION_MS[unit];
}

/** "64KiB" -> 65536. */
export function parseSize(text: string): number | null {
  const match = SIZE.exec(text);
  if (match === null) return null;
  const unit = match[2] as keyof typeof SIZE_BYTES; // the expression allows these only
  return Math.floor(Number(match[1]) * SIZE_BYTES[unit]);
}

/** "4-6" -> { first: 4, last: 6 }; "3" -> both 3. */
export function parseRange(text: string): { first: number; last: number } | null {
  if (/^\d+$/.test(text)) return { first: Number(text), last: Number(text) };
  const match = RANGE.exec(text);
  if (match === null) return null;
  const [first, last] = [Number(match[1]), Number(match[2])];
  return first <= last ? { first, last } : null;
}

/** "1,2,5-18" -> each number once, in order; at most 65,536 of them, those that are named several times included. */
export function parseNumbers(text: string): number[] | null {
  const numbers = new Set<number>();
  let count = 0;
  for (const part of text.split(',')) {
    const range = parseRange(part.trim());
    if (range === null || range.last > 65_535) return null;
    count += range.last - range.first + 1;
    if (count > 65_536) return null;
    for (let n = range.first; n <= range.last; n += 1) numbers.add(n);
  }
  return [...numbers];
}

/** Milliseconds as people write them, and exactly: 1500 -> "1.5s", 76000 -> "76s". */
export function durationText(ms: number): string {
  for (const [unit, size] of [
    ['d', DURATION_MS.d],
    ['h', DURATION_MS.h],
    ['m', DURATION_MS.m],
    ['s', DURATION_MS.s],
  ] as const) {
    const isShort = Number.isInteger((10 * ms) / size);
    if (ms >= size && (isShort || unit === 's')) return `${Number((ms / size).toFixed(3))}${unit}`;
  }
  return `${Number(ms.toFixed(3))}ms`;
}

/** How long something lasts, as people say it: 4576000 -> "1h 16m". */
export function spanText(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (seconds < 1) return durationText(ms);
  const parts = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'm'],
    [seconds % 60, 's'],
  ] as const;
  const first = parts.findIndex(([count]) => count > 0);
  return parts
    .slice(first, first + 2)
    .flatMap(([count, unit]) => (count > 0 ? [`${count}${unit}`] : []))
    .join(' ');
}

/** Bytes as people write them: 65536 -> "64KiB". */
export function sizeText(bytes: number): string {
  for (const [unit, size] of [
    ['GiB', SIZE_BYTES.GiB],
    ['MiB', SIZE_BYTES.MiB],
    ['KiB', SIZE_BYTES.KiB],
  ] as const) {
    if (bytes >= size) return `${Number((bytes / size).toFixed(1))}${unit}`;
  }
  return `${bytes}B`;
}
