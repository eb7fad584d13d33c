/**
 * The layout of one segment file: a header, then batches; a batch is a frame that opens it and the frames of records.
 * Knows how to write both and how to walk a segment that a crash or a bad disk has been at. Does no input or output.
 */
import { endOfFrame, findFrame, FRAME_HEADER_BYTES, sealFrame, typeOf } from './frame.js';
import { crc32 } from 'node:zlib';

/** Raised when a previous version could not read what this one writes; older formats are read, newer ones refused. */
export const FORMAT_VERSION = 1;

export const SEGMENT_HEADER_BYTES = 32;
const MAGIC = 0x474c4648; // "HFLG"

export interface SegmentHeader {
  version: number;
  number: number;
  salt: number;
  /** The segment before this one and how far it can be trusted; what lies behind that, or between the two, is void. */
  previousNumber: number;
  previousEnd: number;
}

export function writeSegmentHeader(into: Buffer, header: SegmentHeader): void {
  into.writeUInt32LE(MAGIC, 0);
  into.writeUInt32LE(header.version, 4);
  into.writeUInt32LE(header.number, 8);
  into.writeUInt32LE(header.salt, 12);
  into.writeUInt32LE(header.previousNumber, 16);
  into.writeUInt32LE(header.previousEnd, 20);
  into.writeUInt32LE(0, 24);
  into.writeUInt32LE(crc32(into.subarray(0, 28)), 28);
}

/** Null when it is not the header of this segment, or damaged. */
export function readSegmentHeader(bytes: Buffer, number: number): SegmentHeader | null {
  if (bytes.length < SEGMENT_HEADER_BYTES || bytes.readUInt32LE(0) !== MAGIC) return null;
  if (crc32(bytes.subarray(0, 28)) !== bytes.readUInt32LE(28) || bytes.readUInt32LE(8) !== number)
    return null;
  return {
    version: bytes.readUInt32LE(4),
    number,
    salt: bytes.readUInt32LE(12),
    previousNumber: bytes.readUInt32LE(16),
    previousEnd: bytes.readUInt32LE(20),
  };
}

/** Type of the frame that opens a batch; records use 1 to 255. */
const BATCH_TYPE = 0;
const BATCH_PAYLOAD_BYTES = 16;
export const BATCH_HEADER_BYTES = FRAME_HEADER_BYTES + BATCH_PAYLOAD_BYTES;

/**
 * Opens a batch. Its being there proves that all records before `unsynced` had reached the disk. Records are numbered
 * on from firstSequence.
 */
export function writeBatchHeader(
  into: Buffer,
  at: number,
  unsynced: number,
  firstSequence: number,
  salt: number,
): void {
  into.writeDoubleLE(unsynced, at + FRAME_HEADER_BYTES);
  into.writeDoubleLE(firstSequence, at + FRAME_HEADER_BYTES + 8);
  sealFrame(into, at, at + BATCH_HEADER_BYTES, BATCH_TYPE, salt);
}

/** A record found in a segment: its payload is bytes[start..end), its frame begins at `offset`. */
export type Visit = (
  type: number,
  bytes: Buffer,
  start: number,
  end: number,
  offset: number,
  sequence: number,
) => void;

export interface Scanned {
  /** How far the segment holds sound batches; what follows is an unfinished write. */
  end: number;
  /** Ranges inside it that once were sound and are not any more. */
  damaged: { from: number; to: number }[];
  /** One above the last record's. */
  nextSequence: number;
}

/**
 * Visits the sound records of bytes[0..limit). With `mayBeTorn`, as the last segment is after a crash, a hole whose first
 * record no later batch proves to have been on the disk is where what was not synced is cut: reading ends there, because
 * records behind it would be applied without those before them. Any other hole is damage: reading goes on behind it.
 * `sequence` is the number that the first record is expected to have.
 */
export function scanSegment(
  bytes: Buffer,
  limit: number,
  salt: number,
  mayBeTorn: boolean,
  visit: Visit,
  sequence = 0,
): Scanned {
  const scanned: Scanned = { end: limit, damaged: [], nextSequence: sequence };
  for (let at = SEGMENT_HEADER_BYTES; at < limit;) {
    const end = endOfFrame(bytes, at, limit, salt);
    if (end === -1) {
      if (mayBeTorn && !wasSynced(bytes, at, limit, salt, scanned.nextSequence)) {
        scanned.end = at;
        break;
      }
      const next = findFrame(bytes, at + 1, limit, salt, BATCH_PAYLOAD_BYTES);
      scanned.damaged.push({ from: at, to: next });
      at = next;
      continue;
    }
    if (typeOf(bytes, at) === BATCH_TYPE) {
      scanned.nextSequence = bytes.readDoubleLE(at + FRAME_HEADER_BYTES + 8);
    } else {
      visit(typeOf(bytes, at), bytes, at + FRAME_HEADER_BYTES, end, at, scanned.nextSequence);
      scanned.nextSequence++;
    }
    at = end;
  }
  return scanned;
}

/** Whether a batch behind a hole proves that the record which lay where the hole begins was on the disk. */
function wasSynced(bytes: Buffer, hole: number, limit: number, salt: number, sequence: number): boolean {
  for (let at = hole + 1; at < limit;) {
    const end = endOfFrame(bytes, at, limit, salt);
    if (end === -1) {
      at = findFrame(bytes, at + 1, limit, salt, BATCH_PAYLOAD_BYTES);
      continue;
    }
    if (typeOf(bytes, at) === BATCH_TYPE && bytes.readDoubleLE(at + FRAME_HEADER_BYTES) > sequence)
      return true;
    at = end;
  }
  return false;
}
