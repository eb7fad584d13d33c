/**
 * What is written and synced as one: frames of records behind a batch header, and in front of them the header of a new
 * segment when the batch begins one. Records are encoded straight into its buffer; where they will lie in the file is
 * known from the start.
 */
import { FRAME_HEADER_BYTES, sealFrame, typeOf } from './frame.js';
import {
  BATCH_HEADER_BYTES,
  FORMAT_VERSION,
  SEGMENT_HEADER_BYTES,
  writeBatchHeader,
  writeSegmentHeader,
} from './segment.js';

const INITIAL_BYTES = 16 * 1024;

export interface BatchPlace {
  segment: number;
  /** Where in the file the batch begins; 0: it begins the segment. */
  offset: number;
  firstSequence: number;
  salt: number;
  /** The segment before this one and how far it can be trusted. */
  previous: Tail;
}

/** The end of a journal: its last segment, and where the next batch would go. */
export interface Tail {
  readonly number: number;
  readonly end: number;
}

export class Batch {
  readonly place: BatchPlace;
  /** Settles when the batch is as durable as the mode promises, or could not be made so. */
  readonly done: Promise<void>;
  bytes: Buffer;
  length: number;
  recordCount = 0;
  /** It was as durable as the mode promises. */
  isPromised = false;
  /** Somebody wants it written now. */
  isWanted = false;
  resolve!: () => void; // set by the promise's executor, which runs at once
  reject!: (error: Error) => void;
  readonly #headerBytes: number;

  constructor(place: BatchPlace, spare: Buffer | null) {
    this.place = place;
    this.done = new Promise<void>((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    // Whoever waits handles it; a batch nobody waits for may fail without ending the process.
    this.done.catch(() => {});
    this.bytes = spare ?? Buffer.allocUnsafeSlow(INITIAL_BYTES);
    this.#headerBytes = (place.offset === 0 ? SEGMENT_HEADER_BYTES : 0) + BATCH_HEADER_BYTES;
    this.length = this.#headerBytes;
  }

  /** Where in the segment it ends. */
  get end(): number {
    return this.place.offset + this.length;
  }

  /** Makes room for a payload and returns where in `bytes` it is to be written. */
  begin(payloadMax: number): number {
    const needed = this.length + FRAME_HEADER_BYTES + payloadMax;
    if (needed > this.bytes.length) this.#grow(needed);
    return this.length + FRAME_HEADER_BYTES;
  }

  /** Closes the record whose payload ends at `end` in `bytes`; returns where its frame lies in the segment. */
  finish(type: number, end: number): number {
    sealFrame(this.bytes, this.length, end, type, this.place.salt);
    const offset = this.place.offset + this.length;
    this.length = end;
    this.recordCount++;
    return offset;
  }

  /** Writes the headers, now that it is known which records are not synced: those from `unsynced` on. Returns all there is to write. */
  seal(unsynced: number): Buffer {
    const { segment, offset, salt, firstSequence, previous } = this.place;
    if (offset === 0) {
      writeSegmentHeader(this.bytes, {
        version: FORMAT_VERSION,
        number: segment,
        salt,
        previousNumber: previous.number,
        previousEnd: previous.end,
      });
    }
    writeBatchHeader(this.bytes, this.#headerBytes - BATCH_HEADER_BYTES, unsynced, firstSequence, salt);
    return this.bytes.subarray(0, this.length);
  }

  /** Takes over the records of a batch that could not be kept where it was, telling where each lies now. */
  adopt(other: Batch, moved: (type: number, start: number, end: number, offset: number) => void): void {
    for (let at = other.#headerBytes; at < other.length;) {
      const end = at + FRAME_HEADER_BYTES + other.bytes.readUInt32LE(at);
      const type = typeOf(other.bytes, at);
      const start = this.begin(end - at - FRAME_HEADER_BYTES);
      other.bytes.copy(this.bytes, start, at + FRAME_HEADER_BYTES, end);
      const payloadEnd = start + (end - at - FRAME_HEADER_BYTES);
      moved(type, start, payloadEnd, this.finish(type, payloadEnd));
      at = end;
    }
  }

  /** Copies what lies at `offset` of the segment, as far as it is in this batch; returns how much. */
  copyTo(into: Buffer, at: number, offset: number): number {
    const from = offset - this.place.offset;
    return from < 0 || from >= this.length ? 0 : this.bytes.copy(into, at, from, this.length);
  }

  #grow(needed: number): void {
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.bytes.length * 2));
    this.bytes.copy(larger, 0, 0, this.length);
    this.bytes = larger;
  }
}
