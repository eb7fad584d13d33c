/**
 * Opens a journal's folder: which segments there are, how far each can be trusted, and their records in order. Writes
 * nothing but the format file of a new folder, so that a start cannot make things worse. What is lost is logged in one
 * line a segment.
 */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { StoreError } from '../errors.js';
import type { Log } from '../log.js';
import { readAround, readHead, type Files, type OpenFile } from './files.js';
import { unreadable } from './refusal.js';
import {
  FORMAT_VERSION,
  readSegmentHeader,
  scanSegment,
  SEGMENT_HEADER_BYTES,
  type SegmentHeader,
  type Visit,
} from './segment.js';
import type { Segments } from './segments.js';

export type RecordVisit = (
  type: number,
  bytes: Buffer,
  start: number,
  end: number,
  segment: number,
  offset: number,
  sequence: number,
) => void;

export interface Recovered {
  lastNumber: number;
  /** How far the last segment can be trusted. */
  lastEnd: number;
  nextSequence: number;
  recordCount: number;
  /** Segments that were read. */
  segmentCount: number;
  damagedBytes: number;
}

interface Request {
  folder: string;
  files: Files;
  log: Log;
  segments: Segments;
  salt: number;
  all: Found[];
  /** Records before this segment are not wanted. */
  segment: number;
  visit: RecordVisit;
}

interface Found {
  number: number;
  size: number;
  header: SegmentHeader | null;
}

export interface FoundJournal {
  all: Found[];
  /** The number all checksums of the store start from. */
  salt: number;
}

/** What is in a folder. Refuses what a newer version wrote. */
export async function findJournal(folder: string, files: Files, segments: Segments): Promise<FoundJournal> {
  const all = await findSegments(files, segments);
  for (const { header } of all) refuseNewer(folder, header?.version ?? FORMAT_VERSION);
  return { all, salt: await findSalt(folder, files, all) };
}

export async function recoverJournal(request: Request): Promise<Recovered> {
  const { segments, all } = request;
  const known = await removeVoid(request);
  const trusted = new Map<number, number>();
  for (const { header } of known) if (header !== null) trusted.set(header.previousNumber, header.previousEnd);
  const recovered: Recovered = {
    lastNumber: all.at(-1)?.number ?? 0,
    lastEnd: 0,
    nextSequence: 1,
    recordCount: 0,
    segmentCount: 0,
    damagedBytes: 0,
  };
  for (const found of known) {
    const limit = Math.min(found.size, trusted.get(found.number) ?? Infinity);
    segments.add(found.number, limit);
    recovered.lastEnd = limit;
    if (found.number < request.segment) continue;
    await replay(request, recovered, found, limit, found === known.at(-1));
  }
  if (known.length > 0) await request.files.syncFolder(request.folder).catch(() => {});
  return recovered;
}

async function findSegments(files: Files, segments: Segments): Promise<Found[]> {
  const found: Found[] = [];
  for (const number of await segments.find()) {
    const file = await files.open(segments.pathOf(number), 'read');
    try {
      const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES);
      const header = readSegmentHeader(bytes.subarray(0, await readHead(file, bytes)), number);
      found.push({ number, size: await file.size(), header });
    } finally {
      await file.close();
    }
  }
  return found;
}

/** Between a segment and the one it names as its previous there are only files whose sync had failed. */
async function removeVoid({ segments, files, log, all }: Request): Promise<Found[]> {
  const isVoid = (number: number): boolean =>
    all.some(({ header }) => header !== null && header.previousNumber < number && number < header.number);
  const known = all.filter(({ number }) => !isVoid(number));
  for (const { number } of all.filter((found) => !known.includes(found))) {
    try {
      await files.remove(segments.pathOf(number));
    } catch {
      log.debug('a void segment could not be removed', { file: segments.pathOf(number) });
    }
  }
  return known;
}

async function replay(
  { segments, files, log, salt, visit }: Request,
  recovered: Recovered,
  { number, size, header }: Found,
  limit: number,
  isLast: boolean,
): Promise<void> {
  const path = segments.pathOf(number);
  const bytes = Buffer.allocUnsafe(limit);
  const file = await files.open(path, 'read');
  const { got, unreadBytes } = await readAndSettle(path, file, bytes, isLast).finally(() => file.close());
  const take: Visit = (type, buffer, start, end, offset, sequence) => {
    visit(type, buffer, start, end, number, offset, sequence);
    recovered.recordCount++;
  };
  // A hole that cannot be read is no write that was cut short.
  const mayBeTorn = isLast && unreadBytes === 0;
  const scanned = scanSegment(bytes, got, salt, mayBeTorn, take, recovered.nextSequence);
  recovered.segmentCount++;
  recovered.nextSequence = Math.max(recovered.nextSequence, scanned.nextSequence);
  recovered.lastEnd = scanned.end;
  segments.add(number, scanned.end);
  if (isLast && scanned.end < size) {
    log.info('the last write to the store was cut short and is left out; nothing in it was acknowledged', {
      file: path,
      bytes: size - scanned.end,
    });
  }
  const lost = scanned.damaged.reduce((sum, { from, to }) => sum + to - from, 0);
  recovered.damagedBytes += lost;
  // A header that was not synced is no damage either.
  const isHeaderDamaged = header === null && limit > 0 && !(isLast && scanned.end === SEGMENT_HEADER_BYTES);
  if (lost === 0 && !isHeaderDamaged) return;
  segments.get(number).isDamaged = true;
  log.error('part of the store is damaged; what it held is lost, everything else is there', {
    file: path,
    bytes: lost,
    places: scanned.damaged.length,
    at: scanned.damaged[0]?.from ?? 0,
  });
}

/**
 * What is found in the last segment may be in the kernel's cache only, left there by a process that was killed before
 * its sync: it is made durable before anything is built on it. A disk that cannot be written is told of later.
 */
async function readAndSettle(
  path: string,
  file: OpenFile,
  bytes: Buffer,
  isLast: boolean,
): Promise<{ got: number; unreadBytes: number }> {
  if (isLast) await file.sync().catch(() => {});
  try {
    return await readAround(file, bytes);
  } catch (thrown) {
    throw unreadable(path, thrown);
  }
}

/** From the format file, or else from any segment's header. */
async function findSalt(folder: string, files: Files, all: Found[]): Promise<number> {
  const path = join(folder, 'format');
  if ((await files.list(folder)).includes('format')) {
    const file = await files.open(path, 'read');
    const bytes = Buffer.alloc(128);
    const text = bytes.toString('latin1', 0, await readHead(file, bytes).finally(() => file.close()));
    const match = /^(holdfast store, format (\d+), salt ([0-9a-f]{8})), check ([0-9a-f]{8})\n$/.exec(text);
    if (match !== null && hex(crc32(match[1] ?? '')) === match[4]) {
      refuseNewer(folder, Number(match[2]));
      return parseInt(match[3] ?? '', 16);
    }
  }
  for (const { header } of all) if (header !== null) return header.salt;
  if (all.length > 0) {
    throw new StoreError(
      'STORE_FORMAT',
      { file: folder },
      'holds segments whose headers and format file are all damaged; restore a backup, or move the folder away to start empty',
    );
  }
  return createFormat(folder, files);
}

async function createFormat(folder: string, files: Files): Promise<number> {
  const salt = randomBytes(4).readUInt32LE(0);
  const text = `holdfast store, format ${FORMAT_VERSION}, salt ${hex(salt)}`;
  const temporary = join(folder, 'format.new');
  if ((await files.list(folder)).includes('format.new')) await files.remove(temporary);
  const file = await files.open(temporary, 'create');
  try {
    await file.write(Buffer.from(`${text}, check ${hex(crc32(text))}\n`), 0);
    await file.sync();
  } finally {
    await file.close();
  }
  await files.rename(temporary, join(folder, 'format'));
  await files.syncFolder(folder);
  return salt;
}

function refuseNewer(folder: string, version: number): void {
  if (version <= FORMAT_VERSION) return;
  throw new StoreError(
    'STORE_FORMAT',
    { file: folder },
    `was written in format ${version} by a newer holdfast, and this one reads up to ${FORMAT_VERSION}; use the newer one, or restore a backup made by this one`,
  );
}

function hex(value: number): string {
  return value.toString(16).padStart(8, '0');
}
